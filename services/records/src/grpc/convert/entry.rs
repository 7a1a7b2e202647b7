//! Entries: symptom reports, links to studies, notes.

use neurotriage_domain::{Side, StudyId};
use neurotriage_proto::{common::v1 as common, records::v1 as pb};
use uuid::Uuid;

use super::{
    Violations, code, date_text, patient_id, read, read_date, request_id, time, time_of, timestamp,
    unless,
};
use crate::{
    coding::{Course, Finding, Onset, Origin, Severity},
    entry::{Entry, Note, StudyLink},
    error::violation,
    records::{EntryFilter, NewEntry, Read, both},
    symptoms::{FINDINGS_MAX, Reporter, Symptoms, SymptomsDraft},
};

pub(in crate::grpc) fn create_report(
    request: pb::CreateSymptomReportRequest,
) -> (Read<NewEntry>, SymptomsDraft) {
    let new = new_entry(&request.request_id, &request.patient_id);
    let mut wrong = Violations::new();
    let reporter = match pb::Reporter::try_from(request.reporter) {
        Ok(pb::Reporter::Unspecified) => Reporter::Unspecified,
        Ok(pb::Reporter::Patient) => Reporter::Patient,
        Ok(pb::Reporter::Relative) => Reporter::Relative,
        Ok(pb::Reporter::Clinician) => Reporter::Clinician,
        Ok(pb::Reporter::Other) => Reporter::Other,
        Err(_) => {
            wrong.push(violation("reporter", "a value of Reporter"));
            Reporter::Unspecified
        }
    };
    let reported_at = request.reported_at.as_ref().and_then(|at| {
        let read = time_of(at);
        if read.is_none() {
            wrong.push(violation("reported_at", "a time that is not in the future, or absent"));
        }
        read
    });
    let findings = request
        .findings
        .into_iter()
        // One more than is right, so that it shows.
        .take(FINDINGS_MAX + 1)
        .enumerate()
        .map(|(at, finding)| read_finding(at, finding, &mut wrong))
        .collect();
    let draft =
        SymptomsDraft { text: request.text, reporter, findings, reported_at, unreadable: wrong };
    (new, draft)
}

fn new_entry(request: &str, patient: &str) -> Read<NewEntry> {
    let ids = both(read(request_id(request)), read(patient_id("patient_id", patient)));
    ids.map(|(request_id, patient_id)| NewEntry { request_id, patient_id })
}

fn read_finding(at: usize, finding: pb::Finding, wrong: &mut Violations) -> Finding {
    let mut unknown = |field: &str, of: &str| {
        wrong.push(violation(&format!("findings[{at}].{field}"), format!("a value of {of}")));
    };
    let side = match common::Side::try_from(finding.side) {
        Ok(common::Side::Unspecified) => None,
        Ok(common::Side::Left) => Some(Side::Left),
        Ok(common::Side::Right) => Some(Side::Right),
        Ok(common::Side::Midline) => Some(Side::Midline),
        Err(_) => {
            unknown("side", "Side");
            None
        }
    };
    let onset = match pb::Onset::try_from(finding.onset) {
        Ok(pb::Onset::Unspecified) => None,
        Ok(pb::Onset::Sudden) => Some(Onset::Sudden),
        Ok(pb::Onset::Acute) => Some(Onset::Acute),
        Ok(pb::Onset::Subacute) => Some(Onset::Subacute),
        Ok(pb::Onset::Gradual) => Some(Onset::Gradual),
        Err(_) => {
            unknown("onset", "Onset");
            None
        }
    };
    let course = match pb::Course::try_from(finding.course) {
        Ok(pb::Course::Unspecified) => None,
        Ok(pb::Course::Worsening) => Some(Course::Worsening),
        Ok(pb::Course::Stable) => Some(Course::Stable),
        Ok(pb::Course::Improving) => Some(Course::Improving),
        Ok(pb::Course::Fluctuating) => Some(Course::Fluctuating),
        Ok(pb::Course::Resolved) => Some(Course::Resolved),
        Err(_) => {
            unknown("course", "Course");
            None
        }
    };
    let severity = match pb::Severity::try_from(finding.severity) {
        Ok(pb::Severity::Unspecified) => None,
        Ok(pb::Severity::Mild) => Some(Severity::Mild),
        Ok(pb::Severity::Moderate) => Some(Severity::Moderate),
        Ok(pb::Severity::Severe) => Some(Severity::Severe),
        Err(_) => {
            unknown("severity", "Severity");
            None
        }
    };
    // Whatever it says, the caller coded it.
    if pb::FindingOrigin::try_from(finding.origin).is_err() {
        unknown("origin", "FindingOrigin");
    }
    let present = finding.present.unwrap_or_else(|| {
        // A value left out must not pass for a denial.
        let right = "true or false: whether the finding is there";
        wrong.push(violation(&format!("findings[{at}].present"), right));
        true
    });
    Finding {
        finding_id: finding.finding_id,
        code: finding.code,
        display_name: finding.display_name,
        side,
        present,
        matched_text: String::new(),
        onset,
        course,
        severity,
        origin: Origin::Caller,
    }
}

