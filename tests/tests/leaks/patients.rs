//! Calls on records.

use neurotriage_proto::records::v1::{
    Address, BatchCreateRequest, BatchCreateResponse, Consent, ConsentScope, ContactPerson,
    ContactPoint, ContactSystem, Coordinates, CreateNoteRequest, CreateNoteResponse,
    CreatePatientRequest, CreatePatientResponse, CreateSymptomReportRequest,
    CreateSymptomReportResponse, DeleteEntryRequest, DeleteEntryResponse, DeletePatientRequest,
    DeletePatientResponse, EraseEntryRequest, EraseEntryResponse, ErasePatientRequest,
    ErasePatientResponse, Finding, GetNoteRequest, GetNoteResponse, GetPatientRequest,
    GetPatientResponse, GetStudyLinkRequest, GetStudyLinkResponse, GetSymptomReportRequest,
    GetSymptomReportResponse, LinkStudyRequest, LinkStudyResponse, ListNotesRequest,
    ListNotesResponse, ListPatientsRequest, ListPatientsResponse, ListStudyLinksRequest,
    ListStudyLinksResponse, ListSymptomReportsRequest, ListSymptomReportsResponse,
    MedicalRecordNumber, MergePatientsRequest, MergePatientsResponse, Patient,
    SearchPatientsRequest, SearchPatientsResponse, SymptomReport, UndeletePatientRequest,
    UndeletePatientResponse, UpdatePatientRequest, UpdatePatientResponse, WatchChangesRequest,
    WatchChangesResponse, batch_create_request::Create, batch_create_result::Outcome,
};
use prost::Message as _;
use prost_types::FieldMask;
use tonic::Status;

use crate::{Drive, id, marks::Marks};

fn rpc(name: &str) -> String {
    format!("records.v1.RecordsService/{name}")
}

/// Returns a patient with a mark in every text.
fn patient(marks: &mut Marks) -> Patient {
    let point = |system: ContactSystem, value| ContactPoint { system: system.into(), value };
    let longitude_degrees = format!("12.{}", marks.digits()).parse().unwrap();
    Patient {
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: marks.text(),
            number: marks.text(),
        }],
        name: format!("{} {}", marks.text(), marks.text()),
        birth_date: marks.day(),
        address: Some(Address {
            lines: vec![marks.text()],
            city: marks.text(),
            district: marks.text(),
            postal_code: marks.text(),
            country: "KR".to_owned(),
            coordinates: Some(Coordinates { latitude_degrees: 1.5, longitude_degrees }),
        }),
        contact_points: vec![
            point(ContactSystem::Phone, marks.digits()),
            point(ContactSystem::Email, format!("{}@mail.example", marks.text())),
        ],
        contact_persons: vec![ContactPerson {
            relationship: 3,
            name: marks.text(),
            contact_points: vec![point(ContactSystem::Phone, marks.digits())],
        }],
        consents: vec![Consent {
            scope: ConsentScope::Sharing.into(),
            given: true,
            decided_on: marks.day(),
        }],
        ..Patient::default()
    }
}

/// Returns a report of which something is understood and something is not.
fn report(marks: &mut Marks, patient_id: &str) -> CreateSymptomReportRequest {
    let text = format!(
        "Weakness of the right arm and headache. {} since {}. {} {}.",
        marks.text(),
        marks.day(),
        marks.text(),
        marks.text()
    );
    CreateSymptomReportRequest {
        request_id: id(),
        patient_id: patient_id.to_owned(),
        text,
        findings: vec![Finding {
            code: format!("NT:{}", marks.text()),
            display_name: marks.text(),
            matched_text: marks.text(),
            present: Some(true),
            ..Finding::default()
        }],
        ..CreateSymptomReportRequest::default()
    }
}

/// Registers a patient and their symptoms.
pub(crate) async fn admit(drive: &mut Drive) -> (Patient, SymptomReport) {
    let Drive { calls, marks } = drive;
    let request = CreatePatientRequest { request_id: id(), patient: Some(patient(marks)) };
    calls.right::<_, CreatePatientResponse>(&rpc("CreatePatient"), request.clone()).await;
    // Said again, it is the same patient.
    let answer: CreatePatientResponse = calls.right(&rpc("CreatePatient"), request).await;
    let patient = answer.patient.unwrap();
    let request = report(marks, &patient.patient_id);
    let answer: CreateSymptomReportResponse =
        calls.right(&rpc("CreateSymptomReport"), request).await;
    let report = answer.report.unwrap();
    assert!(report.findings.len() > 1, "{:?}", report.findings.len());
    let not_understood = report.not_understood.concat();
    assert!(!marks.found_in(not_understood.as_bytes()).is_empty());
    (patient, report)
}

