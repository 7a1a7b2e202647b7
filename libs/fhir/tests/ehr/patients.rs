//! Who patients are, and what is unreadable of them.

use crate::*;

#[test]
fn what_is_unreadable_beside_the_identity_is_noted_and_the_patient_is_taken() {
    let long = "x".repeat(300);
    // (what the row is for, members, path)
    let table = [
        (
            "telecom",
            json!({ "telecom": [{ "system": SECRET, "value": "1" }] }),
            "telecom[0].system",
        ),
        (
            "telecom without system",
            json!({ "telecom": [{ "value": SECRET }] }),
            "telecom[0].system",
        ),
        (
            "no number",
            json!({ "telecom": [{ "system": "phone", "value": SECRET }] }),
            "telecom[0].value",
        ),
        (
            "no e-mail",
            json!({ "telecom": [{ "system": "email", "value": SECRET }] }),
            "telecom[0].value",
        ),
        ("telecom of no shape", json!({ "telecom": SECRET }), "telecom"),
        (
            "country",
            json!({ "address": [{ "city": "A", "country": SECRET }] }),
            "address[0].country",
        ),
        ("long city", json!({ "address": [{ "city": long }] }), "address[0].city"),
        ("lines", json!({ "address": [{ "line": ["1", "2", "3", "4", "5"] }] }), "address[0].line"),
        (
            "relationship",
            json!({ "contact": [{ "name": { "text": "A" }, "relationship": [{ "text": SECRET }],
            "telecom": [{ "system": "phone", "value": "119" }] }] }),
            "contact[0].relationship",
        ),
        (
            "nameless contact",
            json!({ "contact": [{ "organization": { "display": SECRET },
            "telecom": [{ "system": "phone", "value": "119" }] }] }),
            "contact[0]",
        ),
        (
            "modified contact",
            json!({ "contact": [{ "modifierExtension": [{ "url": "urn:x" }],
            "name": { "text": "A" } }] }),
            "contact[0].modifierExtension",
        ),
        ("marital status", json!({ "maritalStatus": { "text": SECRET } }), "maritalStatus"),
        ("one of two", json!({ "multipleBirthInteger": 2 }), "multipleBirthInteger"),
        (
            "extension",
            json!({ "extension": [{ "url": SECRET, "valueString": SECRET }] }),
            "extension",
        ),
        (
            "handedness",
            json!({ "extension": [{ "url": "urn:x-neurotriage:handedness", "valueCode": SECRET }] }),
            "extension[0].valueCode",
        ),
        (
            "language",
            json!({ "communication": [{ "language": { "text": SECRET } }] }),
            "communication[0].language",
        ),
        ("gender", json!({ "gender": SECRET }), "gender"),
        ("year of birth", json!({ "birthDate": "1960" }), "birthDate"),
        ("month of birth", json!({ "birthDate": "1960-05" }), "birthDate"),
        (
            "control character",
            json!({ "name": [{ "text": format!("{SECRET}\u{7}") }] }),
            "name[0].text",
        ),
        ("long name", json!({ "name": [{ "text": long }] }), "name[0].text"),
        ("name of no shape", json!({ "name": { "text": SECRET } }), "name"),
    ];
    for (case, members, path) in table {
        let import = read(&bundle(&[with(patient(), &members), seizure()]));
        assert_eq!(import.patients.len(), 1, "case: {case}: {:?}", import.entries[0]);
        assert_eq!(findings(&import).len(), 1, "case: {case}");
        assert_eq!(noted(&import, 0)[0], format!("entry[0].resource.{path}"), "case: {case}");
    }
}

