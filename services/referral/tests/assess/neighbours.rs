//! The other three services, in process, with fixed answers.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use neurotriage_proto::{
    ingestion::v1 as ingestion,
    ingestion::v1::ingestion_service_server::{IngestionService, IngestionServiceServer},
    records::v1 as records,
    records::v1::records_service_server::{RecordsService, RecordsServiceServer},
    segmentation::v1 as segmentation,
    segmentation::v1::segmentation_service_server::{
        SegmentationService, SegmentationServiceServer,
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What the services know, by id.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) reports: HashMap<String, records::SymptomReport>,
    pub(crate) patients: HashMap<String, records::Patient>,
    pub(crate) segmentations: HashMap<String, segmentation::Segmentation>,
    pub(crate) studies: HashMap<String, ingestion::Study>,
}

#[derive(Clone, Debug)]
struct Neighbours(Arc<Known>);

fn unused() -> Status {
    Status::unimplemented("not part of the test")
}

fn one<T: Clone>(known: &HashMap<String, T>, id: &str) -> Result<T, Status> {
    known.get(id).cloned().ok_or_else(|| Status::not_found("there is none"))
}

/// Serves all three on one socket and returns its address.
pub(crate) async fn start(known: Known) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let neighbours = Neighbours(Arc::new(known));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .add_service(RecordsServiceServer::new(neighbours.clone()))
        .add_service(SegmentationServiceServer::new(neighbours.clone()))
        .add_service(IngestionServiceServer::new(neighbours))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async move {
        assert!(server.await.is_ok(), "serve neighbours");
    });
    Ok((address, task))
}

#[tonic::async_trait]
impl RecordsService for Neighbours {
    async fn create_patient(
        &self,
        _: Request<records::CreatePatientRequest>,
    ) -> Result<Response<records::CreatePatientResponse>, Status> {
        Err(unused())
    }

    async fn get_patient(
        &self,
        request: Request<records::GetPatientRequest>,
    ) -> Result<Response<records::GetPatientResponse>, Status> {
        let patient = one(&self.0.patients, &request.get_ref().patient_id)?;
        Ok(Response::new(records::GetPatientResponse { patient: Some(patient) }))
    }

    async fn list_patients(
        &self,
        _: Request<records::ListPatientsRequest>,
    ) -> Result<Response<records::ListPatientsResponse>, Status> {
        Err(unused())
    }

    async fn create_symptom_report(
        &self,
        _: Request<records::CreateSymptomReportRequest>,
    ) -> Result<Response<records::CreateSymptomReportResponse>, Status> {
        Err(unused())
    }

    async fn get_symptom_report(
        &self,
        request: Request<records::GetSymptomReportRequest>,
    ) -> Result<Response<records::GetSymptomReportResponse>, Status> {
        let deadline = request.metadata().get("grpc-timeout");
        assert_eq!(deadline.and_then(|value| value.to_str().ok()), Some("10000000u"));
        let report = one(&self.0.reports, &request.get_ref().symptom_report_id)?;
        Ok(Response::new(records::GetSymptomReportResponse { report: Some(report) }))
    }

    async fn list_symptom_reports(
        &self,
        _: Request<records::ListSymptomReportsRequest>,
    ) -> Result<Response<records::ListSymptomReportsResponse>, Status> {
        Err(unused())
    }
}

#[tonic::async_trait]
impl SegmentationService for Neighbours {
    type SegmentStudyStream =
        tokio_stream::Empty<Result<segmentation::SegmentStudyResponse, Status>>;
    type DownloadMaskStream =
        tokio_stream::Empty<Result<segmentation::DownloadMaskResponse, Status>>;

    async fn segment_study(
        &self,
        _: Request<segmentation::SegmentStudyRequest>,
    ) -> Result<Response<Self::SegmentStudyStream>, Status> {
        Err(unused())
    }

    async fn get_segmentation(
        &self,
        request: Request<segmentation::GetSegmentationRequest>,
    ) -> Result<Response<segmentation::GetSegmentationResponse>, Status> {
        let found = one(&self.0.segmentations, &request.get_ref().segmentation_id)?;
        Ok(Response::new(segmentation::GetSegmentationResponse { segmentation: Some(found) }))
    }

    async fn download_mask(
        &self,
        _: Request<segmentation::DownloadMaskRequest>,
    ) -> Result<Response<Self::DownloadMaskStream>, Status> {
        Err(unused())
    }

    async fn localise(
        &self,
        _: Request<Streaming<segmentation::LocaliseRequest>>,
    ) -> Result<Response<segmentation::LocaliseResponse>, Status> {
        Err(unused())
    }

    async fn get_model(
        &self,
        _: Request<segmentation::GetModelRequest>,
    ) -> Result<Response<segmentation::GetModelResponse>, Status> {
        Err(unused())
    }
}

#[tonic::async_trait]
impl IngestionService for Neighbours {
    type DownloadVolumeStream =
        tokio_stream::Empty<Result<ingestion::DownloadVolumeResponse, Status>>;

    async fn upload_study(
        &self,
        _: Request<Streaming<ingestion::UploadStudyRequest>>,
    ) -> Result<Response<ingestion::UploadStudyResponse>, Status> {
        Err(unused())
    }

    async fn get_study(
        &self,
        request: Request<ingestion::GetStudyRequest>,
    ) -> Result<Response<ingestion::GetStudyResponse>, Status> {
        let study = one(&self.0.studies, &request.get_ref().study_id)?;
        Ok(Response::new(ingestion::GetStudyResponse { study: Some(study) }))
    }

    async fn list_studies(
        &self,
        _: Request<ingestion::ListStudiesRequest>,
    ) -> Result<Response<ingestion::ListStudiesResponse>, Status> {
        Err(unused())
    }

    async fn download_volume(
        &self,
        _: Request<ingestion::DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        Err(unused())
    }
}
