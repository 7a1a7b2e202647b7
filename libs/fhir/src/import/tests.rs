//! Tests of what a bundle becomes, and of what is refused.

use serde_json::json;
use time::macros::{date, datetime};

use neurotriage_domain::Side;

use super::{
    entries::{DERIVED, FOREIGN, OTHER, UNCODED},
    *,
};
use crate::code::{Course, HPO, Handedness, OWN, Onset, Reporter, SNOMED, Severity, Sex};

const NOW: OffsetDateTime = datetime!(2026-11-26 15:00 UTC);

/// A bundle of another system: a patient, two findings of one visit, a denied condition, a note.
fn bundle() -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            { "fullUrl": "https://a.invalid/fhir/Patient/p1", "resource": {
                "resourceType": "Patient", "id": "p1", "active": true,
                "identifier": [
                    { "system": "urn:x-national", "value": "never read",
                      "type": { "coding": [{ "system": "urn:x", "code": "SS" }] } },
                    { "system": "urn:oid:1.2.410.9", "value": "MRN-7",
                      "type": { "coding": [{
                          "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] } },
                ],
                "name": [{ "use": "old", "text": "Older" }, { "family": "한", "given": ["가람"] }],
                "gender": "unknown",
                "birthDate": "1990-02-28",
                "extension": [{ "url": "urn:x-neurotriage:handedness", "valueCode": "left" }],
            }},
            { "fullUrl": "https://a.invalid/fhir/Observation/o1", "resource": {
                "resourceType": "Observation", "id": "o1", "status": "final",
                "code": { "coding": [
                    { "system": HPO, "code": "HP:0001250", "display": "Seizure" },
                    { "system": "urn:other", "code": "x" },
                ]},
                "subject": { "reference": "Patient/p1" },
                "effectiveDateTime": "2026-11-20T09:30:00+09:00",
                "performer": [{ "reference": "Practitioner/dr" }],
                "valueBoolean": true,
            }},
            { "fullUrl": "https://a.invalid/fhir/Observation/o2", "resource": {
                "resourceType": "Observation", "id": "o2", "status": "final",
                "code": { "coding": [{ "system": HPO, "code": "HP:0001269" }], "text": "Hemiparesis" },
                "subject": { "reference": "https://a.invalid/fhir/Patient/p1" },
                "effectiveDateTime": "2026-11-20T00:30:00Z",
                "performer": [{ "type": "Practitioner", "display": "somebody" }],
                "valueCodeableConcept": { "coding": [{ "system": SNOMED, "code": "2667000" }] },
                "bodySite": { "coding": [{ "system": SNOMED, "code": "24028007" }] },
                "component": [
                    { "code": { "coding": [{ "system": OWN, "code": "onset" }] },
                      "valueCodeableConcept": { "coding": [{ "system": OWN, "code": "sudden" }] } },
                ],
            }},
            { "fullUrl": "https://a.invalid/fhir/Condition/c1", "resource": {
                "resourceType": "Condition", "id": "c1",
                "clinicalStatus": { "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "resolved" }] },
                "verificationStatus": { "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
                    "code": "confirmed" }] },
                "code": { "coding": [{ "system": HPO, "code": "HP:0002315" }] },
                "severity": { "coding": [{ "system": SNOMED, "code": "24484000" }] },
                "bodySite": [{ "coding": [{ "system": SNOMED, "code": "7771000" }] }],
                "subject": { "reference": "Patient/p1" },
            }},
            { "fullUrl": "urn:uuid:0193", "resource": {
                "resourceType": "Observation", "status": "final",
                "code": { "coding": [{ "system": OWN, "code": "note" }] },
                "subject": { "reference": "Patient/p1" },
                "valueString": "Speaks with her sister.",
            }},
        ],
    })
}

fn read_value(bundle: &Value) -> Import {
    read(bundle.to_string().as_bytes(), NOW).unwrap()
}

