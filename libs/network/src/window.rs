//! Where windows lie in a volume, and how much each voxel of a window counts.

/// Largest share of a window that overlaps the next.
const OVERLAP_MAX: f64 = 0.9;

/// Returns the first voxel of every window along one axis, ascending, without repeats.
///
/// `length` and `window` are in voxels, `overlap` is the share of a window that the next one
/// covers too. Windows are spread evenly and reach both ends: `n = ceil((L - P) / step) + 1` with
/// `step = P (1 - overlap)`, starts `round(i (L - P) / (n - 1))`. A window as long as the axis or
/// longer starts at 0.
pub(crate) fn starts(length: usize, window: usize, overlap: f64) -> Vec<usize> {
    if window >= length {
        return vec![0];
    }
    let room = length - window;
    let step = (window as f64 * (1.0 - overlap.clamp(0.0, OVERLAP_MAX))).max(1.0);
    let gaps = (room as f64 / step).ceil().max(1.0);
    let mut starts: Vec<usize> = (0..=gaps as usize)
        .map(|index| (index as f64 * room as f64 / gaps).round() as usize)
        .collect();
    starts.dedup();
    starts
}

/// Returns the weight of each voxel along one axis of a window: a Gaussian around the middle with
/// standard deviation `window / 8`, not yet divided by its maximum.
fn gaussian(window: usize) -> Vec<f32> {
    let middle = (window as f64 - 1.0) / 2.0;
    let sigma = window as f64 / 8.0;
    (0..window).map(|i| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp() as f32).collect()
}

/// Returns the weight of each voxel of a window, `[x, y, z]` in standard layout: the product of
/// the Gaussians of its axes, divided by its maximum, zeros raised to the smallest weight above 0.
pub(crate) fn importance(window: [usize; 3]) -> Vec<f32> {
    let [x, y, z] = window.map(gaussian);
    let mut weights = Vec::with_capacity(x.len() * y.len() * z.len());
    for wx in &x {
        for wy in &y {
            weights.extend(z.iter().map(|wz| wx * wy * wz));
        }
    }
    let largest = weights.iter().copied().fold(0.0_f32, f32::max);
    for weight in &mut weights {
        *weight /= largest;
    }
    let smallest =
        weights.iter().copied().filter(|&weight| weight > 0.0).fold(f32::INFINITY, f32::min);
    for weight in weights.iter_mut().filter(|weight| **weight == 0.0) {
        *weight = smallest;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_reach_both_ends_at_even_steps() {
        // (length, window, starts at half overlap)
        let table: [(usize, usize, &[usize]); 6] = [
            (128, 128, &[0]),
            (100, 128, &[0]),
            (160, 128, &[0, 32]),
            (240, 128, &[0, 56, 112]),
            (155, 128, &[0, 27]),
            (256, 128, &[0, 64, 128]),
        ];
        for (length, window, expected) in table {
            assert_eq!(starts(length, window, 0.5), expected, "{length} by {window}");
        }
        assert_eq!(starts(240, 128, 0.0), [0, 112]);
    }

    #[test]
    fn every_voxel_is_covered_whatever_the_overlap() {
        for length in [1, 17, 64, 65, 127, 200] {
            for overlap in [0.0, 0.25, 0.5, 1.0] {
                let mut covered = vec![false; length];
                for start in starts(length, 32, overlap) {
                    covered.iter_mut().skip(start).take(32).for_each(|voxel| *voxel = true);
                }
                assert!(covered.iter().all(|&voxel| voxel), "{length} {overlap}");
            }
        }
    }

    #[test]
    fn the_middle_counts_most_and_no_voxel_nothing() {
        let weights = importance([128, 16, 32]);
        assert!(weights.iter().all(|&weight| weight > 0.0 && weight <= 1.0));
        let at = |x: usize, y: usize, z: usize| weights[(x * 16 + y) * 32 + z];
        assert!((at(63, 7, 15) - 1.0).abs() < 1e-6 && at(0, 0, 0) < at(32, 4, 8));
        assert_eq!(at(0, 3, 5), at(127, 12, 26));
    }
}
