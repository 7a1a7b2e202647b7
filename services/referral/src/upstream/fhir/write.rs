//! From the values of a bundle to the messages that the records create from.

use neurotriage_domain::Side;
use neurotriage_fhir::{
    code::{
        ConsentScope, ContactSystem, Course, Handedness, Onset, Relationship, Reporter, Severity,
        Sex,
    },
    finding::{Finding, SymptomReport},
    patient::{Address, Consent, ContactPerson, ContactPoint, MedicalRecordNumber, Patient},
};
use neurotriage_proto::{
    common::v1 as common,
    records::v1::{self as records, batch_create_request},
};

use super::convert::timestamp;
use crate::fhir::{Create, Created};

pub(super) fn create(create: &Create) -> records::BatchCreateRequest {
    let request_id = create.request_id.to_string();
    let create = match &create.what {
        Created::Patient(patient) => {
            batch_create_request::Create::Patient(records::CreatePatientRequest {
                request_id,
                patient: Some(self::patient(patient)),
            })
        }
        Created::Report(patient_id, report) => {
            let patient_id = patient_id.to_string();
            batch_create_request::Create::SymptomReport(self::report(
                request_id, patient_id, report,
            ))
        }
        Created::Note(patient_id, text) => {
            batch_create_request::Create::Note(records::CreateNoteRequest {
                request_id,
                patient_id: patient_id.to_string(),
                text: text.clone(),
            })
        }
    };
    records::BatchCreateRequest { create: Some(create) }
}

pub(super) fn number(number: &MedicalRecordNumber) -> records::MedicalRecordNumber {
    records::MedicalRecordNumber { issuer: number.issuer.clone(), number: number.number.clone() }
}

fn patient(patient: &Patient) -> records::Patient {
    let sex = match patient.sex {
        None => records::Sex::Unspecified,
        Some(Sex::Female) => records::Sex::Female,
        Some(Sex::Male) => records::Sex::Male,
        Some(Sex::Other) => records::Sex::Other,
        Some(Sex::Unknown) => records::Sex::Unknown,
    };
    let handedness = match patient.handedness {
        None => records::Handedness::Unspecified,
        Some(Handedness::Right) => records::Handedness::Right,
        Some(Handedness::Left) => records::Handedness::Left,
        Some(Handedness::Both) => records::Handedness::Both,
    };
    records::Patient {
        medical_record_numbers: patient.numbers.iter().map(number).collect(),
        name: patient.name.clone(),
        birth_date: patient.birth_date.map(|day| day.to_string()).unwrap_or_default(),
        sex: sex.into(),
        handedness: handedness.into(),
        address: patient.address.as_ref().map(address),
        contact_points: patient.contact_points.iter().map(point).collect(),
        contact_persons: patient.contact_persons.iter().map(person).collect(),
        consents: patient.consents.iter().map(consent).collect(),
        languages: patient.languages.clone(),
        ..Default::default()
    }
}

fn address(address: &Address) -> records::Address {
    let coordinates = address.position.map(|position| records::Coordinates {
        latitude_degrees: position.latitude_degrees,
        longitude_degrees: position.longitude_degrees,
    });
    records::Address {
        lines: address.lines.clone(),
        city: address.city.clone(),
        district: address.district.clone(),
        postal_code: address.postal_code.clone(),
        country: address.country.clone(),
        coordinates,
    }
}

fn point(point: &ContactPoint) -> records::ContactPoint {
    let system = match point.system {
        ContactSystem::Phone => records::ContactSystem::Phone,
        ContactSystem::Email => records::ContactSystem::Email,
    };
    records::ContactPoint { system: system.into(), value: point.value.clone() }
}

fn person(person: &ContactPerson) -> records::ContactPerson {
    let relationship = match person.relationship {
        None => records::Relationship::Unspecified,
        Some(Relationship::Partner) => records::Relationship::Partner,
        Some(Relationship::Parent) => records::Relationship::Parent,
        Some(Relationship::Child) => records::Relationship::Child,
        Some(Relationship::Sibling) => records::Relationship::Sibling,
        Some(Relationship::Guardian) => records::Relationship::Guardian,
        Some(Relationship::Other) => records::Relationship::Other,
    };
    records::ContactPerson {
        relationship: relationship.into(),
        name: person.name.clone(),
        contact_points: person.contact_points.iter().map(point).collect(),
    }
}

fn consent(consent: &Consent) -> records::Consent {
    let scope = match consent.scope {
        ConsentScope::Analysis => records::ConsentScope::Analysis,
        ConsentScope::Sharing => records::ConsentScope::Sharing,
        ConsentScope::Research => records::ConsentScope::Research,
    };
    records::Consent {
        scope: scope.into(),
        given: consent.given,
        decided_on: consent.decided_on.to_string(),
    }
}

fn report(
    request_id: String,
    patient_id: String,
    report: &SymptomReport,
) -> records::CreateSymptomReportRequest {
    let reporter = match report.reporter {
        None => records::Reporter::Unspecified,
        Some(Reporter::Patient) => records::Reporter::Patient,
        Some(Reporter::Relative) => records::Reporter::Relative,
        Some(Reporter::Clinician) => records::Reporter::Clinician,
        Some(Reporter::Other) => records::Reporter::Other,
    };
    records::CreateSymptomReportRequest {
        request_id,
        patient_id,
        text: report.text.clone(),
        reporter: reporter.into(),
        findings: report.findings.iter().map(finding).collect(),
        reported_at: report.reported_at.map(timestamp),
    }
}

fn finding(finding: &Finding) -> records::Finding {
    let side = match finding.side {
        None => common::Side::Unspecified,
        Some(Side::Left) => common::Side::Left,
        Some(Side::Right) => common::Side::Right,
        Some(Side::Midline) => common::Side::Midline,
    };
    let onset = match finding.onset {
        None => records::Onset::Unspecified,
        Some(Onset::Sudden) => records::Onset::Sudden,
        Some(Onset::Acute) => records::Onset::Acute,
        Some(Onset::Subacute) => records::Onset::Subacute,
        Some(Onset::Gradual) => records::Onset::Gradual,
    };
    let course = match finding.course {
        None => records::Course::Unspecified,
        Some(Course::Worsening) => records::Course::Worsening,
        Some(Course::Stable) => records::Course::Stable,
        Some(Course::Improving) => records::Course::Improving,
        Some(Course::Fluctuating) => records::Course::Fluctuating,
        Some(Course::Resolved) => records::Course::Resolved,
    };
    let severity = match finding.severity {
        None => records::Severity::Unspecified,
        Some(Severity::Mild) => records::Severity::Mild,
        Some(Severity::Moderate) => records::Severity::Moderate,
        Some(Severity::Severe) => records::Severity::Severe,
    };
    records::Finding {
        code: finding.code.clone(),
        display_name: finding.display_name.clone(),
        side: side.into(),
        present: Some(finding.present),
        onset: onset.into(),
        course: course.into(),
        severity: severity.into(),
        ..Default::default()
    }
}
