//! By what patients and entries are found.

use neurotriage_domain::{FieldViolation, StudyId, not_of_a_name};
use neurotriage_sealing::check_prefix;
use serde::Serialize;
use time::Date;

use crate::{error::violation, patient::iso_date};

/// Fewest characters of a word by which a name is looked for, but in Hangul, Chinese characters and kana.
pub const NAME_PREFIX_CHARS_MIN: usize = 2;

/// Something a record is found by. Stored as a keyed hash, never as it is.
#[derive(Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// A number and who issued it.
    MedicalRecordNumber {
        /// Who issued the number.
        issuer: String,
        /// The number.
        number: String,
    },
    /// A name; found by how its words begin.
    Name(String),
    /// A birth date.
    BirthDate(Date),
    /// Code of a finding that is present.
    Finding(String),
    /// An imaging study.
    Study(StudyId),
}

/// What patients are searched by; each one given must be met.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Criteria {
    /// Beginnings of words of the name.
    pub name_prefix: Option<String>,
    /// Number and who issued it.
    pub medical_record_number: Option<(String, String)>,
    /// Birth date.
    #[serde(with = "iso_date::option")]
    pub birth_date: Option<Date>,
    /// Code of a finding that a report says is present.
    pub code: Option<String>,
}

impl Criteria {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what is wrong with the name, if it can't be searched for.
    pub fn check_name(&self) -> Option<FieldViolation> {
        let typed = self.name_prefix.as_deref()?;
        if let Some(sign) = not_of_a_name(typed) {
            return Some(violation("name_prefix", format!("words of a name, without `{sign}`")));
        }
        let wrong = check_prefix(typed, NAME_PREFIX_CHARS_MIN).err()?;
        Some(violation("name_prefix", wrong.to_string()))
    }

    /// Returns the names of the fields that are given, for the audit.
    pub fn fields(&self) -> Vec<&'static str> {
        let given = [
            ("name_prefix", self.name_prefix.is_some()),
            ("medical_record_number", self.medical_record_number.is_some()),
            ("birth_date", self.birth_date.is_some()),
            ("code", self.code.is_some()),
        ];
        given.into_iter().filter_map(|(field, given)| given.then_some(field)).collect()
    }
}

impl std::fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchKey(..)")
    }
}

impl std::fmt::Debug for Criteria {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Criteria").field("fields", &self.fields()).finish_non_exhaustive()
    }
}
