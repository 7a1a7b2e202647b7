//! Callers that write until they are told that it is stored.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_proto::records::v1::records_service_client::RecordsServiceClient;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::writes::{Call, Content, Create, Fate, Known, There, Written, send};

/// Writes at a time.
pub(crate) const CALLERS: usize = 400;
/// What each caller writes, one after the other.
pub(crate) const WRITES_EACH: usize = 25;
/// Every so manieth create or update is given up when it fails; the others are repeated.
const GIVEN_UP_EVERY: usize = 10;
/// Longest that one write may take with all its repetitions.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Pause before a repetition. Shorter than RetryInfo asks for: the harder case.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// What happened, for all callers together.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Writes that were acknowledged or given up.
    pub(crate) done: AtomicUsize,
    pub(crate) given_up: AtomicUsize,
    /// Answers of the service that it is not able to now.
    pub(crate) unavailable: AtomicUsize,
    /// Calls whose connection broke.
    pub(crate) broken: AtomicUsize,
    /// Answers that the revision is another one: an update without an answer was stored.
    pub(crate) stale: AtomicUsize,
}

impl Progress {
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }
}

/// Returns whether the call is to be repeated: the service said so, or it said nothing.
///
/// # Errors
/// If the service refused in another way.
pub(crate) fn is_unavailable(status: &Status) -> anyhow::Result<bool> {
    let Some(info) = status.get_details_error_info() else {
        // Not from the service: the connection broke.
        let broken = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
        ensure!(broken.contains(&status.code()), "unexpected end of a call: {status:?}");
        return Ok(false);
    };
    ensure!(status.code() == Code::Unavailable, "refused: {info:?}, {status:?}");
    ensure!(status.get_details_retry_info().is_some(), "no RetryInfo: {status:?}");
    Ok(true)
}

/// Returns the current revision if the call named another one.
fn current_revision(status: &Status) -> Option<u64> {
    let info = status.get_details_error_info().filter(|_| status.code() == Code::Aborted)?;
    info.metadata.get("revision")?.parse().ok()
}

/// Runs all callers; each of `clients` is a connection that some of them share.
pub(crate) async fn write(
    clients: &[RecordsServiceClient<Channel>],
    progress: &Arc<Progress>,
) -> anyhow::Result<Written> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = clients[caller % clients.len()].clone();
        let line = Line { client, progress: Arc::clone(progress) };
        callers.spawn(Caller { line, creates: Vec::new(), patients: Vec::new() }.run(caller));
    }
    let mut written = Written::default();
    while let Some(of_caller) = callers.join_next().await {
        let Caller { creates, patients, .. } = of_caller.context("join caller")??;
        written.creates.extend(creates);
        let by_id = patients.into_iter().map(|known| (known.patient_id.clone(), known));
        written.patients.extend(by_id);
    }
    Ok(written)
}

/// What came of a call.
#[derive(Debug)]
enum Answer {
    Done(There),
    /// The current revision is another one.
    Stale(u64),
    GivenUp,
}

/// A way to the service.
struct Line {
    client: RecordsServiceClient<Channel>,
    progress: Arc<Progress>,
}

impl Line {
    /// Makes a call until it is answered; or once, if the caller gives up.
    async fn repeat(&mut self, call: &Call<'_>, gives_up: bool) -> anyhow::Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = match send(&mut self.client, call).await {
                Ok(there) => return Ok(Answer::Done(there)),
                Err(status) => status,
            };
            if let Some(revision) = current_revision(&status) {
                self.progress.stale.fetch_add(1, Ordering::Relaxed);
                return Ok(Answer::Stale(revision));
            }
            let said_so = is_unavailable(&status).with_context(|| format!("{call:?}"))?;
            let Progress { unavailable, broken, .. } = &*self.progress;
            (if said_so { unavailable } else { broken }).fetch_add(1, Ordering::Relaxed);
            if gives_up {
                self.progress.given_up.fetch_add(1, Ordering::Relaxed);
                return Ok(Answer::GivenUp);
            }
            ensure!(Instant::now() < deadline, "never acknowledged: {status:?}");
            sleep(PAUSE).await;
        }
    }
}

/// Somebody who writes about patients of their own.
struct Caller {
    line: Line,
    creates: Vec<Create>,
    /// Oldest first.
    patients: Vec<Known>,
}