/// Returns the bundle with the value at `pointer` of a resource replaced, or removed by `null`.
fn with(entry: usize, pointer: &str, value: Value) -> Value {
    let mut bundle = bundle();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = bundle["entry"][entry]["resource"].pointer_mut(parent).unwrap();
    if let (Some(list), Ok(place)) = (parent.as_array().cloned(), name.parse::<usize>()) {
        let mut list = list;
        list[place] = value;
        *parent = json!(list);
    } else if value.is_null() {
        parent.as_object_mut().unwrap().remove(name);
    } else {
        parent[name] = value;
    }
    bundle
}

fn refusals(import: &Import) -> Vec<(usize, Refusal, Vec<String>)> {
    let mut refusals = Vec::new();
    for (place, entry) in import.entries.iter().enumerate() {
        if let State::Refused(refusal, problems) = &entry.state {
            refusals.push((place, *refusal, problems.iter().map(ToString::to_string).collect()));
        }
    }
    refusals
}

#[test]
fn a_bundle_of_another_system_becomes_patients_reports_and_notes() {
    let import = read_value(&bundle());
    assert_eq!(refusals(&import), []);
    let patient = &import.patients[0].patient;
    assert_eq!(patient.numbers.len(), 1);
    assert_eq!(patient.numbers[0].issuer, "urn:oid:1.2.410.9");
    assert_eq!((patient.name.as_str(), patient.sex), ("한가람", Some(Sex::Unknown)));
    assert_eq!(import.patients[0].hints.family.as_deref(), Some("한"));
    assert_eq!(patient.birth_date, Some(date!(1990 - 02 - 28)));
    assert_eq!(patient.handedness, Some(Handedness::Left));
    assert_eq!(import.notes[0].text, "Speaks with her sister.");

    let [visit, condition] = &import.reports[..] else { panic!("{:?}", import.reports) };
    assert_eq!(visit.entries, [1, 2]);
    assert_eq!(visit.report.reporter, Some(Reporter::Clinician));
    assert_eq!(visit.report.reported_at, Some(datetime!(2026-11-20 0:30 UTC)));
    let [seizure, weakness] = &visit.report.findings[..] else { panic!("{visit:?}") };
    assert_eq!((seizure.display_name.as_str(), seizure.present), ("Seizure", true));
    assert_eq!((weakness.side, weakness.present), (Some(Side::Right), false));
    assert_eq!(weakness.onset, Some(Onset::Sudden));
    let headache = &condition.report.findings[0];
    assert_eq!((headache.side, headache.severity), (Some(Side::Left), Some(Severity::Severe)));
    assert_eq!((headache.present, headache.course), (true, Some(Course::Resolved)));
}

