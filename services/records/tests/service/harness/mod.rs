//! The service in this process, on a free port of loopback, with a database of its own.

pub(crate) mod stored;

use std::{net::SocketAddr, time::Duration};

use neurotriage_proto::records::v1::{
    Address, Consent, ConsentScope, ContactPerson, ContactPoint, ContactSystem, Coordinates,
    CreateNoteRequest, CreatePatientRequest, CreateSymptomReportRequest, DeleteEntryRequest,
    DeletePatientRequest, EraseEntryRequest, ErasePatientRequest, GetPatientRequest, Handedness,
    LinkStudyRequest, ListNotesRequest, ListSymptomReportsRequest, MedicalRecordNumber,
    MergePatientsRequest, Note, Patient, Relationship, SearchPatientsRequest, Sex, StudyLink,
    SymptomReport, UndeletePatientRequest, UpdatePatientRequest,
    records_service_client::RecordsServiceClient,
};
use neurotriage_records::{Dependencies, change::WatchersMax, grpc::BATCH_IDLE_MAX_DEFAULT};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::access::Access;
use neurotriage_testkit::{TestDb, issuer::Bearer};
use prost_types::FieldMask;
use sea_orm::DatabaseConnection;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Who the calls of a client are from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) token: Option<Bearer>,
    /// `traceparent`, as W3C writes it.
    pub(crate) trace: Option<&'static str>,
}

impl Interceptor for Caller {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut request = match &mut self.token {
            Some(token) => token.call(request)?,
            None => request,
        };
        if let Some(trace) = self.trace {
            request.metadata_mut().insert("traceparent", MetadataValue::from_static(trace));
        }
        Ok(request)
    }
}

pub(crate) type Client = RecordsServiceClient<InterceptedService<Channel, Caller>>;

pub(crate) struct Harness {
    pub(crate) client: Client,
    pub(crate) channel: Channel,
    pub(crate) db: TestDb,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<anyhow::Result<()>>,
}

/// What a service is started with; by default, keys of the tests, two watchers, the usual wait for a batch, and no
/// tokens.
pub(crate) struct Start {
    pub(crate) access: Option<Access>,
    pub(crate) keyring: Keyring,
    pub(crate) watchers_max: WatchersMax,
    pub(crate) batch_idle_max: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            access: None,
            keyring: keyring(),
            watchers_max: WatchersMax { together: 2, ..WatchersMax::default() },
            batch_idle_max: BATCH_IDLE_MAX_DEFAULT,
        }
    }
}

pub(crate) async fn start(db: TestDb) -> anyhow::Result<Harness> {
    start_with(db, Start::default()).await
}

pub(crate) async fn start_with(db: TestDb, with: Start) -> anyhow::Result<Harness> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let dependencies = Dependencies {
        access: match with.access {
            Some(access) => access,
            None => Access::development(address)?,
        },
        db: db.service.clone(),
        keyring: with.keyring,
        watchers_max: with.watchers_max,
        batch_idle_max: with.batch_idle_max,
    };
    let server =
        tokio::spawn(neurotriage_records::run(listener, dependencies, DRAIN_TIMEOUT, async move {
            let _ = stopped.await;
        }));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let client = RecordsServiceClient::with_interceptor(channel.clone(), Caller::default());
    Ok(Harness { client, channel, db, stop, server })
}

