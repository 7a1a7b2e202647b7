//! The database goes away under the running service and comes back.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::GetReferralRequest;
use neurotriage_referral::Events;
use neurotriage_testkit::{TestDb, cluster::Cluster};
use tokio::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::harness::{Harness, create_request};

/// Longest time until the service has noticed that the database is back.
const PATIENCE: Duration = Duration::from_secs(60);

fn assert_away<T>(result: Result<T, Status>, case: &str) {
    let Err(status) = result else { panic!("case: {case}: answered") };
    assert_eq!(status.code(), Code::Unavailable, "case: {case}: {status}");
    let info = status.get_details_error_info().expect(case);
    assert_eq!(info.reason, "DATABASE_UNAVAILABLE", "case: {case}");
    let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "case: {case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_callers_are_told_to_try_again() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start()? else { return Ok(()) };
    let db = TestDb::postgres_at::<Migrator>(&cluster.url()).await?;
    let harness = Harness::start(db, Events::default()).await?;
    let first = harness.draft().await?;
    let assessment_id = harness.assessment().await?;
    let read = || async {
        let referral_id = first.referral_id.clone();
        let request = GetReferralRequest { referral_id, ..GetReferralRequest::default() };
        harness.client().get_referral(request).await
    };
    let write = || harness.create(create_request(assessment_id));

    cluster.stop()?;
    let (found, written) = tokio::join!(read(), write());
    assert_away(found, "read");
    assert_away(written, "write");

    cluster.go_on()?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = write().await {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        anyhow::ensure!(Instant::now() < deadline, "still away: {status}");
    }
    assert_eq!(read().await?.into_inner().referral, Some(first.clone()));
    harness.stop().await
}
