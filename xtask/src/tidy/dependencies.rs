//! Direction of dependencies: services on libraries, libraries on the domain, never back.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Crates that may call libtorch.
const ON_LIBTORCH: [&str; 3] = ["libs/device", "libs/network", "libs/registration"];

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
            Self::Service => matches!(other, Self::Domain | Self::Library | Self::Migrations),
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
    dependencies: Vec<Dependency>,
}

/// What a package depends on.
struct Dependency {
    name: String,
    /// True if only its tests do.
    for_tests: bool,
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
            .filter_map(|dependency| {
                let name = dependency["name"].as_str()?.to_owned();
                Some(Dependency { name, for_tests: dependency["kind"] == "dev" })
            })
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
        for Dependency { name, for_tests } in &package.dependencies {
            if name == "tch" && !ON_LIBTORCH.contains(&package.folder.as_str()) {
                breaches.push(format!(
                    "only {} may depend on tch: {}",
                    ON_LIBTORCH.join(", "),
                    package.name
                ));
            }
            let other = packages.iter().find(|other| other.name == *name);
            let Some(other_layer) = other.and_then(|other| Layer::of(&other.folder)) else {
                continue;
            };
            // Tests of any layer but the lowest may use the kit; cargo allows that circle.
            let kit_for_tests =
                *for_tests && other_layer == Layer::Testkit && layer != Layer::Domain;
            if !kit_for_tests && !layer.may_depend_on(other_layer) {
                breaches.push(format!(
                    "{} ({layer:?}) may not depend on {name} ({other_layer:?})",
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

    /// A name that begins with `dev:` is a dependency of tests.
    fn package(folder: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|name| {
                let bare = name.strip_prefix("dev:");
                Dependency { name: bare.unwrap_or(name).to_owned(), for_tests: bare.is_some() }
            })
            .collect();
        Package { name: folder.replace('/', "-"), folder: folder.to_owned(), dependencies }
    }

    #[test]
    fn dependencies_point_towards_the_domain() {
        // (what the row is for, who depends, on what, whether that is allowed)
        let table = [
            ("service on library", "services/records", "libs-blobs", true),
            ("service on testkit", "services/records", "libs-testkit", false),
            ("service's tests on testkit", "services/records", "dev:libs-testkit", true),
            ("migrations' tests on testkit", "migrations", "dev:libs-testkit", true),
            ("domain's tests on testkit", "libs/domain", "dev:libs-testkit", false),
            ("service's tests on service", "services/records", "dev:services-referral", false),
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
            ("torch in registration", "libs/registration", "tch", true),
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