impl Caller {
    async fn run(mut self, caller: usize) -> anyhow::Result<Self> {
        for turn in 0..WRITES_EACH {
            let number = caller * WRITES_EACH + turn;
            // No two callers near each other do the same at a time.
            self.write(number, (turn + caller * 3) % 50).await?;
            self.line.progress.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self)
    }

    /// Writes what is next at this place of fifty: one merge, one erasure, and of five others two patients, a report and
    /// two updates. A patient, if there is nobody yet whom it could be about.
    async fn write(&mut self, number: usize, place: usize) -> anyhow::Result<()> {
        let gives_up = number.is_multiple_of(GIVEN_UP_EVERY);
        let here = self.patients.iter().enumerate().filter(|(_, known)| known.fate == Fate::Here);
        let here: Vec<usize> = here.map(|(at, _)| at).collect();
        match (place, place % 5, here.as_slice()) {
            (20, _, &[oldest, .., newest]) => self.merge(newest, oldest).await,
            (45, _, &[oldest, .., _]) => self.erase(oldest).await,
            (_, 2, &[.., newest]) => {
                let patient_id = self.patients[newest].patient_id.clone();
                let text = format!("headache, report {number}");
                self.create(Content::Report { patient_id, text }, gives_up).await
            }
            (_, 3 | 4, &[.., newest]) => {
                self.rename(newest, format!("Renamed Patient {number}"), gives_up).await
            }
            _ => {
                let (number, name) = (format!("MRN-{number}"), format!("Sample Patient {number}"));
                self.create(Content::Patient { number, name }, gives_up).await
            }
        }
    }

    async fn create(&mut self, content: Content, gives_up: bool) -> anyhow::Result<()> {
        let mut create = Create { request_id: Uuid::now_v7(), content, acknowledged: None };
        match self.line.repeat(&Call::Create(&create), gives_up).await? {
            Answer::Done(there) => create.acknowledged = Some(there.id),
            Answer::GivenUp => {}
            Answer::Stale(_) => bail!("a create names no revision: {create:?}"),
        }
        if let (Content::Patient { number, name }, Some(id)) =
            (&create.content, &create.acknowledged)
        {
            self.patients.push(Known::new(id.clone(), number.clone(), name.clone()));
        }
        self.creates.push(create);
        Ok(())
    }

    async fn rename(&mut self, at: usize, name: String, gives_up: bool) -> anyhow::Result<()> {
        loop {
            self.patients[at].tried.push(name.clone());
            let call = Call::Rename { patient: &self.patients[at], name: &name };
            match self.line.repeat(&call, gives_up).await? {
                Answer::Done(there) => {
                    self.patients[at].settle(name, there.revision);
                    return Ok(());
                }
                Answer::GivenUp => return Ok(()),
                Answer::Stale(revision) => {
                    self.look(at).await?;
                    let known = &self.patients[at];
                    ensure!(known.revision == revision, "told of {revision}, and is {known:?}");
                    if known.name == name {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn merge(&mut self, kept: usize, duplicate: usize) -> anyhow::Result<()> {
        loop {
            let (known, other) = (&self.patients[kept], &self.patients[duplicate]);
            let call = Call::Merge { kept: known, duplicate: other };
            if let Answer::Done(there) = self.line.repeat(&call, false).await? {
                let numbers = other.numbers.clone();
                self.patients[duplicate].fate = Fate::MergedInto(there.id);
                let known = &mut self.patients[kept];
                known.numbers.extend(numbers);
                known.settle(known.name.clone(), there.revision);
                return Ok(());
            }
            self.look(kept).await?;
            self.look(duplicate).await?;
        }
    }

    async fn erase(&mut self, at: usize) -> anyhow::Result<()> {
        while !matches!(
            self.line.repeat(&Call::Erase(&self.patients[at]), false).await?,
            Answer::Done(_)
        ) {
            self.look(at).await?;
        }
        self.patients[at].fate = Fate::Erased;
        Ok(())
    }

    /// Reads a patient whose revision is not the one that was known: only an update of the caller's own can be there.
    async fn look(&mut self, at: usize) -> anyhow::Result<()> {
        let known = &mut self.patients[at];
        let Answer::Done(there) = self.line.repeat(&Call::Read(known), false).await? else {
            bail!("a read names no revision: {known:?}");
        };
        let own = there.name == known.name || known.tried.contains(&there.name);
        ensure!(own && there.id == known.patient_id, "not of this caller: {there:?}, {known:?}");
        known.settle(there.name, there.revision);
        Ok(())
    }
}
