mod explain;
mod site;

use std::collections::BTreeMap;

use super::{
    Verdict::{Concordant, Discordant, InsufficientEvidence, PartlyConcordant},
    *,
};

fn table() -> EvidenceTable {
    EvidenceTable::builtin().unwrap()
}

/// Reads findings such as `hemianopia right, no seizure, apathy`.
fn findings(text: &str) -> Vec<ReportedFinding> {
    let parse = |part: &str| {
        let mut words: Vec<&str> = part.split_whitespace().collect();
        let present = words.first() != Some(&"no");
        if !present {
            words.remove(0);
        }
        let side = match words.get(1) {
            Some(&"left") => Some(Side::Left),
            Some(&"right") => Some(Side::Right),
            Some(&"both") => Some(Side::Midline),
            _ => None,
        };
        ReportedFinding {
            finding_id: words[0].to_owned(),
            code: String::new(),
            display_name: words[0].replace('_', " "),
            side,
            present,
            matched_text: part.trim().to_owned(),
        }
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse).collect()
}

/// Reads one lesion such as `frontal_left .6, frontal_right .4`.
fn lesion(text: &str) -> ImageEvidence {
    let parse = |part: &str| {
        let (region, weight) = part.trim().split_once(' ').unwrap();
        let (region, weight) = (region.parse().unwrap(), weight.parse().unwrap());
        LesionRegion { region, weight, span: None }
    };
    let regions: Vec<LesionRegion> =
        text.split(',').filter(|part| !part.trim().is_empty()).map(parse).collect();
    let site = LesionSite { volume_ml: 10.0, confidence: None, regions };
    let lesions = if site.regions.is_empty() { Vec::new() } else { vec![site] };
    ImageEvidence { lesions, ..ImageEvidence::default() }
}

fn compared(image: &str, said: &str, hand: Handedness) -> Comparison {
    compare(&table(), &findings(said), hand, &lesion(image))
}

/// Both frontal lobes, the left more, as in a real case.
const BIFRONTAL: &str =
    "frontal_left 0.58, frontal_right 0.34, corpus_callosum 0.05, caudate_left 0.03";

const RIGHT: Handedness = Handedness::Right;
const LEFT: Handedness = Handedness::Left;

