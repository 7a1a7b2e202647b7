//! Reading Observation and Condition.

use neurotriage_domain::Side;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Finding, SymptomReport, TEXT_CHARS_MAX};
use crate::{
    code::{
        CLINICAL, COURSE, Course, HPO, HPO_OBO, INTERPRETATION, LATERALITY, NOTE, ONSET, OWN,
        Onset, Reporter, SIDE, SNOMED, SYMPTOM_REPORT, Severity, VERIFICATION, is_finding,
        read_body_side, read_presence,
    },
    reader::{Node, Reader, is_own},
};

/// Longest name of a finding, in characters.
const NAME_CHARS_MAX: usize = 256;

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
}

/// What an entry holds.
#[derive(Clone, Debug)]
pub(crate) enum Read<'a> {
    /// A report without its members, and where they are named.
    Report(SymptomReport, Vec<Node<'a>>),
    /// A note.
    Note(String),
    /// A finding, who reported it and when.
    Finding(Finding, Option<Reporter>, Option<OffsetDateTime>),
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
    let codings = code.and_then(|code| code.get("coding")).and_then(Value::as_array);
    let Some(codings) = codings.filter(|codings| !codings.is_empty()) else {
        return Kind::Finding;
    };
    let text = |coding: &Value, name: &str| {
        coding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let is_derived =
        |coding: &Value| text(coding, "system") == OWN && !text(coding, "code").starts_with("NT:");
    let is_foreign =
        |coding: &Value| ![HPO, HPO_OBO, OWN].contains(&text(coding, "system").as_str());
    if codings.iter().all(is_derived) {
        Kind::Derived
    } else if codings.iter().all(is_foreign) {
        Kind::Foreign
    } else {
        Kind::Finding
    }
}

/// Reads an Observation of that kind; `None` if its status says that it is of no use.
pub(crate) fn observation<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    kind: Kind,
    now: OffsetDateTime,
) -> Option<Read<'a>> {
    reader.check_modifiers(node);
    match reader.code(node, "status") {
        Some("registered" | "preliminary" | "final" | "amended" | "corrected" | "unknown") => {}
        Some("cancelled" | "entered-in-error") => return None,
        Some(_) => reader.refuse(node.below("status"), "must be one of FHIR's observation-status"),
        None => reader.refuse(node.below("status"), "is missing; write final"),
    }
    let reporter = reporter(reader, node, "performer");
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
                reporter,
                reported_at,
                findings: Vec::new(),
            };
            Some(Read::Report(report, members))
        }
        Kind::Note => {
            let text = reader.text(node, "valueString", TEXT_CHARS_MAX);
            if text.is_none() && node.member("valueString").is_none() {
                reader.refuse(node.below("valueString"), "is missing; give the note");
            }
            Some(Read::Note(text.unwrap_or_default().to_owned()))
        }
        Kind::Finding | Kind::Foreign | Kind::Derived => {
            let (code, display_name) = code(reader, node);
            let present = presence(reader, node);
            let mut sides = Vec::new();
            if let Some(site) = reader.object(node, "bodySite") {
                sides.extend(reader.meaning(&site, read_body_side).map(|side| (side, site.path)));
            }
            let (mut onset, mut course, mut severity) = (None, None, None);
            for component in reader.objects(node, "component") {
                let name = component.value.get("code");
                let Some(value) = reader.object(&component, "valueCodeableConcept") else {
                    continue;
                };
                if is_own(name, SIDE) {
                    let side = reader.meaning(&value, read_body_side);
                    known(reader, &value, side.is_some(), "a side of SNOMED CT");
                    sides.extend(side.map(|side| (side, value.path)));
                } else if is_own(name, "onset") {
                    onset = own_value(reader, &value, &Onset::codes(), Onset::of).or(onset);
                } else if is_own(name, "course") {
                    course = own_value(reader, &value, &Course::codes(), Course::of).or(course);
                } else if is_own(name, "severity") {
                    severity = self::severity(reader, &value).or(severity);
                }
            }
            let side = one_side(reader, sides);
            let finding = Finding { code, display_name, side, present, onset, course, severity };
            Some(Read::Finding(finding, reporter, reported_at))
        }
    }
}

