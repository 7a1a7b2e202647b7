//! The whole state of a run, so that a resumed one continues as if it had never stopped.

use std::{collections::HashMap, fs, path::Path};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{
    Model, NetworkError, TrainConfig, ValidationReport,
    best::Best,
    network::Network,
    optimiser::Optimiser,
    parameters::Parameters,
    precision::LossScale,
    store::{self, Precision, Store, write_whole},
};

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Key of the counters in the file's metadata.
const STATE_KEY: &str = "state";

/// Prefix of the weights of the best validation.
const BEST_PREFIX: &str = "best/";

/// Counters of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Steps done, those skipped included.
    pub(crate) step: u64,
    /// Steps skipped for want of a finite loss.
    pub(crate) skipped: u64,
    /// Seconds trained, over all parts of the run.
    pub(crate) elapsed_seconds: f64,
    /// Moving average of the loss.
    pub(crate) loss_mean: f64,
    /// Sides of the crops, `[x, y, z]`.
    pub(crate) window: [usize; 3],
    /// Last validation.
    pub(crate) validation: Option<ValidationReport>,
    /// Best validation, where the run looks for it.
    #[serde(default)]
    pub(crate) best: Best,
    /// What the loss is multiplied by; only in 16-bit floats.
    #[serde(default)]
    pub(crate) loss_scale: Option<LossScale>,
    /// The model that the first weights are from.
    #[serde(default)]
    pub(crate) started_from: Option<String>,
}

/// What the file's metadata holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    counters: Counters,
    optimiser_steps: u64,
    config: TrainConfig,
}

/// The whole state of a run.
#[derive(Debug)]
pub(crate) struct RunState {
    pub(crate) weights: Parameters,
    pub(crate) ema: Parameters,
    pub(crate) optimiser: Optimiser,
    /// Weights of the best validation, where the run looks for it.
    pub(crate) best: Option<Parameters>,
    pub(crate) counters: Counters,
}

impl RunState {
    /// Draws fresh weights, or takes those of the model that the run starts from.
    ///
    /// # Errors
    /// [`NetworkError::Config`] if that model has another network or other channels; else as
    /// [`Model::load_folder`].
    pub(crate) fn fresh(
        config: &TrainConfig,
        network: &Network,
        device: Device,
    ) -> Result<Self, NetworkError> {
        let loss_scale = config.precision.first_scale();
        let mut counters = Counters { loss_scale, ..Counters::default() };
        let mut weights = match &config.start_from {
            None => Parameters::draw(network.specs(), crate::model::signed(config.seed), device)?,
            Some(folder) => {
                let model = Model::load_folder(folder, config.device)?;
                let card = model.card();
                if card.network != config.network || card.channels != config.channels {
                    return Err(NetworkError::Config {
                        setting: "start_from",
                        problem: "the model there has another network or other channels; train \
                                  with its [train.network] and channels, or without start_from"
                            .to_owned(),
                    });
                }
                let (name, hash) = (&card.provenance.name, card.weights_sha256);
                counters.started_from = Some(format!("model {name}, sha256 {hash}"));
                let [weights] = <[Parameters; 1]>::try_from(model.members).map_err(|members| {
                    let problem =
                        format!("the model there has {} members; name one", members.len());
                    NetworkError::Config { setting: "start_from", problem }
                })?;
                weights
            }
        };
        let ema = weights.duplicate()?;
        let optimiser = Optimiser::new(&config.optimiser, &weights)?;
        weights.require_grad()?;
        Ok(Self { weights, ema, optimiser, best: None, counters })
    }

    /// Moves the weights by gradients, and their average after them.
    pub(crate) fn advance(
        &mut self,
        gradients: &[Tensor],
        learning_rate: f64,
        ema_decay: f64,
    ) -> Result<(), NetworkError> {
        self.optimiser.step(&mut self.weights, gradients, learning_rate)?;
        let _guard = tch::no_grad_guard();
        // Young averages follow faster, so that the first weights are soon forgotten.
        let steps = self.optimiser.steps as f64;
        let decay = ema_decay.min(steps / (steps + 9.0));
        for (average, weight) in self.ema.tensors_mut().iter_mut().zip(self.weights.tensors()) {
            let _ = average.f_lerp_(weight, 1.0 - decay)?;
        }
        Ok(())
    }

    /// Writes the state into `folder`.
    pub(crate) fn write(
        &self,
        folder: &Path,
        config: &TrainConfig,
        network: &Network,
    ) -> Result<(), NetworkError> {
        let mut file = Store::default();
        for (prefix, parameters) in self.groups() {
            file.add(prefix, network.specs(), parameters, Precision::Full)?;
        }
        let stored = Stored {
            counters: self.counters.clone(),
            optimiser_steps: self.optimiser.steps,
            config: config.clone(),
        };
        let json = serde_json::to_string(&stored)
            .map_err(|source| NetworkError::Json { what: "checkpoint", source })?;
        let metadata = HashMap::from([(STATE_KEY.to_owned(), json)]);
        write_whole(&folder.join(CHECKPOINT_FILE), &file.into_bytes(Some(metadata))?)
    }

    fn groups(&self) -> Vec<(&'static str, &Parameters)> {
        let mut groups = vec![
            ("weights/", &self.weights),
            ("ema/", &self.ema),
            ("first/", &self.optimiser.first),
            ("second/", &self.optimiser.second),
        ];
        groups.extend(self.best.as_ref().map(|best| (BEST_PREFIX, best)));
        groups
    }

    /// Reads the state that [`RunState::write`] left in `folder`.
    ///
    /// # Errors
    /// [`NetworkError::Resume`] if there is none, or it belongs to another network, loss,
    /// optimiser, batch size, precision or seed.
    pub(crate) fn read(
        folder: &Path,
        config: &TrainConfig,
        network: &Network,
        device: Device,
    ) -> Result<Self, NetworkError> {
        let refuse = |problem: &str| NetworkError::Resume { problem: problem.to_owned() };
        let bytes = fs::read(folder.join(CHECKPOINT_FILE))
            .map_err(|_| refuse("there is no checkpoint in the run's folder"))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(STATE_KEY))
            .ok_or_else(|| refuse("the checkpoint has no state"))?;
        let stored: Stored = serde_json::from_str(json)
            .map_err(|source| NetworkError::Json { what: "checkpoint", source })?;
        let same = [
            (stored.config.network == config.network, "the network differs"),
            (stored.config.loss == config.loss, "the loss differs"),
            (stored.config.optimiser.kind == config.optimiser.kind, "the optimiser differs"),
            (stored.config.batch == config.batch, "the batch size differs"),
            (stored.config.accumulate == config.accumulate, "the batches a step differ"),
            (stored.config.precision == config.precision, "the precision differs"),
            (stored.config.channels == config.channels, "the channels differ"),
            (stored.config.seed == config.seed, "the seed differs"),
        ];
        for (holds, problem) in same {
            if !holds {
                return Err(refuse(problem));
            }
        }
        let file = SafeTensors::deserialize(&bytes)?;
        let group = |prefix: &str| store::read(&file, prefix, network.specs(), device);
        let mut weights = group("weights/")?;
        weights.require_grad()?;
        let mut optimiser = Optimiser::new(&config.optimiser, &weights)?;
        optimiser.first = group("first/")?;
        optimiser.second = group("second/")?;
        optimiser.steps = stored.optimiser_steps;
        let has_best = config.patience > 0 && stored.counters.best.report.is_some();
        let best = if has_best { Some(group(BEST_PREFIX)?) } else { None };
        Ok(Self { weights, ema: group("ema/")?, optimiser, best, counters: stored.counters })
    }
}