#[test]
fn verdicts_follow_the_rules() {
    // (rule, image, findings, hand, verdict)
    #[rustfmt::skip]
    let rows = [
        ("frontal signs, frontal lesion", BIFRONTAL, "personality_change, apathy, headache", RIGHT, Concordant),
        ("field defect without occipital lesion", BIFRONTAL, "hemianopia right, gait_disturbance", RIGHT, Discordant),
        ("general symptoms only", BIFRONTAL, "headache, nausea, vomiting, fatigue", RIGHT, InsufficientEvidence),
        ("raised pressure does not localise", "temporal_right 1", "papilledema, raised_intracranial_pressure, drowsiness", RIGHT, InsufficientEvidence),
        ("no findings", "temporal_right 1", "", RIGHT, InsufficientEvidence),
        ("no lesion", "", "hemianopia right, apathy", RIGHT, InsufficientEvidence),
        ("ventricle is no site", "lateral_ventricle_left 1", "hemianopia right", RIGHT, InsufficientEvidence),
        ("a seizure alone is too little", "frontal_left 1", "seizure", RIGHT, InsufficientEvidence),
        ("one-sided headache alone is too little", "frontal_left 1", "unilateral_headache left", RIGHT, InsufficientEvidence),
        ("denied findings do not count for", "frontal_left 1", "no apathy, no personality_change, headache", RIGHT, InsufficientEvidence),
        ("denied findings do not count against", "frontal_left 1", "no hemianopia right, apathy, disinhibition", RIGHT, Concordant),
        ("hemianopia is contralateral", "occipital_left 1", "hemianopia right", RIGHT, Concordant),
        ("hemianopia on the wrong side", "occipital_left 1", "hemianopia left", RIGHT, PartlyConcordant),
        ("hemiparesis is contralateral", "frontal_right 0.7, internal_capsule_right 0.3", "hemiparesis left", RIGHT, Concordant),
        ("hemiparesis on the wrong side", "frontal_right 1", "hemiparesis right", RIGHT, PartlyConcordant),
        ("limb ataxia is ipsilateral", "cerebellum_left 1", "limb_ataxia left", RIGHT, Concordant),
        ("limb ataxia on the wrong side", "cerebellum_left 1", "limb_ataxia right", RIGHT, PartlyConcordant),
        ("limb ataxia is not frontal", "frontal_left 1", "limb_ataxia left, dysmetria left", RIGHT, Discordant),
        ("aphasia is dominant", "temporal_left 1", "receptive_aphasia", RIGHT, Concordant),
        ("aphasia with a lesion right", "temporal_right 1", "receptive_aphasia", RIGHT, PartlyConcordant),
        ("dominance by default", "temporal_left 1", "receptive_aphasia", Handedness::Unknown, Concordant),
        ("expressive aphasia is frontal", "frontal_left 1", "expressive_aphasia", RIGHT, Concordant),
        ("neglect is non-dominant", "parietal_right 1", "neglect", RIGHT, Concordant),
        ("neglect with a lesion left", "parietal_left 1", "neglect", RIGHT, PartlyConcordant),
        ("Gerstmann signs are dominant parietal", "parietal_left 1", "dyscalculia, dysgraphia, finger_agnosia, left_right_disorientation", RIGHT, Concordant),
        ("Gerstmann signs are not frontal", "frontal_right 1", "dyscalculia, finger_agnosia", RIGHT, Discordant),
        ("smell and memory are temporal", "temporal_right 1", "olfactory_seizure, deja_vu, memory_impairment", RIGHT, Concordant),
        ("upper quadrantanopia, temporal", "temporal_left 1", "quadrantanopia_upper right, deja_vu", RIGHT, Concordant),
        ("lower quadrantanopia, parietal", "parietal_right 1", "quadrantanopia_lower left, sensory_loss left", RIGHT, Concordant),
        ("hearing loss at the angle", "cerebellopontine_angle_right 1", "hearing_impairment right, tinnitus right, facial_palsy right", RIGHT, Concordant),
        ("cranial nerves at the brain stem", "brain_stem 1", "diplopia, dysphagia, long_tract_signs", RIGHT, Concordant),
        ("cranial nerves are not occipital", "occipital_left 1", "diplopia, dysphagia, facial_palsy left", RIGHT, Discordant),
        ("bitemporal hemianopia at the chiasm", "hypothalamus 1", "bitemporal_hemianopia, polydipsia", RIGHT, Concordant),
        ("chorea in the basal ganglia", "putamen_right 0.6, caudate_right 0.4", "chorea left", RIGHT, Concordant),
        ("some fit and some do not", "frontal_left 1", "apathy, personality_change, hemianopia right", RIGHT, PartlyConcordant),
        ("region fits, side does not", "frontal_left 1", "apathy, hemiparesis left", RIGHT, PartlyConcordant),
        ("both sides of the body give no side", "frontal_left 1", "hemiparesis both, apathy, urinary_incontinence", RIGHT, Concordant),
        ("only the side agrees", "temporal_left 1", "hemiparesis right", RIGHT, PartlyConcordant),
        ("a field defect alone is not frontal", "frontal_left 1", "hemianopia right", RIGHT, Discordant),
        ("a field defect alone is not frontal, other side", "frontal_left 1", "hemianopia left", RIGHT, Discordant),
        ("not localised symptoms do not dilute", "frontal_left 1", "hemianopia right, headache, nausea, fatigue", RIGHT, Discordant),
        ("a second lesion explains the field defect", "frontal_left 0.5, occipital_left 0.5", "apathy, hemianopia right", RIGHT, Concordant),
    ];
    for (rule, image, said, hand, verdict) in rows {
        let comparison = compared(image, said, hand);
        assert_eq!(
            comparison.verdict, verdict,
            "rule: {rule}: {image}: {said}: {:?} {:#?}",
            comparison.concordance, comparison.reasons
        );
        assert_eq!(
            comparison.concordance.is_none(),
            verdict == InsufficientEvidence,
            "rule: {rule}"
        );
        if let Some(concordance) = comparison.concordance {
            assert!((0.0..=1.0).contains(&concordance), "rule: {rule}");
        }
        assert!(!comparison.reasons.is_empty(), "rule: {rule}");
        assert!(comparison.reasons.iter().all(|reason| reason.ends_with('.')), "rule: {rule}");
    }
}

