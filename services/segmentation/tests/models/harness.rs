//! The service in this process, on a free port of loopback, with a database of its own, a folder
//! of blobs and an ingestion service that has one small study under every id.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use ndarray::Array3;
use neurotriage_blobs::BlobStore;
use neurotriage_domain::{Modality, PatientId};
use neurotriage_imaging::{Affine, Image, NamedImage, Prepared, Study, prepare};
use neurotriage_network::{CARD_FILE, DeviceChoice, Model, ModelCard, NetworkConfig, WEIGHTS_FILE};
use neurotriage_proto::{
    common::v1::BlobReference,
    ingestion::v1::{
        DownloadVolumeRequest, DownloadVolumeResponse, GetStudyRequest, GetStudyResponse,
        ListStudiesRequest, ListStudiesResponse, PreparedStudy, Study as PbStudy,
        UploadStudyRequest, UploadStudyResponse,
        ingestion_service_server::{IngestionService, IngestionServiceServer},
    },
    segmentation::v1::{
        ImportModelRequest, PromoteModelRequest, RegisteredModel, SegmentStudyRequest,
        Segmentation, import_model_request::Content, model_service_client::ModelServiceClient,
        segment_study_response, segmentation_service_client::SegmentationServiceClient,
        training_service_client::TrainingServiceClient,
    },
};
use neurotriage_sealing::Keyring;
use neurotriage_segmentation::{
    Dependencies, StartModel, placement::RegistrationRule, registry::RegistryLimits,
    training::TrainingSettings,
};
use neurotriage_service_kit::{access::Access, server::ACCESS_ERROR_DOMAIN, status::to_status};
use sea_orm::DatabaseConnection;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{RwLock, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server},
};
use tonic_types::StatusExt as _;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn keyring() -> Keyring {
    let keys = "audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";
    Keyring::parse(keys).expect("the keys of the tests")
}

/// Card and weights as they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) card: Vec<u8>,
    pub(crate) weights: Vec<u8>,
}

impl Files {
    /// Returns a small network with weights drawn from `seed`.
    pub(crate) fn tiny(name: &str, seed: u64) -> Self {
        Self::of(name, seed, &[4, 8])
    }

    pub(crate) fn of(name: &str, seed: u64, widths: &[i64]) -> Self {
        let network = NetworkConfig::residual(widths);
        let mut card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
        card.seed = seed;
        card.provenance.name = name.to_owned();
        card.provenance.licence = "CC0-1.0".to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let model = Model::untrained(&card, DeviceChoice::Cpu).expect("draw weights");
        model.save(folder.path()).expect("save");
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("read");
        Self { card: read(CARD_FILE), weights: read(WEIGHTS_FILE) }
    }

    /// Returns the same weights under a card that says something else.
    pub(crate) fn saying(&self, path: &str, value: serde_json::Value) -> Self {
        let mut card: serde_json::Value = serde_json::from_slice(&self.card).expect("a card");
        *card.pointer_mut(path).expect("a field") = value;
        Self { card: card.to_string().into_bytes(), weights: self.weights.clone() }
    }

    pub(crate) fn start(&self) -> StartModel {
        StartModel::from_bytes(&self.card, Bytes::from(self.weights.clone())).expect("a model")
    }

    pub(crate) fn messages(&self) -> Vec<ImportModelRequest> {
        let of = |content| ImportModelRequest { content: Some(content) };
        let card = of(Content::CardJson(self.card.clone()));
        let weights = self.weights.chunks(4096).map(|piece| of(Content::Weights(piece.to_vec())));
        [card].into_iter().chain(weights).collect()
    }
}

