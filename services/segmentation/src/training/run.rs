//! One run: its thread, and the task that tells what becomes of it.

use std::{
    error::Error as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use neurotriage_domain::DomainError as _;
use neurotriage_network::{CARD_FILE, Start, WEIGHTS_FILE};
use neurotriage_training::{
    TrainControl, TrainOutcome, TrainProgress, TrainingError, TrainingFile,
};
use tokio::sync::{oneshot, watch};

use super::{Inner, Progress, TrainingRun, TrainingState, TrainingStore, Validation, now};
use crate::registry::{Listed, ModelStore, Registry, RegistryError};

/// Pause between two writes of a run's progress: the database need not follow every step.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for another import to end.
const IMPORT_WAIT_MAX: Duration = Duration::from_secs(600);
/// Longest text of an error that is kept.
const ERROR_CHARS_MAX: usize = 500;

/// What a run's thread is given.
pub(super) struct Job {
    pub(super) file: TrainingFile,
    pub(super) start: Start,
    pub(super) control: Arc<TrainControl>,
}

/// How a thread ended.
type Ended = Result<TrainOutcome, TrainingError>;

/// Runs `job` in a thread of its own, tells `told` how it goes, keeps its row, and imports what
/// comes of it.
pub(super) async fn follow<S: TrainingStore, M: ModelStore>(
    inner: &Inner<S, M>,
    job: Job,
    told: &watch::Sender<TrainingRun>,
) {
    let folder = job.file.out.clone();
    let mut run = told.borrow().clone();
    run.state = TrainingState::Running;
    run.started_at = Some(now());
    run.error = None;
    keep(inner, &run, TrainingState::Queued).await;
    told.send_replace(run.clone());
    tracing::info!(training_run_id = %run.id, "training runs");

    let (progress, moved) = watch::channel(run.progress);
    let (done, ended) = oneshot::channel();
    let ended = match spawn(job, progress, done) {
        Ok(()) => match until_ended(inner, &mut run, told, (moved, ended)).await {
            Some(ended) => ended.map_err(|error| in_words(&error, &folder)),
            None => Err(panicked()),
        },
        Err(error) => Err(("THREAD_FAILED".to_owned(), error.to_string())),
    };
    let ended = match ended {
        Ok(outcome) if outcome.cancelled => {
            let stopping = inner.stopping.load(Ordering::Relaxed);
            run.state =
                if stopping { TrainingState::Interrupted } else { TrainingState::Cancelled };
            Ok(())
        }
        Ok(_) => import(&inner.registry, &folder).await.map(|model| {
            run.state = TrainingState::Succeeded;
            run.model_id = model.model_id.parse().ok();
            run.weights_sha256 = Some(model.weights_sha256);
        }),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        run.state = TrainingState::Failed;
        run.error = Some(error);
    }
    run.ended_at = Some(now());
    tracing::info!(training_run_id = %run.id, state = %run.state, "training ended");
    keep(inner, &run, TrainingState::Running).await;
    told.send_replace(run);
}

/// Tells how the thread moves on, until it ends; nothing if it ended without an answer.
async fn until_ended<S: TrainingStore, M>(
    inner: &Inner<S, M>,
    run: &mut TrainingRun,
    told: &watch::Sender<TrainingRun>,
    thread: (watch::Receiver<Option<Progress>>, oneshot::Receiver<Ended>),
) -> Option<Ended> {
    let (mut moved, mut ended) = thread;
    let mut stored = Instant::now();
    let ended = loop {
        tokio::select! {
            ended = &mut ended => break ended.ok(),
            Ok(()) = moved.changed() => {
                run.progress = *moved.borrow_and_update();
                told.send_replace(run.clone());
                if stored.elapsed() >= STORE_PAUSE {
                    keep(inner, run, TrainingState::Running).await;
                    stored = Instant::now();
                }
            }
        }
    };
    run.progress = *moved.borrow();
    ended
}

/// Writes a run's row. A failure is logged, and the next write or start of the service mends it.
async fn keep<S: TrainingStore, M>(inner: &Inner<S, M>, run: &TrainingRun, before: TrainingState) {
    match inner.store.update(run, before).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(training_run_id = %run.id, "row is in another state"),
        Err(error) => {
            let source = error.source().map(ToString::to_string);
            tracing::error!(training_run_id = %run.id, %error, source, "write training run");
        }
    }
}

