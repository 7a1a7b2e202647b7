//! The map from voxel indices to the patient, in RAS+ millimetres.

use std::fmt;

use neurotriage_domain::VoxelSpacing;
use serde::{Deserialize, Serialize};

/// Shortest and longest voxel edge that is believed, in millimetres.
const SPACING_MM_MIN: f64 = 1e-3;
const SPACING_MM_MAX: f64 = 1e3;
/// Volume of the voxel over the product of its edges, below which its axes lie in one plane.
const SKEW_MIN: f64 = 1e-2;

/// Affine map from voxel index `[x, y, z]` to RAS+ millimetres: x grows to the patient's right, y
/// to anterior, z to superior.
///
/// Invariant: finite, last row `0 0 0 1`, invertible, voxel edges between 0.001 and 1000 mm.
/// [`Affine::from_rows`] checks it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[[f64; 4]; 4]", into = "[[f64; 4]; 4]")]
pub struct Affine {
    rows: [[f64; 4]; 4],
    spacing: VoxelSpacing,
}

/// A matrix that maps no voxel grid into space.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidAffine {
    /// An entry is NaN or infinite.
    #[error("entry [{row}][{column}] is not finite")]
    NotFinite {
        /// Row, `0..4`.
        row: usize,
        /// Column, `0..4`.
        column: usize,
    },
    /// The last row is not `0 0 0 1`.
    #[error("last row must be 0 0 0 1")]
    LastRow,
    /// A voxel edge is outside 0.001 to 1000 mm.
    #[error("voxel edge {axis} is {length_mm} mm; expected 0.001 to 1000 mm")]
    Edge {
        /// Index axis, `x`, `y` or `z`.
        axis: char,
        /// Length of the edge.
        length_mm: f64,
    },
    /// The three axes lie in one plane.
    #[error("voxel axes lie in one plane")]
    Flat,
}

impl Affine {
    /// Returns the affine with these rows.
    ///
    /// # Errors
    /// [`InvalidAffine`] says which part of the invariant does not hold.
    pub fn from_rows(rows: [[f64; 4]; 4]) -> Result<Self, InvalidAffine> {
        for (row, values) in rows.iter().enumerate() {
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                return Err(InvalidAffine::NotFinite { row, column });
            }
        }
        if rows[3] != [0.0, 0.0, 0.0, 1.0] {
            return Err(InvalidAffine::LastRow);
        }
        let edges_mm = edges(&rows);
        for (axis, length_mm) in ['x', 'y', 'z'].into_iter().zip(edges_mm) {
            if !(SPACING_MM_MIN..=SPACING_MM_MAX).contains(&length_mm) {
                return Err(InvalidAffine::Edge { axis, length_mm });
            }
        }
        if determinant(&rows).abs() < SKEW_MIN * edges_mm.iter().product::<f64>() {
            return Err(InvalidAffine::Flat);
        }
        let spacing = VoxelSpacing::from_mm(edges_mm).map_err(|_| InvalidAffine::Flat)?;
        Ok(Self { rows, spacing })
    }

    /// Returns the affine of a grid whose indices run to left, posterior and superior.
    ///
    /// `origin_mm` is the RAS+ position of voxel `[0, 0, 0]`.
    ///
    /// # Errors
    /// [`InvalidAffine`] if the origin is not finite or the spacing is outside 0.001 to 1000 mm.
    pub fn lps(spacing: VoxelSpacing, origin_mm: [f64; 3]) -> Result<Self, InvalidAffine> {
        let [x, y, z] = spacing.as_mm();
        Self::from_rows([
            [-x, 0.0, 0.0, origin_mm[0]],
            [0.0, -y, 0.0, origin_mm[1]],
            [0.0, 0.0, z, origin_mm[2]],
            [0.0, 0.0, 0.0, 1.0],
        ])
    }

    /// Returns the affine of every BraTS volume: LPS, 1 mm, origin `[0, 239, 0]`.
    pub fn brats() -> Self {
        let rows = [
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, -1.0, 0.0, 239.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        #[expect(clippy::expect_used, reason = "a constant, read by every test")]
        Self::from_rows(rows).expect("the affine of BraTS is valid")
    }

    /// Returns the rows.
    pub fn rows(&self) -> &[[f64; 4]; 4] {
        &self.rows
    }

    /// Returns the distance between voxel centres along each index axis.
    pub fn spacing(&self) -> VoxelSpacing {
        self.spacing
    }

    /// Returns the RAS+ position, in millimetres, of a voxel index.
    pub fn apply(&self, voxel: [f64; 3]) -> [f64; 3] {
        map(&self.rows, voxel)
    }

    /// Returns the voxel index, not rounded, of a RAS+ position in millimetres.
    pub fn voxel_at(&self, ras_mm: [f64; 3]) -> [f64; 3] {
        map(&self.inverse(), ras_mm)
    }

    /// Returns the rows of the inverse map, RAS+ millimetres to voxel index.
    ///
    /// Rows and not an [`Affine`]: the inverse maps no voxels, so its columns are no spacing.
    pub fn inverse(&self) -> [[f64; 4]; 4] {
        let m = &self.rows;
        let determinant = determinant(m);
        let mut inverse = [[0.0; 4]; 4];
        for row in 0..3 {
            for column in 0..3 {
                let (a, b) = ((column + 1) % 3, (column + 2) % 3);
                let (c, d) = ((row + 1) % 3, (row + 2) % 3);
                inverse[row][column] = (m[a][c] * m[b][d] - m[a][d] * m[b][c]) / determinant;
            }
        }
        for row in &mut inverse[..3] {
            row[3] = -(row[0] * m[0][3] + row[1] * m[1][3] + row[2] * m[2][3]);
        }
        inverse[3][3] = 1.0;
        inverse
    }

    /// Returns the direction in which each index axis runs; for an oblique grid, the nearest one.
    pub fn orientation(&self) -> Orientation {
        let spacing_mm = self.spacing.as_mm();
        let cosine = |world: usize, index: usize| self.rows[world][index] / spacing_mm[index];
        let mut best = (f64::NEG_INFINITY, PERMUTATIONS[0]);
        for world_of in PERMUTATIONS {
            let score = (0..3).map(|index| cosine(world_of[index], index).abs()).sum();
            // A tie, as at exactly 45 degrees, keeps the earlier permutation.
            if score > best.0 + 1e-9 {
                best = (score, world_of);
            }
        }
        let world_of = best.1;
        Orientation {
            world_of,
            positive: [0, 1, 2].map(|index| cosine(world_of[index], index) > 0.0),
        }
    }

    /// Returns the largest difference to another affine, as a share of the allowed scale: of the
    /// voxel edge for directions, of 1 mm or the larger offset for the origin.
    pub fn difference(&self, other: &Self) -> f64 {
        let mut largest = 0.0_f64;
        for row in 0..3 {
            for column in 0..3 {
                let scale = self.spacing.as_mm()[column];
                let delta = self.rows[row][column] - other.rows[row][column];
                largest = largest.max((delta / scale).abs());
            }
            let scale = self.rows[row][3].abs().max(1.0);
            largest = largest.max(((self.rows[row][3] - other.rows[row][3]) / scale).abs());
        }
        largest
    }
}

