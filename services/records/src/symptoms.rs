//! Symptoms as written, and what was understood of them.

use std::fmt;

use neurotriage_domain::{PatientId, SymptomReportId};
use time::OffsetDateTime;

use crate::{
    coding::{CODED_CHARS_MAX, Finding},
    error::RecordsError,
};

/// Symptoms of a patient as somebody wrote them.
///
/// Invariant: 1 to 20,000 characters, not all blank, no NUL.
#[derive(Clone, PartialEq)]
pub struct SymptomText(String);

impl SymptomText {
    /// Returns the text if it keeps the limits.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] if it is blank, too long or holds a NUL.
    pub fn check(text: String) -> Result<Self, RecordsError> {
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > CODED_CHARS_MAX || text.contains('\0') {
            let right = format!("1 to {CODED_CHARS_MAX} characters that are not all blank");
            return Err(RecordsError::field("text", right));
        }
        Ok(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One report of symptoms.
#[derive(Clone, PartialEq)]
pub struct SymptomReport {
    /// Identifier.
    pub symptom_report_id: SymptomReportId,
    /// Whose symptoms.
    pub patient_id: PatientId,
    /// When it was stored, UTC.
    pub created_at: OffsetDateTime,
    /// The symptoms as written.
    pub text: String,
    /// What was understood, in the order of the text.
    pub findings: Vec<Finding>,
    /// Pieces that were not understood, in the order of the text.
    pub not_understood: Vec<String>,
    /// Version of the lexicon that coded the text.
    pub lexicon_version: String,
}

// What a patient wrote stays out of logs.
impl fmt::Debug for SymptomText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymptomText({} bytes)", self.0.len())
    }
}

impl fmt::Debug for SymptomReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymptomReport")
            .field("symptom_report_id", &self.symptom_report_id)
            .field("patient_id", &self.patient_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_limits() {
        // (what the row is for, text, whether it is accepted)
        let table = [
            ("plain", "headache".to_owned(), true),
            ("longest, in characters and not bytes", "가".repeat(20_000), true),
            ("one more", "가".repeat(20_001), false),
            ("empty", String::new(), false),
            ("blank", " \n\t".to_owned(), false),
            ("NUL", "head\0ache".to_owned(), false),
        ];
        for (case, text, accepted) in table {
            assert_eq!(SymptomText::check(text).is_ok(), accepted, "case: {case}");
        }
    }

    #[test]
    fn debug_shows_no_symptoms() {
        let text = SymptomText::check("headache".to_owned()).unwrap();
        assert!(!format!("{text:?}").contains("headache"));
    }
}
