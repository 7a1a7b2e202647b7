//! Shapes of tumours: masks that can be read at any place, and a procedure that makes new ones.

use ndarray::Array3;
use neurotriage_domain::TumourClass;
use rand::{Rng, RngCore};

use crate::field::{SmoothField, uniform};

/// Smallest and largest whole tumour that is made, in millilitres: nearly all of BraTS lies between.
pub const TUMOUR_ML_RANGE: [f32; 2] = [5.0, 200.0];

/// Shares of a voxel in necrotic core, oedema and enhancing tumour, in this order.
pub type Shares = [f32; 3];

/// A tumour mask in a space of its own.
#[derive(Clone, Debug)]
pub struct TumourShape {
    labels: Array3<u8>,
    voxel_mm: [f32; 3],
    /// Where the middle of the box lay in the brain it comes from, in voxels of the BraTS grid.
    home: Option<[f32; 3]>,
}

impl TumourShape {
    /// Returns the shape of a mask with labels 0, 1, 2 and 4, cut to the box of its tumour, or
    /// `None` if there is no tumour.
    ///
    /// `origin` is the place of the mask's first voxel in the BraTS grid, in its voxels of 1 mm.
    pub fn from_mask(mask: &Array3<u8>, voxel_mm: [f32; 3], origin: [f32; 3]) -> Option<Self> {
        let crop = neurotriage_imaging::CropBox::around(mask, |label| label != 0)?;
        let labels = crop.view(mask)?.to_owned();
        let home = [0, 1, 2].map(|axis: usize| {
            let middle = crop.start[axis] as f32 + (crop.shape[axis] as f32 - 1.0) / 2.0;
            origin[axis] + middle * voxel_mm[axis]
        });
        Some(Self { labels, voxel_mm, home: Some(home) })
    }

    /// Returns the place in the BraTS grid that the shape comes from; `None` for made ones.
    pub fn home(&self) -> Option<[f32; 3]> {
        self.home
    }

    /// Returns the labels, `[x, y, z]`.
    pub fn labels(&self) -> &Array3<u8> {
        &self.labels
    }

    /// Returns the radius of the sphere about the middle that holds the shape, in millimetres.
    pub fn radius_mm(&self) -> f32 {
        let shape: [usize; 3] = self.labels.dim().into();
        let half =
            [0, 1, 2].map(|axis: usize| (shape[axis] as f32 + 1.0) * self.voxel_mm[axis] / 2.0);
        half.iter().map(|side| side * side).sum::<f32>().sqrt()
    }

    /// Returns the radius of the sphere with the volume of the tumour core, in millimetres.
    pub fn core_radius_mm(&self) -> f32 {
        let core = self.labels.iter().filter(|&&label| label == 1 || label == 4).count();
        sphere_radius_mm(core as f32 * self.voxel_mm.iter().product::<f32>())
    }

    /// Returns the share of the tumour core that enhances, 0 to 1; 1 if there is no core.
    pub fn enhancing_share(&self) -> f32 {
        let count = |wanted: u8| self.labels.iter().filter(|&&label| label == wanted).count();
        let (dull, enhancing) = (count(1), count(4));
        if dull == 0 { 1.0 } else { enhancing as f32 / (dull + enhancing) as f32 }
    }

    /// Returns the shares of the classes at an offset from the middle, in millimetres, by linear
    /// interpolation.
    #[inline]
    pub fn shares_at(&self, offset_mm: [f32; 3]) -> Shares {
        let shape: [usize; 3] = self.labels.dim().into();
        let mut shares = [0.0; 3];
        let mut low = [0_i32; 3];
        let mut part = [0.0_f32; 3];
        for axis in 0..3 {
            let middle = (shape[axis] as f32 - 1.0) / 2.0;
            let at = offset_mm[axis] / self.voxel_mm[axis] + middle;
            // Not a number fails the comparison too.
            if !(at > -1.0 && at < shape[axis] as f32) {
                return shares;
            }
            let floor = at.floor();
            low[axis] = floor as i32;
            part[axis] = at - floor;
        }
        for corner in 0..8_i32 {
            let step = [corner >> 2, (corner >> 1) & 1, corner & 1];
            let mut weight = 1.0;
            let mut index = [0_usize; 3];
            for axis in 0..3 {
                weight *= if step[axis] == 1 { part[axis] } else { 1.0 - part[axis] };
                // Below 0 wraps to a huge index, which `get` refuses.
                index[axis] = low[axis].wrapping_add(step[axis]) as usize;
            }
            match self.labels.get(index) {
                Some(1) => shares[0] += weight,
                Some(2) => shares[1] += weight,
                Some(4) => shares[2] += weight,
                _ => {}
            }
        }
        shares
    }
}

