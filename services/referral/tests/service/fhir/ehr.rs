//! Bundles of record systems of hospitals: who is the same patient, and what is said of what is left out.

use neurotriage_proto::{
    fhir::v1::{
        EntryOutcome::{Created, PassedOver, Refused, Unchanged},
        ImportBundleResponse,
    },
    records::v1::Sex,
};
use serde_json::{Value, json};
use tonic::Code;

use super::harness::{Harness, assert_refused, bundle, outcomes};

const DEPENDS: &str = "DEPENDS_ON_REFUSED";

/// The patient of [`bundle`], as a hospital's system tells her.
fn told() -> Value {
    let mut told = bundle("7", "unused");
    let patient = &mut told["entry"][0]["resource"];
    patient["gender"] = json!("female");
    patient["name"] = json!([{ "use": "official", "family": "Smith", "given": ["Jane"] }]);
    told
}

fn paths(response: &ImportBundleResponse, place: usize) -> Vec<&str> {
    response.entries[place].problems.iter().map(|problem| problem.path.as_str()).collect()
}

#[tokio::test]
async fn a_number_of_somebody_else_is_refused_and_nothing_is_written() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        harness.import(&told()).await;
        assert_eq!(harness.kept(), (1, 1, 1));
        let before = harness.world.patients.lock().unwrap().clone();
        // (what the row is for, element, what stands there)
        let table = [
            ("birthDate", "birthDate", json!("1990-03-28")),
            ("year of birth", "birthDate", json!("1991")),
            ("gender", "gender", json!("male")),
            ("family name", "name", json!([{ "family": "Jones", "given": ["Jane"] }])),
            ("name as a whole", "name", json!([{ "text": "Robert Jones" }])),
        ];
        for (case, element, value) in table {
            let mut other = told();
            other["entry"][0]["resource"][element] = value.clone();
            other["entry"][3]["resource"]["valueString"] = json!("Of somebody else.");
            other["entry"][1]["resource"]["effectiveDateTime"] = json!("2026-11-21");
            for dry_run in [true, false] {
                let response = harness.send(other.to_string().as_bytes(), dry_run).await?;
                assert_eq!(outcomes(&response), [Refused; 4], "case: {case}");
                assert_eq!(response.entries[0].reason, "PATIENT_MISMATCH", "case: {case}");
                assert_eq!(paths(&response, 0), [format!("entry[0].resource.{element}")]);
                assert!(response.entries[1..].iter().all(|entry| entry.reason == DEPENDS));
                let text = format!("{:?}", response.entries);
                let secrets = ["1990", "Smith", "Jones", "Robert", "female", "MRN"];
                assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
                assert!(response.entries[0].record_id.is_empty(), "case: {case}");
            }
        }
        assert_eq!(harness.kept(), (1, 1, 1));
        assert_eq!(*harness.world.patients.lock().unwrap(), before);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_only_one_side_tells_is_no_contradiction() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        harness.import(&told()).await;
        for (element, value) in [
            ("birthDate", json!(null)),
            ("birthDate", json!("1990")),
            ("gender", json!("unknown")),
            ("gender", json!(null)),
            ("name", json!(null)),
            ("name", json!([{ "family": "SMITH", "given": ["J."] }])),
            ("name", json!([{ "text": "스미스 제인" }])),
        ] {
            let mut same = told();
            let patient = same["entry"][0]["resource"].as_object_mut().unwrap();
            if value.is_null() {
                patient.remove(element);
            } else {
                patient.insert(element.to_owned(), value.clone());
            }
            let response = harness.import(&same).await;
            assert_eq!(outcomes(&response), [Unchanged; 4], "{element} {value}");
        }
        assert_eq!(harness.kept(), (1, 1, 1));
        let patients = harness.world.patients.lock().unwrap().clone();
        assert!(patients.values().all(|patient| patient.sex() == Sex::Female));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_patient_who_is_another_leaves_the_others_of_the_bundle() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        harness.import(&told()).await;
        let mut both = told();
        both["entry"][0]["resource"]["birthDate"] = json!("1950-01-01");
        let mut second = bundle("8", "한가람")["entry"].as_array().unwrap().clone();
        for (place, entry) in second.iter_mut().enumerate() {
            entry["fullUrl"] = json!(format!("urn:uuid:second-{place}"));
            if place > 0 {
                entry["resource"]["subject"] = json!({ "reference": "urn:uuid:second-0" });
            }
        }
        both["entry"].as_array_mut().unwrap().extend(second);
        let response = harness.import(&both).await;
        assert_eq!(outcomes(&response)[..4], [Refused; 4]);
        assert_eq!(outcomes(&response)[4..], [Created; 4]);
        assert_eq!(harness.kept(), (2, 2, 2));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_is_named_and_the_rest_is_stored() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let mut odd = told();
        odd["entry"][0]["resource"]["telecom"] = json!([
            { "system": "phone", "value": "secret, ask at the desk" },
            { "system": "phone", "value": "+1 555 0100" },
        ]);
        odd["entry"][0]["resource"]["maritalStatus"] = json!({ "text": "secret" });
        odd["entry"][1]["resource"]["focus"] = json!([{ "display": "secret" }]);
        odd["entry"][2]["resource"]["bodySite"] = json!({ "text": "left arm, secret" });
        let response = harness.import(&odd).await;
        assert_eq!(outcomes(&response), [Created, PassedOver, Created, Created]);
        let notes: Vec<&str> = response
            .entries
            .iter()
            .flat_map(|entry| entry.notes.iter().map(|note| note.path.as_str()))
            .collect();
        assert_eq!(
            notes,
            [
                "entry[0].resource.telecom[0].value",
                "entry[0].resource.maritalStatus",
                "entry[1].resource.focus[0]",
                "entry[2].resource.bodySite",
            ]
        );
        assert!(!format!("{:?}", response.entries).contains("secret"), "{response:?}");
        assert!(
            response.entries.iter().all(|one| one.notes.iter().all(|note| !note.reason.is_empty()))
        );
        let patients = harness.world.patients.lock().unwrap().clone();
        assert!(patients.values().all(|patient| patient.contact_points.len() == 1));
        let reports = harness.world.reports.lock().unwrap().clone();
        let codes: Vec<String> = reports
            .values()
            .flat_map(|report| report.findings.iter().map(|one| one.code.clone()))
            .collect();
        assert_eq!(codes, ["HP:0002315"]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_of_codes_of_hospitals_comes_in_and_a_history_does_not() -> anyhow::Result<()>
{
    for mut harness in Harness::all().await? {
        let mut sent = told();
        sent["type"] = json!("transaction");
        for entry in sent["entry"].as_array_mut().unwrap() {
            entry["request"] = json!({ "method": "POST", "url": "x" });
        }
        sent["entry"][1]["resource"]["code"] =
            json!({ "coding": [{ "system": "http://snomed.info/sct", "code": "91175000" }] });
        sent["entry"][2]["resource"] = json!({
            "resourceType": "Condition",
            "code": { "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "R51.9" }] },
            "subject": { "identifier": { "system": "urn:oid:1.2.410.9", "value": "7" } },
        });
        let delete = json!({ "request": { "method": "DELETE", "url": "Patient/7" } });
        sent["entry"].as_array_mut().unwrap().push(delete);
        let response = harness.import(&sent).await;
        assert_eq!(outcomes(&response), [Created, Created, Created, Created, PassedOver]);
        assert_eq!(harness.kept(), (1, 2, 1));
        let again = harness.import(&sent).await;
        assert_eq!(outcomes(&again)[..4], [Unchanged; 4]);
        assert_eq!(harness.kept(), (1, 2, 1));
        sent["type"] = json!("history");
        let history = harness.send(sent.to_string().as_bytes(), false).await;
        assert_refused(history, Code::InvalidArgument, "BUNDLE_UNREADABLE", "history");
        harness.stop().await?;
    }
    Ok(())
}
