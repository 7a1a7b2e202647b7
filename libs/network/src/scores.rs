//! Scores beside the loss: of a training batch, and of whole cases in a validation.

use ndarray::{Array3, Array4};
use neurotriage_domain::TumourRegion;
use neurotriage_metrics::{
    original::iou_mean,
    overlap::{Confusion, confusion},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    Architecture, NetworkError, RegionDice,
    layers::sides,
    segment::{classes_to_labels, regions_to_labels},
};

/// How the masks of one training batch were, before its step and with dropout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchScores {
    /// Share of voxels whose class is right, background included, `[0, 1]`.
    pub accuracy: f64,
    /// Mean intersection over union of the four classes, background included, that truth or
    /// prediction hold, `[0, 1]`.
    pub iou: f64,
    /// Dice of the three regions over all voxels of the batch.
    pub dice: RegionDice,
}

/// How whole held-out cases were marked, mean over cases; their Dice is in the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationScores {
    /// What training minimises, of the finest output alone: training adds coarser ones.
    pub loss: f64,
    /// As [`BatchScores::accuracy`].
    pub accuracy: f64,
    /// As [`BatchScores::iou`].
    pub iou: f64,
}

/// Returns the scores of a batch.
///
/// # Shapes
/// - `logits`: `[batch, out_channel, x, y, z]`
/// - `labels`: `[batch, x, y, z]`, `u8`
pub(crate) fn batch_scores(
    architecture: Architecture,
    logits: &Tensor,
    labels: &Tensor,
) -> Result<BatchScores, NetworkError> {
    let _guard = tch::no_grad_guard();
    let counts = confused(architecture, logits, labels)?;
    Ok(BatchScores {
        accuracy: counts.accuracy(),
        iou: iou_mean(&counts),
        dice: region_dice(&counts),
    })
}

/// Returns the Dice of the three regions.
pub(crate) fn region_dice(counts: &Confusion) -> RegionDice {
    let [wt, tc, et] = TumourRegion::ALL.map(|region| counts.region(region).dice());
    RegionDice { wt, tc, et }
}

fn confused(
    architecture: Architecture,
    logits: &Tensor,
    labels: &Tensor,
) -> Result<Confusion, NetworkError> {
    let [b, c, x, y, z] = sides("network output", logits)?;
    let dim = [b * x, y, z].map(|side| side.unsigned_abs() as usize);
    let [wide, deep, high] = dim;
    let output = match architecture {
        Architecture::Residual => logits.f_sigmoid()?,
        Architecture::Seed => logits.shallow_clone(),
    };
    // The samples of a batch stand beside each other along x.
    let output = output.f_detach()?.f_to(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let output = output.f_permute([1, 0, 2, 3, 4])?.f_contiguous()?;
    let mut values = vec![0.0_f32; output.numel()];
    output.f_copy_data(&mut values, output.numel())?;
    let labels = labels.f_to(Device::Cpu)?.f_contiguous()?;
    let mut truth = vec![0_u8; labels.numel()];
    labels.f_copy_data(&mut truth, labels.numel())?;
    let channels = c.unsigned_abs() as usize;
    let failed = |_| NetworkError::Shape {
        name: "labels",
        expected: format!("{dim:?} voxels"),
        got: labels.size(),
    };
    let output = Array4::from_shape_vec((channels, wide, deep, high), values).map_err(failed)?;
    let truth = Array3::from_shape_vec((wide, deep, high), truth).map_err(failed)?;
    let found = match architecture {
        Architecture::Residual => regions_to_labels(output.view()),
        Architecture::Seed => classes_to_labels(output.view()),
    };
    Ok(confusion(truth.view(), found.view())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], shape: [i64; 5]) -> Tensor {
        Tensor::f_from_slice(values).unwrap().f_reshape(shape).unwrap()
    }

    #[test]
    fn scores_of_a_batch_count_every_voxel_of_every_sample() {
        // Two samples of two voxels: truth 0, 2 and 4, 1; found 0, 2 and 4, 2.
        let labels = Tensor::f_from_slice(&[0_u8, 2, 4, 1]).unwrap();
        let labels = labels.f_reshape([2, 2, 1, 1]).unwrap();
        let (yes, no) = (3.0, -3.0);
        let regions = [no, yes, no, no, no, no, yes, yes, yes, no, yes, no];
        let classes =
            [[yes, no, no, no, no, yes, no, no], [no, no, no, no, no, yes, yes, no]].concat();
        for (architecture, logits) in [
            (Architecture::Residual, tensor(&regions, [2, 3, 2, 1, 1])),
            (Architecture::Seed, tensor(&classes, [2, 4, 2, 1, 1])),
        ] {
            let scores = batch_scores(architecture, &logits, &labels).unwrap();
            assert_eq!(scores.accuracy, 0.75, "{architecture:?}");
            // Background 1, necrosis 0, oedema 1/2, enhancing 1.
            assert_eq!(scores.iou, 0.625, "{architecture:?}");
            assert_eq!((scores.dice.wt, scores.dice.et), (1.0, 1.0));
            assert!((scores.dice.tc - 2.0 / 3.0).abs() < 1e-12);
        }
    }
}
