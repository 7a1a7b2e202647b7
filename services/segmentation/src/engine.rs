//! The one thread that owns the network, and the bounded queue before it.
//!
//! libtorch keeps memory for every thread that calls it, and a network that uses every core gains
//! nothing from a second caller: so there is one caller. A job keeps the model it was given: when
//! another model begins to serve, the jobs before it end on the old one, which is then dropped.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use neurotriage_imaging::prepare::Prepared;
use neurotriage_network::{Mirroring, Model, NetworkError, SegmentOptions, Segmentation, segment};
use tokio::sync::oneshot;

use crate::resident::Resident;

/// Why the network gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The queue is full.
    #[error("queue is full")]
    QueueFull,
    /// The caller went away.
    #[error("call was cancelled")]
    Cancelled,
    /// The thread has ended.
    #[error("network thread has stopped; restart the service")]
    Stopped,
    /// The network failed.
    #[error("network failed")]
    Network(#[source] NetworkError),
}

/// What the network marked.
pub struct Marked {
    /// The study that was given.
    pub prepared: Prepared,
    /// The mask on the crop of `prepared`, `[x, y, z]`, and what it rests on.
    pub segmentation: Segmentation,
    /// Time the network took.
    pub elapsed: Duration,
}

/// What goes with a job: where progress is told. Dropping the future that waits cancels the job.
pub struct Ticket {
    report: Box<dyn Fn(u64, u64) + Send>,
    mirroring: Option<Mirroring>,
}

impl Ticket {
    /// Tells `report(done, total)` how far the job has come.
    pub fn new(report: impl Fn(u64, u64) + Send + 'static) -> Self {
        Self { report: Box::new(report), mirroring: None }
    }

    /// Segments these mirror images; those that suit the model if `None`.
    #[must_use]
    pub fn with_mirroring(self, mirroring: Option<Mirroring>) -> Self {
        Self { mirroring, ..self }
    }
}

struct Job {
    model: Arc<Resident>,
    prepared: Prepared,
    ticket: Ticket,
    cancelled: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Marked, EngineError>>,
}

/// Handle on the network's thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    jobs: SyncSender<Job>,
    /// Never locked across an await.
    serving: Arc<RwLock<Arc<Resident>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("model", &self.serving().model_id()).finish_non_exhaustive()
    }
}

/// Sets its flag when dropped: the caller's future is gone.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the thread that runs networks, `model` first; at most `queue_max` jobs wait before it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(model: Model, queue_max: usize) -> std::io::Result<Self> {
        Self::start_with(Arc::new(Resident::new(model)), queue_max)
    }

    /// As [`Engine::start`], with a model that others hold too.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start_with(model: Arc<Resident>, queue_max: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(queue_max);
        thread::Builder::new().name("network".to_owned()).spawn(move || {
            for job in waiting {
                let resident = Arc::clone(&job.model);
                resident.with(|model| work(model, job));
            }
        })?;
        Ok(Self { jobs, serving: Arc::new(RwLock::new(model)) })
    }

    /// Returns the model that serves new studies.
    pub fn serving(&self) -> Arc<Resident> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `model` serve new studies, and returns the one that did. Jobs that run or wait keep
    /// the model they were given.
    pub fn serve(&self, model: Arc<Resident>) -> Arc<Resident> {
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut serving, model)
    }

    /// Marks the tumour in `prepared` with the model that serves.
    ///
    /// # Errors
    /// As [`Engine::segment_with`].
    pub async fn segment(&self, prepared: Prepared, ticket: Ticket) -> Result<Marked, EngineError> {
        self.segment_with(self.serving(), prepared, ticket).await
    }

    /// Marks the tumour in `prepared` with `model`.
    ///
    /// # Errors
    /// [`EngineError::QueueFull`] at once if the queue is full; [`EngineError::Network`] if the
    /// network fails.
    pub async fn segment_with(
        &self,
        model: Arc<Resident>,
        prepared: Prepared,
        ticket: Ticket,
    ) -> Result<Marked, EngineError> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&cancelled));
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job { model, prepared, ticket, cancelled, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EngineError::QueueFull),
            Err(TrySendError::Disconnected(_)) => return Err(EngineError::Stopped),
        }
        answer.await.unwrap_or(Err(EngineError::Stopped))
    }
}

fn work(model: &Model, job: Job) {
    let Job { prepared, ticket, cancelled, reply, .. } = job;
    let gone = || cancelled.load(Ordering::Relaxed);
    if gone() {
        tracing::info!("job dropped: its caller has gone");
        return;
    }
    let start = Instant::now();
    let mut progress = |done: usize, total: usize| (ticket.report)(done as u64, total as u64);
    let usual = SegmentOptions::for_model(model.card());
    let options =
        SegmentOptions { mirroring: ticket.mirroring.unwrap_or(usual.mirroring), ..usual };
    let outcome = segment(model, prepared.channels().view(), &options, &mut progress, &gone);
    let answer = match outcome {
        Ok(segmentation) => Ok(Marked { prepared, segmentation, elapsed: start.elapsed() }),
        Err(NetworkError::Cancelled) => Err(EngineError::Cancelled),
        Err(error) => Err(EngineError::Network(error)),
    };
    // The caller may have gone meanwhile; then nobody waits for the answer.
    let _ = reply.send(answer);
}
