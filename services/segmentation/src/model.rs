//! Which model the program is started with: the built-in one, or one from a folder.

use std::{fmt, fs, path::Path};

use anyhow::Context as _;
use bytes::Bytes;
use neurotriage_network::{CARD_FILE, DeviceChoice, Model, ModelCard, NetworkError, WEIGHTS_FILE};

const DEFAULT_WEIGHTS: &[u8] = include_bytes!("../../../assets/models/default/model.safetensors");
const DEFAULT_CARD: &[u8] = include_bytes!("../../../assets/models/default/card.json");

/// Returns the model that is built in.
///
/// # Errors
/// If the device is not there or the model is broken.
pub fn default_model(device: DeviceChoice) -> anyhow::Result<Model> {
    StartModel::built_in()?.load(device).context("load built-in model")
}

/// The model that a service is started with: card and weights, not yet in memory as a network.
///
/// It serves until another is promoted. A pinned one serves whatever was promoted.
#[derive(Clone)]
pub struct StartModel {
    card: ModelCard,
    weights: Bytes,
    pinned: bool,
}

impl fmt::Debug for StartModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartModel")
            .field("model", &self.model_id())
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}

impl StartModel {
    /// Returns the model that is built in.
    ///
    /// # Errors
    /// If its card is broken.
    pub fn built_in() -> anyhow::Result<Self> {
        Self::from_bytes(DEFAULT_CARD, Bytes::from_static(DEFAULT_WEIGHTS))
            .context("read card of the built-in model")
    }

    /// Returns the model in `folder`, pinned.
    ///
    /// # Errors
    /// If a file can't be read or the card is broken.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).with_context(|| format!("read {}", path.display()))
        };
        let start = Self::from_bytes(&read(CARD_FILE)?, Bytes::from(read(WEIGHTS_FILE)?))?;
        Ok(Self { pinned: true, ..start })
    }

    /// Returns the pinned model in `folder`, or the built-in one if none is named.
    ///
    /// # Errors
    /// If a file can't be read or the card is broken.
    pub fn named(folder: Option<&Path>) -> anyhow::Result<Self> {
        match folder {
            Some(folder) => Self::in_folder(folder).with_context(|| {
                format!(
                    "load model in {}, a folder with {WEIGHTS_FILE} and {CARD_FILE}",
                    folder.display()
                )
            }),
            None => Self::built_in(),
        }
    }

    /// Returns the model made of these bytes.
    ///
    /// # Errors
    /// If the card is broken. The weights are checked when they are loaded.
    pub fn from_bytes(card_json: &[u8], weights: Bytes) -> anyhow::Result<Self> {
        let card = ModelCard::from_json(card_json).context("read model card")?;
        Ok(Self { card, weights, pinned: false })
    }

    /// Returns its card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the name that stored results carry.
    pub fn model_id(&self) -> &str {
        &self.card.provenance.name
    }

    /// Returns whether it serves whatever was promoted.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Returns its weights.
    pub(crate) fn weights(&self) -> Bytes {
        self.weights.clone()
    }

    /// Returns the length of its weights in bytes.
    pub(crate) fn weights_size_bytes(&self) -> u64 {
        self.weights.len() as u64
    }

    /// Builds its network.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load(&self, device: DeviceChoice) -> Result<Model, NetworkError> {
        Model::load(&self.weights, &self.card, device)
    }
}
