//! Fault tests on a real PostgreSQL: the service and the database are killed with SIGKILL amid thousands of
//! writes, and stopped, and nothing that was acknowledged may be lost or be there twice.
//!
//! The service is the program in a process of its own; the database a server of its own that writes safely
//! (`fsync`). Callers repeat with the same `request_id` or `revision`, as the contract says.

#![allow(clippy::print_stderr, reason = "a test says what it did")]

mod check;
#[allow(dead_code, reason = "the benchmark reads more")]
mod cluster;
mod load;
mod program;
mod proxy;
mod watcher;
mod writes;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    GetPatientRequest, records_service_client::RecordsServiceClient,
};
use neurotriage_records::store::patient_row;
use neurotriage_testkit::TestDb;
use sea_orm::{ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _, TransactionTrait as _};
use secrecy::ExposeSecret as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use self::{
    cluster::Cluster,
    load::{CALLERS, Progress, WRITES_EACH},
    program::Service,
    proxy::Proxy,
    watcher::Watcher,
    writes::{Content, Create},
};

/// Connections of the service to its database.
const CONNECTIONS: u32 = 8;
/// Longest that a call may take while the database is away.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How soon the service is at work again once the database is back.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Service,
    Database,
    Both,
}

const FAULTS: [Fault; 8] = [
    Fault::Database,
    Fault::Service,
    Fault::Both,
    Fault::Database,
    Fault::Service,
    Fault::Database,
    Fault::Service,
    Fault::Both,
];

