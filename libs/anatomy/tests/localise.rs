//! Localisation of masks whose answers are known.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod support;

use ndarray::Array3;
use neurotriage_anatomy::{
    AnatomyError, Atlas, Caution, Lesion, Localisation, LocaliseOptions, Placement, Space,
    SpaceRule, Template, Tissue, lesion_numbers, localise,
};
use neurotriage_domain::{RegionName, Side, Structure};
use support::{
    BRATS, BRATS_AFFINE, LEFT_FRONTAL, answer, ball, brats, main_region, mask, reoriented,
    resampled, site, tumour,
};

#[test]
fn a_mask_without_tumour_is_an_answer_without_lesions() {
    let found = answer(&brats(|_| 0));
    assert!(found.is_empty());
    assert_eq!((found.space, found.components_ignored), (Space::Sri24, 0));
    assert_eq!(found.site, None);
    assert_eq!(found.cautions, []);
}

#[test]
fn a_tumour_is_found_with_its_volumes_side_and_region() {
    let found = answer(&brats(|at| tumour(at, LEFT_FRONTAL)));
    assert_eq!(found.lesions.len(), 1);
    assert_eq!(main_region(&found), "frontal_left");
    assert_eq!(site(&found).side(), Side::Left);
    assert!(!site(&found).midline.crosses_midline);
    let lesion = &found.lesions[0];
    let ball_ml = |radius: f64| 4.0 / 3.0 * std::f64::consts::PI * radius.powi(3) / 1000.0;
    let table = [
        ("whole", lesion.volumes.whole_ml, ball_ml(16.0)),
        ("core", lesion.volumes.core_ml, ball_ml(10.0)),
        ("necrotic", lesion.volumes.necrotic_core_ml, ball_ml(6.0)),
        ("enhancing", lesion.volumes.enhancing_ml, ball_ml(10.0) - ball_ml(6.0)),
        ("oedema", lesion.volumes.oedema_ml, ball_ml(16.0) - ball_ml(10.0)),
    ];
    for (case, found_ml, expected_ml) in table {
        assert!((found_ml / expected_ml - 1.0).abs() < 0.04, "{case}: {found_ml} ml");
    }
    // World is RAS+: x and y run against the index.
    for (found_mm, expected_mm) in lesion.centroid_mm().unwrap().iter().zip([-150.0, 154.0, 100.0])
    {
        assert!((found_mm - expected_mm).abs() < 1e-9);
    }
    assert_eq!(lesion.compartments[0].bounding_box.min_mm, [-166.5, 137.5, 83.5]);
    assert_eq!(lesion.compartments[0].bounding_box.max_mm, [-133.5, 170.5, 116.5]);
    assert!((lesion.diameter_max_mm() - 32.0).abs() < 2.0, "{}", lesion.diameter_max_mm());
    assert!((lesion.compartments[0].axial.longest.length_mm - 32.0).abs() < 2.0);
    assert!((lesion.compartment(Tissue::Core).unwrap().axial.longest.length_mm - 20.0).abs() < 2.0);
}

#[test]
fn shares_and_weights_sum_to_one() {
    let found = answer(&brats(|at| tumour(at, [143.0, 105.0, 75.0])));
    let site = site(&found);
    let sum = |of: &dyn Fn(usize) -> f64| (0..site.regions.len()).map(of).sum::<f64>();
    assert!((sum(&|n| site.regions[n].site_weight) - 1.0).abs() < 1e-9);
    assert!((sum(&|n| site.regions[n].core_share) - 1.0).abs() < 1e-9);
    assert!((sum(&|n| site.regions[n].share) + site.share_outside - 1.0).abs() < 1e-9);
    let inside_ml = found.volumes.whole_ml * (1.0 - site.share_outside);
    assert!((sum(&|n| site.regions[n].volume_ml) - inside_ml).abs() < 1e-9);
    assert!(site.regions.iter().all(|region| region.region_occupied_share <= 1.0));
}

#[test]
fn a_mirrored_mask_changes_the_side_and_nothing_else() {
    let left = answer(&brats(|at| tumour(at, LEFT_FRONTAL)));
    // The midline lies near index 119: 2 * 119 - 150 = 88.
    let right = answer(&brats(|at| tumour(at, [88.0, LEFT_FRONTAL[1], LEFT_FRONTAL[2]])));
    assert_eq!(main_region(&left), "frontal_left");
    assert_eq!(main_region(&right), "frontal_right");
    assert_eq!((site(&left).side(), site(&right).side()), (Side::Left, Side::Right));
    assert_eq!(left.volumes, right.volumes);
    // A file whose first axis is reversed with its affine is the same patient.
    let same = reoriented(&brats(|at| tumour(at, LEFT_FRONTAL)), [0, 1, 2], [true, false, false]);
    assert_eq!(main_region(&answer(&same)), "frontal_left");
}