impl TryFrom<[[f64; 4]; 4]> for Affine {
    type Error = InvalidAffine;

    fn try_from(rows: [[f64; 4]; 4]) -> Result<Self, InvalidAffine> {
        Self::from_rows(rows)
    }
}

impl From<Affine> for [[f64; 4]; 4] {
    fn from(affine: Affine) -> Self {
        affine.rows
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, [x, y, z, offset]) in self.rows[..3].iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{x} {y} {z} {offset}")?;
        }
        Ok(())
    }
}

const PERMUTATIONS: [[usize; 3]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The direction in which each index axis of a grid runs, such as `LPS`. One of 48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// World axis (0 right, 1 anterior, 2 superior) of each index axis; a permutation.
    world_of: [usize; 3],
    /// True where the index grows to right, anterior or superior.
    positive: [bool; 3],
}

/// Text that is no orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown orientation; expected three letters, one each of L or R, A or P, S or I")]
pub struct UnknownOrientation;

impl Orientation {
    /// Left, posterior, superior: the canonical index order.
    pub const LPS: Self = Self { world_of: [0, 1, 2], positive: [false, false, true] };

    /// Returns all 48 orientations.
    pub fn all() -> impl Iterator<Item = Self> {
        PERMUTATIONS.into_iter().flat_map(|world_of| {
            (0..8_u8).map(move |bits| Self {
                world_of,
                positive: [bits & 1 == 0, bits & 2 == 0, bits & 4 == 0],
            })
        })
    }

    /// Returns the letter of each index axis: `R`, `L`, `A`, `P`, `S` or `I`.
    pub fn letters(self) -> [char; 3] {
        const POSITIVE: [char; 3] = ['R', 'A', 'S'];
        const NEGATIVE: [char; 3] = ['L', 'P', 'I'];
        [0, 1, 2].map(|index: usize| {
            let letters = if self.positive[index] { POSITIVE } else { NEGATIVE };
            letters[self.world_of[index]]
        })
    }