#[test]
fn each_wrong_element_is_named_and_its_value_is_not() {
    use Refusal::*;
    let hpo = |code: &str| json!({ "coding": [{ "system": HPO, "code": code }] });
    let two = json!({ "coding": [
        { "system": HPO, "code": "HP:0001250" }, { "system": HPO, "code": "HP:0002315" }
    ]});
    // (what the row is for, entry, pointer, value, refusal, path after `entry[n].resource`, piece)
    let table = [
        (
            "R5 only",
            1,
            "/resourceType",
            json!("ImagingSelection"),
            ResourceUnknown,
            ".resourceType",
            "R4",
        ),
        ("no type", 1, "/resourceType", json!(null), ResourceUnknown, ".resourceType", "R4"),
        (
            "born tomorrow",
            0,
            "/birthDate",
            json!("2026-11-28"),
            ElementsWrong,
            ".birthDate",
            "future",
        ),
        ("no day", 0, "/birthDate", json!("1990-02-30"), ElementsWrong, ".birthDate", "YYYY-MM-DD"),
        ("no text", 0, "/birthDate", json!(19900228), ElementsWrong, ".birthDate", "a text"),
        ("no number", 0, "/identifier", json!(null), ElementsWrong, ".identifier", "type MR"),
        ("empty list", 0, "/identifier", json!([]), ElementsWrong, ".identifier", "empty list"),
        ("dead", 0, "/deceasedBoolean", json!(true), ElementsWrong, ".deceasedBoolean", "died"),
        ("inactive", 0, "/active", json!(false), ElementsWrong, ".active", "in use"),
        (
            "modifier",
            0,
            "/modifierExtension",
            json!([{ "url": "x" }]),
            ElementsWrong,
            ".modifierExtension",
            "meaning",
        ),
        ("status", 1, "/status", json!("secret"), ElementsWrong, ".status", "observation-status"),
        ("no status", 1, "/status", json!(null), ElementsWrong, ".status", "missing"),
        (
            "no HPO code",
            1,
            "/code",
            hpo("HP:12"),
            ElementsWrong,
            ".code.coding[0].code",
            "seven digits",
        ),
        ("no code", 1, "/code", json!(null), ElementsWrong, ".code", "missing"),
        (
            "no codings",
            1,
            "/code",
            json!({ "coding": [], "text": "secret" }),
            ElementsWrong,
            ".code.coding",
            "empty list",
        ),
        ("two findings", 1, "/code", two, ElementsWrong, ".code.coding[1]", "contradicts"),
        (
            "no value",
            1,
            "/valueBoolean",
            json!(null),
            ElementsWrong,
            ".valueCodeableConcept",
            "must say",
        ),
        (
            "two values",
            1,
            "/valueCodeableConcept",
            json!({ "coding": [{ "system": SNOMED, "code": "2667000" }] }),
            ElementsWrong,
            ".valueBoolean",
            "contradicts",
        ),
        (
            "two sides",
            2,
            "/component/0",
            json!({
                "code": { "coding": [{ "system": OWN, "code": "laterality" }] },
                "valueCodeableConcept": { "coding": [{ "system": SNOMED, "code": "7771000" }] },
            }),
            ElementsWrong,
            ".component[0].valueCodeableConcept",
            "contradicts",
        ),
        (
            "future",
            1,
            "/effectiveDateTime",
            json!("2026-11-26T15:05:01Z"),
            ElementsWrong,
            ".effectiveDateTime",
            "future",
        ),
        (
            "no zone",
            1,
            "/effectiveDateTime",
            json!("2026-11-20T09:30:00"),
            ElementsWrong,
            ".effectiveDateTime",
            "zone",
        ),
        (
            "nobody",
            1,
            "/subject",
            json!({ "reference": "Patient/secret" }),
            ReferenceBroken,
            ".subject.reference",
            "must name a Patient",
        ),
        (
            "no subject",
            1,
            "/subject",
            json!(null),
            ReferenceBroken,
            ".subject",
            "must name a Patient",
        ),
        (
            "no patient",
            1,
            "/subject",
            json!({ "reference": "Condition/c1" }),
            ReferenceBroken,
            ".subject.reference",
            "must name a Patient",
        ),
        (
            "refuted",
            3,
            "/verificationStatus/coding/0/code",
            json!("refuted"),
            ElementsWrong,
            "",
            "",
        ),
        ("blank note", 4, "/valueString", json!("  "), ElementsWrong, ".valueString", "blank"),
        ("no note", 4, "/valueString", json!(null), ElementsWrong, ".valueString", "missing"),
    ];
    for (case, entry, pointer, value, refusal, path, piece) in table {
        let import = read_value(&with(entry, pointer, value));
        if case == "refuted" {
            let denied = &import.reports[1].report.findings[0];
            assert!(!denied.present && denied.course.is_none(), "case: {case}");
            continue;
        }
        let refused = refusals(&import);
        let (_, told, problems) = refused
            .iter()
            .find(|(place, ..)| *place == entry)
            .unwrap_or_else(|| panic!("case: {case}"));
        assert_eq!(*told, refusal, "case: {case}");
        let path = format!("entry[{entry}].resource{path}: ");
        let problem = problems.iter().find(|problem| problem.starts_with(&path));
        assert!(problem.is_some_and(|text| text.contains(piece)), "case: {case}: {problems:?}");
        assert!(!problems.concat().contains("secret"), "case: {case}: {problems:?}");
        if entry == 0 {
            assert!(import.patients.is_empty() && import.reports.is_empty(), "case: {case}");
            let depends = refused.iter().filter(|(_, told, _)| *told == DependsOnRefused).count();
            assert_eq!(depends, 4, "case: {case}");
        } else {
            assert_eq!(import.patients.len(), 1, "case: {case}");
            let named = import.reports.iter().any(|report| report.entries.contains(&entry));
            assert!(!named && import.notes.iter().all(|note| note.entry != entry), "case: {case}");
        }
    }
}

