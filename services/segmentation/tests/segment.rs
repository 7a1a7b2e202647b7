//! The engine and the path from a prepared study to a stored, localised mask, with a small real
//! network, real databases and a real blob folder.

#![allow(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use ndarray::Array3;
use neurotriage_anatomy::{LocaliseOptions, localise};
use neurotriage_blobs::BlobStore;
use neurotriage_domain::{
    BlobDigest, DomainError as _, Modality, PatientId, SegmentationId, StudyId,
};
use neurotriage_imaging::{Affine, Image, NamedImage, Prepared, Study, nifti, prepare};
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_network::{DeviceChoice, Mirroring, Model, ModelCard, NetworkConfig};
use neurotriage_phantom::{Phantom, PhantomSpec};
use neurotriage_sealing::Keyring;
use neurotriage_segmentation::{
    certainty::{Certainty, Outcome, judge},
    engine::{Engine, EngineError, Marked, Ticket, ToPlace},
    placement::RegistrationRule,
    segmentation::{
        Part, PreparedStudy, Progress, SegmentationError, Segmenter, Step, StudySource,
    },
    store::{SqlSegmentationStore, segmentation_row},
};
use neurotriage_service_kit::audit::{AuditLog, Call, audit_entry_row, verify};
use neurotriage_testkit::databases;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _, IntoActiveModel as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

fn call() -> Call {
    Call::of_program("north-lake".parse().expect("an id"), "test").expect("a call")
}

fn model() -> Model {
    let network = NetworkConfig::residual(&[4, 8]);
    let card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
    Model::untrained(&card, DeviceChoice::Cpu).expect("draw weights")
}

