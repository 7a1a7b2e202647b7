//! Patients.

use neurotriage_domain::PatientId;
use neurotriage_proto::records::v1 as pb;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Violations, code, date_text, patient_id, read, read_date, request_id, time, timestamp, unless,
};
use crate::{
    error::violation,
    patient::{
        Address, BIRTH_DATE, CONSENTS_MAX, CONTACT_PERSONS_MAX, CONTACT_POINTS_MAX, Consent,
        ConsentScope, ContactPerson, ContactPoint, ContactSystem, Coordinates, Handedness,
        MedicalRecordNumber, Patient, PatientDetails, PatientDraft, Relationship, Sex, date,
        is_in_a_life,
    },
    records::{CRITERIA, Merge, PatientFilter, Read, both},
    search::Criteria,
};

pub(in crate::grpc) fn create(
    request: pb::CreatePatientRequest,
) -> (Read<Uuid>, Read<PatientDraft>) {
    let patient = request.patient.ok_or_else(|| violation("patient", "must be present"));
    (read(request_id(&request.request_id)), read(patient.map(draft)))
}

/// Returns whom to change and as of when, and by what.
pub(in crate::grpc) fn update(
    patient: Option<pb::Patient>,
) -> (Read<PatientId>, u64, Read<PatientDraft>) {
    let Some(patient) = patient else {
        // Wrong once.
        return (read(Err(violation("patient", "must be present"))), 0, Err(Violations::new()));
    };
    let patient_id = read(patient_id("patient.patient_id", &patient.patient_id));
    (patient_id, patient.revision, Ok(draft(patient)))
}

pub(in crate::grpc) fn filter(request: &pb::ListPatientsRequest) -> Read<PatientFilter> {
    let mut wrong = Violations::new();
    let filter = PatientFilter {
        created_from: time("created_from", request.created_from, &mut wrong),
        created_before: time("created_before", request.created_before, &mut wrong),
        updated_from: time("updated_from", request.updated_from, &mut wrong),
        show_deleted: request.show_deleted,
    };
    unless(wrong, filter)
}

pub(in crate::grpc) fn criteria(request: &pb::SearchPatientsRequest) -> Read<Criteria> {
    let mut wrong = Violations::new();
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let mut short = |field: &str, text: &str, chars_max: usize| {
        if text.chars().count() > chars_max || text.contains(char::is_control) {
            wrong.push(violation(field, format!("at most {chars_max} characters on one line")));
        }
    };
    short("name_prefix", &request.name_prefix, crate::patient::NAME_CHARS_MAX);
    let number = request.medical_record_number.as_ref();
    if let Some(number) = number {
        short("medical_record_number.issuer", &number.issuer, crate::patient::ISSUER_CHARS_MAX);
        let chars_max = crate::patient::MEDICAL_RECORD_NUMBER_CHARS_MAX;
        short("medical_record_number.number", &number.number, chars_max);
    }
    let number = match number {
        None => None,
        Some(number) => match (given(&number.issuer), given(&number.number)) {
            (Some(issuer), Some(number)) => Some((issuer, number)),
            (_, _) => {
                wrong.push(violation("medical_record_number", "an issuer and a number"));
                None
            }
        },
    };
    let criteria = Criteria {
        name_prefix: given(&request.name_prefix),
        medical_record_number: number,
        birth_date: read_date("birth_date", &request.birth_date, &mut wrong),
        code: code(&request.code, &mut wrong),
    };
    if let Some(date) = criteria.birth_date
        && !is_in_a_life(date, OffsetDateTime::now_utc())
    {
        wrong.push(violation("birth_date", BIRTH_DATE));
    }
    if criteria.is_empty() && wrong.is_empty() {
        wrong.push(violation("name_prefix", CRITERIA));
    }
    if !wrong.iter().any(|wrong| wrong.field == "name_prefix") {
        wrong.extend(criteria.check_name());
    }
    unless(wrong, criteria)
}

pub(in crate::grpc) fn merge(request: &pb::MergePatientsRequest) -> Read<Merge> {
    let kept = read(patient_id("patient_id", &request.patient_id));
    let duplicate = read(patient_id("duplicate_patient_id", &request.duplicate_patient_id));
    let (patient_id, duplicate) = both(kept, duplicate)?;
    let (revision, duplicate_revision) = (request.revision, request.duplicate_revision);
    Ok(Merge { patient_id, revision, duplicate, duplicate_revision })
}

