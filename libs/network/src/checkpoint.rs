//! The whole state of a run, so that a resumed one continues as if it had never stopped.

use std::{collections::HashMap, fs, path::Path};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{
    NetworkError, TrainConfig, ValidationReport,
    network::Network,
    optimiser::Optimiser,
    parameters::Parameters,
    store::{self, Precision, Store, write_whole},
};

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// Key of the counters in the file's metadata.
const STATE_KEY: &str = "state";

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
    pub(crate) counters: Counters,
}

impl RunState {
    /// Draws fresh weights.
    pub(crate) fn fresh(
        config: &TrainConfig,
        network: &Network,
        device: Device,
    ) -> Result<Self, NetworkError> {
        let mut weights =
            Parameters::draw(network.specs(), crate::model::signed(config.seed), device)?;
        let ema = weights.duplicate()?;
        let optimiser = Optimiser::new(&config.optimiser, &weights)?;
        weights.require_grad()?;
        Ok(Self { weights, ema, optimiser, counters: Counters::default() })
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

    fn groups(&self) -> [(&'static str, &Parameters); 4] {
        [
            ("weights/", &self.weights),
            ("ema/", &self.ema),
            ("first/", &self.optimiser.first),
            ("second/", &self.optimiser.second),
        ]
    }

    /// Reads the state that [`RunState::write`] left in `folder`.
    ///
    /// # Errors
    /// [`NetworkError::Resume`] if there is none, or it belongs to another network, loss,
    /// optimiser, batch size or seed.
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
        Ok(Self { weights, ema: group("ema/")?, optimiser, counters: stored.counters })
    }
}
