//! Images moved by known amounts.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

use ndarray::Array3;
use neurotriage_imaging::{AffineMap, Image, Mask, Volume, nifti::read_image};
use neurotriage_registration::Target;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SRI24_T1: &[u8] = include_bytes!("../../../../assets/atlas/brats_grid_sri24_t1.nii.gz");

/// Largest turn about each axis and largest shift along it.
const TURN_DEGREES: f64 = 15.0;
const SHIFT_MM: f64 = 20.0;

/// Returns the template. Tests run side by side: each computes with one thread.
pub(crate) fn sri24() -> Target {
    neurotriage_device::set_compute_threads(1);
    Target::new(&read_image(SRI24_T1, "SRI24").unwrap()).unwrap()
}

/// Draws a turn of up to 15 degrees about each axis and a shift of up to 20 mm along it.
pub(crate) fn random_move(seed: u64, centre_mm: [f64; 3]) -> AffineMap {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let turn = [0; 3].map(|_| rng.random_range(-TURN_DEGREES..TURN_DEGREES).to_radians());
    let shift = [0; 3].map(|_| rng.random_range(-SHIFT_MM..SHIFT_MM));
    AffineMap::shift([0.0; 3], shift).after(&AffineMap::rotation(centre_mm, turn))
}

/// Returns the image with each point moved by `by`, resampled on its own grid.
pub(crate) fn moved_image(image: &Image, by: &AffineMap) -> Image {
    moved(image, by, linear)
}

/// Returns the mask with each point moved by `by`, resampled on its own grid.
pub(crate) fn moved_mask(mask: &Mask, by: &AffineMap) -> Mask {
    moved(mask, by, nearest)
}

/// A push to one side that fades away around a point: where a point goes, in RAS+ millimetres.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    /// Where it is strongest, before it.
    pub(crate) centre_mm: [f64; 3],
    /// How far the centre is pushed to the patient's right, in millimetres.
    pub(crate) right_mm: f64,
}

impl Push {
    /// Distance at which six tenths are left, in millimetres.
    const DEVIATION_MM: f64 = 25.0;

    /// Returns how far a point is pushed.
    pub(crate) fn at(&self, point_mm: [f64; 3]) -> f64 {
        let squared: f64 = (0..3).map(|axis| (point_mm[axis] - self.centre_mm[axis]).powi(2)).sum();
        self.right_mm * (-squared / (2.0 * Self::DEVIATION_MM * Self::DEVIATION_MM)).exp()
    }

    /// Returns the point that the push brings to another.
    fn undone(&self, point_mm: [f64; 3]) -> [f64; 3] {
        let mut from = point_mm;
        // The push changes by less than a half from one millimetre to the next: this converges.
        for _ in 0..20 {
            from[0] = point_mm[0] - self.at(from);
        }
        from
    }

    /// Returns the image with each point pushed, resampled on its own grid.
    pub(crate) fn image(&self, image: &Image) -> Image {
        mapped(image, |point| self.undone(point), linear)
    }

    /// Returns the mask with each point pushed, resampled on its own grid.
    pub(crate) fn mask(&self, mask: &Mask) -> Mask {
        mapped(mask, |point| self.undone(point), nearest)
    }
}

fn moved<T: Copy + Default>(
    volume: &Volume<T>,
    map: &AffineMap,
    value: impl Fn(&Array3<T>, [f64; 3]) -> T,
) -> Volume<T> {
    let back = map.inverse().unwrap();
    mapped(volume, |point| back.apply(point), value)
}

/// Returns a volume whose points show what lies where `from` says, in RAS+ millimetres.
fn mapped<T: Copy + Default>(
    volume: &Volume<T>,
    from: impl Fn([f64; 3]) -> [f64; 3],
    value: impl Fn(&Array3<T>, [f64; 3]) -> T,
) -> Volume<T> {
    let from_voxel = AffineMap::from(&volume.affine);
    let to_voxel = from_voxel.inverse().unwrap();
    let voxels = Array3::from_shape_fn(volume.voxels.dim(), |(x, y, z)| {
        let point = from_voxel.apply([x as f64, y as f64, z as f64]);
        value(&volume.voxels, to_voxel.apply(from(point)))
    });
    Volume { voxels, affine: volume.affine }
}

fn linear(voxels: &Array3<f32>, place: [f64; 3]) -> f32 {
    let low = place.map(|value| value.floor() as i64);
    let mut sum = 0.0;
    for corner in 0..8_i64 {
        let offset = [corner & 1, corner >> 1 & 1, corner >> 2];
        let mut weight = 1.0;
        let mut index = [0; 3];
        let mut inside = true;
        for axis in 0..3 {
            let at = low[axis] + offset[axis];
            let part = place[axis] - low[axis] as f64;
            weight *= if offset[axis] == 1 { part } else { 1.0 - part };
            inside &= at >= 0;
            index[axis] = at.max(0) as usize;
        }
        if let (true, Some(&value)) = (inside, voxels.get(index)) {
            sum += value * weight as f32;
        }
    }
    sum
}

fn nearest(voxels: &Array3<u8>, place: [f64; 3]) -> u8 {
    let index = place.map(|value| value.round());
    if index.iter().any(|&value| value < 0.0) {
        return 0;
    }
    voxels.get(index.map(|value| value as usize)).copied().unwrap_or(0)
}

/// Returns the mean distance in millimetres, over the brain, between where `found` brings a moved
/// point and where it was.
pub(crate) fn error_mm(image: &Image, moved_by: &AffineMap, found: &AffineMap) -> f64 {
    let round = found.after(moved_by);
    let (mut sum, mut count) = (0.0, 0.0);
    for ((x, y, z), _) in image.voxels.indexed_iter().filter(|(_, value)| **value > 0.0).step_by(97)
    {
        let place = image.affine.apply([x as f64, y as f64, z as f64]);
        let back = round.apply(place);
        let squared: f64 = (0..3).map(|axis| (back[axis] - place[axis]).powi(2)).sum();
        sum += squared.sqrt();
        count += 1.0;
    }
    sum / count
}
