//! Scores a model on cases with known truth.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, bail, ensure};
use neurotriage_domain::VoxelSpacing;
use neurotriage_imaging::{CaseFiles, prepare};
use neurotriage_metrics::{CaseScores, LesionWiseScores, PerRegion, mean_scores, score_case};
use neurotriage_network::{Model, SegmentOptions, segment};
use serde::Serialize;

use crate::{
    cli::EvaluateArgs,
    model,
    output::{print, write_whole},
    progress::Progress,
    train::TRAINED_ON,
};

/// The scores of a model.
#[derive(Serialize)]
struct Evaluation {
    /// Name of the model, and what it was trained on.
    model: ModelLine,
    cases: Vec<CaseLine>,
    mean: Option<Scores>,
}

#[derive(Serialize)]
struct ModelLine {
    name: String,
    weights_sha256: String,
    trained_on: String,
}

#[derive(Serialize)]
struct CaseLine {
    id: String,
    /// True if the model's card names the case among its training data.
    seen_in_training: bool,
    #[serde(flatten)]
    scores: Scores,
    /// Time from the files on disk to the mask, in seconds.
    seconds: f64,
}

#[derive(Serialize)]
struct Scores {
    dice: PerRegion<f64>,
    hd95_mm: PerRegion<f64>,
    lesion_wise: LesionWiseScores,
    iou_mean: f64,
    accuracy: f64,
}

impl From<CaseScores> for Scores {
    fn from(scores: CaseScores) -> Self {
        Self {
            dice: scores.dice,
            hd95_mm: scores.hd95_mm,
            lesion_wise: scores.lesion_wise,
            iou_mean: scores.iou_mean,
            accuracy: scores.accuracy,
        }
    }
}

/// Scores the model on every case asked for, prints a table, and writes the scores as JSON.
///
/// # Errors
/// If a case lacks a file or its truth, or the model can't be read.
pub fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let cases = cases(&args.cases, &args.only)?;
    let model = model::load(&args.model)?;
    let card = model.card();
    let trained_on = card.provenance.data.clone();
    let mut progress = Progress::on_stderr();
    progress.step("evaluate");
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for (done, case) in cases.iter().enumerate() {
        progress.update(done as u64, cases.len() as u64);
        progress.message(&case.id);
        let began = Instant::now();
        let (scores, seconds) =
            score(&model, case, began).with_context(|| format!("evaluate case {}", case.id))?;
        all.push(scores);
        let seen_in_training = names_case(&trained_on, &case.id);
        lines.push(CaseLine {
            id: case.id.clone(),
            seen_in_training,
            scores: scores.into(),
            seconds,
        });
    }
    progress.finish();
    let evaluation = Evaluation {
        model: ModelLine {
            name: card.provenance.name.clone(),
            weights_sha256: card.weights_sha256.to_string(),
            trained_on,
        },
        cases: lines,
        mean: mean_scores(&all).map(Scores::from),
    };
    if let Some(path) = &args.json {
        write_json(path, &evaluation)?;
    }
    print(&table(&evaluation))
}

fn cases(root: &Path, only: &[String]) -> anyhow::Result<Vec<CaseFiles>> {
    let mut cases = Vec::new();
    if only.is_empty() {
        cases = CaseFiles::find_all(root)?;
    }
    for id in only {
        cases.push(CaseFiles::find(&root.join(id))?);
    }
    ensure!(!cases.is_empty(), "{} holds no case; name a folder of case folders", root.display());
    if let Some(case) = cases.iter().find(|case| case.truth.is_none()) {
        bail!(
            "case {} has no truth; add {}_seg.nii.gz or leave it out with --only",
            case.id,
            case.id
        );
    }
    Ok(cases)
}

fn score(model: &Model, case: &CaseFiles, began: Instant) -> anyhow::Result<(CaseScores, f64)> {
    let study = case.read_study()?;
    let prepared = prepare(&study)?;
    let options = SegmentOptions::for_model(model.card());
    let marked = segment(model, prepared.channels().view(), &options, &mut |_, _| (), &|| false)?;
    let predicted = prepared.canonical_mask(&marked.labels)?;
    let seconds = began.elapsed().as_secs_f64();
    let truth = case.read_truth()?.context("truth has gone")?;
    let truth = study.align_mask(truth, "truth")?;
    let spacing: VoxelSpacing = study.spacing();
    let scores = score_case(truth.voxels.view(), predicted.voxels.view(), spacing)?;
    Ok((scores, seconds))
}

