//! Brings a volume to the canonical index order and back.

use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::{Affine, Grid, Orientation, Volume};

/// What [`canonicalise`] did, so that it can be undone.
///
/// Whole axes are permuted and reversed and nothing is interpolated, so the way back is exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Grid", into = "Grid")]
pub struct Reorientation {
    source: Grid,
    canonical: Grid,
    /// Source axis of each canonical axis.
    order: [usize; 3],
    /// True where the canonical axis runs against its source axis.
    reversed: [bool; 3],
}

/// Returns the volume in LPS index order, with the voxels at the same places in space.
///
/// An oblique volume is brought to the nearest order and stays oblique.
pub fn canonicalise<T: Copy>(volume: Volume<T>) -> (Volume<T>, Reorientation) {
    let reorientation = Reorientation::of(volume.grid());
    (reorientation.apply(volume), reorientation)
}

impl Reorientation {
    /// Returns what brings a grid to LPS index order.
    pub fn of(source: Grid) -> Self {
        let orientation = source.affine.orientation();
        let mut order = [0; 3];
        let mut reversed = [false; 3];
        for (index, world) in orientation.world_axes().into_iter().enumerate() {
            order[world] = index;
            // LPS: left and posterior are the negative world directions.
            reversed[world] = orientation.is_positive()[index] != (world == 2);
        }
        let canonical = Grid {
            shape: order.map(|axis| source.shape[axis]),
            affine: reordered(source, order, reversed),
        };
        Self { source, canonical, order, reversed }
    }

    /// Returns the grid of the input.
    pub fn source(&self) -> Grid {
        self.source
    }

    /// Returns the grid in LPS index order.
    pub fn canonical(&self) -> Grid {
        self.canonical
    }

    /// Returns the orientation of the input.
    pub fn source_orientation(&self) -> Orientation {
        self.source.affine.orientation()
    }

    /// Returns a volume on the source grid in LPS index order.
    pub fn apply<T: Copy>(&self, volume: Volume<T>) -> Volume<T> {
        let mut voxels = volume.voxels.permuted_axes(self.order);
        for axis in 0..3 {
            if self.reversed[axis] {
                voxels.invert_axis(Axis(axis));
            }
        }
        Volume { voxels: standard(voxels), affine: self.canonical.affine }
    }

    /// Returns a volume on the canonical grid in the index order and with the affine of the input:
    /// the exact inverse of [`canonicalise`].
    pub fn undo<T: Copy>(&self, volume: Volume<T>) -> Volume<T> {
        let mut voxels = volume.voxels;
        for axis in 0..3 {
            if self.reversed[axis] {
                voxels.invert_axis(Axis(axis));
            }
        }
        let mut back = [0; 3];
        for (canonical, &source) in self.order.iter().enumerate() {
            back[source] = canonical;
        }
        Volume { voxels: standard(voxels.permuted_axes(back)), affine: self.source.affine }
    }
}

impl From<Grid> for Reorientation {
    fn from(source: Grid) -> Self {
        Self::of(source)
    }
}

impl From<Reorientation> for Grid {
    fn from(reorientation: Reorientation) -> Self {
        reorientation.source
    }
}

/// Returns the affine after whole axes are permuted and reversed.
fn reordered(source: Grid, order: [usize; 3], reversed: [bool; 3]) -> Affine {
    let rows = source.affine.rows();
    let mut result = *rows;
    for row in 0..3 {
        for (canonical, &axis) in order.iter().enumerate() {
            let step = rows[row][axis];
            result[row][canonical] = if reversed[canonical] { -step } else { step };
            if reversed[canonical] {
                result[row][3] += step * (source.shape[axis].max(1) - 1) as f64;
            }
        }
    }
    // The columns are those of a valid affine with signs changed, so only an origin that left the
    // range of f64 could fail; then the source's own affine is the best that is left.
    Affine::from_rows(result).unwrap_or(source.affine)
}

fn standard<T: Copy>(voxels: Array3<T>) -> Array3<T> {
    if voxels.is_standard_layout() { voxels } else { voxels.as_standard_layout().into_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn volume_in(orientation: Orientation, shape: [usize; 3], edges: [f64; 3]) -> Volume<u32> {
        let mut rows = [[0.0; 4]; 4];
        rows[3][3] = 1.0;
        for index in 0..3 {
            let sign = if orientation.is_positive()[index] { 1.0 } else { -1.0 };
            rows[orientation.world_axes()[index]][index] = sign * edges[index];
        }
        for (row, offset) in [12.25, -7.5, 0.1].into_iter().enumerate() {
            rows[row][3] = offset;
        }
        let mut next = 0;
        let voxels = Array3::from_shape_simple_fn(shape, || {
            next += 1;
            next
        });
        Volume { voxels, affine: Affine::from_rows(rows).unwrap() }
    }

    #[test]
    fn every_orientation_becomes_lps_and_comes_back_exactly() {
        for orientation in Orientation::all() {
            let volume = volume_in(orientation, [3, 4, 5], [0.5, 1.0, 3.0]);
            let (canonical, reorientation) = canonicalise(volume.clone());
            assert_eq!(canonical.affine.orientation(), Orientation::LPS, "{orientation}");
            assert!(canonical.voxels.is_standard_layout(), "{orientation}");
            assert_eq!(canonical.grid(), reorientation.canonical(), "{orientation}");
            assert_eq!(reorientation.undo(canonical), volume, "{orientation}");
        }
    }

    #[test]
    fn lps_is_left_as_it_is() {
        let volume = volume_in(Orientation::LPS, [3, 4, 5], [1.0; 3]);
        assert_eq!(canonicalise(volume.clone()).0, volume);
    }

    proptest! {
        #[test]
        fn a_voxel_keeps_its_place_in_space(
            which in 0..48_usize,
            shape in proptest::array::uniform3(1..7_usize),
            edges in proptest::array::uniform3(0.4..4.0_f64),
        ) {
            let orientation = Orientation::all().nth(which).unwrap();
            let volume = volume_in(orientation, shape, edges);
            let (canonical, _) = canonicalise(volume.clone());
            for ((x, y, z), &value) in canonical.voxels.indexed_iter() {
                let place = canonical.affine.apply([x as f64, y as f64, z as f64]);
                let source = volume.affine.voxel_at(place).map(|index| index.round() as usize);
                prop_assert_eq!(volume.voxels[source], value);
            }
        }
    }
}
