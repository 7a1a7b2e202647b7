//! The original's metrics of a whole batch of softmax probabilities.
//!
//! `g` is the one-hot truth, `p` the probabilities, both `[batch, class, x, y, z]`; for each class
//! `tp = Σ g p`, `fp = Σ p - tp`, `fn = Σ g - tp`, where sums run over all voxels **of the whole
//! batch**: the score of a batch is not the mean of the scores of its samples. `s` is
//! [`IOU_SMOOTHING`].
//!
//! The truth is given as labels, of which `g` is made: 3 and 4 are one class.
//!
//! # Source
//! `IOUScore`, `FScore` of the library `segmentation_models_3D`; `MeanIoU` of Keras.

use ndarray::{ArrayView4, ArrayView5, Axis};

use super::{IOU_SMOOTHING, iou_mean};
use crate::{
    MetricsError,
    overlap::{CLASS_COUNT, Confusion},
};

/// Why a batch could not be scored.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Truth and prediction hold different numbers of samples.
    #[error("truth has {truth} samples and the prediction {predicted}; give the same batch twice")]
    Samples {
        /// Samples of the truth.
        truth: usize,
        /// Samples of the prediction.
        predicted: usize,
    },
    /// The samples cannot be compared: [`MetricsError::Classes`], [`MetricsError::Shape`],
    /// [`MetricsError::Empty`] or [`MetricsError::Label`].
    #[error(transparent)]
    Masks(#[from] MetricsError),
}

/// What is counted of a probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// The probability itself, as in the loss.
    Share,
    /// 1 where the probability is **strictly** above this, else 0: a voxel may belong to no class.
    Above(f64),
}

/// Sums over the voxels of a batch for one class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    /// Σ g p.
    both: f64,
    /// Σ p.
    predicted: f64,
    /// Σ g.
    truth: f64,
}

/// Returns the mean over classes of `(tp + s) / (tp + fp + fn + s)`: the original's `IOUScore`.
///
/// # Shapes
/// - `truth`: `[batch, x, y, z]`, labels 0, 1, 2, 3 or 4
/// - `probabilities`: `[batch, 4, x, y, z]`, softmax
///
/// # Errors
/// [`BatchError::Samples`] if truth and prediction hold different numbers of samples, else
/// [`BatchError::Masks`].
pub fn iou_score<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
    count: Count,
) -> Result<f64, BatchError> {
    let classes = sums(truth, probabilities, count)?.map(|class| {
        (class.both + IOU_SMOOTHING) / (class.predicted + class.truth - class.both + IOU_SMOOTHING)
    });
    Ok(mean(classes))
}

/// Returns the mean over classes of `(2 tp + s) / (2 tp + fn + fp + s)`: the original's `FScore`.
///
/// Of shares it is what the original's Dice loss takes from 1, after a weight of a quarter.
///
/// # Shapes
/// As in [`iou_score`].
///
/// # Errors
/// As [`iou_score`].
pub fn f_score<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
    count: Count,
) -> Result<f64, BatchError> {
    let classes = sums(truth, probabilities, count)?.map(|class| {
        (2.0 * class.both + IOU_SMOOTHING) / (class.predicted + class.truth + IOU_SMOOTHING)
    });
    Ok(mean(classes))
}

/// Returns the share of voxels, background included, whose class of largest probability is right.
///
/// Of classes with the same probability the first is taken.
///
/// # Shapes
/// As in [`iou_score`].
///
/// # Errors
/// As [`iou_score`].
pub fn accuracy<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
) -> Result<f64, BatchError> {
    Ok(confusion(truth, probabilities)?.accuracy())
}

/// Returns the mean `IoU` of the classes of largest probability, without smoothing.
///
/// The original's final check: one [`confusion`] matrix of the batch, all four classes, background
/// included; a class that occurs in neither truth nor prediction is left out of the mean.
///
/// # Shapes
/// As in [`iou_score`].
///
/// # Errors
/// As [`iou_score`].
pub fn mean_iou<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
) -> Result<f64, BatchError> {
    Ok(iou_mean(&confusion(truth, probabilities)?))
}

/// Counts each true class and class of largest probability; of equals the first is taken.
///
/// # Shapes
/// As in [`iou_score`].
///
/// # Errors
/// As [`iou_score`].
pub fn confusion<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
) -> Result<Confusion, BatchError> {
    check(truth, &probabilities)?;
    let mut confusion = Confusion::default();
    for (labels, sample) in truth.outer_iter().zip(probabilities.outer_iter()) {
        for (&label, column) in labels.iter().zip(sample.lanes(Axis(0))) {
            let mut best = (0, f64::NEG_INFINITY);
            for (class, &probability) in column.iter().enumerate() {
                let probability = probability.into();
                if probability > best.1 {
                    best = (class, probability);
                }
            }
            confusion.counts[usize::from(label.min(3))][best.0] += 1;
        }
    }
    Ok(confusion)
}

fn sums<T: Copy + Into<f64>>(
    truth: ArrayView4<'_, u8>,
    probabilities: ArrayView5<'_, T>,
    count: Count,
) -> Result<[Sums; CLASS_COUNT], BatchError> {
    check(truth, &probabilities)?;
    let mut sums = [Sums::default(); CLASS_COUNT];
    for (labels, sample) in truth.outer_iter().zip(probabilities.outer_iter()) {
        for (class, (channel, sums)) in sample.outer_iter().zip(&mut sums).enumerate() {
            for (&label, &probability) in labels.iter().zip(&channel) {
                let probability = probability.into();
                let counted = match count {
                    Count::Share => probability,
                    Count::Above(threshold) => f64::from(u8::from(probability > threshold)),
                };
                sums.predicted += counted;
                if usize::from(label.min(3)) == class {
                    sums.truth += 1.0;
                    sums.both += counted;
                }
            }
        }
    }
    Ok(sums)
}

fn check<T>(
    truth: ArrayView4<'_, u8>,
    probabilities: &ArrayView5<'_, T>,
) -> Result<(), BatchError> {
    let (batch, x, y, z) = truth.dim();
    let (samples, classes, px, py, pz) = probabilities.dim();
    if samples != batch {
        return Err(BatchError::Samples { truth: batch, predicted: samples });
    }
    if classes != CLASS_COUNT {
        return Err(MetricsError::Classes { found: classes, expected: CLASS_COUNT }.into());
    }
    if [x, y, z] != [px, py, pz] {
        return Err(MetricsError::Shape { truth: [x, y, z], predicted: [px, py, pz] }.into());
    }
    if truth.is_empty() {
        return Err(MetricsError::Empty.into());
    }
    match truth.iter().find(|&&label| label > 4) {
        Some(&value) => Err(MetricsError::Label { value }.into()),
        None => Ok(()),
    }
}

fn mean(classes: [f64; CLASS_COUNT]) -> f64 {
    classes.iter().sum::<f64>() / CLASS_COUNT as f64
}
