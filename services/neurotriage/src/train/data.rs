//! Reads what a model is trained on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use neurotriage_dataset::{CachedCase, MaskShapes, MixConfig, MixSource, SampleSource};
use neurotriage_imaging::{
    CaseFiles, prepare,
    prepare::{PROFILE, PROFILE_VERSION},
    resample,
};
use neurotriage_network::ValidationCase;

use super::{
    TRAINED_ON,
    config::{DataConfig, path_in},
};

/// What a model is trained on, and judged by.
pub(super) struct Data {
    /// Draws samples.
    pub(super) source: Arc<dyn SampleSource>,
    /// Cases held out.
    pub(super) validation: Vec<ValidationCase>,
    /// Counts and names, for the log and the card.
    pub(super) summary: String,
    /// Preprocessing of samples and cases.
    pub(super) profile: String,
}

/// Reads cases, shapes and validation cases; the samples follow `seed`.
///
/// # Errors
/// If a variable is not set, a case can't be read or has no truth, or a setting is wrong.
pub(super) fn load(config: &DataConfig, seed: u64) -> anyhow::Result<Data> {
    let folder_of = |id: &String| -> anyhow::Result<PathBuf> {
        let name = config.cases_env.as_deref();
        let name = name.context("cases are named without a folder; set data.cases_env")?;
        Ok(path_in(name)?.join(id))
    };
    let mut folders: Vec<PathBuf> = config.cases.iter().map(folder_of).collect::<Result<_, _>>()?;
    folders.extend(config.case_folders.iter().cloned());
    let mut cases = Vec::with_capacity(folders.len());
    for folder in &folders {
        let case = CachedCase::load(folder);
        cases.push(case.with_context(|| format!("read case {}", folder.display()))?);
    }
    let shapes = match &config.shapes_env {
        None => None,
        Some(name) => Some(MaskShapes::load_npz(&path_in(name)?)?),
    };
    let mut validation = Vec::with_capacity(config.validation.len());
    for id in &config.validation {
        validation.push(held_out(id, &folder_of(id)?)?);
    }
    let shapes_count = shapes.as_ref().map_or(0, |shapes| shapes.as_slice().len());
    let names: Vec<String> = folders
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into()))
        .collect();
    let summary = format!(
        "{TRAINED_ON} {}; tumour shapes of {shapes_count} masks; cases held out: {}",
        list(&names),
        list(&config.validation)
    );
    let mix = MixConfig { seed: config.mix.seed ^ seed, ..config.mix.clone() };
    let source = Arc::new(MixSource::new(mix, cases, shapes)?);
    Ok(Data { source, validation, summary, profile: format!("{PROFILE}/{PROFILE_VERSION}") })
}

fn held_out(id: &str, folder: &Path) -> anyhow::Result<ValidationCase> {
    let read = || -> anyhow::Result<ValidationCase> {
        let files = CaseFiles::find(folder)?;
        let study = files.read_study()?;
        let truth = files.read_truth()?.context("case has no truth; add its _seg file")?;
        let truth = study.align_mask(truth, "truth")?;
        let prepared = prepare(&study)?;
        let truth = if prepared.grid() == truth.grid() {
            truth
        } else {
            resample::nearest(&truth.voxels, &truth.grid(), &prepared.grid())?
        };
        let labels = prepared.crop().view(&truth.voxels).context("crop lies outside the grid")?;
        Ok(ValidationCase {
            name: id.to_owned(),
            image: prepared.channels().clone(),
            labels: labels.to_owned(),
        })
    };
    read().with_context(|| format!("read validation case {}", folder.display()))
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
            let error = format!("{:#}", load(&config, 1).err().unwrap());
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
