//! The training loop.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use ndarray::{Array3, Array4, Axis};
use neurotriage_dataset::{Sample, SampleSource};
use neurotriage_domain::Modality;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{
    ModelCard, NetworkError, Provenance, TrainConfig, ValidationReport,
    checkpoint::RunState,
    loader::Loader,
    loss::loss,
    model::{signed, write_model},
    network::{Mode, Network},
    optimiser::clip_gradients,
    predict::to_tensor,
    validate::validate,
};

/// Name of the log in a run's folder: one JSON object a line.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// Share of the old mean in the moving average of the loss.
const LOSS_MEAN_DECAY: f64 = 0.98;

/// A held-out case, whole and normalised like the samples.
#[derive(Clone, Debug)]
pub struct ValidationCase {
    /// Name in the report.
    pub name: String,
    /// `[channel, x, y, z]`, channels in the order of [`Modality::ALL`].
    pub image: Array4<f32>,
    /// Labels 0, 1, 2, 3 or 4, `[x, y, z]`.
    pub labels: Array3<u8>,
}

/// Whether a run starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With fresh weights.
    Fresh,
    /// From the checkpoint in the run's folder.
    Resume,
}

/// Where a run writes, how it starts, and what its card will say.
#[derive(Clone, Debug)]
pub struct TrainRun {
    /// Folder for checkpoint, log, weights and card; made if missing.
    pub folder: PathBuf,
    /// Whether it starts anew.
    pub start: Start,
    /// For the card.
    pub provenance: Provenance,
    /// For the card: preprocessing of the samples, `whole/1` or `seed/1`.
    pub profile: String,
}

/// Lets another thread end a run. It then writes checkpoint and model, and returns.
#[derive(Debug, Default)]
pub struct TrainControl {
    cancelled: AtomicBool,
}

impl TrainControl {
    /// Ends the run after the step at hand.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainProgress {
    /// Steps done.
    pub step: u64,
    /// Share of the run behind, by steps or by the clock, `[0, 1]`.
    pub done: f64,
    /// Minutes trained.
    pub minutes: f64,
    /// Loss of the last step.
    pub loss: f64,
    /// Moving average of the loss.
    pub loss_mean: f64,
    /// Step size of the last step.
    pub learning_rate: f64,
    /// Length of the last gradient before it was cut.
    pub gradient_norm: f64,
    /// Steps skipped so far.
    pub skipped: u64,
    /// A validation that has just ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationReport>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// The card of the model in the run's folder.
    pub card: ModelCard,
    /// Whether it was ended by [`TrainControl::cancel`].
    pub cancelled: bool,
}

/// What one step gave.
struct StepResult {
    loss: f64,
    gradient_norm: f64,
    finite: bool,
}

/// Trains until `steps_max`, `max_minutes` or a cancel, and leaves model, card, checkpoint and log
/// in the run's folder. The model is also written with every checkpoint, so that a killed run
/// leaves one.
///
/// Sample `step * batch + k` of `source` is the `k`-th of a step. `on_progress` is called every
/// `log_steps` steps and after each validation.
///
/// # Errors
/// [`NetworkError::Config`] if a setting can't work; [`NetworkError::Sample`] if a sample can't be
/// made; [`NetworkError::Shape`] if samples have other sides than the network can take;
/// [`NetworkError::Diverged`] after too many steps without a finite loss;
/// [`NetworkError::Resume`] if there is no fitting checkpoint; [`NetworkError::Io`] if a file can't
/// be written; [`NetworkError::Torch`] if libtorch fails.
pub fn train(
    config: &TrainConfig,
    source: &Arc<dyn SampleSource>,
    validation: &[ValidationCase],
    run: &TrainRun,
    control: &TrainControl,
    on_progress: &mut dyn FnMut(&TrainProgress),
) -> Result<TrainOutcome, NetworkError> {
    config.validate()?;
    let device = config.device.resolve()?;
    crate::set_compute_threads(config.threads);
    fs::create_dir_all(&run.folder)
        .map_err(|source| NetworkError::Io { path: run.folder.clone(), source })?;
    let network = Network::new(&config.network)?;
    let state = match run.start {
        Start::Fresh => RunState::fresh(config, &network, device)?,
        Start::Resume => RunState::read(&run.folder, config, &network, device)?,
    };
    let log = Log::open(&run.folder, run.start)?;
    let before = state.counters.elapsed_seconds;
    let trainer = Trainer {
        config,
        run,
        network,
        device,
        state,
        log,
        began: Instant::now(),
        before,
        next_validation: before + 60.0 * config.validate_minutes,
        next_checkpoint: before + 60.0 * config.checkpoint_minutes,
    };
    trainer.run(source, validation, control, on_progress)
}

