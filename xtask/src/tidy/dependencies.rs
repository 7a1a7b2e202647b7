//! Direction of dependencies: services on libraries, libraries on the domain, never back.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Place of a package in the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// `libs/domain`: the vocabulary; depends on no other package.
    Domain,
    /// `libs/*`.
    Library,
    /// `libs/testkit`: a library for tests, which may know the migrations.
    Testkit,
    /// `migrations`.
    Migrations,
    /// `services/*` but the command.
    Service,
    /// `services/neurotriage`: starts every service.
    Command,
    /// `tests`: flows through everything.
    Flows,
    /// `xtask`: depends on no other package.
    Xtask,
}

impl Layer {
    fn of(folder: &str) -> Option<Self> {
        match folder {
            "libs/domain" => Some(Self::Domain),
            "libs/testkit" => Some(Self::Testkit),
            "migrations" => Some(Self::Migrations),
            "services/neurotriage" => Some(Self::Command),
            "tests" => Some(Self::Flows),
            "xtask" => Some(Self::Xtask),
            _ if folder.starts_with("libs/") => Some(Self::Library),
            _ if folder.starts_with("services/") => Some(Self::Service),
            _ => None,
        }
    }

    fn may_depend_on(self, other: Self) -> bool {
        match self {
            Self::Domain | Self::Xtask => false,
            Self::Library | Self::Migrations => matches!(other, Self::Domain | Self::Library),
            Self::Testkit => matches!(other, Self::Domain | Self::Library | Self::Migrations),
            Self::Service => {
                matches!(other, Self::Domain | Self::Library | Self::Testkit | Self::Migrations)
            }
            Self::Command => !matches!(other, Self::Command | Self::Flows | Self::Xtask),
            Self::Flows => !matches!(other, Self::Flows | Self::Xtask),
        }
    }
}

/// A package and what it depends on, tests and build scripts included.
pub(super) struct Package {
    name: String,
    /// Relative to the root, such as `libs/domain`.
    folder: String,
    dependencies: Vec<String>,
}

/// Returns the packages of the workspace.
pub(super) fn packages(workspace: &Workspace) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for package in workspace.packages() {
        let name = package["name"].as_str().context("a package has no name")?.to_owned();
        let manifest = package["manifest_path"].as_str().context("a package has no manifest")?;
        let folder = Path::new(manifest)
            .parent()
            .and_then(|folder| folder.strip_prefix(workspace.root()).ok())
            .and_then(Path::to_str)
            .with_context(|| format!("package {name} lies outside the repository"))?
            .to_owned();
        let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        let dependencies = dependencies
            .iter()
            .filter_map(|dependency| dependency["name"].as_str().map(ToOwned::to_owned))
            .collect();
        packages.push(Package { name, folder, dependencies });
    }
    Ok(packages)
}

/// Returns a sentence for each dependency that a rule forbids.
pub(super) fn breaches(packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        let Some(layer) = Layer::of(&package.folder) else {
            breaches.push(format!("{} lies in no layer: {}", package.name, package.folder));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency == "tch" && package.folder != "libs/network" {
                breaches.push(format!("only libs/network may depend on tch: {}", package.name));
            }
            let other = packages.iter().find(|other| other.name == *dependency);
            let Some(other_layer) = other.and_then(|other| Layer::of(&other.folder)) else {
                continue;
            };
            if !layer.may_depend_on(other_layer) {
                breaches.push(format!(
                    "{} ({layer:?}) may not depend on {dependency} ({other_layer:?})",
                    package.name
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(ToString::to_string).collect();
        Package { name: folder.replace('/', "-"), folder: folder.to_owned(), dependencies }
    }

    #[test]
    fn dependencies_point_towards_the_domain() {
        // (what the row is for, who depends, on what, whether that is allowed)
        let table = [
            ("service on library", "services/records", "libs-blobs", true),
            ("service on testkit", "services/records", "libs-testkit", true),
            ("service on service", "services/records", "services-referral", false),
            ("command on service", "services/neurotriage", "services-referral", true),
            ("flows on service", "tests", "services-referral", true),
            ("flows on command", "tests", "services-neurotriage", true),
            ("service on command", "services/records", "services-neurotriage", false),
            ("library on domain", "libs/blobs", "libs-domain", true),
            ("library on service", "libs/blobs", "services-referral", false),
            ("library on migrations", "libs/blobs", "migrations", false),
            ("testkit on migrations", "libs/testkit", "migrations", true),
            ("domain on library", "libs/domain", "libs-blobs", false),
            ("xtask on library", "xtask", "libs-blobs", false),
            ("torch in network", "libs/network", "tch", true),
            ("torch elsewhere", "services/records", "tch", false),
        ];
        let others = [
            "libs/blobs",
            "libs/domain",
            "libs/testkit",
            "migrations",
            "services/neurotriage",
            "services/referral",
        ];
        for (case, folder, dependency, allowed) in table {
            let mut packages: Vec<Package> = others.map(|other| package(other, &[])).into();
            packages.retain(|other| other.folder != folder);
            packages.push(package(folder, &[dependency]));
            assert_eq!(breaches(&packages).is_empty(), allowed, "case: {case}");
        }
    }

    #[test]
    fn a_package_outside_the_layers_is_a_breach() {
        assert_eq!(breaches(&[package("elsewhere", &[])]).len(), 1);
    }
}
