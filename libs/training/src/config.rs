//! What a training file may say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use neurotriage_dataset::MixConfig;
use neurotriage_domain::Modality;
use neurotriage_network::TrainConfig;
use serde::Deserialize;

use crate::{Folds, TrainingError};

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
    /// What the original system learned from: FLAIR, T1ce and T2 in a box of 128 voxels a side,
    /// whole and unchanged. Without `validation`, the cases are divided as the original divided
    /// its own.
    #[serde(rename = "seed/1")]
    Original,
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
    /// Divides `cases` into parts, of which one is held out; `validation` is empty then.
    pub folds: Option<Folds>,
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
        if let Some(folds) = self.data.folds {
            folds.check(&self.data)?;
        }
        self.train.validate()?;
        self.data.mix.check()?;
        match self.data.profile {
            Profile::Whole => Ok(()),
            Profile::Original => self.check_original(),
        }
    }

    /// Checks that nothing is asked for that the original did not have.
    fn check_original(&self) -> Result<(), TrainingError> {
        let refuse = |name, problem: &str| {
            let problem = format!("{problem}, or choose data.profile whole/1");
            Err(TrainingError::Setting { name, problem })
        };
        if self.train.channels.contains(&Modality::T1) {
            return refuse("train.channels", "profile seed/1 has no t1; leave it out");
        }
        if self.data.shapes_env.is_some() {
            return refuse("data.shapes_env", "profile seed/1 makes no tumours; leave it out");
        }
        if self.data.mix != MixConfig::default() {
            return refuse("data.mix", "profile seed/1 changes no sample; leave it out");
        }
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
    }

    #[test]
    fn the_file_of_the_folds_holds_out_every_case_and_judges_the_default_recipe() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models");
        let file = TrainingFile::read(&folder.join("train-folds.toml")).unwrap();
        let default = TrainingFile::read(&folder.join("train-default.toml")).unwrap();
        let TrainConfig { seed, steps_max, .. } = default.train;
        assert_eq!(default.train, TrainConfig { seed, steps_max, ..file.train.clone() });
        assert_eq!(default.data.cases, file.data.cases);
        assert_eq!(default.data.mix, file.data.mix);
        let count = file.data.cases.len();
        for index in 0..count {
            assert!(file.fold(Folds { count, index }).is_ok());
        }
    }

    #[test]
    fn the_file_of_the_original_says_what_the_original_did() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/models/train-seed.toml");
        let file = TrainingFile::read(&path).unwrap();
        assert_eq!(file.data.profile, Profile::Original);
        let TrainConfig { seed, device, threads, steps_max, .. } = file.train;
        let expected =
            TrainConfig { seed, device, threads, steps_max, ..TrainConfig::seed_original() };
        assert_eq!(file.train, expected);
    }

    #[test]
    fn what_the_original_did_not_have_is_refused_beside_its_profile() {
        let channels = "channels = ['flair', 't1ce', 't2']";
        let network = "architecture = 'seed'\nin_channels = 3\nout_channels = 4\n\
            widths = [2, 4]\nstem_stride = 1\ndeep_supervision = false\ndropout = []";
        let text = |channels: &str, data: &str| {
            format!(
                "out = 'x'\n[train]\nloss = 'seed'\n{channels}\n[train.network]\n{network}\n\
                 [data]\nprofile = 'seed/1'\n{data}"
            )
        };
        assert!(TrainingFile::parse(&text(channels, "")).is_ok());
        let with_t1 = "channels = ['flair', 't1', 't2']";
        for (name, text) in [
            ("train.channels", text(with_t1, "")),
            ("data.shapes_env", text(channels, "shapes_env = 'SHAPES'")),
            ("data.mix", text(channels, "[data.mix]\nforeground = 0.5")),
        ] {
            let error = said(&TrainingFile::parse(&text).unwrap_err());
            assert!(error.contains(name) && error.contains("seed/1"), "{error}");
        }
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
