use neurotriage_domain::{BlobDigest, SegmentationId, StudyId};
use time::macros::date;
use uuid::Uuid;

use super::*;
use crate::measurement::{AxialDiameters, LesionMeasurements, MaskReference};

/// A lesion whose half enhances, with two like diameters.
fn lesion(whole_ml: f64, at: [f64; 3], diameter_mm: f64) -> LesionMeasurements {
    let axial = AxialDiameters {
        longest_mm: diameter_mm,
        perpendicular_mm: diameter_mm,
        product_mm2: diameter_mm * diameter_mm,
    };
    LesionMeasurements {
        whole_ml,
        core_ml: whole_ml * 0.75,
        enhancing_ml: whole_ml / 2.0,
        main_region: "frontal_left".to_owned(),
        centroid_template_mm: Some(at),
        axial: Some(axial),
        enhancing_axial: Some(axial),
    }
}

fn scan(date: Date, lesions: Vec<LesionMeasurements>) -> Scan {
    Scan {
        date,
        date_origin: DateOrigin::Request,
        marking: Marking {
            segmentation_id: SegmentationId::from(Uuid::nil()),
            study_id: StudyId::from(Uuid::nil()),
            model_id: "model-1".to_owned(),
            weights_sha256: "a5".repeat(32),
            mask: MaskReference { digest: BlobDigest::from_bytes([0; 32]), size_bytes: 1 },
            atlas: "atlas 1".to_owned(),
            space: Space::Sri24,
            measurements: Measurements { outcome: Outcome::Tumour, lesions },
        },
    }
}

fn grown(before: Vec<LesionMeasurements>, after: Vec<LesionMeasurements>) -> Growth {
    compare(&scan(date!(2026 - 01 - 01), before), &scan(date!(2026 - 04 - 11), after)).unwrap()
}

const HERE: [f64; 3] = [-30.0, 20.0, 40.0];
/// 80 mm to the right of [`HERE`].
const FAR: [f64; 3] = [50.0, 20.0, 40.0];

fn fates(growth: &Growth) -> Vec<(LesionFate, Option<usize>, Option<usize>)> {
    growth.lesions.iter().map(|change| (change.fate, change.earlier, change.later)).collect()
}

#[test]
fn a_volume_that_grows_eightfold_doubles_three_times_and_its_diameter_once() {
    // 100 days apart.
    let growth = grown(vec![lesion(4.0, HERE, 20.0)], vec![lesion(32.0, HERE, 40.0)]);
    assert_eq!(growth.interval_days, 100);
    let whole = growth.volumes[0];
    assert_eq!((whole.part, whole.earlier_ml, whole.later_ml), (TumourPart::Whole, 4.0, 32.0));
    assert_eq!(whole.change_percent, Some(700.0));
    assert!((whole.ml_per_month.unwrap() - 28.0 * 0.3044).abs() < 1e-9);
    assert!((whole.doubling_days.unwrap() - 100.0 / 3.0).abs() < 1e-9);
    // The cube root of 8,000 mm³ is 20 mm, and of 64,000 mm³ 40 mm.
    let expansion = whole.diametric_expansion_mm_per_year.unwrap();
    assert!((expansion - 20.0 * 3.6525).abs() < 1e-9, "{expansion}");
    let parts: Vec<f64> = growth.volumes.iter().map(|change| change.later_ml).collect();
    assert_eq!(parts, [32.0, 24.0, 16.0]);
}

#[test]
fn a_volume_that_shrinks_or_comes_from_nothing_has_no_doubling_time() {
    let shrunk = grown(vec![lesion(4.0, HERE, 20.0)], vec![lesion(2.0, HERE, 15.0)]).volumes[0];
    assert_eq!((shrunk.change_percent, shrunk.doubling_days), (Some(-50.0), None));
    assert!(shrunk.ml_per_month.unwrap() < 0.0);
    assert!(shrunk.diametric_expansion_mm_per_year.unwrap() < 0.0);
    let from_nothing = grown(Vec::new(), vec![lesion(2.0, HERE, 15.0)]).volumes[0];
    assert_eq!((from_nothing.change_percent, from_nothing.doubling_days), (None, None));
    assert_eq!(from_nothing.diametric_expansion_mm_per_year, None);
    let gone = grown(vec![lesion(2.0, HERE, 15.0)], Vec::new()).volumes[0];
    assert_eq!((gone.change_percent, gone.doubling_days), (Some(-100.0), None));
}

