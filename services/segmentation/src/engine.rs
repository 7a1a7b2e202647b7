//! The one thread that owns the network, and the bounded queue before it.
//!
//! libtorch keeps memory for every thread that calls it, and a network that uses every core gains
//! nothing from a second caller: so there is one caller.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use ndarray::Array3;
use neurotriage_imaging::prepare::Prepared;
use neurotriage_network::{Model, ModelCard, NetworkError, SegmentOptions, Uncertainty, segment};
use tokio::sync::oneshot;

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
    /// Labels 0, 1, 2, 4 on the crop of `prepared`, `[x, y, z]`.
    pub labels: Array3<u8>,
    /// How sure the network was; `None` if no tumour was found.
    pub uncertainty: Option<Uncertainty>,
    /// Time the network took.
    pub elapsed: Duration,
}

/// What goes with a job: where progress is told. Dropping the future that waits cancels the job.
pub struct Ticket {
    report: Box<dyn Fn(u64, u64) + Send>,
}

impl Ticket {
    /// Tells `report(done, total)` how far the job has come.
    pub fn new(report: impl Fn(u64, u64) + Send + 'static) -> Self {
        Self { report: Box::new(report) }
    }
}

struct Job {
    prepared: Prepared,
    ticket: Ticket,
    cancelled: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Marked, EngineError>>,
}

/// Handle on the network's thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    jobs: SyncSender<Job>,
    card: Arc<ModelCard>,
    device: Arc<str>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("model", &self.card.provenance.name).finish_non_exhaustive()
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
    /// Starts the thread that owns `model`; at most `queue_max` jobs wait before it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(model: Model, queue_max: usize) -> std::io::Result<Self> {
        let card = Arc::new(model.card().clone());
        let device = Arc::from(model.device_name().as_str());
        let (jobs, waiting) = sync_channel::<Job>(queue_max);
        thread::Builder::new().name("network".to_owned()).spawn(move || {
            for job in waiting {
                work(&model, job);
            }
        })?;
        Ok(Self { jobs, card, device })
    }

    /// Returns the card of the model.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the device of the model: `cpu` or `cuda:N`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Marks the tumour in `prepared`.
    ///
    /// # Errors
    /// [`EngineError::QueueFull`] at once if the queue is full; [`EngineError::Network`] if the
    /// network fails.
    pub async fn segment(&self, prepared: Prepared, ticket: Ticket) -> Result<Marked, EngineError> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&cancelled));
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job { prepared, ticket, cancelled, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EngineError::QueueFull),
            Err(TrySendError::Disconnected(_)) => return Err(EngineError::Stopped),
        }
        answer.await.unwrap_or(Err(EngineError::Stopped))
    }
}

fn work(model: &Model, job: Job) {
    let Job { prepared, ticket, cancelled, reply } = job;
    let gone = || cancelled.load(Ordering::Relaxed);
    if gone() {
        tracing::info!("job dropped: its caller has gone");
        return;
    }
    let start = Instant::now();
    let mut progress = |done: usize, total: usize| (ticket.report)(done as u64, total as u64);
    let options = SegmentOptions::for_model(model.card());
    let outcome = segment(model, prepared.channels().view(), &options, &mut progress, &gone);
    let answer = match outcome {
        Ok(segmentation) => Ok(Marked {
            prepared,
            uncertainty: segmentation
                .labels
                .iter()
                .any(|label| *label != 0)
                .then_some(segmentation.uncertainty),
            labels: segmentation.labels,
            elapsed: start.elapsed(),
        }),
        Err(NetworkError::Cancelled) => Err(EngineError::Cancelled),
        Err(error) => Err(EngineError::Network(error)),
    };
    // The caller may have gone meanwhile; then nobody waits for the answer.
    let _ = reply.send(answer);
}
