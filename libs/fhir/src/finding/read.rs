//! Reading Observation and Condition.

mod parts;

use serde_json::Value;
use time::OffsetDateTime;

use self::parts::{
    NO_SIDE, code, extended_sides, one_side, own_value, presence, severity, site_sides, sites_side,
    status,
};
use super::{Finding, SymptomReport, TEXT_CHARS_MAX};
use crate::{
    code::{
        CLINICAL, COURSE, Course, HPO, HPO_OBO, NOTE, ONSET, OWN, Onset, SIDE, SYMPTOM_REPORT,
        VERIFICATION, read_body_side,
    },
    code_table::finding_of,
    reader::{Node, Reader, is_own},
};

const NO_USE: &str = "its status says that it was entered in error, cancelled or not made yet";
const NO_DATA: &str = "says that its value is not known";
const UNSURE: &str = "its verificationStatus is not confirmed: no finding is claimed";

/// Elements that say that a condition is over.
const ABATEMENT: [&str; 5] =
    ["abatementDateTime", "abatementAge", "abatementPeriod", "abatementRange", "abatementString"];

/// A resource of which nothing is kept.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// The element for which it is left out.
    pub(crate) path: String,
    /// Why.
    pub(crate) reason: &'static str,
}

impl LeftOut {
    pub(crate) fn new(node: &Node<'_>, name: &str, reason: &'static str) -> Self {
        Self { path: node.below(name), reason }
    }
}

/// What an Observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Symptoms as reported, with findings as members.
    Report,
    /// A note.
    Note,
    /// A finding.
    Finding,
    /// Something of code systems that hold no findings, such as a laboratory value.
    Foreign,
    /// Something that software derived, which is no report of anybody.
    Derived,
    /// Something that is told in words alone.
    Uncoded,
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub(crate) enum Read<'a> {
    /// A report without its members and who told it, and where the members are named.
    Report(SymptomReport, Vec<Node<'a>>),
    /// A note.
    Note(String),
    /// A finding, and when it was reported.
    Finding(Finding, Option<OffsetDateTime>),
}

/// Returns what an Observation or a Condition is.
pub(crate) fn kind(node: &Node<'_>) -> Kind {
    let code = node.value.get("code");
    if is_own(code, SYMPTOM_REPORT) {
        return Kind::Report;
    }
    if is_own(code, NOTE) {
        return Kind::Note;
    }
    // R4 asks for the code of an Observation, not for that of a Condition.
    let is_condition = node.peek("resourceType") == Some("Condition");
    let is_uncoded = code
        .map_or(is_condition, |code| code.get("coding").is_none() && code.get("text").is_some());
    if is_uncoded {
        return Kind::Uncoded;
    }
    let codings = code.and_then(|code| code.get("coding")).and_then(Value::as_array);
    let Some(codings) = codings.filter(|codings| !codings.is_empty()) else {
        return Kind::Finding;
    };
    let text = |coding: &Value, name: &str| {
        coding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let is_derived =
        |coding: &Value| text(coding, "system") == OWN && !text(coding, "code").starts_with("NT:");
    let is_foreign = |coding: &Value| {
        let system = text(coding, "system");
        ![HPO, HPO_OBO, OWN].contains(&system.as_str())
            && finding_of(&system, &text(coding, "code")).is_none()
    };
    if codings.iter().all(is_derived) {
        Kind::Derived
    } else if codings.iter().all(is_foreign) {
        Kind::Foreign
    } else {
        Kind::Finding
    }
}

/// Reads an Observation of that kind.
///
/// # Errors
/// [`LeftOut`] if it says that it is of no use.
pub(crate) fn observation<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    kind: Kind,
    now: OffsetDateTime,
) -> Result<Read<'a>, LeftOut> {
    reader.check_modifiers(node);
    match reader.code(node, "status") {
        Some("preliminary" | "final" | "amended" | "corrected" | "unknown") => {}
        Some("registered" | "cancelled" | "entered-in-error") => {
            return Err(LeftOut::new(node, "status", NO_USE));
        }
        Some(_) => reader.refuse(node.below("status"), "must be one of FHIR's observation-status"),
        None => reader.refuse(node.below("status"), "is missing; write final"),
    }
    if node.value.get("dataAbsentReason").is_some() {
        return Err(LeftOut::new(node, "dataAbsentReason", NO_DATA));
    }
    let reported_at = effective(reader, node, now);
    match kind {
        Kind::Report => {
            let text = reader.text(node, "valueString", TEXT_CHARS_MAX).unwrap_or_default();
            let members = reader.objects(node, "hasMember");
            if text.is_empty() && members.is_empty() {
                reader.refuse(node.below("valueString"), "is missing; give the text, or hasMember");
            }
            let report = SymptomReport {
                text: text.to_owned(),
                reporter: None,
                reported_at,
                findings: Vec::new(),
            };
            Ok(Read::Report(report, members))
        }
        Kind::Note => {
            let text = reader.text(node, "valueString", TEXT_CHARS_MAX);
            if text.is_none() && node.member("valueString").is_none() {
                reader.refuse(node.below("valueString"), "is missing; give the note");
            }
            Ok(Read::Note(text.unwrap_or_default().to_owned()))
        }
        Kind::Finding | Kind::Foreign | Kind::Derived | Kind::Uncoded => {
            Ok(Read::Finding(observed(reader, node), reported_at))
        }
    }
}

