//! Types of bundles, and entries that stand by themselves.

use crate::*;

#[test]
fn bundles_of_every_type_that_holds_records_are_read() {
    let of_type = |name: &str| with(bundle(&[patient(), seizure()]), &json!({ "type": name }));
    assert_eq!(findings(&read(&of_type("collection"))).len(), 1);

    let mut found = of_type("searchset");
    found["entry"][0]["search"] = json!({ "mode": "include" });
    found["entry"][1]["search"] = json!({ "mode": "match" });
    let outcome = json!({ "search": { "mode": "outcome" },
        "resource": { "resourceType": "OperationOutcome", "issue": [{ "diagnostics": SECRET }] } });
    found["entry"].as_array_mut().unwrap().push(outcome);
    let import = read(&found);
    assert_eq!(findings(&import).len(), 1);
    assert_eq!(noted(&import, 2), ["entry[2].search.mode"]);

    for name in ["transaction", "batch"] {
        let mut sent = of_type(name);
        sent["entry"][0]["request"] = json!({ "method": "PUT", "url": "Patient/p1" });
        sent["entry"][1]["request"] = json!({ "method": "POST", "url": "Observation" });
        let entries = sent["entry"].as_array_mut().unwrap();
        entries.push(json!({ "request": { "method": "DELETE", "url": SECRET } }));
        entries.push(json!({ "request": { "method": "GET", "url": SECRET } }));
        let patch = with(seizure(), &json!({ "id": "o9" }));
        entries.push(json!({ "request": { "method": "PATCH", "url": SECRET }, "resource": patch }));
        entries.push(json!({ "resource": with(seizure(), &json!({ "id": "o8" })) }));
        let import = read(&sent);
        assert_eq!(findings(&import).len(), 1, "{name}");
        for place in 2..5 {
            assert!(matches!(import.entries[place].state, State::PassedOver(_)), "{name}");
            assert_eq!(noted(&import, place), [format!("entry[{place}].request.method")], "{name}");
        }
        assert_refused(&import, 5, Refusal::ElementsWrong, "request.method", name);
    }

    let mut document = of_type("document");
    let composition =
        json!({ "resource": { "resourceType": "Composition", "id": "d", "status": "final" } });
    document["entry"].as_array_mut().unwrap().insert(0, composition);
    let import = read(&document);
    assert_eq!(findings(&import).len(), 1);
    assert!(matches!(import.entries[0].state, State::PassedOver(_)));

    let text = of_type("history").to_string();
    let error = import::read(text.as_bytes(), NOW).unwrap_err();
    assert!(matches!(error, BundleError::NoContent { .. }), "{error}");
    assert!(error.to_string().contains("Bundle of type history; send"), "{error}");
}

#[test]
fn one_unreadable_finding_leaves_the_others() {
    let second = with(seizure(), &json!({ "id": "o2", "effectiveDateTime": "2999-01-01" }));
    let modified =
        with(seizure(), &json!({ "id": "o3", "modifierExtension": [{ "url": "urn:x" }] }));
    let rules = with(condition(), &json!({ "implicitRules": "urn:x" }));
    let component = json!([{ "modifierExtension": [{ "url": "urn:x" }], "code": { "text": "x" } }]);
    let part = with(seizure(), &json!({ "id": "o4", "component": component }));
    let import = read(&bundle(&[patient(), seizure(), second, modified, rules, part]));
    assert_eq!((import.patients.len(), findings(&import).len()), (1, 1));
    assert_eq!(import.reports[0].entries, [1]);
    let wrong = Refusal::ElementsWrong;
    assert_refused(&import, 2, wrong, "resource.effectiveDateTime", "future");
    assert_refused(&import, 3, wrong, "resource.modifierExtension", "modifier");
    assert_refused(&import, 4, wrong, "resource.implicitRules", "rules");
    assert_refused(&import, 5, wrong, "resource.component[0].modifierExtension", "component");
}

#[test]
fn a_report_waits_for_a_finding_that_was_refused() {
    let report = json!({
        "resourceType": "Observation", "id": "r", "status": "final",
        "code": concept(OWN, "symptom-report"), "subject": { "reference": "Patient/p1" },
        "hasMember": [{ "reference": "Observation/o1" }, { "reference": "Observation/o2" }],
    });
    let second =
        |members: Value| with(with(condition_as_observation(), &json!({ "id": "o2" })), &members);
    // (what the row is for, second finding, whether the report is refused)
    let table = [
        ("good", second(json!({})), false),
        ("wrong", second(json!({ "effectiveDateTime": "2999-01-01" })), true),
        ("of nobody", second(json!({ "subject": { "reference": "Patient/9" } })), true),
        ("passed over", second(json!({ "status": "cancelled" })), false),
        ("not there", second(json!({ "id": "o3" })), false),
    ];
    for (case, second, is_refused) in table {
        let import = read(&bundle(&[patient(), seizure(), second, report.clone()]));
        if is_refused {
            let member = "resource.hasMember[1].reference";
            assert_refused(&import, 3, Refusal::DependsOnRefused, member, case);
            assert_refused(&import, 1, Refusal::DependsOnRefused, "resource", case);
            assert!(import.reports.is_empty(), "case: {case}");
        } else {
            let is_whole = case == "good";
            assert_eq!(noted(&import, 3).is_empty(), is_whole, "case: {case}");
            let entries = import.reports.iter().find(|report| report.entries[0] == 3);
            assert_eq!(entries.unwrap().report.findings.len(), 1 + usize::from(is_whole), "{case}");
        }
    }
}

fn condition_as_observation() -> Value {
    observation(concept(SNOMED, "25064002"))
}

#[test]
fn a_report_of_which_nothing_is_left_is_passed_over() {
    let report = json!({
        "resourceType": "Observation", "id": "r", "status": "final",
        "code": concept(OWN, "symptom-report"), "subject": { "reference": "Patient/p1" },
        "hasMember": [{ "reference": "Observation/gone" }],
    });
    let import = with_patient(&report);
    assert!(matches!(import.entries[1].state, State::PassedOver(_)), "{:?}", import.entries[1]);
    assert!(import.reports.is_empty());
}
