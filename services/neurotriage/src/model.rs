//! Which model a command runs.

use anyhow::Context as _;
use neurotriage_network::Model;
use neurotriage_segmentation::StartModel;

use crate::{cli::ModelArgs, suite::SuiteModel};

/// Returns the model in the folder that was named, or the built-in one.
///
/// # Errors
/// If it can't be read or the device is not there.
pub(crate) fn load(args: &ModelArgs) -> anyhow::Result<Model> {
    match &args.model {
        Some(folder) => Model::load_folder(folder, args.device).with_context(|| {
            format!(
                "load model in {}, a folder with model.safetensors and card.json",
                folder.display()
            )
        }),
        None => neurotriage_segmentation::default_model(args.device),
    }
}

/// Returns the model that a suite starts with: the one in the folder that was named, which then
/// serves whatever was promoted, or the built-in one.
///
/// # Errors
/// If it can't be read.
pub(crate) fn start(args: &ModelArgs) -> anyhow::Result<SuiteModel> {
    let start = StartModel::named(args.model.as_deref())?;
    Ok(SuiteModel { start, device: args.device, training: None })
}
