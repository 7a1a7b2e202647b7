//! Limits of what is accepted about a patient.

use neurotriage_domain::{
    CONTACT_CHARS, FieldViolation, is_email_address, is_language_tag, is_phone_number, latest_day,
    not_of_a_name,
};
use time::{Date, OffsetDateTime, macros::format_description};

use super::{
    Address, Consent, ContactPoint, ContactSystem, PatientChanges, PatientDetails, PatientDraft,
    PatientField,
};
use crate::error::violation;

/// Most numbers of one patient.
pub const MEDICAL_RECORD_NUMBERS_MAX: usize = 16;
/// Longest number that a hospital gives a patient, in characters.
pub const MEDICAL_RECORD_NUMBER_CHARS_MAX: usize = 64;
/// Longest name of an issuer of numbers, in characters.
pub const ISSUER_CHARS_MAX: usize = 128;
/// Longest name of a person, in characters.
pub const NAME_CHARS_MAX: usize = 256;
/// Most lines of an address.
pub const ADDRESS_LINES_MAX: usize = 4;
/// Longest line of an address, in characters.
pub const LINE_CHARS_MAX: usize = 128;
/// Longest postal code, in characters.
const POSTAL_CODE_CHARS_MAX: usize = 16;
/// Most ways to reach one person.
pub const CONTACT_POINTS_MAX: usize = 8;
/// Most persons to reach.
pub const CONTACT_PERSONS_MAX: usize = 8;
/// More entries than there are scopes: one of them is wrong.
pub const CONSENTS_MAX: usize = 4;
/// Most languages.
pub const LANGUAGES_MAX: usize = 4;
/// Nobody alive was born before this year.
const BIRTH_YEAR_MIN: i32 = 1880;
/// What a birth date looks like.
pub const BIRTH_DATE: &str = "YYYY-MM-DD, of 1880 or later and not in the future, or empty";

impl PatientDetails {
    /// Returns the details if every field is right; `now` is the moment of the check.
    ///
    /// # Errors
    /// Every wrong field with what would be right, by its path in the request.
    pub fn check(draft: PatientDraft, now: OffsetDateTime) -> Result<Self, Vec<FieldViolation>> {
        check(draft, &PatientField::ALL, now)
    }
}

impl PatientChanges {
    /// Returns the changes if the fields to change are right; the others are not looked at.
    ///
    /// # Errors
    /// Every wrong field with what would be right, by its path in the request.
    pub fn check(
        draft: PatientDraft,
        fields: Vec<PatientField>,
        now: OffsetDateTime,
    ) -> Result<Self, Vec<FieldViolation>> {
        let details = check(draft, &fields, now)?;
        Ok(Self { fields, details })
    }

    /// Returns `details` with the changes made.
    pub fn apply(&self, mut details: PatientDetails) -> PatientDetails {
        for field in &self.fields {
            field.copy(&self.details, &mut details);
        }
        details
    }
}

fn check(
    draft: PatientDraft,
    fields: &[PatientField],
    now: OffsetDateTime,
) -> Result<PatientDetails, Vec<FieldViolation>> {
    let mut details = draft.details;
    trim(&mut details);
    let mut wrong = Wrong { prefix: "patient", violations: Vec::new() };
    for field in fields {
        let path = field.path();
        let of_field = |at: &str| {
            at.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        };
        let unreadable: Vec<&FieldViolation> =
            draft.unreadable.iter().filter(|violation| of_field(&violation.field)).collect();
        if unreadable.is_empty() {
            check_field(*field, &details, now, &mut wrong);
        }
        // What could not be read is not in the details: the positions of the others would be off.
        for violation in unreadable {
            wrong.add(&violation.field, violation.description.clone());
        }
    }
    if wrong.violations.is_empty() { Ok(details) } else { Err(wrong.violations) }
}

struct Wrong {
    prefix: &'static str,
    violations: Vec<FieldViolation>,
}

