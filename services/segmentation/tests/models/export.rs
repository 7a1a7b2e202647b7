//! Models sent by the service: whole and as they came, or not at all.

use neurotriage_migrations::segmentation::Migrator;
use neurotriage_network::ModelCard;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{ExportModelRequest, ExportModelResponse, export_model_response::Content},
};
use neurotriage_testkit::databases;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    PATIENCE,
    harness::{Files, Ground, Running, reason},
};

async fn begin(
    running: &mut Running,
    model_id: &str,
) -> Result<Streaming<ExportModelResponse>, Status> {
    let request = ExportModelRequest { model_id: model_id.to_owned() };
    Ok(running.models.export_model(request).await?.into_inner())
}

/// Receives a model, and the sizes of the pieces of its weights.
async fn export(running: &mut Running, model_id: &str) -> Result<(Files, Vec<usize>), Status> {
    let mut stream = begin(running, model_id).await?;
    let first = stream.message().await?.and_then(|message| message.content);
    let Some(Content::CardJson(card)) = first else { panic!("no card first: {first:?}") };
    let (mut weights, mut sizes) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await? {
        let Some(Content::Weights(piece)) = message.content else { panic!("two cards") };
        sizes.push(piece.len());
        weights.extend(piece);
    }
    Ok((Files { card, weights }, sizes))
}

/// Weights of 12 MiB or so: more than lies between a service and a caller that does not read.
fn large(name: &str) -> Files {
    let files = Files::of(name, 1, &[4, 352]);
    assert!(files.weights.len() > 10 << 20, "{} bytes", files.weights.len());
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_leaves_as_it_came_and_can_come_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let start = large("first");
        let mut running = ground.serve(&db.service, start.start()).await?;
        let second = Files::tiny("second", 2);
        let imported = running.import(&second).await?;

        let (sent, _) = export(&mut running, "second").await?;
        assert!(sent.card == second.card && sent.weights == second.weights);
        assert_eq!(running.import(&sent).await?, imported, "the same model");

        let (sent, sizes) = export(&mut running, "first").await?;
        assert!(sent.weights == start.weights, "the model of the program");
        let card = |files: &Files| ModelCard::from_json(&files.card).unwrap();
        assert_eq!(card(&sent), card(&start));
        let (last, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size == CHUNK_BYTES_MAX), "{sizes:?}");
        assert!(*last <= CHUNK_BYTES_MAX, "{sizes:?}");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_of_a_model_that_is_absent_damaged_or_gone() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        for model_id in ["absent", "../x", ""] {
            let status = begin(&mut running, model_id).await.unwrap_err();
            assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "MODEL_NOT_FOUND"));
        }
        let second = Files::tiny("second", 2);
        let digest = running.import(&second).await?.weights_sha256;
        let file = ground.folder.path().join("sha256").join(&digest[..2]).join(&digest);
        let mut damaged = second.weights.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&file, damaged)?;
        for case in ["damaged", "gone"] {
            let status = begin(&mut running, "second").await.expect_err(case);
            assert_eq!(
                (status.code(), &*reason(&status)),
                (Code::FailedPrecondition, "WEIGHTS_DAMAGED"),
                "case: {case}"
            );
            let _ = std::fs::remove_file(&file);
        }
        running.import(&second).await?;
        assert!(export(&mut running, "second").await?.0.weights == second.weights, "mended");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_are_sent_at_a_time_and_a_caller_that_goes_makes_room() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, large("first").start()).await?;
        let kept = begin(&mut running, "first").await?;
        let given_up = begin(&mut running, "first").await?;
        let full = begin(&mut running, "first").await.unwrap_err();
        assert_eq!((full.code(), &*reason(&full)), (Code::ResourceExhausted, "EXPORTS_MAX"));
        assert!(full.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()));

        drop(given_up);
        let freed = async {
            while let Err(status) = begin(&mut running, "first").await {
                assert_eq!(reason(&status), "EXPORTS_MAX");
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, freed).await?;
        drop(kept);
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}
