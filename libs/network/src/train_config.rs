//! Settings of a training run, as in its TOML file.

use std::path::PathBuf;

use neurotriage_domain::Modality;
use serde::{Deserialize, Serialize};

use crate::{
    Architecture, DeviceChoice, LossKind, NetworkConfig, NetworkError, OptimiserConfig,
    ScheduleConfig, TrainPrecision,
};

/// Settings of a training run. Every field has a default: that of the shipped model.
///
/// A run with `max_minutes` is not reproducible bit by bit, since the step size follows the clock;
/// a run with `steps_max` alone is, on the same machine with the same number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of the first weights and of dropout. Samples have the seed of their source.
    pub seed: u64,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads of libtorch on the CPU.
    pub threads: usize,
    /// Threads that draw samples ahead.
    pub loader_threads: usize,
    /// Samples that go through the network together.
    pub batch: usize,
    /// Batches a step. A step of `accumulate` batches equals one of a batch as many times as large,
    /// but for the draws of dropout and rounding; it holds the activations of one batch and
    /// computes the outputs twice.
    pub accumulate: usize,
    /// In what activations are computed.
    pub precision: TrainPrecision,
    /// Folder of a finished model of the same network whose weights the run begins with; moments
    /// and counters are fresh. The card names that model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_from: Option<PathBuf>,
    /// Largest share of the free memory that a step may take, by estimate; above 1 to try anyway.
    /// Only checked on a CPU: CUDA devices end a run that does not fit with an error of their own.
    pub memory_share_max: f64,
    /// Steps of the whole run.
    pub steps_max: u64,
    /// Ends the run by the clock: the share done is the larger of steps and minutes. 0: no limit.
    pub max_minutes: f64,
    /// What is minimised.
    pub loss: LossKind,
    /// Modality of each input channel; samples are reduced to these.
    pub channels: Vec<Modality>,
    /// Longest gradient; longer ones are cut to it.
    pub gradient_norm_max: f64,
    /// Decay of the moving average of weights, which is validated and saved. 0: no average.
    pub ema_decay: f64,
    /// Steps in a row without a finite loss before the run stops with an error.
    pub skipped_steps_max: u32,
    /// Steps between two lines of the log.
    pub log_steps: u64,
    /// Minutes between two validations; one more comes at the end. 0: only at the end.
    pub validate_minutes: f64,
    /// Steps between two validations, which unlike minutes are the same in every run. 0: none.
    pub validate_steps: u64,
    /// Validations without a better mean Dice after which the run ends; the model written then has
    /// the weights of the best validation, which are also part of the checkpoint. 0: the run
    /// never ends early and the model has the last weights.
    pub patience: u32,
    /// Minutes between two checkpoints; one more comes at the end. 0: only at the end.
    pub checkpoint_minutes: f64,
    /// Steps between two checkpoints. 0: none.
    pub checkpoint_steps: u64,
    /// How gradients become steps.
    pub optimiser: OptimiserConfig,
    /// How the step size rises and falls.
    pub schedule: ScheduleConfig,
    /// Shape of the network.
    pub network: NetworkConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 20_261_122,
            device: DeviceChoice::Auto,
            threads: 2,
            loader_threads: 1,
            batch: 1,
            accumulate: 1,
            precision: TrainPrecision::F32,
            start_from: None,
            memory_share_max: 1.0,
            steps_max: 6_000,
            max_minutes: 60.0,
            loss: LossKind::Region,
            channels: Modality::ALL.to_vec(),
            gradient_norm_max: 3.0,
            ema_decay: 0.998,
            skipped_steps_max: 20,
            log_steps: 10,
            validate_minutes: 10.0,
            validate_steps: 0,
            patience: 0,
            checkpoint_minutes: 5.0,
            checkpoint_steps: 0,
            optimiser: OptimiserConfig::default(),
            schedule: ScheduleConfig::default(),
            network: NetworkConfig::residual(&[16, 32, 64, 128, 192]),
        }
    }
}

