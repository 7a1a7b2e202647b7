//! The atlas that comes with the program.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod support;

use std::{collections::BTreeMap, io::Read};

use ndarray::{Array3, Axis};
use neurotriage_anatomy::{AnatomyError, Atlas, Template, recognise_image};
use neurotriage_domain::{Side, Structure};
use neurotriage_imaging::{Affine, AffineMap, Volume};
use support::{BRATS, BRATS_AFFINE, affine, mask};

#[test]
fn every_structure_of_the_vocabulary_has_a_region() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let regions: Vec<_> = atlas.regions().collect();
    assert_eq!(regions.len(), 35);
    for &structure in Structure::ALL {
        let sides: Vec<Side> =
            regions.iter().filter(|region| region.structure == structure).map(|r| r.side).collect();
        let paired = sides.contains(&Side::Left) && sides.contains(&Side::Right);
        assert!(sides == [Side::Midline] || (sides.len() == 2 && paired), "{structure}: {sides:?}");
    }
}

#[test]
fn volumes_of_regions_are_those_of_a_brain() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    // (region, least and most millilitres)
    let table = [
        ("frontal_left", 180.0, 250.0),
        ("temporal_right", 90.0, 150.0),
        ("cerebellum_left", 50.0, 80.0),
        ("thalamus_left", 5.0, 10.0),
        ("insula_right", 5.0, 12.0),
        ("corpus_callosum", 8.0, 16.0),
        ("internal_capsule_left", 4.0, 9.0),
        ("subthalamic_nucleus_left", 0.03, 0.2),
    ];
    for (region, least_ml, most_ml) in table {
        let volume_ml = atlas.volume_ml(region.parse().unwrap());
        assert!(volume_ml > least_ml && volume_ml < most_ml, "{region}: {volume_ml} ml");
    }
}

#[test]
fn left_regions_lie_left_of_the_midline() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let (mut right_side, mut wrong) = (0_u64, 0_u64);
    for x in (0..240).step_by(2) {
        for y in (0..240).step_by(2) {
            for z in (0..155).step_by(2) {
                let world = [-f64::from(x), 239.0 - f64::from(y), f64::from(z)];
                let Some(region) = atlas.region_at(world) else {
                    continue;
                };
                if region.side == Side::Midline {
                    continue;
                }
                right_side += 1;
                wrong += u64::from(atlas.side_at(world) != region.side);
            }
        }
    }
    assert!(wrong * 1000 < right_side, "{wrong} of {right_side}");
    assert_eq!(atlas.side_at([-200.0, 120.0, 80.0]), Side::Left);
    assert_eq!(atlas.side_at([-40.0, 120.0, 80.0]), Side::Right);
}

#[test]
fn points_outside_the_grid_have_no_region() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    for point_mm in [[0.0; 3], [900.0; 3], [-900.0; 3], [f64::NAN; 3], [f64::INFINITY; 3]] {
        assert_eq!(atlas.region_at(point_mm), None, "{point_mm:?}");
    }
}

#[test]
fn a_slice_of_labels_follows_the_grid_it_is_asked_for() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let plane = atlas.label_slice(&AffineMap::IDENTITY, &affine(BRATS_AFFINE), BRATS, Axis(2), 96);
    assert_eq!(plane.dim(), (240, 240));
    for (x, y) in [(142, 99), (96, 100), (0, 0), (148, 164)] {
        let world = [-(x as f64), 239.0 - y as f64, 96.0];
        assert_eq!(plane[[x, y]], atlas.label_at(world), "({x}, {y})");
    }
    let region = atlas.region_of_label(plane[[142, 99]]).unwrap();
    assert_eq!(region.to_string(), "frontal_left");
    // The same slice of an RAS grid of 2 mm.
    let ras = affine([[2.0, 0.0, 0.0, -238.0], [0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]);
    let plane = atlas.label_slice(&AffineMap::IDENTITY, &ras, [120, 120, 77], Axis(2), 48);
    assert_eq!(atlas.region_of_label(plane[[48, 69]]), Some(region));
    let sagittal = atlas.label_slice(&AffineMap::IDENTITY, &ras, [120, 120, 77], Axis(0), 48);
    assert_eq!((sagittal.dim(), sagittal[[69, 48]]), ((120, 77), plane[[48, 69]]));
}

#[test]
fn an_atlas_without_sform_is_read_through_its_qform() {
    let packed = include_bytes!("../../../assets/atlas/brats_grid_lobes.nii.gz");
    let names = include_bytes!("../../../assets/atlas/brats_grid_lobes_labels.json");
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut file).unwrap();
    // NIfTI-1: sform_code at 254, its rows at 280 to 327.
    file[254..256].fill(0);
    file[280..328].fill(0);
    let by_qform = Atlas::from_files("test", &file, names).unwrap();
    let by_sform = Atlas::of(Template::Sri24).unwrap();
    for x in (0..240).step_by(7) {
        for y in (0..240).step_by(7) {
            let world = [-f64::from(x), 239.0 - f64::from(y), 80.0];
            assert_eq!(by_qform.region_at(world), by_sform.region_at(world), "{world:?}");
            assert_eq!(by_qform.side_at(world), by_sform.side_at(world), "{world:?}");
        }
    }
}

#[test]
fn an_atlas_that_does_not_fit_its_names_is_refused() {
    let refused = |voxels: Array3<u8>, names: &[(u8, &str)]| {
        let names: BTreeMap<u8, String> =
            names.iter().map(|&(label, name)| (label, name.to_owned())).collect();
        let found = Atlas::from_labels("test", &mask(voxels, BRATS_AFFINE), &names);
        matches!(found, Err(AnatomyError::Atlas { .. }))
    };
    let small = Array3::from_elem([4, 4, 4], 1);
    assert!(refused(small.clone(), &[]));
    assert!(refused(small.clone(), &[(1, "elbow_left")]));
    assert!(refused(small, &[(1, "frontal_left")]));
    assert!(matches!(
        Atlas::from_files("test", b"not a file", b"{}"),
        Err(AnatomyError::Atlas { .. })
    ));
}

#[test]
fn a_brain_out_of_place_is_not_recognised_by_its_field_of_view_alone() {
    let t1 = Template::Sri24.t1().unwrap();
    let brats = Affine::brats();
    let on_grid = |shift_mm: f64| {
        let to_t1 = AffineMap::from(&t1.affine).inverse().unwrap();
        let voxels = Array3::from_shape_fn([240, 240, 155], |(x, y, z)| {
            let mut place = brats.apply([x as f64, y as f64, z as f64]);
            place[1] += shift_mm;
            let voxel = to_t1.apply(place).map(f64::round);
            if voxel.iter().any(|&index| index < 0.0) {
                return 0.0;
            }
            t1.voxels.get(voxel.map(|index| index as usize)).copied().unwrap_or(0.0)
        });
        Volume { voxels, affine: brats }
    };
    assert_eq!(recognise_image(&on_grid(0.0)).unwrap(), Ok(Template::Sri24));
    let reason = recognise_image(&on_grid(60.0)).unwrap().unwrap_err();
    assert!(reason.contains("its brain covers that of the template by"), "{reason}");
}
