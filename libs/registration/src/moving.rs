//! The patient's image, ready to be compared.

use ndarray::Array3;
use neurotriage_imaging::{AffineMap, CropBox, Grid, Image, Mask};

use crate::{
    Patient, RegistrationError,
    pyramid::{Layer, normalised, pyramid},
};

/// Shortest side of an image that a brain fits in, in millimetres.
const SIDE_MM_MIN: f64 = 80.0;

/// Largest volume of what is not air that may be a brain without its skull, in millilitres: brains
/// have 900 to 1,900.
const BRAIN_ML_MAX: f64 = 2_300.0;

/// Least share of voxels that hold the value of air, for air to have one value.
const AIR_SHARE_MIN: f64 = 0.2;

/// Most voxels looked at to find the range of intensities.
const INTENSITIES_MAX: usize = 200_000;

/// Whether the skull was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skull {
    /// What is not air is brain: the surface of the brain can be compared.
    Removed,
    /// There is more than brain: only what lies inside the brain can.
    Present,
}

/// A patient's image at several spacings.
#[derive(Debug)]
pub(crate) struct Moving {
    /// Intensities, 0 to 1; air is 0 where the skull was removed.
    pub(crate) layers: Vec<Layer>,
    /// Share of each voxel that is tumour, to be left out.
    pub(crate) lesions: Option<Vec<Layer>>,
    /// Share of each voxel that is not air.
    pub(crate) foreground: Vec<Layer>,
    pub(crate) skull: Skull,
    /// Centre of mass of what is not air, in RAS+ millimetres.
    pub(crate) centre_mm: [f64; 3],
}

impl Moving {
    pub(crate) fn prepare(patient: &Patient<'_>) -> Result<Self, RegistrationError> {
        let image = patient.image;
        let grid = image.grid();
        for ((axis, length), edge_mm) in
            ['x', 'y', 'z'].into_iter().zip(grid.shape).zip(image.spacing().as_mm())
        {
            let length_mm = length as f64 * edge_mm;
            if length_mm < SIDE_MM_MIN {
                let needed_mm = SIDE_MM_MIN;
                return Err(RegistrationError::TooSmall { axis, length_mm, needed_mm });
            }
        }
        let foreground = foreground(image);
        let voxels = foreground.iter().filter(|&&inside| inside).count();
        let ml = voxels as f64 * image.spacing().voxel_volume_mm3() / 1000.0;
        let skull = if ml > BRAIN_ML_MAX { Skull::Present } else { Skull::Removed };
        let step = voxels / INTENSITIES_MAX + 1;
        let inside = image.voxels.iter().zip(&foreground).filter(|(_, inside)| **inside);
        let inside: Vec<f32> = inside.map(|(&value, _)| value).step_by(step).collect();
        let mut values = normalised(&image.voxels, &inside).ok_or(RegistrationError::Flat)?;
        if skull == Skull::Removed {
            // What is darkest inside stays apart from air.
            ndarray::Zip::from(&mut values).and(&foreground).for_each(|value, &inside| {
                *value = if inside { 0.1 + 0.9 * *value } else { 0.0 };
            });
        }
        let share = foreground.mapv(|inside| if inside { 1.0 } else { 0.0 });
        let lesions = patient.lesion.map(|lesion| pyramid(&lesion_share(lesion, &grid), &grid));
        Ok(Self {
            layers: pyramid(&values, &grid),
            lesions,
            foreground: pyramid(&share, &grid),
            skull,
            centre_mm: centre(&foreground, &grid).ok_or(RegistrationError::Flat)?,
        })
    }
}

/// Returns which voxels are not air: those that differ from the corner's value if many share it,
/// else those brighter than the mean.
fn foreground(image: &Image) -> Array3<bool> {
    let voxels = &image.voxels;
    let corner = voxels.first().copied().unwrap_or(0.0);
    let same = voxels.iter().filter(|&&value| value == corner).count();
    if same as f64 >= AIR_SHARE_MIN * voxels.len() as f64 {
        return voxels.mapv(|value| value != corner && value.is_finite());
    }
    let finite = || voxels.iter().filter(|value| value.is_finite());
    let mean =
        finite().map(|&value| f64::from(value)).sum::<f64>() / finite().count().max(1) as f64;
    voxels.mapv(|value| f64::from(value) > mean)
}

/// Returns 1 where a voxel of `grid` is tumour, else 0.
fn lesion_share(lesion: &Mask, grid: &Grid) -> Array3<f32> {
    let share = |label: u8| if label == 0 { 0.0 } else { 1.0 };
    if lesion.grid().matches(grid, 1e-3) {
        return lesion.voxels.mapv(share);
    }
    let mut shares = Array3::zeros(grid.shape);
    // Only what the box of the tumour may reach.
    let Some(tumour) = CropBox::around(&lesion.voxels, |label| label != 0) else { return shares };
    let from_grid = AffineMap::from(&grid.affine);
    let Some(to_lesion) = AffineMap::from(&lesion.affine).inverse() else { return shares };
    let to_lesion = to_lesion.after(&from_grid);
    for ((x, y, z), value) in shares.indexed_iter_mut() {
        let place = to_lesion.apply([x as f64, y as f64, z as f64]).map(f64::round);
        let inside = (0..3).all(|axis| {
            let offset = place[axis] - tumour.start[axis] as f64;
            offset >= 0.0 && offset < tumour.shape[axis] as f64
        });
        if inside {
            *value = share(lesion.voxels[place.map(|index| index as usize)]);
        }
    }
    shares
}

fn centre(foreground: &Array3<bool>, grid: &Grid) -> Option<[f64; 3]> {
    let mut sum = [0.0; 3];
    let mut count = 0.0;
    for ((x, y, z), _) in foreground.indexed_iter().filter(|(_, inside)| **inside) {
        for (slot, index) in sum.iter_mut().zip([x, y, z]) {
            *slot += index as f64;
        }
        count += 1.0;
    }
    (count > 0.0).then(|| grid.affine.apply(sum.map(|sum| sum / count)))
}
