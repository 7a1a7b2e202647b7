//! What findings say.

use crate::*;

#[test]
fn what_is_not_claimed_is_no_finding() {
    let verification = |code: &str| json!({ "verificationStatus": concept(VERIFICATION, code) });
    for code in ["unconfirmed", "provisional", "differential", "entered-in-error"] {
        let import = with_patient(&with(condition(), &verification(code)));
        assert_left_out(&import, "verificationStatus", code);
    }
    for status in ["entered-in-error", "cancelled", "registered"] {
        let import = with_patient(&with(seizure(), &json!({ "status": status })));
        assert_left_out(&import, "status", status);
    }
    let absent = json!({ "valueBoolean": null, "dataAbsentReason": { "text": SECRET } });
    assert_left_out(&with_patient(&with(seizure(), &absent)), "dataAbsentReason", "absent");
}

#[test]
fn conditions_say_whether_they_are_there_and_how_they_went_on() {
    // (verificationStatus, clinicalStatus, present, course)
    let table = [
        (None, None, true, None),
        (Some("confirmed"), Some("active"), true, None),
        (Some("confirmed"), Some("resolved"), true, Some(Course::Resolved)),
        (Some("confirmed"), Some("inactive"), true, Some(Course::Resolved)),
        (None, Some("remission"), true, Some(Course::Resolved)),
        (Some("refuted"), None, false, None),
        (Some("refuted"), Some("resolved"), false, None),
    ];
    for (verification, clinical, present, course) in table {
        let case = format!("{verification:?} {clinical:?}");
        let mut resource = condition();
        if let Some(code) = verification {
            resource["verificationStatus"] = concept(VERIFICATION, code);
        }
        if let Some(code) = clinical {
            resource["clinicalStatus"] = concept(CLINICAL, code);
        }
        let import = with_patient(&resource);
        let [finding] = findings(&import)[..] else { panic!("{case}: {:?}", import.entries) };
        assert_eq!((finding.present, finding.course), (present, course), "{case}");
    }
    let abated = with_patient(&with(condition(), &json!({ "abatementDateTime": "2026-10" })));
    assert_eq!(findings(&abated)[0].course, Some(Course::Resolved));
    let odd = json!({ "verificationStatus": { "text": SECRET } });
    let import = with_patient(&with(condition(), &odd));
    assert_refused(&import, 1, Refusal::ElementsWrong, "resource.verificationStatus", "odd");
}

#[test]
fn presence_is_read_from_the_usual_answers() {
    let yes_no = "http://terminology.hl7.org/CodeSystem/v2-0136";
    let loinc = "http://loinc.org";
    let table = [
        (SNOMED, "52101004", "2667000"),
        (SNOMED, "373066001", "373067005"),
        (loinc, "LA9633-4", "LA9634-2"),
        (loinc, "LA33-6", "LA32-8"),
        (yes_no, "Y", "N"),
    ];
    for (system, yes, no) in table {
        for (code, present) in [(yes, true), (no, false)] {
            let value = concept(system, code);
            let value = json!({ "valueBoolean": null, "valueCodeableConcept": value });
            let import = with_patient(&with(seizure(), &value));
            assert_eq!(findings(&import)[0].present, present, "{code}");
        }
    }
    let import = with_patient(&with(seizure(), &json!({ "valueBoolean": false })));
    assert!(!findings(&import)[0].present);
    let unknown =
        json!({ "valueBoolean": null, "valueCodeableConcept": concept(SNOMED, "261665006") });
    let import = with_patient(&with(seizure(), &unknown));
    assert_refused(&import, 1, Refusal::ElementsWrong, "resource.valueCodeableConcept", "unknown");
}