#[test]
fn all_forty_eight_orientations_give_one_answer() {
    let mask = resampled(|at| tumour(at, [140.0, 100.0, 80.0]), [120, 80, 77]);
    let expected = answer(&mask);
    assert_eq!(site(&expected).side(), Side::Left);
    let longest = &expected.lesions[0];
    assert!(longest.diameter_max_mm() >= longest.compartments[0].axial.longest.length_mm);
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        for bits in 0..8 {
            let flips = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
            let found = answer(&reoriented(&mask, order, flips));
            let case = format!("order {order:?}, flips {flips:?}");
            let (found_site, expected_site) = (site(&found), site(&expected));
            assert_eq!(found_site, expected_site, "{case}");
            assert_eq!(found.volumes, expected.volumes, "{case}");
            let pair = (&found.lesions[0], &expected.lesions[0]);
            let product = |lesion: &Lesion| lesion.compartments[0].axial.product_mm2;
            assert!((product(pair.0) - product(pair.1)).abs() < 1e-6, "{case}");
            assert_eq!(pair.0.diameter_max_mm(), pair.1.diameter_max_mm(), "{case}");
            for axis in 0..3 {
                let away =
                    pair.0.centroid_mm().unwrap()[axis] - pair.1.centroid_mm().unwrap()[axis];
                assert!(away.abs() < 1e-9, "{case}");
            }
        }
    }
}

#[test]
fn grids_of_other_widths_and_spacings_agree_within_three_percent() {
    let expected = answer(&brats(|at| tumour(at, LEFT_FRONTAL)));
    // (shape of the same field of view)
    let table = [
        ("182 wide", [182, 218, 182]),
        ("odd", [201, 187, 131]),
        ("0.5 x 0.5 x 3 mm", [480, 480, 52]),
        ("2 mm", [120, 120, 77]),
        ("thick sagittal", [80, 240, 155]),
    ];
    for (case, shape) in table {
        let found = answer(&resampled(|at| tumour(at, LEFT_FRONTAL), shape));
        assert_eq!(found.space, Space::Sri24, "{case}: {:?}", found.space_reason);
        assert_eq!(main_region(&found), "frontal_left", "{case}");
        assert_eq!(site(&found).side(), Side::Left, "{case}");
        let ratio = found.volumes.whole_ml / expected.volumes.whole_ml;
        assert!((ratio - 1.0).abs() < 0.03, "{case}: {ratio}");
        for region in &site(&expected).regions {
            let share = site(&found).region(region.region).map_or(0.0, |region| region.share);
            assert!((share - region.share).abs() < 0.03, "{case}: {}", region.region);
        }
        let length_mm = found.lesions[0].diameter_max_mm();
        assert!((length_mm - 32.0).abs() < 4.0, "{case}: {length_mm} mm");
    }
}

#[test]
fn a_stray_voxel_is_counted_and_crosses_no_midline() {
    let stray = [60.0, 85.0, 100.0];
    let found = answer(&brats(|at| if at == stray { 4 } else { tumour(at, LEFT_FRONTAL) }));
    assert_eq!((found.lesions.len(), found.components_ignored), (1, 1));
    assert!((found.ignored_ml - 0.001).abs() < 1e-12);
    assert!(!site(&found).midline.crosses_midline);
    // Joined to the lesion by nearness, a stray voxel beyond the midline still does not cross it.
    let near =
        brats(|at| if at == [118.0, 85.0, 100.0] { 4 } else { tumour(at, [137.0, 85.0, 100.0]) });
    let found = answer(&near);
    assert_eq!(found.lesions[0].components, 2);
    let midline = site(&found).midline;
    assert!(midline.right_ml > 0.0 && !midline.crosses_midline, "{midline:?}");
}

#[test]
fn a_tumour_on_both_sides_crosses_the_midline() {
    // (first index of the centre, crosses, side)
    let table = [
        (150.0, false, Side::Left),
        (126.0, true, Side::Left),
        (119.0, true, Side::Midline),
        (112.0, true, Side::Right),
        (88.0, false, Side::Right),
    ];
    for (x, crosses, side) in table {
        let midline = site(&answer(&brats(|at| tumour(at, [x, 85.0, 100.0])))).midline;
        assert_eq!((midline.crosses_midline, midline.side), (crosses, side), "{x}: {midline:?}");
        assert!(midline.share_across <= 0.5);
    }
}