fn sphere_radius_mm(volume_mm3: f32) -> f32 {
    (volume_mm3 * 3.0 / (4.0 * std::f32::consts::PI)).cbrt()
}

/// How the parts of a made tumour are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Necrosis inside an enhancing rim.
    Ring,
    /// Enhancing throughout, with specks of necrosis.
    Solid,
    /// A core with hardly any enhancement.
    Dull,
    /// No core at all.
    Diffuse,
}

/// Makes a tumour of `size_ml` millilitres.
///
/// The outline is a ball stretched at random and deformed by smooth noise. Necrosis, rim and oedema
/// follow the same noise at other scales, so that rims vary in thickness and may be broken.
///
/// `affinity` says how readily oedema spreads to an offset from the middle, in millimetres: about 1
/// in white matter, 0 in grey, far below 0 where it cannot go.
pub fn procedural(
    rng: &mut impl RngCore,
    size_ml: f32,
    affinity: impl Fn([f32; 3]) -> f32,
) -> TumourShape {
    /// Voxels along the radius of a ball of the tumour's volume.
    const RADIUS_VOXELS: f32 = 15.0;
    /// Half the box over that radius.
    const MARGIN: f32 = 1.8;
    let size_ml = size_ml.clamp(TUMOUR_ML_RANGE[0] * 0.2, TUMOUR_ML_RANGE[1] * 1.5);
    let radius_mm = sphere_radius_mm(size_ml * 1000.0);
    let voxel_mm = radius_mm / RADIUS_VOXELS;
    let side = (2.0 * RADIUS_VOXELS * MARGIN) as usize;
    let kind = match rng.random_range(0..100) {
        0..58 => Kind::Ring,
        58..80 => Kind::Solid,
        80..92 => Kind::Dull,
        _ => Kind::Diffuse,
    };
    let scores = scores(rng, side, radius_mm, voxel_mm, affinity);
    let core_share = match kind {
        Kind::Diffuse => 0.0,
        Kind::Ring | Kind::Solid | Kind::Dull => uniform(rng, 0.08, 0.75),
    };
    let whole_count = size_ml * 1000.0 / voxel_mm.powi(3);
    let core_limit = limit(scores.iter().map(|score| score.core), whole_count * core_share);
    let rim = uniform(rng, 0.12, 0.5);
    let rim_noise = uniform(rng, 0.05, 0.3);
    let speck_limit = uniform(rng, 0.9, 2.2);
    let whole_limit = limit(
        scores.iter().map(|score| if score.core < core_limit { f32::MIN } else { score.whole }),
        whole_count,
    );
    let label = |score: &Score| {
        if score.core >= core_limit {
            return if score.whole < whole_limit { TumourClass::Oedema.label() } else { 0 };
        }
        let depth = 1.0 - score.core / core_limit.max(1e-3);
        let enhancing = match kind {
            Kind::Ring => depth < rim + rim_noise * score.fine,
            Kind::Solid => score.fine < speck_limit,
            Kind::Dull => score.fine > 2.0,
            Kind::Diffuse => false,
        };
        if enhancing { TumourClass::Enhancing.label() } else { TumourClass::NecroticCore.label() }
    };
    let labels: Vec<u8> = scores.iter().map(label).collect();
    let labels = Array3::from_shape_vec((side, side, side), labels).unwrap_or_default();
    TumourShape { labels, voxel_mm: [voxel_mm; 3], home: None }
}

/// How far from the core and from the whole tumour a voxel is, and fine noise there.
#[derive(Clone, Copy, Debug)]
struct Score {
    core: f32,
    whole: f32,
    fine: f32,
}

