//! Bundles that come in.

use neurotriage_domain::HospitalId;
use neurotriage_proto::fhir::v1::{
    EntryOutcome::{Created, PassedOver, Refused, Unchanged, Updated},
    ImportBundleHeader,
    import_bundle_request::Content,
};
use neurotriage_referral::{
    directory::DirectoryStore as _,
    fhir::import::{ImportRequest, Outcome, bring_in},
    store::SqlReferralStore,
    upstream::GrpcSources,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::Code;

use super::harness::{Harness, assert_refused, bundle, outcomes};
use crate::support::keys::ledger;

#[tokio::test]
async fn a_bundle_comes_in_once_however_often_it_is_sent() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let bundle = bundle("7", "한가람");
        let dry = harness.send(bundle.to_string().as_bytes(), true).await?;
        assert_eq!(outcomes(&dry), [Created, Created, Created, Created]);
        assert!(!dry.written && dry.entries.iter().all(|entry| entry.record_id.is_empty()));
        assert_eq!(harness.kept(), (0, 0, 0));

        let first = harness.import(&bundle).await;
        assert_eq!(outcomes(&first), [Created, Created, Created, Created]);
        assert!(first.written);
        // Both findings are of one report.
        assert_eq!(first.entries[1].record_id, first.entries[2].record_id);
        assert_eq!(harness.kept(), (1, 1, 1));
        let report = harness.world.reports.lock().unwrap()[&first.entries[1].record_id].clone();
        assert_eq!(report.patient_id, first.entries[0].record_id);
        assert_eq!(report.reported_at.unwrap().seconds, 1_763_598_600 + 31_536_000);
        let present: Vec<(String, bool)> =
            report.findings.into_iter().map(|one| (one.code, one.present.unwrap())).collect();
        assert_eq!(present, [("HP:0001250".to_owned(), true), ("HP:0002315".to_owned(), false)]);

        let second = harness.import(&bundle).await;
        assert_eq!(outcomes(&second), [Unchanged, Unchanged, Unchanged, Unchanged]);
        for (first, second) in first.entries.iter().zip(&second.entries) {
            assert_eq!(first.record_id, second.record_id);
        }
        assert_eq!(harness.kept(), (1, 1, 1));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_a_list_that_has_grown_the_rest_is_stored() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let mut list = bundle("7", "한가람");
        let first = harness.import(&list).await;
        let grow = |list: &mut Value, id: &str, code: &str| {
            let mut added = list["entry"][1].clone();
            added["fullUrl"] = json!(format!("urn:uuid:{id}"));
            added["resource"]["code"]["coding"][0]["code"] = json!(code);
            list["entry"].as_array_mut().unwrap().push(added);
        };
        grow(&mut list, "o0", "HP:0001269");
        // The same finding, told twice.
        grow(&mut list, "o9", "HP:0001250");
        for dry_run in [true, false] {
            let grown = harness.send(list.to_string().as_bytes(), dry_run).await?;
            let wanted = [Unchanged, Unchanged, Unchanged, Unchanged, Created, Unchanged];
            assert_eq!(outcomes(&grown), wanted);
            assert_eq!(grown.entries[1].record_id, first.entries[1].record_id);
            assert_eq!(grown.entries[5].record_id, first.entries[1].record_id);
        }
        assert_eq!(harness.kept(), (1, 2, 1));
        let again = harness.import(&list).await;
        assert_eq!(outcomes(&again), [Unchanged; 6]);
        assert_ne!(again.entries[4].record_id, first.entries[1].record_id);
        let reports = harness.world.reports.lock().unwrap().clone();
        let added = &reports[&again.entries[4].record_id].findings;
        assert_eq!(added.len(), 1);
        // What is told otherwise is told anew.
        list["entry"][1]["resource"]["valueBoolean"] = json!(false);
        list["entry"].as_array_mut().unwrap().truncate(5);
        let otherwise = harness.import(&list).await;
        assert_eq!(outcomes(&otherwise), [Unchanged, Created, Unchanged, Unchanged, Unchanged]);
        assert_eq!(harness.kept(), (1, 3, 1));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_here_is_not_brought_back() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let bundle = bundle("7", "한가람");
        harness.import(&bundle).await;
        harness.world.reports.lock().unwrap().clear();
        harness.world.notes.lock().unwrap().clear();
        let response = harness.import(&bundle).await;
        assert_eq!(outcomes(&response), [Unchanged, Refused, Refused, Refused]);
        for (place, back) in [(1, "CreateSymptomReport"), (3, "CreateNote")] {
            let entry = &response.entries[place];
            assert_eq!(entry.reason, "DELETED_SINCE");
            let problem = &entry.problems[0];
            assert_eq!(problem.path, format!("entry[{place}].resource"));
            assert!(problem.description.ends_with(back), "{}", problem.description);
            assert!(!problem.description.contains("request_id"), "{}", problem.description);
        }
        harness.world.patients.lock().unwrap().clear();
        let response = harness.import(&bundle).await;
        assert_eq!(outcomes(&response), [Refused; 4]);
        assert_eq!(response.entries[0].reason, "DELETED_SINCE");
        let text = &response.entries[0].problems[0].description;
        assert!(text.contains("UndeletePatient") && text.contains("CreatePatient"), "{text}");
        assert!(response.entries[1..].iter().all(|entry| entry.reason == "DEPENDS_ON_REFUSED"));
        assert_eq!(harness.kept(), (0, 0, 0));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_known_patient_is_matched_and_not_changed() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        harness.import(&bundle("7", "한가람")).await;
        let mut later = bundle("7", "Another Name");
        later["entry"][1]["resource"]["effectiveDateTime"] = json!("2026-11-21");
        let response = harness.import(&later).await;
        // The second finding is of the first visit, whose report holds it.
        assert_eq!(outcomes(&response), [Unchanged, Created, Unchanged, Unchanged]);
        assert_eq!(harness.kept(), (1, 2, 1));
        let patients = harness.world.patients.lock().unwrap().clone();
        assert!(patients.values().all(|patient| patient.name == "한가람"));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn numbers_of_two_patients_are_refused() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        harness.import(&bundle("7", "one")).await;
        harness.import(&bundle("8", "other")).await;
        let mut both = bundle("7", "both");
        let second = json!({ "system": "urn:oid:1.2.410.9", "value": "8" });
        both["entry"][0]["resource"]["identifier"].as_array_mut().unwrap().push(second);
        let response = harness.import(&both).await;
        assert_eq!(outcomes(&response), [Refused, Refused, Refused, Refused]);
        let reasons: Vec<&str> =
            response.entries.iter().map(|entry| entry.reason.as_str()).collect();
        let depends = "DEPENDS_ON_REFUSED";
        assert_eq!(reasons, ["CONTRADICTED", depends, depends, depends]);
        assert_eq!(harness.kept(), (2, 2, 2));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_stored_of_what_is_refused() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        // By what the entry says.
        let mut born_tomorrow = bundle("7", "한가람");
        born_tomorrow["entry"][0]["resource"]["birthDate"] = json!("2999-01-01");
        let response = harness.import(&born_tomorrow).await;
        assert_eq!(outcomes(&response), [Refused, Refused, Refused, Refused]);
        let problem = &response.entries[0].problems[0];
        assert_eq!(problem.path, "entry[0].resource.birthDate");
        assert!(!problem.description.contains("2999"), "{}", problem.description);
        // By what the records say.
        let response = harness.import(&bundle("7", "refuse me")).await;
        assert_eq!(outcomes(&response), [Refused, Refused, Refused, Refused]);
        let entry = &response.entries[0];
        assert_eq!(entry.reason, "INVALID_FIELDS");
        assert_eq!(entry.problems[0].path, "entry[0].resource");
        assert_eq!(entry.problems[0].description, "patient.name: something else");
        assert_eq!(harness.kept(), (0, 0, 0));
        // One entry; the others stay.
        let mut one_wrong = bundle("7", "한가람");
        one_wrong["entry"][1]["resource"]["resourceType"] = json!("ImagingSelection");
        let response = harness.import(&one_wrong).await;
        assert_eq!(outcomes(&response), [Created, Refused, Created, Created]);
        assert_eq!(response.entries[1].reason, "RESOURCE_UNKNOWN");
        assert_eq!(response.entries[1].resource_type, "");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn bodies_that_cannot_be_used_are_refused_as_a_whole() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let whole = bundle("7", "한가람").to_string();
        let deep = "[".repeat(1_000_000);
        let nan = whole.replace("\"1990-02-28\"", "NaN");
        let twice = whole.replace("\"birthDate\"", "\"name\"");
        let table = [
            ("empty", ""),
            ("truncated", &whole[..whole.len() - 5]),
            ("another resource", r#"{"resourceType":"Patient"}"#),
            ("deep", &deep),
            ("not a number", &nan),
            ("a member twice", &twice),
        ];
        for (case, text) in table {
            let sent = harness.send(text.as_bytes(), false).await;
            assert_refused(sent, Code::InvalidArgument, "BUNDLE_UNREADABLE", case);
        }
        let header = || Content::Header(ImportBundleHeader::default());
        let piece = |bytes: usize| Content::Piece(vec![b' '; bytes]);
        let hundred_mib: Vec<Content> =
            std::iter::once(header()).chain((0..100).map(|_| piece(1024 * 1024))).collect();
        let table = [
            ("no header", vec![piece(1)]),
            ("nothing", Vec::new()),
            ("header twice", vec![header(), header()]),
            ("empty piece", vec![header(), piece(0)]),
            ("large piece", vec![header(), piece(1024 * 1024 + 1)]),
            ("100 MiB", hundred_mib),
        ];
        for (case, contents) in table {
            let sent = harness.send_contents(contents).await;
            assert_refused(sent, Code::InvalidArgument, "INVALID_FIELDS", case);
        }
        assert_eq!(harness.kept(), (0, 0, 0));
        harness.stop().await?;
    }
    Ok(())
}

