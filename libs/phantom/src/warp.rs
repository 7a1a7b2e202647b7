//! Volumes of four channels that are read at any place, and the map from the voxels of a patch to
//! places in them.

use rand::RngCore;

use crate::field::SmoothField;

/// Four channels side by side, so that one place costs one address.
#[derive(Clone, Debug)]
pub struct Interleaved {
    shape: [usize; 3],
    voxels: Vec<[f32; 4]>,
}

impl Interleaved {
    /// Returns the volume of `shape` with `voxels` in `[x, y, z]` order, or `None` if their number
    /// does not fit.
    pub fn new(shape: [usize; 3], voxels: Vec<[f32; 4]>) -> Option<Self> {
        let expected = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side))?;
        (expected == voxels.len()).then_some(Self { shape, voxels })
    }

    /// Returns the number of voxels along `[x, y, z]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Returns the voxels in `[x, y, z]` order.
    pub fn voxels(&self) -> &[[f32; 4]] {
        &self.voxels
    }

    /// Returns the voxels in `[x, y, z]` order, for changes.
    pub fn voxels_mut(&mut self) -> &mut [[f32; 4]] {
        &mut self.voxels
    }

    /// Returns the values at a place, in voxels, by linear interpolation; 0 outside.
    #[inline]
    pub fn at(&self, [x, y, z]: [f32; 3]) -> [f32; 4] {
        let [_, count_y, count_z] = self.shape;
        let Some((start, [tx, ty, tz])) = locate(self.shape, [x, y, z]) else { return [0.0; 4] };
        let along_z = |start: usize| match self.voxels.get(start..start + 2) {
            Some([low, high]) => blend(low, high, tz),
            _ => [0.0; 4],
        };
        let next_x = start + count_y * count_z;
        let low = blend(&along_z(start), &along_z(start + count_z), ty);
        let high = blend(&along_z(next_x), &along_z(next_x + count_z), ty);
        blend(&low, &high, tx)
    }
}

/// Returns the index of the voxel below a place and the place's fractions, or `None` outside.
#[inline]
fn locate(shape: [usize; 3], place: [f32; 3]) -> Option<(usize, [f32; 3])> {
    let [x, y, z] = place;
    // Not a number fails the comparison too.
    if !(x >= 0.0 && y >= 0.0 && z >= 0.0) {
        return None;
    }
    let (i, j, k) = (x as usize, y as usize, z as usize);
    if i + 1 >= shape[0] || j + 1 >= shape[1] || k + 1 >= shape[2] {
        return None;
    }
    Some(((i * shape[1] + j) * shape[2] + k, [x - i as f32, y - j as f32, z - k as f32]))
}

#[inline]
fn blend(low: &[f32; 4], high: &[f32; 4], share: f32) -> [f32; 4] {
    [
        low[0] + (high[0] - low[0]) * share,
        low[1] + (high[1] - low[1]) * share,
        low[2] + (high[2] - low[2]) * share,
        low[3] + (high[3] - low[3]) * share,
    ]
}

/// Returns the index of the voxel nearest to a place, or `None` outside.
#[inline]
pub fn nearest(shape: [usize; 3], place: [f32; 3]) -> Option<usize> {
    let [x, y, z] = place.map(|at| at + 0.5);
    if !(x >= 0.0 && y >= 0.0 && z >= 0.0) {
        return None;
    }
    let (i, j, k) = (x as usize, y as usize, z as usize);
    (i < shape[0] && j < shape[1] && k < shape[2]).then(|| (i * shape[1] + j) * shape[2] + k)
}

/// A 3 x 3 matrix, rows first.
pub type Matrix = [[f32; 3]; 3];

/// The identity.
pub const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Returns the product of two matrices.
pub fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut result = [[0.0; 3]; 3];
    for (row, out) in a.iter().zip(&mut result) {
        for (column, value) in out.iter_mut().enumerate() {
            *value = row[0] * b[0][column] + row[1] * b[1][column] + row[2] * b[2][column];
        }
    }
    result
}

/// Returns the matrix times a vector.
#[inline]
pub fn apply(matrix: &Matrix, [x, y, z]: [f32; 3]) -> [f32; 3] {
    [0, 1, 2].map(|row: usize| matrix[row][0] * x + matrix[row][1] * y + matrix[row][2] * z)
}

/// Returns the rotation about x, then y, then z, by angles in radians.
pub fn rotation([about_x, about_y, about_z]: [f32; 3]) -> Matrix {
    let (sin_x, cos_x) = about_x.sin_cos();
    let (sin_y, cos_y) = about_y.sin_cos();
    let (sin_z, cos_z) = about_z.sin_cos();
    let x = [[1.0, 0.0, 0.0], [0.0, cos_x, -sin_x], [0.0, sin_x, cos_x]];
    let y = [[cos_y, 0.0, sin_y], [0.0, 1.0, 0.0], [-sin_y, 0.0, cos_y]];
    let z = [[cos_z, -sin_z, 0.0], [sin_z, cos_z, 0.0], [0.0, 0.0, 1.0]];
    product(&z, &product(&y, &x))
}

