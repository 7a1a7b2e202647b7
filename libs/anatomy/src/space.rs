//! Telling whether a mask lies in the space of the atlas.

use crate::grid::Oriented;

/// Outer faces of the `BraTS` grid in RAS+ millimetres: lowest and highest along each axis.
const SRI24_FACES_MM: [[f64; 2]; 3] = [[-239.5, 0.5], [-0.5, 239.5], [-0.5, 154.5]];

/// How far a face may lie from its place, beyond one voxel of the mask, in millimetres.
///
/// A voxel, because resampling keeps either the faces or the first voxel centre and rounds the
/// number of voxels; the rest for headers written with few digits.
const FACE_TOLERANCE_MM: f64 = 2.0;

/// Largest part of a voxel axis that may point away from its world axis: about one degree.
const TILT_MAX: f64 = 0.02;

/// Returns why the mask does not lie in the SRI24 space of `BraTS`; `None` if it does.
///
/// The orientation and the spacing are free. What must agree is where the field of view lies in
/// space: the origin of that grid is a corner of the image, which no scanner and no other common
/// template writes.
pub(crate) fn reason_not_sri24(mask: &Oriented<'_>) -> Option<String> {
    let spacing_mm = mask.spacing.as_mm();
    for (axis, length_mm) in spacing_mm.into_iter().enumerate() {
        let step = mask.world_from_voxel.step(axis);
        for (world, part) in step.iter().enumerate() {
            if world != axis && part.abs() > TILT_MAX * length_mm {
                return Some("the image axes are tilted against the template".to_owned());
            }
        }
    }
    let shape = mask.shape();
    let outer = shape.map(|voxels| voxels as f64 - 0.5);
    let first = mask.world_from_voxel.apply([-0.5; 3]);
    let last = mask.world_from_voxel.apply(outer);
    for axis in 0..3 {
        let faces = [first[axis].min(last[axis]), first[axis].max(last[axis])];
        let tolerance_mm = FACE_TOLERANCE_MM + spacing_mm[axis];
        let expected = SRI24_FACES_MM[axis];
        if (0..2).any(|face| (faces[face] - expected[face]).abs() > tolerance_mm) {
            return Some(format!(
                "along axis {} the image runs from {:.1} to {:.1} mm, the SRI24 grid from {:.1} to \
                 {:.1} mm; register the study to SRI24 first",
                ["left-right", "posterior-anterior", "inferior-superior"][axis],
                faces[0],
                faces[1],
                expected[0],
                expected[1],
            ));
        }
    }
    None
}
