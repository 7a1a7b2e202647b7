//! From the messages of other services to the values of a story.

use neurotriage_domain::Side;
use neurotriage_fhir::{
    code::{
        ConsentScope, ContactSystem, Course, Handedness, Onset, Relationship, Reporter, Severity,
        Sex,
    },
    finding::{Finding, StoredNote, StoredReport, SymptomReport},
    patient::{
        Address, Consent, ContactPerson, ContactPoint, MedicalRecordNumber, Patient, Position,
        StoredPatient,
    },
    story::{Lesion, Outcome, Region, Segmentation, Study, Volumes},
};
use neurotriage_proto::{
    common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    segmentation::v1 as segmentation,
};
use prost_types::Timestamp;
use time::{Date, OffsetDateTime, macros::format_description};
use uuid::Uuid;

use crate::{fhir::FhirError, upstream::convert::PRESENCE_UNSAID};

pub(super) fn malformed(service: &'static str, what: &'static str) -> FhirError {
    FhirError::Malformed { service, what }
}

fn uuid(service: &'static str, text: &str) -> Result<Uuid, FhirError> {
    Uuid::try_parse(text).map_err(|_| malformed(service, "an id is no UUID"))
}

pub(super) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or_default(),
    }
}

/// Returns the time of a message; `None` if there is none or it is out of the range of times.
fn time(at: Option<Timestamp>) -> Option<OffsetDateTime> {
    let at = at?;
    let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

fn day(service: &'static str, text: &str) -> Result<Option<Date>, FhirError> {
    if text.is_empty() {
        return Ok(None);
    }
    let day = Date::parse(text, format_description!("[year]-[month]-[day]"));
    day.map(Some).map_err(|_| malformed(service, "a day is no day"))
}

fn side(side: common::Side) -> Option<Side> {
    match side {
        common::Side::Left => Some(Side::Left),
        common::Side::Right => Some(Side::Right),
        common::Side::Midline => Some(Side::Midline),
        common::Side::Unspecified => None,
    }
}

pub(super) fn patient(answer: records::GetPatientResponse) -> Result<StoredPatient, FhirError> {
    let wire = answer.patient.ok_or_else(|| malformed("records", "no patient"))?;
    found_patient(wire)
}

pub(super) fn found_patient(wire: records::Patient) -> Result<StoredPatient, FhirError> {
    let sex = match wire.sex() {
        records::Sex::Female => Some(Sex::Female),
        records::Sex::Male => Some(Sex::Male),
        records::Sex::Other => Some(Sex::Other),
        records::Sex::Unknown => Some(Sex::Unknown),
        records::Sex::Unspecified => None,
    };
    let handedness = match wire.handedness() {
        records::Handedness::Right => Some(Handedness::Right),
        records::Handedness::Left => Some(Handedness::Left),
        records::Handedness::Both => Some(Handedness::Both),
        records::Handedness::Unspecified => None,
    };
    let number = |number: records::MedicalRecordNumber| MedicalRecordNumber {
        issuer: number.issuer,
        number: number.number,
    };
    let patient = Patient {
        numbers: wire.medical_record_numbers.into_iter().map(number).collect(),
        name: wire.name,
        birth_date: day("records", &wire.birth_date)?,
        sex,
        handedness,
        address: wire.address.map(address),
        contact_points: points(wire.contact_points),
        contact_persons: wire.contact_persons.into_iter().map(person).collect(),
        consents: wire
            .consents
            .into_iter()
            .map(consent)
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?,
        languages: wire.languages,
    };
    let merged = wire.merged_patient_ids.iter().map(|id| uuid("records", id));
    Ok(StoredPatient {
        patient_id: uuid("records", &wire.patient_id)?,
        revision: wire.revision,
        updated_at: time(wire.updated_at),
        merged: merged.collect::<Result<_, _>>()?,
        patient,
    })
}

fn address(address: records::Address) -> Address {
    let position = address.coordinates.map(|place| Position {
        latitude_degrees: place.latitude_degrees,
        longitude_degrees: place.longitude_degrees,
    });
    Address {
        lines: address.lines,
        city: address.city,
        district: address.district,
        postal_code: address.postal_code,
        country: address.country,
        position,
    }
}

/// A kind that this version does not know is left out.
fn points(points: Vec<records::ContactPoint>) -> Vec<ContactPoint> {
    let known = points.into_iter().filter_map(|point| {
        let system = match point.system() {
            records::ContactSystem::Phone => ContactSystem::Phone,
            records::ContactSystem::Email => ContactSystem::Email,
            records::ContactSystem::Unspecified => return None,
        };
        Some(ContactPoint { system, value: point.value })
    });
    known.collect()
}

fn person(person: records::ContactPerson) -> ContactPerson {
    let relationship = match person.relationship() {
        records::Relationship::Partner => Some(Relationship::Partner),
        records::Relationship::Parent => Some(Relationship::Parent),
        records::Relationship::Child => Some(Relationship::Child),
        records::Relationship::Sibling => Some(Relationship::Sibling),
        records::Relationship::Guardian => Some(Relationship::Guardian),
        records::Relationship::Other => Some(Relationship::Other),
        records::Relationship::Unspecified => None,
    };
    ContactPerson { relationship, name: person.name, contact_points: points(person.contact_points) }
}

fn consent(consent: records::Consent) -> Result<Option<Consent>, FhirError> {
    let scope = match consent.scope() {
        records::ConsentScope::Analysis => ConsentScope::Analysis,
        records::ConsentScope::Sharing => ConsentScope::Sharing,
        records::ConsentScope::Research => ConsentScope::Research,
        records::ConsentScope::Unspecified => return Ok(None),
    };
    let decided_on = day("records", &consent.decided_on)?;
    Ok(decided_on.map(|decided_on| Consent { scope, given: consent.given, decided_on }))
}

pub(super) fn report(report: records::SymptomReport) -> Result<StoredReport, FhirError> {
    let reporter = match report.reporter() {
        records::Reporter::Patient => Some(Reporter::Patient),
        records::Reporter::Relative => Some(Reporter::Relative),
        records::Reporter::Clinician => Some(Reporter::Clinician),
        records::Reporter::Other => Some(Reporter::Other),
        records::Reporter::Unspecified => None,
    };
    let from_text = |finding: &records::Finding| match finding.origin() {
        records::FindingOrigin::Text => true,
        // Stored before origins were told: what was read has its words.
        records::FindingOrigin::Unspecified => !finding.matched_text.is_empty(),
        records::FindingOrigin::Caller => false,
    };
    Ok(StoredReport {
        symptom_report_id: uuid("records", &report.symptom_report_id)?,
        created_at: time(report.created_at),
        from_text: report.findings.iter().map(from_text).collect(),
        report: SymptomReport {
            text: report.text,
            reporter,
            reported_at: time(report.reported_at),
            findings: report.findings.into_iter().map(finding).collect::<Result<_, _>>()?,
        },
        not_understood: report
            .not_understood
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect(),
        lexicon_version: report.lexicon_version,
    })
}

fn finding(finding: records::Finding) -> Result<Finding, FhirError> {
    let onset = match finding.onset() {
        records::Onset::Sudden => Some(Onset::Sudden),
        records::Onset::Acute => Some(Onset::Acute),
        records::Onset::Subacute => Some(Onset::Subacute),
        records::Onset::Gradual => Some(Onset::Gradual),
        records::Onset::Unspecified => None,
    };
    let course = match finding.course() {
        records::Course::Worsening => Some(Course::Worsening),
        records::Course::Stable => Some(Course::Stable),
        records::Course::Improving => Some(Course::Improving),
        records::Course::Fluctuating => Some(Course::Fluctuating),
        records::Course::Resolved => Some(Course::Resolved),
        records::Course::Unspecified => None,
    };
    let severity = match finding.severity() {
        records::Severity::Mild => Some(Severity::Mild),
        records::Severity::Moderate => Some(Severity::Moderate),
        records::Severity::Severe => Some(Severity::Severe),
        records::Severity::Unspecified => None,
    };
    let present = finding.present.ok_or_else(|| malformed("records", PRESENCE_UNSAID))?;
    Ok(Finding {
        side: side(finding.side()),
        code: finding.code,
        display_name: finding.display_name,
        present,
        onset,
        course,
        severity,
    })
}

pub(super) fn note(note: records::Note) -> Result<StoredNote, FhirError> {
    let note_id = uuid("records", &note.note_id)?;
    Ok(StoredNote { note_id, created_at: time(note.created_at), text: note.text })
}

/// A link is a study without its images; the time is that of the link.
pub(super) fn link(link: records::StudyLink) -> Result<(Option<OffsetDateTime>, Study), FhirError> {
    let study = Study {
        study_id: uuid("records", &link.study_id)?,
        acquired_on: day("records", &link.acquired_on)?,
        description: link.description,
        ..Study::default()
    };
    Ok((time(link.created_at), study))
}

pub(super) fn study(study: ingestion::Study) -> Result<Study, FhirError> {
    let sequence = |volume: &ingestion::StoredVolume| match volume.modality() {
        common::Modality::Flair => "FLAIR".to_owned(),
        common::Modality::T1 => "T1".to_owned(),
        common::Modality::T1ce => "T1ce".to_owned(),
        common::Modality::T2 => "T2".to_owned(),
        common::Modality::Unspecified => "MRI".to_owned(),
    };
    Ok(Study {
        study_id: uuid("ingestion", &study.study_id)?,
        accession: study.accession,
        stored_at: time(study.created_at),
        sequences: study.volumes.iter().map(sequence).collect(),
        ..Study::default()
    })
}

pub(super) fn segmentation(
    answer: segmentation::GetSegmentationResponse,
) -> Result<Segmentation, FhirError> {
    const SERVICE: &str = "segmentation";
    let wire = answer.segmentation.ok_or_else(|| malformed(SERVICE, "no segmentation"))?;
    let outcome = match wire.outcome() {
        segmentation::Outcome::Tumour => Outcome::Tumour,
        segmentation::Outcome::NoTumourFound => Outcome::NoTumourFound,
        segmentation::Outcome::NotSure => Outcome::NotSure,
        segmentation::Outcome::Unspecified => Outcome::Unsaid,
    };
    let localisation = wire.localisation.unwrap_or_default();
    Ok(Segmentation {
        segmentation_id: uuid(SERVICE, &wire.segmentation_id)?,
        study_id: uuid(SERVICE, &wire.study_id)?,
        model_id: wire.model_id,
        weights_sha256: wire.weights_sha256,
        created_at: time(wire.created_at),
        outcome,
        outcome_reasons: wire.outcome_reasons.into_iter().filter(|text| !text.is_empty()).collect(),
        atlas: localisation.atlas,
        lesions: localisation.lesions.into_iter().map(lesion).collect(),
    })
}

fn lesion(lesion: segmentation::Lesion) -> Lesion {
    let region = |share: segmentation::RegionShare| Region {
        side: side(share.side()),
        name: share.region,
        display_name: share.display_name,
        snomed_code: share.snomed_code,
        volume_ml: share.volume_ml,
    };
    Lesion {
        volumes: Volumes {
            whole_ml: lesion.volume_ml,
            necrotic_core_ml: lesion.necrotic_core_ml,
            oedema_ml: lesion.oedema_ml,
            enhancing_ml: lesion.enhancing_ml,
        },
        diameter_max_mm: lesion.diameter_max_mm,
        side: side(lesion.side()),
        main_region: lesion.main_region,
        regions: lesion.regions.into_iter().map(region).collect(),
        confidence: lesion.confidence,
    }
}
