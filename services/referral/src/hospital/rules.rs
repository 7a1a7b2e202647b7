//! What each field of a hospital must be, in one place for every form of the directory.

use std::collections::HashSet;

use neurotriage_domain::is_language_tag;

use super::{Hospital, Identifier};

/// Longest name and city, in characters: longer text is a note in the wrong column.
pub const TEXT_CHARS_MAX: usize = 256;

/// Longest system and longest value of an identifier, in characters.
pub const IDENTIFIER_CHARS_MAX: usize = 128;

/// Most identifiers of one hospital.
pub const IDENTIFIERS_MAX: usize = 16;

/// Most languages of one hospital.
pub const LANGUAGES_MAX: usize = 32;

/// Most free beds: several times the largest hospital there is.
pub const BEDS_FREE_MAX: u32 = 100_000;

/// Identifier system under which FHIR carries the hospital's own id; not for other identifiers.
pub use neurotriage_fhir::code::HOSPITAL_ID as RESERVED_SYSTEM;

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// One field of a hospital, in the order of the CSV columns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name in `snake_case`, the same in TOML and CSV.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

fields! {
    /// The hospital's own id.
    HospitalId = "hospital_id";
    /// Its name.
    Name = "name";
    /// Its city.
    City = "city";
    /// Degrees north.
    LatitudeDegrees = "latitude_degrees";
    /// Degrees east.
    LongitudeDegrees = "longitude_degrees";
    /// What it offers.
    Capabilities = "capabilities";
    /// Share of referrals it can take now.
    Capacity = "capacity";
    /// Whether it takes referrals at present.
    AcceptsReferrals = "accepts_referrals";
    /// Names that other registers gave it.
    Identifiers = "identifiers";
    /// Languages spoken.
    Languages = "languages";
    /// Beds free now.
    BedsFree = "beds_free";
}

/// A field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", field.as_str())]
pub struct FieldProblem {
    /// Which field.
    pub field: Field,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl FieldProblem {
    pub(crate) fn new(field: Field, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl Hospital {
    /// Checks every field that its type leaves open.
    ///
    /// # Errors
    /// [`FieldProblem`] names the first field that breaks its rule: a name or city that is empty,
    /// longer than [`TEXT_CHARS_MAX`] or holds control characters other than tab and line breaks; a
    /// capability, language or identifier listed twice; a capacity outside 0 to 1; a language that
    /// is no BCP 47 tag; an identifier without absolute URI or value; more than [`BEDS_FREE_MAX`]
    /// beds.
    pub fn check(&self) -> Result<(), FieldProblem> {
        for (field, text) in [(Field::Name, &self.name), (Field::City, &self.city)] {
            check_text(text).map_err(|problem| FieldProblem::new(field, problem))?;
        }
        let mut offered = HashSet::new();
        for capability in &self.capabilities {
            if !offered.insert(capability.as_str()) {
                let problem = format!("{} is listed twice; list it once", capability.as_str());
                return Err(FieldProblem::new(Field::Capabilities, problem));
            }
        }
        if !(0.0..=1.0).contains(&self.capacity) {
            let problem = "is no share; write a number from 0 to 1, such as 0.35";
            return Err(FieldProblem::new(Field::Capacity, problem));
        }
        check_identifiers(&self.identifiers)
            .map_err(|problem| FieldProblem::new(Field::Identifiers, problem))?;
        check_languages(&self.languages)
            .map_err(|problem| FieldProblem::new(Field::Languages, problem))?;
        if self.beds_free.is_some_and(|beds| beds > BEDS_FREE_MAX) {
            let problem = format!("are too many beds; at most {BEDS_FREE_MAX} are allowed");
            return Err(FieldProblem::new(Field::BedsFree, problem));
        }
        Ok(())
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty; fill it in".to_owned());
    }
    check_length(text, TEXT_CHARS_MAX)?;
    // FHIR's `string` allows the same three.
    check_controls(text, &['\t', '\n', '\r'])
}

fn check_length(text: &str, chars_max: usize) -> Result<(), String> {
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(format!("has {chars} characters; at most {chars_max} are allowed"));
    }
    Ok(())
}

fn check_controls(text: &str, allowed: &[char]) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        Some(c) => Err(format!("holds the control character U+{:04X}; remove it", u32::from(c))),
        None => Ok(()),
    }
}

fn check_identifiers(identifiers: &[Identifier]) -> Result<(), String> {
    check_count(identifiers.len(), IDENTIFIERS_MAX)?;
    let mut seen = HashSet::new();
    for (place, identifier) in (1_usize..).zip(identifiers) {
        let Identifier { system, value } = identifier;
        check_length(system, IDENTIFIER_CHARS_MAX)
            .and_then(|()| check_length(value, IDENTIFIER_CHARS_MAX))
            .and_then(|()| check_controls(value, &[]))
            .map_err(|problem| format!("identifier {place} {problem}"))?;
        if !is_absolute_uri(system) {
            return Err(format!(
                "identifier {place} has a system that is no absolute URI; write one such as \
                 urn:oid:1.2.410"
            ));
        }
        if system == RESERVED_SYSTEM {
            return Err(format!(
                "identifier {place} has the system {RESERVED_SYSTEM}, which is reserved; put the \
                 hospital's own id in hospital_id"
            ));
        }
        if value.is_empty() || value.trim() != value {
            return Err(format!(
                "identifier {place} has a wrong value; write at least one character, with no space \
                 before or after"
            ));
        }
        if !seen.insert(identifier) {
            return Err(format!("identifier {place} is listed twice; list it once"));
        }
    }
    Ok(())
}

/// RFC 3986, section 4.3, without the finer points: a scheme, and printable ASCII that may stand in
/// a URI (so no `|`, which separates system and value in CSV).
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b))
}

fn check_languages(languages: &[String]) -> Result<(), String> {
    check_count(languages.len(), LANGUAGES_MAX)?;
    let mut seen = HashSet::new();
    for (place, language) in (1_usize..).zip(languages) {
        if !is_language_tag(language) {
            return Err(format!(
                "language {place} is no BCP 47 tag; write one such as ko, en or zh-Hant"
            ));
        }
        if !seen.insert(language.to_ascii_lowercase()) {
            return Err(format!("language {place} is listed twice; list it once"));
        }
    }
    Ok(())
}

fn check_count(count: usize, count_max: usize) -> Result<(), String> {
    if count > count_max {
        return Err(format!("{count} are listed; at most {count_max} are allowed"));
    }
    Ok(())
}
