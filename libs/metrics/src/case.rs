//! Every score of one case at once.

use ndarray::ArrayView3;
use neurotriage_domain::VoxelSpacing;
use serde::{Deserialize, Serialize};

use crate::{
    MetricsError, PerRegion,
    lesion_wise::lesion_wise,
    original::{iou_mean, iou_score},
    overlap::{confusion, volume_ml},
    surface::{absent_distance_mm, surface_distances},
};

/// Lesion-wise scores of one case; see [`crate::lesion_wise`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LesionWiseScores {
    /// Mean Dice over lesions and false components.
    pub dice: PerRegion<f64>,
    /// Mean HD95 over the same, in millimetres.
    pub hd95_mm: PerRegion<f64>,
    /// True lesions found.
    pub found: PerRegion<f64>,
    /// True lesions missed.
    pub missed: PerRegion<f64>,
    /// Predicted components that touch no true lesion.
    pub false_components: PerRegion<f64>,
}

/// Every score of one case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseScores {
    /// Dice.
    pub dice: PerRegion<f64>,
    /// Intersection over union.
    pub iou: PerRegion<f64>,
    /// Share of the truth that was found.
    pub sensitivity: PerRegion<f64>,
    /// Share of what is not tumour that was left alone.
    pub specificity: PerRegion<f64>,
    /// Share of the prediction that is right.
    pub precision: PerRegion<f64>,
    /// 95th percentile Hausdorff distance, in millimetres: the larger of the two directed ones.
    pub hd95_mm: PerRegion<f64>,
    /// 95th percentile of the distances of both directions together, in millimetres: what some
    /// programs call HD95.
    pub hd95_pooled_mm: PerRegion<f64>,
    /// Average symmetric surface distance, in millimetres.
    pub surface_distance_mm: PerRegion<f64>,
    /// True volume, in millilitres.
    pub volume_truth_ml: PerRegion<f64>,
    /// Predicted volume, in millilitres.
    pub volume_predicted_ml: PerRegion<f64>,
    /// Predicted minus true volume, in millilitres.
    pub volume_error_ml: PerRegion<f64>,
    /// The same as a share of the true volume; see [`crate::overlap::Counts::volume_error_relative`].
    pub volume_error_relative: PerRegion<f64>,
    /// Scores by lesion.
    pub lesion_wise: LesionWiseScores,
    /// The original's smoothed `IoU` over four classes, of the most probable class.
    pub iou_score: f64,
    /// The original's final check: mean `IoU` of the classes present, background included.
    pub iou_mean: f64,
    /// Share of voxels, background included, whose class is right.
    pub accuracy: f64,
}

/// Scores one case.
///
/// # Shapes
/// - `truth`, `predicted`: `[x, y, z]` on one grid, labels 0, 1, 2, 3 or 4
///
/// # Errors
/// [`MetricsError::Shape`], [`MetricsError::Empty`] or [`MetricsError::Label`].
pub fn score_case(
    truth: ArrayView3<'_, u8>,
    predicted: ArrayView3<'_, u8>,
    spacing: VoxelSpacing,
) -> Result<CaseScores, MetricsError> {
    let confusion = confusion(truth, predicted)?;
    let counts = PerRegion::from_fn(|region| confusion.region(region));
    let mut scores = CaseScores {
        dice: counts.map(|counts| counts.dice()),
        iou: counts.map(|counts| counts.iou()),
        sensitivity: counts.map(|counts| counts.sensitivity()),
        specificity: counts.map(|counts| counts.specificity()),
        precision: counts.map(|counts| counts.precision()),
        volume_truth_ml: counts.map(|counts| volume_ml(counts.truth(), spacing)),
        volume_predicted_ml: counts.map(|counts| volume_ml(counts.predicted(), spacing)),
        volume_error_ml: counts.map(|counts| counts.volume_error_ml(spacing)),
        volume_error_relative: counts.map(|counts| counts.volume_error_relative()),
        iou_score: iou_score(&confusion),
        iou_mean: iou_mean(&confusion),
        accuracy: confusion.accuracy(),
        ..CaseScores::default()
    };
    let pairs = PerRegion::from_fn(|region| {
        let inside = |label: &u8| region.contains(*label);
        (truth.map(inside), predicted.map(inside))
    });
    let surfaces = pairs.map(|(truth, predicted)| {
        match surface_distances(truth.view(), predicted.view(), spacing) {
            Some(distances) => {
                [distances.hd95_mm(), distances.hd95_pooled_mm(), distances.average_mm()]
            }
            None => [absent_distance_mm(truth.view(), predicted.view()); 3],
        }
    });
    scores.hd95_mm = surfaces.map(|distances_mm| distances_mm[0]);
    scores.hd95_pooled_mm = surfaces.map(|distances_mm| distances_mm[1]);
    scores.surface_distance_mm = surfaces.map(|distances_mm| distances_mm[2]);
    let by_lesion =
        pairs.map(|(truth, predicted)| lesion_wise(truth.view(), predicted.view(), spacing));
    scores.lesion_wise = LesionWiseScores {
        dice: by_lesion.map(|lesions| lesions.dice),
        hd95_mm: by_lesion.map(|lesions| lesions.hd95_mm),
        found: by_lesion.map(|lesions| lesions.found as f64),
        missed: by_lesion.map(|lesions| lesions.missed as f64),
        false_components: by_lesion.map(|lesions| lesions.false_components as f64),
    };
    Ok(scores)
}

impl CaseScores {
    /// Returns the scores of which each is `of` the values of that score in all cases, in order.
    pub fn reduce(cases: &[Self], of: &mut dyn FnMut(&[f64]) -> f64) -> Self {
        let mut one = |get: &dyn Fn(&Self) -> f64| -> f64 {
            let values: Vec<f64> = cases.iter().map(get).collect();
            of(&values)
        };
        let mut regions = |get: &dyn Fn(&Self) -> &PerRegion<f64>| -> PerRegion<f64> {
            PerRegion::from_fn(|region| one(&|case| *get(case).get(region)))
        };
        Self {
            dice: regions(&|case| &case.dice),
            iou: regions(&|case| &case.iou),
            sensitivity: regions(&|case| &case.sensitivity),
            specificity: regions(&|case| &case.specificity),
            precision: regions(&|case| &case.precision),
            hd95_mm: regions(&|case| &case.hd95_mm),
            hd95_pooled_mm: regions(&|case| &case.hd95_pooled_mm),
            surface_distance_mm: regions(&|case| &case.surface_distance_mm),
            volume_truth_ml: regions(&|case| &case.volume_truth_ml),
            volume_predicted_ml: regions(&|case| &case.volume_predicted_ml),
            volume_error_ml: regions(&|case| &case.volume_error_ml),
            volume_error_relative: regions(&|case| &case.volume_error_relative),
            lesion_wise: LesionWiseScores {
                dice: regions(&|case| &case.lesion_wise.dice),
                hd95_mm: regions(&|case| &case.lesion_wise.hd95_mm),
                found: regions(&|case| &case.lesion_wise.found),
                missed: regions(&|case| &case.lesion_wise.missed),
                false_components: regions(&|case| &case.lesion_wise.false_components),
            },
            iou_score: one(&|case| case.iou_score),
            iou_mean: one(&|case| case.iou_mean),
            accuracy: one(&|case| case.accuracy),
        }
    }
}
