mod sample;

use neurotriage_proto::{referral::v1 as referral, segmentation::v1 as segmentation};

use super::{Language, Report, from_proto, html, json, terminal};
pub(crate) use sample::{answers, report};

/// Returns the page in English, without pictures.
fn page_of(report: &Report) -> String {
    html::render(report, &html::Pictures::default(), Language::English)
}

/// Returns pictures whose bytes are no picture.
fn pictures() -> html::Pictures {
    html::Pictures {
        slices_png: Some(b"png".to_vec()),
        outlines: Some(html::Outlines {
            png: b"outlines".to_vec(),
            regions: vec![html::OutlinedRegion {
                region: "frontal_left".into(),
                display_name: "left frontal lobe".into(),
                share: 0.61,
                rgb: [255, 120, 200],
            }],
        }),
    }
}

#[test]
fn the_headline_names_volume_and_regions_by_share() {
    let mut answers = answers();
    assert_eq!(
        report().headline,
        "Lesion of 84.2 ml: left frontal lobe (61 %), right frontal lobe (22 %), corpus callosum (11 %); crosses the midline."
    );
    let localisation = answers.segmentation.localisation.as_mut().unwrap();
    let mut second = localisation.lesions[0].clone();
    second.volume_ml = 5.8;
    localisation.lesions.push(second);
    let two = from_proto::report(answers);
    assert!(
        two.headline.starts_with("2 lesions, 90.0 ml in all; the largest of 84.2 ml: left frontal"),
        "{}",
        two.headline
    );
}

#[test]
fn no_tumour_and_an_unknown_space_are_said_and_no_lobe_is_named() {
    let mut none = answers();
    none.segmentation.localisation.as_mut().unwrap().lesions.clear();
    assert_eq!(from_proto::report(none).headline, "No tumour was found in the image.");
    let mut unknown = answers();
    let localisation = unknown.segmentation.localisation.as_mut().unwrap();
    localisation.space = segmentation::Space::Unknown.into();
    localisation.space_reason = "the affine is no template's".into();
    let unknown = from_proto::report(unknown);
    assert!(unknown.headline.contains("no region is named"), "{}", unknown.headline);
    assert!(
        terminal::render_plain(&unknown).contains("Space unknown: the affine is no template's")
    );
}

#[test]
fn no_tumour_and_doubt_are_said_first_and_in_every_rendering() {
    let reason = "confidence in the marking is low (0.61 of 1)";
    // (outcome, keeps lesions, headline begins, word, reasons)
    let table = [
        (
            segmentation::Outcome::NotSure,
            true,
            "Not sure: a person must look. Marked: Lesion of 84.2 ml",
            "not sure",
            vec![reason],
        ),
        (
            segmentation::Outcome::NotSure,
            false,
            "Not sure whether there is a tumour",
            "not sure",
            vec![reason],
        ),
        (
            segmentation::Outcome::NoTumourFound,
            false,
            "No tumour was found in the image.",
            "no tumour found",
            vec![],
        ),
    ];
    for (outcome, keeps, headline, word, reasons) in table {
        let mut answers = answers();
        answers.segmentation.outcome = outcome.into();
        answers.segmentation.outcome_reasons = reasons.iter().map(ToString::to_string).collect();
        if !keeps {
            answers.segmentation.localisation.as_mut().unwrap().lesions.clear();
        }
        let report = from_proto::report(answers);
        assert!(report.headline.starts_with(headline), "{}", report.headline);
        let plain = terminal::render_plain(&report);
        let (page, json) = (page_of(&report), json::render(&report).unwrap());
        assert!(plain.find(&word.to_uppercase()).unwrap() < plain.find(headline).unwrap());
        assert!(page.find(&format!("<b>{word}</b>")).unwrap() < page.find("<section").unwrap());
        assert!(json.contains(&format!("\"outcome\": \"{}\"", word.replace(' ', "_"))));
        for text in [&plain, &page, &json] {
            assert_eq!(text.contains(reason), !reasons.is_empty());
        }
    }
    // A tumour, and a result from before: no banner.
    for outcome in [segmentation::Outcome::Unspecified, segmentation::Outcome::Tumour] {
        let mut answers = answers();
        answers.segmentation.outcome = outcome.into();
        let report = from_proto::report(answers);
        assert!(report.headline.starts_with("Lesion of 84.2 ml"));
        assert!(!page_of(&report).contains("class=\"outcome"));
        assert!(!terminal::render_plain(&report).contains("NOT SURE"));
    }
}

