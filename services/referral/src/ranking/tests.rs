use super::*;
use crate::hospital;

fn rules() -> RankingRules {
    RankingRules::builtin().unwrap()
}

/// By the rules that are compiled in.
fn rank(need: &Need, directory: &[Hospital], hospitals_max: usize) -> Ranking {
    super::rank(&rules(), need, directory, hospitals_max)
}

fn need(site: &str) -> Need {
    Need {
        site: (!site.is_empty()).then(|| site.parse().unwrap()),
        lesions: Vec::new(),
        language_left: 0.95,
        urgency: Urgency::Routine,
        is_child: false,
        has_seizures: false,
        has_visual_signs: false,
        home: None,
    }
}

fn hospital(id: &str, capabilities: &[Capability]) -> Hospital {
    Hospital {
        hospital_id: id.parse().unwrap(),
        name: format!("Sample {id} (fictional)"),
        city: "Sampleville".to_owned(),
        location: Coordinates::from_degrees(37.0, 127.0).unwrap(),
        capabilities: capabilities.to_vec(),
        capacity: 0.5,
        accepts_referrals: true,
        identifiers: Vec::new(),
        languages: Vec::new(),
        beds_free: None,
    }
}

fn called_for(need: &Need, essential: bool) -> Vec<&'static str> {
    let requirements = requirements(need);
    requirements
        .into_iter()
        .filter(|requirement| requirement.essential == essential)
        .map(|requirement| requirement.capability.as_str())
        .collect()
}

fn wanted(need: &Need) -> Vec<&'static str> {
    called_for(need, false)
}

fn lesion(volume_ml: f64, enhancing_ml: f64) -> NeedLesion {
    NeedLesion { volume_ml, enhancing_ml, eloquent: None }
}

fn near(area: &str, distance_mm: f64) -> NeedLesion {
    let display_name = area.replace('_', " ");
    let eloquent = Some(vec![NearbyArea { area: area.to_owned(), display_name, distance_mm }]);
    NeedLesion { eloquent, ..lesion(20.0, 5.0) }
}

#[test]
fn the_site_calls_for_what_it_should() {
    // (what the row is for, site, capabilities wanted)
    let table: &[(&str, &str, &[&str])] = &[
        ("language side", "frontal_left", &["awake_mapping"]),
        ("language side", "temporal_left", &["awake_mapping"]),
        ("other side", "frontal_right", &[]),
        ("brain stem", "brain_stem", &["skull_base", "stereotactic_biopsy"]),
        ("angle", "cerebellopontine_angle_right", &["skull_base", "radiosurgery"]),
        ("deep", "thalamus_right", &["stereotactic_biopsy"]),
        ("callosal", "corpus_callosum", &["stereotactic_biopsy"]),
        ("visual cortex", "occipital_right", &["neuro_ophthalmology"]),
        ("pituitary area", "hypothalamus", &["skull_base", "neuro_ophthalmology"]),
        ("unknown", "", &[]),
    ];
    for (case, site, expected) in table {
        assert_eq!(&wanted(&need(site)), expected, "case: {case} {site}");
    }
    let left_handed = Need { language_left: 0.72, ..need("temporal_right") };
    assert_eq!(wanted(&left_handed), ["awake_mapping"]);
    let both = Need { has_seizures: true, has_visual_signs: true, ..need("occipital_left") };
    assert_eq!(wanted(&both), ["neuro_ophthalmology", "epilepsy_surgery"]);
}

#[test]
fn mapping_is_wanted_where_the_image_shows_speech_or_movement_near() {
    // (what the row is for, site, lesion, mapping wanted)
    let table = [
        ("overlaps", "frontal_left", near("broca_area_left", 0.0), true),
        ("near", "temporal_left", near("wernicke_area_left", 8.0), true),
        ("movement, right", "frontal_right", near("primary_motor_cortex_right", 9.0), true),
        ("far", "frontal_left", near("broca_area_left", 15.0), false),
        ("sight", "occipital_left", near("primary_visual_cortex_left", 0.0), false),
        ("not told", "frontal_left", lesion(20.0, 5.0), true),
    ];
    for (case, site, lesion, expected) in table {
        let need = Need { lesions: vec![lesion], ..need(site) };
        assert_eq!(wanted(&need).contains(&"awake_mapping"), expected, "case: {case}");
    }
    // Language may lie on the right, of which the map knows nothing.
    let far = near("primary_motor_cortex_right", 18.0);
    let left_handed = Need { lesions: vec![far], language_left: 0.72, ..need("temporal_right") };
    assert_eq!(wanted(&left_handed), ["awake_mapping"]);
}

