//! Voxels with a place in space.

use ndarray::{Array3, ArrayView3, AxisDescription, Slice};
use neurotriage_domain::VoxelSpacing;
use serde::{Deserialize, Serialize};

use crate::Affine;

/// Voxels `[x, y, z]` in standard (C) layout, and where they lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    /// Values, axis order `[x, y, z]`.
    pub voxels: Array3<T>,
    /// Voxel index to RAS+ millimetres.
    pub affine: Affine,
}

/// Intensities of one sequence.
pub type Image = Volume<f32>;

/// Tumour labels 0, 1, 2 and 4 of each voxel.
pub type Mask = Volume<u8>;

impl<T> Volume<T> {
    /// Returns the number of voxels along `[x, y, z]`.
    pub fn shape(&self) -> [usize; 3] {
        self.voxels.dim().into()
    }

    /// Returns the distance between voxel centres along `[x, y, z]`.
    pub fn spacing(&self) -> VoxelSpacing {
        self.affine.spacing()
    }

    /// Returns the shape and the affine.
    pub fn grid(&self) -> Grid {
        Grid { shape: self.shape(), affine: self.affine }
    }
}

/// Where the voxels of a volume lie, without their values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Voxels along `[x, y, z]`.
    pub shape: [usize; 3],
    /// Voxel index to RAS+ millimetres.
    pub affine: Affine,
}

impl Grid {
    /// Returns the BraTS grid: 240 x 240 x 155, LPS, 1 mm.
    pub fn brats() -> Self {
        Self { shape: [240, 240, 155], affine: Affine::brats() }
    }

    /// Returns true if the other grid has the same shape and its affine differs by at most
    /// `tolerance`, relative as in [`Affine::difference`].
    pub fn matches(&self, other: &Self, tolerance: f64) -> bool {
        self.shape == other.shape && self.affine.difference(&other.affine) <= tolerance
    }
}

/// A box of voxels inside a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropBox {
    /// First voxel inside, `[x, y, z]`.
    pub start: [usize; 3],
    /// Voxels along `[x, y, z]`.
    pub shape: [usize; 3],
}

impl CropBox {
    /// Returns the smallest box that holds every voxel for which `inside` is true, or `None` if
    /// there is none.
    pub fn around<T: Copy>(voxels: &Array3<T>, inside: impl Fn(T) -> bool) -> Option<Self> {
        let mut first = [usize::MAX; 3];
        let mut last = [0; 3];
        for (x, plane) in voxels.outer_iter().enumerate() {
            for (y, row) in plane.outer_iter().enumerate() {
                let Some(z) = row.iter().position(|&value| inside(value)) else { continue };
                let z_last = row.iter().rposition(|&value| inside(value)).unwrap_or(z);
                first = [first[0].min(x), first[1].min(y), first[2].min(z)];
                last = [last[0].max(x), last[1].max(y), last[2].max(z_last)];
            }
        }
        if first[0] == usize::MAX {
            return None;
        }
        Some(Self {
            start: first,
            shape: [0, 1, 2].map(|axis: usize| last[axis] - first[axis] + 1),
        })
    }

    /// Returns true if the box is not empty and lies inside a grid of this shape.
    pub fn fits(&self, shape: [usize; 3]) -> bool {
        (0..3).all(|axis| {
            self.shape[axis] > 0
                && self.start[axis]
                    .checked_add(self.shape[axis])
                    .is_some_and(|end| end <= shape[axis])
        })
    }

    /// Returns the voxels inside the box, or `None` if it does not fit.
    pub fn view<'a, T>(&self, voxels: &'a Array3<T>) -> Option<ArrayView3<'a, T>> {
        if !self.fits(voxels.dim().into()) {
            return None;
        }
        Some(voxels.slice_each_axis(|axis| self.slice(&axis)))
    }

    /// Returns an array of shape `full` that is `cropped` inside the box and zero outside, or
    /// `None` if the box does not fit or `cropped` has another shape.
    pub fn paste<T: Copy + Default>(
        &self,
        cropped: &Array3<T>,
        full: [usize; 3],
    ) -> Option<Array3<T>> {
        let shape: [usize; 3] = cropped.dim().into();
        if shape != self.shape || !self.fits(full) {
            return None;
        }
        let mut voxels = Array3::from_elem(full, T::default());
        voxels.slice_each_axis_mut(|axis| self.slice(&axis)).assign(cropped);
        Some(voxels)
    }

    fn slice(&self, axis: &AxisDescription) -> Slice {
        let axis = axis.axis.index();
        Slice::from(self.start[axis]..self.start[axis] + self.shape[axis])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_holds_exactly_the_marked_voxels_and_pastes_back() {
        let mut voxels = Array3::<u8>::zeros((6, 7, 8));
        assert_eq!(CropBox::around(&voxels, |value| value > 0), None);
        voxels[[1, 5, 3]] = 4;
        voxels[[3, 2, 7]] = 1;
        let crop = CropBox::around(&voxels, |value| value > 0).unwrap();
        assert_eq!(crop, CropBox { start: [1, 2, 3], shape: [3, 4, 5] });
        let cropped = crop.view(&voxels).unwrap().to_owned();
        assert_eq!(crop.paste(&cropped, [6, 7, 8]).unwrap(), voxels);
        assert!(crop.paste(&cropped, [6, 7, 7]).is_none());
    }

    #[test]
    fn boxes_that_overflow_do_not_fit() {
        let crop = CropBox { start: [usize::MAX, 0, 0], shape: [2, 1, 1] };
        assert!(!crop.fits([10, 10, 10]));
        assert!(!CropBox { start: [0; 3], shape: [0, 1, 1] }.fits([10, 10, 10]));
    }
}
