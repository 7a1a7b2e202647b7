//! Which model a command runs.

use anyhow::Context as _;
use neurotriage_network::Model;

use crate::cli::ModelArgs;

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
