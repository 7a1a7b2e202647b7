//! Smooth random fields, and fast noise.

use rand::{Rng, RngCore};

/// Standard deviation of a cubic B-spline field whose nodes have standard deviation 1: the mean of
/// the sum of squared weights is .479 along one axis, .110 in space.
const SPLINE_DEVIATION: f32 = 0.332;

/// A uniform cubic B-spline over a box of voxels, given by coarse random nodes.
#[derive(Clone, Debug)]
pub struct SmoothField {
    nodes: Vec<f32>,
    counts: [usize; 3],
    cell_voxels: f32,
    /// For each voxel along z: first node, and the weights of it and the next three.
    along_z: Vec<(usize, [f32; 4])>,
}

impl SmoothField {
    /// Draws a field of mean 0 over a box of `shape` voxels.
    ///
    /// Values are nearly normal with standard deviation `deviation`; structures are about
    /// `cell_voxels` wide.
    pub fn random(
        rng: &mut impl RngCore,
        shape: [usize; 3],
        cell_voxels: f32,
        deviation: f32,
    ) -> Self {
        let cell_voxels = cell_voxels.max(1.0);
        let counts = shape.map(|side| (side as f32 / cell_voxels) as usize + 4);
        let mut noise = FastNoise::new(rng.next_u64());
        let scale = deviation / SPLINE_DEVIATION;
        let nodes = (0..counts.iter().product()).map(|_| noise.normal() * scale).collect();
        let along_z = (0..shape[2]).map(|z| weights(z as f32 / cell_voxels)).collect();
        Self { nodes, counts, cell_voxels, along_z }
    }

    /// Writes the values at `[x, y, 0..]` into `row`.
    ///
    /// Values beyond the box the field was drawn for are 0.
    pub fn fill_row(&self, x: usize, y: usize, row: &mut [f32]) {
        row.fill(0.0);
        let (first_x, weights_x) = weights(x as f32 / self.cell_voxels);
        let (first_y, weights_y) = weights(y as f32 / self.cell_voxels);
        let [count_x, count_y, count_z] = self.counts;
        if first_x + 4 > count_x || first_y + 4 > count_y {
            return;
        }
        let mut line = vec![0.0_f32; count_z];
        for (step_x, weight_x) in weights_x.iter().enumerate() {
            for (step_y, weight_y) in weights_y.iter().enumerate() {
                let start = ((first_x + step_x) * count_y + first_y + step_y) * count_z;
                let weight = weight_x * weight_y;
                for (sum, node) in line.iter_mut().zip(&self.nodes[start..start + count_z]) {
                    *sum += weight * node;
                }
            }
        }
        for (value, (first, weights_z)) in row.iter_mut().zip(&self.along_z) {
            if let Some([a, b, c, d]) = line.get(*first..first + 4) {
                *value = a * weights_z[0] + b * weights_z[1] + c * weights_z[2] + d * weights_z[3];
            }
        }
    }
}

/// Returns the first node and the four B-spline weights at position `at`, in cells.
fn weights(at: f32) -> (usize, [f32; 4]) {
    let first = at as usize;
    let t = at - first as f32;
    let u = 1.0 - t;
    let weights = [
        u * u * u / 6.0,
        (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
        (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0,
        t * t * t / 6.0,
    ];
    (first, weights)
}

/// Noise for millions of voxels: a 64-bit mixing function, not for anything but texture.
#[derive(Clone, Debug)]
pub struct FastNoise {
    state: u64,
}

impl FastNoise {
    /// Returns the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns a nearly normal value of mean 0 and standard deviation 1: the sum of four uniform
    /// ones, so never beyond ±3.5.
    pub fn normal(&mut self) -> f32 {
        /// The standard deviation of a sum of four uniform values in `0..65536`.
        const DEVIATION: f32 = 37_837.2;
        let bits = self.bits();
        let sum =
            (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        (sum as f32 - 131_070.0) / DEVIATION
    }
}

/// Returns a normal value of mean 0 and standard deviation 1.
pub fn normal(rng: &mut impl RngCore) -> f32 {
    FastNoise::new(rng.next_u64()).normal()
}

/// Returns a uniform value between `low` and `high`, in either order.
pub fn uniform(rng: &mut impl RngCore, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn fields_have_the_deviation_asked_for_and_are_smooth() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let field = SmoothField::random(&mut rng, [64, 64, 64], 4.0, 2.0);
        let (mut squares, mut steps, mut count) = (0.0_f64, 0.0_f64, 0.0);
        let mut row = [0.0; 64];
        for x in 0..64 {
            for y in 0..64 {
                field.fill_row(x, y, &mut row);
                squares += row.iter().map(|v| f64::from(v * v)).sum::<f64>();
                steps += row.windows(2).map(|w| f64::from((w[1] - w[0]).powi(2))).sum::<f64>();
                count += 64.0;
            }
        }
        let deviation = (squares / count).sqrt();
        assert!((deviation - 2.0).abs() < 0.15, "{deviation}");
        assert!((steps / count).sqrt() < 0.7, "{steps}");
    }

    #[test]
    fn rows_outside_the_box_are_zero() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let field = SmoothField::random(&mut rng, [8, 8, 8], 4.0, 1.0);
        let mut row = [1.0; 12];
        field.fill_row(100, 0, &mut row);
        assert_eq!(row, [0.0; 12]);
        field.fill_row(0, 0, &mut row);
        assert_eq!(row[8..], [0.0; 4]);
        assert!(row[..8].iter().any(|&value| value != 0.0));
    }

    #[test]
    fn noise_is_standard_normal_in_its_first_two_moments() {
        let mut noise = FastNoise::new(1);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(noise.normal())).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
