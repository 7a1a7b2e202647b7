//! The service over a real socket, and small heads to upload.

use std::{net::SocketAddr, time::Duration};

use ndarray::Array3;
use neurotriage_blobs::BlobStore;
use neurotriage_imaging::{Affine, Image, nifti};
use neurotriage_ingestion::Dependencies;
use neurotriage_proto::{
    common::v1::Modality,
    ingestion::v1::{
        UploadChunk, UploadHeader, UploadStudyRequest,
        ingestion_service_client::IngestionServiceClient, upload_study_request::Content,
    },
};
use neurotriage_service_kit::access::Access;
use neurotriage_testkit::TestDb;
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

/// Starts the service for this machine.
pub(crate) async fn start(db: TestDb, uploads_max: usize) -> anyhow::Result<Harness> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    start_for(db, uploads_max, Access::development(loopback)?).await
}

/// Starts the service for whom `access` lets in.
pub(crate) async fn start_for(
    db: TestDb,
    uploads_max: usize,
    access: Access,
) -> anyhow::Result<Harness> {
    let blobs = tempfile::tempdir()?;
    let store = BlobStore::open(&format!("file://{}", blobs.path().display()))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let dependencies = Dependencies { access, db: db.service.clone(), blobs: store, uploads_max };
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

impl Harness {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop((self.client, self.channel));
        let _ = self.stop.send(());
        self.server.await??;
        self.db.drop().await
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
        let response = self.client.upload_study(tokio_stream::iter(messages)).await?;
        Ok(response.into_inner().study.expect("a study").study_id)
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
