//! Whom findings are about.

use crate::*;

#[test]
fn what_is_about_somebody_else_is_no_finding_of_the_patient() {
    let relative = json!({ "resourceType": "RelatedPerson", "id": "r1" });
    let history =
        json!({ "resourceType": "FamilyMemberHistory", "id": "f1", "status": "completed" });
    let focus_code = "http://hl7.org/fhir/StructureDefinition/observation-focusCode";
    // (what the row is for, resource, path)
    let table = [
        (
            "relative",
            with(seizure(), &json!({ "focus": [{ "reference": "RelatedPerson/r1" }] })),
            "focus[0]",
        ),
        (
            "fetus",
            with(
                seizure(),
                &json!({ "focus": [
            { "reference": "Patient/p1" }, { "display": "fetus" } ] }),
            ),
            "focus[1]",
        ),
        (
            "focus of the wrong shape",
            with(seizure(), &json!({ "focus": { "display": "fetus" } })),
            "focus",
        ),
        (
            "focus code",
            with(
                seizure(),
                &json!({ "extension": [
            { "url": focus_code, "valueCodeableConcept": { "text": "fetus" } }] }),
            ),
            "extension[0]",
        ),
        ("group", with(seizure(), &json!({ "subject": { "reference": "Group/g" } })), "subject"),
        (
            "device",
            with(seizure(), &json!({ "subject": { "type": "Device", "display": "pump" } })),
            "subject",
        ),
        (
            "location",
            with(seizure(), &json!({ "subject": { "reference": "https://x.invalid/Location/1" } })),
            "subject",
        ),
        (
            "relative as subject",
            with(condition(), &json!({ "subject": { "reference": "RelatedPerson/r1" } })),
            "subject",
        ),
        (
            "history of the family",
            with(
                seizure(),
                &json!({ "derivedFrom": [
            { "reference": "FamilyMemberHistory/f1" }] }),
            ),
            "derivedFrom[0]",
        ),
        (
            "history of the family, elsewhere",
            with(
                condition(),
                &json!({ "evidence": [
            { "detail": [{ "reference": "FamilyMemberHistory/other" }] }] }),
            ),
            "evidence[0].detail[0]",
        ),
    ];
    for (case, resource, path) in table {
        let import = read(&bundle(&[patient(), resource, relative.clone(), history.clone()]));
        assert_left_out(&import, path, case);
        assert!(matches!(import.entries[3].state, State::PassedOver(_)), "case: {case}");
    }
    // The patient as focus says nothing new.
    let focus = json!({ "focus": [{ "reference": "https://ehr.invalid/fhir/Patient/p1" }] });
    assert_eq!(findings(&with_patient(&with(seizure(), &focus))).len(), 1);
    let other = json!({ "subject": { "reference": "Patient/other" } });
    let import = with_patient(&with(seizure(), &other));
    assert_refused(
        &import,
        1,
        Refusal::ReferenceBroken,
        "resource.subject.reference",
        "other patient",
    );
}

#[test]
fn references_of_every_form_lead_to_the_patient() {
    let uuid = "urn:uuid:0b7a2f6e-8f5d-4a0b-9a54-8c1f4f1e2a3B";
    let contained = |value: &str| {
        json!([{ "resourceType": "Patient", "id": "p",
            "identifier": [{ "system": "urn:oid:1.2.3", "value": value }] }])
    };
    let mr = concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR");
    let number = |value: &str| json!({ "type": mr, "system": "urn:oid:1.2.3", "value": value });
    let two = |other: Value| json!([{ "resourceType": "Patient", "id": "p", "identifier": [number("MRN-1"), other] }]);
    let ended = json!({ "type": mr, "system": "urn:oid:1.2.3", "value": "MRN-9", "use": "old" });
    let logical =
        |value: &str| json!({ "identifier": { "system": "urn:oid:1.2.3", "value": value } });
    let beside = |reference: &str, value: &str| {
        let mut subject = logical(value);
        subject["reference"] = json!(reference);
        subject
    };
    let national = json!({ "identifier": { "system": "urn:x-national", "value": "N-1" } });
    let name = |reference: &str| json!({ "reference": reference });
    let server = "https://ehr.invalid/fhir/Patient/p1";
    // (what the row is for, fullUrl of the patient, subject, contained, whether it leads to the patient)
    let table = [
        ("relative", Some(server), name("Patient/p1"), None, true),
        ("absolute", Some(server), name(server), None, true),
        ("version", Some(server), name("Patient/p1/_history/2"), None, true),
        ("version, absolute", Some(server), name(&format!("{server}/_history/2")), None, true),
        ("UUID", Some(uuid), name(uuid), None, true),
        ("UUID in small letters", Some(uuid), name(&uuid.to_lowercase()), None, true),
        ("relative beside a UUID", Some(uuid), name("Patient/p1"), None, true),
        ("no fullUrl", None, name("Patient/p1"), None, true),
        (
            "another server",
            Some(server),
            name("https://other.invalid/fhir/Patient/p1"),
            None,
            false,
        ),
        ("contained", Some(server), name("#p"), Some(contained("MRN-1")), true),
        ("contained, of another", Some(server), name("#p"), Some(contained("MRN-2")), false),
        ("nothing contained", Some(server), name("#q"), Some(contained("MRN-1")), false),
        ("contained, a number too many", Some(server), name("#p"), Some(two(number("X-1"))), false),
        (
            "contained, a number without issuer too many",
            Some(server),
            name("#p"),
            Some(two(json!({ "type": mr, "value": "X-1" }))),
            false,
        ),
        ("contained, an old number too", Some(server), name("#p"), Some(two(ended)), true),
        (
            "contained, no number of a hospital too",
            Some(server),
            name("#p"),
            Some(two(json!({ "system": "urn:x", "value": "X-1" }))),
            true,
        ),
        (
            "contained and unknown, beside an identifier",
            Some(server),
            beside("#p", "MRN-1"),
            Some(contained("MRN-2")),
            true,
        ),
        ("not contained, beside an identifier", Some(server), beside("#q", "mrn-1"), None, true),
        ("by number", Some(server), logical("MRN-1"), None, true),
        ("by number in another case", Some(server), logical("mrn-1"), None, true),
        ("by the number of another", Some(server), logical("MRN-2"), None, false),
        ("by a number that is no hospital's", Some(server), national, None, false),
        ("by a search", Some(server), name("Patient?identifier=urn:oid:1.2.3%7CMRN-1"), None, true),
        (
            "by a search for a number that is no hospital's",
            Some(server),
            name("Patient?identifier=urn:x-national|N-1"),
            None,
            false,
        ),
        (
            "by identifier beside a broken name",
            Some(server),
            beside("Patient/9", "MRN-1"),
            None,
            true,
        ),
    ];
    for (case, full_url, subject, contained, leads) in table {
        let resource = json!({ "subject": subject, "contained": contained });
        let mut bundle = bundle(&[patient(), with(seizure(), &resource)]);
        match full_url {
            Some(url) => bundle["entry"][0]["fullUrl"] = json!(url),
            None => drop(bundle["entry"][0].as_object_mut().unwrap().remove("fullUrl")),
        }
        let import = read(&bundle);
        assert_eq!(
            findings(&import).len(),
            usize::from(leads),
            "case: {case}: {:?}",
            import.entries[1]
        );
    }
}

