//! Tests of the hospital and of its rules.

use super::*;

fn place(latitude: f64, longitude: f64) -> Coordinates {
    Coordinates::from_degrees(latitude, longitude).unwrap()
}

#[test]
fn every_sample_hospital_says_that_it_is_invented() {
    let hospitals = sample().unwrap();
    assert!(hospitals.len() >= 14);
    assert!(hospitals.iter().all(|hospital| hospital.name.contains("(fictional)")));
    for &capability in Capability::ALL {
        assert!(hospitals.iter().any(|hospital| hospital.offers(capability)), "{capability:?}");
    }
}

#[test]
fn mistakes_of_a_directory_are_named() {
    let table = [
        ("syntax", "[[hospital]]", "[[hospitals]]", "malformed"),
        (
            "latitude",
            "latitude_degrees = 37.55",
            "latitude_degrees = 137.55",
            "sample-a has impossible",
        ),
        ("capacity", "capacity = 0.35", "capacity = 1.35", "sample-a has a wrong capacity"),
        ("language", "[\"ko\", \"en\"]", "[\"korean language\"]", "wrong languages"),
        ("repeated", "hospital_id = \"sample-b\"", "hospital_id = \"sample-a\"", "listed twice"),
        ("capability", "\"awake_mapping\"", "\"magic\"", "malformed"),
    ];
    for (case, find, replace, message) in table {
        let error = directory(&SAMPLE.replacen(find, replace, 1)).unwrap_err().to_string();
        assert!(error.contains(message), "case: {case}: {error}");
    }
}

#[test]
fn distances_have_their_closed_forms() {
    let quarter = std::f64::consts::FRAC_PI_2 * EARTH_RADIUS_KM;
    // (what the row is for, from, to, kilometres)
    let table = [
        ("itself", place(37.0, 127.0), place(37.0, 127.0), 0.0),
        ("pole to equator", place(90.0, 0.0), place(0.0, 77.0), quarter),
        ("antipodes", place(0.0, -90.0), place(0.0, 90.0), 2.0 * quarter),
        ("date line itself", place(0.0, 180.0), place(0.0, -180.0), 0.0),
        ("across the date line", place(0.0, 179.5), place(0.0, -179.5), quarter / 90.0),
    ];
    for (case, from, to, km) in table {
        assert!((from.distance_km(to) - km).abs() < 1e-6, "case: {case}");
        assert!((to.distance_km(from) - km).abs() < 1e-6, "case: {case}");
    }
    for (latitude, longitude) in [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
    {
        assert_eq!(Coordinates::from_degrees(latitude, longitude), Err(InvalidCoordinates));
    }
}

#[test]
fn every_rule_of_a_field_is_enforced() {
    let good = sample().unwrap().remove(0);
    assert_eq!(good.check(), Ok(()));
    let identifier = |system: &str, value: &str| Identifier {
        system: system.to_owned(),
        value: value.to_owned(),
    };
    let long = "x".repeat(TEXT_CHARS_MAX + 1);
    let many_tags = (0..=LANGUAGES_MAX).map(|tag| format!("en-x-{tag:02}")).collect::<Vec<_>>();
    let many_names =
        (0..=IDENTIFIERS_MAX).map(|n| identifier("urn:x", &n.to_string())).collect::<Vec<_>>();
    let twice = vec![identifier("urn:x", "1"), identifier("urn:x", "1")];
    let reserved = vec![identifier(RESERVED_SYSTEM, "1")];
    let hospital = || good.clone();
    // (what the row is for, hospital, field, piece of the text)
    let table = [
        ("blank", Hospital { name: " ".into(), ..hospital() }, Field::Name, "empty"),
        ("long", Hospital { city: long, ..hospital() }, Field::City, "at most 256"),
        ("bell", Hospital { name: "a\u{7}".into(), ..hospital() }, Field::Name, "U+0007"),
        ("share", Hospital { capacity: 1.5, ..hospital() }, Field::Capacity, "0 to 1"),
        ("nan", Hospital { capacity: f64::NAN, ..hospital() }, Field::Capacity, "0 to 1"),
        (
            "twice",
            Hospital { capabilities: vec![Capability::Stroke; 2], ..hospital() },
            Field::Capabilities,
            "listed twice",
        ),
        (
            "tag",
            Hospital { languages: vec!["한국어".into()], ..hospital() },
            Field::Languages,
            "BCP 47",
        ),
        (
            "tag in two cases",
            Hospital { languages: vec!["ko".into(), "KO".into()], ..hospital() },
            Field::Languages,
            "listed twice",
        ),
        ("tags", Hospital { languages: many_tags, ..hospital() }, Field::Languages, "at most"),
        (
            "no scheme",
            Hospital { identifiers: vec![identifier("x", "1")], ..hospital() },
            Field::Identifiers,
            "absolute URI",
        ),
        (
            "blank value",
            Hospital { identifiers: vec![identifier("urn:x", " 1")], ..hospital() },
            Field::Identifiers,
            "no space",
        ),
        ("same", Hospital { identifiers: twice, ..hospital() }, Field::Identifiers, "twice"),
        ("many", Hospital { identifiers: many_names, ..hospital() }, Field::Identifiers, "at most"),
        ("ours", Hospital { identifiers: reserved, ..hospital() }, Field::Identifiers, "reserved"),
        (
            "beds",
            Hospital { beds_free: Some(BEDS_FREE_MAX + 1), ..hospital() },
            Field::BedsFree,
            "at most",
        ),
    ];
    for (case, hospital, field, piece) in table {
        let problem = hospital.check().unwrap_err();
        assert_eq!(problem.field, field, "case: {case}");
        assert!(problem.problem.contains(piece), "case: {case}: {problem}");
    }
}

#[test]
fn a_language_is_met_by_its_own_regions_only() {
    let mut hospital = sample().unwrap().remove(0);
    hospital.languages = vec!["en-GB".to_owned(), "ko".to_owned()];
    for (language, spoken) in
        [("en", true), ("EN-gb", true), ("en-US", false), ("ko-KR", false), ("k", false)]
    {
        assert_eq!(hospital.speaks(language), spoken, "language: {language}");
    }
}

#[test]
fn an_assessment_stored_before_the_new_fields_still_reads() {
    let mut value = serde_json::to_value(sample().unwrap().remove(0)).unwrap();
    for field in ["identifiers", "languages", "beds_free"] {
        value.as_object_mut().unwrap().remove(field).unwrap();
    }
    let hospital = serde_json::from_value::<Hospital>(value).unwrap();
    assert_eq!((hospital.identifiers.len(), hospital.beds_free), (0, None));
}
