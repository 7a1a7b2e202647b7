//! What is said of a lesion beside its regions: positions, tissues, satellites, certainty, what lies near.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod support;

use ndarray::Array3;
use neurotriage_anatomy::{
    Atlas, Caution, Focality, LocaliseOptions, Placement, Space, SpaceRule, Template, Tissue,
    localise,
};
use neurotriage_imaging::{AffineMap, Mask};
use support::{LEFT_FRONTAL, answer, ball, brats, main_region, mask, reoriented, tumour};

/// A mask on the grid that FSL and SPM write for MNI152, from places in its millimetres.
fn mni(label: impl Fn([f64; 3]) -> u8) -> Mask {
    let place = |x: usize, y: usize, z: usize| [x as f64 - 90.0, y as f64 - 126.0, z as f64 - 72.0];
    let voxels = Array3::from_shape_fn([181, 217, 181], |(x, y, z)| label(place(x, y, z)));
    mask(voxels, [[1.0, 0.0, 0.0, -90.0], [0.0, 1.0, 0.0, -126.0], [0.0, 0.0, 1.0, -72.0]])
}

#[test]
fn mni152_is_recognised_and_has_regions_of_its_own() {
    // (place in MNI152 millimetres, region): x grows to the patient's right.
    let table = [
        ([-30.0, 40.0, 20.0], "frontal_left"),
        ([30.0, 40.0, 20.0], "frontal_right"),
        ([-50.0, -20.0, -22.0], "temporal_left"),
        ([24.0, -90.0, 8.0], "occipital_right"),
        ([-12.0, -18.0, 8.0], "thalamus_left"),
    ];
    for (centre, region) in table {
        let found = answer(&mni(|at| u8::from(ball(at, centre, 6.0))));
        assert_eq!(found.space, Space::Mni152, "{region}");
        assert!(found.atlas.contains("mni152"), "{}", found.atlas);
        assert_eq!(main_region(&found), region);
        let centroid = found.lesions[0].compartments[0].centroid;
        assert_eq!(centroid.atlas_mm.unwrap(), centroid.patient_mm);
    }
}

#[test]
fn every_position_is_given_in_voxels_of_the_patient_and_of_the_atlas() {
    let given = reoriented(&brats(|at| tumour(at, LEFT_FRONTAL)), [2, 0, 1], [false, true, false]);
    let moved = AffineMap::shift([0.0; 3], [3.0, -2.0, 1.0]);
    let placement =
        Placement { template_from_patient: moved, ..Placement::by_header(Template::Sri24) };
    let options =
        LocaliseOptions { space: SpaceRule::Placed(placement), ..LocaliseOptions::default() };
    let lesion = localise(&given, &options).unwrap().lesions.swap_remove(0);
    let whole = lesion.compartment(Tissue::Whole).unwrap();
    let mut positions = vec![whole.centroid];
    positions.extend(whole.diameter_max.ends);
    positions.extend(whole.axial.longest.ends);
    positions.extend(whole.axial.perpendicular.ends);
    for position in positions {
        let patient_mm = given.affine.apply(position.voxel);
        let atlas_mm = moved.apply(patient_mm);
        for axis in 0..3 {
            assert!((patient_mm[axis] - position.patient_mm[axis]).abs() < 1e-4);
            assert!((atlas_mm[axis] - position.atlas_mm.unwrap()[axis]).abs() < 1e-4);
        }
    }
    let [from, to] = whole.diameter_max.ends.map(|end| end.patient_mm);
    let length_mm: f64 = (0..3).map(|axis| (to[axis] - from[axis]).powi(2)).sum::<f64>().sqrt();
    assert!((length_mm - whole.diameter_max.length_mm).abs() < 1e-9);
    // The box of voxels, in the order of the file, holds every labelled voxel and no empty face.
    let bounds = whole.bounding_box;
    for axis in 0..3 {
        let along = |at: (usize, usize, usize)| [at.0, at.1, at.2][axis];
        let inside = given.voxels.indexed_iter().filter(|(_, label)| **label != 0);
        let places: Vec<usize> = inside.map(|(at, _)| along(at)).collect();
        assert_eq!(bounds.voxel_start[axis], *places.iter().min().unwrap());
        assert_eq!(bounds.voxel_end[axis], *places.iter().max().unwrap() + 1);
    }
}

#[test]
fn compartments_have_regions_of_their_own() {
    // Core in the left frontal lobe, oedema reaching far back.
    let label = |at: [f64; 3]| {
        if ball(at, [150.0, 80.0, 95.0], 10.0) {
            4
        } else if ball(at, [150.0, 100.0, 95.0], 40.0) {
            2
        } else {
            0
        }
    };
    let found = answer(&brats(label));
    let lesion = &found.lesions[0];
    let tissues: Vec<Tissue> = lesion.compartments.iter().map(|part| part.tissue).collect();
    assert_eq!(tissues, [Tissue::Whole, Tissue::Core, Tissue::Oedema, Tissue::Enhancing]);
    for part in &lesion.compartments {
        let sum: f64 = part.regions.iter().map(|region| region.share).sum();
        assert!(sum <= 1.0 + 1e-9 && sum > 0.8, "{:?}: {sum}", part.tissue);
    }
    let first = |tissue| lesion.compartment(tissue).unwrap().regions[0];
    assert_eq!(first(Tissue::Core).region.to_string(), "frontal_left");
    assert!(first(Tissue::Core).share > 0.9);
    assert!(first(Tissue::Oedema).share < 0.8);
}

