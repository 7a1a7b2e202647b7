//! The programs under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};

/// Returns the path of the built program `name`.
///
/// It lies in the folder of the profile that built the running test: Cargo tells a test only the
/// programs of its own package.
///
/// # Errors
/// If it is not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let test = env::current_exe().context("find the running test")?;
    let folder = test.parent().and_then(Path::parent).context("test lies in no target folder")?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is not built; run `cargo build --release --workspace` first",
        path.display()
    );
    Ok(path)
}

/// Runs `neurotriage` with these arguments to its end.
///
/// # Errors
/// If it is not built or can't be started.
pub fn neurotriage(arguments: &[&str]) -> anyhow::Result<Output> {
    neurotriage_with(arguments, &[])
}

/// As [`neurotriage`], with these settings on top of the test's own.
///
/// # Errors
/// As [`neurotriage`].
pub fn neurotriage_with(arguments: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Output> {
    Command::new(program("neurotriage")?)
        .args(arguments)
        .envs(settings.iter().copied())
        .output()
        .context("run neurotriage")
}