/// Reads what can be read, and notes what can't by its path below the patient.
fn draft(patient: pb::Patient) -> PatientDraft {
    let mut wrong = Violations::new();
    let details = PatientDetails {
        medical_record_numbers: patient
            .medical_record_numbers
            .into_iter()
            .map(|number| MedicalRecordNumber { issuer: number.issuer, number: number.number })
            .collect(),
        name: patient.name,
        birth_date: read_date("birth_date", &patient.birth_date, &mut wrong),
        sex: sex(patient.sex).unwrap_or_else(|| {
            wrong.push(violation("sex", "a value of Sex"));
            Sex::Unspecified
        }),
        handedness: handedness(patient.handedness).unwrap_or_else(|| {
            wrong.push(violation("handedness", "a value of Handedness"));
            Handedness::Unspecified
        }),
        address: patient.address.map(|address| Address {
            lines: address.lines,
            city: address.city,
            district: address.district,
            postal_code: address.postal_code,
            country: address.country,
            coordinates: address.coordinates.map(|place| Coordinates {
                latitude_degrees: place.latitude_degrees,
                longitude_degrees: place.longitude_degrees,
            }),
        }),
        contact_points: contact_points("contact_points", patient.contact_points, &mut wrong),
        contact_persons: patient
            .contact_persons
            .into_iter()
            // One more than is right, so that it shows.
            .take(CONTACT_PERSONS_MAX + 1)
            .enumerate()
            .map(|(at, person)| contact_person(at, person, &mut wrong))
            .collect(),
        consents: patient
            .consents
            .into_iter()
            .take(CONSENTS_MAX)
            .enumerate()
            .filter_map(|(at, consent)| read_consent(at, &consent, &mut wrong))
            .collect(),
        languages: patient.languages,
    };
    PatientDraft { details, unreadable: wrong }
}

fn contact_points(
    path: &str,
    points: Vec<pb::ContactPoint>,
    wrong: &mut Violations,
) -> Vec<ContactPoint> {
    let read = |(at, point): (usize, pb::ContactPoint)| {
        let system = match pb::ContactSystem::try_from(point.system) {
            Ok(pb::ContactSystem::Phone) => ContactSystem::Phone,
            Ok(pb::ContactSystem::Email) => ContactSystem::Email,
            Ok(pb::ContactSystem::Unspecified) | Err(_) => {
                let field = format!("{path}[{at}].system");
                wrong.push(violation(&field, "a value of ContactSystem, not unspecified"));
                return None;
            }
        };
        Some(ContactPoint { system, value: point.value })
    };
    points.into_iter().take(CONTACT_POINTS_MAX + 1).enumerate().filter_map(read).collect()
}

fn contact_person(at: usize, person: pb::ContactPerson, wrong: &mut Violations) -> ContactPerson {
    let relationship = match pb::Relationship::try_from(person.relationship) {
        Ok(pb::Relationship::Unspecified) => Relationship::Unspecified,
        Ok(pb::Relationship::Partner) => Relationship::Partner,
        Ok(pb::Relationship::Parent) => Relationship::Parent,
        Ok(pb::Relationship::Child) => Relationship::Child,
        Ok(pb::Relationship::Sibling) => Relationship::Sibling,
        Ok(pb::Relationship::Guardian) => Relationship::Guardian,
        Ok(pb::Relationship::Other) => Relationship::Other,
        Err(_) => {
            let field = format!("contact_persons[{at}].relationship");
            wrong.push(violation(&field, "a value of Relationship"));
            Relationship::Unspecified
        }
    };
    let path = format!("contact_persons[{at}].contact_points");
    let contact_points = contact_points(&path, person.contact_points, wrong);
    ContactPerson { relationship, name: person.name, contact_points }
}

fn read_consent(at: usize, consent: &pb::Consent, wrong: &mut Violations) -> Option<Consent> {
    let scope = match pb::ConsentScope::try_from(consent.scope) {
        Ok(pb::ConsentScope::Analysis) => Some(ConsentScope::Analysis),
        Ok(pb::ConsentScope::Sharing) => Some(ConsentScope::Sharing),
        Ok(pb::ConsentScope::Research) => Some(ConsentScope::Research),
        Ok(pb::ConsentScope::Unspecified) | Err(_) => {
            let field = format!("consents[{at}].scope");
            wrong.push(violation(&field, "a value of ConsentScope, not unspecified"));
            None
        }
    };
    let decided_on = date(&consent.decided_on);
    if decided_on.is_none() {
        let field = format!("consents[{at}].decided_on");
        wrong.push(violation(&field, "YYYY-MM-DD, not in the future"));
    }
    Some(Consent { scope: scope?, given: consent.given, decided_on: decided_on? })
}

