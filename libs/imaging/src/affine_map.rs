//! Affine maps of points.

use serde::{Deserialize, Serialize};

use crate::Affine;

/// Smallest determinant of a map that can be undone.
const DETERMINANT_MIN: f64 = 1e-6;

/// An affine map of points to points, such as of RAS+ millimetres to RAS+ millimetres or of voxel
/// indices to millimetres: three rows of four.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AffineMap {
    /// Rows of the matrix, each followed by its shift.
    pub rows: [[f64; 4]; 3],
}

impl AffineMap {
    /// The map that changes nothing.
    pub const IDENTITY: Self =
        Self { rows: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]] };

    /// Returns the map that shifts `from` to `to`.
    pub fn shift(from: [f64; 3], to: [f64; 3]) -> Self {
        let mut map = Self::IDENTITY;
        for axis in 0..3 {
            map.rows[axis][3] = to[axis] - from[axis];
        }
        map
    }

    /// Returns the turn by `radians` about each RAS+ axis in turn, x first, about `centre`.
    pub fn rotation(centre: [f64; 3], radians: [f64; 3]) -> Self {
        let mut turn = Self::IDENTITY;
        for (axis, angle) in radians.into_iter().enumerate() {
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            let (sine, cosine) = angle.sin_cos();
            let mut one = Self::IDENTITY;
            one.rows[a][a] = cosine;
            one.rows[a][b] = -sine;
            one.rows[b][a] = sine;
            one.rows[b][b] = cosine;
            turn = one.after(&turn);
        }
        Self::shift([0.0; 3], centre).after(&turn).after(&Self::shift(centre, [0.0; 3]))
    }

    /// Returns this map with the points turned about `centre` first.
    pub fn turned(&self, centre: [f64; 3], radians: [f64; 3]) -> Self {
        self.after(&Self::rotation(centre, radians))
    }

    /// Returns where a point goes.
    pub fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        self.rows.map(|[a, b, c, d]| a * point[0] + b * point[1] + c * point[2] + d)
    }

    /// Returns the map that applies `first`, then this one.
    pub fn after(&self, first: &Self) -> Self {
        let f = &first.rows;
        Self {
            rows: self.rows.map(|[a, b, c, d]| {
                let column = |j: usize| a * f[0][j] + b * f[1][j] + c * f[2][j];
                [column(0), column(1), column(2), column(3) + d]
            }),
        }
    }

    /// Returns the map that undoes this one; `None` if it flattens space.
    pub fn inverse(&self) -> Option<Self> {
        let m = &self.rows;
        let minor = |r: usize, c: usize| {
            let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
            m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
        };
        let determinant: f64 = (0..3).map(|column| m[0][column] * minor(0, column)).sum();
        if !determinant.is_finite() || determinant.abs() < DETERMINANT_MIN {
            return None;
        }
        let shift = [m[0][3], m[1][3], m[2][3]];
        Some(Self {
            rows: [0, 1, 2].map(|row| {
                let [a, b, c] = [0, 1, 2].map(|column| minor(column, row) / determinant);
                [a, b, c, -(a * shift[0] + b * shift[1] + c * shift[2])]
            }),
        })
    }

    /// Returns the step in space from one voxel to the next along an index axis, for a map from
    /// voxel indices.
    pub fn step(&self, axis: usize) -> [f64; 3] {
        self.rows.map(|row| row[axis])
    }

    /// Returns the factor by which it changes volumes.
    pub fn volume_factor(&self) -> f64 {
        let m = &self.rows;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }
}

impl From<&Affine> for AffineMap {
    fn from(affine: &Affine) -> Self {
        let [x, y, z, _] = *affine.rows();
        Self { rows: [x, y, z] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_and_its_inverse_give_the_point_back() {
        let map = AffineMap::shift([1.0, -2.0, 3.0], [0.5, 40.0, -7.0])
            .after(&AffineMap::rotation([5.0, 6.0, 7.0], [0.2, -0.3, 0.4]));
        let point = [12.0, -30.0, 44.0];
        let back = map.inverse().unwrap().apply(map.apply(point));
        assert!(back.iter().zip(point).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!((map.volume_factor() - 1.0).abs() < 1e-12);
        let mut flat = map;
        flat.rows[2] = flat.rows[1];
        assert_eq!(flat.inverse(), None);
    }

    #[test]
    fn a_turn_about_z_brings_right_to_front() {
        let quarter = AffineMap::rotation([0.0; 3], [0.0, 0.0, std::f64::consts::FRAC_PI_2]);
        let front = quarter.apply([1.0, 0.0, 0.0]);
        assert!((front[1] - 1.0).abs() < 1e-12 && front[0].abs() < 1e-12);
        let centre = [3.0, 4.0, 5.0];
        assert_eq!(AffineMap::rotation(centre, [0.1, 0.2, 0.3]).apply(centre), centre);
    }
}
