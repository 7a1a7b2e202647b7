//! Every check that a change must pass, in the order that fails soonest.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{libtorch, manifests, process, test, tidy, tools, workspace::Workspace};

/// A step's name and what it does.
type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: [Step; 8] = [
    ("fmt", fmt),
    ("tidy", tidy::tidy),
    ("protocol", protocol),
    ("manifests", manifests::manifests),
    ("libtorch", |workspace| libtorch::ensure(workspace).map(|_| ())),
    ("clippy", clippy),
    ("doc", doc),
    ("test", |workspace| test::test(workspace, &[])),
];

/// Runs the steps one after the other and stops at the first that fails.
pub(crate) fn ci(workspace: &Workspace) -> Result<()> {
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for (name, step) in STEPS {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = step(workspace).with_context(|| format!("step `{name}`"));
        times.push((name, start.elapsed()));
        if outcome.is_err() {
            summarise(&times, "FAILED");
            return outcome;
        }
    }
    summarise(&times, "ok");
    Ok(())
}

/// Prints the time of each step; `last` is what came of the last one.
fn summarise(times: &[(&str, Duration)], last: &str) {
    println!("==> summary");
    for (index, (name, time)) in times.iter().enumerate() {
        let outcome = if index + 1 == times.len() { last } else { "ok" };
        println!("{name:<12} {:>8.1} s  {outcome}", time.as_secs_f64());
    }
}

fn fmt(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args(["fmt", "--all", "--", "--check"]))
}

fn protocol(workspace: &Workspace) -> Result<()> {
    let buf = tools::tool("buf")?;
    for arguments in [&["lint"][..], &["format", "--diff", "--exit-code"]] {
        process::run(Command::new(&buf).args(arguments).current_dir(workspace.root()))?;
    }
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command
        .args(["clippy", "--release", "--workspace", "--all-targets"])
        .args(["--", "-D", "warnings"])
        .envs(libtorch::ensure(workspace)?.environment());
    process::run(&mut command)
}

fn doc(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command
        .args(["doc", "--release", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .envs(libtorch::ensure(workspace)?.environment());
    process::run(&mut command)
}
