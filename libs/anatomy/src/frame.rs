//! Where the voxels of a mask lie: in the file, in the patient, in the template.

use neurotriage_imaging::AffineMap;

use crate::{
    AnatomyError,
    grid::{Bounds, Oriented, inverse},
    localisation::{BoundingBox, Position},
};

/// A mask brought to LPS order, and the maps from its voxels.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) oriented: Oriented<'a>,
    /// To voxels of the mask as it was given.
    given_from_voxel: AffineMap,
    /// To RAS+ millimetres of the template, if the space is known.
    pub(crate) template_from_voxel: Option<AffineMap>,
}

impl<'a> Frame<'a> {
    /// `given` is the affine of the mask as it was given.
    pub(crate) fn new(
        oriented: Oriented<'a>,
        given: &AffineMap,
        template_from_patient: Option<&AffineMap>,
    ) -> Result<Self, AnatomyError> {
        let patient_from_voxel = oriented.world_from_voxel;
        Ok(Self {
            given_from_voxel: inverse(given)?.after(&patient_from_voxel),
            template_from_voxel: template_from_patient.map(|map| map.after(&patient_from_voxel)),
            oriented,
        })
    }

    /// Returns where a voxel of the mask in LPS order lies.
    pub(crate) fn position(&self, voxel: [f64; 3]) -> Position {
        Position {
            // Whole numbers stay whole.
            voxel: self.given_from_voxel.apply(voxel).map(|index| (index * 1e6).round() / 1e6),
            patient_mm: self.oriented.world_from_voxel.apply(voxel),
            atlas_mm: self.template_from_voxel.map(|map| map.apply(voxel)),
        }
    }

    /// Returns the boxes around the outer faces of a box of voxels in LPS order.
    pub(crate) fn bounding_box(&self, bounds: &Bounds) -> BoundingBox {
        let around = |map: &AffineMap| {
            let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
            for corner in 0..8 {
                let at = [0, 1, 2].map(|axis| {
                    let side = if corner >> axis & 1 == 0 { bounds.start } else { bounds.end };
                    side[axis] as f64 - 0.5
                });
                for (axis, value) in map.apply(at).into_iter().enumerate() {
                    low[axis] = value.min(low[axis]);
                    high[axis] = value.max(high[axis]);
                }
            }
            [low, high]
        };
        let [start, end] = around(&self.given_from_voxel);
        let [min_mm, max_mm] = around(&self.oriented.world_from_voxel);
        BoundingBox {
            voxel_start: start.map(|index| (index + 0.5).round().max(0.0) as usize),
            voxel_end: end.map(|index| (index + 0.5).round().max(0.0) as usize),
            min_mm,
            max_mm,
            atlas_mm: self.template_from_voxel.as_ref().map(around),
        }
    }
}
