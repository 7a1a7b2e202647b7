//! The operator's commands and those of FHIR as they are run: the built program, beside running services and on their
//! databases.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod bundles;
mod clinic;
mod keys;
mod patients;
mod stories;
mod suite;
mod wrong_bundles;

use std::process::Output;

use neurotriage_tests::programs::neurotriage_with;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    code: Option<i32>,
    said: String,
    told: String,
}

/// Runs `neurotriage` to its end.
pub(crate) fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Ended {
    neurotriage_with(arguments, settings).unwrap().into()
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), said: text(output.stdout), told: text(output.stderr) }
    }
}

impl Ended {
    /// Returns what a command said that did what it was to do, and had nothing to tell beside.
    pub(crate) fn well(self) -> String {
        assert_eq!((self.code, self.told.as_str()), (Some(0), ""), "{}", self.said);
        self.said
    }

    /// Returns what a command said that failed, and the one line that it told why.
    pub(crate) fn badly(self) -> (String, String) {
        let Self { code, said, told } = self;
        assert_eq!(code, Some(1), "{said}{told}");
        assert!(told.starts_with("neurotriage: ") && told.lines().count() == 1, "{told}");
        (said, told)
    }

    /// Returns what was said of wrong usage.
    pub(crate) fn wrongly_used(self) -> String {
        let Self { code, said, told } = self;
        assert_eq!((code, said.as_str()), (Some(2), ""), "{told}");
        told
    }
}
