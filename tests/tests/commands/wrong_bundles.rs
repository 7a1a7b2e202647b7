//! What goes wrong with `neurotriage fhir` is told in one line, without anything of a patient.

use std::{fs, path::Path};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Ended, bundles,
    patients::{self, BIRTH_DATE, NAME, NOTE, NUMBER},
    run,
    suite::Suite,
};

/// A day that has not come.
const TOMORROW: &str = "2987-06-05";

/// Returns what was said, and the one line that was told of a failure; neither holds anything of the patient.
fn discreet(ended: Ended) -> (String, String) {
    let (said, told) = ended.badly();
    for secret in NAME.split(' ').chain([BIRTH_DATE, TOMORROW, NUMBER, NOTE, "elephants"]) {
        assert!(!said.contains(secret) && !told.contains(secret), "{secret}: {said}{told}");
    }
    (said, told)
}

/// Writes the story of a patient into a file, and returns it.
async fn exported(suite: &Suite, file: &Path) -> Value {
    let patient_id = patients::admit(&mut suite.records().await).await;
    suite.export(&patient_id, file).well();
    bundles::read(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_bundle_is_refused_as_a_whole() {
    let suite = Suite::start().await;
    let file = suite.file("story.json");
    let whole = exported(&suite, &file).await.to_string();
    let kept = suite.kept().await;
    let patient = json!({ "resourceType": "Patient", "name": [{ "text": NAME }] }).to_string();
    let table = [
        ("empty", Vec::new()),
        ("text", format!("{NAME}, born {BIRTH_DATE}").into_bytes()),
        ("cut off", whole.as_bytes()[..whole.len() - 7].to_vec()),
        ("not UTF-8", [whole.as_bytes(), &[0xFF]].concat()),
        ("another resource", patient.into_bytes()),
    ];
    for (case, bytes) in table {
        fs::write(&file, bytes).unwrap();
        let (said, told) = discreet(suite.import(&file, &[]));
        assert!(said.is_empty() && told.contains("[BUNDLE_UNREADABLE]"), "{case}: {said}{told}");
        assert!(told.contains("import bundle: "), "{case}: {told}");
    }
    assert_eq!(suite.kept().await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_born_tomorrow_is_refused_by_the_path_and_stores_nothing() {
    let (here, there) = (Suite::start().await, Suite::start().await);
    let file = here.file("story.json");
    let mut bundle = exported(&here, &file).await;
    bundle["entry"][0]["resource"]["birthDate"] = json!(TOMORROW);
    fs::write(&file, bundle.to_string()).unwrap();
    let entries = bundles::brought_in(&bundle);
    let empty = there.kept().await;
    for more in [&["--dry-run"][..], &[]] {
        let (said, told) = discreet(there.import(&file, more));
        assert_eq!(told, format!("neurotriage: {entries} entries were refused\n"));
        let line = "refused (ELEMENTS_WRONG): entry[0].resource.birthDate: lies in the future; correct it\n";
        assert!(said.contains(line), "{said}");
        assert_eq!(there.kept().await, empty);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_entry_leaves_the_others() {
    let (here, there) = (Suite::start().await, Suite::start().await);
    let file = here.file("story.json");
    let mut bundle = exported(&here, &file).await;
    let others = bundles::brought_in(&bundle) - 1;
    let entries = bundle["entry"].as_array_mut().unwrap();
    let is_note = |entry: &Value| entry["resource"]["valueString"] == NOTE;
    let at = entries.iter().position(is_note).unwrap();
    entries[at]["resource"]["status"] = json!(NOTE);
    fs::write(&file, bundle.to_string()).unwrap();
    let (said, told) = discreet(there.import(&file, &[]));
    assert_eq!(told, "neurotriage: 1 entry was refused\n");
    assert!(said.starts_with(&format!("{others} entries created, ")), "{said}");
    assert!(said.contains(&format!("entry[{at}].resource.status: ")), "{said}");
    assert_eq!(patients::all(&mut there.records().await).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_named() {
    let mut suite = Suite::start().await;
    let file = suite.file("story.json");
    let patient_id = patients::admit(&mut suite.records().await).await;
    suite.export(&patient_id, &file).well();
    // Nobody listens there.
    let nowhere = ["--endpoint", "http://127.0.0.1:1"];
    let importing = ["import", file.to_str().unwrap()];
    for command in [&importing[..], &["export", &patient_id]] {
        let (said, told) = discreet(run(&[&["fhir"][..], &nowhere, command].concat(), &[]));
        let place = "ask the referral service at http://127.0.0.1:1 (--endpoint names another)";
        assert!(said.is_empty() && told.contains(place), "{said}{told}");
    }
    suite.end("records").await;
    for ended in [suite.import(&file, &[]), suite.fhir(&["export", &patient_id])] {
        let (said, told) = discreet(ended);
        assert!(said.is_empty(), "{said}");
        assert!(told.contains("records service does not answer"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_who_is_not_there_leaves_no_file() {
    let suite = Suite::start().await;
    let file = suite.file("story.json");
    let unknown = Uuid::now_v7().to_string();
    // (whom, what is told)
    for (patient_id, reason) in
        [(NUMBER, "[INVALID_FIELDS]"), (unknown.as_str(), "[PATIENT_NOT_FOUND]")]
    {
        let (said, told) = discreet(suite.export(patient_id, &file));
        assert!(said.is_empty() && told.contains(reason), "{said}{told}");
        assert!(!file.exists());
    }
    let (_, told) = discreet(suite.import(&file, &[]));
    assert!(told.contains("story.json"), "{told}");
}