pub(in crate::grpc) fn filter(request: &pb::ListSymptomReportsRequest) -> Read<EntryFilter> {
    let mut wrong = Violations::new();
    let filter = EntryFilter {
        code: code(&request.code, &mut wrong),
        created_from: time("created_from", request.created_from, &mut wrong),
        created_before: time("created_before", request.created_before, &mut wrong),
    };
    unless(wrong, filter)
}

/// Returns the link with what of it could not be read.
pub(in crate::grpc) fn link_study(
    request: pb::LinkStudyRequest,
) -> (Read<NewEntry>, StudyLink, Violations) {
    let new = new_entry(&request.request_id, &request.patient_id);
    let mut wrong = Violations::new();
    let study_id = request.study_id.parse().unwrap_or_else(|_| {
        wrong.push(violation("study_id", "a UUID"));
        StudyId::from(Uuid::nil())
    });
    let acquired_on = read_date("acquired_on", &request.acquired_on, &mut wrong);
    let link = StudyLink { study_id, acquired_on, description: request.description };
    (new, link, wrong)
}

pub(in crate::grpc) fn create_note(request: pb::CreateNoteRequest) -> (Read<NewEntry>, String) {
    (new_entry(&request.request_id, &request.patient_id), request.text)
}

pub(in crate::grpc) fn report(entry: Entry<Symptoms>) -> pb::SymptomReport {
    let symptoms = entry.content;
    let reporter = match symptoms.reporter {
        Reporter::Unspecified => pb::Reporter::Unspecified,
        Reporter::Patient => pb::Reporter::Patient,
        Reporter::Relative => pb::Reporter::Relative,
        Reporter::Clinician => pb::Reporter::Clinician,
        Reporter::Other => pb::Reporter::Other,
    };
    pb::SymptomReport {
        symptom_report_id: entry.entry_id.to_string(),
        patient_id: entry.patient_id.to_string(),
        created_at: timestamp(entry.created_at),
        text: symptoms.text,
        findings: symptoms.findings.into_iter().map(finding).collect(),
        not_understood: symptoms.not_understood,
        lexicon_version: symptoms.lexicon_version,
        revision: entry.revision,
        reporter: reporter.into(),
        reported_at: timestamp(symptoms.reported_at),
    }
}

fn finding(finding: Finding) -> pb::Finding {
    let side = match finding.side {
        None => common::Side::Unspecified,
        Some(Side::Left) => common::Side::Left,
        Some(Side::Right) => common::Side::Right,
        Some(Side::Midline) => common::Side::Midline,
    };
    let onset = match finding.onset {
        None => pb::Onset::Unspecified,
        Some(Onset::Sudden) => pb::Onset::Sudden,
        Some(Onset::Acute) => pb::Onset::Acute,
        Some(Onset::Subacute) => pb::Onset::Subacute,
        Some(Onset::Gradual) => pb::Onset::Gradual,
    };
    let course = match finding.course {
        None => pb::Course::Unspecified,
        Some(Course::Worsening) => pb::Course::Worsening,
        Some(Course::Stable) => pb::Course::Stable,
        Some(Course::Improving) => pb::Course::Improving,
        Some(Course::Fluctuating) => pb::Course::Fluctuating,
        Some(Course::Resolved) => pb::Course::Resolved,
    };
    let severity = match finding.severity {
        None => pb::Severity::Unspecified,
        Some(Severity::Mild) => pb::Severity::Mild,
        Some(Severity::Moderate) => pb::Severity::Moderate,
        Some(Severity::Severe) => pb::Severity::Severe,
    };
    let origin = match finding.origin {
        Origin::Caller => pb::FindingOrigin::Caller,
        Origin::Text => pb::FindingOrigin::Text,
    };
    pb::Finding {
        finding_id: finding.finding_id,
        code: finding.code,
        display_name: finding.display_name,
        side: side.into(),
        present: Some(finding.present),
        matched_text: finding.matched_text,
        onset: onset.into(),
        course: course.into(),
        severity: severity.into(),
        origin: origin.into(),
    }
}

pub(in crate::grpc) fn link(entry: Entry<StudyLink>) -> pb::StudyLink {
    pb::StudyLink {
        study_link_id: entry.entry_id.to_string(),
        patient_id: entry.patient_id.to_string(),
        study_id: entry.content.study_id.to_string(),
        created_at: timestamp(entry.created_at),
        revision: entry.revision,
        acquired_on: date_text(entry.content.acquired_on),
        description: entry.content.description,
    }
}

pub(in crate::grpc) fn note(entry: Entry<Note>) -> pb::Note {
    pb::Note {
        note_id: entry.entry_id.to_string(),
        patient_id: entry.patient_id.to_string(),
        created_at: timestamp(entry.created_at),
        revision: entry.revision,
        text: entry.content.text,
    }
}
