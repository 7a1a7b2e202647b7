//! Synthetic studies moved by known amounts, and images of no brain.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod support;

use ndarray::Array3;
use neurotriage_domain::Modality;
use neurotriage_imaging::{Affine, AffineMap, Image, Mask, Volume};
use neurotriage_metrics::distance::squared_distance_mm2;
use neurotriage_phantom::{Phantom, PhantomSpec};
use neurotriage_registration::{
    Patient, RegistrationError, RegistrationOptions, Verdict, register,
};
use support::{Push, error_mm, moved_image, moved_mask, random_move, sri24};

/// Returns one sequence of a phantom, and its tumour.
fn phantom(seed: u64, modality: Modality) -> (Image, Mask) {
    let case = Phantom::generate(&PhantomSpec::new(seed)).unwrap();
    (case.images[modality as usize].clone(), case.truth)
}

#[test]
fn a_moved_phantom_comes_back_by_any_sequence_in_any_orientation_and_spacing() {
    let target = sri24();
    for (seed, modality) in [(1, Modality::T1), (2, Modality::Flair)] {
        let (image, lesion) = phantom(seed, modality);
        let by = random_move(seed, target.centre_mm());
        let (moved, lesion_moved) = (moved_image(&image, &by), moved_mask(&lesion, &by));
        // As another scanner would store it: other axes first, slices of 3 mm.
        let turned = moved.voxels.permuted_axes([2, 1, 0]);
        let mut rows = *moved.affine.rows();
        for row in &mut rows[..3] {
            row.swap(0, 2);
            row[0] *= 3.0;
        }
        let (nz, ny, nx) = turned.dim();
        let voxels = Array3::from_shape_fn([nz / 3, ny, nx], |(z, y, x)| turned[[3 * z, y, x]]);
        let thick = Volume { voxels, affine: Affine::from_rows(rows).unwrap() };
        let find = |image, lesion| {
            let patient = Patient { image, lesion: Some(lesion) };
            register(&target, &patient, &RegistrationOptions::default()).unwrap()
        };
        // A phantom's brain has a form of its own: the truth is where it lies unmoved.
        let (still, found) = (find(&image, &lesion), find(&thick, &lesion_moved));
        let back = still.target_from_patient.inverse().unwrap().after(&found.target_from_patient);
        let error_mm = error_mm(&image, &by, &back);
        assert!(error_mm < 3.0, "{modality:?}: {error_mm} {:?}", found.quality);
        assert_eq!(found.quality.verdict, Verdict::Good, "{:?}", found.quality);
    }
}

/// Puts a head around a brain: fluid, bone, scalp and a neck, and noise in the air.
fn head(brain: &Image) -> Image {
    let inside = brain.voxels.mapv(|value| value != 0.0);
    let outside_mm2 = squared_distance_mm2(inside.view(), brain.affine.spacing());
    let sorted = |share: f64| {
        let mut values: Vec<f32> = brain.voxels.iter().copied().filter(|&v| v != 0.0).collect();
        values.sort_by(f32::total_cmp);
        values[(values.len() as f64 * share) as usize]
    };
    let (dark, bright) = (sorted(0.02), sorted(0.98));
    let voxels = Array3::from_shape_fn(brain.voxels.dim(), |(x, y, z)| {
        // A hash of the place, 0 to 1.
        let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791);
        let noise = (mixed % 1000) as f32 / 1000.0;
        let distance_mm = f64::from(outside_mm2[[x, y, z]]).sqrt();
        let neck = z < 30 && (x as f64 - 120.0).hypot(y as f64 - 130.0) < 55.0;
        let value = match distance_mm {
            0.0 => return brain.voxels[[x, y, z]],
            mm if mm < 3.0 => 0.0,
            mm if mm < 9.0 => 0.1,
            mm if mm < 15.0 => 1.0,
            _ if neck => 0.6,
            _ => return dark + 0.02 * noise * (bright - dark),
        };
        dark + (value + 0.1 * noise) * (bright - dark)
    });
    Volume { voxels, affine: brain.affine }
}

#[test]
fn a_head_with_its_skull_comes_back() {
    let target = sri24();
    for (seed, modality) in [(5, Modality::T1), (6, Modality::T1)] {
        let (brain, lesion) = phantom(seed, modality);
        let by = random_move(seed, target.centre_mm());
        let (moved, lesion_moved) = (moved_image(&head(&brain), &by), moved_mask(&lesion, &by));
        let find = |image, lesion| {
            let patient = Patient { image, lesion: Some(lesion) };
            register(&target, &patient, &RegistrationOptions::default()).unwrap()
        };
        let (still, found) = (find(&brain, &lesion), find(&moved, &lesion_moved));
        assert_eq!(found.quality.brain_overlap, None, "the skull was not noticed");
        assert_eq!(found.quality.verdict, Verdict::Good, "{:?}", found.quality);
        let back = still.target_from_patient.inverse().unwrap().after(&found.target_from_patient);
        let error_mm = error_mm(&brain, &by, &back);
        assert!(error_mm < 3.0, "seed {seed}: {error_mm} {:?}", found.quality);
    }
}