impl TrainConfig {
    /// Returns the settings of the original: FLAIR, T1ce and T2, batches of 2, Adam at 1e-4.
    ///
    /// The original runs 100 epochs; `steps_max` has to be set to 100 times the number of its
    /// batches.
    pub fn seed_original() -> Self {
        let optimiser = OptimiserConfig {
            kind: crate::OptimiserKind::Adam,
            learning_rate: 1e-4,
            weight_decay: 0.0,
            beta2: 0.999,
            epsilon: 1e-7,
            ..OptimiserConfig::default()
        };
        let schedule = ScheduleConfig { kind: crate::ScheduleKind::Constant, warmup_steps: 0 };
        Self {
            batch: 2,
            max_minutes: 0.0,
            loss: LossKind::Seed,
            channels: vec![Modality::Flair, Modality::T1ce, Modality::T2],
            gradient_norm_max: f64::MAX,
            ema_decay: 0.0,
            optimiser,
            schedule,
            network: NetworkConfig::seed(3),
            ..Self::default()
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`NetworkError::Config`] names the first setting that can't work.
    pub fn validate(&self) -> Result<(), NetworkError> {
        self.network.validate()?;
        let regions = matches!(self.loss, LossKind::Region | LossKind::RegionLog);
        let rules = [
            (self.threads > 0, "threads", "must be at least 1"),
            ((1..=16).contains(&self.loader_threads), "loader_threads", "must be 1 to 16"),
            ((1..=64).contains(&self.batch), "batch", "must be 1 to 64"),
            ((1..=256).contains(&self.accumulate), "accumulate", "must be 1 to 256"),
            (self.memory_share_max > 0.0, "memory_share_max", "must be above 0"),
            (self.steps_max > 0, "steps_max", "must be at least 1"),
            (at_least_zero(self.max_minutes), "max_minutes", "must be 0 or more"),
            (at_least_zero(self.validate_minutes), "validate_minutes", "must be 0 or more"),
            (at_least_zero(self.checkpoint_minutes), "checkpoint_minutes", "must be 0 or more"),
            (self.gradient_norm_max > 0.0, "gradient_norm_max", "must be above 0"),
            ((0.0..1.0).contains(&self.ema_decay), "ema_decay", "must be at least 0 and below 1"),
            (self.log_steps > 0, "log_steps", "must be at least 1"),
            (self.skipped_steps_max > 0, "skipped_steps_max", "must be at least 1"),
            (
                self.patience == 0 || self.validate_steps > 0 || self.validate_minutes > 0.0,
                "patience",
                "needs validate_steps or validate_minutes above 0",
            ),
            (self.optimiser.learning_rate > 0.0, "learning_rate", "must be above 0"),
            (
                i64::try_from(self.channels.len()) == Ok(self.network.in_channels),
                "channels",
                "must name as many modalities as the network has in_channels",
            ),
            (
                regions == (self.network.architecture == Architecture::Residual),
                "loss",
                "must be region or region_log for residual, seed or normalised for seed",
            ),
        ];
        for (holds, setting, problem) in rules {
            if !holds {
                return Err(NetworkError::Config { setting, problem: problem.to_owned() });
            }
        }
        Ok(())
    }

    /// Returns the share of the run that is behind, `[0, 1]`.
    pub(crate) fn share_done(&self, step: u64, elapsed_seconds: f64) -> f64 {
        let by_steps = step as f64 / self.steps_max as f64;
        let by_clock =
            if self.max_minutes > 0.0 { elapsed_seconds / (60.0 * self.max_minutes) } else { 0.0 };
        by_steps.max(by_clock).min(1.0)
    }
}

fn at_least_zero(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_toml_and_unknown_ones_are_refused() {
        for config in [TrainConfig::default(), TrainConfig::seed_original()] {
            config.validate().unwrap();
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<TrainConfig>(&text).unwrap(), config);
        }
        let short: TrainConfig =
            toml::from_str("steps_max = 7\n[schedule]\nkind = \"poly\"").unwrap();
        assert_eq!(short.steps_max, 7);
        assert!(toml::from_str::<TrainConfig>("step_max = 7").is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = TrainConfig::default;
        let table = [
            ("batch", TrainConfig { batch: 0, ..good() }),
            ("accumulate", TrainConfig { accumulate: 0, ..good() }),
            ("patience", TrainConfig { patience: 2, validate_minutes: 0.0, ..good() }),
            ("memory_share_max", TrainConfig { memory_share_max: f64::NAN, ..good() }),
            ("max_minutes", TrainConfig { max_minutes: f64::NAN, ..good() }),
            ("ema_decay", TrainConfig { ema_decay: 1.0, ..good() }),
            ("channels", TrainConfig { channels: vec![], ..good() }),
            ("loss", TrainConfig { loss: LossKind::Seed, ..good() }),
        ];
        for (expected, config) in table {
            let error = config.validate().unwrap_err();
            assert!(matches!(error, NetworkError::Config { setting, .. } if setting == expected));
        }
    }

    #[test]
    fn the_run_ends_by_steps_or_by_the_clock() {
        let config = TrainConfig { steps_max: 100, max_minutes: 10.0, ..TrainConfig::default() };
        assert_eq!(config.share_done(50, 0.0), 0.5);
        assert_eq!(config.share_done(50, 450.0), 0.75);
        assert_eq!(config.share_done(50, 9000.0), 1.0);
        let config = TrainConfig { max_minutes: 0.0, ..config };
        assert_eq!(config.share_done(50, 9000.0), 0.5);
    }
}
