//! Keys of a service, from its settings.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use neurotriage_sealing::Keyring;
use secrecy::{ExposeSecret as _, SecretString};

/// Keys that sign the audit, and seal and find what is written down about patients: a file or the text itself.
#[derive(Clone, Debug, Args)]
#[group(id = "keyring", required = true, multiple = false)]
pub struct KeyringConfig {
    /// File of keys: `use:id:state:secret` on lines, `use` one of seal, index and audit, one of each
    /// active. `neurotriage records new-keyring` makes one. Each service has a file of its own.
    #[arg(id = "keyring_file", long = "keyring-file", env = "KEYRING_FILE")]
    pub file: Option<PathBuf>,

    /// The same as text, lines parted by commas. Never shown.
    #[arg(id = "keyring_text", long = "keyring", env = "KEYRING", hide_env_values = true)]
    pub text: Option<SecretString>,
}

impl KeyringConfig {
    /// Reads the keys.
    ///
    /// # Errors
    /// If there are none, or they are not as they must be.
    pub fn read(&self) -> anyhow::Result<Keyring> {
        match (&self.file, &self.text) {
            (Some(file), _) => {
                let read = Keyring::read(file);
                let (keyring, warnings) =
                    read.with_context(|| format!("read keyring {}", file.display()))?;
                for warning in warnings {
                    tracing::warn!(%warning, file = %file.display(), "keyring");
                }
                Ok(keyring)
            }
            (None, Some(text)) => Keyring::parse(text.expose_secret()).context("read KEYRING"),
            (None, None) => bail!("no keys are set; set KEYRING_FILE or KEYRING"),
        }
    }
}

/// What a service did when it sealed its rows again, with keys that became the active ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rows that were looked at.
    pub seen: u64,
    /// Rows that were sealed again, and indexed if they are.
    pub resealed: u64,
}