#[test]
fn who_reported_is_told_by_type_or_reference() {
    use Reporter::{Clinician, Other, Patient, Relative};
    let table = [
        (json!({ "reference": "Patient/p1" }), Some(Patient)),
        (json!({ "reference": "https://b.invalid/RelatedPerson/2" }), Some(Relative)),
        (json!({ "reference": "PractitionerRole/3" }), Some(Clinician)),
        (json!({ "type": "Organization", "display": "an office" }), Some(Other)),
        (json!({ "reference": "urn:uuid:4" }), None),
        (json!({ "reference": "https://a.invalid/fhir/Patient/p1/_history/3" }), Some(Patient)),
        (
            json!({ "identifier": { "system": "urn:oid:1.2.410.9", "value": "mrn-7" } }),
            Some(Patient),
        ),
        (json!({ "reference": "Patient?identifier=urn:oid:1.2.410.9|MRN-7" }), Some(Patient)),
        (json!({ "reference": "Patient/somebody" }), Some(Other)),
        (json!({ "reference": "Patient/p2" }), Some(Other)),
        (json!({ "reference": "urn:uuid:0B7A" }), Some(Clinician)),
        (json!({ "reference": "Practitioner?identifier=https://a.invalid/x|1" }), Some(Clinician)),
        (json!({ "reference": "#d" }), Some(Clinician)),
        (json!({ "reference": "#r" }), Some(Relative)),
        (json!({ "reference": "#p" }), Some(Patient)),
    ];
    for (performer, reporter) in table {
        let mut sent = with(1, "/performer/0", performer.clone());
        sent["entry"][1]["resource"]["contained"] = json!([
            { "resourceType": "Practitioner", "id": "d" },
            { "resourceType": "RelatedPerson", "id": "r" },
            { "resourceType": "Patient", "id": "p",
              "identifier": [{ "system": "urn:oid:1.2.410.9", "value": "MRN-7" }] },
        ]);
        let mut other = sent["entry"][0].clone();
        other["fullUrl"] = json!("https://a.invalid/fhir/Patient/p2");
        other["resource"]["id"] = json!("p2");
        other["resource"]["identifier"][1]["value"] = json!("MRN-8");
        let entries = sent["entry"].as_array_mut().unwrap();
        entries.push(other);
        entries.push(json!({ "fullUrl": "urn:uuid:0b7a",
            "resource": { "resourceType": "PractitionerRole" } }));
        let import = read_value(&sent);
        let report = import.reports.iter().find(|report| report.entries[0] == 1).unwrap();
        assert_eq!(report.report.reporter, reporter, "{performer}");
    }
}

#[test]
fn active_and_refuted_contradict_each_other() {
    let mut bundle = with(3, "/verificationStatus/coding/0/code", json!("refuted"));
    bundle["entry"][3]["resource"]["clinicalStatus"]["coding"][0]["code"] = json!("active");
    let refused = refusals(&read_value(&bundle));
    assert!(refused[0].2[0].contains("clinicalStatus: contradicts"), "{refused:?}");
}

