//! Two hospitals beside each other on the built programs: what FHIR takes out and brings in stays each one's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use neurotriage_proto::{
    fhir::v1::{
        EntryOutcome, ExportPatientRequest, ImportBundleHeader, ImportBundleRequest,
        ImportBundleResponse, fhir_service_client::FhirServiceClient,
        import_bundle_request::Content,
    },
    records::v1::{
        CreateNoteRequest, CreatePatientRequest, CreateSymptomReportRequest, ErasePatientRequest,
        GetPatientRequest, ListNotesRequest, ListPatientsRequest, ListSymptomReportsRequest,
        MedicalRecordNumber, Note, Patient, SymptomReport,
        records_service_client::RecordsServiceClient,
    },
};
use neurotriage_service_kit::client;
use neurotriage_testkit::{
    TestDb,
    issuer::{Bearer, Issuer},
};
use neurotriage_tests::deployment::{Ground, SERVICES};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

const NOTE: &str = "Comes with her sister.";
/// Added by the hospital that the story came to.
const OTHER_NOTE: &str = "Seen at the south bay.";

/// What a hospital has written down of its patients.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    patients: Vec<Patient>,
    reports: Vec<SymptomReport>,
    notes: Vec<Note>,
}

/// The callers of one hospital.
struct Hospital {
    records: RecordsServiceClient<InterceptedService<Channel, Bearer>>,
    fhir: FhirServiceClient<InterceptedService<Channel, Bearer>>,
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

/// Code and reason of a refusal, and its words without the id that was asked for.
fn refusal(status: &Status, asked: &str) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap();
    (status.code(), info.reason, status.message().replace(asked, "ID"))
}

impl Hospital {
    fn of(ground: &Ground, bearer: &Bearer) -> Self {
        let channel = |service| client::channel(ground.endpoint(service).unwrap()).unwrap();
        Self {
            records: RecordsServiceClient::with_interceptor(channel("records"), bearer.clone()),
            fhir: FhirServiceClient::with_interceptor(channel("referral"), bearer.clone()),
        }
    }

    /// Registers a patient with a report and a note; returns their id.
    async fn admit(&mut self) -> String {
        let number = MedicalRecordNumber {
            issuer: "urn:oid:1.2.410.9".to_owned(),
            number: "MRN-774411".to_owned(),
        };
        let patient = Patient {
            medical_record_numbers: vec![number],
            name: "한가람 Quillfeather".to_owned(),
            birth_date: "1961-05-17".to_owned(),
            ..Patient::default()
        };
        let request = CreatePatientRequest { request_id: id(), patient: Some(patient) };
        let answer = self.records.create_patient(request).await.unwrap().into_inner();
        let patient_id = answer.patient.unwrap().patient_id;
        let request = CreateSymptomReportRequest {
            request_id: id(),
            patient_id: patient_id.clone(),
            text: "Headache, getting worse. No seizures.".to_owned(),
            ..CreateSymptomReportRequest::default()
        };
        self.records.create_symptom_report(request).await.unwrap();
        self.note(&patient_id, NOTE).await.unwrap();
        patient_id
    }

    async fn note(&mut self, patient_id: &str, text: &str) -> Result<(), Status> {
        let (patient_id, text) = (patient_id.to_owned(), text.to_owned());
        let request = CreateNoteRequest { request_id: id(), patient_id, text };
        self.records.create_note(request).await.map(drop)
    }

    async fn kept(&mut self) -> Kept {
        let page = self.records.list_patients(ListPatientsRequest::default()).await.unwrap();
        let patients = page.into_inner().patients;
        let (mut reports, mut notes) = (Vec::new(), Vec::new());
        for Patient { patient_id, .. } in &patients {
            let patient_id = patient_id.clone();
            let request =
                ListSymptomReportsRequest { patient_id: patient_id.clone(), ..Default::default() };
            let page = self.records.list_symptom_reports(request).await.unwrap();
            reports.extend(page.into_inner().reports);
            let request = ListNotesRequest { patient_id, ..Default::default() };
            notes.extend(self.records.list_notes(request).await.unwrap().into_inner().notes);
        }
        Kept { patients, reports, notes }
    }

