//! A patient with a record, as a hospital's system registers them, and what is read of them.

use neurotriage_proto::{
    common::v1::Side,
    records::v1::{
        Address, Consent, ConsentScope, ContactPerson, ContactPoint, ContactSystem, Coordinates,
        Course, CreateNoteRequest, CreatePatientRequest, CreateSymptomReportRequest, Finding,
        GetPatientRequest, Handedness, ListNotesRequest, ListPatientsRequest,
        ListSymptomReportsRequest, MedicalRecordNumber, Note, Onset, Patient, Relationship,
        Reporter, SearchPatientsRequest, Severity, Sex, SymptomReport,
        records_service_client::RecordsServiceClient,
    },
};
use prost_types::Timestamp;
use tonic::transport::Channel;
use uuid::Uuid;

pub(crate) type Client = RecordsServiceClient<Channel>;

pub(crate) const NAME: &str = "한가람 Quillfeather";
pub(crate) const BIRTH_DATE: &str = "1961-05-17";
pub(crate) const NUMBER: &str = "MRN-774411";
pub(crate) const NOTE: &str = "Comes with her sister, 보호자 동반.";

/// Who gave the number: a name, not a URI.
const ISSUER: &str = "견본 병원 (fictional)";
/// What the patient said: two findings of which one is denied, and something that is not understood.
const TEXT: &str = "Headache, getting worse. No seizures. Purple elephants.";
/// When a relative told of the other findings: 2025-06-15T12:26:40.123456Z.
const TOLD_AT: Timestamp = Timestamp { seconds: 1_750_000_000, nanos: 123_456_000 };

/// What is written down of a patient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) patient: Patient,
    pub(crate) reports: Vec<SymptomReport>,
    pub(crate) notes: Vec<Note>,
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

/// A patient of whom everything is known.
fn patient() -> Patient {
    let phone =
        |value: &str| ContactPoint { system: ContactSystem::Phone.into(), value: value.to_owned() };
    let email = ContactPoint {
        system: ContactSystem::Email.into(),
        value: "quillfeather@mail.example".to_owned(),
    };
    let consent = |scope: ConsentScope, given| Consent {
        scope: scope.into(),
        given,
        decided_on: "2026-01-02".to_owned(),
    };
    let number = |issuer: &str, number: &str| MedicalRecordNumber {
        issuer: issuer.to_owned(),
        number: number.to_owned(),
    };
    Patient {
        medical_record_numbers: vec![number(ISSUER, NUMBER), number("urn:oid:1.2.410.9", "가-7")],
        name: NAME.to_owned(),
        birth_date: BIRTH_DATE.to_owned(),
        sex: Sex::Female.into(),
        handedness: Handedness::Left.into(),
        address: Some(Address {
            lines: vec!["1 Sample Street".to_owned()],
            city: "Sampletown".to_owned(),
            district: "Sample Province".to_owned(),
            postal_code: "00000".to_owned(),
            country: "KR".to_owned(),
            coordinates: Some(Coordinates {
                latitude_degrees: 37.5665,
                longitude_degrees: 126.978,
            }),
        }),
        contact_points: vec![phone("+82 2 0000 0000"), email],
        contact_persons: vec![ContactPerson {
            relationship: Relationship::Sibling.into(),
            name: "한나래".to_owned(),
            contact_points: vec![phone("+82 2 0000 0001")],
        }],
        consents: vec![
            consent(ConsentScope::Analysis, true),
            consent(ConsentScope::Research, false),
        ],
        languages: vec!["ko".to_owned(), "en".to_owned()],
        ..Patient::default()
    }
}

/// Findings that the caller coded: one of them denied, one that the lexicon lacks.
fn findings() -> Vec<Finding> {
    vec![
        Finding {
            code: "HP:0001269".to_owned(),
            side: Side::Right.into(),
            present: Some(true),
            onset: Onset::Sudden.into(),
            course: Course::Worsening.into(),
            severity: Severity::Moderate.into(),
            ..Finding::default()
        },
        Finding { code: "HP:0001250".to_owned(), present: Some(false), ..Finding::default() },
        Finding {
            code: "HP:0000103".to_owned(),
            display_name: "Polyuria".to_owned(),
            present: Some(true),
            onset: Onset::Gradual.into(),
            ..Finding::default()
        },
    ]
}

/// Registers the patient with two reports and a note; returns their id.
pub(crate) async fn admit(client: &mut Client) -> String {
    let request = CreatePatientRequest { request_id: id(), patient: Some(patient()) };
    let patient_id =
        client.create_patient(request).await.unwrap().into_inner().patient.unwrap().patient_id;
    let report = |text: &str, reporter: Reporter| CreateSymptomReportRequest {
        request_id: id(),
        patient_id: patient_id.clone(),
        text: text.to_owned(),
        reporter: reporter.into(),
        ..CreateSymptomReportRequest::default()
    };
    let written = report(TEXT, Reporter::Patient);
    let coded = CreateSymptomReportRequest {
        findings: findings(),
        reported_at: Some(TOLD_AT),
        ..report("", Reporter::Relative)
    };
    for request in [written, coded] {
        client.create_symptom_report(request).await.unwrap();
    }
    let (request_id, text) = (id(), NOTE.to_owned());
    let request = CreateNoteRequest { request_id, patient_id: patient_id.clone(), text };
    client.create_note(request).await.unwrap();
    patient_id
}

/// Returns all that is written down of the patient, newest first.
pub(crate) async fn read(client: &mut Client, patient_id: &str) -> Record {
    let patient_id = patient_id.to_owned();
    let request = GetPatientRequest { patient_id: patient_id.clone() };
    let patient = client.get_patient(request).await.unwrap().into_inner().patient.unwrap();
    let request =
        ListSymptomReportsRequest { patient_id: patient_id.clone(), ..Default::default() };
    let reports = client.list_symptom_reports(request).await.unwrap().into_inner().reports;
    let request = ListNotesRequest { patient_id, ..Default::default() };
    let notes = client.list_notes(request).await.unwrap().into_inner().notes;
    Record { patient, reports, notes }
}

/// Returns the ids of all patients.
pub(crate) async fn all(client: &mut Client) -> Vec<String> {
    let page = client.list_patients(ListPatientsRequest::default()).await.unwrap().into_inner();
    page.patients.into_iter().map(|patient| patient.patient_id).collect()
}

/// Returns the ids of the patients who are found by the number of [`admit`].
pub(crate) async fn by_number(client: &mut Client) -> Vec<String> {
    let number = MedicalRecordNumber { issuer: ISSUER.to_owned(), number: NUMBER.to_owned() };
    let request =
        SearchPatientsRequest { medical_record_number: Some(number), ..Default::default() };
    let page = client.search_patients(request).await.unwrap().into_inner();
    page.patients.into_iter().map(|patient| patient.patient_id).collect()
}