#[test]
fn an_entry_that_stands_twice_is_refused_and_the_first_kept() {
    let mut twice = bundle();
    let again = twice["entry"][1].clone();
    twice["entry"].as_array_mut().unwrap().push(again);
    let mut same_number = twice["entry"][0].clone();
    same_number["fullUrl"] = json!("https://a.invalid/fhir/Patient/p2");
    same_number["resource"]["id"] = json!("p2");
    twice["entry"].as_array_mut().unwrap().push(same_number);
    let import = read_value(&twice);
    let refused: Vec<(usize, Refusal)> =
        refusals(&import).into_iter().map(|(place, refusal, _)| (place, refusal)).collect();
    assert_eq!(refused, [(5, Refusal::Repeated), (6, Refusal::Repeated)]);
    assert_eq!((import.patients.len(), import.reports.len()), (1, 2));
    twice["entry"][6]["resource"]["identifier"][1]["value"] = json!("ｍｒｎ-7");
    assert_eq!(refusals(&read_value(&twice))[1].1, Refusal::Repeated);
}

#[test]
fn a_finding_that_another_denies_is_refused() {
    let mut both = bundle();
    let mut denied = both["entry"][1].clone();
    denied["fullUrl"] = json!("urn:uuid:1");
    denied["resource"]["id"] = json!("o9");
    denied["resource"]["valueBoolean"] = json!(false);
    both["entry"].as_array_mut().unwrap().push(denied);
    let import = read_value(&both);
    assert_eq!(refusals(&import)[0].1, Refusal::Contradicted);
    assert_eq!(import.reports[0].entries, [2]);
    let refused: Vec<usize> = refusals(&import).into_iter().map(|(place, ..)| place).collect();
    assert_eq!(refused, [1, 5]);
    both["entry"].as_array_mut().unwrap().swap(1, 5);
    let swapped = read_value(&both);
    let refused: Vec<usize> = refusals(&swapped).into_iter().map(|(place, ..)| place).collect();
    assert_eq!(refused, [1, 5]);
    assert_eq!(swapped.reports[0].report, import.reports[0].report);
}

#[test]
fn of_two_that_tell_of_one_finding_differently_the_order_decides_nothing() {
    let onset = |code: &str| {
        json!([{ "code": { "coding": [{ "system": OWN, "code": "onset" }] },
            "valueCodeableConcept": { "coding": [{ "system": OWN, "code": code }] } }])
    };
    let mut both = with(1, "/component", onset("gradual"));
    let mut again = both["entry"][1].clone();
    again["fullUrl"] = json!("https://a.invalid/fhir/Observation/o0");
    again["resource"]["id"] = json!("o0");
    again["resource"]["component"] = onset("sudden");
    both["entry"].as_array_mut().unwrap().push(again);
    for (swapped, other) in [(false, 1), (true, 5)] {
        if swapped {
            both["entry"].as_array_mut().unwrap().swap(1, 5);
        }
        let import = read_value(&both);
        assert_eq!(refusals(&import), []);
        assert_eq!(import.reports[0].report.findings[0].onset, Some(Onset::Sudden), "{swapped}");
        let notes: Vec<usize> =
            (0..6).filter(|place| !import.entries[*place].notes.is_empty()).collect();
        assert_eq!(notes, [other], "{swapped}");
        let note = &import.entries[other].notes[0];
        assert!(note.description.starts_with("onset "), "{note:?}");
    }
}

#[test]
fn a_finding_that_is_told_twice_is_one() {
    let mut both = bundle();
    let mut again = both["entry"][1].clone();
    again["fullUrl"] = json!("urn:uuid:1");
    again["resource"]["id"] = json!("o9");
    both["entry"].as_array_mut().unwrap().push(again);
    let (once, twice) = (read_value(&bundle()), read_value(&both));
    assert_eq!(refusals(&twice), []);
    assert_eq!(twice.reports[0].report, once.reports[0].report);
    assert_eq!(twice.reports[0].entries.len(), once.reports[0].entries.len() + 1);
}

