//! Rules about the repository itself that no compiler checks: who may depend on whom, where the
//! environment is read, how long a file may be.

mod dependencies;
mod sources;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Checks the rules and prints every breach.
pub(crate) fn tidy(workspace: &Workspace) -> Result<()> {
    let mut breaches = dependencies::breaches(&dependencies::packages(workspace)?);
    breaches.extend(map_breaches(workspace)?);
    let sources = sources::read(workspace.root())?;
    for source in &sources {
        breaches.extend(sources::breaches(source));
        if let Some(warning) = sources::length_warning(source) {
            println!("warning: {warning}");
        }
    }
    for breach in &breaches {
        println!("error: {breach}");
    }
    if !breaches.is_empty() {
        bail!("{} rules of the repository are broken", breaches.len());
    }
    println!(
        "{} packages and {} source files follow the rules",
        workspace.packages().len(),
        sources.len()
    );
    Ok(())
}

/// The map must name every package.
fn map_breaches(workspace: &Workspace) -> Result<Vec<String>> {
    let file = workspace.root().join("ARCHITECTURE.md");
    let map = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let names = workspace.packages().iter().filter_map(|package| package["name"].as_str());
    Ok(names
        .filter(|name| !map.contains(&format!("`{name}`")))
        .map(|name| format!("ARCHITECTURE.md does not name the package `{name}`"))
        .collect())
}
