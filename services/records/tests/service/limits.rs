//! What one caller, or one hospital, may hold of the service, in SQLite and PostgreSQL.

use std::time::Duration;

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, BatchCreateResult, CreatePatientRequest, WatchChangesRequest,
    WatchChangesResponse, batch_create_request::Create, batch_create_result::Outcome,
};
use neurotriage_records::{change::WatchersMax, store::patient_row};
use neurotriage_testkit::{databases, issuer::Issuer};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Client, Start, metadata, patient, reason, start_with};

/// Longest that a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

fn create_patient(number: usize) -> BatchCreateRequest {
    let request_id = Uuid::now_v7().to_string();
    let create = CreatePatientRequest { request_id, patient: Some(patient(number)) };
    BatchCreateRequest { create: Some(Create::Patient(create)) }
}

async fn watch(
    client: &mut Client,
    request: WatchChangesRequest,
) -> Result<Streaming<WatchChangesResponse>, Status> {
    Ok(client.watch_changes(request).await?.into_inner())
}

#[tokio::test]
async fn a_hospital_leaves_places_to_others() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let access = Some(issuer.access().await?);
        let watchers_max = WatchersMax { together: 3, per_hospital: 2 };
        let harness = start_with(db, Start { access, watchers_max, ..Start::default() }).await?;
        let client = |hospital: &str| {
            let token = issuer.caller(hospital, "user/*.rs")?;
            Ok::<_, anyhow::Error>(harness.client_of(&token))
        };
        let (mut one, mut other) = (client("hospital-a")?, client("hospital-b")?);
        let all = WatchChangesRequest::default;
        let (first, second) = (watch(&mut one, all()).await?, watch(&mut one, all()).await?);
        let status = watch(&mut one, all()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, "TOO_MANY_WATCHERS_OF_HOSPITAL".to_owned())
        );
        assert_eq!(metadata(&status, "watchersMax"), "2");
        assert!(status.get_details_retry_info().is_some());
        let of_other = watch(&mut other, all()).await?;
        // Of its own it could have one more; there are three in all.
        let status = watch(&mut other, all()).await.unwrap_err();
        assert_eq!(reason(&status), "TOO_MANY_WATCHERS");

        // What was refused holds no place, and one is free once its watcher has gone.
        drop(first);
        let begun = Instant::now();
        let third = loop {
            match watch(&mut other, all()).await {
                Ok(third) => break third,
                Err(status) => assert_eq!(reason(&status), "TOO_MANY_WATCHERS"),
            }
            assert!(begun.elapsed() < PATIENCE, "the place is not free");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        drop((second, of_other, third));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_that_goes_silent_ends() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let batch_idle_max = Duration::from_secs(1);
        let mut harness = start_with(db, Start { batch_idle_max, ..Start::default() }).await?;
        // Nothing at all, and nothing more after two that are stored.
        let creates: Vec<_> = (0..2).map(create_patient).collect();
        for sent in [Vec::new(), creates.clone()] {
            let stream = tokio_stream::iter(sent);
            let stream = tokio_stream::StreamExt::chain(stream, tokio_stream::pending());
            let call = harness.client.batch_create(stream);
            let status = timeout(PATIENCE, call).await?.unwrap_err();
            let ended = (status.code(), reason(&status));
            assert_eq!(ended, (Code::Aborted, "BATCH_IDLE".to_owned()));
            assert_eq!(metadata(&status, "idleMaxSeconds"), "1");
        }
        let stream = tokio_stream::iter(creates);
        let results = harness.client.batch_create(stream).await?.into_inner().results;
        assert_eq!(results.len(), 2);
        let stored = |result: &BatchCreateResult| matches!(result.outcome, Some(Outcome::Id(_)));
        assert!(results.iter().all(stored), "{results:?}");
        assert_eq!(patient_row::Entity::find().count(harness.store()).await?, 2);
        harness.stop().await?;
    }
    Ok(())
}