#[test]
fn the_kind_of_tumour_that_is_worth_thinking_of_adds_what_it_needs() {
    let child = Need { is_child: true, ..need("cerebellum_left") };
    let seen = |site: &str, lesions: Vec<NeedLesion>| Need { lesions, ..need(site) };
    // (what the row is for, need, hint, a capability it adds)
    let table = [
        (
            "several",
            seen("frontal_right", vec![lesion(8.0, 3.0), lesion(2.0, 1.0)]),
            "metastases_or_multifocal_glioma",
            "radiosurgery",
        ),
        (
            "hardly enhances",
            seen("frontal_right", vec![lesion(40.0, 0.3)]),
            "lower_grade_glioma",
            "awake_mapping",
        ),
        ("child", child, "posterior_fossa_tumour_of_childhood", "proton_therapy"),
        (
            "angle",
            need("cerebellopontine_angle_left"),
            "vestibular_schwannoma_or_meningioma",
            "skull_base",
        ),
    ];
    for (case, need, kind, capability) in table {
        let kinds: Vec<String> = hints(&need).into_iter().map(|hint| hint.kind).collect();
        assert_eq!(kinds, [kind], "case: {case}");
        assert!(wanted(&need).contains(&capability), "case: {case}");
    }
    for (case, need) in [
        ("one enhances", seen("frontal_right", vec![lesion(8.0, 3.0), lesion(2.0, 0.1)])),
        ("too small to say", seen("frontal_right", vec![lesion(2.0, 0.0)])),
        ("a small part of a large one", seen("frontal_right", vec![lesion(110.0, 5.2)])),
        ("deep", seen("thalamus_left", vec![lesion(20.0, 0.0)])),
        ("nothing known", need("")),
    ] {
        assert_eq!(hints(&need), [], "case: {case}");
    }
}

#[test]
fn a_full_hospital_loses_its_capacity_and_the_answer_says_so() {
    let free = Hospital { beds_free: Some(2), ..hospital("b", &[Capability::Neurosurgery]) };
    let full = Hospital { beds_free: Some(0), ..hospital("a", &[Capability::Neurosurgery]) };
    let ranking = rank(&need("frontal_right"), &[full, free], 2);
    let [first, second] = ranking.hospitals.as_slice() else { panic!("two hospitals") };
    assert_eq!(first.hospital.hospital_id.as_str(), "b");
    assert!(first.reason.contains("2 free beds"), "{}", first.reason);
    assert!(second.reason.contains("no free bed"), "{}", second.reason);
    assert!((first.score - second.score - 0.5 * 0.2).abs() < 1e-12);
}

#[test]
fn other_weights_make_another_order() {
    let near = hospital("near", &[Capability::Neurosurgery]);
    let able = Hospital {
        location: Coordinates::from_degrees(35.1, 129.0).unwrap(),
        ..hospital("able", &[Capability::Neurosurgery, Capability::AwakeMapping])
    };
    let need = Need { home: Coordinates::from_degrees(37.0, 127.0).ok(), ..need("temporal_left") };
    let directory = [near, able];
    let first = |rules: &RankingRules| {
        let ranking = super::rank(rules, &need, &directory, 1);
        ranking.hospitals[0].hospital.hospital_id.to_string()
    };
    assert_eq!(first(&rules()), "able");
    let text = include_str!("../../../../assets/ranking/ranking.toml")
        .replacen("capability = 0.55", "capability = 0.05", 1)
        .replacen("travel = 0.25", "travel = 0.75", 1);
    assert_eq!(first(&RankingRules::read(&text).unwrap()), "near");
}

#[test]
fn few_of_many_are_the_first_of_all() {
    let directory: Vec<Hospital> = (0..500)
        .map(|n: u32| Hospital {
            capacity: f64::from(n * 37 % 100) / 100.0,
            ..hospital(&format!("h-{n:03}"), &[Capability::Neurosurgery])
        })
        .collect();
    let all = rank(&need(""), &directory, 500).hospitals;
    let ten = rank(&need(""), &directory, 10).hospitals;
    assert_eq!(ten, all[..10]);
    assert_eq!(rank(&need(""), &directory, 0).hospitals, []);
}

#[test]
fn urgency_and_age_are_essential() {
    let emergency = Need { urgency: Urgency::Emergency, is_child: true, ..need("") };
    assert_eq!(
        called_for(&emergency, true),
        ["neurosurgery", "emergency_neurosurgery", "paediatric_neuro_oncology"]
    );
    let able = hospital("able", &[Capability::Neurosurgery, Capability::EmergencyNeurosurgery]);
    let plain = hospital("plain", &[Capability::Neurosurgery]);
    let adult = Need { urgency: Urgency::Emergency, ..need("") };
    let ranking = rank(&adult, &[plain, able], 5);
    assert_eq!(ranking.hospitals.len(), 1);
    assert_eq!(ranking.hospitals[0].hospital.hospital_id.as_str(), "able");
    assert!(ranking.reason.contains("Only 1 hospital"), "{}", ranking.reason);
}

