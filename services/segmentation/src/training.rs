//! Training runs in the service: accepted, run, watched, ended, resumed.
//!
//! A run has a thread of its own in this process: libtorch keeps memory for every thread that
//! calls it, and gives it back when the thread ends. It shares cores and memory with the network
//! that serves, so a service that serves patients' studies leaves training off. A run that the end
//! of the process cuts short is marked as interrupted when the service starts again; its last
//! checkpoint is what survives. One process at a time may own a database with training on.
//!
//! Knows neither tonic nor sea-orm.

mod accept;
mod error;
mod run;
mod store;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use neurotriage_network::{CHECKPOINT_FILE, Start};
use neurotriage_training::TrainControl;
use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use uuid::Uuid;

use self::accept::Accepted;
pub use self::{
    error::TrainerError,
    store::{
        InvalidTrainingRunId, NewRun, Progress, TrainingRun, TrainingRunId, TrainingState,
        TrainingStore, Validation,
    },
};
use crate::registry::{ModelStore, Registry};

/// Pause before a run that is between two states is looked at again, and how often.
const CANCEL_PAUSE: Duration = Duration::from_millis(20);
const CANCEL_TRIES: u32 = 50;

/// Settings of training.
#[derive(Clone, Debug)]
pub struct TrainingSettings {
    /// Where runs keep checkpoints, logs and models: a folder each.
    pub folder: PathBuf,
    /// Most runs at a time.
    pub runs_max: usize,
    /// Environment variables whose folders training files may name.
    pub data_variables: Vec<String>,
    /// Most threads that a run computes with.
    pub threads_max: usize,
    /// Longest run, in minutes.
    pub minutes_max: f64,
}

/// The runs of one service. Clones share them.
#[derive(Clone, Debug)]
pub struct Trainer<S, M> {
    inner: Arc<Inner<S, M>>,
}

#[derive(Debug)]
struct Inner<S, M> {
    store: S,
    registry: Registry<M>,
    settings: TrainingSettings,
    slots: Arc<Semaphore>,
    stopping: AtomicBool,
    active: Mutex<HashMap<TrainingRunId, Active>>,
}

/// A run that goes on in this process.
struct Active {
    control: Arc<TrainControl>,
    state: watch::Receiver<TrainingRun>,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").finish_non_exhaustive()
    }
}