impl Wrong {
    fn add(&mut self, field: &str, description: impl Into<String>) {
        self.violations.push(violation(&format!("{}.{field}", self.prefix), description));
    }

    /// Checks a text of one line.
    fn line(&mut self, field: &str, value: &str, chars_min: usize, chars_max: usize) {
        let chars = value.chars().count();
        if chars < chars_min || chars > chars_max || value.contains(char::is_control) {
            self.add(field, format!("{chars_min} to {chars_max} characters on one line"));
        }
    }

    /// Checks a person's name.
    fn name(&mut self, field: &str, value: &str, chars_min: usize) {
        self.line(field, value, chars_min, NAME_CHARS_MAX);
        if let Some(sign) = not_of_a_name(value) {
            self.add(field, format!("a name alone, without `{sign}`"));
        }
    }

    fn at_most(&mut self, field: &str, count: usize, max: usize) {
        if count > max {
            self.add(field, format!("at most {max}"));
        }
    }
}

fn trim(details: &mut PatientDetails) {
    fn trimmed(text: &mut String) {
        let kept = text.trim();
        if kept.len() != text.len() {
            *text = kept.to_owned();
        }
    }
    for number in &mut details.medical_record_numbers {
        trimmed(&mut number.issuer);
        trimmed(&mut number.number);
    }
    trimmed(&mut details.name);
    if let Some(address) = &mut details.address {
        let Address { lines, city, district, postal_code, country, coordinates: _ } = address;
        lines.iter_mut().chain([city, district, postal_code, country]).for_each(trimmed);
    }
    let persons = &mut details.contact_persons;
    persons.iter_mut().for_each(|person| trimmed(&mut person.name));
    let points = persons.iter_mut().flat_map(|person| &mut person.contact_points);
    for point in points.chain(&mut details.contact_points) {
        trimmed(&mut point.value);
    }
}

fn check_field(
    field: PatientField,
    details: &PatientDetails,
    now: OffsetDateTime,
    wrong: &mut Wrong,
) {
    match field {
        PatientField::MedicalRecordNumbers => numbers(details, wrong),
        PatientField::Name => wrong.name("name", &details.name, 0),
        PatientField::BirthDate => {
            if !details.birth_date.is_none_or(|date| is_in_a_life(date, now)) {
                wrong.add("birth_date", BIRTH_DATE);
            }
        }
        // Every value that could be read is right.
        PatientField::Sex | PatientField::Handedness => {}
        PatientField::Address => {
            if let Some(place) = &details.address {
                address(place, wrong);
            }
        }
        PatientField::ContactPoints => points("contact_points", &details.contact_points, wrong),
        PatientField::ContactPersons => persons(details, wrong),
        PatientField::Consents => consents(&details.consents, now, wrong),
        PatientField::Languages => languages(&details.languages, wrong),
    }
}

fn numbers(details: &PatientDetails, wrong: &mut Wrong) {
    let numbers = &details.medical_record_numbers;
    if numbers.is_empty() || numbers.len() > MEDICAL_RECORD_NUMBERS_MAX {
        let right = format!("1 to {MEDICAL_RECORD_NUMBERS_MAX}");
        wrong.add("medical_record_numbers", right);
        return;
    }
    for (at, number) in numbers.iter().enumerate() {
        let path = format!("medical_record_numbers[{at}]");
        wrong.line(&format!("{path}.issuer"), &number.issuer, 1, ISSUER_CHARS_MAX);
        let (text, chars_max) = (&number.number, MEDICAL_RECORD_NUMBER_CHARS_MAX);
        wrong.line(&format!("{path}.number"), text, 1, chars_max);
        if numbers[..at].iter().any(|before| before.is_same(number)) {
            wrong.add(&path, "a number that stands here once");
        }
    }
}

