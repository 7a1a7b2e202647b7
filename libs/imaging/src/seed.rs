//! The preparation of the original system, for comparison with it and nothing else.

use ndarray::{Array3, Array4, Axis};
use neurotriage_domain::Modality;

use crate::{CropBox, Grid, ImagingError, Study};

/// Box of a BraTS volume that the original system looked at, 128 voxels a side. It leaves out 20
/// to 40 % of some lobes, so lesions are localised on the whole volume instead.
pub const SEED_CROP: CropBox = CropBox { start: [56, 56, 13], shape: [128, 128, 128] };

/// Channels of [`seed_volume`], in order.
pub const SEED_CHANNELS: [Modality; 3] = [Modality::Flair, Modality::T1ce, Modality::T2];

/// Returns the study as the original system prepared it.
///
/// Every axial slice is scaled by its own smallest and largest value, air included, before the
/// crop; a constant slice becomes 0.
///
/// # Shapes
/// `[channel, x, y, z]` = `[3, 128, 128, 128]`, channels as in [`SEED_CHANNELS`].
///
/// # Errors
/// [`ImagingError::SeedShape`] unless the study is 240 x 240 x 155 voxels in LPS order.
pub fn seed_volume(study: &Study) -> Result<Array4<f32>, ImagingError> {
    let expected = Grid::brats().shape;
    if study.shape() != expected {
        return Err(ImagingError::SeedShape { found: study.shape(), expected });
    }
    let [width, depth, height] = SEED_CROP.shape;
    let mut channels = Array4::zeros((SEED_CHANNELS.len(), width, depth, height));
    for (mut channel, modality) in channels.outer_iter_mut().zip(SEED_CHANNELS) {
        let voxels = &study.image(modality).voxels;
        let Some(cropped) = SEED_CROP.view(voxels) else {
            return Err(ImagingError::SeedShape { found: study.shape(), expected });
        };
        let ranges = slice_ranges(voxels);
        channel.assign(&cropped);
        for mut row in channel.rows_mut() {
            for (value, &(low, scale)) in row.iter_mut().zip(&ranges[SEED_CROP.start[2]..]) {
                *value = (*value - low) * scale;
            }
        }
    }
    Ok(channels)
}

/// Returns labels in the crop as the original system trained on: 4 becomes 3.
///
/// # Errors
/// [`ImagingError::SeedShape`] unless the labels are 240 x 240 x 155 voxels in LPS order.
pub fn seed_labels(labels: &Array3<u8>) -> Result<Array3<u8>, ImagingError> {
    let expected = Grid::brats().shape;
    let found: [usize; 3] = labels.dim().into();
    match SEED_CROP.view(labels) {
        Some(cropped) if found == expected => {
            Ok(cropped.mapv(|label| if label == 4 { 3 } else { label }))
        }
        _ => Err(ImagingError::SeedShape { found, expected }),
    }
}

/// Returns, for each axial slice, its smallest value and what its range is multiplied by to become
/// 1.
fn slice_ranges(voxels: &Array3<f32>) -> Vec<(f32, f32)> {
    let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); voxels.len_of(Axis(2))];
    for row in voxels.rows() {
        for ((low, high), &value) in ranges.iter_mut().zip(row) {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    for (low, high) in &mut ranges {
        *high = if high > low { 1.0 / (*high - *low) } else { 1.0 };
    }
    ranges
}
