//! `neurotriage records new-keyring` and `rotate-keys`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    clinic::Clinic,
    patients::{self, NAME},
    run,
};

/// Returns the keys of a text that the command wrote, under another name and in that state.
fn named(text: &str, id: &str, state: &str) -> String {
    let renamed = |line: &str| {
        let parts: Vec<&str> = line.split(':').collect();
        let [key_use, _, _, secret] = parts[..] else { panic!("a line has not four parts") };
        format!("{key_use}:{id}:{state}:{secret}\n")
    };
    text.lines().map(renamed).collect()
}

#[test]
fn new_keys_are_for_their_owner_alone_and_replace_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.keys");
    let command = ["records", "new-keyring", file.to_str().unwrap()];
    let said = run(&command, &[]).well();
    let text = fs::read_to_string(&file).unwrap();
    let uses: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(uses, ["seal", "index", "audit"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secrets: Vec<&str> = text.lines().filter_map(|line| line.rsplit(':').next()).collect();
    assert!(!secrets.iter().any(|secret| said.contains(secret)), "{said}");

    let (said, told) = run(&command, &[]).badly();
    assert!(said.is_empty() && told.contains("is there already"), "{said}{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let nowhere = folder.path().join("nowhere/records.keys");
    let (_, told) = run(&["records", "new-keyring", nowhere.to_str().unwrap()], &[]).badly();
    assert!(told.contains("write new keyring"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something else was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_everything_is_read_without_the_old_keys() {
    for clinic in Clinic::all().await {
        let (patient_id, before) = clinic
            .serve(async |client| {
                let patient_id = patients::admit(client).await;
                let before = patients::read(client, &patient_id).await;
                (patient_id, before)
            })
            .await;
        let old = fs::read_to_string(clinic.keys()).unwrap();
        let new = clinic.new_keyring("new.keys");
        let id = old.split(':').nth(1).unwrap();
        let old = |state| named(&old, id, state);
        let new = |state| named(&new, "new", state);
        let use_keys = |text: String| fs::write(clinic.keys(), text).unwrap();

        // As docs/audit.md says it.
        use_keys(old("active") + &new("retired"));
        let read = clinic.serve(async |client| patients::read(client, &patient_id).await).await;
        assert_eq!(read, before);
        use_keys(new("active") + &old("retired"));
        clinic
            .serve(async |client| {
                let said = clinic.operate(&["verify-audit"]).well();
                let line = format!("WARNING audit key {id} signed heads and is not the active one");
                assert!(said.contains(&line), "{said}");
                // The patient, two reports and a note.
                for sealed in [4, 0] {
                    let said = clinic.operate(&["rotate-keys"]).well();
                    let line = format!("sealed {sealed} of 4 rows and signed the audit again\n");
                    assert!(said.starts_with(&line), "{said}");
                    assert!(said.contains("found nothing under a retired key"), "{said}");
                }
                assert_eq!(patients::read(client, &patient_id).await, before);
            })
            .await;
        use_keys(new("active"));
        clinic
            .serve(async |client| {
                assert_eq!(patients::read(client, &patient_id).await, before);
                assert_eq!(patients::by_number(client).await, [patient_id.as_str()]);
            })
            .await;
        let said = clinic.operate(&["verify-audit"]).well();
        let entries = clinic.entries().await;
        assert_eq!(
            said,
            format!("{entries} entries in 64 chains verified, 0 checkpoints compared\n")
        );
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_old_keys_a_rotation_changes_nothing() {
    for clinic in Clinic::all().await {
        let patient_id = clinic.serve(patients::admit).await;
        let entries = clinic.entries().await;
        let old = fs::read_to_string(clinic.keys()).unwrap();
        let new = clinic.new_keyring("new.keys");
        fs::write(clinic.keys(), named(&new, "new", "active")).unwrap();
        let (said, told) = clinic.operate(&["rotate-keys"]).badly();
        assert!(said.is_empty() && told.contains("key"), "{said}{told}");
        assert!(!told.contains(NAME), "{told}");
        let (_, told) = clinic.operate(&["verify-audit"]).badly();
        assert!(told.contains("or these are not the keys of this database"), "{told}");

        fs::write(clinic.keys(), &old).unwrap();
        assert_eq!(clinic.entries().await, entries);
        let read = clinic.serve(async |client| patients::read(client, &patient_id).await).await;
        assert_eq!(read.patient.name, NAME);
        clinic.operate(&["verify-audit"]).well();
        clinic.remove().await;
    }
}