#[test]
fn a_report_takes_its_members_or_is_refused_with_them() {
    let report = |members: &[&str]| {
        let members: Vec<Value> =
            members.iter().map(|member| json!({ "reference": member })).collect();
        json!({ "fullUrl": "urn:uuid:9", "resource": {
            "resourceType": "Observation", "status": "final",
            "code": { "coding": [{ "system": OWN, "code": "symptom-report" }] },
            "subject": { "reference": "Patient/p1" },
            "valueString": "I had a fit.",
            "hasMember": members,
        }})
    };
    // (what the row is for, members, whether it is taken, piece of the problem)
    let table: [(&str, &[&str], Option<&str>); 5] = [
        ("both", &["Observation/o1", "Observation/o2"], None),
        ("condition", &["Condition/c1"], None),
        ("nothing", &["Observation/o3", "Observation/o1"], None),
        ("patient", &["Observation/o1", "Patient/p1"], None),
        ("twice", &["Observation/o1", "Observation/o1"], Some("has already")),
    ];
    for (case, members, problem) in table {
        let mut whole = bundle();
        whole["entry"].as_array_mut().unwrap().push(report(members));
        let import = read_value(&whole);
        let found = import.reports.iter().find(|report| report.report.text == "I had a fit.");
        let refused = refusals(&import);
        match problem {
            None => {
                let notes = &import.entries[5].notes;
                let findings = found.unwrap().report.findings.len();
                assert_eq!(findings + notes.len(), members.len(), "case: {case}");
                assert!(notes.iter().all(|note| note.path.contains("hasMember[")), "{notes:?}");
                assert_eq!(refused, [], "case: {case}");
            }
            Some(piece) => {
                assert!(found.is_none(), "case: {case}");
                let (_, _, problems) = refused.iter().find(|(place, ..)| *place == 5).unwrap();
                assert!(problems[0].contains(piece), "case: {case}: {problems:?}");
            }
        }
    }
}

#[test]
fn what_is_not_brought_in_is_passed_over_and_hospitals_are_left_for_the_directory() {
    let mut mixed = bundle();
    let entries = mixed["entry"].as_array_mut().unwrap();
    entries.push(json!({ "resource": { "resourceType": "Medication", "id": "m" } }));
    entries.push(json!({ "resource": { "resourceType": "Organization", "id": "h" } }));
    entries.push(json!({ "resource": {
        "resourceType": "Condition", "code": { "coding": [{ "system": OWN, "code": "lesion" }] },
    }}));
    entries.push(json!({ "resource": {
        "resourceType": "Observation", "status": "entered-in-error",
        "code": { "coding": [{ "system": HPO, "code": "HP:0001250" }] },
    }}));
    entries.push(json!({ "resource": {
        "resourceType": "Observation", "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "718-7" }] },
    }}));
    let import = read_value(&mixed);
    assert_eq!(refusals(&import), []);
    let states: Vec<State> = import.entries[5..].iter().map(|one| one.state.clone()).collect();
    let over = State::PassedOver;
    let no_use = import.entries[8].notes[0].clone();
    assert_eq!(no_use.path, "entry[8].resource.status");
    let no_use = "its status says that it was entered in error, cancelled or not made yet";
    assert_eq!(states, [over(OTHER), State::Read, over(DERIVED), over(no_use), over(FOREIGN)]);
    assert_eq!(import.directory.len(), 1);
    assert_eq!(import.directory[0].0, 6);
}

