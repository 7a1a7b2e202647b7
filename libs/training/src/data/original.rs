//! Reads cases as the original system prepared, chose and divided them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use neurotriage_dataset::{
    OriginalCase, OriginalSource, original::ORIGINAL_PROFILE, original_split,
};
use neurotriage_network::ValidationCase;

use super::{Data, TRAINED_ON, folder_of, in_folder, list};
use crate::{TrainingError, config::DataConfig};

/// Reads data as the original did; the order of the samples follows `seed`.
///
/// Cases with too little tumour are left out, on both sides. Where no case is named to judge, the
/// cases are divided as the original divided its own.
pub(super) fn load_original(config: &DataConfig, seed: u64) -> Result<Data, TrainingError> {
    let mut folders = BTreeMap::new();
    let named = config.cases.iter().chain(&config.validation);
    for (id, folder) in named.map(|id| (id.clone(), folder_of(config, id))) {
        add(&mut folders, id, folder?)?;
    }
    for folder in &config.case_folders {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        add(&mut folders, name.unwrap_or_default(), folder.clone())?;
    }
    let mut kept = BTreeMap::new();
    let mut left_out = Vec::new();
    for (name, folder) in folders {
        match read(&folder)? {
            case if case.is_kept() => drop(kept.insert(name, case)),
            _ => left_out.push(name),
        }
    }
    let judging = judging(config, &kept);
    let mut training = Vec::new();
    let mut validation = Vec::new();
    let mut names = Vec::new();
    for (name, case) in kept {
        if judging.contains(&name) {
            let (image, labels) = case.arrays();
            validation.push(ValidationCase { name, image, labels });
        } else {
            names.push(name);
            training.push(case);
        }
    }
    let summary = format!(
        "{TRAINED_ON} {}; cases held out: {}; left out for too little tumour: {}",
        list(&names),
        list(&judging.into_iter().collect::<Vec<_>>()),
        list(&left_out)
    );
    let source = Arc::new(OriginalSource::new(training, seed)?);
    Ok(Data { source, validation, summary, profile: ORIGINAL_PROFILE.to_owned() })
}

fn add(
    folders: &mut BTreeMap<String, PathBuf>,
    name: String,
    folder: PathBuf,
) -> Result<(), TrainingError> {
    let problem = format!("two cases are called {name}; name each once");
    match folders.insert(name, folder) {
        None => Ok(()),
        Some(_) => Err(TrainingError::Setting { name: "data.cases", problem }),
    }
}

fn read(folder: &Path) -> Result<OriginalCase, TrainingError> {
    OriginalCase::load(folder).map_err(|source| in_folder(folder, source))
}

/// Returns the names of the kept cases that judge.
fn judging(config: &DataConfig, kept: &BTreeMap<String, OriginalCase>) -> BTreeSet<String> {
    if config.validation.is_empty() {
        let names: Vec<String> = kept.keys().cloned().collect();
        return original_split(&names).1.into_iter().collect();
    }
    config.validation.iter().filter(|name| kept.contains_key(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Profile, data::load};

    fn original(cases: &[&str], validation: &[&str]) -> DataConfig {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        DataConfig {
            profile: Profile::Original,
            cases_env: Some("NEUROTRIAGE_CASES".to_owned()),
            cases: owned(cases),
            validation: owned(validation),
            ..DataConfig::default()
        }
    }

    #[test]
    fn nothing_to_learn_from_is_refused() {
        let error = load(&original(&[], &[]), 1).err().unwrap();
        assert!(matches!(error, TrainingError::Samples(_)), "{error}");
    }

    #[test]
    fn a_name_given_twice_is_refused_before_anything_is_read() {
        let folders = ["/no/such/a", "/none/either/a"].map(PathBuf::from).to_vec();
        let twice = DataConfig { case_folders: folders, ..original(&[], &[]) };
        let error = load(&twice, 1).err().unwrap().to_string();
        assert!(error.contains("two cases are called a"), "{error}");
        let missing = DataConfig { case_folders: vec!["/no/such/a".into()], ..original(&[], &[]) };
        assert!(matches!(load(&missing, 1).err().unwrap(), TrainingError::Case { .. }));
    }

    #[test]
    fn real_cases_are_divided_as_python_divides_them() {
        let Some(root) = std::env::var_os("NEUROTRIAGE_CASES") else {
            eprintln!("skipped: set NEUROTRIAGE_CASES");
            return;
        };
        // All of these are kept; python3: random.seed(42), sorted, shuffled, first int(.75 * 3).
        let three = ["BraTS2021_00000", "BraTS2021_00006", "BraTS2021_00014"];
        if three.iter().any(|name| !Path::new(&root).join(name).is_dir()) {
            eprintln!("skipped: NEUROTRIAGE_CASES lacks {three:?}");
            return;
        }
        let data = load(&original(&three, &[]), 1).unwrap();
        assert_eq!(data.profile, "seed/1");
        let judging: Vec<&str> = data.validation.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(judging, ["BraTS2021_00014"], "{}", data.summary);
        assert_eq!(data.validation[0].image.dim(), (4, 128, 128, 128));
        assert_eq!(data.validation[0].labels.dim(), (128, 128, 128));
        let sample = data.source.sample(0).unwrap();
        assert_eq!((sample.image.dim(), sample.origin), ((4, 128, 128, 128), "original"));
        let named = load(&original(&three[..1], &three[1..2]), 1).unwrap();
        assert_eq!(named.validation[0].name, three[1]);
        let expected = "cases trained on: BraTS2021_00000; cases held out: BraTS2021_00006;";
        assert!(named.summary.starts_with(expected), "{}", named.summary);
    }
}
