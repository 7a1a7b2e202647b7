//! The Patient resource.

mod read;
mod sameness;

use neurotriage_sealing::Normal;
use serde::Serialize;
use serde_json::{Value, json};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

pub(crate) use self::read::{NUMBERS_MAX, number_key, number_keys, read};
pub use self::sameness::{Hints, contradictions};
use crate::{
    code::{
        self, CONSENT, ConsentScope, ContactSystem, GEOLOCATION, HANDEDNESS, Handedness,
        IDENTIFIER_TYPE, LANGUAGE, ROLE, Relationship, Sex,
    },
    element::{coded, uri_identifier, uuid_uri, without_empty},
    time_text::{day, instant},
};

/// A number that somebody gave a patient.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct MedicalRecordNumber {
    /// Who issued it.
    pub issuer: String,
    /// The number.
    pub number: String,
}

/// Issuer and number as the records compare them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NumberKey {
    issuer: String,
    number: String,
}

impl MedicalRecordNumber {
    /// Returns what is the same for one number however it is written ([`Normal::Text`]), by which the records compare too.
    pub(crate) fn key(&self) -> NumberKey {
        let folded = |text: &str| Normal::Text.apply(text).to_string();
        NumberKey { issuer: folded(&self.issuer), number: folded(&self.number) }
    }
}

/// A place on earth, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Position {
    /// Degrees north.
    pub latitude_degrees: f64,
    /// Degrees east.
    pub longitude_degrees: f64,
}

/// Where somebody lives. Empty fields are not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Address {
    /// Street and house, as written.
    pub lines: Vec<String>,
    /// City.
    pub city: String,
    /// State, province or the like.
    pub district: String,
    /// Postal code.
    pub postal_code: String,
    /// ISO 3166-1 code of two letters.
    pub country: String,
    /// The place.
    pub position: Option<Position>,
}

/// One way to reach somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContactPoint {
    /// By what.
    pub system: ContactSystem,
    /// The number or address.
    pub value: String,
}

/// Somebody to reach about a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContactPerson {
    /// Who they are to the patient.
    pub relationship: Option<Relationship>,
    /// Name as written.
    pub name: String,
    /// How to reach them.
    pub contact_points: Vec<ContactPoint>,
}

/// What a patient agreed to, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// What it is about.
    pub scope: ConsentScope,
    /// Whether the patient agrees.
    pub given: bool,
    /// When it was decided.
    pub decided_on: Date,
}

/// A patient. Empty texts and lists are not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Patient {
    /// Numbers that hospitals gave the patient.
    pub numbers: Vec<MedicalRecordNumber>,
    /// Name as written.
    pub name: String,
    /// Day of birth.
    pub birth_date: Option<Date>,
    /// Sex recorded for clinical use.
    pub sex: Option<Sex>,
    /// Hand the patient writes with.
    pub handedness: Option<Handedness>,
    /// Where the patient lives.
    pub address: Option<Address>,
    /// How to reach the patient.
    pub contact_points: Vec<ContactPoint>,
    /// Whom else to reach.
    pub contact_persons: Vec<ContactPerson>,
    /// What the patient agreed to.
    pub consents: Vec<Consent>,
    /// Languages to speak in, best first.
    pub languages: Vec<String>,
}

/// A patient as kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredPatient {
    /// Its id.
    pub patient_id: Uuid,
    /// Counts changes.
    pub revision: u64,
    /// When it was last changed.
    pub updated_at: Option<OffsetDateTime>,
    /// Patients who were merged into this one.
    pub merged: Vec<Uuid>,
    /// What is known of them.
    pub patient: Patient,
}

/// Returns whether a text is an absolute URI, as the system of an identifier must be.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let begins = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    begins
        && scheme.bytes().all(is_part)
        && !rest.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Returns the resource.
