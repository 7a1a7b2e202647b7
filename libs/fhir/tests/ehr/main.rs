//! Bundles as record systems of hospitals write them: what is taken, what is left out, and that no value is
//! repeated where that is told.

#![allow(clippy::unwrap_used, reason = "a helper of a test that cannot go on ends the test")]

mod entries;
mod findings;
mod patients;
mod subjects;

use neurotriage_domain::Side;
use neurotriage_fhir::{
    bundle::BundleError,
    code::{Course, HPO, ICD10_CM, OWN, Reporter, SNOMED, Sex},
    finding::Finding,
    import::{self, Import, Refusal, State},
};
use serde_json::{Value, json};
use time::{
    OffsetDateTime,
    macros::{date, datetime},
};

const NOW: OffsetDateTime = datetime!(2026-11-26 15:00 UTC);
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";

/// A text that no report may repeat.
const SECRET: &str = "zzsecretzz";

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": "p1",
        "identifier": [
            { "system": "urn:oid:1.2.3", "value": "MRN-1" },
            { "type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "SS"),
              "system": "urn:x-national", "value": "N-1" },
        ],
        "name": [{ "use": "official", "family": "Smith", "given": ["Jane", "Q."] }],
        "gender": "female",
        "birthDate": "1961-05-17",
    })
}

fn observation(code: Value) -> Value {
    json!({
        "resourceType": "Observation", "id": "o1", "status": "final", "code": code,
        "subject": { "reference": "Patient/p1" },
        "effectiveDateTime": "2026-11-20T09:30:00+09:00",
        "valueBoolean": true,
    })
}

fn seizure() -> Value {
    observation(concept(HPO, "HP:0001250"))
}

fn condition() -> Value {
    json!({
        "resourceType": "Condition", "id": "c1", "code": concept(SNOMED, "25064002"),
        "subject": { "reference": "Patient/p1" },
    })
}

/// Returns `resource` with members set, or removed by `null`.
fn with(mut resource: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            resource.as_object_mut().unwrap().remove(name);
        } else {
            resource[name] = value.clone();
        }
    }
    resource
}

fn bundle(resources: &[Value]) -> Value {
    let entry = |resource: &Value| {
        let path = format!("{}/{}", resource["resourceType"], resource["id"]).replace('"', "");
        json!({ "fullUrl": format!("https://ehr.invalid/fhir/{path}"), "resource": resource })
    };
    let entries: Vec<Value> = resources.iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}

fn read(bundle: &Value) -> Import {
    let import = import::read(bundle.to_string().as_bytes(), NOW).unwrap();
    for entry in &import.entries {
        assert!(!format!("{entry:?}").contains(SECRET), "{entry:?}");
    }
    import
}

/// Reads the patient and one more.
fn with_patient(resource: &Value) -> Import {
    read(&bundle(&[patient(), resource.clone()]))
}

fn findings(import: &Import) -> Vec<&Finding> {
    import.reports.iter().flat_map(|report| &report.report.findings).collect()
}

fn noted(import: &Import, place: usize) -> Vec<&str> {
    import.entries[place].notes.iter().map(|note| note.path.as_str()).collect()
}

/// Asserts that the second entry is left out for the element at `path`, and the patient is kept.
fn assert_left_out(import: &Import, path: &str, case: &str) {
    assert_eq!(import.patients.len(), 1, "case: {case}");
    assert!(import.reports.is_empty() && import.notes.is_empty(), "case: {case}");
    let entry = &import.entries[1];
    assert!(matches!(entry.state, State::PassedOver(_)), "case: {case}: {entry:?}");
    assert_eq!(noted(import, 1), [format!("entry[1].resource.{path}")], "case: {case}");
}

fn assert_refused(import: &Import, place: usize, refusal: Refusal, path: &str, case: &str) {
    let State::Refused(told, problems) = &import.entries[place].state else {
        panic!("case: {case}: {:?}", import.entries[place]);
    };
    assert_eq!(*told, refusal, "case: {case}");
    let path = format!("entry[{place}].{path}");
    assert!(problems.iter().any(|one| one.path == path), "case: {case}: {problems:?}");
}
