//! Reading a Patient.

use std::collections::HashSet;

use time::OffsetDateTime;

use super::{
    Address, Consent, ContactPerson, ContactPoint, MedicalRecordNumber, Patient, Position,
};
use crate::{
    code::{
        CONSENT, ConsentScope, ContactSystem, GEOLOCATION, HANDEDNESS, Handedness, IDENTIFIER_TYPE,
        LANGUAGE, ROLE, Relationship, Sex, URI,
    },
    reader::{Node, Reader},
};

/// Most numbers of a patient.
const NUMBERS_MAX: usize = 16;
/// Most contact points and persons.
const CONTACTS_MAX: usize = 8;
/// Most languages that are kept; the further ones are left out.
const LANGUAGES_MAX: usize = 4;
/// Most lines of an address.
const LINES_MAX: usize = 4;
/// Longest issuer, and longest part of an address, in characters.
const PART_CHARS_MAX: usize = 128;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Returns the patient of a resource; what is wrong is noted in `reader`.
pub(crate) fn read(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Patient {
    reader.check_modifiers(node);
    if reader.boolean(node, "active") == Some(false) {
        reader.refuse(node.below("active"), "is false; send patients whose record is in use");
    }
    for name in ["deceasedBoolean", "deceasedDateTime"] {
        if node.value.get(name).is_some_and(|value| value != false) {
            reader.refuse(node.below(name), "patients who died cannot be brought in");
        }
    }
    Patient {
        numbers: numbers(reader, node),
        name: name(reader, node),
        birth_date: reader.day(node, "birthDate", now.date()),
        sex: sex(reader, node),
        handedness: reader.extension_code(node, HANDEDNESS, &Handedness::codes(), Handedness::of),
        address: address(reader, node),
        contact_points: points(reader, node),
        contact_persons: persons(reader, node),
        consents: consents(reader, node, now),
        languages: languages(reader, node),
    }
}

/// Identifiers of type `MR`; if none has it, those without a type.
fn numbers(reader: &mut Reader, node: &Node<'_>) -> Vec<MedicalRecordNumber> {
    let mut typed = Vec::new();
    let mut bare = Vec::new();
    for identifier in reader.objects(node, "identifier") {
        if identifier.peek("system") == Some(URI) || identifier.peek("use") == Some("old") {
            continue;
        }
        match reader.object(&identifier, "type") {
            Some(kind) => {
                let is_number = |system: &str, code: &str| {
                    (system == IDENTIFIER_TYPE && code == "MR").then_some(())
                };
                if reader.meaning(&kind, is_number).is_some() {
                    typed.push(identifier);
                }
            }
            None => bare.push(identifier),
        }
    }
    let identifiers = if typed.is_empty() { bare } else { typed };
    if identifiers.is_empty() || identifiers.len() > NUMBERS_MAX {
        let text = format!(
            "give 1 to {NUMBERS_MAX} medical record numbers: identifiers of type MR ({IDENTIFIER_TYPE})"
        );
        reader.refuse(node.below("identifier"), text);
        return Vec::new();
    }
    let mut numbers: Vec<MedicalRecordNumber> = Vec::new();
    for identifier in identifiers {
        let issuer = match identifier.member("system") {
            Some(_) => reader.text(&identifier, "system", PART_CHARS_MAX),
            None => {
                let assigner = reader.object(&identifier, "assigner");
                assigner.and_then(|assigner| reader.text(&assigner, "display", PART_CHARS_MAX))
            }
        };
        let number = reader.text(&identifier, "value", 64);
        match (issuer, number) {
            (Some(issuer), Some(number)) => {
                let number =
                    MedicalRecordNumber { issuer: issuer.to_owned(), number: number.to_owned() };
                if numbers.contains(&number) {
                    reader.refuse(identifier.path, "is given twice; keep one");
                } else {
                    numbers.push(number);
                }
            }
            _ => reader.refuse(
                identifier.path,
                "needs a value, and who issued it: a system, or an assigner with a display",
            ),
        }
    }
    numbers
}

/// The first name that is not of the past.
fn name(reader: &mut Reader, node: &Node<'_>) -> String {
    let names = reader.objects(node, "name");
    named(reader, names)
}

fn named(reader: &mut Reader, names: Vec<Node<'_>>) -> String {
    let is_old = |name: &Node<'_>| matches!(name.peek("use"), Some("old" | "maiden"));
    let Some(name) = names.into_iter().find(|name| !is_old(name)) else { return String::new() };
    if let Some(text) = reader.text(&name, "text", NAME_CHARS_MAX) {
        return text.trim().to_owned();
    }
    let mut parts = Vec::new();
    for given in reader.items(&name, "given") {
        parts.extend(reader.as_text(&given, NAME_CHARS_MAX));
    }
    let family = reader.text(&name, "family", NAME_CHARS_MAX);
    // Where the family name comes first, there are no blanks between.
    let is_east_asian = |text: &&str| {
        text.chars().any(|c| matches!(c, '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'))
    };
    let joined = if family.iter().chain(&parts).any(is_east_asian) {
        family.into_iter().chain(parts).collect::<Vec<_>>().concat()
    } else {
        parts.into_iter().chain(family).collect::<Vec<_>>().join(" ")
    };
    if joined.chars().count() > NAME_CHARS_MAX {
        reader.refuse(name.path, format!("give at most {NAME_CHARS_MAX} characters"));
    }
    joined
}

fn sex(reader: &mut Reader, node: &Node<'_>) -> Option<Sex> {
    let code = reader.code(node, "gender")?;
    let sex = Sex::of(code);
    if sex.is_none() {
        reader.refuse(node.below("gender"), "must be one of female, male, other, unknown");
    }
    sex
}

/// The first address that is not of the past.
fn address(reader: &mut Reader, node: &Node<'_>) -> Option<Address> {
    let is_old = |address: &Node<'_>| matches!(address.peek("use"), Some("old" | "billing"));
    let found = reader.objects(node, "address").into_iter().find(|address| !is_old(address))?;
    let mut lines = Vec::new();
    for line in reader.items(&found, "line") {
        lines.extend(reader.as_text(&line, PART_CHARS_MAX).map(str::to_owned));
    }
    if lines.len() > LINES_MAX {
        reader.refuse(found.below("line"), format!("give at most {LINES_MAX} lines"));
    }
    let mut part = |name: &str, chars_max: usize| {
        reader.text(&found, name, chars_max).unwrap_or_default().to_owned()
    };
    let city = part("city", PART_CHARS_MAX);
    let district = part("state", PART_CHARS_MAX);
    let postal_code = part("postalCode", 16);
    let country = part("country", PART_CHARS_MAX);
    let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    if !country.is_empty() && !is_code {
        reader.refuse(
            found.below("country"),
            "write the two capital letters of ISO 3166-1, such as KR",
        );
    }
    let position = position(reader, &found);
    Some(Address { lines, city, district, postal_code, country, position })
}

fn position(reader: &mut Reader, address: &Node<'_>) -> Option<Position> {
    let extension = reader.extensions(address, GEOLOCATION).into_iter().next()?;
    let mut degrees = |url: &str, limit: f64| {
        let found = reader.extensions(&extension, url).into_iter().next();
        let value = found.and_then(|found| reader.number(&found, "valueDecimal", (-limit, limit)));
        if value.is_none() {
            let text = format!("needs {url} with valueDecimal, from {} to {limit}", -limit);
            reader.refuse(&extension.path, text);
        }
        value
    };
    let latitude = degrees("latitude", 90.0);
    let longitude = degrees("longitude", 180.0);
    Some(Position { latitude_degrees: latitude?, longitude_degrees: longitude? })
}

/// Telephone and e-mail; other ways to reach somebody are left out.
fn points(reader: &mut Reader, node: &Node<'_>) -> Vec<ContactPoint> {
    let mut points = Vec::new();
    for point in reader.objects(node, "telecom") {
        if point.peek("use") == Some("old") {
            continue;
        }
        let system = match reader.code(&point, "system") {
            Some("sms") => ContactSystem::Phone,
            Some(code) => match ContactSystem::of(code) {
                Some(system) => system,
                None if matches!(code, "fax" | "pager" | "url" | "other") => continue,
                None => {
                    reader.refuse(
                        point.below("system"),
                        "must be one of FHIR's contact-point-system",
                    );
                    continue;
                }
            },
            None => {
                reader.refuse(point.below("system"), "is missing; write phone or email");
                continue;
            }
        };
        match reader.text(&point, "value", 254) {
            Some(value) if value.chars().count() >= 3 => {
                points.push(ContactPoint { system, value: value.to_owned() });
            }
            _ => reader.refuse(point.below("value"), "give 3 to 254 characters"),
        }
    }
    if points.len() > CONTACTS_MAX {
        reader.refuse(node.below("telecom"), format!("give at most {CONTACTS_MAX}"));
    }
    points
}

fn persons(reader: &mut Reader, node: &Node<'_>) -> Vec<ContactPerson> {
    let mut persons = Vec::new();
    for contact in reader.objects(node, "contact") {
        let mut relationship = None;
        for concept in reader.objects(&contact, "relationship") {
            let read = |system: &str, code: &str| {
                (system == ROLE).then(|| Relationship::of_role(code)).flatten()
            };
            relationship = relationship.or(reader.meaning(&concept, read));
        }
        let name: Vec<Node<'_>> = reader.object(&contact, "name").into_iter().collect();
        let name = named(reader, name);
        let contact_points = points(reader, &contact);
        if name.is_empty() || contact_points.is_empty() {
            let text = "needs a name, and a telephone number or e-mail address";
            reader.refuse(contact.path, text);
            continue;
        }
        persons.push(ContactPerson { relationship, name, contact_points });
    }
    if persons.len() > CONTACTS_MAX {
        reader.refuse(node.below("contact"), format!("give at most {CONTACTS_MAX}"));
    }
    persons
}

fn consents(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Vec<Consent> {
    let mut consents = Vec::new();
    let mut scopes = HashSet::new();
    for extension in reader.extensions(node, CONSENT) {
        let codes = ConsentScope::codes();
        let scope = reader.extension_code(&extension, "scope", &codes, ConsentScope::of);
        let given = reader.extensions(&extension, "given").into_iter().next();
        let given = given.and_then(|given| reader.boolean(&given, "valueBoolean"));
        let day = reader.extensions(&extension, "decidedOn").into_iter().next();
        let day = day.and_then(|day| reader.day(&day, "valueDate", now.date()));
        match (scope, given, day) {
            (Some(scope), Some(given), Some(decided_on)) if scopes.insert(scope) => {
                consents.push(Consent { scope, given, decided_on });
            }
            (Some(_), Some(_), Some(_)) => {
                reader.refuse(extension.path, "gives a scope twice; keep one");
            }
            _ => reader.refuse(extension.path, "needs scope, given and decidedOn"),
        }
    }
    consents
}

/// BCP 47 tags, the preferred first.
fn languages(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let mut languages: Vec<(bool, String)> = Vec::new();
    for communication in reader.objects(node, "communication") {
        let preferred = reader.boolean(&communication, "preferred") == Some(true);
        let Some(concept) = reader.object(&communication, "language") else {
            reader.refuse(communication.below("language"), "is missing; give it");
            continue;
        };
        let codings = reader.codings(&concept);
        let Some((_, tag, _)) = codings.iter().find(|(system, _, _)| *system == LANGUAGE) else {
            reader.refuse(concept.path, format!("needs a coding of {LANGUAGE}, such as ko"));
            continue;
        };
        if !languages.iter().any(|(_, known)| known.eq_ignore_ascii_case(tag)) {
            languages.push((preferred, (*tag).to_owned()));
        }
    }
    languages.sort_by_key(|(preferred, _)| !preferred);
    languages.truncate(LANGUAGES_MAX);
    languages.into_iter().map(|(_, tag)| tag).collect()
}