#[test]
fn what_says_who_a_patient_is_must_be_right() {
    // (what the row is for, members, path)
    let table = [
        ("no number", json!({ "identifier": null }), "identifier"),
        ("no issuer", json!({ "identifier": [{ "value": SECRET }] }), "identifier[0]"),
        ("no value", json!({ "identifier": [{ "system": "urn:x" }] }), "identifier[0]"),
        ("day of birth", json!({ "birthDate": "17.05.1961" }), "birthDate"),
        ("no such day", json!({ "birthDate": "1961-02-30" }), "birthDate"),
        ("no such month", json!({ "birthDate": "1961-13" }), "birthDate"),
        ("not born yet", json!({ "birthDate": "2026-11-28" }), "birthDate"),
        ("modifier", json!({ "modifierExtension": [{ "url": "urn:x" }] }), "modifierExtension"),
        ("rules", json!({ "implicitRules": "urn:x" }), "implicitRules"),
        (
            "replaced",
            json!({ "link": [{ "type": "replaced-by", "other": { "reference": "Patient/p2" } }] }),
            "link[0].type",
        ),
        ("died", json!({ "deceasedDateTime": "2026-01-01" }), "deceasedDateTime"),
    ];
    for (case, members, path) in table {
        let import = read(&bundle(&[with(patient(), &members), seizure()]));
        assert!(import.patients.is_empty() && import.reports.is_empty(), "case: {case}");
        assert_refused(&import, 0, Refusal::ElementsWrong, &format!("resource.{path}"), case);
        assert_refused(&import, 1, Refusal::DependsOnRefused, "resource.subject", case);
    }
    let alive = json!({ "deceasedBoolean": false, "multipleBirthBoolean": false });
    let import = read(&bundle(&[with(patient(), &alive)]));
    assert_eq!((import.patients.len(), noted(&import, 0).len()), (1, 0));
}

#[test]
fn good_numbers_stand_beside_bad_ones() {
    let numbers = json!({ "identifier": [
        { "type": { "text": "EPI" }, "use": "usual", "system": "urn:oid:1.2.3", "value": "E-1" },
        { "value": SECRET },
        { "system": "urn:oid:1.2.3", "value": "e-1" },
        { "system": "urn:oid:1.2.4", "value": "old", "period": { "end": "2020-01" } },
    ]});
    let import = read(&bundle(&[with(patient(), &numbers)]));
    let kept = &import.patients[0].patient.numbers;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].number, "E-1");
    assert_eq!(
        noted(&import, 0),
        ["entry[0].resource.identifier[2]", "entry[0].resource.identifier[1]"]
    );
}

#[test]
fn of_consents_that_disagree_the_latest_counts_and_beside_an_unreadable_one_none() {
    let consent = |scope: &str, given: Value, day: &str| {
        json!({ "url": "urn:x-neurotriage:consent", "extension": [
            { "url": "scope", "valueCode": scope },
            { "url": "given", "valueBoolean": given },
            { "url": "decidedOn", "valueDate": day },
        ]})
    };
    let yes = |day: &str| consent("research", json!(true), day);
    let no = |day: &str| consent("research", json!(false), day);
    let odd = consent("research", json!(SECRET), "2026-03-03");
    let undated = consent("research", json!(false), "2026-13-03");
    let other = consent("sharing", json!(SECRET), "2026-03-03");
    let mut twice = yes("2026-03-03");
    twice["extension"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "url": "given", "valueBoolean": false }));
    // (consents, whether research is agreed to, how many are noted at least)
    let table = [
        (json!([yes("2026-01-01")]), Some(true), 0),
        (json!([yes("2026-01-01"), no("2026-02-02")]), Some(false), 1),
        (json!([no("2026-02-02"), yes("2026-01-01")]), Some(false), 1),
        (json!([no("2026-01-01"), yes("2026-02-02")]), Some(true), 1),
        (json!([yes("2026-02-02"), no("2026-02-02")]), Some(false), 1),
        (json!([no("2026-02-02"), yes("2026-02-02")]), Some(false), 1),
        (json!([yes("2026-01-01"), odd]), None, 2),
        (json!([undated, yes("2026-01-01")]), None, 2),
        (json!([yes("2026-01-01"), yes("2026-11-28")]), None, 2),
        (json!([yes("2026-01-01"), twice]), None, 2),
        (json!([yes("2026-01-01"), other]), Some(true), 1),
    ];
    for (consents, given, noted_min) in table {
        let import = read(&bundle(&[with(patient(), &json!({ "extension": consents }))]));
        let kept: Vec<bool> =
            import.patients[0].patient.consents.iter().map(|consent| consent.given).collect();
        assert_eq!(kept, Vec::from_iter(given), "{consents}");
        assert!(noted(&import, 0).len() >= noted_min, "{consents}");
        assert_eq!(noted(&import, 0).is_empty(), noted_min == 0, "{consents}");
    }
}

