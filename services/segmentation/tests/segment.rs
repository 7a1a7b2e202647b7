//! The engine and the path from a prepared study to a stored, localised mask, with a small real
//! network, real databases and a real blob folder.

#![allow(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use ndarray::Array3;
use neurotriage_blobs::BlobStore;
use neurotriage_domain::{BlobDigest, DomainError as _, Modality, SegmentationId, StudyId};
use neurotriage_imaging::{Affine, Image, NamedImage, Prepared, Study, nifti, prepare};
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_network::{DeviceChoice, Model, ModelCard, NetworkConfig};
use neurotriage_segmentation::{
    engine::{Engine, EngineError, Ticket},
    segmentation::{
        PreparedStudy, Progress, SegmentationError, Segmenter, Step, StudySource, localise_mask,
    },
    store::SqlSegmentationStore,
};
use neurotriage_testkit::databases;
use tempfile::TempDir;

/// Longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

fn model() -> Model {
    let network = NetworkConfig::residual(&[4, 8]);
    let card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
    Model::untrained(&card, DeviceChoice::Cpu).expect("draw weights")
}

/// A head of four bright balls in air, on the grid of BraTS but smaller.
fn prepared() -> Prepared {
    let shape = (40, 44, 36);
    let image = |modality: Modality| {
        let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
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

/// A ticket that tells when the network has begun, and lets it go on when told.
fn gate() -> (Ticket, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let ticket = Ticket::new(move |_, _| {
        let _ = begun.send(());
        let _ = may_go_on.lock().expect("lock").recv_timeout(PATIENCE);
    });
    (ticket, has_begun, go_on)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_the_others_are_answered() {
    let engine = Engine::start(model(), 1).unwrap();
    let (ticket, has_begun, go_on) = gate();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.segment(prepared(), ticket).await }
    });
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(PATIENCE)).await.unwrap().unwrap();

    let waiting = engine.segment(prepared(), Ticket::new(|_, _| {}));
    let mut waiting = Box::pin(waiting);
    assert!(futures::poll!(&mut waiting).is_pending(), "one place in the queue");
    let refused = engine.segment(prepared(), Ticket::new(|_, _| {})).await;
    assert!(matches!(refused, Err(EngineError::QueueFull)));

    drop(go_on);
    let marked = running.await.unwrap().unwrap();
    assert_eq!(marked.labels.dim(), {
        let [x, y, z] = marked.prepared.crop().shape;
        (x, y, z)
    });
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_frees_its_place() {
    let engine = Engine::start(model(), 1).unwrap();
    let (ticket, has_begun, go_on) = gate();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.segment(prepared(), ticket).await }
    });
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    let mut gone = Box::pin(engine.segment(prepared(), Ticket::new(|_, _| panic!("must not run"))));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    drop(go_on);
    running.await.unwrap().unwrap();
    engine.segment(prepared(), Ticket::new(|_, _| {})).await.unwrap();
}

#[derive(Clone)]
struct Studies {
    digest: BlobDigest,
    profile_version: u32,
}

impl StudySource for Studies {
    async fn prepared(&self, _study_id: StudyId) -> Result<PreparedStudy, SegmentationError> {
        Ok(PreparedStudy {
            digest: self.digest,
            profile: "whole".to_owned(),
            profile_version: self.profile_version,
        })
    }
}

async fn segmenter(
    db: &sea_orm::DatabaseConnection,
    folder: &TempDir,
    profile_version: u32,
) -> anyhow::Result<Segmenter<SqlSegmentationStore, Studies>> {
    let blobs = BlobStore::open(&format!("file://{}", folder.path().display()))?;
    let digest = blobs.put(Bytes::from(prepared().to_bytes()?)).await?;
    Ok(Segmenter {
        store: SqlSegmentationStore::new(db.clone()),
        studies: Studies { digest, profile_version },
        blobs,
        engine: Engine::start(model(), 4)?,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_segmented_once_and_its_mask_has_the_geometry_of_the_files() -> anyhow::Result<()>
{
    for db in databases::<Migrator>().await? {
        let folder = tempfile::tempdir()?;
        let segmenter = segmenter(&db.db, &folder, 1).await?;
        let study_id = StudyId::generate();
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let progress = Arc::new(move |progress: Progress| {
            seen.lock().expect("lock").push(progress.step);
        });
        let first = segmenter.segment_study(study_id, progress).await?;
        let mut told = steps.lock().expect("lock").clone();
        told.dedup();
        assert_eq!(told, [Step::Queue, Step::Segment, Step::Localise, Step::Store]);

        let again = segmenter.segment_study(study_id, Arc::new(|_| panic!("no work"))).await?;
        assert_eq!(again.segmentation_id, first.segmentation_id);
        assert_eq!(again.localisation, first.localisation);

        let mask = segmenter.mask(first.segmentation_id).await?;
        let mask = nifti::read_mask(&mask, "mask.nii.gz")?;
        assert_eq!((mask.shape(), mask.affine), ([40, 44, 36], Affine::brats()));
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_of_another_profile_is_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let folder = tempfile::tempdir()?;
        let segmenter = segmenter(&db.db, &folder, 2).await?;
        let error = segmenter.segment_study(StudyId::generate(), Arc::new(|_| {})).await;
        let error = error.unwrap_err();
        assert_eq!(error.reason(), "PROFILE_MISMATCH");
        assert!(error.to_string().contains("whole/2"), "{error}");
        let unknown = segmenter.get(SegmentationId::generate()).await.unwrap_err();
        assert_eq!(unknown.reason(), "SEGMENTATION_NOT_FOUND");
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_mask_is_named() {
    let data = Bytes::from_static(b"<html>");
    let error = localise_mask(data, "page.nii.gz".to_owned()).await.unwrap_err();
    assert_eq!(error.reason(), "INVALID_IMAGE");
    assert!(error.to_string().contains("page.nii.gz"));
}

#[test]
fn the_built_in_model_loads() {
    let model = neurotriage_segmentation::default_model(DeviceChoice::Cpu).unwrap();
    assert_eq!(model.card().channels, Modality::ALL);
}
