//! Cross-validation: every case is held out once, by a model that has not learned from it.

use std::{fs, path::Path};

use neurotriage_network::{
    CHECKPOINT_FILE, CaseScores, RegionDice, Start, TrainControl, TrainProgress,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{DataConfig, Job, TrainingError, TrainingFile, files::write_whole};

/// Name of the file with the scores of one fold, in the fold's folder; it is written when the fold is
/// finished.
pub const FOLD_FILE: &str = "fold.json";

/// Name of the file with the scores of all finished folds, in the folder `out` of the training file.
pub const FOLDS_FILE: &str = "folds.json";

/// Most folds.
const COUNT_MAX: usize = 1_000;

/// Division of the named cases into `count` parts, of which part `index` is held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folds {
    /// Number of parts, at least 2; as many as there are cases: each case is held out alone.
    pub count: usize,
    /// Which part is held out, from 0.
    pub index: usize,
}

impl Folds {
    pub(crate) fn check(self, data: &DataConfig) -> Result<(), TrainingError> {
        let refuse = |name, problem| Err(TrainingError::Setting { name, problem });
        let cases = data.cases.len();
        if !data.validation.is_empty() {
            let problem = "folds choose what is held out; move these cases to data.cases";
            return refuse("data.validation", problem.to_owned());
        }
        if !(2..=COUNT_MAX.min(cases)).contains(&self.count) {
            let problem = format!("must be 2 to the number of cases, which is {cases}");
            return refuse("data.folds.count", problem);
        }
        if self.index >= self.count {
            let problem = format!("must be 0 to {}", self.count - 1);
            return refuse("data.folds.index", problem);
        }
        Ok(())
    }

    /// Returns the cases to learn from and those held out. The parts depend on the names and the
    /// seed, not on the order of the names; their sizes differ by one at most.
    pub fn split(self, cases: &[String], seed: u64) -> (Vec<String>, Vec<String>) {
        let mut names = cases.to_vec();
        names.sort();
        names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (mut learned, mut held_out) = (Vec::new(), Vec::new());
        for (place, name) in names.into_iter().enumerate() {
            if place % self.count == self.index { held_out.push(name) } else { learned.push(name) }
        }
        learned.sort();
        held_out.sort();
        (learned, held_out)
    }
}

impl TrainingFile {
    /// Returns the file for one fold: its model goes into a folder `fold-INDEX` of its own.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] if there is no such fold, or the file names held-out cases.
    pub fn fold(&self, folds: Folds) -> Result<Self, TrainingError> {
        let mut file = self.clone();
        file.data.folds = Some(folds);
        file.out = self.out.join(format!("fold-{}", folds.index));
        file.check()?;
        Ok(file)
    }

    /// Returns the file with its folds, if it has any, written out as cases and held-out cases.
    pub(crate) fn divided(&self) -> Self {
        let mut file = self.clone();
        if let Some(folds) = file.data.folds.take() {
            (file.data.cases, file.data.validation) =
                folds.split(&self.data.cases, self.train.seed);
        }
        file
    }
}

/// A finished fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldScores {
    /// Which one.
    pub folds: Folds,
    /// Seed of the division.
    pub seed: u64,
    /// Steps that the model was trained.
    pub steps: u64,
    /// Cases held out, with their Dice.
    pub cases: Vec<CaseScores>,
}

/// All finished folds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldsReport {
    /// Number of folds.
    pub count: usize,
    /// Folds finished.
    pub finished: usize,
    /// Mean Dice over the cases; none before the first is finished.
    pub mean: Option<RegionDice>,
    /// Every case held out so far, with the Dice of the model that did not learn from it.
    pub cases: Vec<CaseScores>,
}

