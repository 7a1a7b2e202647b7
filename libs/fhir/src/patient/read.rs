//! Reading a Patient: who it is must be right, what else is unreadable is left out.

mod contacts;
mod name;

use std::collections::HashSet;

use neurotriage_domain::is_language_tag;
use serde_json::Value;
use time::{Date, OffsetDateTime};

use super::{Consent, Hints, MedicalRecordNumber, NumberKey, Patient};
use crate::{
    code::{CONSENT, ConsentScope, HANDEDNESS, Handedness, IDENTIFIER_TYPE, LANGUAGE, Sex, URI},
    reader::{Node, Reader},
    time_text::{is_partial, is_past},
};

/// Most numbers of a patient; the further ones are left out.
pub(crate) const NUMBERS_MAX: usize = 16;
/// Longest number, in characters.
const NUMBER_CHARS_MAX: usize = 64;
/// Most languages that are kept; the further ones are left out.
const LANGUAGES_MAX: usize = 4;
/// Longest issuer, and longest part of an address, in characters.
const PART_CHARS_MAX: usize = 128;

/// Elements of a Patient that the records have no place for.
const NOT_KEPT: [&str; 6] = [
    "generalPractitioner",
    "managingOrganization",
    "maritalStatus",
    "multipleBirthBoolean",
    "multipleBirthInteger",
    "photo",
];

/// Returns the patient of a resource, and what tells them from others; what is wrong is noted in `reader`.
pub(crate) fn read(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> (Patient, Hints) {
    let today = now.date();
    reader.check_modifiers(node);
    check_use(reader, node);
    let (name, family) = name::of_patient(reader, node, today);
    let patient = Patient {
        numbers: numbers(reader, node, today),
        name,
        birth_date: birth_date(reader, node, now),
        sex: sex(reader, node),
        handedness: reader.optional(|reader| {
            reader.extension_code(node, HANDEDNESS, &Handedness::codes(), Handedness::of)
        }),
        address: contacts::address(reader, node, today),
        contact_points: contacts::points(reader, node, today),
        contact_persons: contacts::persons(reader, node, today),
        consents: consents(reader, node, now),
        languages: languages(reader, node),
    };
    note_unkept(reader, node);
    let birth_part = node.peek("birthDate").filter(|text| is_partial(text)).map(str::to_owned);
    (patient, Hints { family, birth_part })
}

/// Refuses a record that is not to be used, by the elements that R4 says change its meaning.
fn check_use(reader: &mut Reader, node: &Node<'_>) {
    if reader.boolean(node, "active") == Some(false) {
        reader.refuse(node.below("active"), "is false; send patients whose record is in use");
    }
    for name in ["deceasedBoolean", "deceasedDateTime"] {
        if node.value.get(name).is_some_and(|value| value != false) {
            reader.refuse(node.below(name), "patients who died cannot be brought in");
        }
    }
    for link in reader.objects(node, "link") {
        reader.check_modifiers(&link);
        if link.peek("type") == Some("replaced-by") {
            let text = "says that another record replaces this one; send that one";
            reader.refuse(link.below("type"), text);
        }
    }
}

/// Notes elements that are not kept, so that nobody looks for them later.
fn note_unkept(reader: &mut Reader, node: &Node<'_>) {
    for name in NOT_KEPT {
        if node.value.get(name).is_some_and(|value| value != false) {
            reader.leave_out(node.below(name), "is not kept");
        }
    }
    let extensions = node.value.get("extension").and_then(Value::as_array);
    let is_known = |extension: &Value| {
        let url = extension.get("url").and_then(Value::as_str);
        url.is_some_and(|url| [HANDEDNESS, CONSENT].contains(&url))
    };
    if extensions.is_some_and(|all| !all.iter().all(is_known)) {
        reader.leave_out(node.below("extension"), "holds extensions that are not known here");
    }
}

/// Returns whether an element was of use in the past only.
fn is_over(node: &Node<'_>, today: Date) -> bool {
    let end = node.value.get("period").and_then(|period| period.get("end")).and_then(Value::as_str);
    end.is_some_and(|end| is_past(end, today))
}

/// How surely an identifier is a medical record number.
enum Likeness {
    /// Of type `MR`.
    Is,
    /// Of no type that is coded.
    MayBe,
    /// Of another type, such as a passport.
    IsNot,
}

fn likeness(reader: &mut Reader, identifier: &Node<'_>) -> Likeness {
    let kind = reader.optional(|reader| reader.object(identifier, "type"));
    let Some(kind) = kind else { return Likeness::MayBe };
    let codings = reader.optional(|reader| reader.codings(&kind));
    if codings.is_empty() {
        Likeness::MayBe
    } else if codings.iter().any(|(system, code, _)| (*system, *code) == (IDENTIFIER_TYPE, "MR")) {
        Likeness::Is
    } else {
        Likeness::IsNot
    }
}

/// Returns the identifiers of type `MR` that are in use; if none has it, those without a coded type.
fn number_identifiers<'a>(reader: &mut Reader, node: &Node<'a>, today: Date) -> Vec<Node<'a>> {
    let (mut typed, mut bare) = (Vec::new(), Vec::new());
    for identifier in reader.objects(node, "identifier") {
        let is_old = identifier.peek("use") == Some("old") || is_over(&identifier, today);
        if identifier.peek("system") == Some(URI) || is_old {
            continue;
        }
        match likeness(reader, &identifier) {
            Likeness::Is => typed.push(identifier),
            Likeness::MayBe => bare.push(identifier),
            Likeness::IsNot => {}
        }
    }
    if typed.is_empty() { bare } else { typed }
}

