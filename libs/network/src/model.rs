//! A network with its weights, ready to run.

use std::{fs, path::Path};

use neurotriage_domain::BlobDigest;
use safetensors::SafeTensors;
use sha2::{Digest as _, Sha256};
use tch::Device;

use crate::{
    DeviceChoice, ModelCard, NetworkError,
    network::Network,
    parameters::Parameters,
    store::{self, Precision, Store, write_whole},
};

/// Name of the file of weights in a model's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Name of the card in a model's folder.
pub const CARD_FILE: &str = "card.json";

/// A network with its weights, ready to run. One thread should own it: libtorch's memory grows
/// with every thread that calls it.
#[derive(Debug)]
pub struct Model {
    pub(crate) network: Network,
    pub(crate) parameters: Parameters,
    pub(crate) device: Device,
    card: ModelCard,
}

impl Model {
    /// Takes weights in safetensors and the card that describes them.
    ///
    /// # Errors
    /// [`NetworkError::WeightsHash`] unless the bytes are those of the card;
    /// [`NetworkError::Weights`] unless names, shapes and types fit the card's architecture;
    /// [`NetworkError::Config`] if the card can't work; [`NetworkError::Device`] if the device is
    /// not there.
    pub fn load(
        weights: &[u8],
        card: &ModelCard,
        device: DeviceChoice,
    ) -> Result<Self, NetworkError> {
        card.validate()?;
        card.check_weights(weights)?;
        let device = device.resolve()?;
        let network = Network::new(&card.network)?;
        let file = SafeTensors::deserialize(weights)?;
        if file.len() != network.specs().len() {
            let (got, want) = (file.len(), network.specs().len());
            return Err(NetworkError::Weights {
                problem: format!("{got} tensors in the file, {want} in the architecture"),
            });
        }
        let parameters = store::read(&file, "", network.specs(), device)?;
        Ok(Self { network, parameters, device, card: card.clone() })
    }

    /// Loads the model that [`Model::save`] left in `folder`.
    ///
    /// # Errors
    /// [`NetworkError::Io`] if a file is missing; else as [`ModelCard::from_json`] and
    /// [`Model::load`].
    pub fn load_folder(folder: &Path, device: DeviceChoice) -> Result<Self, NetworkError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| NetworkError::Io { path, source })
        };
        let card = ModelCard::from_json(&read(CARD_FILE)?)?;
        Self::load(&read(WEIGHTS_FILE)?, &card, device)
    }

    /// Returns a model with weights as drawn from the card's seed: for tests and timing.
    ///
    /// # Errors
    /// [`NetworkError::Config`] if the card can't work.
    pub fn untrained(card: &ModelCard, device: DeviceChoice) -> Result<Self, NetworkError> {
        card.validate()?;
        let device = device.resolve()?;
        let network = Network::new(&card.network)?;
        let parameters = Parameters::draw(network.specs(), signed(card.seed), device)?;
        Ok(Self { network, parameters, device, card: card.clone() })
    }

    /// Writes weights (f16) and card into `folder`, each file whole or not at all, and returns the
    /// card with the digest of the weights.
    ///
    /// # Errors
    /// [`NetworkError::Io`] if a file can't be written.
    pub fn save(&self, folder: &Path) -> Result<ModelCard, NetworkError> {
        write_model(folder, &self.network, &self.parameters, self.card.clone())
    }

    /// Returns what the model says of itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the device the model is on: `cpu` or `cuda:N`.
    pub fn device_name(&self) -> String {
        match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            Device::Cpu | Device::Mps | Device::Vulkan => "cpu".to_owned(),
        }
    }

    /// Returns the number of learnt values.
    pub fn parameter_count(&self) -> i64 {
        self.network.parameter_count()
    }
}

/// Writes weights and card; the weights first, so that a card never names weights not yet there.
pub(crate) fn write_model(
    folder: &Path,
    network: &Network,
    parameters: &Parameters,
    mut card: ModelCard,
) -> Result<ModelCard, NetworkError> {
    let mut store = Store::default();
    store.add("", network.specs(), parameters, Precision::Half)?;
    let weights = store.into_bytes(None)?;
    card.weights_sha256 = sha256(&weights);
    write_whole(&folder.join(WEIGHTS_FILE), &weights)?;
    write_whole(&folder.join(CARD_FILE), &card.to_json()?)?;
    Ok(card)
}

fn sha256(bytes: &[u8]) -> BlobDigest {
    BlobDigest::from_bytes(Sha256::digest(bytes).into())
}

/// Returns the seed as libtorch takes it.
pub(crate) fn signed(seed: u64) -> i64 {
    (seed & i64::MAX.unsigned_abs()) as i64
}
