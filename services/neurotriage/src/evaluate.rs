//! Scores a model on cases with known truth, or one mask against another.
//!
//! [`run`] finds the cases, segments and scores each, and hands the scores to `result` (JSON),
//! `table` (terminal) and `page` (HTML); `pair` compares two mask files without a model.

mod cases;
mod page;
mod pair;
mod pictures;
mod result;
mod table;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, bail};
use neurotriage_anatomy::{LocaliseOptions, Space, localise};
use neurotriage_imaging::{
    CaseFiles, Mask, Prepared,
    nifti::{write_atomically, write_mask_gz},
    prepare,
};
use neurotriage_metrics::score_case;
use neurotriage_network::{
    Model, ModelCard, OutcomeEvidence, SegmentOptions, Segmentation, StudyCondition, StudySpace,
    decide_outcome, segment,
};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use self::{
    pictures::{Gallery, draw},
    result::{Answer, CaseLine, Evaluation, Failure, ModelLine},
};
use crate::{
    cli::EvaluateArgs,
    model,
    output::{peak_memory_bytes, print},
    progress::Progress,
    train::TRAINED_ON,
};

/// Scores what was asked for, prints a table, and writes JSON, HTML and masks where asked.
///
/// # Errors
/// If a case lacks a file or its truth, the model can't be read, or a file can't be written; with
/// `--keep-going` only after the other cases were scored and written.
pub fn run(runtime: &Runtime, args: &EvaluateArgs) -> anyhow::Result<()> {
    make_folders(args)?;
    if let (Some(truth), Some(prediction)) = (&args.truth, &args.prediction) {
        let evaluation = pair::evaluate(truth, prediction)?;
        write_json(args, &evaluation)?;
        return print(&table::render(&evaluation));
    }
    let root = args.cases.as_deref().context("name a folder of cases with --cases")?;
    let (cases, mut failed) = cases::find(root, &args.only, args.keep_going)?;
    let model = model::load(runtime, &args.model)?;
    let mut gallery = Gallery::new(args.html.is_some());
    let mut lines = Vec::new();
    let mut progress = Progress::on_stderr();
    progress.step("evaluate");
    for (done, case) in cases.iter().enumerate() {
        progress.update(done as u64, cases.len() as u64);
        progress.message(&case.id);
        match evaluate_case(&model, case, args.masks.as_deref(), &mut gallery) {
            Ok(line) => lines.push(line),
            Err(error) if args.keep_going => {
                failed.push(Failure { id: case.id.clone(), error: format!("{error:#}") });
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "evaluate case {}; with --keep-going the other cases are scored",
                        case.id
                    )
                });
            }
        }
    }
    progress.finish();
    let evaluation = Evaluation::of_model(model_line(model.card()), lines, failed);
    write_json(args, &evaluation)?;
    if let Some(path) = &args.html {
        let html = page::render(&evaluation, gallery.pictures(), OffsetDateTime::now_utc())?;
        write_atomically(path, html.as_bytes())?;
    }
    print(&table::render(&evaluation))?;
    match evaluation.failed.len() {
        0 => Ok(()),
        count => bail!("{count} of {} cases failed; see above", cases.len().max(count)),
    }
}

/// Makes the folders of the output files, so that a typing error is found before hours of work.
fn make_folders(args: &EvaluateArgs) -> anyhow::Result<()> {
    let parents = [&args.json, &args.html].into_iter().flatten().filter_map(|path| path.parent());
    let folders = parents.chain(args.masks.as_deref());
    for folder in folders.filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)
            .with_context(|| format!("create folder {}", folder.display()))?;
    }
    Ok(())
}

fn write_json(args: &EvaluateArgs, evaluation: &Evaluation) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(evaluation)? + "\n";
        write_atomically(path, json.as_bytes())?;
    }
    Ok(())
}

fn model_line(card: &ModelCard) -> ModelLine {
    ModelLine {
        name: card.provenance.name.clone(),
        weights_sha256: card.weights_sha256.to_string(),
        trained_on: card.provenance.data.clone(),
        licence: card.provenance.licence.clone(),
        intended_use: card.intended_use.clone(),
    }
}

fn evaluate_case(
    model: &Model,
    case: &CaseFiles,
    masks: Option<&Path>,
    gallery: &mut Gallery,
) -> anyhow::Result<CaseLine> {
    let truth = case.read_truth().context("read truth")?.context("the truth file has gone")?;
    forget_peak_memory();
    let began = Instant::now();
    let study = case.read_study()?;
    let truth = study.align_mask(truth, "truth")?;
    let prepared = prepare(&study)?;
    let marked = mark(model, &prepared)?;
    let predicted = prepared.canonical_mask(&marked.labels)?;
    let seconds = began.elapsed().as_secs_f64();
    let peak_memory_mib = peak_memory_bytes().map(mib);
    if let Some(folder) = masks {
        let bytes = write_mask_gz(&prepared.restore_mask(&marked.labels)?)?;
        write_atomically(&folder.join(format!("{}.nii.gz", case.id)), &bytes)?;
    }
    let scores = score_case(truth.voxels.view(), predicted.voxels.view(), study.spacing())?;
    if gallery.is_wanted() {
        let slices = draw(&study, &truth, &predicted)?;
        gallery.add(&case.id, scores.dice.mean(), slices);
    }
    Ok(CaseLine {
        id: case.id.clone(),
        seen_in_training: names_case(&model.card().provenance.data, &case.id),
        tumour_in_truth: truth.voxels.iter().any(|&label| label != 0),
        answer: Some(answer(&prepared, &marked, &predicted)?),
        scores,
        seconds,
        peak_memory_mib,
    })
}

/// Returns what is said of the case's tumour, as the segmentation service says it.
fn answer(prepared: &Prepared, marked: &Segmentation, predicted: &Mask) -> anyhow::Result<Answer> {
    let space = match localise(predicted, &LocaliseOptions::default())?.space {
        Space::Sri24 | Space::Mni152 => StudySpace::Template,
        Space::Unknown => StudySpace::Foreign,
    };
    let evidence = OutcomeEvidence::of(marked, prepared.grid().affine.spacing());
    Ok(decide_outcome(&evidence, &StudyCondition::of(prepared, space)).into())
}

fn mark(model: &Model, prepared: &Prepared) -> anyhow::Result<Segmentation> {
    let options = SegmentOptions::for_model(model.card());
    Ok(segment(model, prepared.channels().view(), &options, &mut |_, _| (), &|| false)?)
}

/// Starts the count of the highest memory anew, so that each case has its own.
///
/// Linux alone does so, where it lets a process; elsewhere the count goes on from the cases before.
fn forget_peak_memory() {
    // 5 is "reset the peak resident set size" in proc(5). Where it is refused nothing is lost.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn mib(bytes: u64) -> f64 {
    const MIB: f64 = 1024.0 * 1024.0;
    (bytes as f64 / MIB).round()
}

/// Returns true if the card's words on data name the case among those trained on; see
/// [`crate::train`], which writes them.
fn names_case(data: &str, id: &str) -> bool {
    let trained_on = data.split(';').find_map(|part| part.trim().strip_prefix(TRAINED_ON));
    trained_on.is_some_and(|names| names.split(',').any(|name| name.trim() == id))
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
    fn memory_is_given_in_mebibytes() {
        assert_eq!(mib(3 * 1024 * 1024), 3.0);
        assert_eq!(mib(0), 0.0);
    }
}
