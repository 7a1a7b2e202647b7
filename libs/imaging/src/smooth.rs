//! Gaussian smoothing, one axis after the other.

use ndarray::Array3;

/// Kernels reach this many standard deviations to each side.
const REACH_SIGMA: f64 = 4.0;

/// Longest reach of a kernel to each side, in voxels.
const REACH_VOXELS_MAX: usize = 256;

/// Returns the volume smoothed by a Gaussian of `sigma_voxels` along `[x, y, z]`; 0 leaves an axis
/// as it is.
///
/// Near the border the part of the kernel inside the volume is scaled to sum 1, so a constant
/// stays that constant.
pub fn gaussian(volume: &Array3<f32>, sigma_voxels: [f64; 3]) -> Array3<f32> {
    let mut result = volume.as_standard_layout().into_owned();
    for (axis, sigma) in sigma_voxels.into_iter().enumerate() {
        if sigma > 0.0 && result.len_of(ndarray::Axis(axis)) > 1 {
            let kernel = Kernel::new(sigma, result.len_of(ndarray::Axis(axis)));
            result = along_axis(&result, axis, |input, output, stride| {
                kernel.convolve(input, output, stride);
            });
        }
    }
    result
}

/// Calls `work(input, output, stride)` on every block of memory in which the lines along `axis`
/// are interleaved with `stride`.
fn along_axis(
    volume: &Array3<f32>,
    axis: usize,
    work: impl Fn(&[f32], &mut [f32], usize),
) -> Array3<f32> {
    let shape: [usize; 3] = volume.dim().into();
    let stride: usize = shape[axis + 1..].iter().product();
    let mut result = Array3::zeros(volume.dim());
    // Both are in standard layout, made above.
    let (Some(input), Some(output)) = (volume.as_slice(), result.as_slice_mut()) else {
        return volume.clone();
    };
    let block = stride * shape[axis];
    if block > 0 {
        for (input, output) in input.chunks_exact(block).zip(output.chunks_exact_mut(block)) {
            work(input, output, stride);
        }
    }
    result
}

/// A Gaussian for lines of one length.
struct Kernel {
    /// Weights at distance 0, 1, 2, ...
    half: Vec<f32>,
    /// One over the sum of the weights that lie inside the line, at each place.
    scales: Vec<f32>,
}

impl Kernel {
    fn new(sigma: f64, length: usize) -> Self {
        let reach = ((REACH_SIGMA * sigma).ceil() as usize).clamp(1, REACH_VOXELS_MAX);
        let half: Vec<f32> =
            (0..=reach).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp() as f32).collect();
        let mut kernel = Self { half, scales: Vec::with_capacity(length) };
        for at in 0..length {
            let sum: f32 = kernel.window(at, length).map(|from| kernel.weight(from, at)).sum();
            kernel.scales.push(1.0 / sum);
        }
        kernel
    }

    fn weight(&self, from: usize, to: usize) -> f32 {
        self.half[from.abs_diff(to)]
    }

    fn window(&self, at: usize, length: usize) -> std::ops::Range<usize> {
        let reach = self.half.len() - 1;
        at.saturating_sub(reach)..(at + reach + 1).min(length)
    }

    /// Smooths lines that are interleaved with `stride`.
    fn convolve(&self, input: &[f32], output: &mut [f32], stride: usize) {
        let length = self.scales.len();
        if stride == 1 {
            // Shifting the whole line keeps the inner loop long.
            for (distance, &weight) in self.half.iter().enumerate().take(length) {
                add_scaled(&mut output[distance..], input, weight);
                if distance > 0 {
                    add_scaled(output, &input[distance..], weight);
                }
            }
            output.iter_mut().zip(&self.scales).for_each(|(value, &scale)| *value *= scale);
            return;
        }
        for (at, row) in output.chunks_exact_mut(stride).enumerate() {
            for from in self.window(at, length) {
                let weight = self.weight(from, at) * self.scales[at];
                add_scaled(row, &input[from * stride..(from + 1) * stride], weight);
            }
        }
    }
}

fn add_scaled(output: &mut [f32], input: &[f32], weight: f32) {
    output.iter_mut().zip(input).for_each(|(out, &value)| *out += weight * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_and_a_point_becomes_the_kernel() {
        let flat = Array3::from_elem((7, 5, 9), 3.0_f32);
        let smoothed = gaussian(&flat, [1.0, 2.0, 0.7]);
        assert!(smoothed.iter().all(|value| (value - 3.0).abs() < 1e-5));

        let mut point = Array3::<f32>::zeros((21, 21, 21));
        point[[10, 10, 10]] = 1.0;
        let smoothed = gaussian(&point, [1.5; 3]);
        assert!((smoothed.sum() - 1.0).abs() < 1e-4);
        let falls = |d: f64| (-0.5 * (d / 1.5).powi(2)).exp();
        for index in [[12, 10, 10], [10, 12, 10], [10, 10, 12]] {
            let ratio = f64::from(smoothed[index] / smoothed[[10, 10, 10]]);
            assert!((ratio - falls(2.0)).abs() < 1e-4, "at {index:?}");
        }
    }

    #[test]
    fn zero_sigma_leaves_an_axis_alone() {
        let volume = Array3::from_shape_fn((4, 3, 5), |(x, y, z)| (x * 100 + y * 10 + z) as f32);
        assert_eq!(gaussian(&volume, [0.0; 3]), volume);
    }
}