#[test]
fn lesions_far_apart_are_two_and_close_ones_are_one() {
    // (gap between the surfaces in mm, lesions)
    for (gap_mm, lesions) in [(3.0, 1), (5.0, 1), (7.0, 2), (30.0, 2)] {
        let second = [150.0, 85.0 + 10.0 + gap_mm, 100.0];
        let cube = |at: [f64; 3], start: [f64; 3]| {
            (0..3).all(|axis| at[axis] >= start[axis] && at[axis] < start[axis] + 10.0)
        };
        let mask = brats(|at| u8::from(cube(at, [150.0, 86.0, 100.0]) || cube(at, second)));
        let found = answer(&mask);
        assert_eq!(found.lesions.len(), lesions, "gap {gap_mm}");
        let components: u32 = found.lesions.iter().map(|lesion| lesion.components).sum();
        assert_eq!(components, 2, "gap {gap_mm}");
    }
}

#[test]
fn diameters_of_a_box_are_its_diagonals() {
    let cube = |at: [f64; 3]| {
        let inside =
            |axis: usize, start: f64, size: f64| at[axis] >= start && at[axis] < start + size;
        u8::from(inside(0, 140.0, 12.0) && inside(1, 80.0, 9.0) && inside(2, 95.0, 8.0))
    };
    let lesion = &answer(&brats(cube)).lesions[0];
    let whole = &lesion.compartments[0];
    assert!((lesion.diameter_max_mm() - 17.0).abs() < 1e-9);
    assert!((lesion.compartments[0].axial.longest.length_mm - 15.0).abs() < 1e-9);
    // The chord of a 12 by 9 box at right angles to its diagonal: 9 / (12 / 15).
    assert!((whole.axial.perpendicular.length_mm - 11.25).abs() < 1e-9);
    assert!(whole.axial.slice >= 95 && whole.axial.slice < 103);
    assert_eq!(lesion.compartment(Tissue::Core).unwrap().axial, whole.axial);
}

#[test]
fn the_distance_to_a_region_is_the_smallest_one() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let centre = [150.0, 85.0, 100.0];
    let found = answer(&brats(|at| u8::from(ball(at, centre, 12.0))));
    let lesion = &found.lesions[0];
    let touched: Vec<RegionName> =
        lesion.site.as_ref().unwrap().regions.iter().map(|share| share.region).collect();
    assert!(touched.contains(&"frontal_left".parse().unwrap()));
    for pair in lesion.nearby.windows(2) {
        assert!(pair[0].distance_mm <= pair[1].distance_mm);
    }
    let Some(nearest) = lesion.nearby.first() else {
        return;
    };
    // By brute force over the box around the lesion.
    let mut smallest_mm = f64::INFINITY;
    for x in 125..176 {
        for y in 60..111 {
            for z in 75..126 {
                let index = [x, y, z].map(f64::from);
                let world = [-index[0], 239.0 - index[1], index[2]];
                if atlas.region_at(world) != Some(nearest.region) {
                    continue;
                }
                for i in 138..=162 {
                    for j in 73..=97 {
                        for k in 88..=112 {
                            let at = [i, j, k].map(f64::from);
                            if ball(at, centre, 12.0) {
                                let squared: f64 = (0..3).map(|n| (at[n] - index[n]).powi(2)).sum();
                                smallest_mm = squared.sqrt().min(smallest_mm);
                            }
                        }
                    }
                }
            }
        }
    }
    assert!((nearest.distance_mm - smallest_mm).abs() < 1e-3, "{nearest:?} {smallest_mm}");
}

#[test]
fn a_mask_of_the_whole_brain_is_measured() {
    let atlas = Atlas::of(Template::Sri24).unwrap();
    let everywhere =
        brats(|at| u8::from(atlas.region_at([-at[0], 239.0 - at[1], at[2]]).is_some()));
    let found = answer(&everywhere);
    assert_eq!(site(&found).share_outside, 0.0);
    assert!(site(&found).midline.crosses_midline);
    assert_eq!(site(&found).side(), Side::Midline);
    for share in &site(&found).regions {
        assert!((share.region_occupied_share - 1.0).abs() < 1e-9, "{}", share.region);
    }
    assert_eq!(site(&found).regions.len(), atlas.regions().count());
}

