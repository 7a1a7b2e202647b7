//! A database, a NATS server, a proxy before it, workers, and what was written.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use async_nats::jetstream::{self, stream::Config};
use neurotriage_domain::{AssessmentId, PatientId, ReferralId};
use neurotriage_referral::{
    hospital,
    lifecycle::{
        Draft, Lifecycle, MoveRequest, Party, Posting,
        event::EventEnvelope,
        referral::{Action, Actor, Move, MoveKind, Referral, Role},
    },
    store::{
        SqlReferralStore, assessment_row,
        lifecycle::{SqlLifecycleStore, outbox_row},
    },
};
use neurotriage_service_kit::audit::Call;
use neurotriage_testkit::TestDb;
use sea_orm::{
    ActiveValue::Set, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _, Statement,
    TransactionTrait as _,
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    nats::NatsServer,
    proxy::{Proxy, Published},
};
use crate::support::keys::{self, ledger};

/// Longest wait for anything in a test. Leases last 8 s here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const STREAM: &str = "neurotriage-referral";
const HOSPITAL: &str = "sample-a";
const REFERRER: &str = "practice-7";

/// What becomes of a referral here: six events for the hospital.
const MOVES: [MoveKind; 6] = [
    MoveKind::Request,
    MoveKind::Receive,
    MoveKind::Accept,
    MoveKind::Schedule,
    MoveKind::Schedule,
    MoveKind::Complete,
];

/// How many events are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) pending: usize,
    /// Of those pending, how many a worker holds or held.
    pub(crate) claimed: usize,
    pub(crate) delivered: usize,
    pub(crate) dead: usize,
}

impl Fates {
    /// Returns how many are to be delivered.
    pub(crate) fn open(&self) -> usize {
        self.pending
    }
}

pub(crate) struct World {
    pub(crate) nats: NatsServer,
    pub(crate) proxy: Proxy,
    db: TestDb,
    lifecycle: Lifecycle<SqlLifecycleStore>,
    party: Party,
    assessment_id: AssessmentId,
    /// Events of each referral, in order.
    expected: HashMap<ReferralId, Vec<EventEnvelope>>,
    folder: TempDir,
}

/// A worker, killed in the end.
pub(crate) struct Worker(Child);

impl Worker {
    /// Kills it with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.0.try_wait()? {
            anyhow::bail!("the worker had ended by itself: {status}");
        }
        self.0.kill().await.context("kill worker")
    }
}

/// Keeps everybody from writing to the outbox.
pub(crate) struct OutboxLock(DatabaseTransaction);

impl OutboxLock {
    pub(crate) async fn release(self) -> anyhow::Result<()> {
        self.0.rollback().await.context("release the outbox")
    }
}

impl World {
    pub(crate) async fn start(
        db: TestDb,
        nats_program: &Path,
        duplicate_window: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let nats = NatsServer::start(nats_program).await?;
        if let Some(duplicate_window) = duplicate_window {
            let config = Config {
                name: STREAM.to_owned(),
                subjects: vec!["neurotriage.referral.v1.*".to_owned()],
                duplicate_window,
                ..Default::default()
            };
            jetstream(&nats).await?.create_stream(config).await?;
        }
        let proxy = Proxy::start(nats.address()).await?;
        SqlReferralStore::new(ledger(&db.service))
            .fill_empty_directory(&hospital::sample()?)
            .await?;
        let assessment_id = AssessmentId::generate();
        let row = assessment_row::ActiveModel {
            assessment_id: Set(assessment_id.as_uuid()),
            hospital_id: Set("development".to_owned()),
            request_id: Set(Uuid::now_v7()),
            patient_id: Set(PatientId::generate().as_uuid()),
            symptom_report_id: Set(Uuid::now_v7()),
            segmentation_id: Set(Uuid::now_v7()),
            hospitals_max: Set(5),
            created_at: Set(OffsetDateTime::now_utc()),
            content: Set(serde_json::Value::Null),
            sealed: Set(None),
        };
        assessment_row::Entity::insert(row).exec_without_returning(&db.db).await?;
        let store = SqlLifecycleStore::new(ledger(&db.service));
        let lifecycle = Lifecycle::new(store, Posting::On, 1, CancellationToken::new());
        let (expected, folder) = (HashMap::new(), tempfile::tempdir()?);
        let call = Call::of_program("development".parse()?, "test")?;
        let party = Party { call, plays_receivers: true };
        Ok(Self { nats, proxy, db, lifecycle, party, assessment_id, expected, folder })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.db.drop().await
    }

