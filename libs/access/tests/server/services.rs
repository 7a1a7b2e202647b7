//! A records service that answers with what it was told of its caller, and an ingestion service.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use neurotriage_access::{
    Access, AccessError, Grant, Identity,
    relay::{InCurrentCaller as _, Relay},
};
use neurotriage_domain::{DomainError, ErrorCode};
use neurotriage_proto::{
    ingestion::v1::{
        DownloadVolumeRequest, DownloadVolumeResponse, GetStudyRequest, GetStudyResponse,
        ListStudiesRequest, ListStudiesResponse, UploadStudyRequest, UploadStudyResponse,
        ingestion_service_server::{IngestionService, IngestionServiceServer},
    },
    records::v1::{
        CreatePatientRequest, CreatePatientResponse, CreateSymptomReportRequest,
        CreateSymptomReportResponse, GetPatientRequest, GetPatientResponse,
        GetSymptomReportRequest, GetSymptomReportResponse, ListPatientsRequest,
        ListPatientsResponse, ListSymptomReportsRequest, ListSymptomReportsResponse, Patient,
        records_service_client::RecordsServiceClient,
        records_service_server::{RecordsService, RecordsServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Makes statuses as the services do.
pub(crate) fn to_status(error: AccessError) -> Status {
    let known = [
        (ErrorCode::Unauthenticated, Code::Unauthenticated),
        (ErrorCode::PermissionDenied, Code::PermissionDenied),
        (ErrorCode::Unavailable, Code::Unavailable),
    ];
    let code = known.iter().find(|(class, _)| *class == error.code());
    let code = code.map_or(Code::Internal, |(_, code)| *code);
    let metadata: std::collections::HashMap<String, String> =
        error.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let details = ErrorDetails::with_error_info(error.reason(), "test.example", metadata);
    Status::with_error_details(code, error.to_string(), details)
}

/// What a refused call says: its code and reason.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

/// Both services. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Services {
    /// Handlers that began.
    pub(crate) handled: Arc<AtomicUsize>,
    /// The records service that some handlers ask.
    pub(crate) other: Option<SocketAddr>,
}

impl Services {
    /// Serves on loopback, behind `access`, until the test ends.
    pub(crate) async fn serve(self, access: Access) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder()
            .layer(access.into_layer(to_status))
            .add_service(RecordsServiceServer::new(self.clone()))
            .add_service(IngestionServiceServer::new(self))
            .add_service(health)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }

    fn note(&self) {
        self.handled.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    /// Asks the other service for the patient, as the caller.
    async fn ask_other(&self, patient_id: String) -> Result<String, Status> {
        let channel = channel(self.other.unwrap());
        let mut client = RecordsServiceClient::with_interceptor(channel, Relay);
        let answer = client.get_patient(GetPatientRequest { patient_id }).await?;
        Ok(answer.into_inner().patient.unwrap().name)
    }
}

pub(crate) fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// The id of a patient for whom the handler forgets its check.
pub(crate) const FORGOTTEN: &str = "01890a5d-ac96-774b-bcce-000000000000";

#[tonic::async_trait]
impl RecordsService for Services {
    async fn create_patient(
        &self,
        _: Request<CreatePatientRequest>,
    ) -> Result<Response<CreatePatientResponse>, Status> {
        self.note();
        Ok(Response::new(Default::default()))
    }

    /// Answers with the caller's subject and hospital in place of the patient's name and issuer.
    async fn get_patient(
        &self,
        request: Request<GetPatientRequest>,
    ) -> Result<Response<GetPatientResponse>, Status> {
        self.note();
        let grant = Grant::of(request.extensions()).map_err(to_status)?;
        let patient_id = request.get_ref().patient_id.clone();
        if patient_id != FORGOTTEN {
            grant.check_patient(patient_id.parse().unwrap()).map_err(to_status)?;
        }
        let identity: &Identity = request.extensions().get().unwrap();
        let patient = Patient {
            patient_id,
            name: identity.subject.clone(),
            issuer: grant.hospital_id().map_err(to_status)?.to_string(),
            ..Patient::default()
        };
        Ok(Response::new(GetPatientResponse { patient: Some(patient) }))
    }

    async fn list_patients(
        &self,
        _: Request<ListPatientsRequest>,
    ) -> Result<Response<ListPatientsResponse>, Status> {
        self.note();
        Ok(Response::new(Default::default()))
    }

    /// Asks the other service who calls it.
    async fn create_symptom_report(
        &self,
        request: Request<CreateSymptomReportRequest>,
    ) -> Result<Response<CreateSymptomReportResponse>, Status> {
        let subject = self.ask_other(request.into_inner().patient_id).await?;
        let report =
            neurotriage_proto::records::v1::SymptomReport { text: subject, ..Default::default() };
        Ok(Response::new(CreateSymptomReportResponse { report: Some(report) }))
    }

    async fn get_symptom_report(
        &self,
        _: Request<GetSymptomReportRequest>,
    ) -> Result<Response<GetSymptomReportResponse>, Status> {
        Err(Status::not_found("none"))
    }

    async fn list_symptom_reports(
        &self,
        _: Request<ListSymptomReportsRequest>,
    ) -> Result<Response<ListSymptomReportsResponse>, Status> {
        self.note();
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl IngestionService for Services {
    type DownloadVolumeStream = ReceiverStream<Result<DownloadVolumeResponse, Status>>;

    async fn upload_study(
        &self,
        request: Request<Streaming<UploadStudyRequest>>,
    ) -> Result<Response<UploadStudyResponse>, Status> {
        self.note();
        let mut stream = request.into_inner();
        while stream.message().await?.is_some() {}
        Ok(Response::new(Default::default()))
    }

    async fn get_study(
        &self,
        _: Request<GetStudyRequest>,
    ) -> Result<Response<GetStudyResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn list_studies(
        &self,
        _: Request<ListStudiesRequest>,
    ) -> Result<Response<ListStudiesResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    /// Streams what the other service says of the caller, asked by a task of its own.
    async fn download_volume(
        &self,
        request: Request<DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let services = self.clone();
        let patient_id = request.into_inner().study_id;
        let task = async move {
            let subject = services.ask_other(patient_id).await;
            let message = subject.map(|name| DownloadVolumeResponse { data: name.into_bytes() });
            let _ = sender.send(message).await;
        };
        tokio::spawn(task.in_current_caller());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
