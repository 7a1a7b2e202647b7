//! Times get, create and search over gRPC on PostgreSQL. Called by `cargo xtask bench records`.
//!
//! Beside each stands `pgbench` with the same statements, prepared, on as many connections: what the database
//! itself can do. Its scripts are made from what the database logged when the service ran; only the
//! patient, ids, numbers by which patients are found and the place in the audit are drawn anew. It writes chains of
//! the audit of its own, so that those of the service stay whole, which is checked at the end.
//!
//! The service is the program in a process of its own. Nothing here decides a test.

#![allow(clippy::print_stdout, reason = "a table for people")]
#![allow(clippy::unwrap_used, reason = "a program for developers: it may stop at any error")]

#[path = "../tests/service/faults/cluster.rs"]
#[allow(dead_code, reason = "tests kill it")]
mod cluster;
#[path = "../tests/service/faults/program.rs"]
#[allow(dead_code, reason = "tests kill it")]
mod program;
#[path = "records/replay.rs"]
mod replay;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, CreatePatientRequest, GetPatientRequest, MedicalRecordNumber, Patient,
    SearchPatientsRequest, batch_create_request::Create, batch_create_result::Outcome,
    records_service_client::RecordsServiceClient,
};
use neurotriage_records::store::patient_row;
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit;
use neurotriage_testkit::TestDb;
use sea_orm::{ConnectionTrait as _, EntityTrait as _, QuerySelect as _};
use tokio::{task::JoinSet, time::sleep};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{cluster::Cluster, program::Service, replay::Replay};

/// Patients of one name, whom a search for it shows.
const NAMESAKES: usize = 10;
/// Creates of one stream.
const STREAM: usize = 5_000;
/// Streams at a time while patients are loaded.
const STREAMS: usize = 8;
/// Least that a get is to reach of what pgbench does.
const OF_PGBENCH_MIN: f64 = 0.5;
/// Most that the p99 of a get may be of that among the fewest patients, to count as flat.
const P99_GROWTH_MAX: f64 = 1.5;
/// Time that does not count at the start of a round.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
struct Arguments {
    /// Patients that are there before.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000")]
    patients: Vec<usize>,
    /// Connections to the database, of the service and of pgbench.
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Calls at a time.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Rounds of each; the middle one is shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = ["max_wal_size=4GB", "timezone=UTC"];
    let cluster = Cluster::start(&settings).await?.context("PostgreSQL is not installed")?;
    println!(
        "gRPC with {} calls at a time, pgbench with its statements; {} connections each, medians of {} rounds of {} s",
        arguments.in_flight, arguments.connections, arguments.rounds, arguments.seconds
    );
    println!(
        "patients  call    calls/s  p50 ms  p99 ms  pgbench/s  calls/pgbench  p99 over the first  statements"
    );
    let mut first = HashMap::new();
    let (mut of_pgbench_min, mut growth_max) = (f64::INFINITY, 0.0_f64);
    for &patients in &arguments.patients {
        for (call, row) in of_size(&cluster, &arguments, patients).await? {
            let p99 = *first.entry(call).or_insert(row.p99_ms);
            let (of_pgbench, growth) = (row.per_second / row.pgbench_per_second, row.p99_ms / p99);
            println!(
                "{patients:>8}  {:<6} {:>8.0} {:>7.2} {:>7.2} {:>10.0} {of_pgbench:>14.2} {growth:>19.2} {:>11}",
                call.name(),
                row.per_second,
                row.p50_ms,
                row.p99_ms,
                row.pgbench_per_second,
                row.statements
            );
            if call == Call::Get {
                of_pgbench_min = of_pgbench.min(of_pgbench_min);
                growth_max = growth.max(growth_max);
            }
        }
    }
    let word = |is_met| if is_met { "met" } else { "not met" };
    println!(
        "get: {of_pgbench_min:.2} of pgbench at least, {OF_PGBENCH_MIN} wanted: {}; p99 grows to {growth_max:.2} of the \
         first at most, {P99_GROWTH_MAX} wanted: {}",
        word(of_pgbench_min >= OF_PGBENCH_MIN),
        word(growth_max <= P99_GROWTH_MAX)
    );
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Call {
    Get,
    Create,
    Search,
}

impl Call {
    const ALL: [Self; 3] = [Self::Get, Self::Search, Self::Create];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Search => "search",
        }
    }
}

