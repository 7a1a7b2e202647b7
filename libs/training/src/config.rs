//! What a training file may say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use neurotriage_dataset::MixConfig;
use neurotriage_network::TrainConfig;
use serde::Deserialize;

use crate::TrainingError;

/// Most bytes of a training file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A training file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFile {
    /// Folder for weights, card, checkpoint and log.
    pub out: PathBuf,
    /// What the card says about the model.
    #[serde(default)]
    pub model: ModelConfig,
    /// Network, loss, optimiser, length.
    pub train: TrainConfig,
    /// What is learned from.
    pub data: DataConfig,
}

/// What the card says about the model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Name of the model, such as `glioma-residual-2mm`.
    pub name: String,
    /// Training data: sources, counts, licences. The names of the cases are added.
    pub data: String,
    /// Terms under which the weights may be used.
    pub licence: String,
}

/// How cases become samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Profile {
    /// Whole heads at 1 mm, cut, mixed with synthetic ones and augmented.
    #[default]
    #[serde(rename = "whole/1")]
    Whole,
}

/// What is learned from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// How cases become samples.
    pub profile: Profile,
    /// Environment variable that names the folder of cases; needed where cases are named.
    pub cases_env: Option<String>,
    /// Cases to learn from: folders under the folder of `cases_env`.
    pub cases: Vec<String>,
    /// Cases to learn from: whole paths.
    pub case_folders: Vec<PathBuf>,
    /// Cases that only judge: folders under the folder of `cases_env`.
    pub validation: Vec<String>,
    /// Environment variable that names an `.npz` of tumour masks; without it, no such masks.
    pub shapes_env: Option<String>,
    /// How samples are drawn.
    pub mix: MixConfig,
}

impl TrainingFile {
    /// Reads a training file.
    ///
    /// # Errors
    /// [`TrainingError::Io`] if it can't be read, [`TrainingError::TooLarge`]; else as
    /// [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self, TrainingError> {
        let failed = |source| TrainingError::Io { path: path.to_owned(), source };
        if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(TrainingError::TooLarge { bytes_max: FILE_BYTES_MAX });
        }
        Self::parse(&fs::read_to_string(path).map_err(failed)?)
    }

    /// Takes the text of a training file.
    ///
    /// # Errors
    /// [`TrainingError::Parse`] if it says something that is no setting; else as
    /// [`Self::check`].
    pub fn parse(text: &str) -> Result<Self, TrainingError> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(TrainingError::TooLarge { bytes_max: FILE_BYTES_MAX });
        }
        let file: Self = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    /// Checks every setting; reads no data.
    ///
    /// # Errors
    /// [`TrainingError::Setting`], [`TrainingError::Network`] or [`TrainingError::Samples`] name
    /// the first setting that can't work.
    pub fn check(&self) -> Result<(), TrainingError> {
        if let Some(both) = self.data.validation.iter().find(|case| self.data.cases.contains(case))
        {
            return Err(TrainingError::Setting {
                name: "data.validation",
                problem: format!("case {both} both trains and validates; name it once"),
            });
        }
        self.train.validate()?;
        self.data.mix.check()?;
        Ok(())
    }
}

/// Returns the path in an environment variable; paths of data differ between machines and stay out
/// of training files.
pub(crate) fn path_in(name: &str) -> Result<PathBuf, TrainingError> {
    let refuse = |problem: String| TrainingError::Variable { name: name.to_owned(), problem };
    let path = std::env::var_os(name).ok_or_else(|| refuse("is not set".to_owned()))?;
    let path = PathBuf::from(path);
    if !path.exists() {
        return Err(refuse(format!("names {}, which is not there", path.display())));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: &TrainingError) -> String {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text.push_str(&format!(": {inner}"));
            source = inner.source();
        }
        text
    }

    #[test]
    fn the_file_of_the_default_model_can_be_followed() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models/train-default.toml");
        let file = TrainingFile::read(&path).unwrap();
        assert!(!file.model.name.is_empty() && !file.model.licence.is_empty());
        assert!(!file.data.validation.is_empty(), "the default model is not judged");
    }

    #[test]
    fn what_is_no_setting_is_named() {
        let table = [
            ("unknown setting", "out = 'x'\n[train]\nstep_max = 7\n[data]", "step_max"),
            ("unknown table", "out = 'x'\n[train]\n[data]\n[more]", "more"),
            ("no data", "out = 'x'\n[train]", "data"),
            ("unknown profile", "out = 'x'\n[train]\n[data]\nprofile = 'half/1'", "half/1"),
            ("wrong value", "out = 'x'\n[train]\nbatch = 0\n[data]", "batch"),
            ("wrong sample", "out = 'x'\n[train]\n[data.mix]\nforeground = 2.0", "foreground"),
            (
                "case on both sides",
                "out = 'x'\n[train]\n[data]\ncases = ['a', 'b']\nvalidation = ['b']",
                "case b both trains and validates",
            ),
        ];
        for (case, text, expected) in table {
            let error = said(&TrainingFile::parse(text).unwrap_err());
            assert!(error.contains(expected), "case {case}: {error}");
        }
        assert!(matches!(
            TrainingFile::read(Path::new("missing.toml")),
            Err(TrainingError::Io { .. })
        ));
        let long = format!("# {}", "x".repeat(70_000));
        assert!(matches!(TrainingFile::parse(&long), Err(TrainingError::TooLarge { .. })));
    }
}
