//! Watching events, also those of another replica.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    Event, ReferralMove, WatchEventsRequest, watch_events_request::Subject,
};
use neurotriage_referral::Events;
use neurotriage_testkit::{TestDb, databases};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::harness::{
    HOSPITAL, Harness, OTHER_HOSPITAL, PATIENCE, Replica, assert_refused, create_request,
};

type Stream = Streaming<neurotriage_proto::referral::v1::WatchEventsResponse>;

fn referral(referral_id: &str, after_sequence: u64) -> WatchEventsRequest {
    let subject = Some(Subject::ReferralId(referral_id.to_owned()));
    WatchEventsRequest { subject, after_sequence }
}

fn hospital(hospital_id: &str) -> WatchEventsRequest {
    let subject = Some(Subject::HospitalId(hospital_id.to_owned()));
    WatchEventsRequest { subject, after_sequence: 0 }
}

async fn watch(replica: &Replica, request: WatchEventsRequest) -> Result<Stream, Status> {
    Ok(replica.client.clone().watch_events(request).await?.into_inner())
}

async fn next(stream: &mut Stream) -> anyhow::Result<Event> {
    let message = timeout(PATIENCE, stream.message()).await??;
    Ok(message.and_then(|message| message.event).unwrap_or_default())
}

async fn sequences(stream: &mut Stream, count: usize) -> anyhow::Result<Vec<u64>> {
    let mut sequences = Vec::new();
    while sequences.len() < count {
        sequences.push(next(stream).await?.sequence);
    }
    Ok(sequences)
}

#[tokio::test]
async fn a_watch_goes_on_after_the_number_it_is_given() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let draft = harness.draft().await?;
        let mut stream = watch(&harness.replica, referral(&draft.referral_id, 0)).await?;
        let moves = [ReferralMove::Request, ReferralMove::Receive];
        let received = harness.walk(&draft, &moves).await?;
        assert_eq!(sequences(&mut stream, 3).await?, [1, 2, 3]);
        drop(stream);

        harness.walk(&received, &[ReferralMove::Accept, ReferralMove::Complete]).await?;
        let mut stream = watch(&harness.replica, referral(&draft.referral_id, 2)).await?;
        assert_eq!(sequences(&mut stream, 3).await?, [3, 4, 5]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hospital_sees_what_happens_from_now_on_and_no_drafts() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let before = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
        let mut stream = watch(&harness.replica, hospital(HOSPITAL)).await?;
        // A draft, one of another hospital, and one torn up: none of its business.
        harness.walk(&harness.draft().await?, &[ReferralMove::Cancel]).await?;
        let mut elsewhere = create_request(harness.assessment().await?);
        elsewhere.hospital_id = OTHER_HOSPITAL.to_owned();
        let elsewhere = harness.create(elsewhere).await?;
        harness.walk(&elsewhere, &[ReferralMove::Request]).await?;
        let draft = harness.draft().await?;

        harness.walk(&before, &[ReferralMove::Receive]).await?;
        let event = next(&mut stream).await?;
        assert_eq!((event.referral_id, event.sequence), (before.referral_id.clone(), 3));
        let moves = [ReferralMove::Request, ReferralMove::Receive, ReferralMove::Accept];
        harness.walk(&draft, &moves).await?;
        for sequence in 2..=4 {
            let event = next(&mut stream).await?;
            assert_eq!((event.referral_id, event.sequence), (draft.referral_id.clone(), sequence));
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn events_of_another_replica_are_seen() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let other = Replica::start(&harness.db, Events::default()).await?;
        let draft = harness.draft().await?;
        let mut one = watch(&other, referral(&draft.referral_id, 1)).await?;
        let mut all = watch(&other, hospital(HOSPITAL)).await?;
        harness.walk(&draft, &[ReferralMove::Request, ReferralMove::Accept]).await?;
        assert_eq!(sequences(&mut one, 2).await?, [2, 3]);
        assert_eq!(sequences(&mut all, 2).await?, [2, 3]);
        other.stop().await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_shutdown_ends_a_watch_with_a_time_to_come_back() -> anyhow::Result<()> {
    let harness = Harness::start(TestDb::sqlite::<Migrator>().await?, Events::default()).await?;
    let draft = harness.draft().await?;
    let mut stream = watch(&harness.replica, referral(&draft.referral_id, 0)).await?;
    assert_eq!(sequences(&mut stream, 1).await?, [1]);
    let Harness { replica, db } = harness;
    replica.stop().await?;
    let status = timeout(PATIENCE, stream.message()).await?.expect_err("the service ended");
    assert!(status.get_details_retry_info().is_some());
    assert_refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN", "shutdown");
    db.drop().await
}

#[tokio::test]
async fn watchers_are_limited_and_a_place_is_free_again_when_one_leaves() -> anyhow::Result<()> {
    let events = Events { watchers_max: 1, ..Events::default() };
    let harness = Harness::start(TestDb::sqlite::<Migrator>().await?, events).await?;
    let draft = harness.draft().await?;
    let request = || referral(&draft.referral_id, 0);
    let stream = watch(&harness.replica, request()).await?;
    let refused = watch(&harness.replica, request()).await;
    assert_refused(refused, Code::ResourceExhausted, "TOO_MANY_WATCHERS", "full");
    drop(stream);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while watch(&harness.replica, request()).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place was not freed");
        tokio::task::yield_now().await;
    }
    harness.stop().await
}

#[tokio::test]
async fn a_watch_refuses_what_it_should() -> anyhow::Result<()> {
    let harness = Harness::start(TestDb::sqlite::<Migrator>().await?, Events::default()).await?;
    let numbered = WatchEventsRequest { after_sequence: 3, ..hospital(HOSPITAL) };
    // (what the row is for, request, code, reason)
    let table = [
        ("nothing", WatchEventsRequest::default(), Code::InvalidArgument, "INVALID_FIELDS"),
        ("hospital with a number", numbered, Code::InvalidArgument, "INVALID_FIELDS"),
        ("no id", referral("banana", 0), Code::InvalidArgument, "INVALID_FIELDS"),
        (
            "unknown referral",
            referral(&Uuid::now_v7().to_string(), 0),
            Code::NotFound,
            "REFERRAL_NOT_FOUND",
        ),
        ("unknown hospital", hospital("nowhere"), Code::NotFound, "HOSPITAL_NOT_FOUND"),
    ];
    for (case, request, code, reason) in table {
        assert_refused(watch(&harness.replica, request).await, code, reason, case);
    }
    harness.stop().await
}