/// A database with its service, or `None` if PostgreSQL is not installed.
async fn world() -> anyhow::Result<Option<(Cluster, TestDb, Service)>> {
    let settings = ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "timezone=UTC"];
    let Some(cluster) = Cluster::start(&settings).await? else { return Ok(None) };
    let db = TestDb::postgres_at::<Migrator>(&cluster.url()).await?;
    let service = Service::start(&db.url, CONNECTIONS).await?;
    Ok(Some((cluster, db, service)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_once_after_kills() -> anyhow::Result<()> {
    let Some((mut cluster, db, mut service)) = world().await? else { return Ok(()) };
    let begun = Instant::now();
    let watcher = Watcher::start(service.client()?);
    let clients: Vec<_> = (0..4).map(|_| service.client()).collect::<Result<_, _>>()?;
    let progress = Arc::<Progress>::default();
    let load = tokio::spawn({
        let progress = Arc::clone(&progress);
        async move { load::write(&clients, &progress).await }
    });

    let writes = CALLERS * WRITES_EACH;
    for (round, fault) in (1..).zip(FAULTS) {
        // A golden-ratio walk comes near every moment without a generator.
        let share = writes / (FAULTS.len() + 1);
        let moment = share * round + round * 618 % (share / 2);
        while progress.done() < moment && !load.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        ensure!(!load.is_finished(), "all was done before {fault:?}: {:?}", load.await);
        match fault {
            Fault::Service => service.kill().await?,
            Fault::Database => cluster.kill().await?,
            Fault::Both => {
                cluster.kill().await?;
                service.kill().await?;
            }
        }
        sleep(Duration::from_millis(100 + round as u64 * 618 % 700)).await;
        match fault {
            Fault::Service => service.restart().await?,
            Fault::Database => cluster.restart().await?,
            Fault::Both => {
                // In no order: the service waits for its database.
                let (database, program) = tokio::join!(cluster.restart(), service.restart());
                database.and(program)?;
            }
        }
    }
    let written = load.await??;
    service.check_runs()?;
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{writes} writes in {seconds:.1} s under {FAULTS:?}: {progress:?}");
    ensure!(progress.unavailable.load(Ordering::Relaxed) > 0, "no kill of the database was felt");
    ensure!(progress.broken.load(Ordering::Relaxed) > 0, "no kill of the service was felt");

    let stored = check::rows(&db.db, &written).await?;
    let changes = check::changes(&db.db, &stored).await?;
    let seen = watcher.finish(changes.len()).await?;
    ensure!(seen.begun > 3, "the watch was not broken: it began {} times", seen.begun);
    assert!(seen.changes.values().all(|&times| times == 1), "the watch told of some twice");
    let told: BTreeSet<(String, u64)> = changes
        .iter()
        .map(|row| (row.record_id.to_string(), row.revision.unsigned_abs()))
        .collect();
    assert!(seen.changes.keys().eq(told.iter()), "the watch told of others than were made");
    check::audit(&db.db, &changes).await?;
    check::contents(&service.client()?, &written).await?;
    eprintln!("checked after {:.1} s", begun.elapsed().as_secs_f64());
    drop(service);
    db.drop().await
}

/// Sends a get of the first and each of `creates` at once; returns the answers and the longest wait.
async fn answers(
    client: &RecordsServiceClient<Channel>,
    first: &str,
    creates: &[Create],
) -> anyhow::Result<(Vec<Result<String, Status>>, Duration)> {
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for create in creates {
        let (mut creator, create) = (client.clone(), create.clone());
        calls.spawn(async move { writes::create(&mut creator, &create).await });
        let (mut reader, patient_id) = (client.clone(), first.to_owned());
        calls.spawn(async move {
            let got = reader.get_patient(GetPatientRequest { patient_id }).await?.into_inner();
            Ok(got.patient.unwrap_or_default().patient_id)
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = calls.join_next().await {
        answers.push(answer?);
    }
    Ok((answers, begun.elapsed()))
}

fn some_creates(from: usize) -> Vec<Create> {
    let create = |number: usize| Create {
        request_id: Uuid::now_v7(),
        content: Content::Patient {
            number: format!("MRN-{number}"),
            name: format!("Sample Patient {number}"),
        },
        acknowledged: None,
    };
    (from..from + 20).map(create).collect()
}

/// Checks that each call was told, in time, that the database is away.
fn check_away(answers: Vec<Result<String, Status>>, waited: Duration) -> anyhow::Result<()> {
    assert!(waited < ANSWER_MAX, "waited {waited:?}");
    for answer in answers {
        let status = answer.err().context("a call was answered without a database")?;
        assert!(load::is_unavailable(&status)?, "the service did not answer: {status:?}");
    }
    Ok(())
}

/// Waits until calls are answered again, and checks that repeated creates are stored once.
async fn check_back(
    client: &RecordsServiceClient<Channel>,
    first: &str,
    creates: &[Create],
    db: &TestDb,
    patients: u64,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut client = client.clone();
    loop {
        match client.get_patient(GetPatientRequest { patient_id: first.to_owned() }).await {
            Ok(_) => break,
            Err(status) => assert!(load::is_unavailable(&status)?, "{status:?}"),
        }
        ensure!(begun.elapsed() < RECOVERY_MAX, "the service does not come back");
        sleep(Duration::from_millis(50)).await;
    }
    eprintln!("back after {:?}", begun.elapsed());
    assert!(begun.elapsed() < RECOVERY_MAX);
    for create in creates {
        let id = writes::create(&mut client, create).await?;
        assert_eq!(writes::create(&mut client, create).await?, id);
    }
    assert_eq!(patient_row::Entity::find().count(&db.db).await?, patients);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_calls_end_in_time_and_the_service_comes_back_by_itself()
-> anyhow::Result<()> {
    let Some((mut cluster, db, mut service)) = world().await? else { return Ok(()) };
    let client = service.client()?;
    let process = service.id();
    let first = writes::create(&mut client.clone(), &some_creates(0)[0]).await?;

    // Away.
    cluster.kill().await?;
    let creates = some_creates(100);
    let (told, waited) = answers(&client, &first, &creates).await?;
    eprintln!("killed: {waited:?}");
    check_away(told, waited)?;
    cluster.restart().await?;
    check_back(&client, &first, &creates, &db, 21).await?;

    // There, and silent: what was sent before is done afterwards or never.
    cluster.pause()?;
    let creates = some_creates(200);
    let asked = answers(&client, &first, &creates).await;
    cluster.resume()?;
    let (told, waited) = asked?;
    eprintln!("stopped: {waited:?}");
    check_away(told, waited)?;
    check_back(&client, &first, &creates, &db, 41).await?;

    // Somebody holds a lock for long.
    let lock = db.db.begin().await?;
    lock.execute_unprepared("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE").await?;
    let creates = some_creates(300);
    let (told, waited) = answers(&client, &first, &creates).await?;
    eprintln!("locked: {waited:?}");
    check_away(told, waited)?;
    lock.rollback().await?;
    check_back(&client, &first, &creates, &db, 61).await?;

    service.check_runs()?;
    assert_eq!(service.id(), process, "it was not started again");
    drop(service);
    db.drop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_host_vanishes_is_found_again() -> anyhow::Result<()> {
    let Some((cluster, db, direct)) = world().await? else { return Ok(()) };
    drop(direct);
    let proxy = Proxy::start(cluster.port()).await?;
    let address = format!("127.0.0.1:{}", cluster.port());
    let url = db.url.expose_secret().replace(&address, &proxy.address.to_string());
    let mut service = Service::start(&url.into(), CONNECTIONS).await?;
    let client = service.client()?;
    let first = writes::create(&mut client.clone(), &some_creates(0)[0]).await?;

    // Every connection is at work and most are cut off in the middle.
    let warm = some_creates(100);
    let (told, _) = answers(&client, &first, &warm).await?;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    let creates = some_creates(200);
    let cut = async {
        sleep(Duration::from_millis(20)).await;
        proxy.cut();
    };
    let (told, ()) = tokio::join!(answers(&client, &first, &creates), cut);
    let (told, waited) = told?;
    let away = told.iter().filter(|answer| answer.is_err()).count();
    eprintln!("cut off: {away} of {} calls, {waited:?}", told.len());
    assert!(waited < ANSWER_MAX, "waited {waited:?}");
    for status in told.into_iter().filter_map(Result::err) {
        assert!(load::is_unavailable(&status)?, "the service did not answer: {status:?}");
    }
    check_back(&client, &first, &creates, &db, 41).await?;

    // Every connection is idle.
    sleep(Duration::from_secs(2)).await;
    proxy.cut();
    check_back(&client, &first, &some_creates(300), &db, 61).await?;
    service.check_runs()?;
    drop(service);
    db.drop().await
}
