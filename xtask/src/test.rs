//! The tests, with what they need around them: libtorch, a throwaway Postgres, and validators of what
//! they leave.

use anyhow::Result;
use serde_json::Value;

use crate::{fhir, libtorch, postgres::Cluster, process, tools, workspace::Workspace};

/// Packages whose tests leave FHIR bundles.
const FHIR_PACKAGES: [&str; 2] = ["neurotriage-fhir", "neurotriage-referral"];

/// Runs the documentation tests and the tests; `arguments` go to the test runner.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let libtorch = libtorch::ensure(workspace)?;
    let cluster = Cluster::start()?;
    let environment = libtorch.environment();
    let packages = packages_named(arguments);

    // First, so that the summary of the runner stands last.
    if packages.is_empty() || packages.iter().any(|name| has_library(workspace, name)) {
        let mut doc = workspace.cargo();
        doc.args(["test", "--doc", "--release"]).envs(environment.clone());
        match packages.as_slice() {
            [] => doc.arg("--workspace"),
            names => {
                let names = names.iter().filter(|name| has_library(workspace, name));
                doc.args(names.flat_map(|name| ["--package", name]))
            }
        };
        process::run(doc.env("TEST_DATABASE_URL", cluster.url()))?;
    }

    if packages.is_empty() || packages.contains(&"neurotriage-tests") {
        // The flows start the programs themselves.
        let mut programs = workspace.cargo();
        programs.args(["build", "--release", "--workspace", "--bins"]).envs(environment.clone());
        if packages.is_empty() {
            // Beside the tests, which come next anyway, what both are made of is compiled once: alone it has other features.
            programs.arg("--tests");
        }
        process::run(&mut programs)?;
    }

    let mut tests = workspace.cargo();
    if packages.is_empty() || packages.contains(&"neurotriage-tests") {
        // The example in Python is run, with the packages it asks for.
        tests.env("NEUROTRIAGE_PYTHON", tools::tool("python")?);
    }
    if process::find("cargo-nextest").is_some() {
        tests.args(["nextest", "run", "--release"]);
    } else {
        tests.args(["test", "--release", "--lib", "--bins", "--tests"]);
    }
    if packages.is_empty() {
        tests.arg("--workspace");
    }
    tests.args(arguments).envs(environment).env("TEST_DATABASE_URL", cluster.url());
    process::run(&mut tests)?;
    if packages.is_empty() || FHIR_PACKAGES.iter().any(|name| packages.contains(name)) {
        fhir::validate(workspace, arguments.is_empty())?;
    }
    Ok(())
}

/// Returns the packages that `arguments` select by `-p NAME`, `--package NAME` and `--package=NAME`.
fn packages_named(arguments: &[String]) -> Vec<&str> {
    let mut names = Vec::new();
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        if argument == "-p" || argument == "--package" {
            names.extend(arguments.next());
        } else if let Some(name) = argument.strip_prefix("--package=") {
            names.push(name);
        }
    }
    names
}

fn has_library(workspace: &Workspace, package: &str) -> bool {
    let is_library = |target: &Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"))
    };
    workspace.packages().iter().any(|candidate| {
        candidate["name"] == package
            && candidate["targets"].as_array().is_some_and(|targets| targets.iter().any(is_library))
    })
}

#[cfg(test)]
mod tests {
    use super::packages_named;

    #[test]
    fn packages_are_found_in_every_spelling() {
        let table: [(&str, &[&str], &[&str]); 4] = [
            ("none", &["a_filter"], &[]),
            ("short", &["-p", "one", "a_filter"], &["one"]),
            ("long, twice", &["--package", "one", "--package=two"], &["one", "two"]),
            ("name missing", &["-p"], &[]),
        ];
        for (case, arguments, expected) in table {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            assert_eq!(packages_named(&arguments), expected, "case: {case}");
        }
    }
}