#[test]
fn left_handedness_softens_the_side_of_language() {
    let right = compared("temporal_right 1", "receptive_aphasia", RIGHT);
    let left = compared("temporal_right 1", "receptive_aphasia", LEFT);
    assert!(left.concordance > right.concordance);
    assert_eq!(compared("temporal_left 1", "receptive_aphasia", LEFT).verdict, Concordant);
    assert!(left.reasons.iter().any(|reason| reason.contains("left-handed")));
    assert!(right.reasons.iter().any(|reason| reason.contains("right-handed")));
}

#[test]
fn each_finding_says_how_it_fits() {
    // (what the row is for, finding, fit, part of the reason)
    let rows = [
        (
            "explained",
            "apathy",
            Fit::Explained,
            "Apathy points to the frontal lobes or the corpus callosum; the lesion's main site is the left frontal lobe",
        ),
        (
            "site is named",
            "hemiparesis right",
            Fit::Explained,
            "or the left frontal lobe; the lesion's main site is the left frontal lobe",
        ),
        ("elsewhere", "hemianopia right", Fit::Unexplained, "the left occipital lobe"),
        ("general", "headache", Fit::NotLocalising, "general symptom"),
        ("weak", "seizure", Fit::NotLocalising, "weak hint"),
        (
            "side only",
            "unilateral_headache left",
            Fit::NotLocalising,
            "hints at the left side in about 80 %",
        ),
        ("denied", "no apathy", Fit::Absent, "denied"),
        ("red flag", "papilledema", Fit::NotLocalising, "urgency"),
        ("unknown", "elbow_pain", Fit::NotLocalising, "not in the evidence table"),
    ];
    for (case, said, fit, reason) in rows {
        let comparison = compared(BIFRONTAL, said, RIGHT);
        let [finding] = &comparison.findings[..] else { panic!("case: {case}") };
        assert_eq!(finding.fit, fit, "case: {case}");
        assert!(finding.reason.contains(reason), "case: {case}: {}", finding.reason);
        let pointed: f64 = finding.points_to.iter().map(|entry| entry.weight).sum();
        assert_eq!(
            finding.points_to.is_empty(),
            matches!(fit, Fit::NotLocalising | Fit::Absent),
            "case: {case}"
        );
        assert!(finding.points_to.is_empty() || (pointed - 1.0).abs() < 1e-9, "case: {case}");
    }
    let wrong_side = compared("frontal_right 1", "hemiparesis right", RIGHT);
    assert_eq!(wrong_side.findings[0].fit, Fit::Unexplained);
    assert!(wrong_side.findings[0].reason.contains("the side does not"));
}

#[test]
fn hemianopia_points_to_the_back_of_the_opposite_hemisphere() {
    let comparison = compared(BIFRONTAL, "hemianopia right", RIGHT);
    let names: Vec<String> =
        comparison.findings[0].points_to.iter().map(|entry| entry.region.to_string()).collect();
    assert_eq!(names[0], "occipital_left");
    assert!(names.iter().all(|name| name.ends_with("_left")), "{names:?}");
    let left: f64 = comparison
        .symptom_regions
        .iter()
        .filter(|entry| entry.region.side == Side::Left)
        .map(|entry| entry.weight)
        .sum();
    assert!(left > 0.6, "left {left}");
}