/// What outlives a server: rows and objects.
pub(crate) struct Ground {
    pub(crate) blobs: BlobStore,
    pub(crate) folder: TempDir,
    pub(crate) training: Option<TrainingSettings>,
    pub(crate) registration: RegistrationRule,
    pub(crate) uploads_max: usize,
    /// Whose every study is.
    pub(crate) patient_id: PatientId,
    /// Ingestion answers while nobody holds it for writing.
    pub(crate) gate: Arc<RwLock<()>>,
    access: Access,
    ingestion: Channel,
}

impl Ground {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Self::behind(Access::development(([127, 0, 0, 1], 0).into())?).await
    }

    /// As [`Ground::new`], for a service and an ingestion service that let in whom `access` does.
    pub(crate) async fn behind(access: Access) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let blobs = BlobStore::open(&format!("file://{}", folder.path().display()))?;
        let digest = blobs.put(Bytes::from(prepared().to_bytes()?)).await?.to_string();
        let patient_id = PatientId::generate();
        let gate = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let studies =
            IngestionServiceServer::new(OneStudy { digest, patient_id, gate: Arc::clone(&gate) });
        let incoming = TcpListenerStream::new(listener);
        let layer = access.clone().into_layer(|error| to_status(ACCESS_ERROR_DOMAIN, error));
        let server = Server::builder().layer(layer).add_service(studies);
        tokio::spawn(server.serve_with_incoming(incoming));
        let ingestion = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
        Ok(Self {
            blobs,
            folder,
            training: None,
            registration: RegistrationRule::Never,
            uploads_max: 2,
            patient_id,
            gate,
            access,
            ingestion,
        })
    }

    /// Starts a service over what is there, for whom the ingestion service lets in.
    pub(crate) async fn serve(
        &self,
        db: &DatabaseConnection,
        start: StartModel,
    ) -> anyhow::Result<Running> {
        self.serve_to(db, start, self.access.clone()).await
    }

    /// Starts a service over what is there, for whom `access` lets in.
    pub(crate) async fn serve_to(
        &self,
        db: &DatabaseConnection,
        start: StartModel,
        access: Access,
    ) -> anyhow::Result<Running> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address: SocketAddr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let dependencies = Dependencies {
            access,
            db: db.clone(),
            keyring: keyring(),
            blobs: self.blobs.clone(),
            ingestion: self.ingestion.clone(),
            model: start,
            device: DeviceChoice::Cpu,
            queue_max: 4,
            uploads_max: self.uploads_max,
            limits: RegistryLimits { models_in_memory_max: 2, weights_bytes_max: 4 * 1024 * 1024 },
            training: self.training.clone(),
            mirroring: None,
            registration: self.registration,
        };
        let run =
            neurotriage_segmentation::run(listener, dependencies, DRAIN_TIMEOUT, async move {
                let _ = stopped.await;
            });
        let server = tokio::spawn(run);
        let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
        Ok(Running {
            models: ModelServiceClient::new(channel.clone()),
            training: TrainingServiceClient::new(channel.clone()),
            segmentation: SegmentationServiceClient::new(channel.clone()),
            channel,
            stop,
            server,
        })
    }
}

