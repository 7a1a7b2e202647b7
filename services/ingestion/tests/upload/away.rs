//! The database goes away under the running service and comes back.

use std::time::{Duration, Instant};

use neurotriage_migrations::ingestion::Migrator;
use neurotriage_proto::ingestion::v1::ListStudiesRequest;
use neurotriage_testkit::{TestDb, cluster::Cluster};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::harness::{reason, start, study};

/// Longest time until the service has noticed that the database is back.
const PATIENCE: Duration = Duration::from_secs(60);

fn assert_away<T>(result: Result<T, Status>, case: &str) {
    let Err(status) = result else { panic!("case: {case}: answered") };
    assert_eq!(status.code(), Code::Unavailable, "case: {case}: {status}");
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE", "case: {case}");
    let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "case: {case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_callers_are_told_to_try_again() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start()? else { return Ok(()) };
    let db = TestDb::postgres_at::<Migrator>(&cluster.url()).await?;
    let mut harness = start(db, 4).await?;
    let patient = Uuid::now_v7().to_string();
    let upload = || study(&Uuid::now_v7().to_string(), &patient);
    let list = || ListStudiesRequest { patient_id: patient.clone(), ..Default::default() };
    harness.upload(upload()).await?;

    cluster.stop()?;
    let mut reader = harness.client.clone();
    let (read, written) = tokio::join!(reader.list_studies(list()), harness.upload(upload()));
    assert_away(read, "read");
    assert_away(written, "write");

    cluster.go_on()?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = harness.upload(upload()).await {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        anyhow::ensure!(Instant::now() < deadline, "still away: {status}");
    }
    assert_eq!(harness.client.list_studies(list()).await?.into_inner().studies.len(), 2);
    drop(reader);
    harness.stop().await
}
