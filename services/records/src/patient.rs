//! Who a patient is, and what is accepted as one.

use std::fmt;

use neurotriage_domain::{FieldViolation, PatientId};
use serde::Serialize;
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use crate::error::violation;

/// Longest number that a hospital gives a patient, in characters.
pub const MEDICAL_RECORD_NUMBER_CHARS_MAX: usize = 64;
/// Longest name of an issuer of numbers, in characters.
pub const ISSUER_CHARS_MAX: usize = 128;
/// Longest name of a patient, in characters.
pub const NAME_CHARS_MAX: usize = 256;
/// Nobody alive was born before this year.
const BIRTH_YEAR_MIN: i32 = 1880;
/// It is tomorrow already where clocks are ahead of UTC.
const BIRTH_DATE_AHEAD_MAX: Duration = Duration::days(1);

/// Sex recorded for clinical use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// Not recorded.
    Unspecified,
    /// Female.
    Female,
    /// Male.
    Male,
    /// Another or unknown.
    Other,
}

/// Hand the patient writes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Handedness {
    /// Not recorded.
    Unspecified,
    /// Right-handed.
    Right,
    /// Left-handed.
    Left,
    /// Uses both hands.
    Both,
}

/// A place on earth, WGS 84.
#[derive(Clone, Copy, PartialEq, Serialize)]
pub struct Coordinates {
    /// Degrees north, -90 to 90.
    pub latitude_degrees: f64,
    /// Degrees east, -180 to 180.
    pub longitude_degrees: f64,
}

/// What a caller says about a patient; nothing of it is checked yet.
#[derive(Clone, Default)]
pub struct PatientDraft {
    /// Hospital's own number for the patient.
    pub medical_record_number: String,
    /// Who issued the number.
    pub issuer: String,
    /// Name as written.
    pub name: String,
    /// Birth date as `YYYY-MM-DD`; empty if unknown.
    pub birth_date: String,
    /// Sex; `None` is a value that this version does not know.
    pub sex: Option<Sex>,
    /// Writing hand; `None` is a value that this version does not know.
    pub handedness: Option<Handedness>,
    /// Where the patient lives.
    pub home: Option<Coordinates>,
}

/// What is known of a patient.
///
/// Invariant: every field keeps its limits. [`PatientDetails::check`] is the only way in from a
/// caller, so holders never check again.
#[derive(Clone, PartialEq, Serialize)]
pub struct PatientDetails {
    /// Hospital's own number for the patient; unique with `issuer`.
    pub medical_record_number: String,
    /// Who issued the number.
    pub issuer: String,
    /// Name as written; may be empty.
    pub name: String,
    /// Birth date, if known.
    pub birth_date: Option<Date>,
    /// Sex recorded for clinical use.
    pub sex: Sex,
    /// Hand the patient writes with.
    pub handedness: Handedness,
    /// Where the patient lives, if known.
    pub home: Option<Coordinates>,
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
    /// What is known.
    pub details: PatientDetails,
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

impl fmt::Debug for PatientDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientDetails").finish_non_exhaustive()
    }
}

impl fmt::Debug for PatientDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientDraft").finish_non_exhaustive()
    }
}

impl fmt::Debug for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinates").finish_non_exhaustive()
    }
}

impl PatientDetails {
    /// Returns the details if every field is right; `now` is the moment of the check.
    ///
    /// # Errors
    /// Every wrong field with what would be right, by its path in the request.
    pub fn check(draft: PatientDraft, now: OffsetDateTime) -> Result<Self, Vec<FieldViolation>> {
        let mut wrong = Vec::new();
        let lines = [
            (
                "medical_record_number",
                &draft.medical_record_number,
                1,
                MEDICAL_RECORD_NUMBER_CHARS_MAX,
            ),
            ("issuer", &draft.issuer, 1, ISSUER_CHARS_MAX),
            ("name", &draft.name, 0, NAME_CHARS_MAX),
        ];
        for (field, value, chars_min, chars_max) in lines {
            let chars = value.trim().chars().count();
            if chars < chars_min || chars > chars_max || value.contains(char::is_control) {
                let text = format!("{chars_min} to {chars_max} characters on one line");
                wrong.push(violation(&format!("patient.{field}"), text));
            }
        }
        let birth_date = birth_date(&draft.birth_date, now).unwrap_or_else(|| {
            wrong.push(violation("patient.birth_date", "YYYY-MM-DD, not in the future, or empty"));
            None
        });
        if draft.sex.is_none() {
            wrong.push(violation("patient.sex", "a value of Sex"));
        }
        if draft.handedness.is_none() {
            wrong.push(violation("patient.handedness", "a value of Handedness"));
        }
        if let Some(home) = draft.home {
            if !(-90.0..=90.0).contains(&home.latitude_degrees) {
                wrong.push(violation("patient.home.latitude_degrees", "-90 to 90"));
            }
            if !(-180.0..=180.0).contains(&home.longitude_degrees) {
                wrong.push(violation("patient.home.longitude_degrees", "-180 to 180"));
            }
        }
        let (true, Some(sex), Some(handedness)) = (wrong.is_empty(), draft.sex, draft.handedness)
        else {
            return Err(wrong);
        };
        Ok(Self {
            medical_record_number: draft.medical_record_number.trim().to_owned(),
            issuer: draft.issuer.trim().to_owned(),
            name: draft.name.trim().to_owned(),
            birth_date,
            sex,
            handedness,
            home: draft.home,
        })
    }
}