/// Starts the thread.
fn spawn(
    job: Job,
    progress: watch::Sender<Option<Progress>>,
    done: oneshot::Sender<Ended>,
) -> std::io::Result<()> {
    let Job { file, start, control } = job;
    let work = move || {
        let mut clock = Clock::new(*progress.borrow());
        let ended = neurotriage_training::run(&file, start, &control, &mut |at| {
            progress.send_replace(Some(clock.read(at)));
        });
        // Nobody waits if the service has ended.
        let _ = done.send(ended);
    };
    thread::Builder::new().name("training".to_owned()).spawn(work).map(|_| ())
}

/// Turns the steps of a run into progress: estimates the time left, keeps the last validation.
struct Clock {
    began: Instant,
    share_at_start: Option<f64>,
    validation: Option<Validation>,
}

impl Clock {
    fn new(before: Option<Progress>) -> Self {
        let validation = before.and_then(|before| before.validation);
        Self { began: Instant::now(), share_at_start: None, validation }
    }

    fn read(&mut self, at: &TrainProgress) -> Progress {
        if let Some(report) = &at.validation {
            let mean = report.mean;
            self.validation =
                Some(Validation { step: report.step, wt: mean.wt, tc: mean.tc, et: mean.et });
        }
        let at_start = *self.share_at_start.get_or_insert(at.done);
        Progress {
            step: at.step,
            share_done: at.done,
            minutes: at.minutes,
            loss: finite(at.loss),
            loss_mean: finite(at.loss_mean),
            learning_rate: at.learning_rate,
            seconds_left: seconds_left(self.began.elapsed(), at_start, at.done),
            validation: self.validation,
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Returns the time left if the rest goes as fast as what is behind.
fn seconds_left(elapsed: Duration, share_at_start: f64, share_now: f64) -> Option<f64> {
    let behind = share_now - share_at_start;
    (behind > 0.0).then(|| elapsed.as_secs_f64() * (1.0 - share_now) / behind)
}

/// Stores the model in `folder` in the registry.
async fn import<M: ModelStore>(
    registry: &Registry<M>,
    folder: &Path,
) -> Result<Listed, (String, String)> {
    let (card, weights) = (read(folder, CARD_FILE).await?, read(folder, WEIGHTS_FILE).await?);
    let refused = |error: RegistryError| {
        let text = format!("the trained model was not imported: {error}");
        (error.reason().to_owned(), text)
    };
    let permit = registry.wait_import(IMPORT_WAIT_MAX).await.map_err(refused)?;
    registry.import(permit, card, weights).await.map_err(refused)
}

fn panicked() -> (String, String) {
    let text = "the run's thread ended abnormally; see the log of the service";
    ("TRAINING_PANICKED".to_owned(), text.to_owned())
}

async fn read(folder: &Path, name: &str) -> Result<Bytes, (String, String)> {
    tokio::fs::read(folder.join(name)).await.map(Bytes::from).map_err(|error| {
        tracing::error!(%error, name, "read the model of a training run");
        ("FILE_ACCESS".to_owned(), format!("{name} of the run cannot be read"))
    })
}

/// Returns the cause of a failure and its words without paths. The log has the cause alone: the words may name a case,
/// and its name may be a patient's.
fn in_words(error: &TrainingError, folder: &Path) -> (String, String) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    tracing::error!(reason = error.reason(), "training failed");
    (error.reason().to_owned(), without_paths(&text, folder))
}

fn without_paths(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "the run's folder");
    let words = text.split(' ').map(|word| {
        let is_path = word.trim_start_matches(['`', '\'', '"', '(']).starts_with(['/', '~'])
            || word.contains('\\');
        if is_path { "(path)" } else { word }
    });
    let words: Vec<&str> = words.collect();
    words.join(" ").chars().take(ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_pace() {
        let elapsed = Duration::from_secs(30);
        assert_eq!(seconds_left(elapsed, 0.0, 0.25), Some(90.0));
        assert_eq!(seconds_left(elapsed, 0.5, 0.75), Some(30.0));
        assert_eq!(seconds_left(elapsed, 0.5, 0.5), None);
        assert_eq!(seconds_left(elapsed, 0.0, 1.0), Some(0.0));
    }

    #[test]
    fn an_error_keeps_paths_to_itself() {
        let folder = Path::new("/var/lib/my runs/1");
        let table = [
            ("access /var/lib/my runs/1/log: denied", "access the run's folder/log: denied"),
            ("read case /data/a: no file", "read case (path) no file"),
            ("CASES names `/data/x`, which", "CASES names (path) which"),
            ("loss: must be region", "loss: must be region"),
        ];
        for (text, expected) in table {
            assert_eq!(without_paths(text, folder), expected);
        }
    }
}
