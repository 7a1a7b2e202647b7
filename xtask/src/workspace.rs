//! Where things lie: the repository, cargo's output, the cache.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The repository and what cargo knows about it.
pub(crate) struct Workspace {
    root: PathBuf,
    metadata: Value,
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn find() -> Result<Self> {
        // `cargo run` sets the variable; a program started by hand knows where it was built.
        let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&own).parent().context("find the folder above xtask/")?.to_owned();
        let mut command = cargo(&root);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata = serde_json::from_str(&process::output(&mut command)?)
            .context("read what cargo metadata printed")?;
        Ok(Self { root, metadata })
    }

    /// Returns the root folder of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the packages of the workspace as `cargo metadata` describes them.
    pub(crate) fn packages(&self) -> &[Value] {
        self.metadata["packages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Returns the folder cargo builds into.
    pub(crate) fn target_folder(&self) -> Result<PathBuf> {
        let folder = self.metadata["target_directory"].as_str();
        Ok(folder.context("cargo metadata names no target folder")?.into())
    }

    /// Returns a cargo command that runs in the root of the repository.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }
}

/// Returns the folder for what is fetched once and kept, and creates it.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) if Path::new(&folder).is_absolute() => PathBuf::from(folder),
        _ => env::home_dir().context("no home folder: set XDG_CACHE_HOME")?.join(".cache"),
    };
    let cache = cache.join("neurotriage");
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("create the cache folder {}", cache.display()))?;
    Ok(cache)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // Set by `cargo run` for this program; a build script that watches one would run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