#[test]
fn the_name_to_call_somebody_by_is_taken() {
    // (what the row is for, names, name, family)
    let table = [
        (
            "official first",
            json!([{ "use": "nickname", "text": "Jay" }, { "use": "usual", "text": "Jane" },
            { "use": "official", "text": "Jane Smith", "family": "Smith" }]),
            "Jane Smith",
            Some("Smith"),
        ),
        (
            "usual next",
            json!([{ "text": "J" }, { "use": "usual", "given": ["Jane"], "family": "Smith" }]),
            "Jane Smith",
            Some("Smith"),
        ),
        (
            "never the past",
            json!([{ "use": "maiden", "text": "Jane Doe" }, { "use": "old", "text": "X" },
            { "use": "official", "text": "Jane Doe", "period": { "end": "2019-06" } },
            { "text": "Jane Smith" }]),
            "Jane Smith",
            None,
        ),
        (
            "still so",
            json!([{ "text": "Jane Smith", "period": { "start": "2019", "end": "2030" } }]),
            "Jane Smith",
            None,
        ),
        ("Korean", json!([{ "family": "한", "given": ["가람"] }]), "한가람", Some("한")),
        (
            "the first that has a name",
            json!([{ "use": "official" , "suffix": ["Dr"] }, { "text": "Jane" }]),
            "Jane",
            None,
        ),
        ("one line", json!([{ "text": "Jane\nSmith" }]), "Jane Smith", None),
    ];
    for (case, names, name, family) in table {
        let import = read(&bundle(&[with(patient(), &json!({ "name": names }))]));
        let read = &import.patients[0];
        assert_eq!(read.patient.name, name, "case: {case}");
        assert_eq!(read.hints.family.as_deref(), family, "case: {case}");
    }
}

#[test]
fn the_whole_of_a_patient_is_read() {
    let language = |tag: &str, preferred: bool| json!({ "language": concept("urn:ietf:bcp:47", tag), "preferred": preferred });
    let members = json!({
        "active": true,
        "telecom": [
            { "system": "phone", "value": "tel:+1-555-0100" },
            { "system": "email", "value": "jane@patient.example" },
            { "system": "phone", "value": "555-0199", "use": "old" },
        ],
        "address": [{ "text": "1 Sample Street, Sampleville" }],
        "communication": [language("en", false), language("ko", true)],
    });
    let import = read(&bundle(&[with(patient(), &members)]));
    assert_eq!(noted(&import, 0), Vec::<&str>::new());
    let read = &import.patients[0].patient;
    let points: Vec<&str> = read.contact_points.iter().map(|point| point.value.as_str()).collect();
    assert_eq!(points, ["+1-555-0100", "jane@patient.example"]);
    assert_eq!(read.address.as_ref().unwrap().lines, ["1 Sample Street, Sampleville"]);
    assert_eq!(read.languages, ["ko", "en"]);
    assert_eq!((read.sex, read.birth_date), (Some(Sex::Female), Some(date!(1961 - 05 - 17))));
    let sexes =
        [("male", Some(Sex::Male)), ("other", Some(Sex::Other)), ("unknown", Some(Sex::Unknown))];
    for (code, sex) in sexes {
        let import = read_gender(code);
        assert_eq!(import.patients[0].patient.sex, sex, "{code}");
        assert_eq!(noted(&import, 0), Vec::<&str>::new(), "{code}");
    }
}

fn read_gender(code: &str) -> Import {
    read(&bundle(&[with(patient(), &json!({ "gender": code }))]))
}
