//! Delivery to a real HTTP server on loopback.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::ReferralMove;
use neurotriage_referral::{
    delivery::webhook::{WebhookSettings, WebhookSink},
    lifecycle::{event::EventKind, signature::Secrets},
    store::lifecycle::outbox_row,
};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::EntityTrait as _;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::{
    harness::{HOSPITAL, Harness, Replica},
    receiver::{Answer, Receiver},
};

/// More than any test here makes.
const ATTEMPTS_MAX: u32 = 20;

#[tokio::test]
async fn events_come_signed_in_order_and_without_the_draft() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let receiver = Receiver::start(Vec::new()).await?;
        let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
        use ReferralMove::{Accept, Complete, Receive, Request};
        let draft = harness.draft().await?;
        // Torn up: nobody hears of it.
        harness.walk(&harness.draft().await?, &[ReferralMove::Cancel]).await?;
        harness.walk(&draft, &[Request, Receive, Accept, Complete]).await?;
        let received = receiver.received(4).await?;
        let events: Vec<_> = received.iter().map(|one| one.event()).collect();
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        use EventKind::{Accepted, Completed, Received, Requested};
        assert_eq!(kinds, [Requested, Received, Accepted, Completed]);
        let listed = harness.events(&draft.referral_id).await?;
        for (one, (sent, listed)) in received.iter().zip(events.iter().zip(&listed[1..])) {
            assert_eq!(sent.event_id.to_string(), listed.event_id);
            assert_eq!(one.headers["neurotriage-event-id"], listed.event_id);
            assert_eq!(one.headers["neurotriage-hospital-id"], HOSPITAL);
            assert_eq!(one.headers["content-type"], "application/json");
            assert!(!one.body.contains(&draft.patient_id), "{}", one.body);
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn whatever_goes_wrong_the_same_event_comes_again_before_the_next() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let failures = vec![
            Answer::Status("503 Service Unavailable", ""),
            Answer::Hang,
            Answer::Drop,
            Answer::Status("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n"),
            Answer::Status("404 Not Found", ""),
        ];
        let failed = failures.len();
        let receiver = Receiver::start(failures).await?;
        let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
        let draft = harness.draft().await?;
        harness.walk(&draft, &[ReferralMove::Request, ReferralMove::Accept]).await?;
        let received = receiver.received(failed + 2).await?;
        let sequences: Vec<u64> = received.iter().map(|one| one.event().sequence).collect();
        let mut expected = vec![2; failed + 1];
        expected.push(3);
        assert_eq!(sequences, expected);
        let bodies: Vec<&str> = received[..=failed].iter().map(|one| one.body.as_str()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_referral_that_fails_does_not_hold_up_another() -> anyhow::Result<()> {
    let receiver = Receiver::start(vec![Answer::Hang]).await?;
    let db = TestDb::sqlite::<Migrator>().await?;
    let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
    let stuck = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
    receiver.received(1).await?;
    let free = harness.draft().await?;
    harness.walk(&free, &[ReferralMove::Request, ReferralMove::Accept]).await?;
    let received = receiver.received(4).await?;
    let ids: Vec<String> = received.iter().map(|one| one.event().referral_id.to_string()).collect();
    let (stuck, free) = (stuck.referral_id, free.referral_id);
    assert_eq!(ids, [stuck.clone(), free.clone(), free, stuck]);
    harness.stop().await
}

#[tokio::test]
async fn a_shutdown_lets_what_is_being_sent_end_and_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let receiver = Receiver::start(vec![Answer::Hang]).await?;
        let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
        harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
        receiver.received(1).await?;
        let Harness { replica, db } = harness;
        replica.stop().await?;
        let row = outbox_row::Entity::find().one(&db.db).await?.expect("a row");
        // Failed after its time-out, and free for another replica.
        assert_eq!((row.fate.as_str(), row.attempts, row.lease_id), ("pending", 1, None));

        let replica = Replica::start(&db, receiver.events(ATTEMPTS_MAX)?).await?;
        receiver.received(2).await?;
        Harness { replica, db }.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() -> anyhow::Result<()> {
    let busy = Answer::Status("429 Too Many Requests", "retry-after: 3600\r\n");
    let receiver = Receiver::start(vec![busy]).await?;
    let db = TestDb::sqlite::<Migrator>().await?;
    let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
    let draft = harness.draft().await?;
    let before = OffsetDateTime::now_utc();
    harness.walk(&draft, &[ReferralMove::Request]).await?;
    receiver.received(2).await?;
    // Cut to the longest backoff, 200 ms; the least backoff alone would be 10 ms.
    let waited = OffsetDateTime::now_utc() - before;
    assert!(waited >= time::Duration::milliseconds(200), "{waited}");
    harness.stop().await
}

#[tokio::test]
async fn an_endless_answer_is_not_read_and_counts_as_what_it_says() -> anyhow::Result<()> {
    let receiver = Receiver::start(vec![Answer::EndlessBody]).await?;
    let db = TestDb::sqlite::<Migrator>().await?;
    let harness = Harness::start(db, receiver.events(ATTEMPTS_MAX)?).await?;
    let draft = harness.draft().await?;
    harness.walk(&draft, &[ReferralMove::Request, ReferralMove::Accept]).await?;
    let received = receiver.received(2).await?;
    let sequences: Vec<u64> = received.iter().map(|one| one.event().sequence).collect();
    assert_eq!(sequences, [2, 3]);
    harness.stop().await
}

#[test]
fn settings_of_a_webhook_are_checked() {
    let secret = SecretString::from("x".repeat(32));
    let with = |url: &str, status: u16| {
        let secrets = Secrets::new(std::slice::from_ref(&secret)).unwrap();
        let settings = WebhookSettings { url: url.into(), secrets, refused_statuses: vec![status] };
        WebhookSink::new(settings).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with("http://hospital.example/events", 410), Ok(()));
    // Where the system has no roots to trust, nothing is sent to one that must prove itself.
    let encrypted = with("https://hospital.example/events", 410);
    let no_roots = "read the system's root certificates".to_owned();
    assert!(encrypted == Ok(()) || encrypted == Err(no_roots), "{encrypted:?}");
    // (what the row is for, URL, status, part of the message)
    let table = [
        ("no URL", "http://[", 410, "malformed"),
        ("no host", "/events", 410, "names no host"),
        ("scheme", "ftp://hospital.example/", 410, "must begin with"),
        ("password", "https://user:hunter2@hospital.example/", 410, "must not hold"),
        ("later", "https://hospital.example/", 429, "can't mean `never`"),
        ("server error", "https://hospital.example/", 500, "can't mean `never`"),
    ];
    for (case, url, status, message) in table {
        let error = with(url, status).unwrap_err();
        assert!(error.contains(message), "case: {case}: {error}");
        assert!(!error.contains("hunter2"), "case: {case}: {error}");
    }
}