#[test]
fn two_studies_of_one_day_have_no_rates_and_reversed_ones_are_refused() {
    let [first, second] = [date!(2026 - 01 - 01), date!(2026 - 01 - 02)];
    let at = |date| scan(date, vec![lesion(4.0, HERE, 20.0)]);
    let growth = compare(&at(first), &at(first)).unwrap();
    assert_eq!(growth.volumes[0].ml_per_month, None);
    assert_eq!(growth.volumes[0].diametric_expansion_mm_per_year, None);
    assert!(growth.cautions.iter().any(|text| text.contains("no rates")));
    assert_eq!(compare(&at(second), &at(first)), Err(ReversedDates));
}

#[test]
fn the_thresholds_of_rano_decide_at_the_limit() {
    // (what the row is for, earlier diameter, later diameter in mm, expected); products are squares.
    let table = [
        ("25 % more", 20.0, 500.0_f64.sqrt(), ImagingChange::Increase),
        ("just less", 20.0, 499.0_f64.sqrt(), ImagingChange::Stable),
        ("the same", 20.0, 20.0, ImagingChange::Stable),
        ("just under half less", 20.0, 201.0_f64.sqrt(), ImagingChange::Stable),
        ("half less", 20.0, 200.0_f64.sqrt(), ImagingChange::Decrease),
        ("too small to measure", 9.9, 30.0, ImagingChange::NotMeasurable),
        ("smaller than measurable now", 20.0, 5.0, ImagingChange::Decrease),
    ];
    for (case, before_mm, after_mm, expected) in table {
        let growth = grown(vec![lesion(4.0, HERE, before_mm)], vec![lesion(4.0, HERE, after_mm)]);
        assert_eq!(growth.enhancing.change, expected, "case: {case}: {:?}", growth.enhancing);
        assert!(!growth.enhancing.reason.is_empty(), "case: {case}");
    }
    // By volume: 40 % more and 65 % less.
    for (after_ml, expected) in [
        (14.0, ImagingChange::Increase),
        (13.9, ImagingChange::Stable),
        (3.6, ImagingChange::Stable),
        (3.5, ImagingChange::Decrease),
    ] {
        let growth = grown(vec![lesion(10.0, HERE, 20.0)], vec![lesion(after_ml, HERE, 20.0)]);
        assert_eq!(growth.enhancing_by_volume, expected, "{after_ml} ml");
    }
}

#[test]
fn what_does_not_enhance_any_more_has_disappeared() {
    let mut quiet = lesion(4.0, HERE, 20.0);
    (quiet.enhancing_ml, quiet.enhancing_axial) = (0.0, None);
    let growth = grown(vec![lesion(4.0, HERE, 20.0)], vec![quiet.clone()]);
    assert_eq!(growth.enhancing.change, ImagingChange::Disappeared);
    assert_eq!(growth.enhancing_by_volume, ImagingChange::Disappeared);
    assert_eq!(growth.enhancing.targets[0].later_product_mm2, Some(0.0));
    assert_eq!(growth.enhancing.change_percent, Some(-100.0));
    // And what never enhanced cannot be measured.
    let growth = grown(vec![quiet.clone()], vec![quiet.clone()]);
    assert_eq!(growth.enhancing.change, ImagingChange::NotMeasurable);
    assert_eq!(growth.enhancing_by_volume, ImagingChange::NotMeasurable);
    // A lesion that begins to enhance is named, and not judged.
    let growth = grown(vec![quiet], vec![lesion(4.0, HERE, 20.0)]);
    assert_eq!(growth.enhancing.change, ImagingChange::NotMeasurable);
    assert!(growth.enhancing.reason.contains("a person must compare"));
}

