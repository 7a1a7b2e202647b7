//! Reads what a model is trained on.

mod original;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ndarray::Array3;
use neurotriage_dataset::{
    CachedCase, DatasetError, MaskShapes, MixConfig, MixSource, SampleSource,
};
use neurotriage_imaging::{
    CaseFiles, prepare,
    prepare::{PROFILE, PROFILE_VERSION},
    resample,
};
use neurotriage_network::ValidationCase;

use crate::{
    TrainingError,
    config::{DataConfig, Profile, path_in},
};

/// What the card's words on data begin with where they name the cases trained on.
pub const TRAINED_ON: &str = "cases trained on:";

/// What a model is trained on, and judged by.
pub(crate) struct Data {
    /// Draws samples.
    pub(crate) source: Arc<dyn SampleSource>,
    /// Cases held out.
    pub(crate) validation: Vec<ValidationCase>,
    /// Counts and names, for the log and the card.
    pub(crate) summary: String,
    /// Preprocessing of samples and cases.
    pub(crate) profile: String,
}

/// Reads cases, shapes and validation cases; the samples follow `seed`.
///
/// # Errors
/// If a variable is not set, a case can't be read or has no truth, or a setting is wrong.
pub(crate) fn load(config: &DataConfig, seed: u64) -> Result<Data, TrainingError> {
    match config.profile {
        Profile::Whole => load_whole(config, seed),
        Profile::Original => original::load_original(config, seed),
    }
}

/// Reads data as whole heads.
fn load_whole(config: &DataConfig, seed: u64) -> Result<Data, TrainingError> {
    let mut folders = Vec::with_capacity(config.cases.len() + config.case_folders.len());
    for id in &config.cases {
        folders.push(folder_of(config, id)?);
    }
    folders.extend(config.case_folders.iter().cloned());
    let mut cases = Vec::with_capacity(folders.len());
    for folder in &folders {
        cases.push(CachedCase::load(folder).map_err(|source| in_folder(folder, source))?);
    }
    let mut shapes = match &config.shapes_env {
        None => None,
        Some(name) => Some(MaskShapes::load_npz(&path_in(name)?)?),
    };
    let mut validation = Vec::with_capacity(config.validation.len());
    let mut left_out = 0;
    for id in &config.validation {
        let folder = folder_of(config, id)?;
        let (case, mask) = held_out(id, &folder).map_err(|source| in_folder(&folder, source))?;
        // The masks may hold the very tumour that is to judge.
        left_out += shapes.as_mut().map_or(0, |shapes| shapes.leave_out(&mask));
        validation.push(case);
    }
    let shapes_count = shapes.as_ref().map_or(0, |shapes| shapes.as_slice().len());
    let names: Vec<String> = folders
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into()))
        .collect();
    let summary = format!(
        "{TRAINED_ON} {}; tumour shapes of {shapes_count} masks, {left_out} left out for their \
         likeness to held-out cases; cases held out: {}",
        list(&names),
        list(&config.validation)
    );
    let mix = MixConfig { seed: config.mix.seed ^ seed, ..config.mix.clone() };
    let source = Arc::new(MixSource::new(mix, cases, shapes)?);
    Ok(Data { source, validation, summary, profile: format!("{PROFILE}/{PROFILE_VERSION}") })
}

/// Returns the folder of a case that is named by its id.
fn folder_of(config: &DataConfig, id: &str) -> Result<PathBuf, TrainingError> {
    let Some(name) = config.cases_env.as_deref() else {
        return Err(TrainingError::Setting {
            name: "data.cases",
            problem: "cases are named without a folder; set data.cases_env".to_owned(),
        });
    };
    Ok(path_in(name)?.join(id))
}

fn in_folder(folder: &Path, source: DatasetError) -> TrainingError {
    TrainingError::Case { folder: folder.to_owned(), source: Box::new(source) }
}

/// Returns a case that judges, and its mask on the whole grid.
fn held_out(id: &str, folder: &Path) -> Result<(ValidationCase, Array3<u8>), DatasetError> {
    let files = CaseFiles::find(folder)?;
    let study = files.read_study()?;
    let truth = files.read_truth()?.ok_or_else(|| DatasetError::NoTruth { id: id.to_owned() })?;
    let truth = study.align_mask(truth, "truth")?;
    let prepared = prepare(&study)?;
    let truth = if prepared.grid() == truth.grid() {
        truth
    } else {
        resample::nearest(&truth.voxels, &truth.grid(), &prepared.grid())?
    };
    let problem = "has a mask of another shape";
    let outside = || DatasetError::Unfit { id: id.to_owned(), problem };
    let labels = prepared.crop().view(&truth.voxels).ok_or_else(outside)?;
    let (name, image, labels) = (id.to_owned(), prepared.channels().clone(), labels.to_owned());
    Ok((ValidationCase { name, image, labels }, truth.voxels))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_without_a_folder_are_refused_with_what_to_set() {
        let named = DataConfig { cases: vec!["a".to_owned()], ..DataConfig::default() };
        let unset = DataConfig {
            cases_env: Some("NEUROTRIAGE_NO_SUCH_FOLDER".to_owned()),
            ..named.clone()
        };
        for (config, expected) in
            [(named, "set data.cases_env"), (unset, "NEUROTRIAGE_NO_SUCH_FOLDER is not set")]
        {
            let error = load(&config, 1).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn phantoms_alone_are_enough_to_learn_from() {
        let data = load(&DataConfig::default(), 1).unwrap();
        assert!(data.validation.is_empty());
        assert!(data.summary.starts_with("cases trained on: none;"), "{}", data.summary);
    }
}
