//! The other three services, in process: what they know is fixed, what they do can be held up.

#[path = "records.rs"]
mod records_stand_in;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use neurotriage_proto::{
    common::v1 as common,
    ingestion::v1 as ingestion,
    ingestion::v1::ingestion_service_server::{IngestionService, IngestionServiceServer},
    records::v1 as records,
    records::v1::records_service_server::RecordsServiceServer,
    segmentation::v1 as segmentation,
    segmentation::v1::{
        SegmentStudyResponse,
        segment_study_response::Content,
        segmentation_service_server::{SegmentationService, SegmentationServiceServer},
    },
};
use neurotriage_service_kit::{access::Access, server::ACCESS_ERROR_DOMAIN, status::to_status};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Model that serves unless a test says otherwise.
pub(crate) const MODEL: &str = "model-1";

/// What the services know at the start, by id.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) reports: HashMap<String, records::SymptomReport>,
    pub(crate) patients: HashMap<String, records::Patient>,
    pub(crate) segmentations: HashMap<String, segmentation::Segmentation>,
    pub(crate) studies: HashMap<String, ingestion::Study>,
}

impl From<Known> for World {
    fn from(known: Known) -> Self {
        Self {
            reports: Mutex::new(known.reports),
            patients: Mutex::new(known.patients),
            segmentations: Mutex::new(known.segmentations),
            studies: Mutex::new(known.studies),
            ..Self::default()
        }
    }
}

/// What the services know, and how they behave.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) reports: Mutex<HashMap<String, records::SymptomReport>>,
    pub(crate) patients: Mutex<HashMap<String, records::Patient>>,
    pub(crate) notes: Mutex<HashMap<String, records::Note>>,
    pub(crate) links: Mutex<HashMap<String, records::StudyLink>>,
    /// Ids of what the records created, by request id.
    pub(crate) created: Mutex<HashMap<String, String>>,
    /// A patient that is not known is made up while this is true.
    pub(crate) any_patient: AtomicBool,
    pub(crate) studies: Mutex<HashMap<String, ingestion::Study>>,
    /// What a study shows once it is segmented.
    pub(crate) lesions: Mutex<HashMap<String, Vec<segmentation::Lesion>>>,
    /// Segmentations by id.
    pub(crate) segmentations: Mutex<HashMap<String, segmentation::Segmentation>>,
    /// The network answers only while this is true.
    pub(crate) network_free: watch::Sender<bool>,
    /// Studies that the network has marked.
    pub(crate) marked: AtomicU64,
    /// Calls of `SegmentStudy` whose caller went away.
    pub(crate) dropped: watch::Sender<u64>,
    /// The network ends without an answer while this is true.
    pub(crate) speechless: AtomicBool,
    /// Patients cannot be read while this is true.
    pub(crate) patients_away: AtomicBool,
    /// Model that serves.
    pub(crate) model: Mutex<String>,
    /// Method and deadline of every call, as they came.
    pub(crate) deadlines: Mutex<Vec<(&'static str, String)>>,
    /// Method and token of every call that was let in.
    pub(crate) tokens: Mutex<Vec<(&'static str, String)>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            reports: Mutex::default(),
            patients: Mutex::default(),
            notes: Mutex::default(),
            links: Mutex::default(),
            created: Mutex::default(),
            any_patient: AtomicBool::default(),
            studies: Mutex::default(),
            lesions: Mutex::default(),
            segmentations: Mutex::default(),
            network_free: watch::Sender::new(true),
            marked: AtomicU64::default(),
            dropped: watch::Sender::new(0),
            speechless: AtomicBool::default(),
            patients_away: AtomicBool::default(),
            model: Mutex::new(MODEL.to_owned()),
            deadlines: Mutex::default(),
            tokens: Mutex::default(),
        }
    }
}

impl World {
    fn note<T>(&self, method: &'static str, request: &Request<T>) {
        let text = |name| {
            let header = request.metadata().get(name).and_then(|value| value.to_str().ok());
            header.unwrap_or_default().to_owned()
        };
        self.deadlines.lock().unwrap().push((method, text("grpc-timeout")));
        self.tokens.lock().unwrap().push((method, text("authorization")));
    }

    /// Returns the segmentation of a study by the model that serves, made if there is none.
    fn segment(&self, study_id: &str) -> segmentation::Segmentation {
        let model_id = self.model.lock().unwrap().clone();
        let mut segmentations = self.segmentations.lock().unwrap();
        let mut known = segmentations.values();
        if let Some(known) =
            known.find(|known| known.study_id == study_id && known.model_id == model_id)
        {
            return known.clone();
        }
        self.marked.fetch_add(1, Ordering::SeqCst);
        let made = segmentation::Segmentation {
            segmentation_id: uuid::Uuid::now_v7().to_string(),
            study_id: study_id.to_owned(),
            weights_sha256: format!("weights of {model_id}"),
            model_id,
            mask: Some(common::BlobReference { digest: "a5".repeat(32), size_bytes: 7 }),
            localisation: Some(segmentation::Localisation {
                space: segmentation::Space::Sri24.into(),
                atlas: "atlas 3".to_owned(),
                lesions: self.lesions.lock().unwrap().get(study_id).cloned().unwrap_or_default(),
                ..Default::default()
            }),
            outcome: segmentation::Outcome::Tumour.into(),
            ..Default::default()
        };
        segmentations.insert(made.segmentation_id.clone(), made.clone());
        made
    }
}