impl Harness {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.leave().await?.drop().await
    }

    /// Ends the service and leaves its database.
    pub(crate) async fn leave(self) -> anyhow::Result<TestDb> {
        drop((self.client, self.channel));
        let _ = self.stop.send(());
        self.server.await??;
        Ok(self.db)
    }

    /// Returns a client of another caller.
    pub(crate) fn client_of(&self, token: &Bearer) -> Client {
        let caller = Caller { token: Some(token.clone()), trace: None };
        RecordsServiceClient::with_interceptor(self.channel.clone(), caller)
    }

    /// Makes the calls that follow from another caller.
    pub(crate) fn act_as(&mut self, token: &Bearer) {
        self.client = self.client_of(token);
    }

    pub(crate) fn store(&self) -> &DatabaseConnection {
        &self.db.db
    }

    pub(crate) async fn get(&mut self, patient_id: &str) -> Result<Patient, Status> {
        let request = GetPatientRequest { patient_id: patient_id.to_owned() };
        let response = self.client.get_patient(request).await?.into_inner();
        response.patient.ok_or_else(|| Status::internal("no patient"))
    }

    pub(crate) async fn update(
        &mut self,
        patient: Patient,
        paths: &[&str],
    ) -> Result<Patient, Status> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = Some(FieldMask { paths });
        let request = UpdatePatientRequest { patient: Some(patient), update_mask };
        let response = self.client.update_patient(request).await?.into_inner();
        response.patient.ok_or_else(|| Status::internal("no patient"))
    }

    pub(crate) async fn delete(&mut self, patient_id: &str, revision: u64) -> Result<u64, Status> {
        let request = DeletePatientRequest { patient_id: patient_id.to_owned(), revision };
        Ok(self.client.delete_patient(request).await?.into_inner().revision)
    }

    pub(crate) async fn undelete(
        &mut self,
        patient_id: &str,
        revision: u64,
    ) -> Result<Patient, Status> {
        let request = UndeletePatientRequest { patient_id: patient_id.to_owned(), revision };
        let response = self.client.undelete_patient(request).await?.into_inner();
        response.patient.ok_or_else(|| Status::internal("no patient"))
    }

    pub(crate) async fn erase(&mut self, patient_id: &str, revision: u64) -> Result<u32, Status> {
        let request = ErasePatientRequest { patient_id: patient_id.to_owned(), revision };
        Ok(self.client.erase_patient(request).await?.into_inner().entries_erased)
    }

    pub(crate) async fn merge(
        &mut self,
        kept: &Patient,
        duplicate: &Patient,
    ) -> Result<Patient, Status> {
        let request = MergePatientsRequest {
            patient_id: kept.patient_id.clone(),
            revision: kept.revision,
            duplicate_patient_id: duplicate.patient_id.clone(),
            duplicate_revision: duplicate.revision,
        };
        let response = self.client.merge_patients(request).await?.into_inner();
        response.patient.ok_or_else(|| Status::internal("no patient"))
    }

    /// Returns the ids of the patients found, page by page.
    pub(crate) async fn search(
        &mut self,
        mut request: SearchPatientsRequest,
    ) -> Result<Vec<String>, Status> {
        let mut ids = Vec::new();
        loop {
            let page = self.client.search_patients(request.clone()).await?.into_inner();
            ids.extend(page.patients.into_iter().map(|patient| patient.patient_id));
            if page.next_page_token.is_empty() {
                return Ok(ids);
            }
            request.page_token = page.next_page_token;
        }
    }

    pub(crate) async fn reports(&mut self, patient_id: &str) -> Result<Vec<SymptomReport>, Status> {
        let request = ListSymptomReportsRequest {
            patient_id: patient_id.to_owned(),
            page_size: 200,
            ..Default::default()
        };
        Ok(self.client.list_symptom_reports(request).await?.into_inner().reports)
    }

    pub(crate) async fn note(&mut self, patient_id: &str, text: &str) -> Result<Note, Status> {
        let request = CreateNoteRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: patient_id.to_owned(),
            text: text.to_owned(),
        };
        let response = self.client.create_note(request).await?.into_inner();
        response.note.ok_or_else(|| Status::internal("no note"))
    }

    pub(crate) async fn notes(&mut self, patient_id: &str) -> Result<Vec<Note>, Status> {
        let request = ListNotesRequest { patient_id: patient_id.to_owned(), ..Default::default() };
        Ok(self.client.list_notes(request).await?.into_inner().notes)
    }

    pub(crate) async fn link(
        &mut self,
        patient_id: &str,
        study_id: &str,
    ) -> Result<StudyLink, Status> {
        let request = LinkStudyRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: patient_id.to_owned(),
            study_id: study_id.to_owned(),
            acquired_on: "2026-01-02".to_owned(),
            description: "Head, before surgery".to_owned(),
        };
        let response = self.client.link_study(request).await?.into_inner();
        response.link.ok_or_else(|| Status::internal("no link"))
    }

    pub(crate) async fn delete_entry(
        &mut self,
        entry_id: &str,
        revision: u64,
    ) -> Result<u64, Status> {
        let request = DeleteEntryRequest { entry_id: entry_id.to_owned(), revision };
        Ok(self.client.delete_entry(request).await?.into_inner().revision)
    }

    pub(crate) async fn erase_entry(
        &mut self,
        entry_id: &str,
        revision: u64,
    ) -> Result<u64, Status> {
        let request = EraseEntryRequest { entry_id: entry_id.to_owned(), revision };
        Ok(self.client.erase_entry(request).await?.into_inner().revision)
    }

    pub(crate) async fn create(&mut self, patient: Patient) -> Result<Patient, Status> {
        self.create_as(&Uuid::now_v7().to_string(), patient).await
    }

    pub(crate) async fn create_as(
        &mut self,
        request: &str,
        patient: Patient,
    ) -> Result<Patient, Status> {
        let request =
            CreatePatientRequest { request_id: request.to_owned(), patient: Some(patient) };
        let response = self.client.create_patient(request).await?.into_inner();
        response.patient.ok_or_else(|| Status::internal("no patient"))
    }

    pub(crate) async fn report(
        &mut self,
        patient_id: &str,
        text: &str,
    ) -> Result<SymptomReport, Status> {
        self.report_as(&Uuid::now_v7().to_string(), patient_id, text).await
    }

    pub(crate) async fn report_as(
        &mut self,
        request: &str,
        patient_id: &str,
        text: &str,
    ) -> Result<SymptomReport, Status> {
        let request = CreateSymptomReportRequest {
            request_id: request.to_owned(),
            patient_id: patient_id.to_owned(),
            text: text.to_owned(),
            ..CreateSymptomReportRequest::default()
        };
        let response = self.client.create_symptom_report(request).await?.into_inner();
        response.report.ok_or_else(|| Status::internal("no report"))
    }
}