struct Row {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    pgbench_per_second: f64,
    statements: usize,
}

/// What calls are made with.
struct Data {
    ids: Vec<Uuid>,
    families: usize,
    next: AtomicUsize,
}

async fn of_size(
    cluster: &Cluster,
    arguments: &Arguments,
    patients: usize,
) -> anyhow::Result<Vec<(Call, Row)>> {
    let db = TestDb::postgres_at::<Migrator>(&cluster.url()).await?;
    load(&db, arguments.connections, patients).await?;
    let ids: Vec<Uuid> = patient_row::Entity::find()
        .select_only()
        .column(patient_row::Column::PatientId)
        .into_tuple()
        .all(&db.db)
        .await?;
    ensure!(ids.len() == patients, "{} patients were loaded", ids.len());
    let families = patients.div_ceil(NAMESAKES);
    let data = Arc::new(Data { ids, families, next: AtomicUsize::new(patients) });

    let replay = record(cluster, &db, &data).await?;
    let service = Service::start(&db.url, arguments.connections).await?;
    let mut rows = Vec::new();
    for call in Call::ALL {
        let (mut grpc, mut pgbench) = (Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            db.db.execute_unprepared("CHECKPOINT").await?;
            grpc.push(round(&service, arguments, &data, call).await?);
            db.db.execute_unprepared("CHECKPOINT").await?;
            pgbench.push(replay.run(call.name(), arguments.connections, arguments.seconds)?);
        }
        let median = |of: fn(&Round) -> f64| middle(grpc.iter().map(of).collect());
        let row = Row {
            per_second: median(|round| round.per_second),
            p50_ms: median(|round| round.p50_ms),
            p99_ms: median(|round| round.p99_ms),
            pgbench_per_second: middle(pgbench),
            statements: replay.statements(call.name()),
        };
        rows.push((call, row));
    }
    drop(service);
    replay::remove_chains(&db).await?;
    let report = audit::verify(&db.db, &Keyring::parse(program::KEYS)?, &[], "").await?;
    let broken: Vec<_> = report.broken().collect();
    ensure!(broken.is_empty(), "the audit is broken: {broken:?}");
    db.drop().await?;
    Ok(rows)
}

/// Makes patients through the service, which does not wait for the disk meanwhile.
async fn load(db: &TestDb, connections: u32, patients: usize) -> anyhow::Result<()> {
    set_for_service(db, "synchronous_commit = off").await?;
    let service = Service::start(&db.url, connections).await?;
    let numbers: Vec<usize> = (0..patients).collect();
    let streams = numbers.chunks(STREAM.min(patients.div_ceil(STREAMS))).map(|numbers| {
        let numbers = numbers.to_vec();
        let client = service.client();
        async move {
            let creates = numbers
                .into_iter()
                .map(|number| BatchCreateRequest { create: Some(Create::Patient(create(number))) });
            let response = client?.batch_create(stream::iter(creates)).await?.into_inner();
            let refused = response.results.into_iter().find_map(|result| match result.outcome {
                Some(Outcome::Id(_)) => None,
                other => Some(other),
            });
            ensure!(refused.is_none(), "a create was refused: {refused:?}");
            Ok(())
        }
    });
    let streams: Vec<_> = streams.collect();
    stream::iter(streams).buffer_unordered(STREAMS).try_collect::<Vec<()>>().await?;
    drop(service);
    set_for_service(db, "synchronous_commit = on").await?;
    db.db.execute_unprepared("VACUUM ANALYZE").await?;
    Ok(())
}

async fn set_for_service(db: &TestDb, setting: &str) -> anyhow::Result<()> {
    let sql = format!(
        "DO $do$ BEGIN
             EXECUTE format($set$ALTER ROLE %I SET {setting}$set$, current_database());
         END $do$"
    );
    db.db.execute_unprepared(&sql).await.context("set for the service")?;
    Ok(())
}