#[derive(Clone, Debug)]
struct Neighbours(Arc<World>);

fn unused() -> Status {
    Status::unimplemented("not part of the test")
}

fn one<T: Clone>(known: &Mutex<HashMap<String, T>>, id: &str) -> Result<T, Status> {
    known.lock().unwrap().get(id).cloned().ok_or_else(|| Status::not_found("there is none"))
}

/// Serves all three on one socket, to everyone, and returns its address.
pub(crate) async fn start(world: Arc<World>) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    start_behind(world, Access::development(([127, 0, 0, 1], 0).into())?).await
}

/// Serves all three on one socket to whom `access` lets in, and returns its address.
pub(crate) async fn start_behind(
    world: Arc<World>,
    access: Access,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let neighbours = Neighbours(world);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(access.into_layer(|error| to_status(ACCESS_ERROR_DOMAIN, error)))
        .add_service(RecordsServiceServer::new(neighbours.clone()))
        .add_service(SegmentationServiceServer::new(neighbours.clone()))
        .add_service(IngestionServiceServer::new(neighbours))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async move {
        assert!(server.await.is_ok(), "serve neighbours");
    });
    Ok((address, task))
}

fn progress(step: &str, units_done: u64, units_total: u64) -> SegmentStudyResponse {
    let progress = common::Progress { step: step.to_owned(), units_done, units_total };
    SegmentStudyResponse { content: Some(Content::Progress(progress)) }
}

#[tonic::async_trait]
impl SegmentationService for Neighbours {
    type SegmentStudyStream = ReceiverStream<Result<SegmentStudyResponse, Status>>;
    type DownloadMaskStream =
        tokio_stream::Empty<Result<segmentation::DownloadMaskResponse, Status>>;

    async fn segment_study(
        &self,
        request: Request<segmentation::SegmentStudyRequest>,
    ) -> Result<Response<Self::SegmentStudyStream>, Status> {
        self.0.note("SegmentStudy", &request);
        let study_id = request.into_inner().study_id;
        let (messages, receiver) = mpsc::channel(8);
        let world = Arc::clone(&self.0);
        tokio::spawn(async move {
            for message in [progress("queue", 0, 0), progress("segment", 1, 4)] {
                let _ = messages.send(Ok(message)).await;
            }
            let mut free = world.network_free.subscribe();
            tokio::select! {
                _ = free.wait_for(|free| *free) => {}
                () = messages.closed() => {
                    world.dropped.send_modify(|dropped| *dropped += 1);
                    return;
                }
            }
            if world.speechless.load(Ordering::SeqCst) {
                return;
            }
            let content = Some(Content::Segmentation(world.segment(&study_id)));
            for message in [
                progress("segment", 4, 4),
                progress("localise", 0, 1),
                progress("store", 0, 1),
                SegmentStudyResponse { content },
            ] {
                let _ = messages.send(Ok(message)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_segmentation(
        &self,
        request: Request<segmentation::GetSegmentationRequest>,
    ) -> Result<Response<segmentation::GetSegmentationResponse>, Status> {
        self.0.note("GetSegmentation", &request);
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
        request: Request<segmentation::GetModelRequest>,
    ) -> Result<Response<segmentation::GetModelResponse>, Status> {
        self.0.note("GetModel", &request);
        let model_id = self.0.model.lock().unwrap().clone();
        let model = Some(segmentation::Model { model_id, ..Default::default() });
        Ok(Response::new(segmentation::GetModelResponse { model }))
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
        self.0.note("GetStudy", &request);
        let study = one(&self.0.studies, &request.get_ref().study_id)?;
        Ok(Response::new(ingestion::GetStudyResponse { study: Some(study) }))
    }

    async fn list_studies(
        &self,
        request: Request<ingestion::ListStudiesRequest>,
    ) -> Result<Response<ingestion::ListStudiesResponse>, Status> {
        self.0.note("ListStudies", &request);
        let patient_id = &request.get_ref().patient_id;
        let studies = self.0.studies.lock().unwrap();
        let studies = studies.values().filter(|study| study.patient_id == *patient_id);
        let studies = studies.cloned().collect();
        Ok(Response::new(ingestion::ListStudiesResponse { studies, ..Default::default() }))
    }

    async fn download_volume(
        &self,
        _: Request<ingestion::DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        Err(unused())
    }
}
