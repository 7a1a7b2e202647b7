//! Scores of a network on held-out cases.

use ndarray::Axis;
use neurotriage_domain::{Modality, TumourRegion};
use neurotriage_metrics::{original::iou_score_of_probabilities, overlap::confusion};
use tch::Device;

use crate::{
    Architecture, CaseScores, Model, ModelCard, NetworkError, RegionDice, SeedScores,
    SegmentOptions, TrainControl, ValidationCase, ValidationReport,
    network::Network,
    parameters::Parameters,
    predict::{Predictor, Watch},
    segment::{classes_to_labels, regions_to_labels},
};

/// Returns the scores of a model on whole cases, without repairs of the mask, or nothing if
/// `control` ended it or there is no case.
///
/// # Errors
/// As [`crate::segment()`].
pub fn evaluate(
    model: &Model,
    cases: &[ValidationCase],
    control: &TrainControl,
) -> Result<Option<ValidationReport>, NetworkError> {
    let card = model.card();
    let parts = (&model.network, &model.parameters, model.device);
    validate(parts, card, card.steps, cases, control)
}

/// Returns the scores of weights that are not yet a model.
pub(crate) fn validate(
    (network, parameters, device): (&Network, &Parameters, Device),
    card: &ModelCard,
    step: u64,
    cases: &[ValidationCase],
    control: &TrainControl,
) -> Result<Option<ValidationReport>, NetworkError> {
    let predictor = Predictor { network, parameters, device };
    let options = SegmentOptions::for_model(card);
    let mut scores = Vec::with_capacity(cases.len());
    for case in cases {
        let (mut ignore, cancel) = (|_, _| (), || control.is_cancelled());
        let mut watch = Watch { progress: &mut ignore, cancel: &cancel };
        match score(predictor, card, case, &options, &mut watch) {
            Ok(found) => scores.push(found),
            Err(NetworkError::Cancelled) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let count = scores.len() as f64;
    if scores.is_empty() {
        return Ok(None);
    }
    let mean = |pick: fn(&RegionDice) -> f64| {
        scores.iter().map(|case| pick(&case.dice)).sum::<f64>() / count
    };
    let mean = RegionDice { wt: mean(|d| d.wt), tc: mean(|d| d.tc), et: mean(|d| d.et) };
    Ok(Some(ValidationReport { step, mean, cases: scores }))
}

fn score(
    predictor: Predictor<'_>,
    card: &ModelCard,
    case: &ValidationCase,
    options: &SegmentOptions,
    watch: &mut Watch<'_>,
) -> Result<CaseScores, NetworkError> {
    let (x, y, z) = case.labels.dim();
    if case.image.shape() != [Modality::ALL.len(), x, y, z] {
        return Err(NetworkError::Shape {
            name: "validation case",
            expected: format!("[{}, {x}, {y}, {z}]", Modality::ALL.len()),
            got: case.image.shape().iter().map(|&side| side as i64).collect(),
        });
    }
    let indices: Vec<usize> = card.channels.iter().map(|modality| modality.channel()).collect();
    let image = case.image.select(Axis(0), &indices);
    let output = predictor.probabilities(image.view(), options, watch)?;
    let truth = case.labels.view();
    let (labels, seed_iou) = match card.network.architecture {
        Architecture::Residual => (regions_to_labels(output.view()), None),
        Architecture::Seed => {
            let iou = iou_score_of_probabilities(truth, output.view())?;
            (classes_to_labels(output.view()), Some(iou))
        }
    };
    let counts = confusion(truth, labels.view())?;
    let [wt, tc, et] = TumourRegion::ALL.map(|region| counts.region(region).dice());
    let seed = seed_iou.map(|iou| SeedScores { iou, accuracy: counts.accuracy() });
    Ok(CaseScores { name: case.name.clone(), dice: RegionDice { wt, tc, et }, seed })
}