/// Returns the keys of the medical record numbers of a Patient, as [`read`] takes them; `None` stands for one that
/// cannot be read.
pub(crate) fn number_keys(node: &Node<'_>, today: Date) -> Vec<Option<NumberKey>> {
    let mut scratch = Reader::default();
    let identifiers = number_identifiers(&mut scratch, node, today);
    let key = |identifier: &Node<'_>| {
        let number = number(&mut scratch, identifier);
        number.map(|number| number.key())
    };
    identifiers.iter().map(key).collect()
}

/// Returns the key of one identifier, whatever its type.
pub(crate) fn number_key(identifier: &Node<'_>) -> Option<NumberKey> {
    number(&mut Reader::default(), identifier).map(|number| number.key())
}

/// Returns the medical record numbers.
fn numbers(reader: &mut Reader, node: &Node<'_>, today: Date) -> Vec<MedicalRecordNumber> {
    let identifiers = number_identifiers(reader, node, today);
    let mut numbers: Vec<MedicalRecordNumber> = Vec::new();
    let mut known = HashSet::new();
    let mut wrong = Vec::new();
    for identifier in identifiers {
        if numbers.len() == NUMBERS_MAX {
            let text = format!("at most {NUMBERS_MAX} numbers are kept");
            reader.leave_out(identifier.path, text);
            continue;
        }
        let before = reader.problems.len();
        let number = number(reader, &identifier);
        wrong.extend(reader.problems.split_off(before));
        match number {
            Some(number) if known.insert(number.key()) => numbers.push(number),
            Some(_) => reader.leave_out(identifier.path, "is given twice"),
            None => {}
        }
    }
    if numbers.is_empty() {
        let text = format!(
            "give 1 to {NUMBERS_MAX} medical record numbers: identifiers of type MR ({IDENTIFIER_TYPE})"
        );
        reader.refuse(node.below("identifier"), text);
        reader.problems.extend(wrong);
    } else {
        reader.notes.extend(wrong);
    }
    numbers
}

fn number(reader: &mut Reader, identifier: &Node<'_>) -> Option<MedicalRecordNumber> {
    reader.check_modifiers(identifier);
    let issuer = match identifier.member("system") {
        Some(_) => line(reader, identifier, "system", PART_CHARS_MAX),
        None => {
            let assigner = reader.object(identifier, "assigner");
            assigner.and_then(|assigner| line(reader, &assigner, "display", PART_CHARS_MAX))
        }
    };
    let number = line(reader, identifier, "value", NUMBER_CHARS_MAX);
    if issuer.is_none() || number.is_none() {
        let text = "needs a value, and who issued it: a system, or an assigner with a display";
        reader.refuse(&identifier.path, text);
    }
    Some(MedicalRecordNumber { issuer: issuer?, number: number? })
}

/// Returns a text on one line, without blanks around it.
fn line(reader: &mut Reader, node: &Node<'_>, name: &str, chars_max: usize) -> Option<String> {
    reader.text(node, name, chars_max).map(on_one_line)
}

fn on_one_line(text: &str) -> String {
    text.trim().replace(|c: char| c.is_control(), " ")
}

