//! The service in this process, on a free port of loopback, with a database of its own.

use std::{net::SocketAddr, time::Duration};

use neurotriage_proto::records::v1::{
    Coordinates, CreatePatientRequest, CreateSymptomReportRequest, Handedness, Patient, Sex,
    SymptomReport, records_service_client::RecordsServiceClient,
};
use neurotriage_records::Dependencies;
use neurotriage_service_kit::access::Access;
use neurotriage_testkit::TestDb;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Harness {
    pub(crate) client: RecordsServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) db: TestDb,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<anyhow::Result<()>>,
}

pub(crate) async fn start(db: TestDb) -> anyhow::Result<Harness> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let dependencies = Dependencies { access: Access::development(address)?, db: db.db.clone() };
    let server =
        tokio::spawn(neurotriage_records::run(listener, dependencies, DRAIN_TIMEOUT, async move {
            let _ = stopped.await;
        }));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(Harness { client: RecordsServiceClient::new(channel.clone()), channel, db, stop, server })
}

impl Harness {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop((self.client, self.channel));
        let _ = self.stop.send(());
        self.server.await??;
        self.db.drop().await
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
        };
        let response = self.client.create_symptom_report(request).await?.into_inner();
        response.report.ok_or_else(|| Status::internal("no report"))
    }
}

/// A patient with everything known; the number makes it another one.
pub(crate) fn patient(number: usize) -> Patient {
    Patient {
        medical_record_number: format!("MRN-{number}"),
        issuer: "Sample Hospital".to_owned(),
        name: "김하나".to_owned(),
        birth_date: "1960-02-29".to_owned(),
        sex: Sex::Female.into(),
        handedness: Handedness::Left.into(),
        home: Some(Coordinates { latitude_degrees: 37.5665, longitude_degrees: 126.978 }),
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