fn keyring() -> Keyring {
    let keys = "audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";
    Keyring::parse(keys).expect("the keys of the tests")
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

/// Lets the network's thread work on a study until the sender is dropped.
async fn occupied(engine: &Engine) -> (JoinHandle<Result<Marked, EngineError>>, mpsc::Sender<()>) {
    let (ticket, has_begun, go_on) = gate();
    let engine = engine.clone();
    let running = tokio::spawn(async move { engine.segment(prepared(), ticket).await });
    let begun = tokio::task::spawn_blocking(move || has_begun.recv_timeout(PATIENCE));
    begun.await.expect("wait").expect("begin");
    (running, go_on)
}

/// Asks again until the queue has a place: it is free once the network's thread has come to the job
/// of a caller that went away, and dropped it.
async fn when_free<T, F: Future<Output = Result<T, EngineError>>>(
    ask: impl Fn() -> F,
) -> Result<T, EngineError> {
    let freed = async {
        loop {
            match ask().await {
                Err(EngineError::QueueFull) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("the queue stayed full")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_the_others_are_answered() {
    let engine = Engine::start(model(), 1).unwrap();
    let (running, go_on) = occupied(&engine).await;

    let waiting = engine.segment(prepared(), Ticket::new(|_, _| {}));
    let mut waiting = Box::pin(waiting);
    assert!(futures::poll!(&mut waiting).is_pending(), "one place in the queue");
    let refused = engine.segment(prepared(), Ticket::new(|_, _| {})).await;
    assert!(matches!(refused, Err(EngineError::QueueFull)));

    drop(go_on);
    let marked = running.await.unwrap().unwrap();
    assert_eq!(marked.segmentation.labels.dim(), {
        let [x, y, z] = marked.prepared.crop().shape;
        (x, y, z)
    });
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_frees_its_place() {
    let engine = Engine::start(model(), 1).unwrap();
    let (running, go_on) = occupied(&engine).await;
    let mut gone = Box::pin(engine.segment(prepared(), Ticket::new(|_, _| panic!("must not run"))));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    drop(go_on);
    running.await.unwrap().unwrap();
    when_free(|| engine.segment(prepared(), Ticket::new(|_, _| {}))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_before_its_image_is_placed_frees_its_place() {
    let engine = Engine::start(model(), 1).unwrap();
    let (running, go_on) = occupied(&engine).await;
    let to_place = || ToPlace {
        image: prepared().image(Modality::T1),
        lesion: None,
        rule: RegistrationRule::Never,
        slot: None,
    };
    let mut gone = Box::pin(engine.place(to_place()));
    assert!(futures::poll!(&mut gone).is_pending());
    let refused = engine.place(to_place()).await;
    assert!(matches!(refused, Err(EngineError::QueueFull)));
    drop(gone);
    drop(go_on);
    running.await.unwrap().unwrap();
    let place = when_free(|| engine.place(to_place())).await.unwrap();
    assert!(place.unwrap_err().contains("the nearest known grid"));
}

#[derive(Clone)]
struct Studies {
    digest: BlobDigest,
    profile_version: u32,
}

impl StudySource for Studies {
    async fn prepared(&self, _study_id: StudyId) -> Result<PreparedStudy, SegmentationError> {
        Ok(PreparedStudy {
            patient_id: PatientId::generate(),
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
        store: SqlSegmentationStore::new(AuditLog::new(db.clone(), &keyring())?),
        studies: Studies { digest, profile_version },
        blobs,
        engine: Engine::start(model(), 4)?,
        mirroring: None,
        registration: RegistrationRule::Never,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_segmented_once_and_its_mask_has_the_geometry_of_the_files() -> anyhow::Result<()>
{
    for db in databases::<Migrator>().await? {
        let folder = tempfile::tempdir()?;
        let segmenter = segmenter(&db.service, &folder, 1).await?;
        let study_id = StudyId::generate();
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let progress = Arc::new(move |progress: Progress| {
            seen.lock().expect("lock").push(progress.step);
        });
        let first = segmenter.segment_study(&call(), study_id, progress).await?;
        let mut told = steps.lock().expect("lock").clone();
        told.dedup();
        assert_eq!(told, [Step::Queue, Step::Segment, Step::Localise, Step::Store]);

        let again =
            segmenter.segment_study(&call(), study_id, Arc::new(|_| panic!("no work"))).await?;
        assert_eq!(again.segmentation_id, first.segmentation_id);
        assert_eq!(again.localisation, first.localisation);
        assert_eq!(again.certainty, first.certainty);
        let certainty = first.certainty.clone().expect("judged");
        // Forty voxels a side are no template and hold no brain.
        assert_eq!(certainty.outcome, Outcome::NotSure);
        let foreign = |reason: &String| reason.contains("not in the space of the template");
        assert!(certainty.reasons.iter().any(foreign), "{:?}", certainty.reasons);
        assert_eq!(certainty.lesions.len(), first.localisation.lesions.len());

        let mask = segmenter.mask(&call(), &first).await?;
        let mask = nifti::read_mask(&mask, "mask.nii.gz")?;
        assert_eq!((mask.shape(), mask.affine), ([40, 44, 36], Affine::brats()));
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_before_outcomes_reads_and_one_of_a_later_version_too() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let folder = tempfile::tempdir()?;
        let segmenter = segmenter(&db.service, &folder, 1).await?;
        let stored =
            segmenter.segment_study(&call(), StudyId::generate(), Arc::new(|_| {})).await?;
        let id = stored.segmentation_id;
        let change = async |change: &dyn Fn(&mut serde_json::Value)| -> anyhow::Result<()> {
            let row = segmentation_row::Entity::find_by_id(id.as_uuid()).one(&db.db).await?;
            let row = row.expect("the row");
            let mut localisation = row.localisation.clone();
            change(&mut localisation);
            let mut row = row.into_active_model();
            row.localisation = Set(localisation);
            row.update(&db.db).await?;
            Ok(())
        };
        change(&|json| json["certainty"]["of_a_later_version"] = 1.into()).await?;
        assert_eq!(segmenter.get(&call(), id, Part::Findings).await?.certainty, stored.certainty);
        change(&|json| {
            json.as_object_mut().and_then(|json| json.remove("certainty")).expect("was there");
        })
        .await?;
        let old = segmenter.get(&call(), id, Part::Findings).await?;
        assert_eq!((old.certainty, old.localisation), (None, stored.localisation));
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_model_is_sure_of_a_phantom_and_not_of_one_mixed_up() -> anyhow::Result<()> {
    let spec = PhantomSpec { seed: 7, centre_mm: Some([-150.0, 160.0, 85.0]), size_ml: Some(60.0) };
    let [flair, t1, t1ce, t2] = Phantom::generate(&spec)?.images;
    let engine = Engine::start(neurotriage_segmentation::default_model(DeviceChoice::Cpu)?, 1)?;
    let options = LocaliseOptions::default();
    let judged = async |images: [Image; 4]| -> anyhow::Result<Certainty> {
        let mut names = Modality::ALL.into_iter().map(|modality| modality.to_string());
        let named =
            images.map(|image| NamedImage { name: names.next().unwrap_or_default(), image });
        let prepared = prepare(&Study::from_images(named)?)?;
        let marked = engine.segment(prepared, Ticket::new(|_, _| {})).await?;
        let mask = marked.prepared.restore_mask(&marked.segmentation.labels)?;
        let localisation = localise(&mask, &options)?;
        Ok(judge(&marked.prepared, &marked.segmentation, &localisation, &options)?)
    };
    let sure = judged([flair.clone(), t1.clone(), t1ce.clone(), t2.clone()]).await?;
    assert_eq!((sure.outcome, sure.reasons.as_slice()), (Outcome::Tumour, &[][..]));
    let lesion = sure.lesion(0).expect("the tumour");
    assert!(lesion.confidence > 0.8 && lesion.mirror_spread_mean > 0.0, "{lesion:?}");
    assert!((30_000..100_000).contains(&lesion.voxels), "{lesion:?}");

    let doubtful = judged([flair, t2, t1ce, t1]).await?;
    assert_eq!(doubtful.outcome, Outcome::NotSure);
    assert!(doubtful.reasons.iter().any(|reason| reason.contains("mixed up")), "{doubtful:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_images_are_what_the_ticket_asks_for() -> anyhow::Result<()> {
    let engine = Engine::start(model(), 1)?;
    // (setting, passes, whether answers can differ)
    let table = [
        (None, 2, true),
        (Some(Mirroring::Off), 1, false),
        (Some(Mirroring::LeftRight), 2, true),
        (Some(Mirroring::All), 8, true),
    ];
    for (mirroring, passes, differ) in table {
        let seen = Arc::new(Mutex::new(0));
        let total = Arc::clone(&seen);
        let ticket = Ticket::new(move |_, all| *total.lock().expect("lock") = all);
        let marked = engine.segment(prepared(), ticket.with_mirroring(mirroring)).await?;
        assert_eq!(*seen.lock().expect("lock"), passes, "{mirroring:?}");
        let spread = marked.segmentation.mirror_spread.iter().any(|&spread| spread > 0.0);
        assert_eq!(spread, differ, "{mirroring:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_of_another_profile_is_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let folder = tempfile::tempdir()?;
        let segmenter = segmenter(&db.service, &folder, 2).await?;
        let study_id = StudyId::generate();
        let error = segmenter.segment_study(&call(), study_id, Arc::new(|_| {})).await;
        let error = error.unwrap_err();
        assert_eq!(error.reason(), "PROFILE_MISMATCH");
        assert!(error.to_string().contains("whole/2"), "{error}");
        let unknown =
            segmenter.get(&call(), SegmentationId::generate(), Part::Findings).await.unwrap_err();
        assert_eq!(unknown.reason(), "SEGMENTATION_NOT_FOUND");
        // Refused, and noted of the study: there is no segmentation to name.
        let rows = audit_entry_row::Entity::find().all(&db.db).await?;
        let row = rows.iter().find(|row| row.resource_id == Some(study_id.as_uuid()));
        let row = row.expect("an entry");
        let noted = format!("{} {} {} {}", row.action, row.resource_kind, row.outcome, row.detail);
        assert_eq!(noted, "create study failed reason=PROFILE_MISMATCH");
        assert_eq!((row.actor.as_str(), row.purpose.as_str()), ("test", "HSYSADMIN"));
        assert_eq!(rows.len(), 2);
        assert_eq!(verify(&db.service, &keyring(), &[], "").await?.broken().count(), 0);
        db.drop().await?;
    }
    Ok(())
}

#[test]
fn the_built_in_model_loads() {
    let model = neurotriage_segmentation::default_model(DeviceChoice::Cpu).unwrap();
    assert_eq!(model.card().channels, Modality::ALL);
}