/// Returns the date, `Some(None)` for an empty text, or `None` if it is wrong.
fn birth_date(text: &str, now: OffsetDateTime) -> Option<Option<Date>> {
    if text.is_empty() {
        return Some(None);
    }
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    let latest = now.date().saturating_add(BIRTH_DATE_AHEAD_MAX);
    (date.year() >= BIRTH_YEAR_MIN && date <= latest).then_some(Some(date))
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

    fn draft() -> PatientDraft {
        PatientDraft {
            medical_record_number: " 12-34 ".to_owned(),
            issuer: "Sample Hospital".to_owned(),
            name: "김하나".to_owned(),
            birth_date: "1960-02-29".to_owned(),
            sex: Some(Sex::Female),
            handedness: Some(Handedness::Left),
            home: Some(Coordinates { latitude_degrees: 37.5, longitude_degrees: 127.0 }),
        }
    }

    #[test]
    fn a_good_draft_becomes_details() {
        let details = PatientDetails::check(draft(), NOW).unwrap();
        assert_eq!(details.medical_record_number, "12-34");
        assert_eq!(details.birth_date, Some(date!(1960 - 02 - 29)));
        let bare = PatientDraft {
            medical_record_number: "1".to_owned(),
            issuer: "i".to_owned(),
            sex: Some(Sex::Unspecified),
            handedness: Some(Handedness::Unspecified),
            ..PatientDraft::default()
        };
        assert_eq!(PatientDetails::check(bare, NOW).unwrap().birth_date, None);
    }

    #[test]
    fn each_wrong_field_is_named() {
        type Spoil = fn(&mut PatientDraft);
        let table: [(&str, Spoil, &str); 14] = [
            ("no number", |d| d.medical_record_number.clear(), "medical_record_number"),
            ("blank number", |d| d.medical_record_number = "  ".into(), "medical_record_number"),
            ("long number", |d| d.medical_record_number = "1".repeat(65), "medical_record_number"),
            ("no issuer", |d| d.issuer.clear(), "issuer"),
            ("long issuer", |d| d.issuer = "i".repeat(129), "issuer"),
            ("long name", |d| d.name = "가".repeat(257), "name"),
            ("control character", |d| d.name = "a\0b".into(), "name"),
            ("no such day", |d| d.birth_date = "1961-02-29".into(), "birth_date"),
            ("other order", |d| d.birth_date = "29.02.1960".into(), "birth_date"),
            ("future", |d| d.birth_date = "2026-11-24".into(), "birth_date"),
            ("long ago", |d| d.birth_date = "1879-12-31".into(), "birth_date"),
            ("unknown sex", |d| d.sex = None, "sex"),
            ("unknown hand", |d| d.handedness = None, "handedness"),
            (
                "not on earth",
                |d| {
                    d.home =
                        Some(Coordinates { latitude_degrees: f64::NAN, longitude_degrees: 0.0 })
                },
                "home.latitude_degrees",
            ),
        ];
        for (case, spoil, field) in table {
            let mut spoiled = draft();
            spoil(&mut spoiled);
            let wrong = PatientDetails::check(spoiled, NOW).unwrap_err();
            let fields: Vec<&str> =
                wrong.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, [format!("patient.{field}")], "case: {case}");
        }
        assert_eq!(PatientDetails::check(PatientDraft::default(), NOW).unwrap_err().len(), 4);
    }

    #[test]
    fn debug_shows_no_patient_data() {
        let details = PatientDetails::check(draft(), NOW).unwrap();
        // A fixed id: a drawn one may hold the digits of a secret.
        let patient_id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa".parse::<PatientId>().unwrap();
        let patient = Patient { patient_id, revision: 1, created_at: NOW, details };
        let shown = format!("{patient:?} {:?} {:?} {:?}", patient.details, draft(), draft().home);
        for secret in ["김하나", "12-34", "1960", "Sample", "37.5", "127"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}