#[test]
fn pieces_of_core_are_satellites_and_lesions_apart_are_several() {
    let one = |at: [f64; 3], satellite: bool| {
        if ball(at, [150.0, 85.0, 95.0], 8.0) || (satellite && ball(at, [150.0, 110.0, 95.0], 4.0))
        {
            4
        } else if ball(at, [150.0, 95.0, 95.0], 25.0) {
            2
        } else {
            0
        }
    };
    let alone = answer(&brats(|at| one(at, false)));
    assert_eq!(alone.focality, Focality::Solitary);
    assert_eq!(alone.lesions[0].satellites, []);
    let with = answer(&brats(|at| one(at, true)));
    assert_eq!(with.focality, Focality::Solitary);
    let [satellite] = with.lesions[0].satellites[..] else {
        panic!("{:?}", with.lesions[0].satellites)
    };
    // Centres 25 apart, radii 8 and 4.
    assert!((satellite.distance_mm - 13.0).abs() < 1.5, "{}", satellite.distance_mm);
    assert!((satellite.volume_ml - 0.268).abs() < 0.03);
    let two = |second: [f64; 3]| {
        answer(&brats(|at| u8::from(ball(at, LEFT_FRONTAL, 8.0) || ball(at, second, 7.0)))).focality
    };
    assert_eq!(two([150.0, 60.0, 100.0]), Focality::Multifocal);
    assert_eq!(two([88.0, 85.0, 100.0]), Focality::Multicentric);
    assert_eq!(answer(&brats(|_| 0)).focality, Focality::NoLesion);
}

#[test]
fn a_tumour_deep_in_a_lobe_is_certain_and_one_at_its_border_is_not() {
    let stability = |centre: [f64; 3], radius: f64| {
        let found = answer(&brats(|at| u8::from(ball(at, centre, radius))));
        let site = found.site.unwrap();
        (site.stability.clone().unwrap(), site, found.cautions)
    };
    let (deep, site, cautions) = stability([150.0, 70.0, 95.0], 9.0);
    assert_eq!(deep.main_region_share, 1.0);
    assert!(site.regions[0].is_certain && !cautions.contains(&Caution::RegionUncertain));
    let [low, high] = site.regions[0].share_range.unwrap();
    assert!(low <= site.regions[0].share && site.regions[0].share <= high);
    // A small one where frontal and parietal lobe meet.
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let at = |y: usize| {
        let region = atlas.region_at([-155.0, 239.0 - y as f64, 115.0]);
        region.map(|region| region.to_string()).unwrap_or_default()
    };
    let border = (80..200).rfind(|&y| at(y) == "frontal_left").unwrap() as f64;
    let (edge, site, cautions) = stability([155.0, border, 115.0], 4.0);
    assert!(edge.main_region_share < 0.75, "{edge:?}");
    assert!(cautions.contains(&Caution::RegionUncertain));
    assert!(site.regions.iter().any(|region| !region.is_certain));
}

#[test]
fn eloquent_areas_ventricles_and_cortex_are_told_with_their_distance() {
    let lesion = |centre: [f64; 3], radius: f64| {
        answer(&mni(|at| u8::from(ball(at, centre, radius)))).lesions.swap_remove(0)
    };
    // In the left hand knob: the motor strip, at the surface.
    let motor = lesion([-38.0, -22.0, 58.0], 7.0);
    assert_eq!(motor.eloquent[0].area, "primary_motor_cortex_left");
    assert!(motor.eloquent[0].distance_mm == 0.0 && motor.eloquent[0].overlap_ml > 0.3);
    assert!(!motor.eloquent[0].korean_name.is_empty() && !motor.eloquent[0].function.is_empty());
    let contacts = motor.contacts.unwrap();
    assert!(contacts.cortex.touches && !contacts.ventricles.touches, "{contacts:?}");
    // Beside the left lateral ventricle, far from the surface.
    let deep = lesion([-24.0, -30.0, 24.0], 5.0);
    let contacts = deep.contacts.unwrap();
    assert!(contacts.ventricles.distance_mm.unwrap() < 8.0, "{contacts:?}");
    assert!(!contacts.cortex.touches, "{contacts:?}");
    // In the right frontal pole nothing eloquent is near.
    let pole = lesion([25.0, 58.0, 10.0], 5.0);
    assert_eq!(pole.eloquent, [], "{:?}", pole.eloquent);
    // A mirrored tumour is near the mirrored area.
    let mirrored = lesion([38.0, -22.0, 58.0], 7.0);
    assert_eq!(mirrored.eloquent[0].area, "primary_motor_cortex_right");
}
