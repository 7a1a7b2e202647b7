//! Masks for the tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]
#![allow(dead_code, reason = "each test binary uses its part")]

use ndarray::{Array3, ShapeBuilder};
use neurotriage_anatomy::{Localisation, LocaliseOptions, Site, localise};
use neurotriage_imaging::{Affine, Mask};

/// Shape of the `BraTS` grid.
pub(crate) const BRATS: [usize; 3] = [240, 240, 155];

/// Affine of the `BraTS` grid: LPS, 1 mm.
pub(crate) const BRATS_AFFINE: [[f64; 4]; 3] =
    [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 239.0], [0.0, 0.0, 1.0, 0.0]];

pub(crate) fn affine(rows: [[f64; 4]; 3]) -> Affine {
    let [x, y, z] = rows;
    Affine::from_rows([x, y, z, [0.0, 0.0, 0.0, 1.0]]).unwrap()
}

pub(crate) fn mask(voxels: Array3<u8>, rows: [[f64; 4]; 3]) -> Mask {
    Mask { voxels, affine: affine(rows) }
}

/// A mask in the `BraTS` grid whose label at each index is what `label` says.
pub(crate) fn brats(label: impl Fn([f64; 3]) -> u8) -> Mask {
    let voxels =
        Array3::from_shape_fn(BRATS.f(), |(x, y, z)| label([x, y, z].map(|index| index as f64)));
    mask(voxels, BRATS_AFFINE)
}

/// Returns true within `radius` of `centre`, both in voxels.
pub(crate) fn ball(at: [f64; 3], centre: [f64; 3], radius: f64) -> bool {
    let squared: f64 = (0..3).map(|axis| (at[axis] - centre[axis]).powi(2)).sum();
    squared <= radius * radius
}

/// A tumour with necrosis, a rim and oedema around a voxel of the `BraTS` grid.
pub(crate) fn tumour(at: [f64; 3], centre: [f64; 3]) -> u8 {
    if ball(at, centre, 6.0) {
        1
    } else if ball(at, centre, 10.0) {
        4
    } else if ball(at, centre, 16.0) {
        2
    } else {
        0
    }
}

/// Centre of a tumour in the left frontal lobe, in voxels of the `BraTS` grid.
pub(crate) const LEFT_FRONTAL: [f64; 3] = [150.0, 85.0, 100.0];

/// The same world point as the index of `BRATS`, sampled on another grid of the same field of view.
pub(crate) fn resampled(label: impl Fn([f64; 3]) -> u8, shape: [usize; 3]) -> Mask {
    let step: Vec<f64> = (0..3).map(|axis| BRATS[axis] as f64 / shape[axis] as f64).collect();
    let first: Vec<f64> = step.iter().map(|step| step / 2.0 - 0.5).collect();
    let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
        let index = [x as f64, y as f64, z as f64];
        label([0, 1, 2].map(|axis| first[axis] + index[axis] * step[axis]))
    });
    mask(
        voxels,
        [
            [-step[0], 0.0, 0.0, -first[0]],
            [0.0, -step[1], 0.0, 239.0 - first[1]],
            [0.0, 0.0, step[2], first[2]],
        ],
    )
}

/// The same image stored with another order and direction of its array axes.
///
/// `order[n]` is the old axis that becomes axis `n`; `flips[n]` reverses the new axis `n`.
pub(crate) fn reoriented(from: &Mask, order: [usize; 3], flips: [bool; 3]) -> Mask {
    let [x, y, z, _] = *from.affine.rows();
    let mut rows = [x, y, z].map(|row| [row[order[0]], row[order[1]], row[order[2]], row[3]]);
    let mut view = from.voxels.view().permuted_axes(order);
    for axis in 0..3 {
        if !flips[axis] {
            continue;
        }
        let last = view.len_of(ndarray::Axis(axis)) as f64 - 1.0;
        view.invert_axis(ndarray::Axis(axis));
        for row in &mut rows {
            row[3] += last * row[axis];
            row[axis] = -row[axis];
        }
    }
    mask(view.to_owned(), rows)
}

pub(crate) fn answer(mask: &Mask) -> Localisation {
    localise(mask, &LocaliseOptions::default()).unwrap()
}

pub(crate) fn site(found: &Localisation) -> &Site {
    found.site.as_ref().unwrap()
}

pub(crate) fn main_region(found: &Localisation) -> String {
    site(found).main_region.unwrap().to_string()
}