struct Trainer<'a> {
    config: &'a TrainConfig,
    run: &'a TrainRun,
    network: Network,
    device: Device,
    state: RunState,
    log: Log,
    began: Instant,
    /// Seconds of earlier parts of the run.
    before: f64,
    next_validation: f64,
    next_checkpoint: f64,
}

impl Trainer<'_> {
    fn run(
        mut self,
        source: &Arc<dyn SampleSource>,
        validation: &[ValidationCase],
        control: &TrainControl,
        on_progress: &mut dyn FnMut(&TrainProgress),
    ) -> Result<TrainOutcome, NetworkError> {
        let batch = self.config.batch as u64;
        let first = self.state.counters.step * batch;
        let mut loader = Loader::start(source, first, self.config.loader_threads)?;
        let mut skipped_in_a_row = 0;
        while self.done() < 1.0 && !control.is_cancelled() {
            let (images, labels) = self.next_batch(&mut loader)?;
            let step = self.state.counters.step;
            let learning_rate = self.config.optimiser.learning_rate
                * self.config.schedule.factor(step, self.done());
            let result = self.step(&images, &labels, learning_rate)?;
            skipped_in_a_row = if result.finite { 0 } else { skipped_in_a_row + 1 };
            if skipped_in_a_row >= self.config.skipped_steps_max {
                return Err(NetworkError::Diverged { steps: skipped_in_a_row });
            }
            self.count(&result);
            if self.state.counters.step.is_multiple_of(self.config.log_steps) {
                let progress = self.progress(&result, learning_rate, None);
                self.log.write(&progress)?;
                on_progress(&progress);
            }
            let elapsed = self.elapsed_seconds();
            if self.config.checkpoint_minutes > 0.0 && elapsed >= self.next_checkpoint {
                self.save()?;
                self.next_checkpoint = elapsed + 60.0 * self.config.checkpoint_minutes;
            }
            let due = self.config.validate_minutes > 0.0 && elapsed >= self.next_validation;
            if due && !validation.is_empty() && self.done() < 1.0 {
                self.validate(validation, control, (&result, learning_rate), on_progress)?;
                self.next_validation = self.elapsed_seconds() + 60.0 * self.config.validate_minutes;
            }
        }
        drop(loader);
        self.save()?;
        let cancelled = control.is_cancelled();
        if !validation.is_empty() && !cancelled {
            let loss = self.state.counters.loss_mean;
            let last = StepResult { loss, gradient_norm: 0.0, finite: true };
            self.validate(validation, control, (&last, 0.0), on_progress)?;
        }
        let card = self.save()?;
        Ok(TrainOutcome { card, cancelled })
    }

    fn elapsed_seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn done(&self) -> f64 {
        self.config.share_done(self.state.counters.step, self.elapsed_seconds())
    }

    fn next_batch(&mut self, loader: &mut Loader) -> Result<(Tensor, Tensor), NetworkError> {
        let mut images = Vec::with_capacity(self.config.batch);
        let mut labels = Vec::with_capacity(self.config.batch);
        for _ in 0..self.config.batch {
            let sample = loader.next()?;
            let (x, y, z) = sample.labels.dim();
            self.state.counters.window = [x, y, z];
            let (image, mask) = sample_to_tensors(&sample, &self.config.channels)?;
            images.push(image);
            labels.push(mask);
        }
        let images = Tensor::f_cat(&images, 0)?.f_to(self.device)?;
        Ok((images, Tensor::f_cat(&labels, 0)?.f_to(self.device)?))
    }

    /// Moves the weights one step; leaves them alone if loss or gradient are not finite.
    fn step(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        learning_rate: f64,
    ) -> Result<StepResult, NetworkError> {
        // Dropout depends on the step alone, so that a resumed run repeats an unbroken one.
        tch::manual_seed(signed(self.config.seed ^ self.state.counters.step.rotate_left(32)));
        let outputs = self.network.forward(&self.state.weights, images, Mode::Training)?;
        let total = loss(self.config.loss, &outputs, labels)?;
        let value = total.f_double_value(&[])?;
        if !value.is_finite() {
            return Ok(StepResult { loss: value, gradient_norm: 0.0, finite: false });
        }
        let mut gradients =
            Tensor::f_run_backward(&[&total], self.state.weights.tensors(), false, false)?;
        let gradient_norm = clip_gradients(&mut gradients, self.config.gradient_norm_max)?;
        if !gradient_norm.is_finite() {
            return Ok(StepResult { loss: value, gradient_norm, finite: false });
        }
        let state = &mut self.state;
        state.optimiser.step(&mut state.weights, &gradients, learning_rate)?;
        let _guard = tch::no_grad_guard();
        // Young averages follow faster, so that the first weights are soon forgotten.
        let steps = state.optimiser.steps as f64;
        let decay = self.config.ema_decay.min(steps / (steps + 9.0));
        for (average, weight) in state.ema.tensors_mut().iter_mut().zip(state.weights.tensors()) {
            let _ = average.f_lerp_(weight, 1.0 - decay)?;
        }
        Ok(StepResult { loss: value, gradient_norm, finite: true })
    }

    fn count(&mut self, result: &StepResult) {
        let counters = &mut self.state.counters;
        if result.finite {
            let decay = if counters.step == counters.skipped { 0.0 } else { LOSS_MEAN_DECAY };
            counters.loss_mean = decay * counters.loss_mean + (1.0 - decay) * result.loss;
        } else {
            counters.skipped += 1;
            tracing::warn!(step = counters.step, "step skipped: loss or gradient is not finite");
        }
        counters.step += 1;
    }

    fn progress(
        &self,
        result: &StepResult,
        learning_rate: f64,
        validation: Option<ValidationReport>,
    ) -> TrainProgress {
        TrainProgress {
            step: self.state.counters.step,
            done: self.done(),
            minutes: self.elapsed_seconds() / 60.0,
            loss: result.loss,
            loss_mean: self.state.counters.loss_mean,
            learning_rate,
            gradient_norm: result.gradient_norm,
            skipped: self.state.counters.skipped,
            validation,
        }
    }

    fn validate(
        &mut self,
        cases: &[ValidationCase],
        control: &TrainControl,
        (result, learning_rate): (&StepResult, f64),
        on_progress: &mut dyn FnMut(&TrainProgress),
    ) -> Result<(), NetworkError> {
        let card = self.card();
        let step = self.state.counters.step;
        let weights = &self.state.ema;
        let report = validate((&self.network, weights, self.device), &card, step, cases, control)?;
        let Some(report) = report else {
            return Ok(());
        };
        self.state.counters.validation = Some(report.clone());
        let progress = self.progress(result, learning_rate, Some(report));
        self.log.write(&progress)?;
        on_progress(&progress);
        Ok(())
    }

    fn card(&self) -> ModelCard {
        let counters = &self.state.counters;
        let (network, channels) = (self.config.network.clone(), self.config.channels.clone());
        ModelCard {
            provenance: self.run.provenance.clone(),
            profile: self.run.profile.clone(),
            seed: self.config.seed,
            steps: counters.step,
            minutes: self.elapsed_seconds() / 60.0,
            validation: counters.validation.clone(),
            ..ModelCard::untrained(network, channels, counters.window)
        }
    }

    fn save(&mut self) -> Result<ModelCard, NetworkError> {
        self.state.counters.elapsed_seconds = self.elapsed_seconds();
        self.state.write(&self.run.folder, self.config, &self.network)?;
        write_model(&self.run.folder, &self.network, &self.state.ema, self.card())
    }
}