    /// Starts a worker.
    pub(crate) fn worker(&self) -> anyhow::Result<Worker> {
        self.start_worker("false")
    }

    /// Starts a worker that makes the stream if it is missing.
    pub(crate) fn worker_that_makes_the_stream(&self) -> anyhow::Result<Worker> {
        self.start_worker("true")
    }

    fn start_worker(&self, create_stream: &str) -> anyhow::Result<Worker> {
        let log = self.folder.path().join(format!("worker-{}.log", Uuid::now_v7()));
        let child = Command::new(env!("CARGO_BIN_EXE_neurotriage-referral"))
            .env_clear()
            .env("REFERRAL_LISTEN", "127.0.0.1:0")
            .env("REFERRAL_DATABASE_URL", self.db.url.expose_secret())
            .env("KEYRING", keys::KEYS)
            .env("RECORDS_ENDPOINT", "http://127.0.0.1:1")
            .env("SEGMENTATION_ENDPOINT", "http://127.0.0.1:1")
            .env("INGESTION_ENDPOINT", "http://127.0.0.1:1")
            .env("REFERRAL_EVENTS_NATS_URL", format!("nats://{}", self.proxy.address))
            .env("REFERRAL_EVENTS_NATS_STREAM", STREAM)
            .env("REFERRAL_EVENTS_NATS_CREATE_STREAM", create_stream)
            .env("REFERRAL_EVENTS_ATTEMPT_SECONDS", "2")
            .env("REFERRAL_EVENTS_BACKOFF_SECONDS", "1")
            .env("REFERRAL_EVENTS_ATTEMPTS_MAX", "1000")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(File::create(log)?)
            .kill_on_drop(true)
            .spawn()
            .context("start worker")?;
        Ok(Worker(child))
    }

    /// Writes `referrals` referrals from draft to end, a move of each in turn.
    pub(crate) async fn write(&mut self, referrals: usize) -> anyhow::Result<()> {
        let mut open: Vec<Referral> = Vec::new();
        for _ in 0..referrals {
            let draft = Draft {
                request_id: Uuid::now_v7(),
                assessment_id: self.assessment_id,
                hospital_id: HOSPITAL.parse()?,
                referrer_id: REFERRER.parse()?,
                deadline_at: None,
            };
            open.push(self.lifecycle.create(&self.party.call, draft).await?);
        }
        for kind in MOVES {
            for referral in &mut open {
                let (moved, event) =
                    self.lifecycle.make_move(&self.party, move_request(referral, kind)?).await?;
                let referral_id = event.referral_id;
                self.expected.entry(referral_id).or_default().push(EventEnvelope::from(&event));
                *referral = moved;
            }
        }
        Ok(())
    }

    /// Returns how many events were written.
    pub(crate) fn written(&self) -> usize {
        self.expected.values().map(Vec::len).sum()
    }

    pub(crate) async fn fates(&self) -> anyhow::Result<Fates> {
        let mut fates = Fates::default();
        for row in outbox_row::Entity::find().all(&self.db.db).await? {
            match row.fate.as_str() {
                "pending" => fates.pending += 1,
                "delivered" => fates.delivered += 1,
                "dead" => fates.dead += 1,
                other => anyhow::bail!("unexpected fate {other}"),
            }
            fates.claimed += usize::from(row.lease_id.is_some());
        }
        Ok(fates)
    }

