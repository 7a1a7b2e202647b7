//! A bundle as patients, symptom reports and notes, and what became of each entry.
//!
//! | resource | becomes |
//! |---|---|
//! | Patient | a patient |
//! | Observation with own code `symptom-report` | a symptom report with the findings it names in `hasMember` |
//! | Observation with own code `note` | a note |
//! | Observation with a code of HPO, `NT:`, or of SNOMED CT or ICD-10 that stands for a finding | a finding |
//! | Condition with such a code | a finding, denied if `verificationStatus` is `refuted` |
//! | Observation or Condition of other codes, or without a coding | passed over |
//! | Organization, Location, HealthcareService | left for the directory of hospitals |
//! | another | passed over |
//!
//! Findings that no report names become one report for each patient, time and reporter. An entry that is
//! wrong is refused with every problem found, and with it what depends on it. What is left out of an entry
//! that is kept is noted, by its path and why.

mod assemble;
mod entries;
mod subject;
#[cfg(test)]
mod tests;

use serde_json::Value;
use time::OffsetDateTime;

use self::entries::Importer;
use crate::{
    Problem,
    bundle::{self, BundleError, BundleLimits},
    finding::SymptomReport,
    patient::{Hints, Patient},
};

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no resource of FHIR R4.
    ResourceUnknown,
    /// It stands in the bundle twice, by its name or by its number.
    Repeated,
    /// Elements of it are wrong.
    ElementsWrong,
    /// It names an entry that is not there.
    ReferenceBroken,
    /// It contradicts another entry.
    Contradicted,
    /// It depends on an entry that was refused.
    DependsOnRefused,
}

impl Refusal {
    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResourceUnknown => "RESOURCE_UNKNOWN",
            Self::Repeated => "ENTRY_REPEATED",
            Self::ElementsWrong => "ELEMENTS_WRONG",
            Self::ReferenceBroken => "REFERENCE_BROKEN",
            Self::Contradicted => "CONTRADICTED",
            Self::DependsOnRefused => "DEPENDS_ON_REFUSED",
        }
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was read.
    Read,
    /// It is of no kind that is brought in, or says that it is of no use.
    PassedOver(&'static str),
    /// It is wrong.
    Refused(Refusal, Vec<Problem>),
}

/// An entry of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of its resource; empty if that is none of R4.
    pub resource_type: &'static str,
    /// What became of it.
    pub state: State,
    /// What of it is left out, and why; for one that is passed over the element for which it is.
    pub notes: Vec<Problem>,
}

/// A patient of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadPatient {
    /// Place of its entry.
    pub entry: usize,
    /// The entry's `fullUrl`.
    pub full_url: Option<String>,
    /// The patient.
    pub patient: Patient,
    /// What else tells them from others.
    pub hints: Hints,
}

/// A symptom report of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadReport {
    /// Places of the entries it is made of.
    pub entries: Vec<usize>,
    /// Of findings that no report names: for each of `entries` which finding it tells. Empty if an entry is the report,
    /// which holds together.
    pub finding_of: Vec<usize>,
    /// Place of the patient's entry.
    pub patient: usize,
    /// The report.
    pub report: SymptomReport,
}

/// A note of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadNote {
    /// Place of its entry.
    pub entry: usize,
    /// Place of the patient's entry.
    pub patient: usize,
    /// The note.
    pub text: String,
}

/// What a bundle holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// One for each entry, in order.
    pub entries: Vec<Entry>,
    /// The good patients, in order.
    pub patients: Vec<ReadPatient>,
    /// The good reports.
    pub reports: Vec<ReadReport>,
    /// The good notes.
    pub notes: Vec<ReadNote>,
    /// Entries for the directory of hospitals, with their places; their state is [`State::Read`].
    pub directory: Vec<(usize, Value)>,
    /// Such entries that were refused, with their places: a hospital that one of them belongs to would be written
    /// without what it says.
    pub directory_refused: Vec<(usize, Value)>,
}

/// Reads a bundle as of `now`, by which nothing may lie in the future.
///
/// # Errors
/// [`BundleError`] if the bundle as a whole cannot be used.
pub fn read(bytes: &[u8], now: OffsetDateTime) -> Result<Import, BundleError> {
    let (kind, entries) = bundle::read_content(bytes, BundleLimits::STORY)?;
    let mut import = Importer::new(kind, now).read(&entries);
    for (place, entry) in entries.into_iter().enumerate() {
        let Some(read) = import.entries.get(place) else { continue };
        if !is_of_directory(read.resource_type) {
            continue;
        }
        match read.state {
            State::Read => import.directory.push((place, entry)),
            State::Refused(..) => import.directory_refused.push((place, entry)),
            State::PassedOver(_) => {}
        }
    }
    Ok(import)
}

fn is_of_directory(resource_type: &str) -> bool {
    matches!(resource_type, "Organization" | "Location" | "HealthcareService")
}