fn sex(value: i32) -> Option<Sex> {
    Some(match pb::Sex::try_from(value).ok()? {
        pb::Sex::Unspecified => Sex::Unspecified,
        pb::Sex::Female => Sex::Female,
        pb::Sex::Male => Sex::Male,
        pb::Sex::Other => Sex::Other,
        pb::Sex::Unknown => Sex::Unknown,
    })
}

fn handedness(value: i32) -> Option<Handedness> {
    Some(match pb::Handedness::try_from(value).ok()? {
        pb::Handedness::Unspecified => Handedness::Unspecified,
        pb::Handedness::Right => Handedness::Right,
        pb::Handedness::Left => Handedness::Left,
        pb::Handedness::Both => Handedness::Both,
    })
}

pub(in crate::grpc) fn message(patient: Patient) -> pb::Patient {
    let details = patient.details;
    pb::Patient {
        patient_id: patient.patient_id.to_string(),
        revision: patient.revision,
        created_at: timestamp(patient.created_at),
        updated_at: timestamp(patient.updated_at),
        deleted_at: patient.deleted_at.and_then(timestamp),
        medical_record_numbers: details
            .medical_record_numbers
            .into_iter()
            .map(|number| pb::MedicalRecordNumber { issuer: number.issuer, number: number.number })
            .collect(),
        name: details.name,
        birth_date: date_text(details.birth_date),
        sex: match details.sex {
            Sex::Unspecified => pb::Sex::Unspecified,
            Sex::Female => pb::Sex::Female,
            Sex::Male => pb::Sex::Male,
            Sex::Other => pb::Sex::Other,
            Sex::Unknown => pb::Sex::Unknown,
        }
        .into(),
        handedness: match details.handedness {
            Handedness::Unspecified => pb::Handedness::Unspecified,
            Handedness::Right => pb::Handedness::Right,
            Handedness::Left => pb::Handedness::Left,
            Handedness::Both => pb::Handedness::Both,
        }
        .into(),
        address: details.address.map(address_message),
        contact_points: details.contact_points.into_iter().map(contact_point_message).collect(),
        contact_persons: details.contact_persons.into_iter().map(contact_person_message).collect(),
        consents: details.consents.iter().map(consent_message).collect(),
        languages: details.languages,
        merged_patient_ids: patient
            .merged_patient_ids
            .iter()
            .map(|patient_id| patient_id.to_string())
            .collect(),
    }
}

fn address_message(address: Address) -> pb::Address {
    pb::Address {
        lines: address.lines,
        city: address.city,
        district: address.district,
        postal_code: address.postal_code,
        country: address.country,
        coordinates: address.coordinates.map(|place| pb::Coordinates {
            latitude_degrees: place.latitude_degrees,
            longitude_degrees: place.longitude_degrees,
        }),
    }
}

fn contact_point_message(point: ContactPoint) -> pb::ContactPoint {
    let system = match point.system {
        ContactSystem::Phone => pb::ContactSystem::Phone,
        ContactSystem::Email => pb::ContactSystem::Email,
    };
    pb::ContactPoint { system: system.into(), value: point.value }
}

fn contact_person_message(person: ContactPerson) -> pb::ContactPerson {
    let relationship = match person.relationship {
        Relationship::Unspecified => pb::Relationship::Unspecified,
        Relationship::Partner => pb::Relationship::Partner,
        Relationship::Parent => pb::Relationship::Parent,
        Relationship::Child => pb::Relationship::Child,
        Relationship::Sibling => pb::Relationship::Sibling,
        Relationship::Guardian => pb::Relationship::Guardian,
        Relationship::Other => pb::Relationship::Other,
    };
    pb::ContactPerson {
        relationship: relationship.into(),
        name: person.name,
        contact_points: person.contact_points.into_iter().map(contact_point_message).collect(),
    }
}

fn consent_message(consent: &Consent) -> pb::Consent {
    let scope = match consent.scope {
        ConsentScope::Analysis => pb::ConsentScope::Analysis,
        ConsentScope::Sharing => pb::ConsentScope::Sharing,
        ConsentScope::Research => pb::ConsentScope::Research,
    };
    pb::Consent {
        scope: scope.into(),
        given: consent.given,
        decided_on: consent.decided_on.to_string(),
    }
}
