use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{Language, html, tests::report},
    PAGE_BYTES_MAX, render,
};

fn resource(language: Language) -> Value {
    let report = report();
    let page = html::render(&report, &html::Pictures::default(), language);
    serde_json::from_str(&render(&report, &page, language).unwrap()).unwrap()
}

/// Calls `visit` with every value below `value`, and its key.
fn walk<'a>(key: &'a str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(key, value);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(key, value, visit)),
        Value::Array(items) => items.iter().for_each(|item| walk(key, item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_resource_is_a_preliminary_report_that_says_what_it_is() {
    for language in Language::ALL {
        let resource = resource(language);
        let expected = [
            ("/resourceType", "DiagnosticReport"),
            ("/status", "preliminary"),
            ("/language", language.tag()),
            ("/code/coding/0/code", "24590-2"),
            ("/subject/identifier/value", "urn:uuid:018f0000-0000-7000-8000-000000000002"),
            ("/contained/0/resourceType", "Device"),
            ("/contained/0/version/2/value", &"0123456789abcdef".repeat(4)),
            ("/contained/1/id", "verdict"),
            ("/contained/1/valueCodeableConcept/coding/0/code", "partly-concordant"),
            ("/contained/1/bodySite/coding/0/code", "83251001"),
            ("/contained/2/valueQuantity/code", "mL"),
            ("/contained/3/id", "lesion-1"),
            ("/presentedForm/0/title", "report.html"),
        ];
        for (pointer, value) in expected {
            assert_eq!(
                resource.pointer(pointer).and_then(Value::as_str),
                Some(value),
                "{language}: {pointer}"
            );
        }
        let notice = language.wording().labels().notice;
        assert!(resource["conclusion"].as_str().unwrap().contains(notice));
        assert!(resource["text"]["div"].as_str().unwrap().starts_with("<div xmlns="));
    }
}

#[test]
fn every_reference_leads_to_what_is_contained_and_nothing_is_empty() {
    let resource = resource(Language::English);
    let contained: BTreeSet<String> = resource["contained"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("#{}", item["id"].as_str().unwrap()))
        .collect();
    let mut references = BTreeSet::new();
    walk("", &resource, &mut |key, value| {
        if key == "reference" {
            references.insert(value.as_str().unwrap().to_owned());
        }
        let is_empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        assert!(!is_empty, "`{key}` is empty");
    });
    assert_eq!(references, contained);
}

#[test]
fn the_patient_is_an_id_and_nothing_they_wrote_is_in_the_fields() {
    let report = report();
    // A page that is named only, so that its content is not searched.
    let page = "x".repeat(PAGE_BYTES_MAX + 1);
    let text = render(&report, &page, Language::English).unwrap();
    assert!(!text.contains(&report.symptoms.text));
    for finding in &report.symptoms.findings {
        assert!(!text.contains(&finding.matched_text), "{}", finding.matched_text);
    }
    assert!(!text.contains("126.98"), "the home is in it");
}

#[test]
fn a_page_that_is_too_large_is_named_and_not_sent() {
    let report = report();
    let large = "x".repeat(PAGE_BYTES_MAX + 1);
    let text = render(&report, &large, Language::English).unwrap();
    let resource: Value = serde_json::from_str(&text).unwrap();
    let form = &resource["presentedForm"][0];
    assert_eq!((form["url"].as_str(), form.get("data")), (Some("report.html"), None));
    let small = render(&report, "<p>", Language::English).unwrap();
    let resource: Value = serde_json::from_str(&small).unwrap();
    assert_eq!(resource["presentedForm"][0]["data"], "PHA+");
}

#[test]
fn sides_and_findings_are_coded() {
    let resource = resource(Language::English);
    let find = |id: &str| {
        let contained = resource["contained"].as_array().unwrap();
        contained.iter().find(|item| item["id"] == id).unwrap().clone()
    };
    let lesion = find("lesion-1").to_string();
    assert!(lesion.contains("7771000") && lesion.contains("33728-7"), "{lesion}");
    let weakness = find("finding-1");
    assert_eq!(weakness["code"]["coding"][0]["code"], "HP:0001269");
    assert!(weakness.to_string().contains("24028007"));
    assert_eq!(find("finding-5")["valueCodeableConcept"]["coding"][0]["display"], "Absent");
}
