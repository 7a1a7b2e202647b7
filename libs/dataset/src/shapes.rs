//! Shapes of real tumours, without images.

use std::{fs::File, io::Read, path::Path};

use ndarray::Array3;
use neurotriage_phantom::tumour::TumourShape;

use crate::{DatasetError, npz};

/// Most bytes of a file of masks.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The field of view of BraTS, millimetres, that each mask covers.
const FIELD_MM: [f32; 3] = [240.0, 240.0, 155.0];

/// Fewest labelled voxels of a shape that is kept.
const VOXELS_MIN: usize = 100;

/// Shapes of real tumours.
#[derive(Clone, Debug, Default)]
pub struct MaskShapes {
    shapes: Vec<TumourShape>,
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
        let mut shapes = Vec::new();
        npz::for_each_volume(&bytes, |mask| shapes.extend(shape(mask))).map_err(masks_error)?;
        if shapes.is_empty() {
            return Err(masks_error("no mask has a tumour".to_owned()));
        }
        Ok(Self { shapes })
    }

    /// Returns the shapes.
    pub fn as_slice(&self) -> &[TumourShape] {
        &self.shapes
    }
}

fn shape(mut mask: Array3<u8>) -> Option<TumourShape> {
    mask.mapv_inplace(|label| if matches!(label, 1 | 2 | 4) { label } else { 0 });
    if mask.iter().filter(|&&label| label != 0).count() < VOXELS_MIN {
        return None;
    }
    let (width, depth, height) = mask.dim();
    let counts = [width as f32, depth as f32, height as f32];
    let voxel_mm = [0, 1, 2].map(|axis: usize| FIELD_MM[axis] / counts[axis]);
    // The first voxel of a resized volume covers the first 1.9 voxels of the grid.
    let origin = voxel_mm.map(|edge| (edge - 1.0) / 2.0);
    TumourShape::from_mask(&mask, voxel_mm, origin)
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