#[test]
fn a_tumour_that_does_not_enhance_is_measured_whole() {
    let quiet = |diameter_mm| {
        let lesion = lesion(10.0, HERE, diameter_mm);
        LesionMeasurements { enhancing_ml: 0.0, enhancing_axial: None, ..lesion }
    };
    // 400 to 625 mm².
    let growth = grown(vec![quiet(20.0)], vec![quiet(25.0)]);
    assert_eq!(growth.enhancing.change, ImagingChange::NotMeasurable);
    assert_eq!(growth.enhancing.reason, "No enhancing lesion has two diameters of 10 mm or more.");
    assert_eq!(growth.whole.change, ImagingChange::Increase);
    assert_eq!(growth.whole.change_percent, Some(56.25));
    let gone = grown(vec![quiet(20.0)], Vec::new());
    assert_eq!(gone.whole.change, ImagingChange::Disappeared);
    let new = grown(
        vec![quiet(20.0)],
        vec![quiet(20.0), LesionMeasurements { centroid_template_mm: Some(FAR), ..quiet(12.0) }],
    );
    assert_eq!(new.whole.reason, "A measurable lesion is new.");
}

#[test]
fn diameters_that_were_not_told_are_not_nothing() {
    let told = vec![lesion(4.0, HERE, 20.0)];
    let untold =
        vec![LesionMeasurements { axial: None, enhancing_axial: None, ..lesion(4.0, HERE, 20.0) }];
    for (before, after) in [(told.clone(), untold.clone()), (untold, told)] {
        let growth = grown(before, after);
        for change in [&growth.enhancing, &growth.whole] {
            assert_eq!(
                (change.change, change.change_percent),
                (ImagingChange::NotMeasurable, None)
            );
            assert!(change.reason.contains("compare volumes"));
        }
    }
}

#[test]
fn the_two_largest_measurable_lesions_are_targets() {
    let at = |x: f64| [x, 0.0, 0.0];
    let before = vec![
        lesion(9.0, at(-60.0), 12.0),
        lesion(5.0, at(0.0), 30.0),
        lesion(3.0, at(60.0), 20.0),
        lesion(2.0, at(120.0), 9.0),
    ];
    let growth = grown(before.clone(), before);
    let targets: Vec<(usize, Option<f64>)> =
        growth.enhancing.targets.iter().map(|t| (t.earlier, t.later_product_mm2)).collect();
    assert_eq!(targets, [(1, Some(900.0)), (2, Some(400.0))]);
    assert_eq!(growth.enhancing.earlier_sum_mm2, 1_300.0);
    assert_eq!(growth.enhancing.change_percent, Some(0.0));
}

#[test]
fn a_lesion_that_lies_apart_is_new_and_counts_if_it_is_measurable() {
    let before = vec![lesion(4.0, HERE, 20.0)];
    for (diameter_mm, expected) in [(12.0, ImagingChange::Increase), (6.0, ImagingChange::Stable)] {
        let after = vec![lesion(4.0, HERE, 20.0), lesion(1.0, FAR, diameter_mm)];
        let growth = grown(before.clone(), after);
        assert_eq!(
            fates(&growth),
            [(LesionFate::Followed, Some(0), Some(0)), (LesionFate::New, None, Some(1))]
        );
        assert_eq!(growth.enhancing.change, expected, "{diameter_mm} mm");
    }
    let growth = grown(vec![lesion(4.0, HERE, 20.0), lesion(1.0, FAR, 12.0)], before);
    assert_eq!(fates(&growth)[1], (LesionFate::Gone, Some(1), None));
    // 400 of 544 mm² are left.
    assert_eq!(growth.enhancing.later_sum_mm2, 400.0);
}

