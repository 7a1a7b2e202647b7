//! What a training file may say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_dataset::MixConfig;
use neurotriage_network::TrainConfig;
use serde::Deserialize;

/// Most bytes of a training file.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// A training file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Folder for weights, card, checkpoint and log.
    pub(super) out: PathBuf,
    /// What the card says about the model.
    #[serde(default)]
    pub(super) model: ModelConfig,
    /// Network, loss, optimiser, length.
    pub(super) train: TrainConfig,
    /// What is learned from.
    pub(super) data: DataConfig,
}

/// What the card says about the model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModelConfig {
    /// Name of the model, such as `glioma-residual-2mm`.
    pub(super) name: String,
    /// Training data: sources, counts, licences. The names of the cases are added.
    pub(super) data: String,
    /// Terms under which the weights may be used.
    pub(super) licence: String,
}

/// What is learned from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DataConfig {
    /// Environment variable that names the folder of cases; needed where cases are named.
    pub(super) cases_env: Option<String>,
    /// Cases to learn from: folders under the folder of `cases_env`.
    pub(super) cases: Vec<String>,
    /// Cases to learn from: whole paths.
    pub(super) case_folders: Vec<PathBuf>,
    /// Cases that only judge: folders under the folder of `cases_env`.
    pub(super) validation: Vec<String>,
    /// Environment variable that names an `.npz` of tumour masks; without it, no such masks.
    pub(super) shapes_env: Option<String>,
    /// How samples are drawn.
    pub(super) mix: MixConfig,
}

impl Config {
    /// Reads a training file.
    ///
    /// # Errors
    /// If it can't be read, is too large, or says something that is no setting.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let size = fs::metadata(path).with_context(|| format!("read {}", path.display()))?.len();
        if size > CONFIG_BYTES_MAX {
            bail!("{}: larger than {CONFIG_BYTES_MAX} bytes; name a TOML file", path.display());
        }
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let config: Self =
            toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        if let Some(both) =
            config.data.validation.iter().find(|case| config.data.cases.contains(case))
        {
            bail!("{}: case {both} both trains and validates; name it once", path.display());
        }
        Ok(config)
    }
}

/// Returns the path in an environment variable; paths of data differ between machines and stay out
/// of training files.
pub(super) fn path_in(name: &str) -> anyhow::Result<PathBuf> {
    let path =
        std::env::var_os(name).with_context(|| format!("{name} is not set; set it to a path"))?;
    let path = PathBuf::from(path);
    ensure!(path.exists(), "{name} names {}, which is not there", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("train.toml");
        fs::write(&path, text)?;
        Config::read(&path)
    }

    #[test]
    fn the_file_of_the_default_model_can_be_followed() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models/train-default.toml");
        let config = Config::read(&path).unwrap();
        config.train.validate().unwrap();
        config.data.mix.check().unwrap();
        assert!(!config.model.name.is_empty() && !config.model.licence.is_empty());
        assert!(!config.data.validation.is_empty(), "the default model is not judged");
    }

    #[test]
    fn what_is_no_setting_is_named() {
        let table = [
            ("unknown setting", "out = 'x'\n[train]\nstep_max = 7\n[data]", "step_max"),
            ("unknown table", "out = 'x'\n[train]\n[data]\n[more]", "more"),
            ("no data", "out = 'x'\n[train]", "data"),
            (
                "case on both sides",
                "out = 'x'\n[train]\n[data]\ncases = ['a', 'b']\nvalidation = ['b']",
                "case b both trains and validates",
            ),
        ];
        for (case, text, expected) in table {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(expected), "case {case}: {error}");
        }
        assert!(Config::read(Path::new("missing.toml")).is_err());
    }
}
