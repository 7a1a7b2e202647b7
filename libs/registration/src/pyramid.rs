//! The same image at several spacings.

use ndarray::Array3;
use neurotriage_imaging::{Grid, resample};

/// Spacings at which images are compared, in millimetres, finest first.
pub(crate) const SPACINGS_MM: [f64; 3] = [2.5, 4.0, 8.0];

/// Place of a spacing in [`SPACINGS_MM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fineness {
    Fine = 0,
    Middle = 1,
    Coarse = 2,
}

/// Values on a grid.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// `[x, y, z]`.
    pub(crate) values: Array3<f32>,
    pub(crate) grid: Grid,
}

/// Returns the values at every spacing, finest first: each made from the one before.
///
/// A spacing outside 0.001 to 1000 mm does not occur: the affine of `grid` is valid.
pub(crate) fn pyramid(values: &Array3<f32>, grid: &Grid) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::with_capacity(SPACINGS_MM.len());
    for spacing_mm in SPACINGS_MM {
        let (values, from) = match layers.last() {
            Some(finer) => (&finer.values, &finer.grid),
            None => (values, grid),
        };
        let Ok(to) = resample::respaced(from, [spacing_mm; 3]) else { continue };
        let values = resample::linear(values, from, &to);
        layers.push(Layer { values, grid: to });
    }
    layers
}

/// Brings values to 0 to 1: from the lowest to the highest half per cent of those inside.
///
/// Returns `None` if all of those are the same.
pub(crate) fn normalised(values: &Array3<f32>, inside: &[f32]) -> Option<Array3<f32>> {
    /// Share of the values cut off at each end.
    const TAIL: f64 = 0.005;
    let mut sorted = inside.to_vec();
    let last = sorted.len().checked_sub(1)?;
    let place = (last as f64 * TAIL) as usize;
    sorted.sort_unstable_by(f32::total_cmp);
    let (low, high) = (sorted[place], sorted[last - place]);
    let range = high - low;
    if !range.is_finite() || range <= 0.0 {
        return None;
    }
    Some(values.mapv(|value| ((value - low) / range).clamp(0.0, 1.0)))
}