#[test]
fn distributions_are_distributions() {
    let comparison = compared(BIFRONTAL, "apathy, hemianopia right", RIGHT);
    for regions in [&comparison.symptom_regions, &comparison.image_regions] {
        let sum: f64 = regions.iter().map(|entry| entry.weight).sum();
        assert!(sum > 0.7 && sum < 1.0 + 1e-9, "sum {sum}");
        assert!(regions.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
    }
    assert_eq!(comparison.image_regions[0].region.to_string(), "frontal_left");
    assert!(compared(BIFRONTAL, "headache", RIGHT).symptom_regions.is_empty());
}

#[test]
fn lesions_count_by_volume() {
    let mut image = lesion("frontal_left 1");
    image.lesions.extend(lesion("occipital_right 1").lesions);
    image.lesions[1].volume_ml = 30.0;
    let comparison = compare(&table(), &[], RIGHT, &image);
    assert_eq!(comparison.image_regions[0].region.to_string(), "occipital_right");
    assert!((comparison.image_regions[0].weight - 0.75).abs() < 1e-12);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        image.lesions[1].volume_ml = bad;
        let comparison = compare(&table(), &[], RIGHT, &image);
        assert_eq!(comparison.image_regions[0].region.to_string(), "frontal_left", "volume {bad}");
    }
}

#[test]
fn an_unknown_space_is_named_and_gives_no_verdict() {
    let image = ImageEvidence {
        lesions: vec![LesionSite { volume_ml: 5.0, confidence: None, regions: Vec::new() }],
        space_reason: "too few slices".to_owned(),
        ..ImageEvidence::default()
    };
    let comparison = compare(&table(), &findings("apathy"), RIGHT, &image);
    assert_eq!(comparison.verdict, InsufficientEvidence);
    assert_eq!(comparison.confirmed_site, None);
    assert!(comparison.reasons[0].contains("too few slices"));
    assert!(!comparison.symptom_regions.is_empty());
}

#[test]
fn a_doubtful_marking_is_compared_with_nothing_and_says_why() {
    let reasons = vec!["confidence is low.".to_owned(), "the t1ce sequence is missing".to_owned()];
    let doubtful =
        ImageEvidence { outcome: ImageOutcome::NotSure { reasons }, ..lesion("frontal_left 1") };
    let none = ImageEvidence { outcome: ImageOutcome::NoTumourFound, ..lesion("frontal_left 1") };
    let empty = lesion("");
    // (image, first reason, reason of the finding ends with)
    let rows = [
        (
            &doubtful,
            "It is not sure what the image shows, so the symptoms are not compared with it: \
             confidence is low; the t1ce sequence is missing.",
            "it is not sure what the image shows",
        ),
        (&none, "No tumour was found in the image", "no lesion was found there or elsewhere"),
        (&empty, "No tumour was found in the image", "no lesion was found there or elsewhere"),
    ];
    for (image, first, last) in rows {
        let comparison = compare(&table(), &findings("hemianopia right, apathy"), RIGHT, image);
        assert_eq!(comparison.verdict, InsufficientEvidence, "{first}");
        assert_eq!((comparison.concordance, comparison.confirmed_site), (None, None));
        assert_eq!(comparison.image_regions, []);
        assert!(comparison.reasons[0].starts_with(first), "{:?}", comparison.reasons[0]);
        assert!(
            comparison.findings[0].reason.ends_with(last),
            "{:?}",
            comparison.findings[0].reason
        );
        // The symptoms still point somewhere.
        assert!(!comparison.symptom_regions.is_empty());
        let radiologist = comparison.next_checks.iter().any(|check| check.contains("radiologist"));
        assert_eq!(
            radiologist,
            image.outcome != ImageOutcome::NoTumourFound && !image.lesions.is_empty()
        );
    }
}