#[test]
fn a_brain_back_to_front_and_noise_in_its_shape_fit_nowhere() {
    let target = sri24();
    let options = RegistrationOptions::default();
    let verdict = |image: &Image| {
        let found = register(&target, &Patient { image, lesion: None }, &options).unwrap();
        (found.quality.verdict, found.quality)
    };
    let (image, _) = phantom(1, Modality::T1);
    let mut rows = *image.affine.rows();
    rows[1] = rows[1].map(|value| -value);
    let turned = Volume { voxels: image.voxels, affine: Affine::from_rows(rows).unwrap() };
    let (found, quality) = verdict(&turned);
    assert_eq!(found, Verdict::Failed, "{quality:?}");
    let noise = Array3::from_shape_fn([240, 240, 155], |(x, y, z)| {
        let place =
            [(x as f64 - 120.0) / 65.0, (y as f64 - 120.0) / 80.0, (z as f64 - 75.0) / 60.0];
        let inside = place.iter().map(|part| part * part).sum::<f64>() < 1.0;
        // A hash of the place.
        let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791);
        if inside { 1.0 + (mixed % 1000) as f32 / 1000.0 } else { 0.0 }
    });
    let (found, quality) = verdict(&Volume { voxels: noise, affine: Affine::brats() });
    assert_eq!(found, Verdict::Failed, "{quality:?}");
}

#[test]
fn images_of_nothing_are_refused() {
    let target = sri24();
    let options = RegistrationOptions::default();
    let refused = |shape: [usize; 3]| {
        let image = Volume { voxels: Array3::from_elem(shape, 1.0), affine: Affine::brats() };
        register(&target, &Patient { image: &image, lesion: None }, &options).unwrap_err()
    };
    assert!(matches!(refused([120, 120, 100]), RegistrationError::Flat));
    let error = refused([120, 120, 20]).to_string();
    assert!(error.contains("along axis z the image covers 20 mm"), "{error}");
}

#[test]
fn the_same_study_gives_the_same_map() {
    let target = sri24();
    let (image, lesion) = phantom(3, Modality::T1);
    let find = || {
        let patient = Patient { image: &image, lesion: Some(&lesion) };
        register(&target, &patient, &RegistrationOptions::default()).unwrap()
    };
    let (one, other) = (find(), find());
    let back = one.target_from_patient.inverse().unwrap().after(&other.target_from_patient);
    assert!(error_mm(&image, &AffineMap::IDENTITY, &back) < 0.05);
}

#[test]
fn a_push_is_found_and_none_is_made_up() {
    let target = sri24();
    // A phantom without tumour is the template's own brain, a little bent.
    let (image, lesion) = phantom(4, Modality::T1);
    let options = RegistrationOptions { deform: true, ..RegistrationOptions::default() };
    let find = |image, lesion| {
        let patient = Patient { image, lesion: Some(lesion) };
        let found = register(&target, &patient, &options).unwrap();
        let map = found.target_from_patient.inverse().unwrap();
        let deformation = found.deformation.unwrap();
        move |point: [f64; 3]| {
            let by_mm = deformation.displacement_mm(point);
            map.apply([0, 1, 2].map(|axis| point[axis] + by_mm[axis]))
        }
    };
    let still = find(&image, &lesion);
    let middle = [-118.0, 132.0, 80.0];
    let push = Push { centre_mm: still(middle), right_mm: 8.0 };
    let pushed = find(&push.image(&image), &push.mask(&lesion));
    // At the place of the push, and away from it.
    for point in [middle, [-118.0, 60.0, 80.0], [-118.0, 132.0, 125.0]] {
        let (before, after) = (still(point), pushed(point));
        let error_mm = (after[0] - before[0] - push.at(before)).abs();
        assert!(error_mm < 2.0, "{point:?}: {before:?} to {after:?}");
    }
}

#[test]
fn no_deformation_comes_unasked() {
    let (image, lesion) = phantom(3, Modality::T1);
    let patient = Patient { image: &image, lesion: Some(&lesion) };
    let found = register(&sri24(), &patient, &RegistrationOptions::default()).unwrap();
    assert_eq!(found.deformation, None);
}
