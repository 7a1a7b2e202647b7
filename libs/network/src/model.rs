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
    /// One for each member, at least one.
    pub(crate) members: Vec<Parameters>,
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
        let want = network.specs().len() * card.members;
        if file.len() != want {
            let got = file.len();
            return Err(NetworkError::Weights {
                problem: format!("{got} tensors in the file, {want} in the architecture"),
            });
        }
        let mut members = Vec::with_capacity(card.members);
        for prefix in prefixes(card.members) {
            members.push(store::read(&file, &prefix, network.specs(), device)?);
        }
        Ok(Self { network, members, device, card: card.clone() })
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
        let mut members = Vec::with_capacity(card.members);
        for member in 0..card.members as u64 {
            let seed = signed(card.seed.wrapping_add(member));
            members.push(Parameters::draw(network.specs(), seed, device)?);
        }
        Ok(Self { network, members, device, card: card.clone() })
    }

    /// Returns one model whose answers are the mean of those of `models`, under a name of its own.
    ///
    /// It has the steps and minutes of all together, and no validation: none was made with it.
    ///
    /// # Errors
    /// [`NetworkError::Combine`] if there is nothing to combine, or if two of them differ in
    /// network, channels, preprocessing, licence or device; [`NetworkError::Config`] if they are
    /// too many.
    pub fn combine(models: Vec<Self>, name: &str) -> Result<Self, NetworkError> {
        let mut models = models.into_iter();
        let Some(Self { network, mut members, device, mut card }) = models.next() else {
            return Err(NetworkError::Combine { problem: "there is no model to combine" });
        };
        name.clone_into(&mut card.provenance.name);
        card.validation = None;
        for model in models {
            let (other, provenance) = (&model.card, &mut card.provenance);
            let rules = [
                (other.network == card.network, "their networks differ"),
                (other.channels == card.channels, "their channels differ"),
                (other.profile == card.profile, "their preprocessing differs"),
                (other.provenance.licence == provenance.licence, "their licences differ"),
                (model.device == device, "they are on different devices"),
            ];
            if let Some((_, problem)) = rules.into_iter().find(|(holds, _)| !holds) {
                return Err(NetworkError::Combine { problem });
            }
            if !provenance.data.contains(&other.provenance.data) {
                provenance.data = format!("{}; {}", provenance.data, other.provenance.data);
            }
            if !provenance.git_revision.contains(&other.provenance.git_revision) {
                let revisions = (&provenance.git_revision, &other.provenance.git_revision);
                provenance.git_revision = format!("{}, {}", revisions.0, revisions.1);
            }
            card.window = [0, 1, 2].map(|axis| card.window[axis].max(other.window[axis]));
            card.steps += other.steps;
            card.minutes += other.minutes;
            members.extend(model.members);
        }
        card.members = members.len();
        card.validate()?;
        Ok(Self { network, members, device, card })
    }

    /// Writes weights (f16) and card into `folder`, each file whole or not at all, and returns the
    /// card with the digest of the weights.
    ///
    /// # Errors
    /// [`NetworkError::Io`] if a file can't be written.
    pub fn save(&self, folder: &Path) -> Result<ModelCard, NetworkError> {
        let members: Vec<&Parameters> = self.members.iter().collect();
        write_model(folder, &self.network, &members, self.card.clone())
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

    /// Returns the number of learnt values, of all members together.
    pub fn parameter_count(&self) -> i64 {
        self.network.parameter_count() * self.members.len() as i64
    }
}

/// Returns what the names of each member's weights begin with: nothing if there is one member.
fn prefixes(members: usize) -> Vec<String> {
    match members {
        1 => vec![String::new()],
        _ => (0..members).map(|member| format!("member.{member}.")).collect(),
    }
}

/// Writes weights and card; the weights first, so that a card never names weights not yet there.
pub(crate) fn write_model(
    folder: &Path,
    network: &Network,
    members: &[&Parameters],
    mut card: ModelCard,
) -> Result<ModelCard, NetworkError> {
    let mut store = Store::default();
    for (prefix, parameters) in prefixes(members.len()).iter().zip(members) {
        store.add(prefix, network.specs(), parameters, Precision::Half)?;
    }
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
