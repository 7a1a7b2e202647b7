//! Scores of a network on held-out cases.

use ndarray::{ArrayView3, ArrayView4, Axis};
use neurotriage_domain::Modality;
use neurotriage_metrics::{
    original::{iou_mean, iou_score_of_probabilities},
    overlap::confusion,
};
use tch::{Device, Tensor};

use crate::{
    Architecture, CaseScores, LossKind, Model, ModelCard, NetworkError, RegionDice, SeedScores,
    SegmentOptions, TrainControl, ValidationCase, ValidationReport, ValidationScores,
    loss::loss,
    network::Network,
    parameters::Parameters,
    postprocess::repair,
    predict::{Predictor, Watch, to_tensor},
    scores::region_dice,
    segment::{classes_to_labels, regions_to_labels},
};

/// Distance that probabilities of regions keep from 0 and 1 where the loss is taken of them.
const REGION_MARGIN: f64 = 1e-7;

/// Smallest probability of a class there: so small that a class in no voxel adds nothing to a sum.
const CLASS_MIN: f64 = 1e-12;

/// Returns the scores of a model on whole cases, or nothing if `control` ended it or there is no
/// case. Masks of the residual network are repaired as users get them; those of the original's
/// network are not, as the original repaired none.
///
/// # Errors
/// As [`crate::segment()`].
pub fn evaluate(
    model: &Model,
    cases: &[ValidationCase],
    control: &TrainControl,
) -> Result<Option<ValidationReport>, NetworkError> {
    let card = model.card();
    let parts = (&model.network, model.members.as_slice(), model.device);
    let judged = validate(parts, (card, None), card.steps, cases, control)?;
    Ok(judged.map(|judged| judged.report))
}

/// A validation.
pub(crate) struct Judged {
    /// For card and log.
    pub(crate) report: ValidationReport,
    /// For the log; only if a loss was asked for.
    pub(crate) scores: Option<ValidationScores>,
}

/// One case of a validation.
struct Scored {
    case: CaseScores,
    scores: Option<ValidationScores>,
}

/// Returns the scores of weights that are not yet a model; with the loss, if one is named.
pub(crate) fn validate(
    (network, members, device): (&Network, &[Parameters], Device),
    (card, loss): (&ModelCard, Option<LossKind>),
    step: u64,
    cases: &[ValidationCase],
    control: &TrainControl,
) -> Result<Option<Judged>, NetworkError> {
    let predictor = Predictor { network, members, device };
    let options = SegmentOptions::for_model(card);
    let mut scored = Vec::with_capacity(cases.len());
    for case in cases {
        let (mut ignore, cancel) = (|_, _| (), || control.is_cancelled());
        let mut watch = Watch { progress: &mut ignore, cancel: &cancel };
        match score(predictor, (card, loss), case, &options, &mut watch) {
            Ok(found) => scored.push(found),
            Err(NetworkError::Cancelled) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if scored.is_empty() {
        return Ok(None);
    }
    let dice =
        |pick: fn(&RegionDice) -> f64| mean(scored.iter().map(|scored| pick(&scored.case.dice)));
    let dice = RegionDice { wt: dice(|d| d.wt), tc: dice(|d| d.tc), et: dice(|d| d.et) };
    let scores: Option<Vec<ValidationScores>> = scored.iter().map(|scored| scored.scores).collect();
    let scores = scores.map(|scores| ValidationScores {
        loss: mean(scores.iter().map(|scores| scores.loss)),
        accuracy: mean(scores.iter().map(|scores| scores.accuracy)),
        iou: mean(scores.iter().map(|scores| scores.iou)),
    });
    let cases = scored.into_iter().map(|scored| scored.case).collect();
    Ok(Some(Judged { report: ValidationReport { step, mean: dice, cases }, scores }))
}

/// Returns the mean of at least one value.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn score(
    predictor: Predictor<'_>,
    (card, loss_kind): (&ModelCard, Option<LossKind>),
    case: &ValidationCase,
    options: &SegmentOptions,
    watch: &mut Watch<'_>,
) -> Result<Scored, NetworkError> {
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
        Architecture::Residual => {
            let mut labels = regions_to_labels(output.view());
            repair(&mut labels, output.view(), &options.post_processing)?;
            (labels, None)
        }
        Architecture::Seed => {
            let iou = iou_score_of_probabilities(truth, output.view())?;
            (classes_to_labels(output.view()), Some(iou))
        }
    };
    let counts = confusion(truth, labels.view())?;
    let scores = match loss_kind {
        None => None,
        Some(kind) => Some(ValidationScores {
            loss: loss_of((card.network.architecture, kind), output.view(), truth)?,
            accuracy: counts.accuracy(),
            iou: iou_mean(&counts),
        }),
    };
    let seed = seed_iou.map(|iou| SeedScores { iou, accuracy: counts.accuracy() });
    let case = CaseScores { name: case.name.clone(), dice: region_dice(&counts), seed };
    Ok(Scored { case, scores })
}

/// Returns the loss of probabilities, `[out_channel, x, y, z]`.
fn loss_of(
    (architecture, kind): (Architecture, LossKind),
    probabilities: ArrayView4<'_, f32>,
    truth: ArrayView3<'_, u8>,
) -> Result<f64, NetworkError> {
    let _guard = tch::no_grad_guard();
    let probabilities = to_tensor(probabilities)?;
    let logits = match architecture {
        Architecture::Residual => probabilities.f_logit(REGION_MARGIN)?,
        Architecture::Seed => probabilities.f_clamp_min(CLASS_MIN)?.f_log()?,
    };
    let (x, y, z) = truth.dim();
    let labels: Vec<u8> = truth.iter().copied().collect();
    let labels = Tensor::f_from_slice(&labels)?.f_reshape([1, x as i64, y as i64, z as i64])?;
    Ok(loss(kind, &[logits], &labels)?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};

    use super::*;

    #[test]
    fn the_loss_of_a_case_is_that_of_its_probabilities() {
        let truth = Array3::from_shape_vec((2, 1, 1), vec![0_u8, 2]).unwrap();
        let even = Array4::from_elem((3, 2, 1, 1), 0.5_f32);
        // Entropy ln 2; Dice of WT (1 + s) / (2 + s), of TC and ET s / (1 + s), s = 10.
        let expected = 2.0_f64.ln() + 1.0 - (11.0 / 12.0 + 2.0 * 10.0 / 11.0) / 3.0;
        let got =
            loss_of((Architecture::Residual, LossKind::Region), even.view(), truth.view()).unwrap();
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        let mut sure = Array4::<f32>::zeros((4, 2, 1, 1));
        (sure[[0, 0, 0, 0]], sure[[2, 1, 0, 0]]) = (1.0, 1.0);
        let got =
            loss_of((Architecture::Seed, LossKind::Normalised), sure.view(), truth.view()).unwrap();
        assert!(got.abs() < 1e-4, "{got}");
    }
}