#[test]
fn the_confirmed_site_is_a_main_place_of_the_lesion() {
    // (what the row is for, image, findings, site)
    let rows = [
        ("image alone", BIFRONTAL, "headache", Some("frontal_left")),
        ("both agree", BIFRONTAL, "apathy, hemiparesis right", Some("frontal_left")),
        ("symptoms choose the side", BIFRONTAL, "hemiparesis left", Some("frontal_right")),
        (
            "symptoms never leave the lesion",
            BIFRONTAL,
            "hemianopia right, alexia",
            Some("frontal_left"),
        ),
        ("no lesion", "", "apathy", None),
    ];
    for (case, image, said, site) in rows {
        let confirmed = compared(image, said, RIGHT).confirmed_site.map(|site| site.to_string());
        assert_eq!(confirmed.as_deref(), site, "case: {case}");
    }
}

#[test]
fn urgent_signs_change_urgency_and_not_the_verdict() {
    let plain = compared(BIFRONTAL, "apathy, personality_change", RIGHT);
    let urgent = compared(BIFRONTAL, "apathy, personality_change, papilledema, drowsiness", RIGHT);
    assert_eq!((plain.urgency, urgent.urgency), (Urgency::Routine, Urgency::Emergency));
    assert_eq!((plain.verdict, plain.concordance), (urgent.verdict, urgent.concordance));
    assert_eq!(urgent.urgent_signs.len(), 2);
    let vomiting = compared(BIFRONTAL, "headache, vomiting", RIGHT);
    assert_eq!(vomiting.urgency, Urgency::Soon);
    assert!(vomiting.urgent_signs[0].contains("Headache with vomiting"));
    assert!(
        compared(BIFRONTAL, "no papilledema, no vomiting, headache", RIGHT).urgent_signs.is_empty()
    );
}

#[test]
fn next_checks_follow_findings_and_site() {
    // (what the row is for, image, findings, a check)
    let rows = [
        ("finding", BIFRONTAL, "hemianopia right", "formal visual field test"),
        (
            "disagreement",
            BIFRONTAL,
            "hemianopia right",
            "repeat the neurological examination and confirm the side of each finding",
        ),
        ("site", "occipital_left 1", "headache", "formal visual field test"),
        ("too little", "occipital_left 1", "headache", "structured neurological examination"),
        (
            "wrong side",
            "frontal_right 1",
            "hemiparesis right",
            "confirm the side of each finding and the orientation of the images",
        ),
    ];
    for (case, image, said, check) in rows {
        let checks = compared(image, said, RIGHT).next_checks;
        assert!(checks.iter().any(|known| known == check), "case: {case}: {checks:?}");
        assert!(checks.len() <= NEXT_CHECKS_MAX, "case: {case}");
    }
}

#[test]
fn a_finding_said_twice_counts_once_and_on_both_sides_without_a_side() {
    let number = |said: &str| compared(BIFRONTAL, said, RIGHT).concordance;
    assert_eq!(number("apathy"), number("apathy, apathy"));
    assert_eq!(
        number("apathy, hemiparesis left, hemiparesis right"),
        number("apathy, hemiparesis both")
    );
    assert_eq!(number("apathy, hemiparesis left, hemiparesis"), number("apathy, hemiparesis left"));
}

#[test]
fn findings_that_come_together_count_less_than_their_sum() {
    let space = regions::RegionSpace::new(&table());
    let information = |said: &str| {
        likelihood::Symptoms::of(&table(), &findings(said), &space, 0.95).information()
    };
    let (one, other) = (information("apathy"), information("abulia"));
    let both = information("apathy, abulia");
    assert!(both > one.max(other), "{both} {one} {other}");
    assert!(both < one + other, "{both} {one} {other}");
}