/// Returns the finding of an Observation.
fn observed(reader: &mut Reader, node: &Node<'_>) -> Finding {
    let (code, display_name) = code(reader, node);
    let present = presence(reader, node);
    let mut sides = extended_sides(reader, node);
    if let Some(site) = reader.optional(|reader| reader.object(node, "bodySite")) {
        sides.extend(site_sides(reader, &site));
    }
    let (mut onset, mut course, mut severity) = (None, None, None);
    for component in reader.objects(node, "component") {
        reader.check_modifiers(&component);
        let name = component.value.get("code");
        let value = reader.optional(|reader| reader.object(&component, "valueCodeableConcept"));
        let Some(value) = value else { continue };
        if is_own(name, SIDE) {
            match reader.meaning(&value, read_body_side) {
                Some(side) => sides.push((side, value.path)),
                None => reader.leave_out(value.path, NO_SIDE),
            }
        } else if is_own(name, "onset") {
            onset = own_value(reader, &value, &Onset::codes(), Onset::of).or(onset);
        } else if is_own(name, "course") {
            course = own_value(reader, &value, &Course::codes(), Course::of).or(course);
        } else if is_own(name, "severity") {
            severity = parts::severity(reader, &value).or(severity);
        }
    }
    let side = one_side(reader, sides);
    Finding { code, display_name, side, present, onset, course, severity }
}

/// Reads a Condition as a finding.
///
/// # Errors
/// [`LeftOut`] if it says that it is of no use, or does not claim to be so.
pub(crate) fn condition<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    now: OffsetDateTime,
) -> Result<Read<'a>, LeftOut> {
    reader.check_modifiers(node);
    let verification = status(
        reader,
        node,
        "verificationStatus",
        VERIFICATION,
        &["unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"],
    );
    match verification {
        Some("entered-in-error") => {
            return Err(LeftOut::new(node, "verificationStatus", NO_USE));
        }
        Some("unconfirmed" | "provisional" | "differential") => {
            return Err(LeftOut::new(node, "verificationStatus", UNSURE));
        }
        Some(_) | None => {}
    }
    let reported_at = recorded(reader, node, now);
    let finding = asserted(reader, node, verification != Some("refuted"));
    Ok(Read::Finding(finding, reported_at))
}

/// Returns the finding of a Condition.
fn asserted(reader: &mut Reader, node: &Node<'_>, present: bool) -> Finding {
    let clinical = status(
        reader,
        node,
        "clinicalStatus",
        CLINICAL,
        &["active", "recurrence", "relapse", "inactive", "remission", "resolved"],
    );
    if !present && matches!(clinical, Some("active" | "recurrence" | "relapse")) {
        let text = "contradicts verificationStatus refuted; correct one of them";
        reader.refuse(node.below("clinicalStatus"), text);
    }
    let (code, display_name) = code(reader, node);
    let mut sides = extended_sides(reader, node);
    let sites = reader.optional(|reader| reader.objects(node, "bodySite"));
    sides.extend(sites_side(reader, &sites));
    let onset =
        reader.optional(|reader| reader.extension_code(node, ONSET, &Onset::codes(), Onset::of));
    let course =
        reader.optional(|reader| reader.extension_code(node, COURSE, &Course::codes(), Course::of));
    let is_told = |name: &&str| node.value.get(*name).is_some();
    let ended = match clinical {
        Some(code) => matches!(code, "inactive" | "remission" | "resolved"),
        None => ABATEMENT.iter().any(is_told),
    };
    if let (true, Some(course)) = (ended, course)
        && course != Course::Resolved
    {
        let text = "contradicts the course that is given; correct one of them";
        reader.refuse(node.below("clinicalStatus"), text);
    }
    let severity = reader.optional(|reader| reader.object(node, "severity"));
    let severity = severity.and_then(|concept| self::severity(reader, &concept));
    let side = one_side(reader, sides);
    let course = course.or((ended && present).then_some(Course::Resolved));
    Finding { code, display_name, side, present, onset, course, severity }
}

/// When something was observed: the effective time, else when it was issued.
fn effective(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    if node.member("effectiveTiming").is_some() {
        let text = "is not kept; give effectiveDateTime, effectiveInstant or effectivePeriod";
        reader.leave_out(node.below("effectiveTiming"), text);
    }
    let period = reader.object(node, "effectivePeriod");
    let told = reader
        .time(node, "effectiveDateTime", now)
        .or_else(|| reader.time(node, "effectiveInstant", now))
        .or_else(|| of_period(reader, period.as_ref(), now));
    told.or_else(|| reader.time(node, "issued", now))
}

/// When a condition was recorded, else when it began.
fn recorded(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let recorded = reader.time(node, "recordedDate", now);
    let before = reader.notes.len();
    let began = reader.time(node, "onsetDateTime", now);
    let period = reader.object(node, "onsetPeriod");
    let began = began.or_else(|| of_period(reader, period.as_ref(), now));
    if recorded.is_some() {
        // Nothing is kept of when it began, so there is nothing to note.
        reader.notes.truncate(before);
    }
    recorded.or(began)
}

/// Returns the start of a period, or its end if that alone is told.
fn of_period(
    reader: &mut Reader,
    period: Option<&Node<'_>>,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let period = period?;
    let name = if period.member("start").is_some() { "start" } else { "end" };
    reader.time(period, name, now)
}

/// Returns the references to what an Observation was derived from, if it says that it is preliminary: so the exports of
/// this suite mark what software read from a text.
pub(crate) fn unconfirmed_sources<'a>(reader: &mut Reader, node: &Node<'a>) -> Vec<Node<'a>> {
    if node.peek("status") != Some("preliminary") {
        return Vec::new();
    }
    reader.optional(|reader| reader.objects(node, "derivedFrom"))
}

/// Returns the references to those who observed something or say that a condition is there.
pub(crate) fn tellers<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    is_condition: bool,
) -> Vec<Node<'a>> {
    reader.optional(|reader| {
        if is_condition {
            reader.object(node, "asserter").into_iter().collect()
        } else {
            reader.objects(node, "performer")
        }
    })
}