#[test]
fn a_relative_reference_is_one_to_the_own_server() {
    let uuid = "urn:uuid:0b7a2f6e-8f5d-4a0b-9a54-8c1f4f1e2a3b";
    let own = "https://ehr.invalid/fhir/Observation/o1";
    let patient_at = "https://ehr.invalid/fhir/Patient/p1";
    let elsewhere = "https://other.invalid/fhir/Patient/p1";
    // (what the row is for, fullUrl of the finding, of the patient, whether it leads there)
    let table = [
        ("one server", Some(own), Some(patient_at), true),
        (
            "one server, a version",
            Some("https://ehr.invalid/fhir/Observation/o1/_history/3"),
            Some(patient_at),
            true,
        ),
        (
            "a patient by version",
            Some(own),
            Some("https://ehr.invalid/fhir/Patient/p1/_history/2"),
            true,
        ),
        ("two servers", Some(own), Some(elsewhere), false),
        (
            "two servers, a version",
            Some("https://ehr.invalid/fhir/Observation/o1/_history/3"),
            Some(elsewhere),
            false,
        ),
        ("a finding of no server", Some(uuid), Some(elsewhere), true),
        ("a finding without fullUrl", None, Some(elsewhere), true),
        ("a patient of no server", Some(own), Some(uuid), true),
        ("a patient without fullUrl", Some(own), None, true),
    ];
    for (case, finding, patient_url, leads) in table {
        let mut sent = bundle(&[patient(), seizure()]);
        for (place, url) in [(0, patient_url), (1, finding)] {
            let entry = sent["entry"][place].as_object_mut().unwrap();
            entry.remove("fullUrl");
            entry.extend(url.map(|url| ("fullUrl".to_owned(), json!(url))));
        }
        let import = read(&sent);
        assert_eq!(findings(&import).len(), usize::from(leads), "case: {case}");
        if !leads {
            let path = "resource.subject.reference";
            assert_refused(&import, 1, Refusal::ReferenceBroken, path, case);
        }
    }
    let second = with(
        patient(),
        &json!({ "identifier": [{ "system": "urn:oid:1.2.3", "value": "MRN-2" }] }),
    );
    let mut sent = bundle(&[second, patient(), seizure()]);
    sent["entry"][0]["fullUrl"] = json!(elsewhere);
    let import = read(&sent);
    assert_eq!(import.reports[0].patient, 1);
}

#[test]
fn a_reference_that_names_two_patients_is_refused() {
    let other = with(
        patient(),
        &json!({ "id": "p2",
        "identifier": [{ "system": "urn:oid:1.2.3", "value": "MRN-2" }] }),
    );
    let subject = json!({ "reference": "Patient/p1",
        "identifier": { "system": "urn:oid:1.2.3", "value": "MRN-2" } });
    let import =
        read(&bundle(&[patient(), other, with(seizure(), &json!({ "subject": subject }))]));
    assert_refused(&import, 2, Refusal::ReferenceBroken, "resource.subject", "two");
}
