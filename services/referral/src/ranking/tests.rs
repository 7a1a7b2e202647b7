use super::*;
use crate::hospital;

fn need(site: &str) -> Need {
    Need {
        site: (!site.is_empty()).then(|| site.parse().unwrap()),
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
    }
}

fn capabilities(requirements: Vec<Requirement>) -> Vec<&'static str> {
    requirements.into_iter().map(|requirement| requirement.capability.as_str()).collect()
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
        assert_eq!(&capabilities(wanted(&need(site))), expected, "case: {case} {site}");
    }
    let left_handed = Need { language_left: 0.72, ..need("temporal_right") };
    assert_eq!(capabilities(wanted(&left_handed)), ["awake_mapping"]);
    let both = Need { has_seizures: true, has_visual_signs: true, ..need("occipital_left") };
    assert_eq!(capabilities(wanted(&both)), ["neuro_ophthalmology", "epilepsy_surgery"]);
}

#[test]
fn urgency_and_age_are_essential() {
    let emergency = Need { urgency: Urgency::Emergency, is_child: true, ..need("") };
    assert_eq!(
        capabilities(essential(&emergency)),
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
    // (what the row is for, directory, part of the reason)
    let table = [
        ("nothing", vec![], "directory is empty"),
        ("closed", vec![closed.clone()], "none accepts referrals"),
        ("not able", vec![closed, eye], "offers neurosurgery"),
    ];
    for (case, directory, reason) in table {
        let ranking = rank(&need("frontal_left"), &directory, 5);
        assert!(ranking.hospitals.is_empty(), "case: {case}");
        assert!(ranking.reason.contains(reason), "case: {case}: {}", ranking.reason);
    }
}
