//! Symptom reports, their findings and notes: Observation, and Condition when read.

mod read;

use neurotriage_domain::Side;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use self::read::{
    Kind, LeftOut, Read, condition, kind, observation, tellers, unconfirmed_sources,
};
use crate::{
    code::{
        Course, NOTE, Onset, Reporter, SIDE, SNOMED, SYMPTOM_REPORT, Severity, body_side_concept,
        finding_system, own, presence,
    },
    element::{coded, without_empty},
    story::{Writer, derived_id},
    time_text::instant,
};

/// Longest text of a report or note, in characters.
pub const TEXT_CHARS_MAX: usize = 20_000;

/// Most findings of a report that a caller codes.
pub const FINDINGS_MAX: usize = 100;

/// One coded finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of HPO, or one of this project that begins with `NT:`.
    pub code: String,
    /// Plain name.
    pub display_name: String,
    /// Side of the body; [`Side::Midline`] is on both.
    #[serde(serialize_with = "side_name")]
    pub side: Option<Side>,
    /// False if it is denied.
    pub present: bool,
    /// How it began.
    pub onset: Option<Onset>,
    /// How it went on.
    pub course: Option<Course>,
    /// How bad it is.
    pub severity: Option<Severity>,
}

fn side_name<S: serde::Serializer>(side: &Option<Side>, serializer: S) -> Result<S::Ok, S::Error> {
    side.map(Side::as_str).serialize(serializer)
}

/// Symptoms as reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SymptomReport {
    /// As written; may be empty if there are findings.
    pub text: String,
    /// Who reported them.
    pub reporter: Option<Reporter>,
    /// When they were reported.
    #[serde(serialize_with = "instant_text")]
    pub reported_at: Option<OffsetDateTime>,
    /// What they mean.
    pub findings: Vec<Finding>,
}

fn instant_text<S: serde::Serializer>(
    at: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(instant).serialize(serializer)
}

/// A symptom report as kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReport {
    /// Its id.
    pub symptom_report_id: Uuid,
    /// When it was stored.
    pub created_at: Option<OffsetDateTime>,
    /// What was reported.
    pub report: SymptomReport,
    /// For each finding, in order, whether software read it from the text.
    pub from_text: Vec<bool>,
    /// Pieces of the text that were not understood.
    pub not_understood: Vec<String>,
    /// Version of the lexicon that read the text.
    pub lexicon_version: String,
}

/// A note as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNote {
    /// Its id.
    pub note_id: Uuid,
    /// When it was stored.
    pub created_at: Option<OffsetDateTime>,
    /// The note.
    pub text: String,
}

/// Returns the id of the resource of a finding.
pub(crate) fn finding_id(report: &StoredReport, place: usize) -> Uuid {
    derived_id(&format!("finding/{}/{place}", report.symptom_report_id))
}

/// Returns the resources of a report: the report, then its findings.
pub(crate) fn resources(writer: &Writer<'_>, stored: &StoredReport) -> Vec<Value> {
    let report = &stored.report;
    let members: Vec<Value> = (0..report.findings.len())
        .map(|place| writer.reference("Observation", finding_id(stored, place)))
        .collect();
    let not_understood = |piece: &String| json!({ "code": own("not-understood", "not understood"), "valueString": piece });
    let mut resource = json!({
        "resourceType": "Observation",
        "id": stored.symptom_report_id,
        "status": "final",
        "code": own(SYMPTOM_REPORT, "symptoms as reported"),
        "hasMember": members,
        "component": stored.not_understood.iter().map(not_understood).collect::<Vec<_>>(),
    });
    if !report.text.is_empty() {
        resource["valueString"] = json!(report.text);
    }
    let mut resources = vec![told(writer, stored, resource)];
    let findings = report.findings.iter().enumerate().map(|(place, finding)| {
        let from_text = stored.from_text.get(place).copied().unwrap_or_default();
        told(writer, stored, finding_resource(writer, stored, place, finding, from_text))
    });
    resources.extend(findings);
    resources
}

/// Adds whom, when and by whom.
fn told(writer: &Writer<'_>, stored: &StoredReport, mut resource: Value) -> Value {
    resource["subject"] = writer.subject();
    if let Some(at) = stored.report.reported_at {
        resource["effectiveDateTime"] = json!(instant(at));
    }
    if let Some(at) = stored.created_at {
        resource["issued"] = json!(instant(at));
    }
    resource["performer"] = match stored.report.reporter {
        Some(Reporter::Patient) => json!([writer.subject()]),
        Some(reporter) => json!([{ "type": reporter.code(), "display": reporter.text() }]),
        None => Value::Null,
    };
    without_empty(resource)
}

fn finding_resource(
    writer: &Writer<'_>,
    stored: &StoredReport,
    place: usize,
    finding: &Finding,
    from_text: bool,
) -> Value {
    let name = if finding.display_name.is_empty() { &finding.code } else { &finding.display_name };
    let mut code = json!({ "text": name });
    if !finding.code.is_empty() {
        code["coding"] = json!([coded(finding_system(&finding.code), &finding.code, None)]);
    }
    let mut components = Vec::new();
    if let Some(side) = finding.side {
        let text = if side == Side::Midline { "both sides" } else { side.as_str() };
        components.push(json!({
            "code": own(SIDE, "side"),
            "valueCodeableConcept": body_side_concept(side, text),
        }));
    }
    if let Some(onset) = finding.onset {
        components.push(json!({
            "code": own("onset", "how it began"),
            "valueCodeableConcept": own(onset.code(), onset.text()),
        }));
    }
    if let Some(course) = finding.course {
        components.push(json!({
            "code": own("course", "how it went on"),
            "valueCodeableConcept": own(course.code(), course.text()),
        }));
    }
    if let Some(severity) = finding.severity {
        let coding = coded(SNOMED, severity.code(), Some(severity.text()));
        components.push(json!({
            "code": own("severity", "how bad it is"),
            "valueCodeableConcept": { "coding": [coding] },
        }));
    }
    let mut resource = json!({
        "resourceType": "Observation",
        "id": finding_id(stored, place),
        "status": if from_text { "preliminary" } else { "final" },
        "code": code,
        "valueCodeableConcept": presence(finding.present),
        "component": components,
    });
    if from_text {
        let report = writer.reference("Observation", stored.symptom_report_id);
        resource["derivedFrom"] = json!([report]);
    }
    resource
}

/// Returns the resource of a note.
pub(crate) fn note_resource(writer: &Writer<'_>, note: &StoredNote) -> Value {
    let mut resource = json!({
        "resourceType": "Observation",
        "id": note.note_id,
        "status": "final",
        "code": own(NOTE, "note"),
        "subject": writer.subject(),
        "valueString": note.text,
    });
    if let Some(at) = note.created_at {
        resource["issued"] = json!(instant(at));
    }
    resource
}