/// Reads a Condition as a finding; `None` if its status says that it is of no use.
pub(crate) fn condition<'a>(
    reader: &mut Reader,
    node: &Node<'a>,
    now: OffsetDateTime,
) -> Option<Read<'a>> {
    reader.check_modifiers(node);
    let verification = status(
        reader,
        node,
        "verificationStatus",
        VERIFICATION,
        &["unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"],
    );
    if verification == Some("entered-in-error") {
        return None;
    }
    let clinical = status(
        reader,
        node,
        "clinicalStatus",
        CLINICAL,
        &["active", "recurrence", "relapse", "inactive", "remission", "resolved"],
    );
    let present = verification != Some("refuted");
    if !present && matches!(clinical, Some("active" | "recurrence" | "relapse")) {
        let text = "contradicts verificationStatus refuted; correct one of them";
        reader.refuse(node.below("clinicalStatus"), text);
    }
    let (code, display_name) = code(reader, node);
    let mut sides = Vec::new();
    for site in reader.objects(node, "bodySite") {
        let side = reader.meaning(&site, read_body_side);
        sides.extend(side.map(|side| (side, site.path.clone())));
        for extension in reader.extensions(&site, LATERALITY) {
            let value = reader.object(&extension, "valueCodeableConcept");
            let side = value.as_ref().and_then(|value| reader.meaning(value, read_body_side));
            known(reader, &extension, side.is_some(), "a side of SNOMED CT");
            sides.extend(side.map(|side| (side, extension.path.clone())));
        }
    }
    let onset = reader.extension_code(node, ONSET, &Onset::codes(), Onset::of);
    let course = reader.extension_code(node, COURSE, &Course::codes(), Course::of);
    let ended = matches!(clinical, Some("inactive" | "remission" | "resolved"));
    if let (true, Some(course)) = (ended, course)
        && course != Course::Resolved
    {
        let text = "contradicts the course that is given; correct one of them";
        reader.refuse(node.below("clinicalStatus"), text);
    }
    let severity =
        reader.object(node, "severity").and_then(|severity| self::severity(reader, &severity));
    let side = one_side(reader, sides);
    let reported_at = reader.time(node, "recordedDate", now);
    let asserter =
        reader.object(node, "asserter").and_then(|asserter| of_reference(node, &asserter));
    let finding = Finding {
        code,
        display_name,
        side,
        present,
        onset,
        course: course.or((ended && present).then_some(Course::Resolved)),
        severity,
    };
    Some(Read::Finding(finding, asserter, reported_at))
}

/// Returns a status code of `system`, which must be one of `codes`.
fn status(
    reader: &mut Reader,
    node: &Node<'_>,
    name: &str,
    system: &str,
    codes: &[&'static str],
) -> Option<&'static str> {
    let concept = reader.object(node, name)?;
    let read = |of: &str, code: &str| {
        (of == system).then(|| codes.iter().copied().find(|known| *known == code)).flatten()
    };
    let status = reader.meaning(&concept, read);
    if status.is_none() {
        let text = format!("needs one coding of {system}: {}", codes.join(", "));
        reader.refuse(concept.path, text);
    }
    status
}