#[test]
fn what_is_told_in_words_alone_is_passed_over_and_leaves_its_report() {
    let words = json!({ "text": "secret" });
    // (what the row is for, entry, its code)
    let table =
        [("observation", 1, words.clone()), ("condition", 3, words), ("none", 3, json!(null))];
    for (case, entry, code) in table {
        let mut sent = with(entry, "/code", code);
        let kind = if entry == 1 { "Observation/o1" } else { "Condition/c1" };
        sent["entry"].as_array_mut().unwrap().push(json!({ "resource": {
            "resourceType": "Observation", "status": "final",
            "code": { "coding": [{ "system": OWN, "code": "symptom-report" }] },
            "subject": { "reference": "Patient/p1" },
            "hasMember": [{ "reference": kind }, { "reference": "Observation/o2" }],
        }}));
        let import = read_value(&sent);
        assert_eq!(refusals(&import), [], "case: {case}");
        let passed = &import.entries[entry];
        assert_eq!(passed.state, State::PassedOver(UNCODED), "case: {case}");
        assert_eq!(passed.notes.len(), 1, "case: {case}");
        assert_eq!(passed.notes[0].path, format!("entry[{entry}].resource.code"));
        let report = import.reports.iter().find(|report| report.entries[0] == 5).unwrap();
        assert_eq!(report.entries, [5, 2], "case: {case}");
        assert_eq!(import.entries[5].notes[0].path, "entry[5].resource.hasMember[0].reference");
    }
}

#[test]
fn many_findings_of_one_visit_become_several_reports() {
    let mut many = bundle();
    let entries = many["entry"].as_array_mut().unwrap();
    for number in 0..250 {
        entries.push(json!({ "resource": {
            "resourceType": "Observation", "status": "final",
            "code": { "coding": [{ "system": HPO, "code": format!("HP:{number:07}") }] },
            "subject": { "reference": "Patient/p1" },
            "valueBoolean": true,
        }}));
    }
    let import = read_value(&many);
    assert_eq!(refusals(&import), []);
    let sizes: Vec<usize> =
        import.reports.iter().map(|report| report.report.findings.len()).collect();
    // The condition has neither time nor reporter either.
    assert_eq!(sizes, [2, 100, 100, 51]);
}

#[test]
fn a_bundle_that_cannot_be_used_says_why() {
    let refuse = |text: &str| read(text.as_bytes(), NOW).unwrap_err();
    let whole = bundle().to_string();
    let cut = &whole[..whole.len() - 20];
    for text in ["", "{", "[1]", "7", cut, "{\"resourceType\":\"Bundle\",\"a\":NaN}"] {
        assert!(matches!(refuse(text), BundleError::Syntax(_)), "{text:.20}");
    }
    let deep = format!("{{\"resourceType\":\"Bundle\",\"x\":{}", "[".repeat(100_000));
    assert!(refuse(&deep).to_string().contains("nested deeper"));
    let entry = r#"{"resourceType":"Bundle","type":"collection","entry":7}"#;
    assert!(matches!(refuse(entry), BundleError::Syntax(_)));
    let found = |text: &str| BundleError::NoContent { found: text.to_owned() };
    for name in ["history", "message", "transaction-response", "batch-response"] {
        let text = format!(r#"{{"resourceType":"Bundle","type":"{name}"}}"#);
        assert_eq!(refuse(&text), found(&format!("Bundle of type {name}")));
    }
    let rules = r#"{"resourceType":"Bundle","type":"batch","implicitRules":"urn:x"}"#;
    assert_eq!(refuse(rules), BundleError::RulesUnknown);
    assert_eq!(refuse(r#"{"resourceType":"Patient"}"#), found("Patient of type unknown"));
    let bytes = 100 * 1024 * 1024;
    let large = read(&vec![b' '; bytes], NOW).unwrap_err();
    assert_eq!(large, BundleError::TooLarge { bytes, bytes_max: bundle::BYTES_MAX });
    let entries = bundle::ENTRIES_MAX + 1;
    let many = json!({ "resourceType": "Bundle", "type": "collection", "entry": vec![json!({}); entries] });
    let entries_max = bundle::ENTRIES_MAX;
    assert_eq!(refuse(&many.to_string()), BundleError::TooManyEntries { entries, entries_max });
    let none = read(br#"{"resourceType":"Bundle","type":"collection"}"#, NOW).unwrap();
    assert_eq!(none, Import::default());
}
