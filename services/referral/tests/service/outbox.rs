//! Crash tests of the outbox, on a real NATS and a real PostgreSQL: workers and the server are killed
//! with SIGKILL at every step, and nothing may be lost.
//!
//! A worker is the program `neurotriage-referral` in a process of its own. Between it and NATS stands
//! a proxy that holds what it is told to hold; a lock on the table holds what the worker writes. So
//! every kill falls where it should, without a hook in the program.

mod nats;
mod proxy;
mod world;

use std::time::Duration;

use neurotriage_migrations::referral::Migrator;
use neurotriage_testkit::TestDb;
use tokio::time::sleep;

use self::world::{Fates, World};

/// Returns a world to break, or `None` with a word about what is not installed.
async fn world(duplicate_window: impl Into<Option<Duration>>) -> anyhow::Result<Option<World>> {
    let Some(program) = nats::program() else {
        eprintln!("skipped nats: install nats-server");
        return Ok(None);
    };
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(None) };
    World::start(db, &program, duplicate_window.into()).await.map(Some)
}

/// Without a stream.
const NO_STREAM: Option<Duration> = None;

/// Long enough for JetStream to drop whatever a test sends twice.
const DEDUPLICATED: Duration = Duration::from_mins(5);

/// So short that duplicates stay in the stream and can be looked at.
const NOT_DEDUPLICATED: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_before_it_claims_has_done_nothing() -> anyhow::Result<()> {
    let Some(mut world) = world(DEDUPLICATED).await? else { return Ok(()) };
    world.write(2).await?;
    let lock = world.lock_outbox().await?;
    let worker = world.worker()?;
    world.wait_for_blocked_write().await?;
    worker.kill().await?;
    world.drop_blocked_writes().await?;
    lock.release().await?;
    let fates = world.fates().await?;
    assert_eq!((fates.claimed, fates.pending), (0, world.written()), "{fates:?}");
    assert_eq!(world.proxy.published().len(), 0);

    let worker = world.worker()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_between_claim_and_sending_is_followed() -> anyhow::Result<()> {
    let Some(mut world) = world(DEDUPLICATED).await? else { return Ok(()) };
    world.proxy.allow_publishes(0);
    world.write(2).await?;
    let worker = world.worker()?;
    world.proxy.wait_for_publishes(1).await?;
    worker.kill().await?;
    let fates = world.fates().await?;
    assert!(fates.claimed >= 1 && fates.delivered == 0, "{fates:?}");
    assert_eq!(world.stream_messages().await?.len(), 0);

    world.proxy.allow_all();
    let worker = world.worker()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_between_sending_and_acknowledgement_sends_again_under_the_same_id()
-> anyhow::Result<()> {
    let Some(mut world) = world(DEDUPLICATED).await? else { return Ok(()) };
    world.proxy.hold_acknowledgements();
    world.write(1).await?;
    let worker = world.worker()?;
    world.proxy.wait_for_acknowledgements(1).await?;
    worker.kill().await?;
    let first = world.proxy.published().remove(0);
    assert_eq!(world.stream_messages().await?, std::slice::from_ref(&first));
    assert_eq!(world.fates().await?.delivered, 0);

    world.proxy.allow_all();
    let worker = world.worker()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    let again: Vec<_> =
        world.proxy.published().into_iter().filter(|one| one.id == first.id).collect();
    assert_eq!(again, [first.clone(), first], "sent twice, byte for byte");
    // JetStream dropped the second.
    assert_eq!(world.stream_messages().await?.len(), world.written());
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_between_acknowledgement_and_its_note_sends_again() -> anyhow::Result<()> {
    let Some(mut world) = world(NOT_DEDUPLICATED).await? else { return Ok(()) };
    world.proxy.hold_acknowledgements();
    world.write(1).await?;
    let worker = world.worker()?;
    world.proxy.wait_for_acknowledgements(1).await?;
    let lock = world.lock_outbox().await?;
    world.proxy.allow_all();
    world.wait_for_blocked_write().await?;
    worker.kill().await?;
    world.drop_blocked_writes().await?;
    lock.release().await?;
    let fates = world.fates().await?;
    assert_eq!((fates.claimed, fates.delivered), (1, 0), "{fates:?}");

    let worker = world.worker()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    // The receiver got it twice and knows it by its id.
    assert_eq!(world.stream_messages().await?.len(), world.written() + 1);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_after_its_note_sends_no_event_again() -> anyhow::Result<()> {
    let Some(mut world) = world(NOT_DEDUPLICATED).await? else { return Ok(()) };
    world.proxy.allow_publishes(1);
    world.write(1).await?;
    let worker = world.worker()?;
    // The second is begun only after the first is noted.
    world.proxy.wait_for_publishes(2).await?;
    worker.kill().await?;
    let fates = world.fates().await?;
    assert_eq!((fates.claimed, fates.delivered), (1, 1), "{fates:?}");
    let first = world.proxy.published().remove(0);

    world.proxy.allow_all();
    let worker = world.worker()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    let times = world.proxy.published().iter().filter(|one| one.id == first.id).count();
    assert_eq!(times, 1);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_events_wait_until_there_is_one() -> anyhow::Result<()> {
    let Some(mut world) = world(NO_STREAM).await? else { return Ok(()) };
    world.write(1).await?;
    let worker = world.worker()?;
    world.proxy.wait_for_publishes(1).await?;
    worker.kill().await?;
    assert_eq!(world.fates().await?.delivered, 0);

    let worker = world.worker_that_makes_the_stream()?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nats_is_killed() -> anyhow::Result<()> {
    let Some(mut world) = world(NOT_DEDUPLICATED).await? else { return Ok(()) };
    let worker = world.worker()?;
    for _ in 0..3 {
        // Before, while and after it is away.
        world.write(2).await?;
        world.wait_until("something is delivered", |fates| fates.delivered > 0).await?;
        world.nats.kill().await?;
        world.write(1).await?;
        world.nats.restart().await?;
        world.write(1).await?;
    }
    // Once more with an acknowledgement under way.
    world.wait_until("all are delivered", |fates| fates.open() == 0).await?;
    world.proxy.hold_acknowledgements();
    let before = world.proxy.acknowledgements();
    world.write(1).await?;
    world.proxy.wait_for_acknowledgements(before + 1).await?;
    world.nats.kill().await?;
    world.proxy.allow_all();
    world.nats.restart().await?;
    world.check_all_delivered().await?;
    worker.kill().await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_overtaken_when_two_workers_are_killed_at_any_moment()
-> anyhow::Result<()> {
    let Some(mut world) = world(NOT_DEDUPLICATED).await? else { return Ok(()) };
    // Milliseconds that each of the two may live: a golden-ratio walk over 50 to 1050, which
    // comes near every moment without a generator.
    let lives = (1..=10_u64).map(|round| 50 + (round * 618) % 1_000);
    let mut other = world.worker()?;
    for life in lives {
        let worker = world.worker()?;
        world.write(2).await?;
        sleep(Duration::from_millis(life)).await;
        other.kill().await?;
        other = worker;
    }
    world.check_all_delivered().await?;
    other.kill().await?;
    let Fates { dead, delivered, .. } = world.fates().await?;
    assert_eq!((dead, delivered), (0, world.written()));
    world.stop().await
}
