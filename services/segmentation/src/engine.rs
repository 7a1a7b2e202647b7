//! The one thread that owns the network and registers studies, and the bounded queue before it.
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

use neurotriage_domain::Modality;
use neurotriage_imaging::{Image, Mask, prepare::Prepared};
use neurotriage_network::{
    DeviceChoice, Mirroring, Model, NetworkError, SegmentOptions, Segmentation, segment,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    placement::{Place, PlacementError, RegistrationRule, place},
    resident::Resident,
};

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
    /// The study could not be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// What the network marked.
pub struct Marked {
    /// The study that was given.
    pub prepared: Prepared,
    /// The mask on the crop of `prepared`, `[x, y, z]`, and what it rests on.
    pub segmentation: Segmentation,
    /// Where the study lies in a template's space, or why that is unknown.
    pub place: Place,
    /// Time the network took.
    pub elapsed: Duration,
}

/// An image to place in a template's space.
#[derive(Debug)]
pub struct ToPlace {
    /// One sequence, T1 best.
    pub image: Image,
    /// What to leave out.
    pub lesion: Option<Mask>,
    /// Whether to register it.
    pub rule: RegistrationRule,
    /// Freed when the image is out of memory.
    pub slot: Option<Arc<OwnedSemaphorePermit>>,
}

/// What goes with a job: where progress is told. Dropping the future that waits cancels the job.
pub struct Ticket {
    report: Box<dyn Fn(u64, u64) + Send>,
    mirroring: Option<Mirroring>,
    registration: RegistrationRule,
}

impl Ticket {
    /// Tells `report(done, total)` how far the job has come.
    pub fn new(report: impl Fn(u64, u64) + Send + 'static) -> Self {
        Self {
            report: Box::new(report),
            mirroring: None,
            registration: RegistrationRule::default(),
        }
    }

    /// Segments these mirror images; those that suit the model if `None`.
    #[must_use]
    pub fn with_mirroring(self, mirroring: Option<Mirroring>) -> Self {
        Self { mirroring, ..self }
    }

    /// Registers the study by this rule.
    #[must_use]
    pub fn with_registration(self, registration: RegistrationRule) -> Self {
        Self { registration, ..self }
    }
}

/// Something for the thread to do.
enum Job {
    Segment(Box<SegmentJob>),
    Place(Box<PlaceJob>),
}

struct SegmentJob {
    model: Arc<Resident>,
    prepared: Prepared,
    ticket: Ticket,
    cancelled: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Marked, EngineError>>,
}

struct PlaceJob {
    to_place: ToPlace,
    device: DeviceChoice,
    cancelled: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Place, EngineError>>,
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
                match job {
                    Job::Segment(job) => {
                        let resident = Arc::clone(&job.model);
                        let device = device_of(&resident);
                        resident.with(|model| work(model, device, *job));
                    }
                    Job::Place(job) => work_place(*job),
                }
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
        self.ask(|cancelled, reply| {
            Job::Segment(Box::new(SegmentJob { model, prepared, ticket, cancelled, reply }))
        })
        .await
    }

    /// Places an image in a template's space.
    ///
    /// # Errors
    /// [`EngineError::QueueFull`] at once if the queue is full; [`EngineError::Placement`] if the
    /// image has no place in space or libtorch fails.
    pub async fn place(&self, to_place: ToPlace) -> Result<Place, EngineError> {
        let device = device_of(&self.serving());
        self.ask(|cancelled, reply| {
            Job::Place(Box::new(PlaceJob { to_place, device, cancelled, reply }))
        })
        .await
    }

    /// Queues a job and waits for its answer. Dropping the future cancels the job.
    async fn ask<T>(
        &self,
        job: impl FnOnce(Arc<AtomicBool>, oneshot::Sender<Result<T, EngineError>>) -> Job,
    ) -> Result<T, EngineError> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&cancelled));
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(job(cancelled, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(EngineError::QueueFull),
            Err(TrySendError::Disconnected(_)) => return Err(EngineError::Stopped),
        }
        answer.await.unwrap_or(Err(EngineError::Stopped))
    }
}

/// Returns where a model lives; registration runs there too.
fn device_of(model: &Resident) -> DeviceChoice {
    model.device().parse().unwrap_or_default()
}

fn work_place(job: PlaceJob) {
    let PlaceJob { to_place, device, cancelled, reply } = job;
    if cancelled.load(Ordering::Relaxed) {
        return;
    }
    let ToPlace { image, lesion, rule, slot: _slot } = to_place;
    let answer = place(&image, lesion.as_ref(), rule, device).map_err(EngineError::from);
    // The caller may have gone meanwhile; then nobody waits for the answer.
    let _ = reply.send(answer);
}

fn work(model: &Model, device: DeviceChoice, job: SegmentJob) {
    let SegmentJob { prepared, ticket, cancelled, reply, .. } = job;
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
        Ok(_) if gone() => Err(EngineError::Cancelled),
        Ok(segmentation) => {
            let elapsed = start.elapsed();
            place_marked(&prepared, &segmentation, ticket.registration, device)
                .map(|place| Marked { prepared, segmentation, place, elapsed })
        }
        Err(NetworkError::Cancelled) => Err(EngineError::Cancelled),
        Err(error) => Err(EngineError::Network(error)),
    };
    // The caller may have gone meanwhile; then nobody waits for the answer.
    let _ = reply.send(answer);
}

fn place_marked(
    prepared: &Prepared,
    segmentation: &Segmentation,
    rule: RegistrationRule,
    device: DeviceChoice,
) -> Result<Place, EngineError> {
    let image = prepared.image(Modality::T1);
    // Labels of the network are classes, and they have the shape of the crop.
    let lesion = prepared.grid_mask(&segmentation.labels).ok();
    Ok(place(&image, lesion.as_ref(), rule, device)?)
}