/// A running service and clients of it.
pub(crate) struct Running {
    pub(crate) models: ModelServiceClient<Channel>,
    pub(crate) segmentation: SegmentationServiceClient<Channel>,
    pub(crate) training: TrainingServiceClient<Channel>,
    pub(crate) channel: Channel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop((self.models, self.segmentation, self.training, self.channel));
        let _ = self.stop.send(());
        self.server.await?
    }

    pub(crate) async fn import(&mut self, files: &Files) -> Result<RegisteredModel, Status> {
        let messages = tokio_stream::iter(files.messages());
        let response = self.models.import_model(messages).await?.into_inner();
        response.model.ok_or_else(|| Status::internal("no model"))
    }

    pub(crate) async fn load(&mut self, model_id: &str) -> Result<RegisteredModel, Status> {
        let request =
            neurotriage_proto::segmentation::v1::LoadModelRequest { model_id: model_id.to_owned() };
        let response = self.models.load_model(request).await?.into_inner();
        response.model.ok_or_else(|| Status::internal("no model"))
    }

    pub(crate) async fn promote(
        &mut self,
        model_id: &str,
        expected: &str,
    ) -> Result<String, Status> {
        let request = PromoteModelRequest {
            model_id: model_id.to_owned(),
            expected_serving_model_id: expected.to_owned(),
        };
        Ok(self.models.promote_model(request).await?.into_inner().previous_model_id)
    }

    /// Returns the id of the model that serves, as both services say.
    pub(crate) async fn serving(&mut self) -> anyhow::Result<String> {
        let page = self.models.list_models(list_request(0, "")).await?.into_inner();
        let request = neurotriage_proto::segmentation::v1::GetModelRequest {};
        let model = self.segmentation.get_model(request).await?.into_inner().model;
        let model_id = model.map(|model| model.model_id).unwrap_or_default();
        assert_eq!(page.serving_model_id, model_id);
        Ok(model_id)
    }

    pub(crate) async fn segment(&mut self, study_id: &str) -> anyhow::Result<Segmentation> {
        let request = SegmentStudyRequest { study_id: study_id.to_owned() };
        let mut stream = self.segmentation.segment_study(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(segment_study_response::Content::Segmentation(made)) = message.content {
                return Ok(made);
            }
        }
        anyhow::bail!("the stream ended without a result")
    }
}

pub(crate) fn list_request(
    page_size: u32,
    page_token: &str,
) -> neurotriage_proto::segmentation::v1::ListModelsRequest {
    neurotriage_proto::segmentation::v1::ListModelsRequest {
        page_size,
        page_token: page_token.to_owned(),
    }
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A head of four bright balls in air, on the grid of BraTS but smaller.
pub(crate) fn prepared() -> Prepared {
    let image = |modality: Modality| {
        let voxels = Array3::from_shape_fn((40, 44, 36), |(x, y, z)| {
            let d = [x as f32 - 20.0, y as f32 - 22.0, z as f32 - 18.0];
            let inside = d.iter().map(|v| v * v).sum::<f32>().sqrt() < 15.0;
            let value = 100.0 + 7.0 * modality.channel() as f32 + x as f32;
            if inside { value } else { 0.0 }
        });
        NamedImage {
            name: format!("case_{modality}.nii.gz"),
            image: Image { voxels, affine: Affine::brats() },
        }
    };
    let study = Study::from_images(Modality::ALL.map(image)).expect("a study");
    prepare(&study).expect("prepare")
}

/// An ingestion service with one prepared study under every id.
struct OneStudy {
    digest: String,
    patient_id: PatientId,
    gate: Arc<RwLock<()>>,
}

type NoStream = tokio_stream::Empty<Result<DownloadVolumeResponse, Status>>;

#[tonic::async_trait]
impl IngestionService for OneStudy {
    type DownloadVolumeStream = NoStream;

    async fn upload_study(
        &self,
        _request: Request<Streaming<UploadStudyRequest>>,
    ) -> Result<Response<UploadStudyResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn get_study(
        &self,
        request: Request<GetStudyRequest>,
    ) -> Result<Response<GetStudyResponse>, Status> {
        let _open = self.gate.read().await;
        let blob = BlobReference { digest: self.digest.clone(), size_bytes: 0 };
        let prepared =
            PreparedStudy { blob: Some(blob), profile: "whole".to_owned(), profile_version: 1 };
        let study_id = request.into_inner().study_id;
        let patient_id = self.patient_id.to_string();
        let prepared = Some(prepared);
        let study = PbStudy { study_id, patient_id, prepared, ..PbStudy::default() };
        Ok(Response::new(GetStudyResponse { study: Some(study) }))
    }

    async fn list_studies(
        &self,
        _request: Request<ListStudiesRequest>,
    ) -> Result<Response<ListStudiesResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn download_volume(
        &self,
        _request: Request<DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}
