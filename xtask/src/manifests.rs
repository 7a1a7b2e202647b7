//! The Kubernetes manifests: rendered, validated against the API's schemas, and checked as a whole.

mod objects;

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::{process, tools, workspace::Workspace};

/// What is deployed; each folder holds a `kustomization.yaml`.
const FOLDERS: [&str; 2] = ["k8s/base", "k8s/overlays/local"];
/// Version of the API that the manifests are written for.
const KUBERNETES: &str = "1.32";

/// Renders every kustomization and validates what comes out.
pub(crate) fn manifests(workspace: &Workspace) -> Result<()> {
    if process::find("kubectl").is_none() {
        bail!("kubectl renders the manifests and is not installed: install 1.27 or newer");
    }
    let settings = objects::settings_known(workspace.root())?;
    let mut problems_total = 0;
    for folder in FOLDERS {
        let mut kustomize = Command::new("kubectl");
        kustomize.args(["kustomize", folder]).current_dir(workspace.root());
        let rendered = process::output(&mut kustomize)?;
        validate(&rendered).with_context(|| format!("validate {folder}"))?;
        let objects = parse(&rendered).with_context(|| format!("read {folder}"))?;
        let problems = objects::problems(&objects, &settings);
        for problem in &problems {
            println!("error: {folder}: {problem}");
        }
        println!("{folder}: {} objects, {} problems", objects.len(), problems.len());
        problems_total += problems.len();
    }
    if problems_total > 0 {
        bail!("the manifests do not hold together");
    }
    Ok(())
}

/// Validates against the schemas of Kubernetes; an unknown field or kind is an error.
fn validate(rendered: &str) -> Result<()> {
    let scratch = tempfile::tempdir().context("create a folder for the manifests")?;
    let file = scratch.path().join("rendered.yaml");
    fs::write(&file, rendered).context("write the rendered manifests")?;
    let mut command = Command::new(tools::tool("kubernetes-validate")?);
    command.args(["--quiet", "--strict", "--kubernetes-version", KUBERNETES]).arg(&file);
    let output = command.output().context("start kubernetes-validate")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // A kind it does not know is only a warning of its own.
    if !output.status.success() || said.contains("WARN") || said.contains("find schema") {
        bail!("kubernetes-validate refuses the manifests:\n{}", said.trim());
    }
    Ok(())
}

fn parse(rendered: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(rendered)
        .map(|document| Value::deserialize(document).context("read YAML"))
        .collect()
}
