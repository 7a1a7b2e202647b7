//! The service over a real socket, and small heads to upload.

use std::{net::SocketAddr, time::Duration};

use ndarray::Array3;
use neurotriage_blobs::BlobStore;
use neurotriage_imaging::{Affine, Image, nifti};
use neurotriage_ingestion::Dependencies;
use neurotriage_proto::{
    common::v1::Modality,
    ingestion::v1::{
        Study, UploadChunk, UploadHeader, UploadStudyRequest,
        ingestion_service_client::IngestionServiceClient, upload_study_request::Content,
    },
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::access::Access;
use neurotriage_testkit::TestDb;
use sea_orm::DatabaseConnection;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

pub(crate) const MODALITIES: [(Modality, &str); 4] = [
    (Modality::Flair, "flair"),
    (Modality::T1, "t1"),
    (Modality::T1ce, "t1ce"),
    (Modality::T2, "t2"),
];

pub(crate) struct Harness {
    pub(crate) client: IngestionServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) db: TestDb,
    blobs: TempDir,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

/// Keys that only tests have.
pub(crate) const KEYS: &str = "seal:s1:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n\
    audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";

pub(crate) fn keyring() -> Keyring {
    Keyring::parse(KEYS).expect("the keys of the tests")
}

/// Where a service keeps what it keeps.
pub(crate) struct Place {
    pub(crate) db: TestDb,
    pub(crate) blobs: TempDir,
}

/// What a service is started with; by default, no tokens and keys of the tests.
pub(crate) struct Start {
    pub(crate) access: Option<Access>,
    pub(crate) keyring: Keyring,
    pub(crate) uploads_max: usize,
}

impl Default for Start {
    fn default() -> Self {
        Self { access: None, keyring: keyring(), uploads_max: 4 }
    }
}

/// Starts the service for this machine.
pub(crate) async fn start(db: TestDb, uploads_max: usize) -> anyhow::Result<Harness> {
    start_at(Place::new(db)?, Start { uploads_max, ..Start::default() }).await
}

/// Starts the service for whom `access` lets in.
pub(crate) async fn start_for(
    db: TestDb,
    uploads_max: usize,
    access: Access,
) -> anyhow::Result<Harness> {
    let start = Start { access: Some(access), uploads_max, ..Start::default() };
    start_at(Place::new(db)?, start).await
}

pub(crate) async fn start_at(place: Place, start: Start) -> anyhow::Result<Harness> {
    let Place { db, blobs } = place;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let dependencies = Dependencies {
        access: match start.access {
            Some(access) => access,
            None => Access::development(address)?,
        },
        db: db.service.clone(),
        blobs: BlobStore::open(&format!("file://{}", blobs.path().display()))?,
        keyring: start.keyring,
        uploads_max: start.uploads_max,
    };
    let server = tokio::spawn(neurotriage_ingestion::run(
        listener,
        dependencies,
        Duration::from_secs(5),
        async move {
            let _ = stopped.await;
        },
    ));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let client = IngestionServiceClient::new(channel.clone());
    Ok(Harness { client, channel, db, blobs, stop, server })
}

impl Place {
    pub(crate) fn new(db: TestDb) -> anyhow::Result<Self> {
        Ok(Self { db, blobs: tempfile::tempdir()? })
    }
}

impl Harness {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.leave().await?.db.drop().await
    }

    /// Ends the service and leaves what it keeps.
    pub(crate) async fn leave(self) -> anyhow::Result<Place> {
        drop((self.client, self.channel));
        let _ = self.stop.send(());
        self.server.await??;
        Ok(Place { db: self.db, blobs: self.blobs })
    }

    pub(crate) fn store(&self) -> &DatabaseConnection {
        &self.db.db
    }

    pub(crate) fn stored_files(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).expect("read blob folder");
            entries
                .map(|entry| entry.expect("read entry").path())
                .map(|path| if path.is_dir() { count(&path) } else { 1 })
                .sum()
        }
        count(self.blobs.path())
    }

    pub(crate) async fn upload(
        &mut self,
        messages: Vec<UploadStudyRequest>,
    ) -> Result<String, Status> {
        Ok(self.upload_whole(messages).await?.study_id)
    }

    /// Returns the study as it was answered.
    pub(crate) async fn upload_whole(
        &mut self,
        messages: Vec<UploadStudyRequest>,
    ) -> Result<Study, Status> {
        let response = self.client.upload_study(tokio_stream::iter(messages)).await?;
        Ok(response.into_inner().study.expect("a study"))
    }
}

/// A small head: a bright ball in air, brighter for each modality.
pub(crate) fn head(offset: f32, shape: (usize, usize, usize)) -> Vec<u8> {
    let centre = [shape.0 as f32 / 2.0, shape.1 as f32 / 2.0, shape.2 as f32 / 2.0];
    let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
        let d = [x as f32 - centre[0], y as f32 - centre[1], z as f32 - centre[2]];
        let inside = d.iter().map(|v| v * v).sum::<f32>().sqrt() < centre[2] - 2.0;
        if inside { 100.0 + offset + x as f32 } else { 0.0 }
    });
    nifti::write_image_gz(&Image { voxels, affine: Affine::brats() }).expect("write NIfTI")
}

pub(crate) fn header(request_id: &str, patient_id: &str) -> UploadStudyRequest {
    UploadStudyRequest {
        content: Some(Content::Header(UploadHeader {
            request_id: request_id.to_owned(),
            patient_id: patient_id.to_owned(),
            accession: "ACC-1".to_owned(),
        })),
    }
}

pub(crate) fn chunks(modality: Modality, name: &str, data: &[u8]) -> Vec<UploadStudyRequest> {
    data.chunks(100_000)
        .map(|data| UploadStudyRequest {
            content: Some(Content::Chunk(UploadChunk {
                modality: modality.into(),
                file_name: format!("case_{name}.nii.gz"),
                data: data.to_vec(),
            })),
        })
        .collect()
}

pub(crate) fn study(request_id: &str, patient_id: &str) -> Vec<UploadStudyRequest> {
    let mut messages = vec![header(request_id, patient_id)];
    for (i, (modality, name)) in MODALITIES.into_iter().enumerate() {
        messages.extend(chunks(modality, name, &head(10.0 * i as f32, (40, 44, 36))));
    }
    messages
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
