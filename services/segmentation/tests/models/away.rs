//! The database goes away under the running service and comes back.

use std::time::{Duration, Instant};

use neurotriage_domain::StudyId;
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_proto::segmentation::v1::{GetSegmentationRequest, SegmentStudyRequest};
use neurotriage_testkit::{TestDb, cluster::Cluster};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::harness::{Files, Ground, list_request, reason};

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
    let ground = Ground::new().await?;
    let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
    let first = running.segment(&StudyId::generate().to_string()).await?;
    let second = Files::tiny("second", 2);

    cluster.stop()?;
    let mut client = running.segmentation.clone();
    let mut segmenting = running.segmentation.clone();
    let mut models = running.models.clone();
    let get = GetSegmentationRequest { segmentation_id: first.segmentation_id.clone() };
    let made = async {
        let request = SegmentStudyRequest { study_id: StudyId::generate().to_string() };
        let mut stream = segmenting.segment_study(request).await?.into_inner();
        stream.message().await
    };
    let (read, made, listed, imported) = tokio::join!(
        client.get_segmentation(get.clone()),
        made,
        models.list_models(list_request(0, "")),
        running.import(&second),
    );
    assert_away(read, "read");
    assert_away(made, "segment");
    assert_away(listed, "list models");
    assert_away(imported, "import model");

    cluster.go_on()?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(status) = running.import(&second).await {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        anyhow::ensure!(Instant::now() < deadline, "still away: {status}");
    }
    let found = client.get_segmentation(get).await?.into_inner().segmentation;
    assert_eq!(found.unwrap_or_default().segmentation_id, first.segmentation_id);
    running.segment(&StudyId::generate().to_string()).await?;
    drop((client, segmenting, models));
    running.stop().await?;
    db.drop().await
}
