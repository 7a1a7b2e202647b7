//! Ratios made of voxel counts.

use ndarray::{ArrayView3, Zip};
use neurotriage_domain::{TumourRegion, VoxelSpacing};

use crate::MetricsError;

/// Classes of a mask: background, necrotic core, oedema, enhancing.
pub const CLASS_COUNT: usize = 4;

/// Voxels of truth class `t` that were predicted as class `p`: `counts[t][p]`.
///
/// Class 3 is enhancing tumour, whether the mask said 3 or 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// The counts, truth first.
    pub counts: [[u64; CLASS_COUNT]; CLASS_COUNT],
}

/// Returns the class index of a mask label: 0, 1, 2 as they are; 3 and 4 are 3.
fn class_index(label: u8) -> Option<usize> {
    match label {
        0..=2 => Some(usize::from(label)),
        3 | 4 => Some(3),
        _ => None,
    }
}

/// Returns the mask label of a class index.
const CLASS_LABELS: [u8; CLASS_COUNT] = [0, 1, 2, 4];

/// Counts every pair of labels in one pass.
///
/// # Shapes
/// - `truth`, `predicted`: `[x, y, z]`, labels 0, 1, 2, 3 or 4
///
/// # Errors
/// [`MetricsError::Shape`], [`MetricsError::Empty`] or [`MetricsError::Label`].
pub fn confusion(
    truth: ArrayView3<'_, u8>,
    predicted: ArrayView3<'_, u8>,
) -> Result<Confusion, MetricsError> {
    if truth.dim() != predicted.dim() {
        let ([tx, ty, tz], [px, py, pz]) = (dim(&truth), dim(&predicted));
        return Err(MetricsError::Shape { truth: [tx, ty, tz], predicted: [px, py, pz] });
    }
    if truth.is_empty() {
        return Err(MetricsError::Empty);
    }
    let mut confusion = Confusion::default();
    let mut unknown = None;
    Zip::from(&truth).and(&predicted).for_each(|&t, &p| match (class_index(t), class_index(p)) {
        (Some(t), Some(p)) => confusion.counts[t][p] += 1,
        (None, _) => unknown = Some(t),
        (_, None) => unknown = Some(p),
    });
    match unknown {
        Some(value) => Err(MetricsError::Label { value }),
        None => Ok(confusion),
    }
}

fn dim(array: &ArrayView3<'_, u8>) -> [usize; 3] {
    let (x, y, z) = array.dim();
    [x, y, z]
}

impl Confusion {
    /// Returns the counts of one region against everything else.
    pub fn region(&self, region: TumourRegion) -> Counts {
        let mut counts = Counts::default();
        for (t, row) in self.counts.iter().enumerate() {
            for (p, &voxels) in row.iter().enumerate() {
                let inside = (region.contains(CLASS_LABELS[t]), region.contains(CLASS_LABELS[p]));
                match inside {
                    (true, true) => counts.true_positive += voxels,
                    (false, true) => counts.false_positive += voxels,
                    (true, false) => counts.false_negative += voxels,
                    (false, false) => counts.true_negative += voxels,
                }
            }
        }
        counts
    }

    /// Returns the counts of one class, `0..4`, against the others.
    pub fn class(&self, class: usize) -> Counts {
        let row = self.counts[class].iter().sum::<u64>();
        let column = self.counts.iter().map(|row| row[class]).sum::<u64>();
        let true_positive = self.counts[class][class];
        Counts {
            true_positive,
            false_positive: column - true_positive,
            false_negative: row - true_positive,
            true_negative: self.voxels() + true_positive - row - column,
        }
    }

    /// Returns the number of voxels compared.
    pub fn voxels(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Returns the share of voxels, background included, whose class is right.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..CLASS_COUNT).map(|class| self.counts[class][class]).sum();
        ratio_or_one(right, self.voxels())
    }
}

/// Voxels of one region by whether truth and prediction hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In both.
    pub true_positive: u64,
    /// In the prediction alone.
    pub false_positive: u64,
    /// In the truth alone.
    pub false_negative: u64,
    /// In neither.
    pub true_negative: u64,
}

impl Counts {
    /// Returns `2 tp / (2 tp + fp + fn)`; 1 if the region is in neither.
    pub fn dice(&self) -> f64 {
        let both = 2 * self.true_positive;
        ratio_or_one(both, both + self.false_positive + self.false_negative)
    }

    /// Returns `tp / (tp + fp + fn)`; 1 if the region is in neither.
    pub fn iou(&self) -> f64 {
        let union = self.true_positive + self.false_positive + self.false_negative;
        ratio_or_one(self.true_positive, union)
    }

    /// Returns `tp / (tp + fn)`, the share of the truth that was found; 1 if there was none.
    pub fn sensitivity(&self) -> f64 {
        ratio_or_one(self.true_positive, self.truth())
    }

    /// Returns `tn / (tn + fp)`; 1 if the truth fills the grid.
    pub fn specificity(&self) -> f64 {
        ratio_or_one(self.true_negative, self.true_negative + self.false_positive)
    }

    /// Returns `tp / (tp + fp)`, the share of the prediction that is right; 1 if it is empty.
    pub fn precision(&self) -> f64 {
        ratio_or_one(self.true_positive, self.predicted())
    }

    /// Returns the voxels of the truth.
    pub fn truth(&self) -> u64 {
        self.true_positive + self.false_negative
    }

    /// Returns the voxels of the prediction.
    pub fn predicted(&self) -> u64 {
        self.true_positive + self.false_positive
    }

    /// Returns predicted minus true volume, in millilitres: above zero means too large.
    pub fn volume_error_ml(&self, spacing: VoxelSpacing) -> f64 {
        volume_ml(self.predicted(), spacing) - volume_ml(self.truth(), spacing)
    }

    /// Returns predicted minus true volume as a share of the true one: -1 if all was missed, 0 if
    /// both are empty, and 1, the mirror of a miss, if the truth alone is empty.
    pub fn volume_error_relative(&self) -> f64 {
        let (truth, predicted) = (self.truth() as f64, self.predicted() as f64);
        if self.truth() == 0 { predicted.min(1.0) } else { (predicted - truth) / truth }
    }
}

/// Returns the volume of `voxels` voxels, in millilitres.
pub fn volume_ml(voxels: u64, spacing: VoxelSpacing) -> f64 {
    voxels as f64 * spacing.voxel_volume_mm3() / 1000.0
}

fn ratio_or_one(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