#[test]
fn each_lesion_shows_its_confidence_if_it_is_known() {
    let mut answers = answers();
    let lesions = &mut answers.segmentation.localisation.as_mut().unwrap().lesions;
    lesions.push(segmentation::Lesion { volume_ml: 0.3, ..Default::default() });
    lesions[0].confidence = Some(0.912);
    lesions[0].mirror_spread = Some(0.011);
    let report = from_proto::report(answers);
    let plain = terminal::render_plain(&report);
    assert!(plain.contains("confidence 0.91 of 1 (high)"), "{plain}");
    assert_eq!(plain.matches("confidence 0").count(), 1);
    assert!(page_of(&report).contains("Confidence in this lesion: <b>0.91</b> of 1 (high)"));
    let json: serde_json::Value = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
    assert_eq!(json.pointer("/image/lesions/0/mirror_spread"), Some(&serde_json::json!(0.011)));
    assert_eq!(json.pointer("/image/lesions/1/confidence"), Some(&serde_json::Value::Null));
}

#[test]
fn every_rendering_says_what_it_is_and_what_it_was_made_with() {
    let report = report();
    let plain = terminal::render_plain(&report);
    let page = page_of(&report);
    let json = json::render(&report).unwrap();
    for (name, text) in [("terminal", &plain), ("html", &page), ("json", &json)] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "Not a medical device, not a diagnosis",
            "case-0001",
            "default-2026-11",
            "0123456789ab",
            "sri24-lobes-1",
            "evidence-3",
            "lexicon-1",
            "left frontal lobe (61 %)",
            "explained",
            "unexplained",
            "The cat is blue",
            "First Hospital",
            "audiometry",
            "Headache with vomiting in the morning",
            "Tinnitus is not explained by the lesion.",
            "HP:0001269",
            "83251001",
        ] {
            assert!(text.contains(expected), "{name} lacks `{expected}`");
        }
    }
}

#[test]
fn the_json_keeps_its_schema() {
    let json: serde_json::Value = serde_json::from_str(&json::render(&report()).unwrap()).unwrap();
    let table = [
        ("/schema_version", serde_json::json!(1)),
        ("/study/shape", serde_json::json!([240, 240, 155])),
        ("/image/volumes/whole_ml", serde_json::json!(84.2)),
        ("/image/space", serde_json::json!("sri24")),
        ("/image/lesions/0/side", serde_json::json!("left")),
        ("/image/lesions/0/regions/0/region", serde_json::json!("frontal_left")),
        ("/image/localiser_details/more", serde_json::json!(1)),
        ("/symptoms/findings/2/fit", serde_json::json!("unexplained")),
        ("/symptoms/findings/4/fit", serde_json::json!("denied")),
        ("/assessment/verdict", serde_json::json!("partly_concordant")),
        ("/assessment/confirmed_site_name", serde_json::json!("left frontal lobe")),
        ("/referral/hospitals/0/hospital_id", serde_json::json!("first")),
        ("/referral/hospitals/1/distance_km", serde_json::Value::Null),
        ("/model/weights_sha256", serde_json::json!("0123456789abcdef".repeat(4))),
        ("/run/peak_memory_bytes", serde_json::json!(1_500_000_000)),
    ];
    for (pointer, expected) in table {
        assert_eq!(json.pointer(pointer), Some(&expected), "at {pointer}");
    }
}

#[test]
fn text_of_others_can_run_nothing() {
    let mut hostile = answers();
    let attack = "<script>alert(1)</script>\u{1b}[2J";
    hostile.case = attack.into();
    hostile.symptoms.text = attack.into();
    hostile.symptoms.not_understood = vec![attack.into()];
    hostile.symptoms.findings[0].display_name = attack.into();
    hostile.assessment.findings[0].finding.as_mut().unwrap().display_name = attack.into();
    hostile.assessment.reasons = vec![attack.into()];
    hostile.segmentation.outcome = segmentation::Outcome::NotSure.into();
    hostile.segmentation.outcome_reasons = vec![attack.into()];
    hostile.assessment.urgent_signs = vec![attack.into()];
    hostile.assessment.next_checks = vec![attack.into()];
    hostile.assessment.worth_asking = vec![attack.into()];
    hostile.assessment.alternatives =
        vec![referral::Alternative { reason: attack.into(), ..Default::default() }];
    hostile.assessment.confirmed_site = attack.into();
    hostile.assessment.hospitals_reason = attack.into();
    hostile.assessment.hospitals[0].hospital.as_mut().unwrap().name = attack.into();
    hostile.study.volumes[0].file_name = attack.into();
    let lesion = &mut hostile.segmentation.localisation.as_mut().unwrap().lesions[0];
    lesion.regions[0].display_name = attack.into();
    let hostile = from_proto::report(hostile);
    let page = html::render(&hostile, &pictures(), Language::English);
    assert!(!page.to_lowercase().contains("<script"), "unescaped text in the page");
    assert!(page.contains("&lt;script&gt;"));
    assert!(
        !terminal::render_plain(&hostile).contains('\u{1b}'),
        "escape code reached the terminal"
    );
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let page = html::render(&report(), &pictures(), Language::English);
    assert!(page.contains("data:image/png;base64,cG5n"));
    for outside in ["http://", "https://", "src=\"/", "<link", "@import"] {
        assert!(!page.contains(outside), "page refers to `{outside}`");
    }
    // Patterns of the drawings are in the page itself.
    assert_eq!(page.matches("url(").count(), page.matches("url(#").count());
}