#[test]
fn a_fitting_finding_never_lowers_concordance() {
    // (image, findings, finding that fits)
    let rows = [
        ("frontal_left 1", "apathy", "personality_change"),
        ("frontal_left 1", "apathy", "hemiparesis right"),
        ("frontal_left 1", "apathy, hemianopia right", "disinhibition"),
        (BIFRONTAL, "personality_change", "urinary_incontinence"),
        (BIFRONTAL, "personality_change, hemianopia right", "apathy"),
        ("temporal_left 1", "deja_vu", "receptive_aphasia"),
        ("temporal_left 1", "receptive_aphasia", "quadrantanopia_upper right"),
        ("temporal_right 0.7, insula_right 0.3", "olfactory_seizure", "memory_impairment"),
        ("occipital_left 1", "hemianopia right", "visual_agnosia"),
        ("parietal_right 1", "neglect", "sensory_loss left"),
        ("parietal_right 1", "neglect, apathy", "dressing_apraxia"),
        ("cerebellum_left 1", "limb_ataxia left", "nystagmus"),
        ("cerebellum_left 1", "nystagmus", "dysmetria left"),
        ("brain_stem 1", "diplopia", "dysphagia"),
        ("hypothalamus 1", "bitemporal_hemianopia", "polydipsia"),
    ];
    for (image, said, more) in rows {
        let before = compared(image, said, RIGHT).concordance.unwrap();
        let after = compared(image, &format!("{said}, {more}"), RIGHT);
        assert_eq!(after.findings.last().unwrap().fit, Fit::Explained, "{image}: {more}");
        let after = after.concordance.unwrap();
        assert!(after >= before - 1e-9, "{image}: {said} + {more}: {before} -> {after}");
    }
}

#[test]
fn the_order_of_findings_does_not_matter() {
    let said = findings(
        "apathy, hemianopia right, headache, hemiparesis right, no seizure, abulia, vomiting, aphasia",
    );
    let image = lesion(BIFRONTAL);
    let expected = compare(&table(), &said, RIGHT, &image);
    for shift in 1..said.len() {
        let mut other = said.clone();
        other.rotate_left(shift);
        other.swap(0, 1);
        let found = compare(&table(), &other, RIGHT, &image);
        assert_eq!(found.verdict, expected.verdict);
        assert_eq!(found.concordance, expected.concordance);
        assert_eq!(found.symptom_regions, expected.symptom_regions);
        assert_eq!(found.confirmed_site, expected.confirmed_site);
        assert_eq!(found.urgent_signs, expected.urgent_signs);
        assert_eq!(found.next_checks, expected.next_checks);
    }
}

fn mirrored_regions(regions: &[WeightedRegion]) -> BTreeMap<RegionName, f64> {
    let mirror = |region: RegionName| RegionName { side: region.side.opposite(), ..region };
    regions.iter().map(|entry| (mirror(entry.region), entry.weight)).collect()
}

#[test]
fn mirrored_findings_and_lesion_give_the_mirrored_answer() {
    let rows = [
        ("frontal_left 0.7, parietal_left 0.3", "hemiparesis right, apathy"),
        ("occipital_right 1", "hemianopia left, unilateral_headache right"),
        ("occipital_right 1", "hemianopia right"),
        ("cerebellum_left 0.8, brain_stem 0.2", "limb_ataxia left, facial_palsy left, nystagmus"),
        (BIFRONTAL, "hemiparesis left, sensory_loss left, focal_motor_seizure left"),
    ];
    for (image, said) in rows {
        let (image, said) = (lesion(image), findings(said));
        let mut other_image = image.clone();
        for part in other_image.lesions.iter_mut().flat_map(|lesion| &mut lesion.regions) {
            part.region.side = part.region.side.opposite();
        }
        let other_said: Vec<ReportedFinding> = said
            .iter()
            .cloned()
            .map(|finding| ReportedFinding { side: finding.side.map(Side::opposite), ..finding })
            .collect();
        let plain = compare(&table(), &said, RIGHT, &image);
        let mirrored = compare(&table(), &other_said, RIGHT, &other_image);
        assert_eq!(plain.verdict, mirrored.verdict);
        let (a, b) = (plain.concordance.unwrap(), mirrored.concordance.unwrap());
        assert!((a - b).abs() < 1e-12, "{a} {b}");
        for (ours, theirs) in [
            (&plain.symptom_regions, &mirrored.symptom_regions),
            (&plain.image_regions, &mirrored.image_regions),
        ] {
            let theirs: BTreeMap<_, _> =
                theirs.iter().map(|entry| (entry.region, entry.weight)).collect();
            for (region, weight) in mirrored_regions(ours) {
                // A region at the end of the list may give way to its equal on the other side.
                let Some(other) = theirs.get(&region) else { continue };
                assert!((weight - other).abs() < 1e-12, "{region}");
            }
        }
        let site = plain.confirmed_site.unwrap();
        let expected = RegionName { side: site.side.opposite(), ..site };
        assert_eq!(mirrored.confirmed_site, Some(expected));
    }
}