fn scores(
    rng: &mut impl RngCore,
    side: usize,
    radius_mm: f32,
    voxel_mm: f32,
    affinity: impl Fn([f32; 3]) -> f32,
) -> Vec<Score> {
    let shape = [side; 3];
    let mut field = |cell: f32, low: f32, high: f32| {
        let deviation = uniform(rng, low, high);
        SmoothField::random(rng, shape, cell, deviation)
    };
    let outline = field(11.0, 0.12, 0.3);
    let ragged = field(5.0, 0.03, 0.12);
    let spread = field(9.0, 0.2, 0.5);
    let fine = field(4.0, 1.0, 1.0);
    let stretch = [0; 3].map(|_: i32| uniform(rng, 0.75, 1.3));
    let shift_mm = [0; 3].map(|_: i32| uniform(rng, -0.35, 0.35) * radius_mm);
    let pull = uniform(rng, 0.2, 0.6);
    let mut rows = [(); 4].map(|()| vec![0.0; side]);
    let mut result = Vec::with_capacity(side * side * side);
    let middle = (side as f32 - 1.0) / 2.0;
    for x in 0..side {
        for y in 0..side {
            for (row, field) in rows.iter_mut().zip([&outline, &ragged, &spread, &fine]) {
                field.fill_row(x, y, row);
            }
            let [outline, ragged, spread, fine] = &rows;
            let noise = outline.iter().zip(ragged).zip(spread.iter().zip(fine)).enumerate();
            for (z, ((outline, ragged), (spread, fine))) in noise {
                let offset_mm = [x, y, z].map(|at| (at as f32 - middle) * voxel_mm);
                let length = |shift: f32| {
                    let mut sum = 0.0;
                    for axis in 0..3 {
                        sum += ((offset_mm[axis] - shift * shift_mm[axis]) * stretch[axis]).powi(2);
                    }
                    sum.sqrt() / radius_mm
                };
                result.push(Score {
                    core: (length(0.0) * (1.0 + outline) + ragged).max(0.0),
                    whole: length(1.0) + spread + ragged - pull * affinity(offset_mm),
                    fine: *fine,
                });
            }
        }
    }
    result
}

/// Returns the score below which `count` voxels lie.
fn limit(scores: impl Iterator<Item = f32>, count: f32) -> f32 {
    let mut sorted: Vec<f32> = scores.collect();
    let count = (count.max(0.0) as usize).min(sorted.len().saturating_sub(1));
    if count == 0 {
        return 0.0;
    }
    *sorted.select_nth_unstable_by(count, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn made_tumours_have_the_size_asked_for_and_known_labels() {
        for (seed, size_ml) in [(1, 5.0_f32), (2, 40.0), (3, 200.0), (4, 80.0)] {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let shape = procedural(&mut rng, size_ml, |_| 0.0);
            assert!(shape.labels().iter().all(|label| matches!(label, 0 | 1 | 2 | 4)));
            let count = shape.labels().iter().filter(|&&label| label != 0).count();
            let found_ml = count as f32 * shape.voxel_mm.iter().product::<f32>() / 1000.0;
            assert!((found_ml - size_ml).abs() < 0.05 * size_ml, "{found_ml} of {size_ml}");
        }
    }

    #[test]
    fn oedema_prefers_where_affinity_is_high() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let shape = procedural(&mut rng, 60.0, |[x, _, _]| if x > 0.0 { 1.0 } else { -3.0 });
        let side = shape.labels().dim().0;
        let count = |upper: bool| {
            let oedema = shape.labels().indexed_iter().filter(|(_, label)| **label == 2);
            oedema.filter(|((x, _, _), _)| (*x >= side / 2) == upper).count()
        };
        assert!(count(true) > 3 * count(false));
    }

    #[test]
    fn the_enhancing_share_is_that_of_the_core() {
        let mut mask = Array3::zeros((5, 5, 5));
        let mut share_with = |index: [usize; 3], label: u8| {
            mask[index] = label;
            TumourShape::from_mask(&mask, [1.0; 3], [0.0; 3]).unwrap().enhancing_share()
        };
        assert_eq!(share_with([2, 2, 2], 2), 1.0, "no core");
        assert_eq!(share_with([3, 2, 2], 1), 0.0);
        assert_eq!(share_with([2, 3, 2], 4), 0.5);
    }

    #[test]
    fn shares_follow_the_labels_between_voxels() {
        let mut mask = Array3::zeros((5, 5, 5));
        mask[[2, 2, 2]] = 4;
        mask[[3, 2, 2]] = 2;
        let shape = TumourShape::from_mask(&mask, [2.0, 1.0, 1.0], [10.0, 0.0, 0.0]).unwrap();
        assert_eq!(shape.home(), Some([15.0, 2.0, 2.0]));
        assert_eq!(shape.shares_at([-1.0, 0.0, 0.0]), [0.0, 0.0, 1.0]);
        assert_eq!(shape.shares_at([0.0, 0.0, 0.0]), [0.0, 0.5, 0.5]);
        assert_eq!(shape.shares_at([1.0, 0.5, 0.0]), [0.0, 0.5, 0.0]);
        assert_eq!(shape.shares_at([9.0, 0.0, 0.0]), [0.0; 3]);
        assert!(TumourShape::from_mask(&Array3::zeros((2, 2, 2)), [1.0; 3], [0.0; 3]).is_none());
    }
}
