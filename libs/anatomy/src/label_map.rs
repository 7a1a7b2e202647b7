//! One label for each voxel of a grid, looked up by place.

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_imaging::{AffineMap, Mask, nifti::read_image};

use crate::{
    AnatomyError,
    grid::{Oriented, inverse},
};

/// Number of values that a label may take.
pub(crate) const LABEL_COUNT: usize = 256;

/// Labels in LPS order, and where they lie.
#[derive(Debug)]
pub(crate) struct LabelMap {
    /// Row-major, `[x, y, z]`, in LPS order; 0 is nothing.
    pub(crate) labels: Array3<u8>,
    pub(crate) world_from_voxel: AffineMap,
    pub(crate) voxel_from_world: AffineMap,
    pub(crate) spacing: VoxelSpacing,
}

impl LabelMap {
    pub(crate) fn new(labels: &Mask) -> Result<Self, AnatomyError> {
        let oriented = Oriented::new(labels.voxels.view(), (&labels.affine).into())?;
        Ok(Self {
            labels: oriented.labels.as_standard_layout().into_owned(),
            world_from_voxel: oriented.world_from_voxel,
            voxel_from_world: inverse(&oriented.world_from_voxel)?,
            spacing: oriented.spacing,
        })
    }

    /// Returns the label at a point in RAS+ millimetres; 0 outside the grid.
    pub(crate) fn at(&self, point_mm: [f64; 3]) -> u8 {
        look_up(&self.labels, self.voxel_from_world.apply(point_mm))
    }

    /// Returns the label at a voxel; 0 outside the grid.
    pub(crate) fn at_voxel(&self, voxel: [f64; 3]) -> u8 {
        look_up(&self.labels, voxel)
    }

    /// Returns the volume of a voxel, in millilitres.
    pub(crate) fn voxel_ml(&self) -> f64 {
        self.spacing.voxel_volume_mm3() / 1000.0
    }
}

/// Reads a NIfTI file of labels. The geometry is its sform, or its qform where there is no sform.
pub(crate) fn read_labels(nifti: &[u8], name: &str) -> Result<Mask, AnatomyError> {
    let image = read_image(nifti, name).map_err(damaged)?;
    let is_label = |value: f32| (0.0..256.0).contains(&value) && value.fract() == 0.0;
    if let Some(&value) = image.voxels.iter().find(|&&value| !is_label(value)) {
        return Err(damaged(format!("{value} is no label")));
    }
    Ok(Mask { voxels: image.voxels.mapv(|value| value as u8), affine: image.affine })
}

/// Returns the value at the voxel nearest to a point in voxel coordinates; 0 outside.
pub(crate) fn look_up(labels: &Array3<u8>, voxel: [f64; 3]) -> u8 {
    let mut index = [0; 3];
    for (slot, coordinate) in index.iter_mut().zip(voxel) {
        let rounded = (coordinate + 0.5).floor();
        if rounded.is_nan() || rounded < 0.0 {
            return 0;
        }
        *slot = rounded as usize;
    }
    labels.get(index).copied().unwrap_or(0)
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> AnatomyError {
    AnatomyError::Atlas { reason: error.to_string() }
}