/// Returns image `[1, channel, x, y, z]` and labels `[1, x, y, z]` (`u8`) of a sample.
fn sample_to_tensors(
    sample: &Sample,
    channels: &[Modality],
) -> Result<(Tensor, Tensor), NetworkError> {
    let (x, y, z) = sample.labels.dim();
    let (channels_found, ix, iy, iz) = sample.image.dim();
    if channels_found != Modality::ALL.len() || [ix, iy, iz] != [x, y, z] {
        return Err(NetworkError::Shape {
            name: "training sample",
            expected: format!("[{}, {x}, {y}, {z}]", Modality::ALL.len()),
            got: sample.image.shape().iter().map(|&side| side as i64).collect(),
        });
    }
    let image = select_channels(&sample.image, channels)?;
    let labels: Vec<u8> = sample.labels.iter().copied().collect();
    let shape = [1, x as i64, y as i64, z as i64];
    let labels = Tensor::f_from_slice(&labels)?.f_reshape(shape)?;
    debug_assert_eq!(labels.f_kind()?, Kind::Uint8);
    Ok((image, labels))
}

fn select_channels(image: &Array4<f32>, channels: &[Modality]) -> Result<Tensor, NetworkError> {
    if channels == Modality::ALL {
        return to_tensor(image.view());
    }
    let indices: Vec<usize> = channels.iter().map(|modality| modality.channel()).collect();
    to_tensor(image.select(Axis(0), &indices).view())
}

/// The log of a run.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn open(folder: &Path, start: Start) -> Result<Self, NetworkError> {
        let path = folder.join(METRICS_FILE);
        let mut options = OpenOptions::new();
        match start {
            Start::Fresh => options.write(true).create(true).truncate(true),
            Start::Resume => options.append(true).create(true),
        };
        let file = options
            .open(&path)
            .map_err(|source| NetworkError::Io { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    fn write(&mut self, progress: &TrainProgress) -> Result<(), NetworkError> {
        let mut line = serde_json::to_vec(progress)
            .map_err(|source| NetworkError::Json { what: "training log", source })?;
        line.push(b'\n');
        let failed = |source| NetworkError::Io { path: self.path.clone(), source };
        self.file.write_all(&line).map_err(failed)
    }
}