#[test]
fn sides_come_from_qualifiers_and_an_unknown_one_leaves_the_finding() {
    let mcode = "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-laterality-qualifier";
    let arm = json!({ "system": SNOMED, "code": "53120007" });
    let site = |side: &str| json!({ "coding": [arm, { "system": SNOMED, "code": side }] });
    let extended = |url: &str, side: &str| {
        let extension = json!([{ "url": url, "valueCodeableConcept": concept(SNOMED, side) }]);
        json!({ "coding": [arm], "extension": extension })
    };
    let own = "urn:x-neurotriage:laterality";
    // (what the row is for, body site, side, whether something is noted)
    let table = [
        ("left", site("7771000"), Some(Side::Left), false),
        ("right", site("24028007"), Some(Side::Right), false),
        ("both", site("51440002"), Some(Side::Midline), false),
        ("extension", extended(own, "7771000"), Some(Side::Left), false),
        ("mCODE", extended(mcode, "24028007"), Some(Side::Right), false),
        ("not told", json!({ "coding": [arm], "text": "left arm" }), None, true),
        ("unknown", extended(own, "66459002"), None, true),
        ("of no shape", json!("left"), None, true),
    ];
    for (case, site, side, is_noted) in table {
        let observed = with_patient(&with(seizure(), &json!({ "bodySite": site })));
        assert_eq!(findings(&observed)[0].side, side, "case: {case}");
        assert_eq!(!noted(&observed, 1).is_empty(), is_noted, "case: {case}");
        let asserted = with_patient(&with(condition(), &json!({ "bodySite": [site] })));
        let of_condition = findings(&asserted);
        if case != "of no shape" {
            assert_eq!(of_condition[0].side, side, "case: {case}");
            assert_eq!(!noted(&asserted, 1).is_empty(), is_noted, "case: {case}");
        }
    }
    // (body sites of a Condition, its side, or the path of what contradicts)
    let (left, right, both) = (site("7771000"), site("24028007"), site("51440002"));
    let two = json!({ "coding": [
        { "system": SNOMED, "code": "7771000" }, { "system": SNOMED, "code": "24028007" } ] });
    let mut apart = extended(own, "24028007");
    apart["coding"] = left["coding"].clone();
    let table = [
        (json!([left, right]), Ok(Some(Side::Midline))),
        (json!([right, left]), Ok(Some(Side::Midline))),
        (json!([left, left]), Ok(Some(Side::Left))),
        (json!([both, left]), Ok(Some(Side::Midline))),
        (json!([two, left]), Err("resource.bodySite[0].coding[1]")),
        (json!([left, apart]), Err("resource.bodySite[1].extension[0]")),
    ];
    for (sites, side) in table {
        let case = sites.to_string();
        let import = with_patient(&with(condition(), &json!({ "bodySite": sites })));
        match side {
            Ok(side) => assert_eq!(findings(&import)[0].side, side, "case: {case}"),
            Err(path) => assert_refused(&import, 1, Refusal::ElementsWrong, path, &case),
        }
    }
    let component =
        json!([{ "code": concept(OWN, "laterality"), "valueCodeableConcept": { "text": SECRET } }]);
    let import = with_patient(&with(seizure(), &json!({ "component": component })));
    assert_eq!(findings(&import)[0].side, None);
    assert_eq!(noted(&import, 1), ["entry[1].resource.component[0].valueCodeableConcept"]);
}