/// Returns the matrix with its columns scaled.
pub fn scaled(matrix: &Matrix, scale: [f32; 3]) -> Matrix {
    matrix.map(|row| [row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]])
}

/// The map from the voxels of a patch to places in a source volume.
#[derive(Clone, Debug)]
pub struct Warp {
    /// Voxels of the patch, `[x, y, z]`.
    pub shape: [usize; 3],
    /// Place in the source of the patch's centre.
    pub centre: [f32; 3],
    /// Step in the source for a step in the patch.
    pub matrix: Matrix,
    /// Smooth displacement in voxels of the source, by axis.
    pub displacement: Option<[SmoothField; 3]>,
}

/// Places in the source of one row of a patch.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Places, one a voxel along z.
    pub at: Vec<[f32; 3]>,
    scratch: Vec<f32>,
}

impl Warp {
    /// Returns the map that reads a volume as it is.
    pub fn identity(shape: [usize; 3]) -> Self {
        let centre = shape.map(|side| (side as f32 - 1.0) / 2.0);
        Self { shape, centre, matrix: IDENTITY, displacement: None }
    }

    /// Draws a smooth displacement of standard deviation `deviation` voxels.
    pub fn displace(&mut self, rng: &mut impl RngCore, cell_voxels: f32, deviation: f32) {
        if deviation > 0.0 {
            let mut axis = || SmoothField::random(rng, self.shape, cell_voxels, deviation);
            self.displacement = Some([axis(), axis(), axis()]);
        }
    }

    /// Returns the place of one voxel of the patch, without the displacement.
    pub fn place(&self, voxel: [f32; 3]) -> [f32; 3] {
        let middle = self.shape.map(|side| (side as f32 - 1.0) / 2.0);
        let step = apply(&self.matrix, [0, 1, 2].map(|axis: usize| voxel[axis] - middle[axis]));
        [0, 1, 2].map(|axis: usize| self.centre[axis] + step[axis])
    }

    /// Writes the places of the row `[x, y, 0..]`.
    pub fn fill_row(&self, x: usize, y: usize, places: &mut Places) {
        let count = self.shape[2];
        let start = self.place([x as f32, y as f32, 0.0]);
        let step = self.matrix.map(|row| row[2]);
        places.at.clear();
        places.at.extend((0..count).map(|z| {
            let z = z as f32;
            [start[0] + step[0] * z, start[1] + step[1] * z, start[2] + step[2] * z]
        }));
        let Some(fields) = &self.displacement else { return };
        places.scratch.resize(count, 0.0);
        for (axis, field) in fields.iter().enumerate() {
            field.fill_row(x, y, &mut places.scratch);
            for (place, shift) in places.at.iter_mut().zip(&places.scratch) {
                place[axis] += shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: [usize; 3]) -> Interleaved {
        let [nx, ny, nz] = shape;
        let voxels = (0..nx * ny * nz)
            .map(|i| [(i / (ny * nz)) as f32, (i / nz % ny) as f32, (i % nz) as f32, 1.0])
            .collect();
        Interleaved::new(shape, voxels).unwrap()
    }

    #[test]
    fn interpolation_is_exact_on_a_ramp_and_zero_outside() {
        let volume = ramp([4, 5, 6]);
        assert_eq!(volume.at([1.25, 2.5, 3.75]), [1.25, 2.5, 3.75, 1.0]);
        for outside in [[-0.1, 1.0, 1.0], [3.5, 1.0, 1.0], [f32::NAN, 1.0, 1.0], [1.0, 1.0, 9.0]] {
            assert_eq!(volume.at(outside), [0.0; 4]);
        }
        assert!(Interleaved::new([2, 2, 2], vec![[0.0; 4]; 7]).is_none());
    }

    #[test]
    fn nearest_rounds_and_refuses_outside() {
        assert_eq!(nearest([4, 5, 6], [1.4, 1.6, 0.0]), Some((5 + 2) * 6));
        assert_eq!(nearest([4, 5, 6], [3.6, 0.0, 0.0]), None);
        assert_eq!(nearest([4, 5, 6], [-0.6, 0.0, 0.0]), None);
    }

    #[test]
    fn the_identity_warp_visits_each_voxel() {
        let warp = Warp::identity([4, 5, 6]);
        let mut places = Places::default();
        warp.fill_row(2, 3, &mut places);
        let expected: Vec<[f32; 3]> = (0..6).map(|z| [2.0, 3.0, z as f32]).collect();
        assert_eq!(places.at, expected);
    }

    #[test]
    fn a_rotation_keeps_lengths() {
        let matrix = rotation([0.3, -0.7, 1.1]);
        let [x, y, z] = apply(&matrix, [1.0, 2.0, 3.0]);
        assert!((x * x + y * y + z * z - 14.0).abs() < 1e-4);
        assert_eq!(product(&matrix, &IDENTITY), matrix);
    }
}
