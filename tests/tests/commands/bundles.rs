//! What a bundle tells, however it names it.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// Elements that are the storing system's own.
const OWN: [&str; 4] = ["id", "meta", "issued", "recorded"];
/// What tells of the software that made a story; it is not brought in.
const OF_SOFTWARE: [&str; 2] = ["Device", "Provenance"];
/// How ids begin, and the system of identifiers that are one.
const IDS: [&str; 2] = ["urn:uuid:", "urn:ietf:rfc:3986"];
/// Present, of SNOMED CT.
const PRESENT: &str = "52101004";
/// Absent, of SNOMED CT.
const ABSENT: &str = "2667000";
/// Right, of SNOMED CT.
pub(crate) const RIGHT: &str = "24028007";

/// Returns the bundle in a file.
pub(crate) fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"])
}

/// Returns how many entries of a bundle are brought in.
pub(crate) fn brought_in(bundle: &Value) -> usize {
    let is_of_software = |resource: &&Value| {
        OF_SOFTWARE.iter().any(|software| resource["resourceType"] == *software)
    };
    resources(bundle).filter(|resource| !is_of_software(resource)).count()
}

/// Returns every resource of a bundle without ids and times of storing, sorted.
pub(crate) fn told(bundle: &Value) -> Vec<String> {
    let mut told: Vec<String> =
        resources(bundle).map(|resource| without_ids(resource).to_string()).collect();
    told.sort_unstable();
    told
}

fn without_ids(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(IDS[0]) => json!("an id"),
        Value::Array(values) => values.iter().map(without_ids).collect(),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), without_ids(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Returns the values of the identifiers of the patient, but for the storing system's own.
pub(crate) fn numbers(bundle: &Value) -> Vec<&str> {
    let patient = resources(bundle).find(|one| one["resourceType"] == "Patient").unwrap();
    let identifiers = patient["identifier"].as_array().unwrap().iter();
    let others = identifiers.filter(|identifier| identifier["system"] != IDS[1]);
    others.map(|identifier| identifier["value"].as_str().unwrap()).collect()
}

/// Returns the texts of reports and notes, sorted.
pub(crate) fn texts(bundle: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> =
        resources(bundle).filter_map(|resource| resource["valueString"].as_str()).collect();
    texts.sort_unstable();
    texts
}

/// A finding in short: code, side, whether it is there, and how it began.
pub(crate) type Finding<'a> = (&'a str, &'a str, bool, &'a str);

/// Returns the findings of a bundle, sorted.
pub(crate) fn findings(bundle: &Value) -> Vec<Finding<'_>> {
    let is_finding = |resource: &&Value| resource["valueCodeableConcept"].is_object();
    let mut findings: Vec<_> = resources(bundle).filter(is_finding).map(finding).collect();
    findings.sort_unstable();
    findings
}

fn finding(resource: &Value) -> Finding<'_> {
    let present = match first_code(&resource["valueCodeableConcept"]) {
        PRESENT => true,
        ABSENT => false,
        other => panic!("neither present nor absent: {other}"),
    };
    let component = |code: &str| {
        let mut parts = resource["component"].as_array().into_iter().flatten();
        let part = parts.find(|part| first_code(&part["code"]) == code);
        part.map_or("", |part| first_code(&part["valueCodeableConcept"]))
    };
    (first_code(&resource["code"]), component("laterality"), present, component("onset"))
}

fn first_code(concept: &Value) -> &str {
    concept["coding"][0]["code"].as_str().unwrap_or_default()
}