#[test]
fn times_are_taken_from_what_is_told() {
    let at = datetime!(2026-11-20 0:30 UTC);
    let none = json!({ "effectiveDateTime": null });
    let observed = |members: Value| with(with(seizure(), &none), &members);
    // (what the row is for, resource, time, whether something is noted)
    let table = [
        (
            "zone",
            observed(json!({ "effectiveDateTime": "2026-11-20T09:30:00+09:00" })),
            Some(at),
            false,
        ),
        ("Z", observed(json!({ "effectiveDateTime": "2026-11-20T00:30:00Z" })), Some(at), false),
        (
            "fraction",
            observed(json!({ "effectiveDateTime": "2026-11-19T16:30:00.000-08:00" })),
            Some(at),
            false,
        ),
        (
            "day",
            observed(json!({ "effectiveDateTime": "2026-11-20" })),
            Some(datetime!(2026-11-20 0:00 UTC)),
            false,
        ),
        (
            "year",
            observed(json!({ "effectiveDateTime": "2026" })),
            Some(datetime!(2026-01-01 0:00 UTC)),
            true,
        ),
        (
            "month of onset",
            with(condition(), &json!({ "onsetDateTime": "2019-05" })),
            Some(datetime!(2019-05-01 0:00 UTC)),
            true,
        ),
        (
            "end of onset",
            with(condition(), &json!({ "onsetPeriod": { "end": "2026-11-20T00:30:00Z" } })),
            Some(at),
            false,
        ),
        (
            "start before end",
            observed(
                json!({ "effectivePeriod": { "start": "2026-11-20T00:30:00Z", "end": "2026-11-21" } }),
            ),
            Some(at),
            false,
        ),
        (
            "today in the east",
            observed(json!({ "effectiveDateTime": "2026-11-27" })),
            Some(datetime!(2026-11-26 10:00 UTC)),
            false,
        ),
        (
            "a clock ahead",
            observed(json!({ "effectiveDateTime": "2026-11-26T15:05:00Z" })),
            Some(datetime!(2026-11-26 15:05 UTC)),
            false,
        ),
        (
            "instant",
            observed(json!({ "effectiveInstant": "2026-11-20T00:30:00Z" })),
            Some(at),
            false,
        ),
        (
            "period",
            observed(json!({ "effectivePeriod": { "start": "2026-11-20T00:30:00Z" } })),
            Some(at),
            false,
        ),
        (
            "end alone",
            observed(json!({ "effectivePeriod": { "end": "2026-11-21" },
            "issued": "2026-11-20T00:30:00Z" })),
            Some(datetime!(2026-11-21 0:00 UTC)),
            false,
        ),
        (
            "timing",
            observed(json!({ "effectiveTiming": { "code": { "text": "daily" } } })),
            None,
            true,
        ),
        (
            "onset",
            with(condition(), &json!({ "onsetDateTime": "2026-11-20T00:30:00Z" })),
            Some(at),
            false,
        ),
        (
            "period of onset",
            with(condition(), &json!({ "onsetPeriod": { "start": "2026-11-20T00:30:00Z" } })),
            Some(at),
            false,
        ),
        (
            "recorded",
            with(
                condition(),
                &json!({ "recordedDate": "2026-11-20T00:30:00Z", "onsetDateTime": "2020" }),
            ),
            Some(at),
            false,
        ),
    ];
    for (case, resource, time, is_noted) in table {
        let import = with_patient(&resource);
        let [report] = &import.reports[..] else { panic!("case: {case}: {:?}", import.entries) };
        assert_eq!(report.report.reported_at, time, "case: {case}");
        assert_eq!(!noted(&import, 1).is_empty(), is_noted, "case: {case}");
    }
    for time in ["2999-01-01", "2026-11-28", "2026-12", "2027", "2026-11-26T15:05:01Z"] {
        let import = with_patient(&with(condition(), &json!({ "onsetDateTime": time })));
        assert_refused(&import, 1, Refusal::ElementsWrong, "resource.onsetDateTime", time);
        assert_eq!(import.patients.len(), 1);
    }
}

#[test]
fn codes_of_other_systems_become_findings_and_the_surest_system_counts() {
    let coded = |codings: &[(&str, &str)]| {
        let coding = |(system, code): &(&str, &str)| json!({ "system": system, "code": code });
        observation(json!({ "coding": codings.iter().map(coding).collect::<Vec<_>>() }))
    };
    let hpo = (HPO, "HP:0001269");
    let own = (OWN, "NT:spatial-neglect");
    let (snomed, icd) = ((SNOMED, "20022000"), (ICD10_CM, "G40.909"));
    // (codings, finding)
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[snomed], "HP:0001269"),
        (&[icd], "HP:0001250"),
        (&[icd, snomed], "HP:0001269"),
        (&[icd, snomed, own], "NT:spatial-neglect"),
        (&[icd, own, (SNOMED, "25064002"), hpo], "HP:0001269"),
        (&[("urn:local", "1"), (SNOMED, "25064002")], "HP:0002315"),
    ];
    for (codings, code) in table {
        let import = with_patient(&coded(codings));
        assert_eq!(findings(&import)[0].code, code, "{codings:?}: {:?}", import.entries[1]);
    }
    let import = with_patient(&coded(&[snomed, (SNOMED, "25064002")]));
    assert_refused(&import, 1, Refusal::ElementsWrong, "resource.code.coding[1]", "two findings");
    let import = with_patient(&coded(&[(SNOMED, "73211009"), (ICD10_CM, "E11.9")]));
    assert!(matches!(import.entries[1].state, State::PassedOver(_)), "{:?}", import.entries[1]);
}

#[test]
fn an_odd_performer_leaves_the_finding() {
    let import = with_patient(&with(seizure(), &json!({ "performer": [SECRET] })));
    assert_eq!(import.reports[0].report.reporter, None);
    assert_eq!(noted(&import, 1), ["entry[1].resource.performer[0]"]);
    let contained = json!({ "performer": [{ "type": "Practitioner" }] });
    let import = with_patient(&with(seizure(), &contained));
    assert_eq!(import.reports[0].report.reporter, Some(Reporter::Clinician));
}
