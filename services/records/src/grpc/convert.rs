//! Between protobuf messages and domain types. The only place that knows both.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use neurotriage_domain::{InvalidId, PatientId, Side, SymptomReportId};
use neurotriage_proto::{common::v1 as common, records::v1 as pb};
use uuid::Uuid;

use crate::{
    coding::Finding,
    error::RecordsError,
    patient::{Coordinates, Handedness, Patient, PatientDraft, Sex},
    symptoms::{SymptomReport, SymptomText},
};

/// First byte of a page token: which list it belongs to.
const PATIENTS_TOKEN: u8 = b'p';
const REPORTS_TOKEN: u8 = b's';

fn invalid_id(field: &'static str) -> impl Fn(InvalidId) -> RecordsError {
    // What was sent is not repeated: it might be anything, a name too.
    move |_| RecordsError::field(field, "a UUID")
}

pub(super) fn patient_id(text: &str) -> Result<PatientId, RecordsError> {
    text.parse().map_err(invalid_id("patient_id"))
}

pub(super) fn symptom_report_id(text: &str) -> Result<SymptomReportId, RecordsError> {
    text.parse().map_err(invalid_id("symptom_report_id"))
}

fn request_id(text: &str) -> Result<Uuid, RecordsError> {
    Uuid::try_parse(text)
        .map_err(|_| RecordsError::field("request_id", "a UUID chosen by the caller"))
}

pub(super) fn patients_token(text: &str) -> Result<Option<PatientId>, RecordsError> {
    Ok(token(PATIENTS_TOKEN, text)?.map(PatientId::from))
}

pub(super) fn reports_token(text: &str) -> Result<Option<SymptomReportId>, RecordsError> {
    Ok(token(REPORTS_TOKEN, text)?.map(SymptomReportId::from))
}

pub(super) fn next_patients_token(last: PatientId) -> String {
    next_token(PATIENTS_TOKEN, last.as_uuid())
}

pub(super) fn next_reports_token(last: SymptomReportId) -> String {
    next_token(REPORTS_TOKEN, last.as_uuid())
}

fn next_token(list: u8, last: Uuid) -> String {
    let mut bytes = vec![list];
    bytes.extend(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(list: u8, text: &str) -> Result<Option<Uuid>, RecordsError> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let last = bytes
        .as_deref()
        .and_then(|bytes| bytes.strip_prefix(&[list]))
        .and_then(|bytes| Uuid::from_slice(bytes).ok());
    let refused = || {
        let right = "the next_page_token of the page before, unchanged, or empty";
        RecordsError::field("page_token", right)
    };
    last.map(Some).ok_or_else(refused)
}

pub(super) fn create_patient(
    request: pb::CreatePatientRequest,
) -> Result<(Uuid, PatientDraft), RecordsError> {
    let request_id = request_id(&request.request_id)?;
    let patient =
        request.patient.ok_or_else(|| RecordsError::field("patient", "must be present"))?;
    let draft = PatientDraft {
        sex: sex(patient.sex),
        handedness: handedness(patient.handedness),
        medical_record_number: patient.medical_record_number,
        issuer: patient.issuer,
        name: patient.name,
        birth_date: patient.birth_date,
        home: patient.home.map(|home| Coordinates {
            latitude_degrees: home.latitude_degrees,
            longitude_degrees: home.longitude_degrees,
        }),
    };
    Ok((request_id, draft))
}

pub(super) fn create_report(
    request: pb::CreateSymptomReportRequest,
) -> Result<(Uuid, PatientId, SymptomText), RecordsError> {
    let request_id = request_id(&request.request_id)?;
    let patient_id = patient_id(&request.patient_id)?;
    Ok((request_id, patient_id, SymptomText::check(request.text)?))
}

fn sex(value: i32) -> Option<Sex> {
    Some(match pb::Sex::try_from(value).ok()? {
        pb::Sex::Unspecified => Sex::Unspecified,
        pb::Sex::Female => Sex::Female,
        pb::Sex::Male => Sex::Male,
        pb::Sex::Other => Sex::Other,
    })
}

fn sex_message(sex: Sex) -> pb::Sex {
    match sex {
        Sex::Unspecified => pb::Sex::Unspecified,
        Sex::Female => pb::Sex::Female,
        Sex::Male => pb::Sex::Male,
        Sex::Other => pb::Sex::Other,
    }
}

fn handedness(value: i32) -> Option<Handedness> {
    Some(match pb::Handedness::try_from(value).ok()? {
        pb::Handedness::Unspecified => Handedness::Unspecified,
        pb::Handedness::Right => Handedness::Right,
        pb::Handedness::Left => Handedness::Left,
        pb::Handedness::Both => Handedness::Both,
    })
}

fn handedness_message(handedness: Handedness) -> pb::Handedness {
    match handedness {
        Handedness::Unspecified => pb::Handedness::Unspecified,
        Handedness::Right => pb::Handedness::Right,
        Handedness::Left => pb::Handedness::Left,
        Handedness::Both => pb::Handedness::Both,
    }
}

pub(super) fn patient(patient: Patient) -> pb::Patient {
    let details = patient.details;
    pb::Patient {
        patient_id: patient.patient_id.to_string(),
        revision: patient.revision,
        created_at: Some(SystemTime::from(patient.created_at).into()),
        medical_record_number: details.medical_record_number,
        issuer: details.issuer,
        name: details.name,
        // `Date` shows itself as YYYY-MM-DD.
        birth_date: details.birth_date.map(|date| date.to_string()).unwrap_or_default(),
        sex: sex_message(details.sex).into(),
        handedness: handedness_message(details.handedness).into(),
        home: details.home.map(|home| pb::Coordinates {
            latitude_degrees: home.latitude_degrees,
            longitude_degrees: home.longitude_degrees,
        }),
    }
}

pub(super) fn report(report: SymptomReport) -> pb::SymptomReport {
    pb::SymptomReport {
        symptom_report_id: report.symptom_report_id.to_string(),
        patient_id: report.patient_id.to_string(),
        created_at: Some(SystemTime::from(report.created_at).into()),
        text: report.text,
        findings: report.findings.into_iter().map(finding).collect(),
        not_understood: report.not_understood,
        lexicon_version: report.lexicon_version,
    }
}

fn finding(finding: Finding) -> pb::Finding {
    pb::Finding {
        finding_id: finding.finding_id,
        code: finding.code,
        display_name: finding.display_name,
        side: side_message(finding.side).into(),
        present: finding.present,
        matched_text: finding.matched_text,
    }
}

fn side_message(side: Option<Side>) -> common::Side {
    match side {
        None => common::Side::Unspecified,
        Some(Side::Left) => common::Side::Left,
        Some(Side::Right) => common::Side::Right,
        Some(Side::Midline) => common::Side::Midline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_fits_only_its_own_list() {
        let last = PatientId::generate();
        let text = next_patients_token(last);
        assert_eq!(patients_token(&text).unwrap(), Some(last));
        assert_eq!(patients_token("").unwrap(), None);
        for (case, text) in
            [("other list", text.as_str()), ("plain id", &last.to_string()), ("!", "!")]
        {
            assert!(reports_token(text).is_err(), "case: {case}");
        }
    }
}