/// What a caller hears of a cross-validation.
#[derive(Debug)]
pub enum FoldEvent<'a> {
    /// A fold was finished before.
    Skipped(&'a FoldScores),
    /// A fold begins, with this data.
    Begins {
        /// Which one.
        folds: Folds,
        /// Whether it goes on from a checkpoint.
        start: Start,
        /// Counts and names of its data.
        summary: &'a str,
    },
    /// Progress of the fold at hand.
    Progress(&'a TrainProgress),
}

/// Trains every fold, one after another, each in its own folder; passes over finished ones, goes on
/// with one that has a checkpoint, and writes [`FOLDS_FILE`] after each.
///
/// Returns what is finished: fewer folds than there are if `control` ended it.
///
/// # Errors
/// [`TrainingError::Setting`] if a fold's folder belongs to another division; else as [`Job::prepare`]
/// and [`Job::run`].
pub fn run_folds(
    file: &TrainingFile,
    count: usize,
    control: &TrainControl,
    on_event: &mut dyn FnMut(FoldEvent<'_>),
) -> Result<FoldsReport, TrainingError> {
    let mut finished: Vec<FoldScores> = Vec::new();
    // Every fold is checked before the first is trained.
    let mut files = Vec::new();
    for index in 0..count.max(1) {
        files.push((Folds { count, index }, file.fold(Folds { count, index })?));
    }
    for (folds, fold) in &files {
        if control.is_cancelled() {
            break;
        }
        let scores = match finished_before(fold, *folds)? {
            Some(scores) => {
                on_event(FoldEvent::Skipped(&scores));
                Some(scores)
            }
            None => train_fold(fold, *folds, control, on_event)?,
        };
        finished.extend(scores);
        write_report(&file.out, &report(count, &finished))?;
    }
    Ok(report(count, &finished))
}

fn train_fold(
    file: &TrainingFile,
    folds: Folds,
    control: &TrainControl,
    on_event: &mut dyn FnMut(FoldEvent<'_>),
) -> Result<Option<FoldScores>, TrainingError> {
    let unfinished = file.out.join(CHECKPOINT_FILE).exists();
    let start = if unfinished { Start::Resume } else { Start::Fresh };
    let job = Job::prepare(file)?;
    on_event(FoldEvent::Begins { folds, start, summary: job.summary() });
    let outcome = job.run(start, control, &mut |at| on_event(FoldEvent::Progress(at)))?;
    if outcome.cancelled {
        return Ok(None);
    }
    let cases = outcome.card.validation.map_or_else(Vec::new, |report| report.cases);
    let scores = FoldScores { folds, seed: file.train.seed, steps: outcome.card.steps, cases };
    write_json(&file.out.join(FOLD_FILE), &scores)?;
    Ok(Some(scores))
}

/// Returns the scores of a fold that was finished before.
fn finished_before(file: &TrainingFile, folds: Folds) -> Result<Option<FoldScores>, TrainingError> {
    let path = file.out.join(FOLD_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| TrainingError::Io { path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(failed)?;
    let found: Option<FoldScores> = serde_json::from_str(&text).ok();
    let (_, expected) = folds.split(&file.data.cases, file.train.seed);
    // A profile may have left out cases with too little tumour.
    let same = found.filter(|found| {
        let named = found.cases.iter().all(|case| expected.contains(&case.name));
        found.folds == folds && found.seed == file.train.seed && named
    });
    match same {
        Some(scores) => Ok(Some(scores)),
        None => Err(TrainingError::Setting {
            name: "out",
            problem: format!(
                "{} is of another division into folds; choose another folder or remove it",
                path.display()
            ),
        }),
    }
}

fn report(count: usize, finished: &[FoldScores]) -> FoldsReport {
    let mut cases: Vec<CaseScores> = finished.iter().flat_map(|fold| fold.cases.clone()).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    let mean = (!cases.is_empty()).then(|| {
        let mean = |pick: fn(&RegionDice) -> f64| {
            cases.iter().map(|case| pick(&case.dice)).sum::<f64>() / cases.len() as f64
        };
        RegionDice { wt: mean(|d| d.wt), tc: mean(|d| d.tc), et: mean(|d| d.et) }
    });
    FoldsReport { count, finished: finished.len(), mean, cases }
}

fn write_report(out: &Path, report: &FoldsReport) -> Result<(), TrainingError> {
    fs::create_dir_all(out).map_err(|source| TrainingError::Io { path: out.to_owned(), source })?;
    write_json(&out.join(FOLDS_FILE), report)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainingError> {
    let failed = |source: std::io::Error| TrainingError::Io { path: path.to_owned(), source };
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    json.push(b'\n');
    write_whole(path, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("case-{number}")).collect()
    }

    #[test]
    fn every_case_is_held_out_once_whatever_the_order_of_names() {
        for (cases, count) in [(7, 3), (6, 6), (4, 2)] {
            let mut names = names(cases);
            let mut seen = Vec::new();
            for index in 0..count {
                let folds = Folds { count, index };
                let (learned, held_out) = folds.split(&names, 5);
                assert_eq!(learned.len() + held_out.len(), cases);
                assert!(held_out.iter().all(|case| !learned.contains(case)));
                assert!((cases / count..=cases.div_ceil(count)).contains(&held_out.len()));
                names.reverse();
                assert_eq!(folds.split(&names, 5), (learned, held_out.clone()));
                seen.extend(held_out);
            }
            seen.sort();
            names.sort();
            assert_eq!(seen, names);
        }
        let folds = Folds { count: 3, index: 0 };
        let differ = (0..9).any(|seed| folds.split(&names(9), seed) != folds.split(&names(9), 9));
        assert!(differ, "the seed has no say");
    }

    #[test]
    fn folds_that_cannot_be_are_refused() {
        let text = "out = 'x'\n[train]\n[data]\ncases_env = 'C'\ncases = ['a', 'b', 'c']\n";
        let file = TrainingFile::parse(text).unwrap();
        let table = [(1, 0, "count"), (4, 0, "count"), (3, 3, "index")];
        for (count, index, expected) in table {
            let error = file.fold(Folds { count, index }).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let fold = file.fold(Folds { count: 3, index: 1 }).unwrap();
        assert!(fold.out.ends_with("fold-1"));
        let divided = fold.divided();
        assert_eq!((divided.data.cases.len(), divided.data.validation.len()), (2, 1));
        let both = format!("{text}validation = ['d']\n[data.folds]\ncount = 3\nindex = 0");
        let error = TrainingFile::parse(&both).unwrap_err().to_string();
        assert!(error.contains("move these cases"), "{error}");
    }

    fn scores(name: &str, wt: f64) -> CaseScores {
        CaseScores { name: name.to_owned(), dice: RegionDice { wt, tc: 0.5, et: 0.25 }, seed: None }
    }

    #[test]
    fn finished_folds_are_found_again_and_those_of_other_divisions_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = "out = 'x'\n[train]\n[data]\ncases_env = 'C'\ncases = ['a', 'b']\n";
        let mut file = TrainingFile::parse(text).unwrap();
        file.out = folder.path().to_owned();
        let mut finished = Vec::new();
        for index in 0..2 {
            let folds = Folds { count: 2, index };
            let fold = file.fold(folds).unwrap();
            assert_eq!(finished_before(&fold, folds).unwrap(), None);
            let (_, held_out) = folds.split(&file.data.cases, file.train.seed);
            let cases = held_out.iter().map(|name| scores(name, 0.5 + index as f64 / 4.0));
            let cases = cases.collect();
            let done = FoldScores { folds, seed: file.train.seed, steps: 9, cases };
            fs::create_dir_all(&fold.out).unwrap();
            write_json(&fold.out.join(FOLD_FILE), &done).unwrap();
            assert_eq!(finished_before(&fold, folds).unwrap(), Some(done.clone()));
            finished.push(done);
            let mut other = fold.clone();
            other.train.seed += 1;
            let error = finished_before(&other, folds).unwrap_err().to_string();
            assert!(error.contains("another division"), "{error}");
        }
        // Both were finished: nothing is trained, and the cases are not even looked for.
        let mut skipped = 0;
        let report = run_folds(&file, 2, &TrainControl::default(), &mut |event| {
            skipped += usize::from(matches!(event, FoldEvent::Skipped(_)));
        });
        let report = report.unwrap();
        assert_eq!((skipped, report.finished, report.cases.len()), (2, 2, 2));
        assert_eq!(report.mean, Some(RegionDice { wt: 0.625, tc: 0.5, et: 0.25 }));
        assert!(folder.path().join(FOLDS_FILE).exists());
    }
}