/// Makes every other call as it should be.
pub(crate) async fn call_rightly(drive: &mut Drive, (patient, report): (&Patient, &SymptomReport)) {
    let patient_id = || patient.patient_id.clone();
    let Drive { calls, marks } = drive;
    let request = GetPatientRequest { patient_id: patient_id() };
    let read: GetPatientResponse = calls.right(&rpc("GetPatient"), request).await;
    assert!(!marks.found_in(&read.encode_to_vec()).is_empty());
    let request = ListPatientsRequest::default();
    calls.right::<_, ListPatientsResponse>(&rpc("ListPatients"), request).await;
    let code = report.findings[0].code.clone();
    let searches = [
        SearchPatientsRequest { name_prefix: patient.name.clone(), ..Default::default() },
        SearchPatientsRequest { birth_date: patient.birth_date.clone(), ..Default::default() },
        SearchPatientsRequest { code: code.clone(), ..Default::default() },
        SearchPatientsRequest {
            medical_record_number: patient.medical_record_numbers.first().cloned(),
            ..Default::default()
        },
    ];
    for request in searches {
        let found: SearchPatientsResponse = calls.right(&rpc("SearchPatients"), request).await;
        assert_eq!(found.patients.len(), 1);
    }
    let request = GetSymptomReportRequest { symptom_report_id: report.symptom_report_id.clone() };
    calls.right::<_, GetSymptomReportResponse>(&rpc("GetSymptomReport"), request).await;
    let request =
        ListSymptomReportsRequest { patient_id: patient_id(), code, ..Default::default() };
    calls.right::<_, ListSymptomReportsResponse>(&rpc("ListSymptomReports"), request).await;
    let request = LinkStudyRequest {
        request_id: id(),
        patient_id: patient_id(),
        study_id: id(),
        acquired_on: marks.day(),
        description: marks.text(),
    };
    let link: LinkStudyResponse = calls.right(&rpc("LinkStudy"), request).await;
    let request = GetStudyLinkRequest { study_link_id: link.link.unwrap().study_link_id };
    calls.right::<_, GetStudyLinkResponse>(&rpc("GetStudyLink"), request).await;
    let request = ListStudyLinksRequest { patient_id: patient_id(), ..Default::default() };
    calls.right::<_, ListStudyLinksResponse>(&rpc("ListStudyLinks"), request).await;
    let request =
        CreateNoteRequest { request_id: id(), patient_id: patient_id(), text: marks.text() };
    let note: CreateNoteResponse = calls.right(&rpc("CreateNote"), request).await;
    let note_id = note.note.unwrap().note_id;
    let request = GetNoteRequest { note_id: note_id.clone() };
    calls.right::<_, GetNoteResponse>(&rpc("GetNote"), request).await;
    let request = ListNotesRequest { patient_id: patient_id(), ..Default::default() };
    calls.right::<_, ListNotesResponse>(&rpc("ListNotes"), request).await;
    let request = DeleteEntryRequest { entry_id: note_id.clone(), revision: 1 };
    calls.right::<_, DeleteEntryResponse>(&rpc("DeleteEntry"), request).await;
    let request = EraseEntryRequest { entry_id: note_id, revision: 2 };
    calls.right::<_, EraseEntryResponse>(&rpc("EraseEntry"), request).await;
    let request = WatchChangesRequest { from_beginning: true, ..Default::default() };
    let watched = calls.answers(&rpc("WatchChanges"), vec![request], 2).await;
    assert!(watched.iter().any(|one: &WatchChangesResponse| one.change.is_some()));
    change_patients(drive).await;
}