pub(crate) fn resource(stored: &StoredPatient) -> Value {
    let StoredPatient { patient_id, revision, updated_at, merged, patient } = stored;
    let mut identifiers = vec![uri_identifier(&uuid_uri(*patient_id))];
    identifiers.extend(patient.numbers.iter().map(number));
    let replaces = |id: &Uuid| {
        json!({
            "other": { "type": "Patient", "identifier": uri_identifier(&uuid_uri(*id)) },
            "type": "replaces",
        })
    };
    let mut meta = json!({ "versionId": revision.to_string() });
    if let Some(at) = updated_at {
        meta["lastUpdated"] = json!(instant(*at));
    }
    let language = |(place, tag): (usize, &String)| {
        let mut one = json!({ "language": { "coding": [coded(LANGUAGE, tag, None)] } });
        if place == 0 {
            one["preferred"] = json!(true);
        }
        one
    };
    without_empty(json!({
        "resourceType": "Patient",
        "id": patient_id,
        "meta": meta,
        "extension": extensions(patient),
        "identifier": identifiers,
        "active": true,
        "name": names(&patient.name),
        "telecom": points(&patient.contact_points),
        "gender": patient.sex.map(Sex::code),
        "birthDate": patient.birth_date.map(day),
        "address": patient.address.as_ref().map(address).into_iter().collect::<Vec<_>>(),
        "contact": patient.contact_persons.iter().map(person).collect::<Vec<_>>(),
        "communication": patient.languages.iter().enumerate().map(language).collect::<Vec<_>>(),
        "link": merged.iter().map(replaces).collect::<Vec<_>>(),
    }))
}

fn number(number: &MedicalRecordNumber) -> Value {
    let mut identifier = json!({
        "type": { "coding": [coded(IDENTIFIER_TYPE, "MR", Some("Medical record number"))] },
        "value": number.number,
    });
    if is_uri(&number.issuer) {
        identifier["system"] = json!(number.issuer);
    } else {
        identifier["assigner"] = json!({ "display": number.issuer });
    }
    identifier
}

fn names(name: &str) -> Vec<Value> {
    if name.is_empty() { Vec::new() } else { vec![json!({ "text": name })] }
}

fn points(points: &[ContactPoint]) -> Vec<Value> {
    let point =
        |point: &ContactPoint| json!({ "system": point.system.code(), "value": point.value });
    points.iter().map(point).collect()
}

fn person(person: &ContactPerson) -> Value {
    let relationship = person.relationship.map(|relationship| {
        json!({
            "coding": [coded(ROLE, relationship.code(), None)],
            "text": relationship.text(),
        })
    });
    without_empty(json!({
        "relationship": relationship.into_iter().collect::<Vec<_>>(),
        "name": { "text": person.name },
        "telecom": points(&person.contact_points),
    }))
}

fn address(address: &Address) -> Value {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let position = address.position.map(|position| {
        json!({
            "url": GEOLOCATION,
            "extension": [
                { "url": "latitude", "valueDecimal": position.latitude_degrees },
                { "url": "longitude", "valueDecimal": position.longitude_degrees },
            ],
        })
    });
    without_empty(json!({
        "extension": position.into_iter().collect::<Vec<_>>(),
        "use": "home",
        "line": address.lines,
        "city": text(&address.city),
        "state": text(&address.district),
        "postalCode": text(&address.postal_code),
        "country": text(&address.country),
    }))
}

fn extensions(patient: &Patient) -> Vec<Value> {
    let mut extensions = Vec::new();
    if let Some(handedness) = patient.handedness {
        extensions.push(json!({ "url": HANDEDNESS, "valueCode": handedness.code() }));
    }
    extensions.extend(patient.consents.iter().map(|consent| {
        json!({
            "url": CONSENT,
            "extension": [
                { "url": "scope", "valueCode": consent.scope.code() },
                { "url": "given", "valueBoolean": consent.given },
                { "url": "decidedOn", "valueDate": day(consent.decided_on) },
            ],
        })
    }));
    extensions
}

/// Returns a reference to a patient who stands in the same bundle.
pub(crate) fn subject(patient_id: Uuid) -> Value {
    json!({ "reference": uuid_uri(patient_id), "type": code::Reporter::Patient.code() })
}