#[test]
fn a_hospital_with_what_the_site_calls_for_comes_first() {
    let plain = hospital("a", &[Capability::Neurosurgery]);
    let mapping = hospital("b", &[Capability::Neurosurgery, Capability::AwakeMapping]);
    let ranking = rank(&need("frontal_left"), &[plain.clone(), mapping.clone()], 2);
    assert_eq!(ranking.hospitals[0].hospital, mapping);
    assert!(
        ranking.hospitals[0].reason.contains("awake mapping"),
        "{}",
        ranking.hospitals[0].reason
    );
    assert!(ranking.hospitals[1].reason.contains("lacks awake mapping"));
    assert_eq!(ranking.reason, "");
    // The other side calls for nothing special: equal, so by id.
    let ranking = rank(&need("frontal_right"), &[mapping, plain.clone()], 2);
    assert_eq!(ranking.hospitals[0].hospital, plain);
}

#[test]
fn factors_are_shares_and_their_weights_sum_to_one() {
    let directory = hospital::sample().unwrap();
    for urgency in [Urgency::Routine, Urgency::Soon, Urgency::Emergency] {
        for home in [None, Coordinates::from_degrees(37.5, 127.0).ok()] {
            let need = Need { urgency, home, ..need("temporal_left") };
            let ranking = rank(&need, &directory, 50);
            assert!(ranking.hospitals.len() >= 8);
            for ranked in &ranking.hospitals {
                let weights: f64 = ranked.factors.iter().map(|factor| factor.weight).sum();
                let score: f64 =
                    ranked.factors.iter().map(|factor| factor.value * factor.weight).sum();
                assert!((weights - 1.0).abs() < 1e-12);
                assert!((score - ranked.score).abs() < 1e-12);
                assert!(ranked.factors.iter().all(|factor| (0.0..=1.0).contains(&factor.value)));
                assert!(ranked.hospital.accepts_referrals);
                assert_eq!(ranked.distance_km.is_some(), home.is_some());
                assert_eq!(ranked.travel_minutes.is_some(), home.is_some());
            }
            assert!(ranking.hospitals.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
}

#[test]
fn nearer_is_better_and_an_unknown_home_is_neutral() {
    let near = hospital("z-near", &[Capability::Neurosurgery]);
    let far = Hospital {
        location: Coordinates::from_degrees(33.5, 126.5).unwrap(),
        ..hospital("a-far", &[Capability::Neurosurgery])
    };
    let home = Coordinates::from_degrees(37.0, 127.0).ok();
    let directory = [far, near];
    let ranking = rank(&Need { home, ..need("frontal_right") }, &directory, 2);
    assert_eq!(ranking.hospitals[0].hospital.hospital_id.as_str(), "z-near");
    assert_eq!(ranking.hospitals[0].distance_km, Some(0.0));
    let ranking = rank(&need("frontal_right"), &directory, 2);
    assert_eq!(ranking.hospitals[0].hospital.hospital_id.as_str(), "a-far");
    assert!(ranking.hospitals[0].reason.contains("home is not recorded"));
}

#[test]
fn the_order_of_the_directory_does_not_matter() {
    let mut directory = hospital::sample().unwrap();
    let need = need("brain_stem");
    let expected = rank(&need, &directory, 5);
    directory.reverse();
    assert_eq!(rank(&need, &directory, 5), expected);
}

#[test]
fn an_empty_list_says_why() {
    let closed =
        Hospital { accepts_referrals: false, ..hospital("closed", &[Capability::Neurosurgery]) };
    let eye = hospital("eye", &[Capability::NeuroOphthalmology]);
    let shut = closed.clone();
    // (what the row is for, directory, part of the reason)
    let table = [
        ("nothing", vec![], "directory is empty"),
        ("closed", vec![closed.clone()], "none accepts referrals"),
        ("not able", vec![closed, eye.clone()], "offers neurosurgery"),
        ("not able, not accepting", vec![eye, shut], "One that does takes no referrals"),
    ];
    for (case, directory, reason) in table {
        let ranking = rank(&need("frontal_left"), &directory, 5);
        assert!(ranking.hospitals.is_empty(), "case: {case}");
        assert!(ranking.reason.contains(reason), "case: {case}: {}", ranking.reason);
    }
}