    async fn export(&mut self, patient_id: &str) -> Result<Value, Status> {
        let request =
            ExportPatientRequest { patient_id: patient_id.to_owned(), ..Default::default() };
        let mut stream = self.fhir.export_patient(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(message) = stream.message().await? {
            bytes.extend(message.piece);
        }
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    async fn import(&mut self, bundle: &Value, dry_run: bool) -> ImportBundleResponse {
        let contents = [
            Content::Header(ImportBundleHeader { dry_run }),
            Content::Piece(bundle.to_string().into_bytes()),
        ];
        let messages = contents.map(|content| ImportBundleRequest { content: Some(content) });
        self.fhir.import_bundle(tokio_stream::iter(messages)).await.unwrap().into_inner()
    }
}

/// Outcomes of what is stored; what is only told along, such as the software, is passed over.
fn outcomes(response: &ImportBundleResponse) -> Vec<EntryOutcome> {
    let outcomes = response.entries.iter().map(|entry| entry.outcome());
    outcomes.filter(|outcome| *outcome != EntryOutcome::PassedOver).collect()
}

async fn stories_keep_to_their_hospital(databases: Option<[String; 4]>) -> anyhow::Result<()> {
    use EntryOutcome::{Created, Unchanged};

    let issuer = Issuer::start()?;
    let ground = match databases {
        Some(urls) => Ground::on_postgres(urls, issuer.settings()).await?,
        None => Ground::new(issuer.settings()).await?,
    };
    let servers = ground.start_some(&["ingestion", "records", "referral"]).await?;
    let of = |hospital: &str| -> anyhow::Result<Hospital> {
        let bearer = issuer.caller(hospital, "user/*.cruds")?;
        Ok(Hospital::of(&ground, &bearer))
    };
    let (mut north, mut south) = (of("north-lake")?, of("south-bay")?);
    let patient_id = north.admit().await;
    let here = north.kept().await;
    assert_eq!((here.patients.len(), here.reports.len(), here.notes.len()), (1, 1, 1));
    let story = north.export(&patient_id).await?;
    assert!(story.to_string().contains(NOTE));

    // No word tells whether another hospital has such a patient.
    let nobody = id();
    let unknown = south.export(&nobody).await.unwrap_err();
    let crossed = south.export(&patient_id).await.unwrap_err();
    assert_eq!(refusal(&crossed, &patient_id), refusal(&unknown, &nobody));
    assert_eq!(crossed.code(), Code::NotFound);
    assert!(south.note(&patient_id, OTHER_NOTE).await.is_err());

    // With the same numbers and the same ids the story becomes a patient of the other hospital, who was not known there.
    let tried = south.import(&story, true).await;
    let entries = outcomes(&tried);
    assert!(entries.len() >= 4 && entries.iter().all(|outcome| *outcome == Created), "{tried:?}");
    assert!(south.kept().await.patients.is_empty());
    let imported = south.import(&story, false).await;
    assert_eq!(outcomes(&imported), entries);
    let there = south.kept().await;
    let [patient] = &there.patients[..] else { panic!("{} patients", there.patients.len()) };
    assert_ne!(patient.patient_id, patient_id);
    let numbers = &here.patients[0].medical_record_numbers;
    assert_eq!(&patient.medical_record_numbers, numbers);
    assert_eq!((there.notes.len(), there.notes[0].text.as_str()), (1, NOTE));
    let strangers = imported.entries.iter().filter(|entry| entry.record_id == patient_id);
    assert_eq!(strangers.count(), 0);
    assert_eq!(north.kept().await, here);

    // What either changes afterwards is its own.
    south.note(&patient.patient_id, OTHER_NOTE).await?;
    let mut renamed = story.clone();
    let entries = renamed["entry"].as_array_mut().unwrap();
    let told = entries.iter_mut().find(|entry| entry["resource"]["resourceType"] == "Patient");
    told.unwrap()["resource"]["telecom"] =
        json!([{ "system": "phone", "value": "+82 2 0000 0000" }]);
    south.import(&renamed, false).await;
    assert_eq!(north.kept().await, here);
    let again = north.import(&story, false).await;
    assert!(outcomes(&again).iter().all(|outcome| *outcome == Unchanged), "{again:?}");
    assert_eq!(north.kept().await, here);
    assert!(!north.export(&patient_id).await?.to_string().contains(OTHER_NOTE));
    assert!(north.export(&patient.patient_id).await.is_err());

    // Who is forgotten at one is not at the other.
    let request =
        ErasePatientRequest { patient_id: patient_id.clone(), revision: here.patients[0].revision };
    north.records.erase_patient(request).await?;
    let request = GetPatientRequest { patient_id: patient_id.clone() };
    assert!(north.records.get_patient(request).await.is_err());
    assert!(north.export(&patient_id).await.is_err());
    let notes = south.kept().await.notes;
    let texts: Vec<&str> = notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(texts, [OTHER_NOTE, NOTE]);
    drop(servers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_in_fhir_reaches_no_other_hospitals_patient() -> anyhow::Result<()> {
    stories_keep_to_their_hospital(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_postgres_a_story_in_fhir_reaches_no_other_hospitals_patient() -> anyhow::Result<()> {
    let mut databases = Vec::new();
    for _ in SERVICES {
        let Some(database) = TestDb::empty_postgres().await? else { return Ok(()) };
        databases.push(database);
    }
    let url = |at: usize| databases[at].url.expose_secret().to_owned();
    stories_keep_to_their_hospital(Some([url(0), url(1), url(2), url(3)])).await?;
    for database in databases {
        database.drop().await?;
    }
    Ok(())
}
