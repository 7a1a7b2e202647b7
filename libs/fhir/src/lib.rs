//! FHIR R4 (4.0.1) in JSON: a patient's story as a Bundle, and Bundles read into values.
//!
//! Pure: values in and out. Knows neither gRPC nor databases nor where values come from. [`code`] and
//! [`element`] are the one place for code systems, identifiers and references; [`story`] writes, [`bundle`]
//! and [`import`] read. Reading is strict: what is wrong is a [`Problem`] with the path of the element and
//! what would be right, and never what was sent.
//!
//! # Source
//! HL7 FHIR R4 (4.0.1): Bundle, Patient, Observation, Condition, ImagingStudy, DiagnosticReport,
//! ServiceRequest, Organization, Provenance, Device; and the resource `Element` types they are made of.

pub mod bundle;
pub mod code;
mod code_table;
mod derived;
pub mod element;
pub mod finding;
pub mod import;
pub mod json;
pub mod patient;
mod reader;
mod resource_type;
pub mod story;
mod time_text;

use std::fmt;

pub use self::time_text::is_same_time;

/// What every derived resource says, in English.
pub const NOTICE: &str = "Decision support for research use. Not a medical device, not a diagnosis: \
a clinician must review the images and the patient.";

/// One element that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is, such as `entry[3].resource.birthDate`.
    pub path: String,
    /// What would be right. Never repeats what was sent.
    pub description: String,
}

impl Problem {
    /// Returns the problem at `path`.
    pub fn new(path: impl Into<String>, description: impl Into<String>) -> Self {
        Self { path: path.into(), description: description.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.description)
    }
}
