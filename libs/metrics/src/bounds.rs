//! The box around the voxels of a mask.

use ndarray::{ArrayView3, Axis, Slice};

/// A box of voxels: from the first index, inclusive, to the end, exclusive, along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: [usize; 3],
    pub(crate) end: [usize; 3],
}

impl Bounds {
    /// Returns the smallest box around `mask`; `None` if it is empty.
    pub(crate) fn of(mask: ArrayView3<'_, bool>) -> Option<Self> {
        let inside = mask.indexed_iter().filter(|(_, inside)| **inside);
        Self::around(inside.map(|((x, y, z), _)| [x, y, z]))
    }

    /// Returns the smallest box around `voxels`; `None` if there are none.
    pub(crate) fn around(voxels: impl Iterator<Item = [usize; 3]>) -> Option<Self> {
        let mut bounds: Option<Self> = None;
        for voxel in voxels {
            let one = Self { start: voxel, end: voxel.map(|index| index + 1) };
            bounds = Some(bounds.map_or(one, |bounds| bounds.union(one)));
        }
        bounds
    }

    /// Returns the smallest box around both.
    pub(crate) fn union(self, other: Self) -> Self {
        let mut union = self;
        for axis in 0..3 {
            union.start[axis] = self.start[axis].min(other.start[axis]);
            union.end[axis] = self.end[axis].max(other.end[axis]);
        }
        union
    }

    /// Returns the voxels along each axis.
    pub(crate) fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.end[axis] - self.start[axis])
    }

    /// Returns the box widened by `voxels` on every face, within a grid of `limit` voxels.
    pub(crate) fn widened(self, voxels: usize, limit: [usize; 3]) -> Self {
        Self {
            start: self.start.map(|index| index.saturating_sub(voxels)),
            end: [0, 1, 2].map(|axis| (self.end[axis] + voxels).min(limit[axis])),
        }
    }

    /// Returns the part of `array` inside the box.
    pub(crate) fn crop<'a, T>(&self, mut array: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        for axis in 0..3 {
            array.slice_axis_inplace(Axis(axis), Slice::from(self.start[axis]..self.end[axis]));
        }
        array
    }
}
