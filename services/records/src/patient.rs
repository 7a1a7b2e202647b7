//! Who a patient is, and what is accepted as one.

mod check;
mod field;
mod merge;

use std::fmt;

use neurotriage_domain::{FieldViolation, PatientId};
use neurotriage_sealing::Normal;
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

pub use self::{
    check::{
        ADDRESS_LINES_MAX, BIRTH_DATE, CONSENTS_MAX, CONTACT_PERSONS_MAX, CONTACT_POINTS_MAX,
        ISSUER_CHARS_MAX, LANGUAGES_MAX, LINE_CHARS_MAX, MEDICAL_RECORD_NUMBER_CHARS_MAX,
        MEDICAL_RECORD_NUMBERS_MAX, NAME_CHARS_MAX, date, is_in_a_life,
    },
    field::PatientField,
};
use crate::search::SearchKey;

time::serde::format_description!(pub(crate) iso_date, Date, "[year]-[month]-[day]");

/// Sex recorded for clinical use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// Not recorded.
    #[default]
    Unspecified,
    /// Female.
    Female,
    /// Male.
    Male,
    /// Another.
    Other,
    /// Asked for, and not known.
    Unknown,
}

/// Hand the patient writes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handedness {
    /// Not recorded.
    #[default]
    Unspecified,
    /// Right-handed.
    Right,
    /// Left-handed.
    Left,
    /// Uses both hands.
    Both,
}

/// A place on earth, WGS 84.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// Degrees north, -90 to 90.
    pub latitude_degrees: f64,
    /// Degrees east, -180 to 180.
    pub longitude_degrees: f64,
}

/// A number that one hospital gave a patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicalRecordNumber {
    /// Who issued the number.
    pub issuer: String,
    /// The number; unique with `issuer` within a hospital.
    pub number: String,
}

/// Where somebody lives.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// Street and house.
    pub lines: Vec<String>,
    /// City.
    pub city: String,
    /// State, province or the like.
    pub district: String,
    /// Postal code.
    pub postal_code: String,
    /// ISO 3166-1 code of two letters; empty if unknown.
    pub country: String,
    /// The place, for distances to hospitals.
    pub coordinates: Option<Coordinates>,
}

/// By what somebody is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactSystem {
    /// A telephone number.
    Phone,
    /// An e-mail address.
    Email,
}

/// One way to reach somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPoint {
    /// By what.
    pub system: ContactSystem,
    /// The number or address.
    pub value: String,
}

/// Who somebody is to the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relationship {
    /// Not said.
    Unspecified,
    /// Spouse or partner.
    Partner,
    /// Parent.
    Parent,
    /// Child.
    Child,
    /// Brother or sister.
    Sibling,
    /// Legal guardian.
    Guardian,
    /// Friend, neighbour or another.
    Other,
}

/// Somebody to reach about the patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactPerson {
    /// Who they are to the patient.
    pub relationship: Relationship,
    /// Name as written.
    pub name: String,
    /// How to reach them.
    pub contact_points: Vec<ContactPoint>,
}

/// What a consent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsentScope {
    /// Analysis of images and symptoms by this software.
    Analysis,
    /// Passing records on to a hospital the patient is referred to.
    Sharing,
    /// Use in research.
    Research,
}

/// What the patient agreed to, or did not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// What it is about.
    pub scope: ConsentScope,
    /// Whether the patient agrees.
    pub given: bool,
    /// Day of the decision.
    #[serde(with = "iso_date")]
    pub decided_on: Date,
}

/// What is known of a patient.
///
/// Invariant: every field keeps its limits. [`PatientDetails::check`] is the only way in from a
/// caller, so holders never check again.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PatientDetails {
    /// Numbers that hospitals gave the patient, one at least.
    pub medical_record_numbers: Vec<MedicalRecordNumber>,
    /// Name as written; may be empty.
    pub name: String,
    /// Birth date, if known.
    #[serde(with = "iso_date::option")]
    pub birth_date: Option<Date>,
    /// Sex recorded for clinical use.
    pub sex: Sex,
    /// Hand the patient writes with.
    pub handedness: Handedness,
    /// Where the patient lives, if known.
    pub address: Option<Address>,
    /// How to reach the patient.
    pub contact_points: Vec<ContactPoint>,
    /// Whom else to reach.
    pub contact_persons: Vec<ContactPerson>,
    /// What the patient agreed to, one of each scope.
    pub consents: Vec<Consent>,
    /// Languages to speak with the patient in, best first.
    pub languages: Vec<String>,
}

/// What a caller says about a patient: the fields that could be read, and what is wrong with those
/// that could not. Nothing is checked beyond that.
#[derive(Clone, Default)]
pub struct PatientDraft {
    /// What could be read.
    pub details: PatientDetails,
    /// What could not, by path below the patient, such as `birth_date`.
    pub unreadable: Vec<FieldViolation>,
}

/// Fields of a patient to replace.
#[derive(Clone, Debug)]
pub struct PatientChanges {
    /// Which.
    pub fields: Vec<PatientField>,
    /// By what: checked as far as `fields` go.
    pub details: PatientDetails,
}

/// One registered patient.
#[derive(Clone, PartialEq)]
pub struct Patient {
    /// Identifier.
    pub patient_id: PatientId,
    /// Counts changes, from 1.
    pub revision: u64,
    /// When the patient was registered, UTC.
    pub created_at: OffsetDateTime,
    /// When the patient was last changed, UTC.
    pub updated_at: OffsetDateTime,
    /// When the patient was deleted, UTC.
    pub deleted_at: Option<OffsetDateTime>,
    /// Patients who were merged into this one.
    pub merged_patient_ids: Vec<PatientId>,
    /// What is known.
    pub details: PatientDetails,
}

impl MedicalRecordNumber {
    /// Returns whether both are one number: case and width of characters do not count.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |one: &str, other: &str| Normal::Text.apply(one) == Normal::Text.apply(other);
        same(&self.issuer, &other.issuer) && same(&self.number, &other.number)
    }
}

impl PatientDetails {
    /// Returns what the patient is found by.
    pub fn search_keys(&self) -> Vec<SearchKey> {
        let numbers = self.medical_record_numbers.iter().map(|number| {
            let MedicalRecordNumber { issuer, number } = number.clone();
            SearchKey::MedicalRecordNumber { issuer, number }
        });
        let name = (!self.name.is_empty()).then(|| SearchKey::Name(self.name.clone()));
        numbers.chain(name).chain(self.birth_date.map(SearchKey::BirthDate)).collect()
    }
}

// Names, numbers, dates of birth and homes stay out of logs: only the id is shown.
impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient")
            .field("patient_id", &self.patient_id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

hidden!(
    PatientDetails,
    PatientDraft,
    Coordinates,
    MedicalRecordNumber,
    Address,
    ContactPoint,
    ContactPerson,
    Consent
);

#[cfg(test)]
mod tests;