#[test]
fn the_words_of_the_patient_are_not_in_debug_output() {
    let finding = &findings("hemianopia right")[0];
    assert!(!format!("{finding:?}").contains("matched_text"));
}

#[test]
fn a_region_whose_share_is_uncertain_and_a_doubtful_lesion_count_for_less() {
    let sure = lesion("frontal_left .5, temporal_left .5");
    let mut moved = sure.clone();
    moved.lesions[0].regions[1].span = Some((0.0, 0.55));
    let compared = |image: &ImageEvidence| compare(&table(), &findings("headache"), RIGHT, image);
    let weight = |comparison: &Comparison, region: &str| {
        let found = comparison.image_regions.iter().find(|one| one.region.to_string() == region);
        found.map_or(0.0, |one| one.weight)
    };
    let (sure, moved) = (compared(&sure), compared(&moved));
    assert!((weight(&sure, "temporal_left") - 0.5).abs() < 1e-12);
    assert!((weight(&moved, "temporal_left") - 0.35 / 0.85).abs() < 1e-12);

    let mut two = lesion("frontal_left 1");
    two.lesions.push(LesionSite {
        confidence: Some(0.2),
        ..lesion("cerebellum_right 1").lesions[0].clone()
    });
    let doubtful = compared(&two);
    assert!((weight(&doubtful, "cerebellum_right") - 1.0 / 6.0).abs() < 1e-12);
    // A site with five sixths of what is trusted, and six tenths of the volume trusted.
    let confidence = doubtful.site_confidence.unwrap();
    assert!((confidence - 5.0 / 6.0 * 0.6).abs() < 1e-9, "{confidence}");
}

#[test]
fn symptoms_that_fit_raise_the_confidence_of_the_site_and_others_lower_it() {
    let image = lesion("frontal_left .6, occipital_left .4");
    let confidence =
        |said: &str| compare(&table(), &findings(said), RIGHT, &image).site_confidence.unwrap();
    let silent = confidence("");
    assert!((silent - 0.6).abs() < 1e-12);
    assert!(confidence("abulia, expressive_aphasia") > silent);
    let comparison = compare(&table(), &findings("hemianopia right"), RIGHT, &image);
    // The other part of the lesion becomes the site, and for a reason.
    assert_eq!(
        comparison.confirmed_site.map(|site| site.to_string()).as_deref(),
        Some("occipital_left")
    );
    assert!(comparison.site_confidence.unwrap() > 0.6);
    let nowhere = compare(&table(), &findings("hemianopia right"), RIGHT, &lesion(""));
    assert_eq!(nowhere.site_confidence, None);
}

#[test]
fn a_discordant_pair_that_overlaps_says_why_the_number_is_not_low() {
    let image = lesion("temporal_right .4, insula_right .2, frontal_right .2, putamen_right .2");
    let said = "deja_vu, paresthesia right, diplopia, gait_disturbance, hearing_impairment right, \
                dysphagia, neglect left";
    let comparison = compare(&table(), &findings(said), RIGHT, &image);
    assert_eq!(comparison.verdict, Discordant);
    assert!(comparison.concordance.unwrap() >= DISCORDANT_BELOW);
    let told = |reason: &String| reason.starts_with("Part of the lesion lies");
    assert!(comparison.reasons.iter().any(told), "{:?}", comparison.reasons);
    // Nothing of it where the number is low by itself.
    let low = compare(&table(), &findings("hemianopia left"), RIGHT, &lesion("frontal_right 1"));
    assert_eq!(low.verdict, Discordant);
    assert!(!low.reasons.iter().any(told), "{:?}", low.reasons);
}