    /// Returns the world axis of each index axis: 0 right-left, 1 anterior-posterior, 2
    /// superior-inferior.
    pub fn world_axes(self) -> [usize; 3] {
        self.world_of
    }

    /// Returns, for each index axis, whether it grows to right, anterior or superior.
    pub fn is_positive(self) -> [bool; 3] {
        self.positive
    }
}

impl std::str::FromStr for Orientation {
    type Err = UnknownOrientation;

    fn from_str(text: &str) -> Result<Self, UnknownOrientation> {
        Self::all().find(|orientation| orientation.to_string() == text).ok_or(UnknownOrientation)
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().into_iter().try_for_each(|letter| write!(f, "{letter}"))
    }
}

fn edges(rows: &[[f64; 4]; 4]) -> [f64; 3] {
    [0, 1, 2].map(|column: usize| {
        (0..3).map(|row| rows[row][column] * rows[row][column]).sum::<f64>().sqrt()
    })
}

fn determinant(m: &[[f64; 4]; 4]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

fn map(m: &[[f64; 4]; 4], [x, y, z]: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|row: usize| m[row][0] * x + m[row][1] * y + m[row][2] * z + m[row][3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brats_is_lps_at_one_millimetre() {
        let affine = Affine::brats();
        assert_eq!(affine.orientation(), Orientation::LPS);
        assert_eq!(affine.orientation().to_string(), "LPS");
        assert_eq!(affine.spacing().as_mm(), [1.0; 3]);
        assert_eq!(affine.apply([0.0, 239.0, 10.0]), [0.0, 0.0, 10.0]);
        assert_eq!(affine.to_string(), "-1 0 0 0; 0 -1 0 239; 0 0 1 0");
    }

    #[test]
    fn matrices_that_map_no_grid_are_refused() {
        let good = *Affine::brats().rows();
        let mut with_nan = good;
        with_nan[1][3] = f64::NAN;
        let mut projective = good;
        projective[3][0] = 1.0;
        let mut zero_edge = good;
        zero_edge[2][2] = 0.0;
        let mut flat = good;
        flat[1] = [0.0, 0.0, 0.0, 239.0];
        flat[0][1] = -1.0;
        let table = [
            ("nan", with_nan, "[1][3]"),
            ("last row", projective, "last row"),
            ("zero edge", zero_edge, "edge z"),
            ("flat", flat, "one plane"),
        ];
        for (case, rows, phrase) in table {
            let message = Affine::from_rows(rows).expect_err(case).to_string();
            assert!(message.contains(phrase), "case {case}: {message}");
        }
    }

    #[test]
    fn there_are_48_orientations_and_each_reads_back() {
        let mut names: Vec<String> = Orientation::all().map(|o| o.to_string()).collect();
        for name in &names {
            assert_eq!(name.parse::<Orientation>().unwrap().to_string(), *name);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 48);
        assert_eq!("LLS".parse::<Orientation>(), Err(UnknownOrientation));
    }

    proptest! {
        #[test]
        fn inverse_undoes_the_map_and_small_tilts_keep_the_orientation(
            which in 0..48_usize, tilt in -0.3..0.3_f64, edge in 0.3..5.0_f64,
            voxel in proptest::array::uniform3(-300.0..300.0_f64),
        ) {
            let orientation = Orientation::all().nth(which).unwrap();
            let affine = oblique(orientation, tilt, edge);
            prop_assert_eq!(affine.orientation(), orientation);
            prop_assert!((affine.spacing().as_mm()[0] - edge).abs() < 1e-9);
            let back = affine.voxel_at(affine.apply(voxel));
            for axis in 0..3 {
                prop_assert!((back[axis] - voxel[axis]).abs() < 1e-6);
            }
        }
    }

    /// Rotates the grid around the superior axis by `tilt` radians.
    fn oblique(orientation: Orientation, tilt: f64, edge: f64) -> Affine {
        let mut rows = [[0.0; 4]; 4];
        rows[3][3] = 1.0;
        for index in 0..3 {
            let sign = if orientation.positive[index] { edge } else { -edge };
            rows[orientation.world_of[index]][index] = sign;
        }
        for column in 0..3 {
            let (x, y) = (rows[0][column], rows[1][column]);
            rows[0][column] = tilt.cos() * x - tilt.sin() * y;
            rows[1][column] = tilt.sin() * x + tilt.cos() * y;
        }
        rows[0][3] = 17.5;
        rows[1][3] = -40.0;
        Affine::from_rows(rows).unwrap()
    }
}
