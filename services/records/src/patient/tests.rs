//! What is accepted as a patient, and how one is written down.

use time::macros::{date, datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn number(issuer: &str, number: &str) -> MedicalRecordNumber {
    MedicalRecordNumber { issuer: issuer.to_owned(), number: number.to_owned() }
}

fn phone(value: &str) -> ContactPoint {
    ContactPoint { system: ContactSystem::Phone, value: value.to_owned() }
}

fn email(value: &str) -> ContactPoint {
    ContactPoint { system: ContactSystem::Email, value: value.to_owned() }
}

fn consent(scope: ConsentScope, decided_on: Date) -> Consent {
    Consent { scope, given: true, decided_on }
}

/// Everything known.
fn details() -> PatientDetails {
    PatientDetails {
        medical_record_numbers: vec![number("Sample Hospital", "MRN-1")],
        name: "Ada Sample".to_owned(),
        birth_date: Some(date!(1960 - 02 - 29)),
        sex: Sex::Female,
        handedness: Handedness::Left,
        address: Some(Address {
            lines: vec!["1 Sample Street".to_owned()],
            city: "Sampletown".to_owned(),
            district: "Sample Province".to_owned(),
            postal_code: "00000".to_owned(),
            country: "KR".to_owned(),
            coordinates: Some(Coordinates { latitude_degrees: 37.5, longitude_degrees: 127.25 }),
        }),
        contact_points: vec![phone("+82 2 0000 0000"), email("ada@mail.example")],
        contact_persons: vec![ContactPerson {
            relationship: Relationship::Child,
            name: "Bo Sample".to_owned(),
            contact_points: vec![phone("110")],
        }],
        consents: vec![
            consent(ConsentScope::Analysis, date!(2026 - 01 - 02)),
            consent(ConsentScope::Research, date!(2026 - 01 - 02)),
        ],
        languages: vec!["ko".to_owned(), "zh-Hant-TW".to_owned()],
    }
}

fn wrong(details: PatientDetails) -> Vec<String> {
    let draft = PatientDraft { details, unreadable: Vec::new() };
    let checked = PatientDetails::check(draft, NOW);
    checked.err().unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

type Spoil = fn(&mut PatientDetails);

fn check(table: &[(&str, Spoil, &[&str])]) {
    for (case, spoil, expected) in table {
        let mut details = details();
        spoil(&mut details);
        let expected: Vec<String> =
            expected.iter().map(|field| format!("patient.{field}")).collect();
        assert_eq!(wrong(details), expected, "case: {case}");
    }
}

fn place(details: &mut PatientDetails) -> &mut Address {
    details.address.get_or_insert_default()
}

fn at(details: &mut PatientDetails, latitude_degrees: f64, longitude_degrees: f64) {
    place(details).coordinates = Some(Coordinates { latitude_degrees, longitude_degrees });
}

#[test]
fn numbers_and_names_keep_their_limits() {
    check(&[
        ("everything known", |_| {}, &[]),
        ("no number", |d| d.medical_record_numbers.clear(), &["medical_record_numbers"]),
        (
            "as many numbers as may be",
            |d| d.medical_record_numbers = (0..16).map(|at| number("I", &at.to_string())).collect(),
            &[],
        ),
        (
            "one more",
            |d| d.medical_record_numbers = (0..17).map(|at| number("I", &at.to_string())).collect(),
            &["medical_record_numbers"],
        ),
        (
            "no issuer",
            |d| d.medical_record_numbers = vec![number(" ", "1")],
            &["medical_record_numbers[0].issuer"],
        ),
        (
            "long issuer and number",
            |d| {
                d.medical_record_numbers = vec![
                    number(&"병".repeat(128), &"1".repeat(64)),
                    number(&"병".repeat(129), &"1".repeat(65)),
                ];
            },
            &["medical_record_numbers[1].issuer", "medical_record_numbers[1].number"],
        ),
        (
            "a line break in a number",
            |d| d.medical_record_numbers = vec![number("I", "1\n2")],
            &["medical_record_numbers[0].number"],
        ),
        (
            "a number twice",
            |d| d.medical_record_numbers = vec![number("I", "1"), number("I", "1 ")],
            &["medical_record_numbers[1]"],
        ),
        (
            "a number twice in other letters",
            |d| d.medical_record_numbers = vec![number("Issuer", "a1"), number("ISSUER", "Ａ1")],
            &["medical_record_numbers[1]"],
        ),
        (
            "a number of two issuers",
            |d| d.medical_record_numbers = vec![number("I", "1"), number("J", "1")],
            &[],
        ),
        ("no name", |d| d.name.clear(), &[]),
        ("longest name", |d| d.name = "가".repeat(256), &[]),
        ("long name", |d| d.name = "가".repeat(257), &["name"]),
        ("escape in a name", |d| d.name = "A\u{1b}[31m".to_owned(), &["name"]),
        ("NUL in a name", |d| d.name = "A\0B".to_owned(), &["name"]),
    ]);
}

#[test]
fn dates_lie_in_a_life_and_not_ahead() {
    check(&[
        ("unknown birth", |d| d.birth_date = None, &[]),
        ("today", |d| d.birth_date = Some(date!(2026 - 11 - 22)), &[]),
        ("already tomorrow in the east", |d| d.birth_date = Some(date!(2026 - 11 - 23)), &[]),
        ("ahead", |d| d.birth_date = Some(date!(2026 - 11 - 24)), &["birth_date"]),
        ("oldest", |d| d.birth_date = Some(date!(1880 - 01 - 01)), &[]),
        ("too old", |d| d.birth_date = Some(date!(1879 - 12 - 31)), &["birth_date"]),
        (
            "consent ahead",
            |d| d.consents[1].decided_on = date!(2026 - 11 - 24),
            &["consents[1].decided_on"],
        ),
        (
            "two consents of a scope",
            |d| d.consents[1].scope = ConsentScope::Analysis,
            &["consents[1].scope"],
        ),
        ("no consents", |d| d.consents.clear(), &[]),
    ]);
    for (text, read) in [
        ("2024-02-29", Some(date!(2024 - 02 - 29))),
        ("2023-02-29", None),
        ("2024-2-9", None),
        ("29-02-2024", None),
        ("2024-02-29T00:00", None),
        (" 2024-02-29", None),
        ("", None),
    ] {
        assert_eq!(date(text), read, "text: {text}");
    }
}

#[test]
fn an_address_is_one_on_earth() {
    check(&[
        ("unknown", |d| d.address = None, &[]),
        ("empty", |d| d.address = Some(Address::default()), &[]),
        ("too many lines", |d| place(d).lines = vec!["1".to_owned(); 5], &["address.lines"]),
        ("blank line", |d| place(d).lines = vec![" ".to_owned()], &["address.lines[0]"]),
        ("long line", |d| place(d).lines = vec!["1".repeat(129)], &["address.lines[0]"]),
        (
            "long names",
            |d| {
                place(d).city = "도".repeat(129);
                place(d).district = "시\t".to_owned() + "x";
                place(d).postal_code = "0".repeat(17);
            },
            &["address.city", "address.district", "address.postal_code"],
        ),
        ("small letters", |d| place(d).country = "kr".to_owned(), &["address.country"]),
        ("three letters", |d| place(d).country = "KOR".to_owned(), &["address.country"]),
        ("letters of two bytes", |d| place(d).country = "É".to_owned(), &["address.country"]),
        ("country unknown", |d| place(d).country.clear(), &[]),
        ("poles and date line", |d| at(d, -90.0, 180.0), &[]),
        ("no place", |d| place(d).coordinates = None, &[]),
        ("north of the pole", |d| at(d, 90.1, 0.0), &["address.coordinates.latitude_degrees"]),
        (
            "not numbers",
            |d| at(d, f64::NAN, f64::NAN),
            &["address.coordinates.latitude_degrees", "address.coordinates.longitude_degrees"],
        ),
        (
            "infinite",
            |d| at(d, f64::NEG_INFINITY, f64::INFINITY),
            &["address.coordinates.latitude_degrees", "address.coordinates.longitude_degrees"],
        ),
    ]);
}

#[test]
fn contacts_can_be_reached() {
    check(&[
        ("none", |d| d.contact_points.clear(), &[]),
        ("too many", |d| d.contact_points = vec![phone("110"); 9], &["contact_points"]),
        ("letters", |d| d.contact_points[0] = phone("ask Bo"), &["contact_points[0].value"]),
        ("signs", |d| d.contact_points[0] = phone("+-()"), &["contact_points[0].value"]),
        ("extension", |d| d.contact_points[0] = phone("(02) 000-0000 x12#"), &[]),
        (
            "long number",
            |d| d.contact_points[0] = phone(&"1".repeat(255)),
            &["contact_points[0].value"],
        ),
        ("no host", |d| d.contact_points[1] = email("ada@"), &["contact_points[1].value"]),
        ("no user", |d| d.contact_points[1] = email("@mail.example"), &["contact_points[1].value"]),
        ("no at", |d| d.contact_points[1] = email("mail.example"), &["contact_points[1].value"]),
        ("blank inside", |d| d.contact_points[1] = email("a da@b.c"), &["contact_points[1].value"]),
        ("line break", |d| d.contact_points[1] = email("a@b\r\nc"), &["contact_points[1].value"]),
        ("Hangul", |d| d.contact_points[1] = email("하나@메일.example"), &[]),
        ("no persons", |d| d.contact_persons.clear(), &[]),
        (
            "too many persons",
            |d| d.contact_persons = vec![d.contact_persons[0].clone(); 9],
            &["contact_persons"],
        ),
        ("nameless", |d| d.contact_persons[0].name = " ".to_owned(), &["contact_persons[0].name"]),
        (
            "out of reach",
            |d| d.contact_persons[0].contact_points.clear(),
            &["contact_persons[0].contact_points"],
        ),
        (
            "person with a wrong number",
            |d| d.contact_persons[0].contact_points = vec![phone("110"), phone("x")],
            &["contact_persons[0].contact_points[1].value"],
        ),
    ]);
}

#[test]
fn languages_are_tags() {
    check(&[
        ("none", |d| d.languages.clear(), &[]),
        (
            "too many",
            |d| d.languages = ["ko", "en", "ja", "zh", "fr"].map(String::from).into(),
            &["languages"],
        ),
        ("a word", |d| d.languages = vec!["Korean language".to_owned()], &["languages[0]"]),
        ("one letter", |d| d.languages = vec!["k".to_owned()], &["languages[0]"]),
        ("underscore", |d| d.languages = vec!["ko_KR".to_owned()], &["languages[0]"]),
        ("empty part", |d| d.languages = vec!["ko-".to_owned()], &["languages[0]"]),
        ("digits first", |d| d.languages = vec!["12".to_owned()], &["languages[0]"]),
        ("empty", |d| d.languages = vec![String::new()], &["languages[0]"]),
        ("twice", |d| d.languages = vec!["ko".to_owned(), "ko".to_owned()], &["languages[1]"]),
    ]);
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let mut details = details();
    details.name = "n".repeat(257);
    details.languages = vec!["?".to_owned()];
    details.medical_record_numbers.clear();
    let expected = ["patient.medical_record_numbers", "patient.name", "patient.languages[0]"];
    assert_eq!(wrong(details), expected);
}

#[test]
fn what_could_not_be_read_is_named_as_it_was_sent() {
    let unreadable = |field: &str| FieldViolation {
        field: field.to_owned(),
        description: "a value of it".to_owned(),
    };
    let mut details = details();
    // Of three contacts the first could not be read: the others have moved up.
    details.contact_points = vec![phone("110"), phone("x")];
    details.name = "n".repeat(257);
    let unreadable = vec![unreadable("contact_points[0].system"), unreadable("sex")];
    let draft = PatientDraft { details, unreadable };
    let of = |violations: Vec<FieldViolation>| {
        violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
    };
    let all = of(PatientDetails::check(draft.clone(), NOW).unwrap_err());
    assert_eq!(all, ["patient.name", "patient.sex", "patient.contact_points[0].system"]);

    // Fields that are not to change are not looked at.
    let table: [(&[PatientField], &[&str]); 4] = [
        (&[PatientField::BirthDate], &[]),
        (&[PatientField::ContactPersons], &[]),
        (&[PatientField::Sex], &["patient.sex"]),
        (&[PatientField::Name, PatientField::Address], &["patient.name"]),
    ];
    for (fields, expected) in table {
        let checked = PatientChanges::check(draft.clone(), fields.to_vec(), NOW);
        assert_eq!(of(checked.err().unwrap_or_default()), expected, "fields: {fields:?}");
    }
}

#[test]
fn changes_replace_their_fields_and_no_others() {
    let from = PatientDetails {
        medical_record_numbers: vec![number("J", "2")],
        name: "Other".to_owned(),
        birth_date: None,
        sex: Sex::Male,
        handedness: Handedness::Both,
        address: None,
        contact_points: Vec::new(),
        contact_persons: Vec::new(),
        consents: Vec::new(),
        languages: Vec::new(),
    };
    for field in PatientField::ALL {
        let changes = PatientChanges { fields: vec![field], details: from.clone() };
        let changed = changes.apply(details());
        for other in PatientField::ALL {
            // Both with the field of `from`: then nothing else may differ.
            let (mut left, mut right) = (PatientDetails::default(), PatientDetails::default());
            other.copy(&changed, &mut left);
            other.copy(if other == field { &from } else { &changed }, &mut right);
            assert!(left == right, "field {field:?}, at {other:?}");
            other.copy(&details(), &mut right);
            assert_eq!(left == right, other != field, "field {field:?}, at {other:?}");
        }
        assert_eq!(PatientField::parse(field.path()), Some(field));
    }
    assert_eq!(PatientField::parse("merged_patient_ids"), None);
}

/// As it was sealed first: what is sealed today opens tomorrow.
const STORED: &str = r#"{"medical_record_numbers":[{"issuer":"Sample Hospital","number":"MRN-1"}],"name":"Ada Sample","birth_date":"1960-02-29","sex":"female","handedness":"left","address":{"lines":["1 Sample Street"],"city":"Sampletown","district":"Sample Province","postal_code":"00000","country":"KR","coordinates":{"latitude_degrees":37.5,"longitude_degrees":127.25}},"contact_points":[{"system":"phone","value":"+82 2 0000 0000"},{"system":"email","value":"ada@mail.example"}],"contact_persons":[{"relationship":"child","name":"Bo Sample","contact_points":[{"system":"phone","value":"110"}]}],"consents":[{"scope":"analysis","given":true,"decided_on":"2026-01-02"},{"scope":"research","given":true,"decided_on":"2026-01-02"}],"languages":["ko","zh-Hant-TW"]}"#;
const STORED_BARE: &str = r#"{"medical_record_numbers":[],"name":"","birth_date":null,"sex":"unspecified","handedness":"unspecified","address":null,"contact_points":[],"contact_persons":[],"consents":[],"languages":[]}"#;

#[test]
fn what_was_sealed_opens() {
    for (stored, expected) in [(STORED, details()), (STORED_BARE, PatientDetails::default())] {
        let read: PatientDetails = serde_json::from_str(stored).unwrap();
        assert!(read == expected, "{stored}");
        assert_eq!(serde_json::to_string(&expected).unwrap(), stored);
    }
}

#[test]
fn debug_shows_no_patient() {
    let patient = Patient {
        // A fixed id: a drawn one may hold the digits of a secret.
        patient_id: "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa".parse().unwrap(),
        revision: 1,
        created_at: NOW,
        updated_at: NOW,
        deleted_at: None,
        merged_patient_ids: Vec::new(),
        details: details(),
    };
    let draft = PatientDraft { details: details(), unreadable: Vec::new() };
    let changes = PatientChanges { fields: vec![PatientField::Name], details: details() };
    let parts = details();
    let shown = format!(
        "{patient:?} {draft:?} {changes:?} {parts:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        parts.medical_record_numbers,
        parts.address,
        parts.contact_points,
        parts.contact_persons,
        parts.consents,
        parts.search_keys(),
    );
    for secret in ["Sample", "Ada", "MRN", "1960", "37.5", "110", "mail", "2026-01", "Sampletown"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains(&patient.patient_id.to_string()));
}

#[test]
fn a_patient_is_found_by_numbers_name_and_birth() {
    let mut known = details();
    known.medical_record_numbers.push(number("J", "2"));
    assert_eq!(known.search_keys().len(), 4);
    assert!(known.search_keys()[2] == SearchKey::Name("Ada Sample".to_owned()));
    assert!(PatientDetails::default().search_keys().is_empty());
}
