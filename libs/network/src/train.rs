//! The training loop.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ndarray::{Array3, Array4};
use neurotriage_dataset::SampleSource;
use serde::Serialize;

use crate::{
    BatchScores, ModelCard, NetworkError, Provenance, TrainConfig, ValidationReport,
    ValidationScores, checkpoint::RunState, journal::Journal, network::Network, trainer::Trainer,
};

/// A held-out case, whole and normalised like the samples.
#[derive(Clone, Debug)]
pub struct ValidationCase {
    /// Name in the report.
    pub name: String,
    /// `[channel, x, y, z]`, channels in the order of [`neurotriage_domain::Modality::ALL`].
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

    /// Returns whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
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
    /// What the loss was multiplied by; only in 16-bit floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Scores of the masks of the last step's batch; only every `log_steps` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<BatchScores>,
    /// A validation that has just ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationReport>,
    /// Loss and class scores of that validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_scores: Option<ValidationScores>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// The card of the model in the run's folder.
    pub card: ModelCard,
    /// Whether it was ended by [`TrainControl::cancel`].
    pub cancelled: bool,
    /// Whether it ended for want of a better validation; see [`TrainConfig::patience`].
    pub stopped_early: bool,
}

/// Trains until `steps_max`, `max_minutes` or a cancel, and leaves model, card, checkpoint and log
/// in the run's folder. The model is also written with every checkpoint, so that a killed run
/// leaves one.
///
/// Sample `step * batch * accumulate + k` of `source` is the `k`-th of a step. `on_progress` is called every
/// `log_steps` steps and after each validation.
///
/// # Errors
/// [`NetworkError::Config`] if a setting can't work, or a step would take more memory than is free;
/// [`NetworkError::Device`] if the device is not there; [`NetworkError::Sample`] if a sample can't be
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
    let precision = config.precision.resolve(device)?;
    let config = &TrainConfig { precision, ..config.clone() };
    if config.patience > 0 && validation.is_empty() {
        return Err(NetworkError::Config {
            setting: "patience",
            problem: "needs held-out cases; name some or set it to 0".to_owned(),
        });
    }
    crate::set_compute_threads(config.threads);
    fs::create_dir_all(&run.folder)
        .map_err(|source| NetworkError::Io { path: run.folder.clone(), source })?;
    let network = Network::new(&config.network)?;
    let state = match run.start {
        Start::Fresh => RunState::fresh(config, &network, device)?,
        Start::Resume => RunState::read(&run.folder, config, &network, device)?,
    };
    let journal = Journal::open(&run.folder, run.start, state.counters.step)?;
    Trainer::new(config, run, network, device, state, journal).run(
        source,
        validation,
        control,
        on_progress,
    )
}
