//! Voxels in space: affines, and masks brought to LPS order.

use ndarray::{Array3, ArrayView3, Axis, Slice};
use neurotriage_domain::VoxelSpacing;

use crate::AnatomyError;

/// Smallest volume of a voxel that an affine may describe, in cubic millimetres.
const VOXEL_MM3_MIN: f64 = 1e-6;

/// An affine map of three coordinates: three rows of four.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Transform(pub(crate) [[f64; 4]; 3]);

impl Transform {
    pub(crate) fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        self.0.map(|[a, b, c, d]| a * point[0] + b * point[1] + c * point[2] + d)
    }

    /// Returns the map that applies `first`, then this one.
    pub(crate) fn after(&self, first: &Self) -> Self {
        let f = &first.0;
        Self(self.0.map(|[a, b, c, d]| {
            let column = |j: usize| a * f[0][j] + b * f[1][j] + c * f[2][j];
            [column(0), column(1), column(2), column(3) + d]
        }))
    }

    /// Returns column `axis`: the step in space from one voxel to the next along an array axis.
    pub(crate) fn step(&self, axis: usize) -> [f64; 3] {
        [self.0[0][axis], self.0[1][axis], self.0[2][axis]]
    }

    fn determinant(&self) -> f64 {
        let m = &self.0;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// Returns the inverse map.
    ///
    /// # Errors
    /// [`AnatomyError::Geometry`] if a number is not finite or the voxels have no volume.
    pub(crate) fn inverse(&self) -> Result<Self, AnatomyError> {
        let refuse = |reason: &str| Err(AnatomyError::Geometry { reason: reason.to_owned() });
        if !self.0.iter().flatten().all(|value| value.is_finite()) {
            return refuse("it holds a number that is not finite");
        }
        let determinant = self.determinant();
        if determinant.abs() < VOXEL_MM3_MIN {
            return refuse("its voxels have no volume");
        }
        let m = &self.0;
        let cofactor = |r: usize, c: usize| {
            let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
            (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) / determinant
        };
        let origin = [m[0][3], m[1][3], m[2][3]];
        Ok(Self([0, 1, 2].map(|row| {
            let [a, b, c] = [0, 1, 2].map(|column| cofactor(column, row));
            [a, b, c, -(a * origin[0] + b * origin[1] + c * origin[2])]
        })))
    }
}

/// A label array seen in LPS order: the first index grows to the patient's left, the second to
/// posterior, the third to superior, as nearly as the affine allows.
#[derive(Clone, Debug)]
pub(crate) struct Oriented<'a> {
    pub(crate) labels: ArrayView3<'a, u8>,
    pub(crate) world_from_voxel: Transform,
    pub(crate) spacing: VoxelSpacing,
}

impl<'a> Oriented<'a> {
    /// Turns a view, without copying.
    ///
    /// # Errors
    /// [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`].
    pub(crate) fn new(
        labels: ArrayView3<'a, u8>,
        world_from_voxel: Transform,
    ) -> Result<Self, AnatomyError> {
        if labels.is_empty() {
            return Err(AnatomyError::NoVoxels);
        }
        world_from_voxel.inverse()?;
        let order = axis_order(&world_from_voxel);
        let mut labels = labels.permuted_axes(order);
        let mut affine = Transform(world_from_voxel.0.map(|[a, b, c, d]| {
            let row = [a, b, c];
            [row[order[0]], row[order[1]], row[order[2]], d]
        }));
        // LPS: against the first two axes of RAS+, along the third.
        for (axis, along) in [(0, -1.0), (1, -1.0), (2, 1.0)] {
            if affine.0[axis][axis] * along >= 0.0 {
                continue;
            }
            let last = labels.len_of(Axis(axis)) as f64 - 1.0;
            labels.invert_axis(Axis(axis));
            for row in &mut affine.0 {
                row[3] += last * row[axis];
                row[axis] = -row[axis];
            }
        }
        let length = |axis: usize| affine.step(axis).iter().map(|c| c * c).sum::<f64>().sqrt();
        let spacing = VoxelSpacing::from_mm([length(0), length(1), length(2)])
            .map_err(|error| AnatomyError::Geometry { reason: error.to_string() })?;
        Ok(Self { labels, world_from_voxel: affine, spacing })
    }

    /// Returns the voxels along each axis.
    pub(crate) fn shape(&self) -> [usize; 3] {
        let (x, y, z) = self.labels.dim();
        [x, y, z]
    }

    /// Returns the part inside `bounds`, in row-major order, with its own affine.
    pub(crate) fn crop(&self, bounds: &Bounds) -> Part {
        let mut view = self.labels.view();
        for axis in 0..3 {
            let range = bounds.start[axis]..bounds.end[axis];
            view.slice_axis_inplace(Axis(axis), Slice::from(range));
        }
        Part { labels: view.as_standard_layout().into_owned(), start: bounds.start }
    }
}

/// A copied part of an [`Oriented`] mask.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Row-major, `[x, y, z]`.
    pub(crate) labels: Array3<u8>,
    /// Index of its first voxel in the mask.
    pub(crate) start: [usize; 3],
}

/// Returns which array axis runs along each world axis: the order with the largest product of
/// direction cosines.
fn axis_order(affine: &Transform) -> [usize; 3] {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let fit = |order: &[usize; 3]| -> f64 {
        let along = order.iter().enumerate().map(|(world, &axis)| {
            let step = affine.step(axis);
            let length = step.iter().map(|c| c * c).sum::<f64>().sqrt();
            step[world].abs() / length
        });
        along.product()
    };
    let mut best = ORDERS[0];
    for order in ORDERS {
        if fit(&order) > fit(&best) {
            best = order;
        }
    }
    best
}

/// A box of voxels: from the first index, inclusive, to the end, exclusive, along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: [usize; 3],
    pub(crate) end: [usize; 3],
}

impl Bounds {
    /// Returns the smallest box around `voxels`; `None` if there are none.
    pub(crate) fn around(voxels: impl Iterator<Item = [usize; 3]>) -> Option<Self> {
        let mut bounds: Option<Self> = None;
        for voxel in voxels {
            let bounds = bounds.get_or_insert(Self { start: voxel, end: voxel });
            for (axis, index) in voxel.into_iter().enumerate() {
                bounds.start[axis] = bounds.start[axis].min(index);
                bounds.end[axis] = bounds.end[axis].max(index + 1);
            }
        }
        bounds
    }

    /// Returns the box widened on each face by at least `reach_mm`, within a grid of `shape`.
    pub(crate) fn widened(&self, reach_mm: f64, spacing: VoxelSpacing, shape: [usize; 3]) -> Self {
        let mut wide = *self;
        for (axis, step_mm) in spacing.as_mm().into_iter().enumerate() {
            let reach = (reach_mm / step_mm).ceil() as usize;
            wide.start[axis] = self.start[axis].saturating_sub(reach);
            wide.end[axis] = self.end[axis].saturating_add(reach).min(shape[axis]);
        }
        wide
    }

    /// Returns the voxels along each axis.
    pub(crate) fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.end[axis] - self.start[axis])
    }
}