#[test]
fn a_mask_that_fills_the_image_touches_its_border_and_names_no_region() {
    let found = answer(&brats(|_| 2));
    assert_eq!(found.space, Space::Unknown);
    assert_eq!(found.cautions, [Caution::SpaceUnknown, Caution::TouchesImageBorder]);
    let at_border = answer(&brats(|at| u8::from(ball(at, [119.0, 130.0, 0.0], 9.0))));
    assert!(at_border.cautions.contains(&Caution::TouchesImageBorder));
}

#[test]
fn an_unknown_space_names_no_region_but_measures() {
    let tumour_voxels = brats(|at| tumour(at, LEFT_FRONTAL)).voxels;
    // (what is wrong, affine)
    let table = [
        ("identity", [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]),
        ("scanner", [[-1.0, 0.0, 0.0, 120.0], [0.0, -1.0, 0.0, 120.0], [0.0, 0.0, 1.0, -77.0]]),
        ("shifted", [[-1.0, 0.0, 0.0, 9.0], [0.0, -1.0, 0.0, 239.0], [0.0, 0.0, 1.0, 0.0]]),
        (
            "tilted",
            [[-0.995, 0.0998, 0.0, 0.0], [-0.0998, -0.995, 0.0, 239.0], [0.0, 0.0, 1.0, 0.0]],
        ),
    ];
    for (case, rows) in table {
        let found = answer(&mask(tumour_voxels.clone(), rows));
        assert_eq!(found.space, Space::Unknown, "{case}");
        assert!(found.space_reason.is_some(), "{case}");
        assert_eq!(found.site, None, "{case}");
        assert!(found.lesions[0].site.is_none() && found.lesions[0].nearby.is_empty(), "{case}");
        assert!((found.volumes.whole_ml - 17.1).abs() < 0.2, "{case}");
        assert!((found.lesions[0].diameter_max_mm() - 32.0).abs() < 2.0, "{case}");
    }
}

#[test]
fn a_cropped_image_is_localised_when_the_caller_knows_its_space() {
    let whole = brats(|at| tumour(at, LEFT_FRONTAL));
    let voxels =
        Array3::from_shape_fn([128, 128, 128], |(x, y, z)| whole.voxels[[x + 56, y + 56, z + 13]]);
    let mut rows = BRATS_AFFINE;
    for (row, shift) in rows.iter_mut().zip([-56.0, -56.0, 13.0]) {
        row[3] += shift;
    }
    let cropped = mask(voxels, rows);
    assert_eq!(answer(&cropped).space, Space::Unknown);
    let options = LocaliseOptions {
        space: SpaceRule::Placed(Placement::by_header(Template::Sri24)),
        ..LocaliseOptions::default()
    };
    let found = localise(&cropped, &options).unwrap();
    assert_eq!(site(&found), site(&answer(&whole)));
}

#[test]
fn what_is_no_mask_is_refused() {
    let odd = mask(Array3::from_elem([4, 4, 4], 7), BRATS_AFFINE);
    let options = LocaliseOptions::default();
    assert_eq!(localise(&odd, &options), Err(AnatomyError::Label { value: 7 }));
    let empty = mask(Array3::zeros([0, 4, 4]), BRATS_AFFINE);
    assert_eq!(localise(&empty, &options), Err(AnatomyError::NoVoxels));
}

#[test]
fn label_three_and_label_four_are_the_same_tissue() {
    let four = answer(&brats(|at| tumour(at, LEFT_FRONTAL)));
    let three = answer(&brats(|at| match tumour(at, LEFT_FRONTAL) {
        4 => 3,
        label => label,
    }));
    assert_eq!(three, four);
}

#[test]
fn deep_and_midline_regions_are_named() {
    // (centre in BraTS voxels, region)
    let table = [
        ([119.0, 133.0, 40.0], "brain_stem"),
        ([129.6, 130.7, 74.0], "thalamus_left"),
        ([95.3, 111.2, 71.4], "putamen_right"),
        ([153.5, 113.8, 71.0], "insula_left"),
        ([119.0, 150.0, 78.0], "corpus_callosum"),
        ([119.0, 108.0, 50.0], "hypothalamus"),
        ([96.5, 131.0, 31.0], "cerebellopontine_angle_right"),
        ([139.0, 164.0, 31.0], "cerebellum_left"),
        ([98.0, 193.0, 60.0], "occipital_right"),
        ([148.0, 164.0, 97.0], "parietal_left"),
    ];
    for (centre, region) in table {
        let found = answer(&brats(|at| u8::from(ball(at, centre, 4.0))));
        assert_eq!(main_region(&found), region, "{:?}", site(&found).regions);
    }
}

