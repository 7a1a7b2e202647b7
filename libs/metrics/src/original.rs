//! The scores that the original project reported, computed as it did.
//!
//! Four classes with background; label 4 counts as class 3. Here single cases; [`mod@batch`] has
//! the definitions on batches of probabilities, as training in the original used them.

pub mod batch;

use ndarray::{ArrayView3, ArrayView4, Zip};

use crate::{
    MetricsError,
    overlap::{CLASS_COUNT, Confusion},
};

/// Added above and below each smoothed `IoU`, so that a class absent from both scores 1.
pub const IOU_SMOOTHING: f64 = 1e-5;

/// A class is predicted where its probability is strictly above this.
pub const IOU_THRESHOLD: f32 = 0.5;

/// Returns the mean over four classes of `(tp + s) / (tp + fp + fn + s)`, `s` = [`IOU_SMOOTHING`].
///
/// This is the original's `IOUScore(0.5)` when the prediction is one-hot already.
pub fn iou_score(confusion: &Confusion) -> f64 {
    let sum: f64 = (0..CLASS_COUNT)
        .map(|class| {
            let counts = confusion.class(class);
            let union = counts.true_positive + counts.false_positive + counts.false_negative;
            smoothed(counts.true_positive, union)
        })
        .sum();
    sum / CLASS_COUNT as f64
}

/// Returns the mean `IoU` over the classes that truth or prediction holds, unsmoothed.
///
/// This is the final check of the original, on the class of highest probability; a class in
/// neither is left out of the mean.
pub fn iou_mean(confusion: &Confusion) -> f64 {
    let ious: Vec<f64> = (0..CLASS_COUNT)
        .map(|class| confusion.class(class))
        .filter(|counts| counts.truth() + counts.predicted() > 0)
        .map(|counts| counts.iou())
        .collect();
    if ious.is_empty() { 1.0 } else { ious.iter().sum::<f64>() / ious.len() as f64 }
}

/// Returns the original's `IOUScore(0.5)` of one case: as [`iou_score`], but a voxel belongs to
/// every class whose probability is strictly above [`IOU_THRESHOLD`], so perhaps to none.
///
/// # Shapes
/// - `truth`: `[x, y, z]`, labels 0, 1, 2, 3 or 4
/// - `probabilities`: `[4, x, y, z]`, softmax
///
/// # Errors
/// [`MetricsError::Classes`], [`MetricsError::Shape`], [`MetricsError::Empty`] or
/// [`MetricsError::Label`].
pub fn iou_score_of_probabilities(
    truth: ArrayView3<'_, u8>,
    probabilities: ArrayView4<'_, f32>,
) -> Result<f64, MetricsError> {
    let (classes, px, py, pz) = probabilities.dim();
    if classes != CLASS_COUNT {
        return Err(MetricsError::Classes { found: classes, expected: CLASS_COUNT });
    }
    let (x, y, z) = truth.dim();
    if (x, y, z) != (px, py, pz) {
        return Err(MetricsError::Shape { truth: [x, y, z], predicted: [px, py, pz] });
    }
    if truth.is_empty() {
        return Err(MetricsError::Empty);
    }
    if let Some(&value) = truth.iter().find(|&&label| label > 4) {
        return Err(MetricsError::Label { value });
    }
    let mut sum = 0.0;
    for (class, channel) in probabilities.outer_iter().enumerate() {
        let (mut both, mut either) = (0_u64, 0_u64);
        Zip::from(&truth).and(&channel).for_each(|&label, &probability| {
            let in_truth = usize::from(label.min(3)) == class;
            let in_prediction = probability > IOU_THRESHOLD;
            both += u64::from(in_truth && in_prediction);
            either += u64::from(in_truth || in_prediction);
        });
        sum += smoothed(both, either);
    }
    Ok(sum / CLASS_COUNT as f64)
}

fn smoothed(intersection: u64, union: u64) -> f64 {
    (intersection as f64 + IOU_SMOOTHING) / (union as f64 + IOU_SMOOTHING)
}