#[test]
fn only_the_coloured_text_has_colours_and_both_say_the_same() {
    let coloured = terminal::render_coloured(&report());
    let plain = terminal::render_plain(&report());
    assert!(coloured.contains("\u{1b}[1;33m"));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    let lines =
        |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&stripped), lines(&plain));
    assert!(plain.lines().all(|line| line.chars().count() <= 110), "a line is too long");
}

#[test]
fn place_certainty_and_what_lies_near_are_said() {
    let mut answers = answers();
    let localisation = answers.segmentation.localisation.as_mut().unwrap();
    localisation.placement = Some(segmentation::Placement {
        placed_by: segmentation::PlacedBy::Registration.into(),
        moved_mm: Some(12.3),
        midline_shift: Some(segmentation::MidlineShift {
            right_mm: -6.6,
            patient_mm: vec![0.0; 3],
        }),
        ..Default::default()
    });
    let lesion = &mut localisation.lesions[0];
    lesion.regions[0].is_uncertain = true;
    (lesion.touches_ventricles, lesion.touches_cortex, lesion.satellites) =
        (Some(true), Some(false), 2);
    let area = |name: &str, distance_mm, overlap_ml| segmentation::EloquentArea {
        display_name: name.into(),
        distance_mm,
        overlap_ml,
        ..Default::default()
    };
    lesion.eloquent =
        vec![area("left internal capsule", 0.0, 1.24), area("Broca's area", 6.7, 0.0)];
    let report = from_proto::report(answers);
    let page = page_of(&report);
    let text = terminal::render_plain(&report);
    for shown in [text.replace("\n", " "), page.replace('\n', " ")] {
        for part in [
            "Registered to the template; by its header the study lay 12 mm off.",
            "Midline shift of 7 mm to the left, give or take about 3.",
            "left internal capsule (overlaps, 1.2 ml)",
            "area (7 mm)",
            "reaches the ventricles, does not reach the cortex, has 2 satellite(s) of core",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
    assert!(text.contains(" ?") && page.contains(">uncertain<"));
}

#[test]
fn a_shift_within_the_error_is_called_none_and_an_unknown_one_is_not_spoken_of() {
    let of = |right_mm: Option<f64>| {
        let mut answers = answers();
        answers.segmentation.localisation.as_mut().unwrap().placement =
            Some(segmentation::Placement {
                placed_by: segmentation::PlacedBy::Registration.into(),
                midline_shift: right_mm
                    .map(|right_mm| segmentation::MidlineShift { right_mm, ..Default::default() }),
                ..Default::default()
            });
        terminal::render_plain(&from_proto::report(answers))
    };
    assert!(
        of(Some(1.2)).contains("No midline shift beyond the error of measurement, about 3 mm.")
    );
    assert!(of(Some(8.4)).contains("Midline shift of 8 mm to the right"));
    assert!(!of(None).contains("idline shift"));
}

#[test]
fn what_else_to_consider_is_said_in_sentences() {
    let said = report().assessment.to_consider;
    assert_eq!(
        said,
        [
            "A second lesion would explain tinnitus: no part of this one lies there.",
            "If nothing were said of expressive aphasia, the verdict would be partly concordant.",
            "Often caused by a lesion there, and denied: apathy.",
            "Often caused by a lesion there, and not mentioned: abulia, anosmia.",
        ]
    );
    let page = page_of(&report());
    assert!(said.iter().all(|sentence| page.contains(sentence.as_str())));
}