/// Keys that only tests have.
pub(crate) const KEYS: &str = "seal:s1:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n\
    index:i1:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=\n\
    audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";

pub(crate) fn keyring() -> Keyring {
    Keyring::parse(KEYS).expect("the keys of the tests")
}

/// A patient with everything known; the number makes it another one.
pub(crate) fn patient(number: usize) -> Patient {
    let phone =
        |value: &str| ContactPoint { system: ContactSystem::Phone.into(), value: value.to_owned() };
    Patient {
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: "Sample Hospital".to_owned(),
            number: format!("MRN-{number}"),
        }],
        name: "김하나".to_owned(),
        birth_date: "1960-02-29".to_owned(),
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
        contact_points: vec![phone("+82 2 0000 0000")],
        contact_persons: vec![ContactPerson {
            relationship: Relationship::Child.into(),
            name: "김두리".to_owned(),
            contact_points: vec![phone("+82 2 0000 0001")],
        }],
        consents: vec![Consent {
            scope: ConsentScope::Analysis.into(),
            given: true,
            decided_on: "2026-01-02".to_owned(),
        }],
        languages: vec!["ko".to_owned(), "en".to_owned()],
        ..Patient::default()
    }
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

pub(crate) fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|request| request.field_violations);
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

pub(crate) fn number(number: &str) -> MedicalRecordNumber {
    MedicalRecordNumber { issuer: "Sample Hospital".to_owned(), number: number.to_owned() }
}

pub(crate) fn named(number: usize, name: &str) -> Patient {
    Patient { name: name.to_owned(), ..patient(number) }
}

/// Returns what a program reads of an error.
pub(crate) fn metadata(status: &Status, name: &str) -> String {
    let info = status.get_details_error_info();
    info.and_then(|info| info.metadata.get(name).cloned()).unwrap_or_default()
}

pub(crate) fn refusal<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), reason(&status)),
    }
}
