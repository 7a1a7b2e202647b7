//! Prepares a study for the network (profile `whole`) and brings its mask back.
//!
//! The profile expects skull-stripped images, as BraTS has: air is exactly 0, and what is not 0 is
//! brain. On images with skull, the whole head counts as brain, the z-score shifts, and a network
//! trained on stripped images will not be reliable.

mod stored;

use ndarray::{Array3, Array4, Axis};
use neurotriage_domain::{Modality, TumourClass};

use crate::{
    CropBox, Grid, Image, ImagingError, Mask, Reorientation, Study, Volume,
    nifti::VOXELS_MAX,
    resample::{linear, nearest, respaced},
};

/// Name of the profile that [`prepare`] follows.
pub const PROFILE: &str = "whole";

/// Version of what the profile does; a change in the numbers needs a new one.
pub const PROFILE_VERSION: u32 = 1;

/// Edge of the voxels that the network sees, in millimetres.
const EDGE_MM: f64 = 1.0;

/// A spacing this close to 1 mm, relative, is left as it is.
const SPACING_TOLERANCE: f64 = 0.05;

/// Normalised intensities are cut off here, in standard deviations.
const Z_SCORE_MAX: f32 = 5.0;

/// Smallest standard deviation divided by, in the image's own units.
const DEVIATION_MIN: f64 = 1e-6;

/// A study as the network sees it, and the way back to its files.
///
/// Invariant: `channels` has the shape of `crop`, which lies inside `grid`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    channels: Array4<f32>,
    crop: CropBox,
    grid: Grid,
    reorientation: Reorientation,
}

/// Prepares a study as the profile `whole` does.
///
/// 1. Spacing further than 5 % from 1 mm on any axis: resample to 1 mm, linear; axes that become
///    coarser are smoothed first. Air does not bleed into the brain.
/// 2. Crop to the box of the voxels that are not 0 in some sequence.
/// 3. Z-score of each sequence over its own voxels that are not 0, cut off at ±5. Air stays 0.
///
/// # Errors
/// [`ImagingError::GridTooLarge`] if 1 mm would make too many voxels.
pub fn prepare(study: &Study) -> Result<Prepared, ImagingError> {
    let source = study.grid();
    let grid = network_grid(&source)?;
    let images: Vec<Array3<f32>> = study
        .images()
        .iter()
        .map(|image| {
            if grid == source {
                image.voxels.clone()
            } else {
                resample_brain(&image.voxels, &source, &grid)
            }
        })
        .collect();
    let whole = CropBox { start: [0; 3], shape: grid.shape };
    let crop = images
        .iter()
        .filter_map(|voxels| CropBox::around(voxels, |value| value != 0.0))
        .reduce(union)
        .unwrap_or(whole);
    let [width, depth, height] = crop.shape;
    let mut channels = Array4::zeros((images.len(), width, depth, height));
    for (mut channel, image) in channels.outer_iter_mut().zip(&images) {
        if let Some(cropped) = crop.view(image) {
            channel.assign(&cropped);
        }
        normalise(&mut channel);
    }
    Ok(Prepared { channels, crop, grid, reorientation: *study.reorientation() })
}

impl Prepared {
    /// Returns the intensities, `[channel, x, y, z]` inside the crop, channels in the order of
    /// [`neurotriage_domain::Modality::ALL`].
    pub fn channels(&self) -> &Array4<f32> {
        &self.channels
    }

    /// Returns the place of the crop in [`Prepared::grid`].
    pub fn crop(&self) -> CropBox {
        self.crop
    }

    /// Returns the 1 mm grid in LPS order that the crop was taken from.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Returns the grid of the study in LPS order, before it was resampled.
    pub fn canonical(&self) -> Grid {
        self.reorientation.canonical()
    }

    /// Returns the grid of the input files.
    pub fn source(&self) -> Grid {
        self.reorientation.source()
    }

    /// Returns the way from the input files to LPS order and back.
    pub fn reorientation(&self) -> &Reorientation {
        &self.reorientation
    }

    /// Returns one sequence on the whole 1 mm grid, in LPS order; air is 0.
    pub fn image(&self, modality: Modality) -> Image {
        let mut voxels = Array3::zeros(self.grid.shape);
        if let Some(index) = Modality::ALL.iter().position(|&other| other == modality) {
            let channel = self.channels.index_axis(Axis(0), index);
            for ((x, y, z), &value) in channel.indexed_iter() {
                let [x0, y0, z0] = self.crop.start;
                voxels[[x0 + x, y0 + y, z0 + z]] = value;
            }
        }
        Volume { voxels, affine: self.grid.affine }
    }