/// The day of birth; a year or month alone is legal, and left out.
fn birth_date(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Option<Date> {
    if node.peek("birthDate").is_some_and(is_partial) {
        let text = "is a year or month alone, which is not kept";
        reader.leave_out(node.below("birthDate"), text);
        return None;
    }
    reader.day(node, "birthDate", now)
}

fn sex(reader: &mut Reader, node: &Node<'_>) -> Option<Sex> {
    let code = reader.optional(|reader| reader.code(node, "gender"))?;
    let sex = Sex::of(code);
    if sex.is_none() {
        let text = "must be one of female, male, other, unknown";
        reader.leave_out(node.below("gender"), text);
    }
    sex
}

/// One for each scope: of several the latest, and on one day the one that does not agree. Beside one that cannot
/// be read none of its scope is kept: it may take back what the others say.
fn consents(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Vec<Consent> {
    let mut told: Vec<(Consent, String)> = Vec::new();
    let mut unreadable = HashSet::new();
    for extension in reader.optional(|reader| reader.extensions(node, CONSENT)) {
        let (scope, consent) = reader.optional(|reader| consent(reader, &extension, now));
        match consent {
            Some(consent) => told.push((consent, extension.path)),
            None => {
                unreadable.extend(scope);
                reader.leave_out(extension.path, "needs scope, given and decidedOn");
            }
        }
    }
    let mut kept: Vec<(Consent, String)> = Vec::new();
    for (consent, path) in told {
        if unreadable.contains(&consent.scope) {
            reader.leave_out(path, "another consent of its scope cannot be read: none is kept");
            continue;
        }
        let Some(known) = kept.iter_mut().find(|(known, _)| known.scope == consent.scope) else {
            kept.push((consent, path));
            continue;
        };
        let weight = |consent: &Consent| (consent.decided_on, !consent.given);
        let is_weightier = weight(&consent) > weight(&known.0);
        let left = if is_weightier { std::mem::replace(known, (consent, path)).1 } else { path };
        reader.leave_out(left, "its scope is given twice: the latest counts, or the refusal");
    }
    kept.into_iter().map(|(consent, _)| consent).collect()
}

/// Returns what a consent is about, and all of it if all can be read.
fn consent(
    reader: &mut Reader,
    extension: &Node<'_>,
    now: OffsetDateTime,
) -> (Option<ConsentScope>, Option<Consent>) {
    let codes = ConsentScope::codes();
    let scope = reader.extension_code(extension, "scope", &codes, ConsentScope::of);
    let given = only(reader, extension, "given");
    let given = given.and_then(|given| reader.boolean(&given, "valueBoolean"));
    let day = only(reader, extension, "decidedOn");
    let day = day.and_then(|day| reader.day(&day, "valueDate", now));
    let whole = |scope| Some(Consent { scope, given: given?, decided_on: day? });
    (scope, scope.and_then(whole))
}

/// Returns the extension of that URL if there is one alone.
fn only<'a>(reader: &mut Reader, node: &Node<'a>, url: &str) -> Option<Node<'a>> {
    let mut found = reader.extensions(node, url);
    if let Some(second) = found.get(1) {
        reader.refuse(&second.path, "is given twice; keep one");
        return None;
    }
    found.pop()
}

/// BCP 47 tags, the preferred first.
fn languages(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let mut languages: Vec<(bool, String)> = Vec::new();
    for communication in reader.optional(|reader| reader.objects(node, "communication")) {
        let (preferred, tag) = reader.optional(|reader| {
            reader.check_modifiers(&communication);
            let preferred = reader.boolean(&communication, "preferred") == Some(true);
            let concept = reader.object(&communication, "language");
            let codings = concept.map(|concept| reader.codings(&concept)).unwrap_or_default();
            let tag = codings
                .into_iter()
                .find(|(system, tag, _)| *system == LANGUAGE && is_language_tag(tag));
            (preferred, tag.map(|(_, tag, _)| tag))
        });
        let has_modifier = communication.value.get("modifierExtension").is_some();
        let Some(tag) = tag.filter(|_| !has_modifier) else {
            let text = format!("needs a coding of {LANGUAGE}, such as ko");
            reader.leave_out(communication.below("language"), text);
            continue;
        };
        if !languages.iter().any(|(_, known)| known.eq_ignore_ascii_case(tag)) {
            languages.push((preferred, tag.to_owned()));
        }
    }
    languages.sort_by_key(|(preferred, _)| !preferred);
    if languages.len() > LANGUAGES_MAX {
        let text = format!("at most {LANGUAGES_MAX} languages are kept");
        reader.leave_out(node.below("communication"), text);
        languages.truncate(LANGUAGES_MAX);
    }
    languages.into_iter().map(|(_, tag)| tag).collect()
}
