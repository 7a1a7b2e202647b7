//! Where windows lie in a volume, and how much each voxel of a window counts.

/// Largest share of a window that overlaps the next.
const OVERLAP_MAX: f64 = 0.9;

/// Returns the first voxel of every window along one axis, ascending, without repeats.
///
/// `length` and `window` are in voxels, `overlap` is the share of a window that the next one
/// covers too. Windows are spread evenly and reach both ends: `n = ceil((L - P) / step) + 1` with
/// `step = P (1 - overlap)`, so `P / 2` at half overlap, starts `round(i (L - P) / (n - 1))` with
/// halves to the even number. A window as long as the axis or longer starts at 0.
///
/// # Source
/// Isensee et al., nnU-Net, 2021, doi:10.1038/s41592-020-01008-z: step size 0.5 and a Gaussian of
/// `P / 8`. The overlap is a setting here.
pub(crate) fn starts(length: usize, window: usize, overlap: f64) -> Vec<usize> {
    if window >= length {
        return vec![0];
    }
    let room = length - window;
    let step = (window as f64 * (1.0 - overlap.clamp(0.0, OVERLAP_MAX))).max(1.0);
    let gaps = (room as f64 / step).ceil().max(1.0);
    let mut starts: Vec<usize> = (0..=gaps as usize)
        .map(|index| (index as f64 * room as f64 / gaps).round_ties_even() as usize)
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
    normalise(&mut weights);
    weights
}

/// Divides by the largest weight, and raises zeros to the smallest weight above 0.
fn normalise(weights: &mut [f32]) {
    let largest = weights.iter().copied().fold(0.0_f32, f32::max);
    for weight in weights.iter_mut() {
        *weight /= largest;
    }
    let smallest =
        weights.iter().copied().filter(|&weight| weight > 0.0).fold(f32::INFINITY, f32::min);
    for weight in weights.iter_mut().filter(|weight| **weight == 0.0) {
        *weight = smallest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_reach_both_ends_at_even_steps() {
        // (length, window, starts at half overlap)
        let table: [(usize, usize, &[usize]); 11] = [
            (128, 128, &[0]),
            (100, 128, &[0]),
            (160, 128, &[0, 32]),
            (240, 128, &[0, 56, 112]),
            (155, 128, &[0, 27]),
            (256, 128, &[0, 64, 128]),
            // n = ceil(65 / 64) + 1 = 3, although one more voxel than two windows reach.
            (193, 128, &[0, 32, 65]),
            (192, 128, &[0, 64]),
            // Halves to even: round(12.5) = 12.
            (57, 32, &[0, 12, 25]),
            // An odd window: the step is 7.5, n = ceil(25 / 7.5) + 1 = 5.
            (40, 15, &[0, 6, 12, 19, 25]),
            (17, 1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
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

    #[test]
    fn the_weights_are_those_of_a_gaussian_of_an_eighth_of_the_window() {
        // P = 16: sigma 2, middle 7.5. The largest is that of the voxels 0.5 from the middle.
        let line = importance([16, 1, 1]);
        let at = |distance: f64| (-0.5 * (distance / 2.0).powi(2)).exp();
        for (x, &weight) in line.iter().enumerate() {
            let expected = at((x as f64 - 7.5).abs()) / at(0.5);
            assert!((f64::from(weight) - expected).abs() < 1e-6, "{x}: {weight} {expected}");
        }
        assert!(
            (f64::from(line[7]) - 1.0).abs() < 1e-7 && (f64::from(line[0]) - 9.12e-4).abs() < 1e-6
        );
    }

    #[test]
    fn weights_too_small_for_a_number_are_raised_to_the_smallest() {
        // The corner of three axes: exp(-3 * 8) is 4e-11, not 0; so nothing is raised here.
        let cube = importance([64, 64, 64]);
        assert!(cube[0] > 1e-11 && cube[0] < 1e-10);
        let mut weights = vec![0.0, 1e-30, 2.0, 0.0];
        normalise(&mut weights);
        assert_eq!(weights, [5e-31, 5e-31, 1.0, 5e-31]);
    }
}
