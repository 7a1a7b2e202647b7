//! An ingestion service that answers with what it was told of its caller, and a referral service that asks it.

use std::{
    collections::HashMap,
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
        ListStudiesRequest, ListStudiesResponse, Study, UploadStudyRequest, UploadStudyResponse,
        ingestion_service_client::IngestionServiceClient,
        ingestion_service_server::{IngestionService, IngestionServiceServer},
    },
    referral::v1::{
        AssessRequest, AssessResponse, Assessment, GetAssessmentRequest, GetAssessmentResponse,
        referral_service_server::{ReferralService, ReferralServiceServer},
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
    let metadata: HashMap<String, String> =
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
    /// The ingestion service that some handlers ask.
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
            .add_service(ReferralServiceServer::new(self.clone()))
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

    /// Asks the other service who calls it, as the caller.
    async fn ask_other(&self, study_id: String) -> Result<String, Status> {
        let channel = channel(self.other.unwrap());
        let mut client = IngestionServiceClient::with_interceptor(channel, Relay);
        let answer = client.get_study(GetStudyRequest { study_id }).await?;
        Ok(answer.into_inner().study.unwrap().accession)
    }
}

pub(crate) fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A study for which the handler forgets to check the patient.
pub(crate) const FORGOTTEN: &str = "01890a5d-ac96-774b-bcce-000000000000";

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

    /// Answers for a patient whose only study bears the same id, with the caller's subject as accession and
    /// the hospital as study.
    async fn get_study(
        &self,
        request: Request<GetStudyRequest>,
    ) -> Result<Response<GetStudyResponse>, Status> {
        self.note();
        let grant = Grant::of(request.extensions()).map_err(to_status)?;
        let patient_id = request.get_ref().study_id.clone();
        if patient_id != FORGOTTEN {
            grant.check_patient(patient_id.parse().unwrap()).map_err(to_status)?;
        }
        let identity: &Identity = request.extensions().get().unwrap();
        let study = Study {
            patient_id,
            accession: identity.subject.clone(),
            study_id: grant.hospital_id().map_err(to_status)?.to_string(),
            ..Study::default()
        };
        Ok(Response::new(GetStudyResponse { study: Some(study) }))
    }

    async fn list_studies(
        &self,
        _: Request<ListStudiesRequest>,
    ) -> Result<Response<ListStudiesResponse>, Status> {
        self.note();
        Ok(Response::new(Default::default()))
    }

    /// Streams what the other service says of the caller, asked by a task of its own.
    async fn download_volume(
        &self,
        request: Request<DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let services = self.clone();
        let study_id = request.into_inner().study_id;
        let task = async move {
            let subject = services.ask_other(study_id).await;
            let message = subject.map(|name| DownloadVolumeResponse { data: name.into_bytes() });
            let _ = sender.send(message).await;
        };
        tokio::spawn(task.in_current_caller());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl ReferralService for Services {
    /// Asks the other service who calls it, and answers with that as patient.
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let patient_id = self.ask_other(request.into_inner().segmentation_id).await?;
        let assessment = Some(Assessment { patient_id, ..Assessment::default() });
        Ok(Response::new(AssessResponse { assessment }))
    }

    async fn get_assessment(
        &self,
        _: Request<GetAssessmentRequest>,
    ) -> Result<Response<GetAssessmentResponse>, Status> {
        Err(Status::not_found("none"))
    }
}
