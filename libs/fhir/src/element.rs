//! Elements that every resource is made of.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::code::{UCUM, URI};

/// Returns a coding.
pub fn coded(system: &str, code: &str, display: Option<&str>) -> Value {
    let mut coding = json!({ "system": system, "code": code });
    if let Some(display) = display {
        coding["display"] = json!(display);
    }
    coding
}

/// Returns a concept of one coding, with its text.
pub fn concept(system: &str, code: &str, text: &str) -> Value {
    json!({ "coding": [coded(system, code, None)], "text": text })
}

/// Returns a UUID as FHIR writes it where a URI is asked for.
pub fn uuid_uri(uuid: Uuid) -> String {
    format!("urn:uuid:{uuid}")
}

/// Returns a URI as an identifier.
pub fn uri_identifier(uri: &str) -> Value {
    json!({ "system": URI, "value": uri })
}

/// Returns a number without the digits that no measurement has.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Returns a measured value with a unit of UCUM.
pub fn quantity(value: f64, unit: &str) -> Value {
    json!({ "value": rounded(value), "unit": unit, "system": UCUM, "code": unit })
}

/// Returns a number of 0 to 1.
pub fn ratio(value: f64) -> Value {
    json!({ "value": rounded(value), "system": UCUM, "code": "1" })
}

/// Removes what FHIR's JSON does not know: members that are `null` or empty lists.
pub fn without_empty(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| {
            !member.is_null() && member.as_array().is_none_or(|items| !items.is_empty())
        });
    }
    value
}

/// Returns text as XHTML that says the same.
pub fn escaped(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, '\t' | '\n') || !c.is_control())
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// Returns paragraphs as the narrative of a resource.
pub fn narrative(paragraphs: &[String]) -> Value {
    let paragraphs: String =
        paragraphs.iter().map(|text| format!("<p>{}</p>", escaped(text))).collect();
    json!({
        "status": "generated",
        "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{paragraphs}</div>"),
    })
}
