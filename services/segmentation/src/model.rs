//! Which model the service runs: the built-in one, or one from a folder.

use anyhow::Context as _;
use neurotriage_network::{DeviceChoice, Model, ModelCard};

const DEFAULT_WEIGHTS: &[u8] = include_bytes!("../../../assets/models/default/model.safetensors");
const DEFAULT_CARD: &[u8] = include_bytes!("../../../assets/models/default/card.json");

/// Returns the model that is built in.
///
/// # Errors
/// If the device is not there or the model is broken.
pub fn default_model(device: DeviceChoice) -> anyhow::Result<Model> {
    let card = ModelCard::from_json(DEFAULT_CARD).context("read card of the built-in model")?;
    Model::load(DEFAULT_WEIGHTS, &card, device).context("load built-in model")
}
