//! Development tools from PyPI, in a virtual environment of their own in the cache.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result};

use crate::{process, workspace};

const REQUIREMENTS: &str = include_str!("../tools.txt");
/// In a finished environment: what was installed.
const MARKER: &str = "tools.txt";

/// Returns the path of one of the tools in `xtask/tools.txt`; installs them if they are not there.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let folder = cache.join("tools");
    let lock = File::create(cache.join("tools.lock")).context("create the lock of the tools")?;
    lock.lock().context("wait for another installation of the tools")?;
    if !fs::read_to_string(folder.join(MARKER)).is_ok_and(|present| present == REQUIREMENTS) {
        install(&folder).context(
            "install the development tools: needs python3 with venv and pip \
             (Debian: python3-venv) and PyPI",
        )?;
    }
    Ok(folder.join("bin").join(name))
}

fn install(folder: &PathBuf) -> Result<()> {
    println!("installing development tools into {}", folder.display());
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).context("write the list of tools")?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .arg("--requirement")
        .arg(&requirements);
    process::run(&mut pip)?;
    fs::write(folder.join(MARKER), REQUIREMENTS).context("mark the tools as complete")
}