/// Returns true if the card's words on data name the case among those trained on; see
/// [`crate::train`], which writes them.
fn names_case(data: &str, id: &str) -> bool {
    let trained_on = data.split(';').find_map(|part| part.trim().strip_prefix(TRAINED_ON));
    trained_on.is_some_and(|names| names.split(',').any(|name| name.trim() == id))
}

fn write_json(path: &Path, evaluation: &Evaluation) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    let json = serde_json::to_string_pretty(evaluation)? + "\n";
    write_whole(folder, &name.to_string_lossy(), json.as_bytes())?;
    Ok(())
}

fn table(evaluation: &Evaluation) -> String {
    let model = &evaluation.model;
    let mut text = format!(
        "model {} (weights {})\ntrained on: {}\n\n{:30} {:^20}  {:^20}  {:^20}  {:>6} {:>6} {:>6}\n{:30}",
        model.name,
        model.weights_sha256.get(..12).unwrap_or_default(),
        model.trained_on,
        "case",
        "Dice",
        "HD95 mm",
        "lesion-wise Dice",
        "IoU",
        "acc.",
        "s",
        ""
    );
    for _ in 0..3 {
        text.push_str(&format!(" {:>6} {:>6} {:>6} ", "WT", "TC", "ET"));
    }
    text.push('\n');
    for case in &evaluation.cases {
        let mark = if case.seen_in_training { " *" } else { "" };
        text.push_str(&row(&format!("{}{mark}", case.id), &case.scores));
        text.push_str(&format!(" {:>6.1}\n", case.seconds));
    }
    if let Some(mean) = &evaluation.mean {
        text.push_str(&row("mean", mean));
        text.push('\n');
    }
    if evaluation.cases.iter().any(|case| case.seen_in_training) {
        text.push_str(
            "* the model was trained on this case: its scores say nothing about others\n",
        );
    }
    text
}

fn row(name: &str, scores: &Scores) -> String {
    let mut text = format!("{name:30}");
    for (regions, digits) in
        [(&scores.dice, 3), (&scores.hd95_mm, 1), (&scores.lesion_wise.dice, 3)]
    {
        let PerRegion { wt, tc, et } = regions;
        text.push_str(&format!(" {wt:>6.digits$} {tc:>6.digits$} {et:>6.digits$} "));
    }
    text.push_str(&format!(" {:>6.3} {:>6.4}", scores.iou_mean, scores.accuracy));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_seen_only_if_the_card_says_that_it_was_trained_on() {
        let data = "phantoms; cases trained on: a_1, a_12; cases held out: b";
        for (id, expected) in [("a_1", true), ("a_12", true), ("a", false), ("b", false)] {
            assert_eq!(names_case(data, id), expected, "{id}");
        }
        assert!(!names_case("", "a"));
    }

    #[test]
    fn a_folder_without_cases_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = cases(folder.path(), &[]).unwrap_err();
        assert!(error.to_string().contains("holds no case"), "{error}");
        assert!(cases(folder.path(), &["missing".to_owned()]).is_err());
    }

    #[test]
    fn the_table_shows_every_case_the_mean_and_what_was_seen() {
        let scores = || Scores::from(CaseScores { iou_mean: 0.5, ..CaseScores::default() });
        let line = |id: &str, seen_in_training| CaseLine {
            id: id.into(),
            seen_in_training,
            scores: scores(),
            seconds: 2.0,
        };
        let evaluation = Evaluation {
            model: ModelLine {
                name: "m".into(),
                weights_sha256: "ab".repeat(32),
                trained_on: "a".into(),
            },
            cases: vec![line("a", true), line("b", false)],
            mean: Some(scores()),
        };
        let text = table(&evaluation);
        for expected in ["a *", "\nb  ", "\nmean", "* the model was trained", "0.500"] {
            assert!(text.contains(expected), "{text}");
        }
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!(json["cases"][0]["dice"]["wt"], 0.0);
        assert_eq!(json["mean"]["iou_mean"], 0.5);
    }
}