/// Changes, merges, deletes, brings back and erases others.
async fn change_patients(drive: &mut Drive) {
    let (first, _) = admit(drive).await;
    let (second, _) = admit(drive).await;
    let Drive { calls, marks } = drive;
    let changed = Patient {
        patient_id: first.patient_id.clone(),
        revision: first.revision,
        ..patient(marks)
    };
    let paths = ["name", "birth_date", "address", "contact_persons"].map(str::to_owned).to_vec();
    let request =
        UpdatePatientRequest { patient: Some(changed), update_mask: Some(FieldMask { paths }) };
    let updated: UpdatePatientResponse = calls.right(&rpc("UpdatePatient"), request).await;
    let request = MergePatientsRequest {
        patient_id: first.patient_id.clone(),
        revision: updated.patient.unwrap().revision,
        duplicate_patient_id: second.patient_id,
        duplicate_revision: second.revision,
    };
    let merged: MergePatientsResponse = calls.right(&rpc("MergePatients"), request).await;
    let (patient_id, revision) = (first.patient_id, merged.patient.unwrap().revision);
    let request = DeletePatientRequest { patient_id: patient_id.clone(), revision };
    let deleted: DeletePatientResponse = calls.right(&rpc("DeletePatient"), request).await;
    let (id_of, revision) = (patient_id.clone(), deleted.revision);
    let request = UndeletePatientRequest { patient_id: id_of, revision };
    let back: UndeletePatientResponse = calls.right(&rpc("UndeletePatient"), request).await;
    let revision = back.patient.unwrap().revision;
    let creates = vec![
        Create::SymptomReport(report(marks, &patient_id)),
        Create::Patient(CreatePatientRequest { request_id: id(), patient: Some(patient(marks)) }),
    ];
    let creates = creates.into_iter().map(|create| BatchCreateRequest { create: Some(create) });
    let batch: BatchCreateResponse =
        calls.right_stream(&rpc("BatchCreate"), creates.collect()).await;
    assert!(batch.results.iter().all(|one| matches!(one.outcome, Some(Outcome::Id(_)))));
    let request = ErasePatientRequest { patient_id, revision };
    calls.right::<_, ErasePatientResponse>(&rpc("ErasePatient"), request).await;
}

/// Makes calls that are wrong in what they say and right in whom they are about.
pub(crate) async fn call_wrongly(drive: &mut Drive, known: &Patient) {
    let Drive { calls, marks } = drive;
    let numbers = known.medical_record_numbers.clone();
    let taken = Patient { medical_record_numbers: numbers.clone(), ..patient(marks) };
    type Spoil = fn(&mut Patient, String);
    let spoils: [Spoil; 10] = [
        |p, mark| p.name = format!("a\n{mark}"),
        |p, mark| p.name = mark.repeat(30),
        |p, mark| p.birth_date = mark,
        |p, mark| p.medical_record_numbers[0].number = format!("{mark}\0"),
        |p, mark| p.languages = vec![format!("{mark} ?")],
        |p, mark| p.contact_points[0].value = mark,
        |p, mark| p.contact_points[1].value = mark,
        |p, mark| p.contact_persons[0].name = mark.repeat(30),
        |p, mark| p.consents[0].decided_on = mark,
        |p, mark| p.address.get_or_insert_default().country = mark,
    ];
    let mut wrong = vec![taken];
    for spoil in spoils {
        let mut spoilt = patient(marks);
        spoil(&mut spoilt, marks.text());
        wrong.push(spoilt);
    }
    for patient in wrong {
        let request = CreatePatientRequest { request_id: id(), patient: Some(patient) };
        calls.wrong(&rpc("CreatePatient"), request).await;
    }
    let update_mask = Some(FieldMask { paths: vec![marks.text()] });
    let patient = Some(Patient { patient_id: known.patient_id.clone(), ..patient(marks) });
    calls.wrong(&rpc("UpdatePatient"), UpdatePatientRequest { patient, update_mask }).await;
    let mut spoilt = report(marks, &known.patient_id);
    spoilt.text = format!("{}\0", marks.text());
    spoilt.findings[0].code = marks.text();
    calls.wrong(&rpc("CreateSymptomReport"), spoilt.clone()).await;
    let patient = Patient { medical_record_numbers: numbers, ..self::patient(marks) };
    let patient = CreatePatientRequest { request_id: id(), patient: Some(patient) };
    let creates = [Create::SymptomReport(spoilt), Create::Patient(patient)];
    let creates = creates.map(|create| BatchCreateRequest { create: Some(create) }).to_vec();
    let batch: BatchCreateResponse = calls.right_stream(&rpc("BatchCreate"), creates).await;
    for one in batch.results {
        let Some(Outcome::Error(error)) = one.outcome else { panic!("it was stored") };
        calls.refusals.push((rpc("BatchCreate"), Status::unknown(format!("{error:?}"))));
    }
    let request = LinkStudyRequest {
        request_id: id(),
        patient_id: known.patient_id.clone(),
        study_id: id(),
        acquired_on: marks.text(),
        description: format!("a\n{}", marks.text()),
    };
    calls.wrong(&rpc("LinkStudy"), request).await;
    let request = CreateNoteRequest {
        request_id: id(),
        patient_id: known.patient_id.clone(),
        text: format!("{}\0", marks.text()),
    };
    calls.wrong(&rpc("CreateNote"), request).await;
}
