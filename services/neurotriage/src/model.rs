//! Which model a command runs.

use std::path::Path;

use anyhow::Context as _;
use neurotriage_network::{DeviceChoice, Model};
use neurotriage_proto::segmentation::v1::model_service_client::ModelServiceClient;
use neurotriage_segmentation::{StartModel, registry::ModelId};
use tokio::runtime::Runtime;

use crate::{
    cli::{ModelArgs, ScoredModelArgs},
    fetch::fetch,
    remote,
    suite::SuiteModel,
};

/// Returns the model to score: the one in the folder that was named, that of the segmentation
/// service if there is no such folder, or the built-in one.
///
/// # Errors
/// If neither folder nor service has it, it can't be read, or the device is not there.
pub(crate) fn load(runtime: &Runtime, args: &ScoredModelArgs) -> anyhow::Result<Model> {
    let Some(named) = &args.model else {
        return neurotriage_segmentation::default_model(args.device);
    };
    match absent_folder_as_id(named) {
        Some(model_id) => load_from_service(runtime, &model_id, args),
        None => load_folder(named, args.device),
    }
}

fn load_folder(folder: &Path, device: DeviceChoice) -> anyhow::Result<Model> {
    Model::load_folder(folder, device).with_context(|| {
        format!("load model in {}, a folder with model.safetensors and card.json", folder.display())
    })
}

/// Returns the text as an id of a model if nothing bears it as a name here.
fn absent_folder_as_id(named: &Path) -> Option<ModelId> {
    if named.exists() {
        return None;
    }
    named.to_str()?.parse().ok()
}

fn load_from_service(
    runtime: &Runtime,
    model_id: &ModelId,
    args: &ScoredModelArgs,
) -> anyhow::Result<Model> {
    let endpoint = &args.endpoint;
    let fetched = runtime.block_on(async {
        let mut models = ModelServiceClient::new(remote::connect(endpoint, &args.token)?);
        fetch(&mut models, model_id.as_str()).await
    });
    let fetched = fetched.with_context(|| {
        format!(
            "`{model_id}` is no folder here and was not fetched from the segmentation service at \
             {endpoint} (--endpoint names another)"
        )
    })?;
    fetched.load(args.device).with_context(|| format!("load model {model_id}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_a_folder_and_what_can_be_an_id_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(absent_folder_as_id(folder.path()), None);
        let id = absent_folder_as_id(Path::new("glioma-2026.1")).unwrap();
        assert_eq!(id.as_str(), "glioma-2026.1");
        for path in ["models/absent", "./absent", "/absent", "absent model"] {
            assert_eq!(absent_folder_as_id(Path::new(path)), None, "{path}");
        }
    }
}