    pub(crate) async fn wait_until(
        &self,
        what: &str,
        is_so: impl Fn(&Fates) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let fates = self.fates().await?;
            if is_so(&fates) {
                return Ok(());
            }
            if Instant::now() > deadline {
                anyhow::bail!("not so in time: {what}; {fates:?}; logs: {}", self.logs());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn logs(&self) -> String {
        let files = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }

    /// Waits until all is delivered and checks what the receiver has: every event; of each
    /// referral in order once duplicates are dropped; duplicates alike in every byte.
    pub(crate) async fn check_all_delivered(&self) -> anyhow::Result<()> {
        let written = self.written();
        self.wait_until("all are delivered", |fates| fates.delivered == written).await?;
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut received: HashMap<ReferralId, Vec<EventEnvelope>> = HashMap::new();
        for Published { id, body } in self.stream_messages().await? {
            let first = bodies.entry(id.clone()).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "one id, two bodies");
            let event = EventEnvelope::from_json(body.as_bytes())?;
            assert_eq!(event.event_id.to_string(), id);
            if seen.insert(event.event_id) {
                received.entry(event.referral_id).or_default().push(event);
            }
        }
        assert_eq!(received, self.expected);
        Ok(())
    }

    /// Returns what the stream holds, in order.
    pub(crate) async fn stream_messages(&self) -> anyhow::Result<Vec<Published>> {
        let stream = jetstream(&self.nats).await?.get_stream(STREAM).await?;
        let last = stream.cached_info().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await?;
            let id = message.headers.get("Nats-Msg-Id").context("an id")?.to_string();
            messages.push(Published { id, body: String::from_utf8(message.payload.to_vec())? });
        }
        Ok(messages)
    }

    /// Lets everybody read the outbox and nobody write.
    pub(crate) async fn lock_outbox(&self) -> anyhow::Result<OutboxLock> {
        let transaction = self.db.db.begin().await?;
        transaction.execute_unprepared("LOCK TABLE outbox IN EXCLUSIVE MODE").await?;
        Ok(OutboxLock(transaction))
    }

    /// Waits until a worker waits for the lock.
    pub(crate) async fn wait_for_blocked_write(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.blocked_writes("count(*)").await? == 0 {
            anyhow::ensure!(Instant::now() < deadline, "nobody waits; logs: {}", self.logs());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends what a killed worker left waiting in the database, which would be carried out once the
    /// lock is gone: the server notices only then that nobody is there any more.
    pub(crate) async fn drop_blocked_writes(&self) -> anyhow::Result<()> {
        let ended = self.blocked_writes("count(pg_terminate_backend(pid))").await?;
        anyhow::ensure!(ended > 0, "nothing was waiting");
        let deadline = Instant::now() + PATIENCE;
        while self.blocked_writes("count(*)").await? > 0 {
            anyhow::ensure!(Instant::now() < deadline, "a write is still waiting");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn blocked_writes(&self, of_them: &str) -> anyhow::Result<i64> {
        let query = format!(
            "SELECT {of_them} FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND query LIKE 'UPDATE \"outbox\"%'"
        );
        let backend = self.db.db.get_database_backend();
        let row = self.db.db.query_one_raw(Statement::from_string(backend, query)).await?;
        Ok(row.context("a count")?.try_get_by_index(0)?)
    }
}

async fn jetstream(nats: &NatsServer) -> anyhow::Result<jetstream::Context> {
    Ok(jetstream::new(async_nats::connect(nats.address()).await?))
}

fn move_request(referral: &Referral, kind: MoveKind) -> anyhow::Result<MoveRequest> {
    let scheduled_at =
        (kind == MoveKind::Schedule).then(|| OffsetDateTime::now_utc() + time::Duration::days(3));
    let by_referrer = kind == MoveKind::Request;
    let (role, id) =
        if by_referrer { (Role::Referrer, REFERRER) } else { (Role::Hospital, HOSPITAL) };
    Ok(MoveRequest {
        referral_id: referral.terms().referral_id,
        expected_revision: referral.status().revision,
        actor: Actor { role, id: id.parse()? },
        request: Move {
            request_id: Uuid::now_v7(),
            action: Action::from_parts(kind, None, scheduled_at)?,
        },
    })
}