#[test]
fn lesions_that_grow_together_or_fall_apart_are_neither_gone_nor_new() {
    // Radii of 1 ml and 8 ml are 6.2 and 12.4 mm.
    let near = [HERE[0] + 14.0, HERE[1], HERE[2]];
    let apart = vec![lesion(8.0, HERE, 20.0), lesion(1.0, near, 12.0)];
    let one = vec![lesion(9.5, HERE, 28.0)];
    let merged = grown(apart.clone(), one.clone());
    assert_eq!(
        fates(&merged),
        [(LesionFate::Followed, Some(0), Some(0)), (LesionFate::Merged, Some(1), Some(0))]
    );
    // Counted once: 784 against 544 mm².
    assert_eq!((merged.enhancing.earlier_sum_mm2, merged.enhancing.later_sum_mm2), (544.0, 784.0));
    assert_eq!(merged.enhancing.targets[1].later_product_mm2, Some(0.0));
    let split = grown(one, apart);
    assert_eq!(
        fates(&split),
        [(LesionFate::Followed, Some(0), Some(0)), (LesionFate::Split, Some(0), Some(1))]
    );
    assert_eq!(split.enhancing.later_sum_mm2, 544.0);
    assert_eq!(split.enhancing.change, ImagingChange::Stable);
    let distance_mm = split.lesions[1].distance_mm.unwrap();
    assert!((distance_mm - 14.0).abs() < 1e-9, "{distance_mm}");
}

#[test]
fn lesions_are_not_followed_without_one_template() {
    let [first, second] = [date!(2026 - 01 - 01), date!(2026 - 04 - 11)];
    let before = scan(first, vec![lesion(4.0, HERE, 20.0)]);
    let after = |space| {
        let mut after = scan(
            second,
            vec![lesion(4.0, FAR, 30.0), lesion(1.0, HERE, 12.0), lesion(1.0, HERE, 11.0)],
        );
        after.marking.space = space;
        after
    };
    for space in [Space::Mni152, Space::Unknown] {
        let growth = compare(&before, &after(space)).unwrap();
        assert!(growth.lesions.is_empty());
        assert!(growth.cautions.iter().any(|text| text.contains("cannot be followed")));
        assert_eq!(growth.enhancing.targets[0].later_product_mm2, None);
        // The two largest of the later study.
        assert_eq!(growth.enhancing.later_sum_mm2, 900.0 + 144.0);
        assert_eq!(growth.enhancing.change, ImagingChange::Increase);
    }
    let mut unknown = before.clone();
    unknown.marking.space = Space::Unknown;
    assert!(compare(&unknown, &after(Space::Unknown)).unwrap().lesions.is_empty());
    let mut untold = before;
    untold.marking.measurements.lesions[0].centroid_template_mm = None;
    assert!(compare(&untold, &after(Space::Sri24)).unwrap().lesions.is_empty());
}

#[test]
fn cautions_name_what_differs() {
    let before = scan(date!(2026 - 01 - 01), vec![lesion(4.0, HERE, 20.0)]);
    let plain = compare(&before, &before).unwrap().cautions;
    // What holds always, and the one day.
    assert_eq!(plain.len(), 3);
    assert!(plain[0].contains("no category of response"));
    // (what the row is for, change, words of its caution)
    type Change = fn(&mut Scan);
    let table: [(&str, Change, &str); 5] = [
        ("upload", |scan| scan.date_origin = DateOrigin::Upload, "days are those of the uploads"),
        ("model", |scan| scan.marking.weights_sha256 = "b6".repeat(32), "different models"),
        ("atlas", |scan| scan.marking.atlas = "atlas 2".to_owned(), "different atlases"),
        (
            "doubt",
            |scan| scan.marking.measurements.outcome = Outcome::NotSure,
            "later study is not sure",
        ),
        (
            "older",
            |scan| scan.marking.measurements.lesions[0].axial = None,
            "later study was stored before diameters",
        ),
    ];
    for (case, change, words) in table {
        let mut after = before.clone();
        change(&mut after);
        let cautions = compare(&before, &after).unwrap().cautions;
        assert_eq!(cautions.len(), 4, "case: {case}: {cautions:?}");
        assert!(cautions.iter().any(|text| text.contains(words)), "case: {case}: {cautions:?}");
    }
}