/// A name of two words whose first ten patients share; made of letters, since words are told apart by their first.
fn family(number: usize) -> String {
    let mut left = number * 7919 % 11_881_376;
    let mut letters = String::new();
    for _ in 0..5 {
        letters.push(char::from(b'a' + u8::try_from(left % 26).unwrap()));
        left /= 26;
    }
    letters
}

fn create(number: usize) -> CreatePatientRequest {
    let patient = Patient {
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: "Sample Hospital".to_owned(),
            number: format!("MRN-{number}"),
        }],
        name: format!("{} Sample", family(number / NAMESAKES)),
        birth_date: format!(
            "19{:02}-{:02}-{:02}",
            number % 90 + 10,
            number % 12 + 1,
            number % 28 + 1
        ),
        ..Patient::default()
    };
    CreatePatientRequest { request_id: Uuid::now_v7().to_string(), patient: Some(patient) }
}

async fn once(
    client: &mut RecordsServiceClient<Channel>,
    data: &Data,
    call: Call,
    turn: usize,
) -> anyhow::Result<()> {
    // A walk that comes by every one in no order.
    let turn = turn.wrapping_mul(618_033_989);
    match call {
        Call::Get => {
            let patient_id = data.ids[turn % data.ids.len()].to_string();
            client.get_patient(GetPatientRequest { patient_id }).await?;
        }
        Call::Create => {
            let number = data.next.fetch_add(1, Ordering::Relaxed);
            client.create_patient(create(number)).await?;
        }
        Call::Search => {
            let name_prefix = family(turn % data.families);
            let request = SearchPatientsRequest { name_prefix, ..Default::default() };
            let found = client.search_patients(request).await?.into_inner().patients.len();
            ensure!(found >= NAMESAKES, "{found} found");
        }
    }
    Ok(())
}

/// Lets the service run with one connection while the database logs, and makes scripts of it.
async fn record(cluster: &Cluster, db: &TestDb, data: &Data) -> anyhow::Result<Replay> {
    set_for_service(db, "log_statement = 'all'").await?;
    let service = Service::start(&db.url, 1).await?;
    let mut client = service.client()?;
    let mut logged = Vec::new();
    for call in Call::ALL {
        // Some before, so that everything is prepared.
        for turn in 0..8 {
            once(&mut client, data, call, turn).await?;
        }
        sleep(Duration::from_millis(200)).await;
        let before = cluster.whole_log().len();
        for turn in 8..40 {
            once(&mut client, data, call, turn).await?;
        }
        sleep(Duration::from_millis(200)).await;
        logged.push((call.name(), cluster.whole_log()[before..].to_owned()));
    }
    drop(service);
    set_for_service(db, "log_statement = 'none'").await?;
    Replay::new(cluster, db, data.ids.len(), logged).await
}

struct Round {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

async fn round(
    service: &Service,
    arguments: &Arguments,
    data: &Arc<Data>,
    call: Call,
) -> anyhow::Result<Round> {
    let (counting, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let clients = [service.client()?, service.client()?];
    let mut callers = JoinSet::new();
    for caller in 0..arguments.in_flight {
        let mut client = clients[caller % clients.len()].clone();
        let (counting, stop) = (Arc::clone(&counting), Arc::clone(&stop));
        let data = Arc::clone(data);
        callers.spawn(async move {
            let mut times = Vec::new();
            let mut turn = caller * 1_000_003;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                once(&mut client, &data, call, turn).await?;
                if counting.load(Ordering::Relaxed) {
                    times.push(begun.elapsed());
                }
                turn += 1;
            }
            anyhow::Ok(times)
        });
    }
    sleep(WARM_UP).await;
    let begun = Instant::now();
    counting.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(arguments.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    let mut times = Vec::new();
    while let Some(of_caller) = callers.join_next().await {
        times.extend(of_caller??);
    }
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    Ok(Round { per_second: times.len() as f64 / seconds, p50_ms: at(0.5), p99_ms: at(0.99) })
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