fn address(address: &Address, wrong: &mut Wrong) {
    wrong.at_most("address.lines", address.lines.len(), ADDRESS_LINES_MAX);
    for (at, line) in address.lines.iter().take(ADDRESS_LINES_MAX).enumerate() {
        wrong.line(&format!("address.lines[{at}]"), line, 1, LINE_CHARS_MAX);
    }
    wrong.line("address.city", &address.city, 0, LINE_CHARS_MAX);
    wrong.line("address.district", &address.district, 0, LINE_CHARS_MAX);
    wrong.line("address.postal_code", &address.postal_code, 0, POSTAL_CODE_CHARS_MAX);
    let code = address.country.as_bytes();
    let is_code = code.len() == 2 && code.iter().all(u8::is_ascii_uppercase);
    if !(code.is_empty() || is_code) {
        wrong.add("address.country", "two capital letters of ISO 3166-1, or empty");
    }
    if let Some(place) = address.coordinates {
        if !(-90.0..=90.0).contains(&place.latitude_degrees) {
            wrong.add("address.coordinates.latitude_degrees", "-90 to 90");
        }
        if !(-180.0..=180.0).contains(&place.longitude_degrees) {
            wrong.add("address.coordinates.longitude_degrees", "-180 to 180");
        }
    }
}

fn points(path: &str, points: &[ContactPoint], wrong: &mut Wrong) {
    wrong.at_most(path, points.len(), CONTACT_POINTS_MAX);
    for (at, point) in points.iter().take(CONTACT_POINTS_MAX).enumerate() {
        let path = format!("{path}[{at}].value");
        let chars = point.value.chars().count();
        let fits = CONTACT_CHARS.contains(&chars);
        let (right, should_be) = match point.system {
            ContactSystem::Phone => (is_phone_number(&point.value), "a telephone number"),
            ContactSystem::Email => (is_email_address(&point.value), "an e-mail address"),
        };
        if !fits || !right {
            let (min, max) = (CONTACT_CHARS.start(), CONTACT_CHARS.end());
            wrong.add(&path, format!("{should_be} of {min} to {max} characters"));
        }
    }
}

fn persons(details: &PatientDetails, wrong: &mut Wrong) {
    wrong.at_most("contact_persons", details.contact_persons.len(), CONTACT_PERSONS_MAX);
    let persons = details.contact_persons.iter().take(CONTACT_PERSONS_MAX);
    for (at, person) in persons.enumerate() {
        wrong.name(&format!("contact_persons[{at}].name"), &person.name, 1);
        let path = format!("contact_persons[{at}].contact_points");
        if person.contact_points.is_empty() {
            wrong.add(&path, format!("1 to {CONTACT_POINTS_MAX}"));
        }
        points(&path, &person.contact_points, wrong);
    }
}

fn consents(consents: &[Consent], now: OffsetDateTime, wrong: &mut Wrong) {
    for (at, consent) in consents.iter().enumerate() {
        if consents[..at].iter().any(|before| before.scope == consent.scope) {
            wrong.add(&format!("consents[{at}].scope"), "a scope that stands here once");
            // There are few scopes: a long list is wrong at its first repetition.
            break;
        }
        if !is_in_a_life(consent.decided_on, now) {
            wrong.add(&format!("consents[{at}].decided_on"), "YYYY-MM-DD, not in the future");
        }
    }
}

fn languages(languages: &[String], wrong: &mut Wrong) {
    wrong.at_most("languages", languages.len(), LANGUAGES_MAX);
    for (at, tag) in languages.iter().take(LANGUAGES_MAX).enumerate() {
        if !is_language_tag(tag) {
            wrong.add(&format!("languages[{at}]"), "a BCP 47 tag such as `ko`");
        } else if languages[..at].contains(tag) {
            wrong.add(&format!("languages[{at}]"), "a language that stands here once");
        }
    }
}

/// Returns whether somebody alive may have been born, or have decided, on that day; `now` is the moment of the check.
pub fn is_in_a_life(date: Date, now: OffsetDateTime) -> bool {
    date.year() >= BIRTH_YEAR_MIN && date <= latest_day(now)
}

/// Returns the date that `text` says as `YYYY-MM-DD`; nothing if it is none.
pub fn date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}
