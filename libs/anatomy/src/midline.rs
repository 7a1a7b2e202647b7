//! The plane between the hemispheres.

use ndarray::{ArrayView3, Axis};
use neurotriage_domain::Side;
use neurotriage_imaging::AffineMap;

/// The plane `x = a y + b z + c` in RAS+ millimetres: left of it lies the patient's left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MidlinePlane {
    slope_y: f64,
    slope_z: f64,
    offset_mm: f64,
}

/// Fewest voxels of each side in a row for the row to tell where the midline is.
const ROW_VOXELS_MIN: usize = 15;

/// Fewest such rows.
const ROWS_MIN: usize = 100;

impl MidlinePlane {
    /// Fits the plane to the border between left and right regions, by least squares.
    ///
    /// In each row of voxels along the first axis the border is the cut that leaves most voxels
    /// on their own side. `None` if there are too few rows with both sides.
    ///
    /// # Shapes
    /// - `sides`: `[x, y, z]` in LPS order, so the first index grows to the left
    pub(crate) fn fit(
        sides: ArrayView3<'_, Option<Side>>,
        world_from_voxel: &AffineMap,
    ) -> Option<Self> {
        let (_, ny, nz) = sides.dim();
        let mut points = Vec::new();
        for y in 0..ny {
            for z in 0..nz {
                let row = sides.index_axis(Axis(2), z);
                let row = row.index_axis(Axis(1), y);
                if let Some(cut) = border(row.iter().copied()) {
                    points.push(world_from_voxel.apply([cut, y as f64, z as f64]));
                }
            }
        }
        if points.len() < ROWS_MIN { None } else { least_squares(&points) }
    }

    /// Returns the side of a point in RAS+ millimetres.
    pub(crate) fn side(&self, point_mm: [f64; 3]) -> Side {
        if self.right_of_mm(point_mm) < 0.0 { Side::Left } else { Side::Right }
    }

    /// Returns the distance of a point from the plane along x, positive on the right.
    pub(crate) fn right_of_mm(&self, [x, y, z]: [f64; 3]) -> f64 {
        x - self.x_mm(y, z)
    }

    /// Returns where the plane lies at y and z.
    pub(crate) fn x_mm(&self, y: f64, z: f64) -> f64 {
        self.slope_y * y + self.slope_z * z + self.offset_mm
    }
}

/// Returns the index, between two voxels, before which lies right and after which lies left.
fn border(row: impl Iterator<Item = Option<Side>>) -> Option<f64> {
    let (mut right, mut left) = (0_usize, 0_usize);
    // Right voxels before the cut less left voxels before it is highest at the best cut.
    let (mut score, mut best, mut first, mut last) = (0_i64, 0_i64, 0_usize, 0_usize);
    for (index, side) in row.enumerate() {
        match side {
            Some(Side::Right) => {
                right += 1;
                score += 1;
            }
            Some(Side::Left) => {
                left += 1;
                score -= 1;
            }
            Some(Side::Midline) | None => {}
        }
        if score > best {
            (best, first) = (score, index);
        }
        if score == best {
            last = index;
        }
    }
    if right < ROW_VOXELS_MIN || left < ROW_VOXELS_MIN {
        return None;
    }
    Some((first + last) as f64 / 2.0 + 0.5)
}

/// Returns the plane through points with the least squares of distance along x.
fn least_squares(points: &[[f64; 3]]) -> Option<MidlinePlane> {
    let count = points.len() as f64;
    let mut mean = [0.0; 3];
    for point in points {
        for axis in 0..3 {
            mean[axis] += point[axis] / count;
        }
    }
    let (mut yy, mut yz, mut zz, mut xy, mut xz) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for point in points {
        let [x, y, z] = [0, 1, 2].map(|axis| point[axis] - mean[axis]);
        yy += y * y;
        yz += y * z;
        zz += z * z;
        xy += x * y;
        xz += x * z;
    }
    let determinant = yy * zz - yz * yz;
    if determinant.abs() < f64::EPSILON {
        return None;
    }
    let slope_y = (xy * zz - xz * yz) / determinant;
    let slope_z = (xz * yy - xy * yz) / determinant;
    let offset_mm = mean[0] - slope_y * mean[1] - slope_z * mean[2];
    Some(MidlinePlane { slope_y, slope_z, offset_mm })
}
