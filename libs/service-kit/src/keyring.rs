//! Keys of a service, from its settings.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};
use neurotriage_sealing::Keyring;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

/// Keys that sign the audit, and seal and find what is written down about patients: a file or the text itself.
#[derive(Clone, Debug)]
pub struct KeyringConfig {
    /// The file.
    pub file: Option<PathBuf>,
    /// The text.
    pub text: Option<SecretString>,
}

#[derive(Debug, Args)]
#[group(id = "keyring", multiple = false)]
struct Given {
    /// File of keys: `use:id:state:secret` on lines, `use` one of seal, index and audit, one of each
    /// active. `neurotriage records new-keyring` makes one. Each service has a file of its own. The text itself, lines
    /// parted by commas, is taken from the environment only, as KEYRING.
    #[arg(id = "keyring_file", long = "keyring-file", env = "KEYRING_FILE")]
    file: Option<PathBuf>,

    /// The same as text. Refused as a flag, which would show it in the list of processes.
    #[arg(
        id = "keyring_text",
        long = "keyring",
        env = "KEYRING",
        hide = true,
        hide_env_values = true
    )]
    text: Option<SecretString>,
}

impl Args for KeyringConfig {
    fn augment_args(command: Command) -> Command {
        Given::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Given::augment_args_for_update(command)
    }
}

impl FromArgMatches for KeyringConfig {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        if matches.value_source("keyring_text") == Some(ValueSource::CommandLine) {
            let why = "--keyring shows the keys in the list of processes: give a file by --keyring-file, or set KEYRING\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, why));
        }
        let Given { file, text } = Given::from_arg_matches(matches)?;
        // Asked for here: clap's own answer would offer the flag that is refused.
        if file.is_none() && text.is_none() {
            let why = "no keys are given: give a file by --keyring-file or KEYRING_FILE, or set KEYRING\n";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, why));
        }
        Ok(Self { file, text })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rows that were looked at.
    pub seen: u64,
    /// Rows that were sealed again, and indexed if they are.
    pub resealed: u64,
    /// What a look after all that found.
    pub left: Left,
    /// Rows that were left as they are, because of others; at most [`CLASHES_MAX`].
    pub clashes: Vec<Clash>,
}

/// What needs another key than the active one: a replica still writes with it, or rows clash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Rows that can't be read, or found, without it.
    pub rows: u64,
    /// Heads of audit chains that it signed.
    pub heads: u64,
}

impl Left {
    /// Returns whether there is nothing.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Most clashes that are told of one by one.
pub const CLASHES_MAX: usize = 100;

/// A row that holds a value which must be unique and which another row holds too, each found by another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// What must be unique, such as `medical_record_number`.
    pub kind: String,
    /// Patient of the row that was left as it is.
    pub patient_id: Uuid,
    /// Patient of the other row.
    pub other_patient_id: Uuid,
    /// The row that was left: the patient, or the link to a study.
    pub record_id: Uuid,
    /// The other row.
    pub other_record_id: Uuid,
}

impl Rotated {
    /// Notes a clash, if there is room.
    pub fn clash(&mut self, clash: Clash) {
        if self.clashes.len() < CLASHES_MAX {
            self.clashes.push(clash);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Config {
        #[command(flatten)]
        keyring: KeyringConfig,
    }

    #[test]
    fn keys_are_no_argument() {
        let secret = "seal:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        for given in [&["x", "--keyring", secret][..], &["x", &format!("--keyring={secret}")]] {
            let refused = Config::try_parse_from(given).unwrap_err().to_string();
            assert!(refused.contains("KEYRING") && !refused.contains("AQID"), "{refused}");
        }
        let config = Config::try_parse_from(["x", "--keyring-file", "/nowhere/keys"]).unwrap();
        assert!(format!("{:#}", config.keyring.read().unwrap_err()).contains("/nowhere/keys"));
        let missing = Config::try_parse_from(["x"]).unwrap_err().to_string();
        assert!(missing.contains("--keyring-file") && !missing.contains("--keyring "), "{missing}");
        let help = Config::command().render_long_help().to_string();
        assert!(help.contains("--keyring-file") && !help.contains("--keyring "), "{help}");
    }

    #[test]
    fn text_from_the_environment_is_read_and_not_shown() {
        let secret = "seal:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let config = KeyringConfig { file: None, text: Some(SecretString::from(secret)) };
        assert!(config.read().is_ok());
        assert!(!format!("{config:?}").contains("AQID"), "{config:?}");
    }
}