#[test]
fn a_ventricle_is_a_region_but_not_the_site() {
    // In the left lateral ventricle, at its wall.
    let found = answer(&brats(|at| u8::from(ball(at, [131.0, 130.0, 88.0], 6.0))));
    let ventricle = site(&found)
        .regions
        .iter()
        .find(|share| share.region.structure == Structure::LateralVentricle);
    assert!(ventricle.is_some_and(|share| share.share > 0.2), "{:?}", site(&found).regions);
    let main = site(&found).main_region.unwrap();
    assert_ne!(main.structure, Structure::LateralVentricle);
}

#[test]
fn the_answer_is_json_and_comes_back() {
    let found = answer(&brats(|at| tumour(at, LEFT_FRONTAL)));
    let json = serde_json::to_value(&found).unwrap();
    for pointer in [
        "/space",
        "/lesions/0/volumes/whole_ml",
        "/lesions/0/compartments/0/centroid/atlas_mm/2",
        "/lesions/0/compartments/0/bounding_box/min_mm/0",
        "/lesions/0/compartments/0/diameter_max/length_mm",
        "/lesions/0/compartments/1/axial/product_mm2",
        "/lesions/0/site/main_region",
        "/lesions/0/site/midline/crosses_midline",
        "/lesions/0/site/regions/0/site_weight",
        "/lesions/0/site/regions/0/snomed_code",
        "/lesions/0/contacts/cortex/touches",
        "/placement/template_from_patient/rows/0/3",
        "/site/stability/main_region_share",
        "/site/share_assigned_by_distance",
        "/cautions",
    ] {
        assert!(json.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer}");
    }
    assert_eq!(json["site"]["regions"][0]["korean_name"], "왼쪽 전두엽");
    assert_eq!(serde_json::from_value::<Localisation>(json).unwrap(), found);
    assert_eq!(BRATS, [240, 240, 155]);
}

#[test]
fn the_numbers_of_voxels_are_those_of_the_listed_lesions() {
    // Two balls far apart, a second piece 4 mm from the smaller one, and a speck.
    let label = |at: [f64; 3]| {
        let large = ball(at, [150.0, 85.0, 100.0], 12.0);
        let small = ball(at, [60.0, 150.0, 60.0], 6.0) || ball(at, [70.0, 150.0, 60.0], 1.0);
        let speck = ball(at, [200.0, 120.0, 40.0], 1.0);
        if large || small || speck { 2 } else { 0 }
    };
    let options = LocaliseOptions::default();
    let mask = brats(label);
    let found = localise(&mask, &options).unwrap();
    assert_eq!((found.lesions.len(), found.components_ignored), (2, 1));
    let numbers = lesion_numbers(&mask, &options).unwrap();
    for (lesion, number) in found.lesions.iter().zip(1..) {
        let voxels = numbers.iter().filter(|&&found| found == number).count();
        assert!((voxels as f64 / 1000.0 - lesion.volumes.whole_ml).abs() < 1e-9);
    }
    // A mask in LPS order keeps its grid.
    assert_eq!(numbers.dim(), mask.voxels.dim());
    let at = |place: [usize; 3]| numbers[place];
    assert_eq!([at([150, 85, 100]), at([60, 150, 60]), at([70, 150, 60])], [1, 2, 2]);
    assert_eq!([at([200, 120, 40]), at([10, 10, 10])], [0, 0]);
    assert!(lesion_numbers(&brats(|_| 0), &options).unwrap().iter().all(|&number| number == 0));
}

#[test]
fn an_answer_stored_before_is_still_read() {
    let mut json = serde_json::to_value(answer(&brats(|at| tumour(at, LEFT_FRONTAL)))).unwrap();
    let strip = |value: &mut serde_json::Value, keys: &[&str]| {
        for key in keys {
            value.as_object_mut().unwrap().remove(*key).unwrap();
        }
    };
    strip(&mut json, &["placement", "focality"]);
    strip(&mut json["lesions"][0], &["compartments", "satellites", "eloquent", "contacts"]);
    strip(&mut json["site"], &["stability"]);
    strip(&mut json["site"]["regions"][0], &["share_range", "is_certain", "snomed_display"]);
    strip(&mut json["lesions"][0]["nearby"][0], &["korean_name", "snomed_code"]);
    let found: Localisation = serde_json::from_value(json).unwrap();
    assert_eq!(main_region(&found), "frontal_left");
    assert_eq!(found.lesions[0].centroid_mm(), None);
    assert!(site(&found).regions[0].is_certain);
}
