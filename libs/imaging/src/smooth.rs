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
            let weights = half_kernel(sigma);
            result = along_axis(&result, axis, |line_in, line_out, stride| {
                convolve(line_in, line_out, stride, &weights);
            });
        }
    }
    result
}

/// Returns the weights of a Gaussian at distance 0, 1, 2, ..., not normalised.
fn half_kernel(sigma: f64) -> Vec<f32> {
    let reach = ((REACH_SIGMA * sigma).ceil() as usize).clamp(1, REACH_VOXELS_MAX);
    (0..=reach).map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp() as f32).collect()
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

fn convolve(input: &[f32], output: &mut [f32], stride: usize, half: &[f32]) {
    let length = input.len() / stride;
    for (at, row) in output.chunks_exact_mut(stride).enumerate() {
        let first = at.saturating_sub(half.len() - 1);
        let last = (at + half.len() - 1).min(length - 1);
        let total: f32 = (first..=last).map(|from| half[from.abs_diff(at)]).sum();
        for from in first..=last {
            let weight = half[from.abs_diff(at)] / total;
            let source = &input[from * stride..(from + 1) * stride];
            row.iter_mut().zip(source).for_each(|(out, &value)| *out += weight * value);
        }
    }
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
