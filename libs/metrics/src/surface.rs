//! Distances between the surfaces of two masks.
//!
//! A surface voxel is a voxel of the mask with at least one of its six face neighbours outside the
//! mask or outside the grid; distances run between voxel centres and are exact.

use ndarray::{Array3, ArrayView3};
use neurotriage_domain::VoxelSpacing;

use crate::{ABSENT_DISTANCE_MM, bounds::Bounds, distance::squared_distance_mm2};

/// Part of each directed list of distances that HD95 covers.
const ROBUST_QUANTILE: f64 = 0.95;

/// Distances between two surfaces, both ways.
#[derive(Clone, Debug)]
pub struct SurfaceDistances {
    /// From each surface voxel of the truth to the predicted surface, ascending, in millimetres.
    pub from_truth_mm: Vec<f64>,
    /// From each surface voxel of the prediction to the true surface, ascending, in millimetres.
    pub from_predicted_mm: Vec<f64>,
}

impl SurfaceDistances {
    /// Returns the 95th percentile Hausdorff distance: the larger of the two directed 95th
    /// percentiles, with linear interpolation between ranks, in millimetres.
    pub fn hd95_mm(&self) -> f64 {
        quantile(&self.from_truth_mm, ROBUST_QUANTILE)
            .max(quantile(&self.from_predicted_mm, ROBUST_QUANTILE))
    }

    /// Returns the 95th percentile of both lists taken together, in millimetres: what some programs
    /// call HD95. A long surface that fits can hide a short one that does not.
    pub fn hd95_pooled_mm(&self) -> f64 {
        let both = self.from_truth_mm.iter().chain(&self.from_predicted_mm);
        let mut pooled: Vec<f64> = both.copied().collect();
        pooled.sort_by(f64::total_cmp);
        quantile(&pooled, ROBUST_QUANTILE)
    }

    /// Returns the average symmetric surface distance: the mean over both lists taken together, in
    /// millimetres. The longer surface weighs more; some programs average the two means instead.
    pub fn average_mm(&self) -> f64 {
        let sum: f64 = self.from_truth_mm.iter().chain(&self.from_predicted_mm).sum();
        sum / (self.from_truth_mm.len() + self.from_predicted_mm.len()) as f64
    }
}

/// Measures from surface to surface; `None` if one of the masks is empty.
///
/// # Shapes
/// - `truth`, `predicted`: `[x, y, z]`, equal
pub fn surface_distances(
    truth: ArrayView3<'_, bool>,
    predicted: ArrayView3<'_, bool>,
    spacing: VoxelSpacing,
) -> Option<SurfaceDistances> {
    if truth.dim() != predicted.dim() {
        return None;
    }
    let bounds = Bounds::of(truth)?.union(Bounds::of(predicted)?);
    let true_surface = surface(truth, &bounds);
    let predicted_surface = surface(predicted, &bounds);
    Some(SurfaceDistances {
        from_truth_mm: directed(&true_surface, &predicted_surface, spacing),
        from_predicted_mm: directed(&predicted_surface, &true_surface, spacing),
    })
}

/// Returns HD95 in millimetres: 0 if both masks are empty, [`ABSENT_DISTANCE_MM`] if one is.
///
/// # Shapes
/// - `truth`, `predicted`: `[x, y, z]`, equal
pub fn hd95_mm(
    truth: ArrayView3<'_, bool>,
    predicted: ArrayView3<'_, bool>,
    spacing: VoxelSpacing,
) -> f64 {
    match surface_distances(truth, predicted, spacing) {
        Some(distances) => distances.hd95_mm(),
        None => absent_distance_mm(truth, predicted),
    }
}

/// Returns the distance to report when a mask is empty: 0 if both are.
pub(crate) fn absent_distance_mm(
    truth: ArrayView3<'_, bool>,
    predicted: ArrayView3<'_, bool>,
) -> f64 {
    let any = truth.iter().chain(predicted.iter()).any(|&inside| inside);
    if any { ABSENT_DISTANCE_MM } else { 0.0 }
}

/// Returns the surface voxels of `mask` inside `bounds`, which must enclose it.
fn surface(mask: ArrayView3<'_, bool>, bounds: &Bounds) -> Array3<bool> {
    let mask = bounds.crop(mask);
    let (nx, ny, nz) = mask.dim();
    // The rim of the box counts as outside, which is true: the box encloses the mask.
    Array3::from_shape_fn((nx, ny, nz), |(x, y, z)| {
        if !mask[[x, y, z]] {
            return false;
        }
        let rim = x == 0 || y == 0 || z == 0 || x + 1 == nx || y + 1 == ny || z + 1 == nz;
        rim || !(mask[[x - 1, y, z]]
            && mask[[x + 1, y, z]]
            && mask[[x, y - 1, z]]
            && mask[[x, y + 1, z]]
            && mask[[x, y, z - 1]]
            && mask[[x, y, z + 1]])
    })
}

/// Returns the distance from each voxel of `from` to the nearest of `to`, ascending.
fn directed(from: &Array3<bool>, to: &Array3<bool>, spacing: VoxelSpacing) -> Vec<f64> {
    let squared = squared_distance_mm2(to.view(), spacing);
    let mut distances: Vec<f64> = from
        .iter()
        .zip(squared.iter())
        .filter(|(on_surface, _)| **on_surface)
        .map(|(_, &squared_mm2)| f64::from(squared_mm2).sqrt())
        .collect();
    distances.sort_by(f64::total_cmp);
    distances
}

/// Returns a quantile of ascending values, linear between ranks; 0 if there are none.
pub(crate) fn quantile(ascending: &[f64], part: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = part * last as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    ascending[below] + (rank - below as f64) * (ascending[above] - ascending[below])
}
