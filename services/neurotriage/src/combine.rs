//! Makes one model of several trained ones, whose answers it averages.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use neurotriage_network::{CARD_FILE, DeviceChoice, Model, WEIGHTS_FILE};
use neurotriage_segmentation::registry::ModelId;

/// What `model combine` takes.
#[derive(Args, Debug)]
pub(crate) struct CombineArgs {
    /// Folders with model.safetensors and card.json, at least two: runs of one training file, each
    /// with a seed of its own.
    #[arg(required = true, num_args = 2.., value_name = "FOLDER")]
    folders: Vec<PathBuf>,

    /// Name of the model, 1 to 64 of letters, digits, `.`, `_` and `-`.
    #[arg(long, value_parser = str::parse::<ModelId>)]
    name: ModelId,

    /// Folder for the model; must not hold one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the model and returns what to say about it.
///
/// # Errors
/// If a model can't be read or is named twice, they do not fit each other, or the folder has a
/// model.
pub(crate) fn combine(args: &CombineArgs) -> anyhow::Result<String> {
    for file in [CARD_FILE, WEIGHTS_FILE] {
        let there = args.out.join(file);
        ensure!(!there.exists(), "{} is there already; name another folder", there.display());
    }
    let mut models: Vec<Model> = Vec::with_capacity(args.folders.len());
    for folder in &args.folders {
        let model = Model::load_folder(folder, DeviceChoice::Cpu)
            .with_context(|| format!("load model in {}", folder.display()))?;
        let weights = model.card().weights_sha256;
        ensure!(
            models.iter().all(|other| other.card().weights_sha256 != weights),
            "{} holds the same weights as a folder before it; name each model once",
            folder.display()
        );
        models.push(model);
    }
    let model = Model::combine(models, args.name.as_str())?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    let card = model.save(&args.out)?;
    Ok(format!(
        "{}: {} members, {} steps in all\n{}\n{}\n",
        card.provenance.name,
        card.members,
        card.steps,
        args.out.join(WEIGHTS_FILE).display(),
        args.out.join(CARD_FILE).display()
    ))
}
