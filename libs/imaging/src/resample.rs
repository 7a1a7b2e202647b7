//! Moves volumes between grids that differ in spacing only.

use ndarray::{Array3, Axis};

use crate::{Affine, Grid, ImagingError, InvalidAffine, Mask, Volume, smooth};

/// Standard deviation of the smoothing before a grid becomes `f` times coarser is
/// `0.4 sqrt(f^2 - 1)` fine voxels, which brings the one blur to the other.
const ANTI_ALIAS: f64 = 0.4;

/// Returns the grid that fills the same box with voxels of `spacing_mm`, centred on it.
///
/// # Errors
/// [`InvalidAffine`] if the spacing is outside 0.001 to 1000 mm.
pub fn respaced(grid: &Grid, spacing_mm: [f64; 3]) -> Result<Grid, InvalidAffine> {
    let edges_mm = grid.affine.spacing().as_mm();
    let mut rows = *grid.affine.rows();
    let mut shape = grid.shape;
    let mut first = [0.0; 3];
    for axis in 0..3 {
        let ratio = spacing_mm[axis] / edges_mm[axis];
        shape[axis] = ((grid.shape[axis] as f64 / ratio).round() as usize).max(1);
        first[axis] = position(0, shape[axis], grid.shape[axis], ratio);
        for row in &mut rows[..3] {
            row[axis] *= ratio;
        }
    }
    for (row, place) in rows.iter_mut().zip(grid.affine.apply(first)) {
        row[3] = place;
    }
    Ok(Grid { shape, affine: Affine::from_rows(rows)? })
}

/// Returns the volume on a grid made by [`respaced`], by linear interpolation along each axis.
/// Axes that become coarser are smoothed first. Beyond the border the border's value holds.
pub fn linear(voxels: &Array3<f32>, from: &Grid, to: &Grid) -> Array3<f32> {
    let ratios = ratios(from, to);
    let sigma = ratios.map(|ratio| ANTI_ALIAS * (ratio * ratio - 1.0).max(0.0).sqrt());
    let mut result = smooth::gaussian(voxels, sigma);
    for axis in 0..3 {
        let length = to.shape[axis];
        if length == from.shape[axis] && (ratios[axis] - 1.0).abs() < 1e-9 {
            continue;
        }
        let mut shape: [usize; 3] = result.dim().into();
        let length_in = shape[axis];
        shape[axis] = length;
        let mut next = Array3::zeros(shape);
        for (at, mut plane) in next.axis_iter_mut(Axis(axis)).enumerate() {
            let place =
                position(at, length, length_in, ratios[axis]).clamp(0.0, (length_in - 1) as f64);
            let low = place.floor() as usize;
            let high = (low + 1).min(length_in - 1);
            let weight = (place - low as f64) as f32;
            plane.assign(&result.index_axis(Axis(axis), low));
            plane.zip_mut_with(&result.index_axis(Axis(axis), high), |value, &above| {
                *value += weight * (above - *value);
            });
        }
        result = next;
    }
    result
}

/// Returns labels on the grid `to`, each from the nearest voxel of `from`. One of the two grids
/// must have been made from the other by [`respaced`].
///
/// # Errors
/// [`ImagingError::Shape`] if the labels are not on the grid `from`.
pub fn nearest(labels: &Array3<u8>, from: &Grid, to: &Grid) -> Result<Mask, ImagingError> {
    let found: [usize; 3] = labels.dim().into();
    if found != from.shape {
        return Err(ImagingError::Shape {
            what: "labels",
            found: found.to_vec(),
            expected: from.shape.to_vec(),
        });
    }
    let ratios = ratios(from, to);
    let sources = [0, 1, 2].map(|axis: usize| -> Vec<usize> {
        (0..to.shape[axis])
            .map(|at| {
                let place = position(at, to.shape[axis], from.shape[axis], ratios[axis]);
                // A tie goes to the lower index.
                ((place - 0.5).ceil().max(0.0) as usize).min(from.shape[axis] - 1)
            })
            .collect()
    });
    let voxels = Array3::from_shape_fn(to.shape, |(x, y, z)| {
        labels[[sources[0][x], sources[1][y], sources[2][z]]]
    });
    Ok(Volume { voxels, affine: to.affine })
}

fn ratios(from: &Grid, to: &Grid) -> [f64; 3] {
    let (from_mm, to_mm) = (from.affine.spacing().as_mm(), to.affine.spacing().as_mm());
    [0, 1, 2].map(|axis: usize| to_mm[axis] / from_mm[axis])
}

/// Returns the place on an axis of `length_in` voxels of voxel `at` of `length_out`, the centres of
/// the two axes being one point.
fn position(at: usize, length_out: usize, length_in: usize, ratio: f64) -> f64 {
    let half = |length: usize| (length as f64 - 1.0) / 2.0;
    (at as f64 - half(length_out)) * ratio + half(length_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(shape: [usize; 3], edges: [f64; 3]) -> Grid {
        let spacing = neurotriage_domain::VoxelSpacing::from_mm(edges).unwrap();
        Grid { shape, affine: Affine::lps(spacing, [10.0, 20.0, -5.0]).unwrap() }
    }

    #[test]
    fn respaced_grid_keeps_the_centre_of_the_box() {
        let from = grid([40, 30, 10], [0.5, 1.0, 3.0]);
        let to = respaced(&from, [1.0; 3]).unwrap();
        assert_eq!(to.shape, [20, 30, 30]);
        assert_eq!(to.affine.spacing().as_mm(), [1.0; 3]);
        let centre =
            |grid: &Grid| grid.affine.apply(grid.shape.map(|side| (side as f64 - 1.0) / 2.0));
        for (a, b) in centre(&from).into_iter().zip(centre(&to)) {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn a_ramp_stays_the_same_ramp_in_space() {
        let from = grid([40, 30, 12], [0.5, 1.0, 3.0]);
        let to = respaced(&from, [1.0; 3]).unwrap();
        let value = |affine: &Affine, (x, y, z): (usize, usize, usize)| {
            let [a, b, c] = affine.apply([x as f64, y as f64, z as f64]);
            (a - 2.0 * b + 0.5 * c) as f32
        };
        let ramp = Array3::from_shape_fn(from.shape, |index| value(&from.affine, index));
        let moved = linear(&ramp, &from, &to);
        for (index, &found) in moved.indexed_iter() {
            let ([x, y, z], [nx, ny, nz]) = ([index.0, index.1, index.2], to.shape);
            // The border repeats its value, so the ramp holds inside it.
            if x > 2 && x < nx - 3 && y > 2 && y < ny - 3 && z > 2 && z < nz - 3 {
                let expected = value(&to.affine, index);
                assert!((found - expected).abs() < 1e-2, "at {index:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn labels_go_to_a_finer_grid_and_come_back() {
        let coarse = grid([9, 10, 5], [2.0, 1.0, 4.0]);
        let fine = respaced(&coarse, [1.0; 3]).unwrap();
        let labels = Array3::from_shape_fn(coarse.shape, |(x, y, z)| ((x + y + z) % 3) as u8);
        let there = nearest(&labels, &coarse, &fine).unwrap();
        assert_eq!(there.shape(), fine.shape);
        let back = nearest(&there.voxels, &fine, &coarse).unwrap();
        assert_eq!(back.voxels, labels);
        assert!(nearest(&labels, &fine, &coarse).is_err());
    }
}
