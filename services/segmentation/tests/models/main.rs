//! The registry of models over a real socket, with real databases, real blobs and small networks.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on ends the test"
)]

mod audit;
mod away;
mod callers;
mod export;
mod harness;
mod localise;
mod tenants;
mod training;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use neurotriage_domain::{BlobDigest, PatientId, StudyId};
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_network::DeviceChoice;
use neurotriage_proto::segmentation::v1::{
    DescribeModelRequest, ListPromotionsRequest, ModelState, PromotionKind, RollbackModelRequest,
};
use neurotriage_segmentation::{
    registry::{Opening, Registry, RegistryLimits},
    segmentation::{PreparedStudy, Progress, SegmentationError, Segmenter, Step, StudySource},
    store::{SqlSegmentationStore, models::SqlModelStore},
};
use neurotriage_service_kit::audit::{AuditLog, Call};
use neurotriage_testkit::databases;
use serde_json::json;
use tonic::Code;

use self::harness::{Files, Ground, Running, keyring, list_request, prepared, reason};

/// Longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

fn call() -> Call {
    Call::of_program("north-lake".parse().unwrap(), "test").unwrap()
}

async fn roll_back(running: &mut Running, expected: &str) -> Result<String, tonic::Status> {
    let request = RollbackModelRequest { expected_serving_model_id: expected.to_owned() };
    let response = running.models.rollback_model(request).await?.into_inner();
    Ok(response.model.map(|model| model.model_id).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_passes_from_import_to_service_and_back() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let second = Files::tiny("second", 2);

        let imported = running.import(&second).await?;
        assert_eq!((imported.state(), imported.built_in), (ModelState::Imported, false));
        assert_eq!(imported.licence, "CC0-1.0");
        let again = running.import(&second).await?;
        assert_eq!(again, imported, "the same model may be sent again");

        let early = running.promote("second", "first").await.unwrap_err();
        assert_eq!(
            (early.code(), &*reason(&early)),
            (Code::FailedPrecondition, "MODEL_NOT_LOADED")
        );
        let loaded = running.load("second").await?;
        assert_eq!((loaded.state(), loaded.device.as_str()), (ModelState::Loaded, "cpu"));
        assert_eq!(running.serving().await?, "first", "loading does not serve");

        let study = StudyId::generate().to_string();
        let before = running.segment(&study).await?;
        assert_eq!(before.model_id, "first");
        assert_eq!(running.promote("second", "first").await?, "first");
        assert_eq!(running.serving().await?, "second");
        let after = running.segment(&study).await?;
        assert_eq!((after.model_id.as_str(), after.weights_sha256.as_str()), {
            ("second", imported.weights_sha256.as_str())
        });
        assert_ne!(after.segmentation_id, before.segmentation_id, "a new model, a new result");

        assert_eq!(roll_back(&mut running, "second").await?, "first");
        let known = running.segment(&study).await?;
        assert_eq!(known.segmentation_id, before.segmentation_id, "the old model knows the study");
        let none = roll_back(&mut running, "first").await.unwrap_err();
        assert_eq!(reason(&none), "NOTHING_TO_ROLL_BACK");

        let history = running.models.list_promotions(ListPromotionsRequest::default()).await?;
        let history = history.into_inner().promotions;
        let told: Vec<_> =
            history.iter().map(|one| (one.sequence, one.kind(), one.model_id.as_str())).collect();
        assert_eq!(told, [(2, PromotionKind::Rollback, ""), (1, PromotionKind::Promote, "second")]);
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_back_one_promotion_at_a_time() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("zero", 1).start()).await?;
        let mut serving = "zero";
        for (name, seed) in [("one", 2), ("two", 3)] {
            running.import(&Files::tiny(name, seed)).await?;
            running.load(name).await?;
            running.promote(name, serving).await?;
            serving = name;
        }
        // The model of the program may be promoted again too.
        running.load("zero").await?;
        running.promote("zero", "two").await?;
        for expected in ["two", "one", "zero"] {
            let serving = running.serving().await?;
            assert_eq!(roll_back(&mut running, &serving).await?, expected);
        }
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_serve_is_refused_when_sent_and_the_old_one_serves() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let good = Files::tiny("second", 2);
        let other_weights = Files { weights: Files::tiny("x", 3).weights, ..good.clone() };
        // (what the row is for, what is sent, reason)
        let table = [
            ("other weights", other_weights, "WEIGHTS_HASH_MISMATCH"),
            ("no licence", good.saying("/provenance/licence", json!("")), "LICENCE_MISSING"),
            ("no use", good.saying("/intended_use", json!("")), "INTENDED_USE_MISSING"),
            ("later card", good.saying("/card_version", json!(99)), "CARD_VERSION_UNKNOWN"),
            ("other preparation", good.saying("/profile", json!("seed/1")), "PROFILE_UNAVAILABLE"),
            ("path", good.saying("/provenance/name", json!("../../x")), "MODEL_NAME_INVALID"),
            ("no card", Files { card: b"{}".to_vec(), ..good.clone() }, "CARD_UNREADABLE"),
            ("no weights", Files { weights: Vec::new(), ..good.clone() }, "INVALID_FIELDS"),
            ("too large", Files { weights: vec![0; 5 << 20], ..good.clone() }, "INVALID_FIELDS"),
        ];
        for (case, files, expected) in table {
            let status = running.import(&files).await.expect_err(case);
            assert_eq!(status.code(), Code::InvalidArgument, "case: {case}: {status}");
            assert_eq!(reason(&status), expected, "case: {case}: {status}");
        }
        let taken = running.import(&Files::tiny("first", 9)).await.unwrap_err();
        assert_eq!(reason(&taken), "MODEL_ALREADY_EXISTS", "the name of the model of the program");
        running.import(&good).await?;
        let taken = running.import(&Files::tiny("second", 9)).await.unwrap_err();
        assert_eq!((taken.code(), &*reason(&taken)), (Code::AlreadyExists, "MODEL_ALREADY_EXISTS"));

        let weights_first = good.messages().into_iter().skip(1).collect::<Vec<_>>();
        let status = running.models.import_model(tokio_stream::iter(weights_first)).await;
        assert_eq!(reason(&status.unwrap_err()), "INVALID_FIELDS");
        assert_eq!(running.serving().await?, "first");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_of_another_shape_is_refused_when_loaded() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let wide = Files::of("wide", 2, &[4, 8]).saying("/network/widths", json!([4, 16]));
        running.import(&wide).await?;
        let status = running.load("wide").await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::FailedPrecondition, "WEIGHTS_DO_NOT_FIT")
        );

        let damaged = Files::tiny("damaged", 3);
        let digest = running.import(&damaged).await?.weights_sha256;
        let file = ground.folder.path().join("sha256").join(&digest[..2]).join(&digest);
        std::fs::write(&file, b"damage")?;
        let status = running.load("damaged").await.unwrap_err();
        assert_eq!(reason(&status), "WEIGHTS_DAMAGED");
        let request = DescribeModelRequest { model_id: "damaged".to_owned() };
        let model = running.models.describe_model(request).await?.into_inner().model.unwrap();
        assert_eq!(model.state(), ModelState::Refused);
        running.import(&damaged).await?;
        assert_eq!(running.load("damaged").await?.state(), ModelState::Loaded, "mended");

        let status = running.load("absent").await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "MODEL_NOT_FOUND"));
        assert_eq!(running.serving().await?, "first");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_expects_another_model_is_told_which_one_serves() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        running.import(&Files::tiny("second", 2)).await?;
        running.load("second").await?;
        for expected in ["", "second", "third"] {
            let status = running.promote("second", expected).await.unwrap_err();
            assert_eq!(reason(&status), "SERVING_MODEL_CHANGED");
            assert!(status.message().contains("first"), "{status}");
            let status = roll_back(&mut running, expected).await.unwrap_err();
            assert_eq!(reason(&status), "SERVING_MODEL_CHANGED");
        }
        running.promote("second", "first").await?;
        assert_eq!(
            running.promote("second", "second").await?,
            "second",
            "repeating changes nothing"
        );
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_what_was_promoted_unless_a_setting_names_a_model() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let start = Files::tiny("first", 1);
        let mut running = ground.serve(&db.service, start.start()).await?;
        let second = Files::tiny("second", 2);
        running.import(&second).await?;
        running.load("second").await?;
        running.promote("second", "first").await?;
        running.stop().await?;

        let mut running = ground.serve(&db.service, start.start()).await?;
        assert_eq!(running.serving().await?, "second");
        running.stop().await?;

        let folder = tempfile::tempdir()?;
        let named = Files::tiny("named", 3);
        std::fs::write(folder.path().join("card.json"), &named.card)?;
        std::fs::write(folder.path().join("model.safetensors"), &named.weights)?;
        let pinned = neurotriage_segmentation::StartModel::in_folder(folder.path())?;
        let mut running = ground.serve(&db.service, pinned).await?;
        assert_eq!(running.serving().await?, "named");
        running.load("second").await?;
        let status = running.promote("second", "named").await.unwrap_err();
        assert_eq!(reason(&status), "MODEL_PINNED");
        running.stop().await?;

        let mut running = ground.serve(&db.service, start.start()).await?;
        assert_eq!(roll_back(&mut running, "second").await?, "first", "the history outlives both");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_a_page_at_a_time() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("m", 1).start()).await?;
        for (name, seed) in [("b", 2), ("z", 3), ("a", 4)] {
            running.import(&Files::tiny(name, seed)).await?;
        }
        for page_size in 1..=5 {
            let (mut ids, mut token) = (Vec::new(), String::new());
            loop {
                let request = list_request(page_size, &token);
                let page = running.models.list_models(request).await?.into_inner();
                assert!(page.models.len() <= page_size as usize);
                ids.extend(page.models.into_iter().map(|model| model.model_id));
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(ids, ["m", "a", "b", "z"], "pages of {page_size}");
        }
        for (page_size, token) in [(201, ""), (1, "x"), (1, "m../")] {
            let status = running.models.list_models(list_request(page_size, token)).await;
            assert_eq!(reason(&status.unwrap_err()), "INVALID_FIELDS");
        }
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[derive(Clone)]
struct OneStudy(BlobDigest);

impl StudySource for OneStudy {
    async fn prepared(&self, _study_id: StudyId) -> Result<PreparedStudy, SegmentationError> {
        Ok(PreparedStudy {
            patient_id: PatientId::generate(),
            digest: self.0,
            profile: "whole".to_owned(),
            profile_version: 1,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_runs_ends_on_the_model_it_began_with() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let digest = ground.blobs.put(prepared().to_bytes()?.into()).await?;
        let registry = Registry::open(Opening {
            store: SqlModelStore::new(db.db.clone()),
            blobs: ground.blobs.clone(),
            start: Files::tiny("first", 1).start(),
            device: DeviceChoice::Cpu,
            queue_max: 4,
            limits: RegistryLimits { models_in_memory_max: 2, weights_bytes_max: 4 << 20 },
        })
        .await?;
        let segmenter = Segmenter {
            store: SqlSegmentationStore::new(AuditLog::new(db.service.clone(), &keyring())?),
            studies: OneStudy(digest),
            blobs: ground.blobs.clone(),
            engine: registry.engine().clone(),
            mirroring: None,
            registration: neurotriage_segmentation::placement::RegistrationRule::Never,
        };
        for (name, seed) in [("second", 2), ("third", 3)] {
            let files = Files::tiny(name, seed);
            let permit = registry.begin_import()?;
            registry.import(permit, files.card.into(), files.weights.into()).await?;
        }
        registry.load("second".to_owned()).await?;

        // The network's thread waits in its first report until the promotion is over.
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let progress = Arc::new(move |progress: Progress| {
            if progress.step == Step::Segment {
                let _ = begun.send(());
                let _ = may_go_on.lock().expect("lock").recv_timeout(PATIENCE);
            }
        });
        let (runs, study_id) = (segmenter.clone(), StudyId::generate());
        let running =
            tokio::spawn(async move { runs.segment_study(&call(), study_id, progress).await });
        tokio::task::spawn_blocking(move || has_begun.recv_timeout(PATIENCE)).await??;

        registry.promote("second".to_owned(), "first".to_owned()).await?;
        let full = registry.load("third".to_owned()).await.unwrap_err();
        assert!(
            matches!(full, neurotriage_segmentation::registry::RegistryError::MemoryFull),
            "the old model is in memory until the study ends: {full}"
        );
        drop(go_on);
        let made = running.await??;
        assert_eq!(made.model_id, "first");
        let next = segmenter.segment_study(&call(), study_id, Arc::new(|_| {})).await?;
        assert_eq!(next.model_id, "second");
        registry.load("third".to_owned()).await?;
        db.drop().await?;
    }
    Ok(())
}