    /// Returns labels of the crop on the whole 1 mm grid, in LPS order: what lesions are localised
    /// on.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] if the labels do not have the shape of the crop,
    /// [`ImagingError::Label`] for a value above 4.
    pub fn grid_mask(&self, labels: &Array3<u8>) -> Result<Mask, ImagingError> {
        let mut canonical_labels = Array3::zeros(labels.dim());
        for (out, &label) in canonical_labels.iter_mut().zip(labels) {
            *out = TumourClass::from_label(f32::from(label))
                .map_err(|_| ImagingError::Label { what: "mask of the crop", label })?
                .map_or(0, TumourClass::label);
        }
        let voxels = self.crop.paste(&canonical_labels, self.grid.shape).ok_or_else(|| {
            ImagingError::Shape {
                what: "mask of the crop",
                found: labels.shape().to_vec(),
                expected: self.crop.shape.to_vec(),
            }
        })?;
        Ok(Volume { voxels, affine: self.grid.affine })
    }

    /// Returns labels of the crop on the grid of the study in LPS order, which is the one that
    /// [`Study::images`] have.
    ///
    /// # Errors
    /// As [`Prepared::grid_mask`].
    pub fn canonical_mask(&self, labels: &Array3<u8>) -> Result<Mask, ImagingError> {
        let mask = self.grid_mask(labels)?;
        let canonical = self.canonical();
        if canonical == self.grid {
            return Ok(mask);
        }
        nearest(&mask.voxels, &self.grid, &canonical)
    }

    /// Returns labels of the crop in shape, index order and affine of the input files.
    ///
    /// # Errors
    /// As [`Prepared::grid_mask`].
    pub fn restore_mask(&self, labels: &Array3<u8>) -> Result<Mask, ImagingError> {
        Ok(self.reorientation.undo(self.canonical_mask(labels)?))
    }
}

/// Returns the grid that a study on `source` is prepared on.
fn network_grid(source: &Grid) -> Result<Grid, ImagingError> {
    let edges_mm = source.affine.spacing().as_mm();
    if edges_mm.iter().all(|edge_mm| (edge_mm - EDGE_MM).abs() <= SPACING_TOLERANCE * EDGE_MM) {
        return Ok(*source);
    }
    let voxels = source
        .shape
        .iter()
        .zip(edges_mm)
        .map(|(&side, edge_mm)| (side as f64 * edge_mm / EDGE_MM).round().max(1.0))
        .product::<f64>();
    if voxels > VOXELS_MAX as f64 {
        return Err(ImagingError::GridTooLarge { voxels: voxels as u64, voxels_max: VOXELS_MAX });
    }
    respaced(source, [EDGE_MM; 3])
        .map_err(|error| ImagingError::Prepared { detail: error.to_string() })
}

/// Resamples the brain and leaves air 0: each voxel is the mean over brain alone of what
/// interpolation reaches.
fn resample_brain(voxels: &Array3<f32>, from: &Grid, to: &Grid) -> Array3<f32> {
    /// Share of brain from which on a voxel counts as brain.
    const BRAIN_SHARE_MIN: f32 = 0.5;
    let brain = voxels.mapv(|value| if value == 0.0 { 0.0 } else { 1.0 });
    let shares = linear(&brain, from, to);
    let mut result = linear(voxels, from, to);
    result.zip_mut_with(&shares, |value, &share| {
        *value = if share >= BRAIN_SHARE_MIN { *value / share } else { 0.0 };
    });
    result
}

fn union(first: CropBox, second: CropBox) -> CropBox {
    let mut result = first;
    for axis in 0..3 {
        let start = first.start[axis].min(second.start[axis]);
        let end =
            (first.start[axis] + first.shape[axis]).max(second.start[axis] + second.shape[axis]);
        result.start[axis] = start;
        result.shape[axis] = end - start;
    }
    result
}

/// Brings the voxels that are not 0 to mean 0 and standard deviation 1, and cuts them off.
fn normalise(voxels: &mut ndarray::ArrayViewMut3<'_, f32>) {
    let (mut count, mut sum) = (0.0_f64, 0.0_f64);
    for &value in voxels.iter().filter(|&&value| value != 0.0) {
        count += 1.0;
        sum += f64::from(value);
    }
    if count == 0.0 {
        return;
    }
    let mean = sum / count;
    let squares: f64 = voxels
        .iter()
        .filter(|&&value| value != 0.0)
        .map(|&value| (f64::from(value) - mean).powi(2))
        .sum();
    let deviation = (squares / count).sqrt().max(DEVIATION_MIN);
    for mut plane in voxels.axis_iter_mut(Axis(0)) {
        plane.mapv_inplace(|value| {
            if value == 0.0 {
                return 0.0;
            }
            (((f64::from(value) - mean) / deviation) as f32).clamp(-Z_SCORE_MAX, Z_SCORE_MAX)
        });
    }
}
