//! What belongs to a patient's record: symptom reports, links to imaging studies, notes.

use std::fmt;

use neurotriage_domain::{FieldViolation, PatientId, StudyId, latest_day};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{error::violation, patient::iso_date, search::SearchKey};

/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 20_000;
/// Longest description of a study, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 256;

/// Kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A report of symptoms.
    SymptomReport,
    /// A link to an imaging study.
    StudyLink,
    /// A note.
    Note,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::SymptomReport, Self::StudyLink, Self::Note];

    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SymptomReport => "symptom_report",
            Self::StudyLink => "study_link",
            Self::Note => "note",
        }
    }

    /// Returns the kind that `word` stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What an entry of one kind holds.
pub trait Content: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind.
    const KIND: EntryKind;

    /// Returns what the entry is found by.
    fn search_keys(&self) -> Vec<SearchKey>;
}

/// One entry of a patient's record.
#[derive(Clone, PartialEq)]
pub struct Entry<C> {
    /// Identifier.
    pub entry_id: Uuid,
    /// Whose record.
    pub patient_id: PatientId,
    /// Counts changes, from 1.
    pub revision: u64,
    /// When it was stored, UTC.
    pub created_at: OffsetDateTime,
    /// What it holds.
    pub content: C,
}

/// A link to a study of the ingestion service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyLink {
    /// The study.
    pub study_id: StudyId,
    /// Day the images were made, if known.
    #[serde(with = "iso_date::option")]
    pub acquired_on: Option<Date>,
    /// What it is.
    pub description: String,
}

/// A note on a patient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The note as written.
    pub text: String,
}

impl StudyLink {
    /// Returns the link if it keeps the limits.
    ///
    /// # Errors
    /// Every wrong field.
    pub fn check(mut self, now: OffsetDateTime) -> Result<Self, Vec<FieldViolation>> {
        let mut wrong = Vec::new();
        self.description = self.description.trim().to_owned();
        let description = &self.description;
        let long = description.chars().count() > DESCRIPTION_CHARS_MAX;
        if long || description.contains(char::is_control) {
            let right = format!("0 to {DESCRIPTION_CHARS_MAX} characters on one line");
            wrong.push(violation("description", right));
        }
        let ahead = |date: Date| date > latest_day(now);
        if self.acquired_on.is_some_and(|date| ahead(date) || date.year() < 1970) {
            wrong.push(violation("acquired_on", "YYYY-MM-DD, not in the future, or empty"));
        }
        if wrong.is_empty() { Ok(self) } else { Err(wrong) }
    }
}

impl Note {
    /// Returns the note if it keeps the limits.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn check(text: String) -> Result<Self, Vec<FieldViolation>> {
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > NOTE_CHARS_MAX || has_odd_control(&text) {
            let right = format!(
                "1 to {NOTE_CHARS_MAX} characters that are not all blank, with no control characters but line breaks \
                 and tabs"
            );
            return Err(vec![violation("text", right)]);
        }
        Ok(Self { text })
    }
}

/// Returns whether `text` holds a control character that a written text has no use for.
pub(crate) fn has_odd_control(text: &str) -> bool {
    text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

impl Content for StudyLink {
    const KIND: EntryKind = EntryKind::StudyLink;

    fn search_keys(&self) -> Vec<SearchKey> {
        vec![SearchKey::Study(self.study_id)]
    }
}

impl Content for Note {
    const KIND: EntryKind = EntryKind::Note;

    fn search_keys(&self) -> Vec<SearchKey> {
        Vec::new()
    }
}

// What is written about patients stays out of logs.
impl<C> fmt::Debug for Entry<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("entry_id", &self.entry_id)
            .field("patient_id", &self.patient_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StudyLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StudyLink").field("study_id", &self.study_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    #[test]
    fn a_link_keeps_its_limits() {
        let link = StudyLink {
            study_id: "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa".parse().unwrap(),
            acquired_on: Some(date!(2026 - 11 - 20)),
            description: " Head, before surgery ".to_owned(),
        };
        assert_eq!(link.clone().check(NOW).unwrap().description, "Head, before surgery");
        let late = StudyLink { acquired_on: Some(date!(2026 - 11 - 24)), ..link.clone() };
        assert_eq!(late.check(NOW).unwrap_err()[0].field, "acquired_on");
        for text in ["two\nlines", &"d".repeat(257)] {
            let wrong = StudyLink { description: text.to_owned(), ..link.clone() };
            assert_eq!(wrong.check(NOW).unwrap_err()[0].field, "description");
        }
    }

    #[test]
    fn a_note_keeps_its_limits() {
        for text in ["seen today", "두 줄\n메모\t", &"가".repeat(20_000)] {
            assert!(Note::check(text.to_owned()).is_ok());
        }
        for text in ["", " \n", "a\0b", "a\u{1b}[31mb", &"가".repeat(20_001)] {
            assert_eq!(Note::check(text.to_owned()).unwrap_err()[0].field, "text");
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let note = Note { text: "secret".to_owned() };
        let entry = Entry {
            entry_id: Uuid::nil(),
            patient_id: PatientId::generate(),
            revision: 1,
            created_at: NOW,
            content: note.clone(),
        };
        assert!(!format!("{entry:?} {note:?}").contains("secret"));
    }
}
