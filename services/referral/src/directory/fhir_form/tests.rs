//! Tests of the FHIR form.

use serde_json::{Value, json};

use super::*;
use crate::{directory::generated::Lcg, hospital::Capability};

/// A bundle of one good hospital: organization, location, service.
fn bundle() -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            { "fullUrl": "urn:uuid:0000-1", "resource": {
                "resourceType": "Organization", "id": "one", "name": "Sample (fictional)",
                "identifier": [{ "system": "urn:x", "value": "1" }],
                "address": [{ "city": "Sampleville", "country": "KR" }],
            }},
            { "resource": {
                "resourceType": "Location", "id": "L",
                "position": { "latitude": 37.5, "longitude": 127 },
            }},
            { "fullUrl": "https://a.invalid/HealthcareService/S", "resource": {
                "resourceType": "HealthcareService", "id": "S",
                "providedBy": { "reference": "urn:uuid:0000-1" },
                "location": [{ "reference": "Location/L" }],
                "type": [{ "coding": [
                    { "system": "http://snomed.info/sct", "code": "310025004" },
                    { "system": CAPABILITY_SYSTEM, "code": "stroke" },
                ]}],
                "communication": [{ "coding": [{ "system": LANGUAGE_SYSTEM, "code": "ko" }] }],
                "extension": [{ "url": CAPACITY_URL, "valueDecimal": 1 }],
            }},
        ],
    })
}

fn resource(bundle: &mut Value, index: usize) -> &mut Value {
    &mut bundle["entry"][index]["resource"]
}

fn read(bundle: &Value) -> BundleImport {
    import(bundle.to_string().as_bytes()).unwrap()
}