impl<S: TrainingStore, M: ModelStore> Trainer<S, M> {
    /// Marks the runs that the last end of the service cut short as interrupted, and is ready.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open(
        store: S,
        registry: Registry<M>,
        settings: TrainingSettings,
    ) -> Result<Self, TrainerError> {
        let interrupted = store.interrupt_all(now()).await?;
        if interrupted > 0 {
            tracing::warn!(runs = interrupted, "training was interrupted; resume it");
        }
        let slots = Arc::new(Semaphore::new(settings.runs_max));
        let (stopping, active) = (AtomicBool::new(false), Mutex::default());
        let inner = Inner { store, registry, settings, slots, stopping, active };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a run, or returns the one that the same request made before.
    ///
    /// # Errors
    /// [`TrainerError::Invalid`] if the file can't be followed, [`TrainerError::RequestReused`],
    /// [`TrainerError::ModelExists`], [`TrainerError::Full`], or a failure of the store.
    pub async fn start(&self, request_id: Uuid, text: String) -> Result<TrainingRun, TrainerError> {
        let inner = &self.inner;
        let content_hash = accept::content_hash(&text);
        if let Some(made) = inner.store.find_by_request(request_id).await? {
            return repeated(made, request_id, &content_hash);
        }
        let accepted = accept::accept(&text, &inner.settings)?;
        if inner.registry.describe(accepted.model_id.as_str()).await.is_ok() {
            return Err(TrainerError::ModelExists { model_id: accepted.model_id });
        }
        let slot = self.slot()?;
        let run = TrainingRun::queued(&accepted.model_id, now());
        let new = NewRun { run: run.clone(), request_id, content_hash, training_file: text };
        if !inner.store.insert(&new).await? {
            // The same request ran beside this one.
            let made = inner.store.find_by_request(request_id).await?;
            let made = made.ok_or(TrainerError::RequestReused { request_id })?;
            return repeated(made, request_id, &new.content_hash);
        }
        Ok(self.begin(run, accepted, slot))
    }

    /// Goes on with an interrupted or cancelled run from its last checkpoint, or from the
    /// beginning if it left none.
    ///
    /// # Errors
    /// [`TrainerError::NotFound`], [`TrainerError::NotResumable`], [`TrainerError::Full`], or a
    /// failure of the store.
    pub async fn resume(&self, id: TrainingRunId) -> Result<TrainingRun, TrainerError> {
        let inner = &self.inner;
        let (mut run, text) = self.get(id).await?;
        let refused = TrainerError::NotResumable { id, state: run.state };
        if !matches!(run.state, TrainingState::Interrupted | TrainingState::Cancelled) {
            return Err(refused);
        }
        let accepted = accept::accept(&text, &inner.settings)?;
        let slot = self.slot()?;
        let before = run.state;
        run.state = TrainingState::Queued;
        run.ended_at = None;
        if !inner.store.update(&run, before).await? {
            return Err(refused);
        }
        Ok(self.begin(run, accepted, slot))
    }

    /// Ends a run after the step at hand; one that has ended stays as it is.
    ///
    /// # Errors
    /// [`TrainerError::NotFound`], or a failure of the store.
    pub async fn cancel(&self, id: TrainingRunId) -> Result<TrainingRun, TrainerError> {
        for _ in 0..CANCEL_TRIES {
            if let Some(active) = self.inner.active().get(&id) {
                active.control.cancel();
                return Ok(active.state.borrow().clone());
            }
            let (mut run, _) = self.get(id).await?;
            match run.state {
                TrainingState::Interrupted => {
                    run.state = TrainingState::Cancelled;
                    if self.inner.store.update(&run, TrainingState::Interrupted).await? {
                        return Ok(run);
                    }
                    // It was resumed meanwhile.
                }
                // It begins just now.
                TrainingState::Queued | TrainingState::Running => {}
                TrainingState::Succeeded | TrainingState::Failed | TrainingState::Cancelled => {
                    return Ok(run);
                }
            }
            tokio::time::sleep(CANCEL_PAUSE).await;
        }
        Ok(self.get(id).await?.0)
    }

    /// Returns a run and its training file.
    ///
    /// # Errors
    /// [`TrainerError::NotFound`] if there is none.
    pub async fn get(&self, id: TrainingRunId) -> Result<(TrainingRun, String), TrainerError> {
        let found = self.inner.store.find(id).await?;
        let (stored, text) = found.ok_or(TrainerError::NotFound { id })?;
        // The store is written less often than the run moves.
        let live = self.inner.active().get(&id).map(|active| active.state.borrow().clone());
        Ok((live.unwrap_or(stored), text))
    }

    /// Returns a run as it is, and where its changes can be read if it goes on.
    ///
    /// # Errors
    /// [`TrainerError::NotFound`] if there is none.
    pub async fn watch(
        &self,
        id: TrainingRunId,
    ) -> Result<(TrainingRun, Option<watch::Receiver<TrainingRun>>), TrainerError> {
        let live = self.inner.active().get(&id).map(|active| active.state.clone());
        if let Some(mut live) = live {
            let now = live.borrow_and_update().clone();
            return Ok((now, Some(live)));
        }
        Ok((self.get(id).await?.0, None))
    }

    /// Returns at most `limit` runs made before `before`, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(
        &self,
        before: Option<TrainingRunId>,
        limit: u32,
    ) -> Result<Vec<TrainingRun>, TrainerError> {
        let mut runs = self.inner.store.list(before, limit).await?;
        let active = self.inner.active();
        for run in &mut runs {
            if let Some(live) = active.get(&run.id) {
                *run = live.state.borrow().clone();
            }
        }
        Ok(runs)
    }

    /// Ends every run after the step at hand, so that it can be resumed, and starts no other.
    pub fn begin_stop(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        for active in self.inner.active().values() {
            active.control.cancel();
        }
    }

    /// Waits until every run has ended, at most `limit`; what still runs then is found interrupted
    /// when the service starts again.
    pub async fn stopped(&self, limit: Duration) {
        let all = u32::try_from(self.inner.settings.runs_max).unwrap_or(u32::MAX);
        if timeout(limit, self.inner.slots.acquire_many(all)).await.is_err() {
            tracing::warn!("training still ran when the service ended");
        }
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, TrainerError> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(TrainerError::Stopping);
        }
        let runs_max = self.inner.settings.runs_max;
        let slot = Arc::clone(&self.inner.slots).try_acquire_owned();
        slot.map_err(|_| TrainerError::Full { runs_max })
    }

    /// Starts the run's thread and the task that keeps its row.
    fn begin(
        &self,
        run: TrainingRun,
        accepted: Accepted,
        slot: OwnedSemaphorePermit,
    ) -> TrainingRun {
        let id = run.id;
        let mut file = accepted.file;
        file.out = self.inner.settings.folder.join(id.to_string());
        let has_checkpoint = file.out.join(CHECKPOINT_FILE).is_file();
        let start = if has_checkpoint { Start::Resume } else { Start::Fresh };
        let control = Arc::new(TrainControl::default());
        let (told, state) = watch::channel(run.clone());
        self.inner.active().insert(id, Active { control: Arc::clone(&control), state });
        let own = Arc::clone(&control);
        if self.inner.stopping.load(Ordering::Relaxed) {
            control.cancel();
        }
        let job = run::Job { file, start, control };
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let _slot = slot;
            run::follow(&inner, job, &told).await;
            let mut active = inner.active();
            // Another may have resumed the run since its row said that it had ended.
            if active.get(&id).is_some_and(|active| Arc::ptr_eq(&active.control, &own)) {
                active.remove(&id);
            }
        });
        run
    }
}

impl<S, M> Inner<S, M> {
    /// Never held across an await.
    fn active(&self) -> MutexGuard<'_, HashMap<TrainingRunId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repeated(
    (run, content_hash): (TrainingRun, String),
    request_id: Uuid,
    content_hash_now: &str,
) -> Result<TrainingRun, TrainerError> {
    if content_hash == content_hash_now {
        return Ok(run);
    }
    Err(TrainerError::RequestReused { request_id })
}

/// Returns the time in microseconds, which is what a database keeps.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now)
}
