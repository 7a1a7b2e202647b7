//! Shapes of real tumours, without images.

use std::{fs::File, io::Read, path::Path};

use ndarray::Array3;
use neurotriage_phantom::tumour::TumourShape;

use crate::{DatasetError, npz};

/// Most bytes of a file of masks.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The field of view of BraTS, millimetres, that each mask covers.
const FIELD_MM: [f32; 3] = [240.0, 240.0, 155.0];

/// Whole-tumour Dice of a shape and a mask above which they are taken for the same tumour.
pub const SAME_TUMOUR_DICE: f64 = 0.8;

/// Fewest labelled voxels of a shape that is kept.
const VOXELS_MIN: usize = 100;

/// Shapes of real tumours.
#[derive(Clone, Debug, Default)]
pub struct MaskShapes {
    shapes: Vec<TumourShape>,
    /// Sides of the voxels of the mask that each shape comes from.
    voxel_mm: Vec<[f32; 3]>,
}

impl MaskShapes {
    /// Reads a .npz file of masks: uint8, labels 0, 1, 2 and 4, each covering the whole field of
    /// view of BraTS (240 x 240 x 155 mm) with any number of voxels.
    ///
    /// Labels other than 1, 2 and 4 count as background; masks with hardly any tumour are passed
    /// over.
    ///
    /// # Errors
    /// [`DatasetError::Io`]; [`DatasetError::Masks`] if the file is no such file or has no shape.
    pub fn load_npz(path: &Path) -> Result<Self, DatasetError> {
        let io_error = |source| DatasetError::Io { path: path.to_owned(), source };
        let masks_error = |detail| DatasetError::Masks { path: path.to_owned(), detail };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io_error)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(masks_error(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let mut found = Vec::new();
        npz::for_each_volume(&bytes, |mask| found.extend(shape(mask))).map_err(masks_error)?;
        let (shapes, voxel_mm): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        if shapes.is_empty() {
            return Err(masks_error("no mask has a tumour".to_owned()));
        }
        Ok(Self { shapes, voxel_mm })
    }

    /// Returns the shapes.
    pub fn as_slice(&self) -> &[TumourShape] {
        &self.shapes
    }

    /// Leaves out every shape that is the tumour of a held-out case: whose whole-tumour Dice with
    /// the case's mask, at the shape's own resolution, exceeds [`SAME_TUMOUR_DICE`]. Returns how
    /// many were left out.
    ///
    /// Only masks in the grid of BraTS can be compared by place; others leave nothing out.
    ///
    /// # Shapes
    /// - `truth`: `[x, y, z]`, 240 x 240 x 155 voxels of 1 mm, 0 outside the tumour
    pub fn leave_out(&mut self, truth: &Array3<u8>) -> usize {
        let (x, y, z) = truth.dim();
        if [x, y, z].map(|side| side as f32) != FIELD_MM {
            return 0;
        }
        let mut counts: Vec<([f32; 3], usize)> = Vec::new();
        let before = self.shapes.len();
        let mut kept = Vec::with_capacity(before);
        let mut kept_voxel_mm = Vec::with_capacity(before);
        let shapes = std::mem::take(&mut self.shapes);
        for (shape, voxel_mm) in shapes.into_iter().zip(std::mem::take(&mut self.voxel_mm)) {
            let known = counts.iter().find(|(edge, _)| *edge == voxel_mm).map(|&(_, count)| count);
            let truth_count = known.unwrap_or_else(|| {
                let count = resized_count(truth, voxel_mm);
                counts.push((voxel_mm, count));
                count
            });
            if dice(&shape, voxel_mm, truth, truth_count) <= SAME_TUMOUR_DICE {
                kept.push(shape);
                kept_voxel_mm.push(voxel_mm);
            }
        }
        (self.shapes, self.voxel_mm) = (kept, kept_voxel_mm);
        before - self.shapes.len()
    }
}

/// Returns whether the tumour of `truth` covers a place in the grid of BraTS.
fn covers(truth: &Array3<u8>, place: [f32; 3]) -> bool {
    let [x, y, z] = place.map(|mm| mm.round());
    if x < 0.0 || y < 0.0 || z < 0.0 {
        return false;
    }
    truth.get([x as usize, y as usize, z as usize]).is_some_and(|&label| label != 0)
}

/// Returns the number of tumour voxels of `truth` resized to voxels of `voxel_mm`.
fn resized_count(truth: &Array3<u8>, voxel_mm: [f32; 3]) -> usize {
    let sides = [0, 1, 2].map(|axis: usize| (FIELD_MM[axis] / voxel_mm[axis]).round() as usize);
    let place = |index: [usize; 3]| {
        [0, 1, 2]
            .map(|axis: usize| (voxel_mm[axis] - 1.0) / 2.0 + index[axis] as f32 * voxel_mm[axis])
    };
    let mut count = 0;
    for x in 0..sides[0] {
        for y in 0..sides[1] {
            for z in 0..sides[2] {
                count += usize::from(covers(truth, place([x, y, z])));
            }
        }
    }
    count
}

/// Returns the whole-tumour Dice of a shape in its place and a mask with `truth_count` voxels of the
/// same size.
fn dice(shape: &TumourShape, voxel_mm: [f32; 3], truth: &Array3<u8>, truth_count: usize) -> f64 {
    let Some(home) = shape.home() else {
        return 0.0;
    };
    let labels = shape.labels();
    let sides = labels.shape();
    let (mut shared, mut count) = (0_usize, 0_usize);
    for ((x, y, z), _) in labels.indexed_iter().filter(|(_, label)| **label != 0) {
        let index = [x, y, z];
        let place = [0, 1, 2].map(|axis: usize| {
            let offset = index[axis] as f32 - (sides[axis] as f32 - 1.0) / 2.0;
            home[axis] + offset * voxel_mm[axis]
        });
        count += 1;
        shared += usize::from(covers(truth, place));
    }
    2.0 * shared as f64 / ((count + truth_count) as f64).max(1.0)
}

fn shape(mut mask: Array3<u8>) -> Option<(TumourShape, [f32; 3])> {
    mask.mapv_inplace(|label| if matches!(label, 1 | 2 | 4) { label } else { 0 });
    if mask.iter().filter(|&&label| label != 0).count() < VOXELS_MIN {
        return None;
    }
    let (width, depth, height) = mask.dim();
    let counts = [width as f32, depth as f32, height as f32];
    let voxel_mm = [0, 1, 2].map(|axis: usize| FIELD_MM[axis] / counts[axis]);
    // The first voxel of a resized volume covers the first 1.9 voxels of the grid.
    let origin = voxel_mm.map(|edge| (edge - 1.0) / 2.0);
    Some((TumourShape::from_mask(&mask, voxel_mm, origin)?, voxel_mm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npz::tests::npz;

    #[test]
    fn masks_come_with_their_place_in_the_grid() {
        let mut mask = Array3::zeros((24, 24, 31));
        for x in 5..13 {
            for y in 4..12 {
                for z in 10..18 {
                    mask[[x, y, z]] = if x < 8 { 4 } else { 9 };
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.npz");
        std::fs::write(&path, npz(&mask)).unwrap();
        let shapes = MaskShapes::load_npz(&path).unwrap();
        let [shape] = shapes.as_slice() else { panic!("one shape expected") };
        assert_eq!(shape.labels().dim(), (3, 8, 8));
        assert_eq!(shape.home(), Some([64.5, 79.5, 69.5]));
    }

    #[test]
    fn the_shape_of_a_held_out_case_is_left_out_and_others_stay() {
        let mut mask = Array3::<u8>::zeros((24, 24, 31));
        let inside = |x: usize, y: usize, z: usize| {
            (5..13).contains(&x) && (4..12).contains(&y) && (10..18).contains(&z)
        };
        for ((x, y, z), label) in mask.indexed_iter_mut() {
            *label = u8::from(inside(x, y, z));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.npz");
        std::fs::write(&path, npz(&mask)).unwrap();
        let shapes = MaskShapes::load_npz(&path).unwrap();
        // (what the row is for, voxels by which the case lies elsewhere along x, shapes left out)
        for (case, shift, out) in
            [("the same", 0, 1), ("one voxel of the mask aside", 10, 1), ("three aside", 30, 0)]
        {
            let truth = Array3::from_shape_fn((240, 240, 155), |(x, y, z)| {
                u8::from(x >= shift && inside((x - shift) / 10, y / 10, z / 5)) * 2
            });
            let mut left = shapes.clone();
            assert_eq!(left.leave_out(&truth), out, "{case}");
            assert_eq!(left.as_slice().len(), 1 - out, "{case}");
        }
        assert_eq!(shapes.clone().leave_out(&Array3::zeros((9, 9, 9))), 0);
    }

    #[test]
    fn files_without_masks_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.npz");
        assert!(matches!(MaskShapes::load_npz(&path), Err(DatasetError::Io { .. })));
        for bytes in [b"no zip".to_vec(), npz(&Array3::zeros((9, 9, 9)))] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(MaskShapes::load_npz(&path), Err(DatasetError::Masks { .. })));
        }
    }
}