#[test]
fn export_then_import_gives_the_same_hospitals() {
    let mut lcg = Lcg(20_261_126);
    for _ in 0..40 {
        let hospitals = (0..25).map(|n| lcg.hospital(&format!("h-{n}"))).collect::<Vec<_>>();
        let text = export(&hospitals).unwrap();
        let again = import(text.as_bytes()).unwrap();
        assert_eq!((&again.refused[..], &again.passed_over[..]), (&[][..], &[][..]));
        assert_eq!(again.hospitals, hospitals);
        let marked = format!("\u{feff}{text}");
        assert_eq!(import(marked.as_bytes()).unwrap().hospitals, hospitals);
    }
    let none = export(&[]).unwrap();
    assert_eq!(none, r#"{"resourceType":"Bundle","type":"collection"}"#);
    assert_eq!(import(none.as_bytes()).unwrap().hospitals, []);
}

#[test]
fn an_export_keeps_the_rules_of_fhir_json() {
    fn check(value: &Value) {
        match value {
            Value::Null => panic!("null"),
            Value::Array(items) => {
                assert!(!items.is_empty());
                items.iter().for_each(check);
            }
            Value::Object(members) => members.values().for_each(check),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut hospital = Lcg(5).hospital("a");
    (hospital.capabilities, hospital.identifiers, hospital.languages) = Default::default();
    let bundle: Value = serde_json::from_str(&export(&[hospital]).unwrap()).unwrap();
    check(&bundle);
    for entry in bundle["entry"].as_array().unwrap() {
        let resource = &entry["resource"];
        let end = format!("/{}/a", resource["resourceType"].as_str().unwrap());
        assert!(entry["fullUrl"].as_str().unwrap().ends_with(&end), "{entry}");
    }
}

#[test]
fn a_bundle_of_another_system_is_read() {
    let import = read(&bundle());
    assert_eq!(import.refused, []);
    let hospital = &import.hospitals[0];
    assert_eq!(hospital.hospital_id.as_str(), "one");
    assert_eq!(hospital.capabilities, [Capability::Stroke]);
    assert_eq!((hospital.capacity, hospital.accepts_referrals), (1.0, true));
    assert_eq!(hospital.languages, ["ko"]);
    assert_eq!(hospital.beds_free, None);
}

#[test]
fn a_reserved_identifier_is_the_id() {
    let mut bundle = bundle();
    resource(&mut bundle, 0)["id"] = json!("Org.7");
    assert_eq!(read(&bundle).refused[0].field, "Organization.id");
    let reserved = json!({ "system": RESERVED_SYSTEM, "value": "seven" });
    resource(&mut bundle, 0)["identifier"].as_array_mut().unwrap().push(reserved);
    let import = read(&bundle);
    assert_eq!(import.hospitals[0].hospital_id.as_str(), "seven");
    assert_eq!(import.hospitals[0].identifiers.len(), 1);
}

#[test]
fn services_are_taken_together_and_the_inactive_left_out() {
    let mut bundle = two_services();
    let both = [Capability::Stroke, Capability::Radiosurgery];
    assert_eq!(read(&bundle).hospitals[0].capabilities, both);
    resource(&mut bundle, 2)["active"] = json!(false);
    let hospital = read(&bundle).hospitals.remove(0);
    assert_eq!((&hospital.capabilities[..], hospital.accepts_referrals), (&both[1..], true));
    resource(&mut bundle, 3)["active"] = json!(false);
    let hospital = read(&bundle).hospitals.remove(0);
    assert_eq!((&hospital.capabilities[..], hospital.accepts_referrals), (&both[..], false));
}

#[test]
fn a_suspended_location_takes_no_referrals() {
    let mut bundle = bundle();
    resource(&mut bundle, 1)["status"] = json!("suspended");
    assert!(!read(&bundle).hospitals[0].accepts_referrals);
}

#[test]
fn each_mistake_is_named_with_its_entry() {
    // (what the row is for, entry to change, pointer, new value, entry blamed, element, piece)
    let table = [
        ("no resource", 1, "/resourceType", json!(null), 1, "entry.resource", "resourceType"),
        ("type", 1, "/position/latitude", json!("37"), 1, "Location", "expected f64"),
        ("id", 0, "/id", json!("A"), 0, "Organization.id", "is not an id"),
        ("name", 0, "/name", json!(null), 0, "Organization.name", "fill it in"),
        ("city", 0, "/address/0/city", json!(null), 0, "Organization.address.city", "fill it in"),
        ("system", 0, "/identifier/0/system", json!(null), 0, "Organization.identifier", "lacks"),
        ("uri", 0, "/identifier/0/system", json!("x"), 0, "Organization.identifier", "URI"),
        ("position", 1, "/position", json!(null), 1, "Location.position", "is missing"),
        ("latitude", 1, "/position/latitude", json!(91), 1, "Location.position", "-90 to 90"),
        (
            "owner",
            2,
            "/providedBy/reference",
            json!("Organization/none"),
            2,
            "HealthcareService.providedBy",
            "names no Organization",
        ),
        ("no owner", 2, "/providedBy", json!(null), 2, "HealthcareService.providedBy", "missing"),
        (
            "place",
            2,
            "/location/0/reference",
            json!("Location/none"),
            2,
            "HealthcareService.location",
            "names no Location",
        ),
        (
            "wrong kind",
            2,
            "/location/0/reference",
            json!("urn:uuid:0000-1"),
            2,
            "HealthcareService.location",
            "names no Location",
        ),
        (
            "capability",
            2,
            "/type/0/coding/1/code",
            json!("magic"),
            2,
            "HealthcareService.type",
            "write one of neurosurgery",
        ),
        (
            "code system",
            2,
            "/type/0/coding/1/system",
            json!("urn:other"),
            2,
            "HealthcareService.type",
            "has no coding of urn:neurotriage:capability",
        ),
        (
            "language",
            2,
            "/communication/0/coding/0/code",
            json!("한국어"),
            2,
            "HealthcareService.communication",
            "BCP 47",
        ),
        (
            "no capacity",
            2,
            "/extension/0/url",
            json!("urn:other"),
            2,
            "HealthcareService.extension",
            "valueDecimal",
        ),
        (
            "capacity",
            2,
            "/extension/0/valueDecimal",
            json!(1.5),
            2,
            "HealthcareService.extension",
            "0 to 1",
        ),
        (
            "beds",
            2,
            "/extension/0",
            json!({ "url": BEDS_FREE_URL, "valueUnsignedInt": -1 }),
            2,
            "HealthcareService",
            "expected u32",
        ),
    ];
    for (case, entry, pointer, value, blamed, field, piece) in table {
        let mut bundle = bundle();
        // A member that is `null` reads as absent.
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = resource(&mut bundle, entry).pointer_mut(parent).unwrap();
        let sent = value.as_str().unwrap_or("never sent").to_owned();
        if let Some(index) = name.parse::<usize>().ok().filter(|_| parent.is_array()) {
            parent[index] = value;
        } else {
            parent[name] = value;
        }
        if field == "Location" || field == "entry.resource" {
            // The rest of the hospital cannot be put together either; that is told too.
            resource(&mut bundle, 1)["managingOrganization"] =
                json!({ "reference": "Organization/one" });
        }
        let import = read(&bundle);
        assert_eq!(import.hospitals, [], "case: {case}");
        let blamed_for = |one: &&RefusedEntry| one.index == blamed && one.field == field;
        let refused = import.refused.iter().find(blamed_for);
        let refused = refused.unwrap_or_else(|| panic!("case: {case}: {:?}", import.refused));
        assert!(refused.problem.contains(piece), "case: {case}: {refused}");
        assert!(!refused.problem.contains(&sent), "case: {case}: {refused}");
    }
}

#[test]
fn a_hospital_without_its_parts_is_refused() {
    for (case, removed, field) in [
        ("service", 2, "HealthcareService.providedBy"),
        ("location", 1, "HealthcareService.location"),
    ] {
        let mut bundle = bundle();
        bundle["entry"].as_array_mut().unwrap().remove(removed);
        let import = read(&bundle);
        assert_eq!(import.hospitals, [], "case: {case}");
        assert!(
            import.refused.iter().any(|one| one.field == field),
            "{case}: {:?}",
            import.refused
        );
    }
    let mut bundle = bundle();
    resource(&mut bundle, 1)["status"] = json!("inactive");
    assert_eq!(read(&bundle).refused[0].field, "Location.managingOrganization");
    resource(&mut bundle, 1)["status"] = json!("open");
    assert_eq!(read(&bundle).refused[0].field, "Location.status");
}

#[test]
fn a_repeated_entry_or_hospital_is_refused_and_the_first_kept() {
    let mut repeated = bundle();
    let again = repeated["entry"][0].clone();
    repeated["entry"].as_array_mut().unwrap().push(again);
    let import = read(&repeated);
    assert_eq!(import.hospitals.len(), 1);
    assert_eq!((import.refused[0].index, import.refused[0].field), (3, "entry.fullUrl"));

    let mut lcg = Lcg(9);
    let (one, two) = (lcg.hospital("one"), lcg.hospital("two"));
    let mut twice: Value = serde_json::from_str(&export(&[one.clone(), two]).unwrap()).unwrap();
    let reserved = json!([{ "system": RESERVED_SYSTEM, "value": "one" }]);
    resource(&mut twice, 3)["identifier"] = reserved;
    let import = read(&twice);
    assert_eq!(import.hospitals, [one]);
    let refused = &import.refused[0];
    assert_eq!((refused.index, refused.hospital_id.as_deref()), (3, Some("one")));
    assert!(refused.to_string().starts_with(
        "entry https://neurotriage.invalid/fhir/Organization/two, hospital one, Organization.id: "
    ));
}

/// A bundle with a second service of the hospital.
fn two_services() -> Value {
    let mut bundle = bundle();
    let mut second = bundle["entry"][2].clone();
    second["fullUrl"] = json!("https://a.invalid/HealthcareService/T");
    second["resource"]["id"] = json!("T");
    second["resource"]["type"][0]["coding"][1]["code"] = json!("radiosurgery");
    bundle["entry"].as_array_mut().unwrap().push(second);
    bundle
}

/// Returns the place of each refused entry, and on which it depends.
fn depends(import: &BundleImport) -> Vec<(usize, Option<usize>)> {
    import.refused.iter().map(|one| (one.index, one.depends_on)).collect()
}

#[test]
fn a_hospital_is_not_written_without_a_part_that_was_refused() {
    // (what the row is for, entry, pointer, value, what is refused and by which)
    let table = [
        ("service", 3, "/type", json!(7), vec![(0, Some(3)), (3, None)]),
        ("location", 1, "/position", json!("here"), vec![(0, Some(1)), (1, None)]),
        ("hospital", 0, "/name", json!(7), vec![(0, None), (1, None), (2, Some(0)), (3, Some(0))]),
        ("nobody's", 3, "/providedBy", json!(null), vec![(0, Some(3)), (3, None)]),
        ("by name", 3, "/providedBy", json!({ "display": "one" }), vec![(0, Some(3)), (3, None)]),
        (
            "another kind",
            3,
            "/providedBy/reference",
            json!("Location/L"),
            vec![(0, Some(3)), (3, None)],
        ),
        ("name", 3, "/id", json!("S"), vec![(0, Some(3)), (3, None)]),
    ];
    for (case, entry, pointer, value, refused) in table {
        let mut bundle = two_services();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        resource(&mut bundle, entry).pointer_mut(parent).unwrap()[name] = value;
        if case == "name" {
            bundle["entry"][3]["fullUrl"] = bundle["entry"][2]["fullUrl"].clone();
        }
        let import = read(&bundle);
        assert_eq!(import.hospitals, [], "case: {case}");
        assert_eq!(depends(&import), refused, "case: {case}");
        let of_hospital = import.refused[0].hospital_id.as_deref();
        assert!(case == "hospital" || of_hospital == Some("one"), "case: {case}");
    }
}

#[test]
fn what_is_of_no_hospital_of_the_bundle_holds_none_back() {
    let mut elsewhere = two_services();
    resource(&mut elsewhere, 3)["providedBy"]["reference"] = json!("Organization/elsewhere");
    let import = read(&elsewhere);
    assert_eq!((import.hospitals.len(), depends(&import)), (1, vec![(3, None)]));
    let mut copy = two_services();
    let again = copy["entry"][3].clone();
    copy["entry"].as_array_mut().unwrap().push(again);
    let import = read(&copy);
    assert_eq!((import.hospitals.len(), depends(&import)), (1, vec![(4, None)]));
    let mut ward = bundle();
    let entries = ward["entry"].as_array_mut().unwrap();
    entries.push(json!({ "resource": { "resourceType": "Location", "id": "ward" } }));
    let import = read(&ward);
    assert_eq!((import.hospitals.len(), depends(&import)), (1, vec![(3, None)]));
}

#[test]
fn a_hospital_is_not_written_without_what_was_refused_before() {
    // (what the row is for, what is changed of the second service, hospitals that are left)
    let table = [
        ("owner", "providedBy", json!({ "reference": "urn:uuid:0000-1" }), vec!["two"]),
        ("no owner", "providedBy", json!(null), vec![]),
        (
            "elsewhere",
            "providedBy",
            json!({ "reference": "Organization/none" }),
            vec!["one", "two"],
        ),
        ("same again", "id", json!("S"), vec!["one", "two"]),
        ("same, modified", "modifierExtension", json!([{ "url": "urn:x" }]), vec!["two"]),
    ];
    for (case, name, value, left) in table {
        let mut bundle = bundle();
        let mut refused = bundle["entry"][2].clone();
        refused["resource"][name] = value;
        if name == "providedBy" {
            refused["fullUrl"] = json!("https://a.invalid/HealthcareService/T");
        }
        let other = export(&[Lcg(7).hospital("two")]).unwrap();
        let other: Value = serde_json::from_str(&other).unwrap();
        let mut entries = bundle["entry"].as_array_mut().unwrap().clone();
        entries.extend(other["entry"].as_array().unwrap().clone());
        let import = import_entries(entries.into_iter().enumerate(), [(9, refused)]);
        let ids: Vec<&str> = import.hospitals.iter().map(|one| one.hospital_id.as_str()).collect();
        assert_eq!(ids, left, "case: {case}");
        assert!(import.refused.iter().all(|one| one.depends_on == Some(9)), "case: {case}");
        assert_eq!(import.refused.len() + ids.len(), 2, "case: {case}");
    }
}

#[test]
fn relative_references_mean_the_own_server_first() {
    let mut lcg = Lcg(11);
    let one = export(&[lcg.hospital("same")]).unwrap();
    let mut both: Value = serde_json::from_str(&one).unwrap();
    let other =
        export(&[lcg.hospital("same")]).unwrap().replace("neurotriage.invalid", "b.invalid");
    let other: Value = serde_json::from_str(&other).unwrap();
    both["entry"].as_array_mut().unwrap().extend(other["entry"].as_array().unwrap().clone());
    let reserved = json!([{ "system": RESERVED_SYSTEM, "value": "other" }]);
    resource(&mut both, 3)["identifier"] = reserved;
    let import = read(&both);
    assert_eq!(import.refused, []);
    assert_eq!(import.hospitals.len(), 2);
    assert_ne!(import.hospitals[0].location, import.hospitals[1].location);
}

#[test]
fn what_is_no_hospital_is_passed_over_by_name() {
    let mut bundle = bundle();
    let entries = bundle["entry"].as_array_mut().unwrap();
    entries.insert(0, json!({ "resource": { "resourceType": "Patient", "id": "p" } }));
    entries.push(json!({ "fullUrl": "urn:uuid:closed", "resource": {
        "resourceType": "Organization", "active": false
    }}));
    entries.push(json!({ "resource": {
        "resourceType": "Location", "id": "M",
        "managingOrganization": { "reference": "Organization/one" },
    }}));
    let import = read(&bundle);
    assert_eq!((import.hospitals.len(), &import.refused[..]), (1, &[][..]));
    let passed = import
        .passed_over
        .iter()
        .map(|one| (one.index, one.resource_type.as_str(), one.full_url.as_deref()))
        .collect::<Vec<_>>();
    assert_eq!(
        passed,
        [(0, "Patient", None), (4, "Organization", Some("urn:uuid:closed")), (5, "Location", None),]
    );
}

#[test]
fn a_bundle_that_cannot_be_used_says_why() {
    let refuse = |text: &str| import(text.as_bytes()).unwrap_err();
    assert!(matches!(refuse("{"), BundleError::Syntax(_)));
    assert!(matches!(refuse("[1]"), BundleError::Syntax(_)));
    let deep = "[".repeat(100_000);
    assert!(matches!(refuse(&deep), BundleError::Syntax(_)));
    let found = |text: &str| BundleError::NotACollection { found: text.to_owned() };
    assert_eq!(
        refuse(r#"{"resourceType":"Bundle","type":"transaction"}"#),
        found("Bundle of type transaction")
    );
    assert_eq!(refuse(r#"{"resourceType":"Patient"}"#), found("Patient of type unknown"));
    let bytes = BYTES_MAX + 1;
    assert_eq!(refuse(&" ".repeat(bytes)), BundleError::TooLarge { bytes, bytes_max: BYTES_MAX });
    let entries = vec![json!({}); ENTRIES_MAX + 1];
    let many = json!({ "resourceType": "Bundle", "type": "collection", "entry": entries });
    let entries = ENTRIES_MAX + 1;
    assert_eq!(
        refuse(&many.to_string()),
        BundleError::TooManyEntries { entries, entries_max: ENTRIES_MAX }
    );
}

#[test]
fn what_import_would_refuse_is_not_written() {
    let hospital = Lcg(3).hospital("a");
    let wrong = export(&[Hospital { capacity: -0.5, ..hospital.clone() }]);
    assert!(matches!(wrong, Err(ExportError::Field { .. })));
    let many = export(&vec![hospital; ENTRIES_MAX / 3 + 1]);
    assert!(matches!(many, Err(ExportError::TooManyHospitals { .. })));
}
