//! The demonstration: one command from a fresh clone to a report.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{libtorch, process, workspace::Workspace};

/// Builds the program and diagnoses `case`, or a synthetic case where there is none.
pub(crate) fn demo(
    workspace: &Workspace,
    case: Option<&Path>,
    symptoms: Option<&str>,
    out: Option<&Path>,
) -> Result<()> {
    let libtorch = libtorch::ensure(workspace)?;
    println!("building the program: minutes the first time, seconds after that");
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "neurotriage"]).envs(libtorch.environment());
    process::run(&mut build)?;

    let mut diagnose = Command::new(workspace.target_folder()?.join("release/neurotriage"));
    diagnose.arg("diagnose").envs(libtorch.environment());
    if let Some(case) = case {
        diagnose.arg("--case").arg(case);
    }
    if let Some(symptoms) = symptoms {
        diagnose.args(["--symptoms", symptoms]);
    }
    if let Some(out) = out {
        diagnose.arg("--out").arg(out);
    }
    process::run(&mut diagnose)
}
