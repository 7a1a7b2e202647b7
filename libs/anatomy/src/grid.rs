//! Voxels in space: affines, and masks brought to LPS order.

use ndarray::{Array3, ArrayView3, Axis, Slice};
use neurotriage_domain::VoxelSpacing;
use neurotriage_imaging::AffineMap;

use crate::AnatomyError;

/// Returns the inverse of a map from voxel indices to millimetres.
///
/// # Errors
/// [`AnatomyError::Geometry`] if a number is not finite or the voxels have no volume.
pub(crate) fn inverse(world_from_voxel: &AffineMap) -> Result<AffineMap, AnatomyError> {
    let refuse = |reason: &str| AnatomyError::Geometry { reason: reason.to_owned() };
    if !world_from_voxel.rows.iter().flatten().all(|value| value.is_finite()) {
        return Err(refuse("it holds a number that is not finite"));
    }
    world_from_voxel.inverse().ok_or_else(|| refuse("its voxels have no volume"))
}

/// A label array seen in LPS order: the first index grows to the patient's left, the second to
/// posterior, the third to superior, as nearly as the affine allows.
#[derive(Clone, Debug)]
pub(crate) struct Oriented<'a> {
    pub(crate) labels: ArrayView3<'a, u8>,
    pub(crate) world_from_voxel: AffineMap,
    pub(crate) spacing: VoxelSpacing,
}

impl<'a> Oriented<'a> {
    /// Turns a view, without copying.
    ///
    /// # Errors
    /// [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`].
    pub(crate) fn new(
        labels: ArrayView3<'a, u8>,
        world_from_voxel: AffineMap,
    ) -> Result<Self, AnatomyError> {
        if labels.is_empty() {
            return Err(AnatomyError::NoVoxels);
        }
        inverse(&world_from_voxel)?;
        let order = axis_order(&world_from_voxel);
        let mut labels = labels.permuted_axes(order);
        let mut affine = AffineMap {
            rows: world_from_voxel.rows.map(|[a, b, c, d]| {
                let row = [a, b, c];
                [row[order[0]], row[order[1]], row[order[2]], d]
            }),
        };
        // LPS: against the first two axes of RAS+, along the third.
        for (axis, along) in [(0, -1.0), (1, -1.0), (2, 1.0)] {
            if affine.rows[axis][axis] * along >= 0.0 {
                continue;
            }
            let last = labels.len_of(Axis(axis)) as f64 - 1.0;
            labels.invert_axis(Axis(axis));
            for row in &mut affine.rows {
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

impl Part {
    /// Returns the index in the mask of a voxel of the part.
    pub(crate) fn in_mask(&self, voxel: [usize; 3]) -> [usize; 3] {
        [0, 1, 2].map(|axis| voxel[axis] + self.start[axis])
    }
}

/// Returns which array axis runs along each world axis: the order with the largest product of
/// direction cosines.
fn axis_order(affine: &AffineMap) -> [usize; 3] {
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