/// A hospital, as its three resources.
fn hospital(name: &str) -> Vec<Value> {
    vec![
        json!({ "fullUrl": "https://a.invalid/Organization/new-1", "resource": {
            "resourceType": "Organization", "id": "new-1", "name": name,
            "address": [{ "city": "Sampleville" }],
        }}),
        json!({ "fullUrl": "https://a.invalid/Location/new-1", "resource": {
            "resourceType": "Location", "id": "new-1", "status": "active",
            "position": { "latitude": 37.5, "longitude": 127 },
            "managingOrganization": { "reference": "Organization/new-1" },
        }}),
        json!({ "fullUrl": "https://a.invalid/HealthcareService/new-1", "resource": {
            "resourceType": "HealthcareService", "id": "new-1",
            "providedBy": { "reference": "Organization/new-1" },
            "extension": [{ "url": "urn:neurotriage:capacity", "valueDecimal": 0.5 }],
        }}),
    ]
}

#[tokio::test]
async fn hospitals_of_a_bundle_go_to_the_directory() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let store = SqlReferralStore::new(ledger(&harness.db.db));
        let mut mixed = bundle("7", "한가람");
        let entries = mixed["entry"].as_array_mut().unwrap();
        entries.extend(hospital("New (fictional)"));
        let before = store.snapshot().await?.hospitals().len();
        let dry = harness.send(mixed.to_string().as_bytes(), true).await?;
        assert_eq!(outcomes(&dry)[4..], [Created, Created, Created]);
        assert_eq!(store.snapshot().await?.hospitals().len(), before);
        let response = harness.import(&mixed).await;
        assert_eq!(outcomes(&response), [Created; 7]);
        assert_eq!(response.entries[4].record_id, "new-1");
        assert_eq!(store.snapshot().await?.hospitals().len(), before + 1);
        let again = harness.import(&mixed).await;
        assert_eq!(outcomes(&again), [Unchanged; 7]);
        mixed["entry"][4]["resource"]["name"] = json!("Renamed (fictional)");
        let changed = harness.import(&mixed).await;
        assert_eq!(outcomes(&changed)[4..], [Updated, Updated, Updated]);
        mixed["entry"][5]["resource"]["position"]["latitude"] = json!(137.5);
        let wrong = harness.import(&mixed).await;
        assert_eq!(outcomes(&wrong)[4..], [Refused, Refused, Refused]);
        assert_eq!(wrong.entries[5].problems[0].path, "entry[5].resource.position");
        assert_eq!(wrong.entries[4].reason, "DEPENDS_ON_REFUSED");

        // An organization by itself is a party that a resource names.
        mixed["entry"].as_array_mut().unwrap().truncate(5);
        let party = harness.import(&mixed).await;
        assert_eq!(outcomes(&party)[4], PassedOver);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hospital_keeps_what_it_has_while_an_entry_of_it_is_refused() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let store = SqlReferralStore::new(ledger(&harness.db.db));
        let mut sent =
            json!({ "resourceType": "Bundle", "type": "searchset", "entry": hospital("New") });
        let entries = sent["entry"].as_array_mut().unwrap();
        let mut second = entries[2].clone();
        second["fullUrl"] = json!("https://a.invalid/HealthcareService/new-2");
        second["resource"]["id"] = json!("new-2");
        let stroke = json!({ "system": "urn:neurotriage:capability", "code": "stroke" });
        second["resource"]["type"] = json!([{ "coding": [stroke] }]);
        entries.push(second);
        assert_eq!(outcomes(&harness.import(&sent).await), [Created; 4]);
        let before = store.snapshot().await?;

        // (what the row is for, pointer below the second service, value)
        let table = [
            ("modifier", "/resource/modifierExtension", json!([{ "url": "urn:x" }])),
            ("rules", "/resource/implicitRules", json!("urn:x")),
            ("entry", "/modifierExtension", json!([{ "url": "urn:x" }])),
            ("mode", "/search", json!({ "mode": "secret" })),
            ("shape", "/resource/type", json!(7)),
        ];
        for (case, pointer, value) in table {
            let mut wrong = sent.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            wrong["entry"][3].pointer_mut(parent).unwrap()[name] = value;
            wrong["entry"][0]["resource"]["name"] = json!("Renamed");
            for dry_run in [true, false] {
                let response = harness.send(wrong.to_string().as_bytes(), dry_run).await?;
                let depends = "DEPENDS_ON_REFUSED";
                let reasons: Vec<&str> =
                    response.entries.iter().map(|entry| entry.reason.as_str()).collect();
                let reasons_wanted = [depends, depends, depends, "ELEMENTS_WRONG"];
                assert_eq!(reasons, reasons_wanted, "case: {case}");
            }
            let after = store.snapshot().await?;
            assert_eq!(after.hospitals(), before.hospitals(), "case: {case}");
            // With its organization alone it is no party either.
            let entries = wrong["entry"].as_array_mut().unwrap();
            entries.drain(1..3);
            let response = harness.import(&wrong).await;
            assert_eq!(outcomes(&response), [Refused, Refused], "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_rights_on_the_directory_only_its_entries_are_refused() -> anyhow::Result<()> {
    for harness in Harness::all().await? {
        let others = harness.others.clone();
        let sources = GrpcSources::new(others.clone(), others.clone(), others);
        let store = SqlReferralStore::new(ledger(&harness.db.db));
        let revision = store.snapshot().await?.revision;
        let mut mixed = bundle("7", "한가람");
        mixed["entry"].as_array_mut().unwrap().extend(hospital("New (fictional)"));
        let now = OffsetDateTime::now_utc();
        let import = neurotriage_fhir::import::read(mixed.to_string().as_bytes(), now)?;
        let tenant: HospitalId = "hospital-1".parse()?;
        let request = ImportRequest { tenant, may_change_hospitals: false, dry_run: false };
        let results = bring_in(&store, &sources, &request, import).await?;
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(reason, _) if reason == "SCOPE_MISSING");
        assert!(results[4..].iter().all(|result| refused(&result.outcome)));
        assert!(results[..4].iter().all(|result| matches!(result.outcome, Outcome::Created(_))));
        assert_eq!(store.snapshot().await?.revision, revision);
        assert_eq!(harness.kept(), (1, 1, 1));
        harness.stop().await?;
    }
    Ok(())
}