/// Returns the code of a finding and its name.
fn code(reader: &mut Reader, node: &Node<'_>) -> (String, String) {
    let Some(concept) = reader.object(node, "code") else {
        if node.member("code").is_none() {
            reader.refuse(node.below("code"), "is missing; give a code of HPO");
        }
        return <(String, String)>::default();
    };
    let mut found: Option<(&str, Node<'_>)> = None;
    for (system, code, coding) in reader.codings(&concept) {
        if !is_finding(system, code) {
            if system == HPO {
                reader.refuse(coding.below("code"), "must be HP: and seven digits");
            }
            continue;
        }
        match &found {
            Some((known, _)) if *known != code => {
                let text = "contradicts another coding of the same concept; keep one finding";
                reader.refuse(coding.path, text);
            }
            Some(_) => {}
            None => found = Some((code, coding)),
        }
    }
    let text = reader.text(&concept, "text", NAME_CHARS_MAX);
    let Some((code, coding)) = found else {
        let text = format!(
            "needs a coding of {HPO}, such as HP:0001250, or of {OWN} that begins with NT:"
        );
        reader.refuse(concept.path, text);
        return <(String, String)>::default();
    };
    let name = text.or_else(|| reader.text(&coding, "display", NAME_CHARS_MAX)).unwrap_or_default();
    (code.to_owned(), name.to_owned())
}

/// Returns whether the finding is there: by its value and by its interpretation, which must agree.
fn presence(reader: &mut Reader, node: &Node<'_>) -> bool {
    let mut told = Vec::new();
    if let Some(value) = reader.object(node, "valueCodeableConcept") {
        told.extend(reader.meaning(&value, read_presence).map(|present| (present, value.path)));
    }
    if let Some(present) = reader.boolean(node, "valueBoolean") {
        told.push((present, node.below("valueBoolean")));
    }
    for interpretation in reader.objects(node, "interpretation") {
        let read = |system: &str, code: &str| match (system, code) {
            (INTERPRETATION, "POS") => Some(true),
            (INTERPRETATION, "NEG") => Some(false),
            _ => None,
        };
        let present = reader.meaning(&interpretation, read);
        told.extend(present.map(|present| (present, interpretation.path)));
    }
    let Some((first, _)) = told.first() else {
        let text = format!(
            "must say whether the finding is there: {SNOMED} 52101004 (present) or 2667000 (absent)"
        );
        reader.refuse(node.below("valueCodeableConcept"), text);
        return false;
    };
    let first = *first;
    for (present, path) in told {
        if present != first {
            reader
                .refuse(path, "contradicts another element that says whether the finding is there");
        }
    }
    first
}

fn one_side(reader: &mut Reader, sides: Vec<(Side, String)>) -> Option<Side> {
    let first = sides.first().map(|(side, _)| *side);
    for (side, path) in sides {
        if Some(side) != first {
            reader.refuse(path, "contradicts another element that gives the side; keep one");
        }
    }
    first
}

fn severity(reader: &mut Reader, concept: &Node<'_>) -> Option<Severity> {
    let read = |system: &str, code: &str| (system == SNOMED).then(|| Severity::of(code)).flatten();
    let severity = reader.meaning(concept, read);
    known(reader, concept, severity.is_some(), &format!("{SNOMED} {}", Severity::codes()));
    severity
}

fn own_value<T: Copy + PartialEq>(
    reader: &mut Reader,
    concept: &Node<'_>,
    codes: &str,
    of: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let read = |system: &str, code: &str| (system == OWN).then(|| of(code)).flatten();
    let value = reader.meaning(concept, read);
    known(reader, concept, value.is_some(), &format!("{OWN} {codes}"));
    value
}

fn known(reader: &mut Reader, node: &Node<'_>, is_known: bool, what: &str) {
    if !is_known {
        reader.refuse(&node.path, format!("needs one coding of {what}"));
    }
}

/// When something was observed: the effective time, else when it was issued.
fn effective(reader: &mut Reader, node: &Node<'_>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    for name in ["effectiveDateTime", "effectiveInstant"] {
        if node.member(name).is_some() {
            return reader.time(node, name, now);
        }
    }
    if let Some(period) = reader.object(node, "effectivePeriod") {
        return reader.time(&period, "start", now);
    }
    reader.time(node, "issued", now)
}

/// The kind of the first performer that is told.
fn reporter(reader: &mut Reader, node: &Node<'_>, name: &str) -> Option<Reporter> {
    let performers = reader.objects(node, name);
    performers.iter().find_map(|performer| of_reference(node, performer))
}

/// By `type`, else by the reference: the subject of the resource, or `Type/id` at its end.
fn of_reference(node: &Node<'_>, reference: &Node<'_>) -> Option<Reporter> {
    let subject = node.value.get("subject").and_then(|subject| subject.get("reference"));
    if subject.is_some() && subject == reference.value.get("reference") {
        return Some(Reporter::Patient);
    }
    if let Some(kind) = reference.peek("type") {
        return Reporter::of_type(kind);
    }
    let mut parts = reference.peek("reference")?.rsplit('/');
    let _id = parts.next()?;
    Reporter::of_type(parts.next()?)
}
