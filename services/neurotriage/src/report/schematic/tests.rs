use neurotriage_domain::{RegionName, Side, Structure};

use super::{
    super::{Fit, Language, RegionProbability, Report, tests::report},
    LABELS_MAX, Scene, home_of, numbered, render, shade,
};

fn region(structure: Structure, side: Side) -> RegionName {
    RegionName { structure, side }
}

/// Returns a report with `count` findings that point to `regions` in turn.
fn with_findings(count: usize, regions: &[RegionName]) -> Report {
    let mut report = report();
    let first = report.symptoms.findings[0].clone();
    report.symptoms.findings = (0..count)
        .map(|number| {
            let mut finding = first.clone();
            let region = regions[number % regions.len()];
            finding.display_name = format!("a finding with a rather long name, number {number}");
            finding.finding_id = format!("finding_{number}");
            finding.fit = if number % 2 == 0 { Fit::Explained } else { Fit::Unexplained };
            finding.points_to = vec![RegionProbability {
                region: region.to_string(),
                display_name: region.display_name(),
                side: Some(region.side),
                probability: 1.0,
            }];
            finding
        })
        .collect();
    report
}

#[test]
fn every_structure_has_a_place_on_each_side() {
    for &structure in Structure::ALL {
        let at = |side| {
            let (view, mirrored, shape) = home_of(region(structure, side)).unwrap();
            assert_eq!(shape.structure, structure);
            view.place(shape.tags_at, mirrored)
        };
        let (right, left) = (at(Side::Right), at(Side::Left));
        let is_unpaired = super::drawn_region(structure, Side::Left).side == Side::Midline;
        assert_eq!(right == left, is_unpaired, "{structure}");
        // Radiological convention: the patient's right is on the left of the picture.
        assert!(right[0] <= left[0], "{structure}");
    }
}

#[test]
fn labels_never_overlap_and_stay_in_the_picture() {
    let left: Vec<RegionName> =
        Structure::ALL.iter().map(|structure| region(*structure, Side::Left)).collect();
    let crowd = [region(Structure::Frontal, Side::Right)];
    for (case, regions) in [("everywhere", left.as_slice()), ("in one place", &crowd)] {
        for count in [1, 5, LABELS_MAX, LABELS_MAX + 9] {
            for language in Language::ALL {
                let report = with_findings(count, regions);
                let scene = Scene::of(&report, language.wording());
                assert_eq!(scene.labels.len(), count.min(LABELS_MAX), "{case}, {count}");
                assert_eq!(scene.left_out, count.saturating_sub(LABELS_MAX));
                for (at, label) in scene.labels.iter().enumerate() {
                    let rect = label.rect();
                    assert!(rect.top >= 0.0 && rect.bottom <= scene.height, "{case}, {count}");
                    for other in &scene.labels[at + 1..] {
                        assert!(!rect.overlaps(&other.rect()), "{case}, {count}");
                    }
                }
            }
        }
    }
}

#[test]
fn numbers_of_one_region_stand_apart() {
    for &structure in Structure::ALL {
        let report = with_findings(4, &[region(structure, Side::Left)]);
        let scene = Scene::of(&report, Language::English.wording());
        assert_eq!(scene.tags.len(), 4, "{structure}");
        for (at, tag) in scene.tags.iter().enumerate() {
            for other in &scene.tags[at + 1..] {
                let apart = (tag.at[0] - other.at[0]).hypot(tag.at[1] - other.at[1]);
                assert!(apart >= 2.0 * tag.half, "{structure}: {apart}");
            }
        }
    }
}

#[test]
fn a_finding_of_both_sides_is_led_to_the_side_with_the_tumour() {
    let mut report = with_findings(1, &[region(Structure::Frontal, Side::Right)]);
    let mut twin = report.symptoms.findings[0].points_to[0].clone();
    (twin.region, twin.side) = ("frontal_left".into(), Some(Side::Left));
    report.symptoms.findings[0].points_to.push(twin);
    let scene = Scene::of(&report, Language::English.wording());
    // 61 % of the tumour of the sample lie on the left.
    let regions = scene.pointed_by(&report.symptoms.findings[0]);
    assert_eq!(regions[0], region(Structure::Frontal, Side::Left));
    assert_eq!(regions.len(), 2);
}

#[test]
fn an_explained_finding_is_led_to_the_tumour_and_another_to_where_it_points_most() {
    let mut report = with_findings(1, &[region(Structure::Occipital, Side::Left)]);
    let mut weaker = report.symptoms.findings[0].points_to[0].clone();
    (weaker.region, weaker.probability) = ("frontal_left".into(), 0.01);
    report.symptoms.findings[0].points_to.push(weaker);
    for (fit, expected) in
        [(Fit::Explained, Structure::Frontal), (Fit::Unexplained, Structure::Occipital)]
    {
        report.symptoms.findings[0].fit = fit;
        let scene = Scene::of(&report, Language::English.wording());
        let regions = scene.pointed_by(&report.symptoms.findings[0]);
        assert_eq!(regions[0].structure, expected, "{fit:?}");
    }
}

#[test]
fn shares_are_shaded_and_symptoms_hatched_and_both_are_told_in_words() {
    assert_eq!([0.0, 0.01, 0.1, 0.2, 0.6].map(shade), [0, 1, 2, 3, 4]);
    for (language, told) in
        [(Language::English, "left frontal lobe 61 %"), (Language::Korean, "왼쪽 전두엽 61 %")]
    {
        let drawing = render(&report(), language.wording()).unwrap();
        for part in [
            "<title",
            "<desc",
            told,
            "shade-4",
            "url(#hatch-dense)",
            "leader-misfits",
            "leader-fits",
        ] {
            assert!(drawing.contains(part), "{language}: {part}");
        }
    }
}

#[test]
fn nothing_is_drawn_where_nothing_is_known() {
    let mut report = report();
    report.image.lesions.clear();
    report.assessment.symptom_regions.clear();
    report.symptoms.findings.retain(|finding| finding.points_to.is_empty());
    assert!(render(&report, Language::English.wording()).is_none());
    let numbers: Vec<usize> =
        numbered(&report.symptoms).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2]);
}
