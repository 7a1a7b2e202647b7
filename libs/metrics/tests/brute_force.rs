//! The transforms against the plain definition, on small random arrays.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_metrics::{components, distance, surface};
use proptest::prelude::*;

/// A random mask of up to 7 voxels a side, with its spacing.
fn masks() -> impl Strategy<Value = (Array3<bool>, Array3<bool>, VoxelSpacing)> {
    let shape = (1_usize..7, 1_usize..7, 1_usize..7);
    let spacing = (0.3..3.0_f64, 0.3..3.0_f64, 0.3..5.0_f64);
    (shape, spacing).prop_flat_map(|((x, y, z), (sx, sy, sz))| {
        let mask = || proptest::collection::vec(proptest::bool::weighted(0.2), x * y * z);
        (mask(), mask()).prop_map(move |(first, second)| {
            let array = |voxels| Array3::from_shape_vec([x, y, z], voxels).unwrap();
            (array(first), array(second), VoxelSpacing::from_mm([sx, sy, sz]).unwrap())
        })
    })
}

fn squared_mm2(a: (usize, usize, usize), b: (usize, usize, usize), spacing: VoxelSpacing) -> f64 {
    let [sx, sy, sz] = spacing.as_mm();
    let away = |p: usize, q: usize, step: f64| ((p as f64 - q as f64) * step).powi(2);
    away(a.0, b.0, sx) + away(a.1, b.1, sy) + away(a.2, b.2, sz)
}

fn inside(mask: &Array3<bool>) -> Vec<(usize, usize, usize)> {
    mask.indexed_iter().filter(|(_, inside)| **inside).map(|(at, _)| at).collect()
}

fn alike(found: f64, expected: f64) -> bool {
    found == expected || (found - expected).abs() <= 1e-4 * expected.abs().max(1.0)
}

/// Surface voxels and the directed distances, by definition.
fn directed(from: &Array3<bool>, to: &Array3<bool>, spacing: VoxelSpacing) -> Vec<f64> {
    let surface = |mask: &Array3<bool>| -> Vec<(usize, usize, usize)> {
        let get = |x: isize, y: isize, z: isize| -> bool {
            let at = [x, y, z].map(|i| usize::try_from(i).unwrap_or(usize::MAX));
            mask.get(at).copied().unwrap_or(false)
        };
        inside(mask)
            .into_iter()
            .filter(|&(x, y, z)| {
                let (x, y, z) = (x as isize, y as isize, z as isize);
                !(get(x - 1, y, z)
                    && get(x + 1, y, z)
                    && get(x, y - 1, z)
                    && get(x, y + 1, z)
                    && get(x, y, z - 1)
                    && get(x, y, z + 1))
            })
            .collect()
    };
    let target = surface(to);
    let mut distances: Vec<f64> = surface(from)
        .into_iter()
        .map(|a| {
            let each = target.iter().map(|&b| squared_mm2(a, b, spacing));
            each.fold(f64::INFINITY, f64::min).sqrt()
        })
        .collect();
    distances.sort_by(f64::total_cmp);
    distances
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn distances_match_the_definition((mask, _, spacing) in masks()) {
        let squared = distance::squared_distance_mm2(mask.view(), spacing);
        let nearest = distance::nearest_feature(mask.view(), spacing);
        let features = inside(&mask);
        let (_, ny, nz) = mask.dim();
        for (at, &found) in squared.indexed_iter() {
            let each = features.iter().map(|&feature| squared_mm2(at, feature, spacing));
            let expected = each.fold(f64::INFINITY, f64::min);
            prop_assert!(alike(f64::from(found), expected), "{at:?}: {found} != {expected}");
            prop_assert_eq!(found, nearest.squared_mm2[at]);
            if expected.is_finite() {
                let index = nearest.index[at] as usize;
                let site = (index / (ny * nz), index / nz % ny, index % nz);
                prop_assert!(mask[site]);
                prop_assert!(alike(squared_mm2(at, site, spacing), expected));
            }
        }
    }

    #[test]
    fn surface_distances_match_the_definition((truth, predicted, spacing) in masks()) {
        let found = surface::surface_distances(truth.view(), predicted.view(), spacing);
        let (from_truth, from_predicted) =
            (directed(&truth, &predicted, spacing), directed(&predicted, &truth, spacing));
        match found {
            None => prop_assert!(from_truth.is_empty() || from_predicted.is_empty()),
            Some(found) => {
                prop_assert_eq!(found.from_truth_mm.len(), from_truth.len());
                prop_assert_eq!(found.from_predicted_mm.len(), from_predicted.len());
                for (a, b) in found.from_truth_mm.iter().zip(&from_truth) {
                    prop_assert!(alike(*a, *b));
                }
                for (a, b) in found.from_predicted_mm.iter().zip(&from_predicted) {
                    prop_assert!(alike(*a, *b));
                }
            }
        }
    }

    #[test]
    fn components_are_what_26_neighbours_connect((mask, _, _) in masks()) {
        let found = components::components_26(mask.view());
        let voxels = inside(&mask);
        prop_assert_eq!(found.sizes.iter().sum::<u64>(), voxels.len() as u64);
        for &a in &voxels {
            for &b in &voxels {
                let touch = a.0.abs_diff(b.0) <= 1 && a.1.abs_diff(b.1) <= 1 && a.2.abs_diff(b.2) <= 1;
                prop_assert!(!touch || found.labels[a] == found.labels[b]);
            }
        }
        // As many components as a flood fill by relabelling finds.
        let mut own: Vec<usize> = (0..voxels.len()).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for i in 0..voxels.len() {
                for j in 0..voxels.len() {
                    let (a, b) = (voxels[i], voxels[j]);
                    let near =
                        a.0.abs_diff(b.0) <= 1 && a.1.abs_diff(b.1) <= 1 && a.2.abs_diff(b.2) <= 1;
                    if near && own[j] < own[i] {
                        own[i] = own[j];
                        changed = true;
                    }
                }
            }
        }
        own.sort_unstable();
        own.dedup();
        prop_assert_eq!(found.sizes.len(), own.len());
    }
}
