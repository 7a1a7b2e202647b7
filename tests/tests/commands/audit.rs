//! `neurotriage records verify-audit` and `checkpoint-audit`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use neurotriage_migrations::referral;
use neurotriage_service_kit::audit::{audit_entry_row, audit_head_row, audit_hospital_row};
use neurotriage_testkit::TestDb;
use sea_orm::EntityTrait as _;
use secrecy::ExposeSecret as _;

use crate::{
    clinic::{Chain, Clinic},
    patients::{self, Client},
    run,
};

/// Registers a patient and reads their record: more than three entries of one chain.
async fn admit(client: &mut Client) -> String {
    let patient_id = patients::admit(client).await;
    patients::read(client, &patient_id).await;
    patient_id
}

fn verified(entries: u64, checkpoints: usize) -> String {
    format!("{entries} entries in 64 chains verified, {checkpoints} checkpoints compared\n")
}

/// What stands on stderr of one chain that is broken.
const BROKEN: &str = "neurotriage: audit is broken in 1 of 64 chains, or these are not the keys of this database; keep \
                      the database as it is and find out who changed it\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_intact_audit_is_counted_and_left_as_it_is() {
    for clinic in Clinic::all().await {
        clinic.serve(admit).await;
        let entries = clinic.entries().await;
        assert!(entries > 3, "{entries}");
        for _ in 0..2 {
            assert_eq!(clinic.operate(&["verify-audit"]).well(), verified(entries, 0));
        }
        assert_eq!(clinic.entries().await, entries);
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_altered_or_removed_is_named_with_its_chain() {
    // (what somebody did to the database, what is said of the chain)
    let table = [
        (
            "UPDATE audit_entry SET actor = 'nobody' WHERE {c} AND sequence = 2",
            "row 2 was altered: its content",
        ),
        ("DELETE FROM audit_entry WHERE {c} AND sequence = 3", "rows 3 to 3 were removed"),
    ];
    for clinic in Clinic::all().await {
        let patient_id = clinic.serve(admit).await;
        let chain = Chain::of(&clinic, &patient_id).await;
        for (statement, why) in table {
            chain.tamper(&clinic, statement).await;
            let (said, told) = clinic.operate(&["verify-audit"]).badly();
            let line = format!("BROKEN {}: {why}\n", chain.name());
            assert!(said.ends_with(&line) && said.lines().count() == 2, "{line}{said}");
            assert_eq!(told, BROKEN);
            chain.put_back(&clinic).await;
        }
        let entries = clinic.entries().await;
        assert_eq!(clinic.operate(&["verify-audit"]).well(), verified(entries, 0));
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_cut_off_shows_in_a_checkpoint_kept_elsewhere() {
    for clinic in Clinic::all().await {
        let patient_id = clinic.serve(admit).await;
        let older = Chain::of(&clinic, &patient_id).await;
        clinic.serve(async |client| patients::read(client, &patient_id).await).await;
        let newer = Chain::of(&clinic, &patient_id).await;
        let kept = clinic.file("checkpoints.txt");
        let line = clinic.operate(&["checkpoint-audit"]).well();
        let number = line.split(' ').nth(2).unwrap();
        fs::write(&kept, &line).unwrap();
        let compare = ["verify-audit", "--checkpoints", kept.to_str().unwrap()];
        assert_eq!(clinic.operate(&compare).well(), verified(clinic.entries().await, 1));

        // With the head of before, the database itself is without a fault.
        older.put_back(&clinic).await;
        let entries = clinic.entries().await;
        assert_eq!(clinic.operate(&["verify-audit"]).well(), verified(entries, 0));
        let (said, told) = clinic.operate(&compare).badly();
        let (first, last) = (older.head.sequence + 1, newer.head.sequence);
        let line = format!(
            "BROKEN {}: rows {first} to {last} were removed from the end; checkpoint {number} knows of them\n",
            older.name()
        );
        assert!(said.ends_with(&line), "{line}{said}");
        assert_eq!(told, BROKEN);
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_its_audit_is_not_taken_for_an_intact_one() {
    for clinic in Clinic::all().await {
        clinic.serve(admit).await;
        let kept = clinic.file("checkpoints.txt");
        fs::write(&kept, clinic.operate(&["checkpoint-audit"]).well()).unwrap();
        let db = clinic.owned();
        audit_entry_row::Entity::delete_many().exec(db).await.unwrap();
        audit_head_row::Entity::delete_many().exec(db).await.unwrap();
        audit_hospital_row::Entity::delete_many().exec(db).await.unwrap();
        for action in ["verify-audit", "checkpoint-audit"] {
            let (said, told) = clinic.operate(&[action]).badly();
            assert_eq!(said, "");
            assert!(told.contains("no hospital has an audit in this database"), "{told}");
        }
        for known_by in [
            ["verify-audit", "--checkpoints", kept.to_str().unwrap()],
            ["verify-audit", "--hospital", crate::clinic::HOSPITAL],
        ] {
            let (_, told) = clinic.operate(&known_by).badly();
            assert!(told.contains("audit is broken"), "{told}");
        }
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_stands_beside_the_checkpoints_and_not_among_them() {
    for clinic in Clinic::all().await {
        clinic.serve(admit).await;
        fs::set_permissions(clinic.keys(), fs::Permissions::from_mode(0o644)).unwrap();
        let ended = clinic.operate(&["checkpoint-audit"]);
        assert_eq!(ended.code, Some(0), "{}", ended.told);
        assert!(ended.told.contains("keyring file has mode 0644; give it 0400"), "{}", ended.told);
        let of_checkpoints = |line: &str| line.starts_with("c1 ");
        assert!(ended.said.lines().all(of_checkpoints), "{}", ended.said);
        let kept = clinic.file("checkpoints.txt");
        fs::write(&kept, &ended.said).unwrap();
        fs::set_permissions(clinic.keys(), fs::Permissions::from_mode(0o600)).unwrap();
        clinic.operate(&["verify-audit", "--checkpoints", kept.to_str().unwrap()]).well();
        clinic.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_told_in_one_line() {
    let clinics = Clinic::all().await;
    let clinic = &clinics[0];
    clinic.serve(admit).await;
    let other = TestDb::sqlite::<referral::Migrator>().await.unwrap();
    let (missing, garbage) = (clinic.file("missing.sqlite"), clinic.file("garbage.txt"));
    fs::write(&garbage, "c1 Quillfeather 1 2 3 4\n").unwrap();
    let (missing_url, other_url) =
        (format!("sqlite://{}", missing.display()), other.url.expose_secret());
    let (missing_keys, garbage) = (missing.to_str().unwrap(), garbage.to_str().unwrap());
    // (what the row is for, more arguments, phrase)
    let table = [
        ("no database", ["--database-url", missing_url.as_str()], "there is no database"),
        ("of another kind", ["--database-url", "mysql://app:hunter2@db/x"], "of an unknown kind"),
        ("another service's", ["--database-url", other_url], "not a database of the records"),
        ("no keys", ["--keyring-file", missing_keys], "read keyring"),
        ("no checkpoints", ["--checkpoints", missing_keys], "read checkpoints"),
        ("something else", ["--checkpoints", garbage], "line 1 of the checkpoints can't be used"),
    ];
    for (case, more, phrase) in table {
        let (said, told) = clinic.operate(&[&["verify-audit"][..], &more].concat()).badly();
        assert!(said.is_empty() && told.contains(phrase), "case: {case}: {said}{told}");
        let secret = ["hunter2", "Quillfeather"].into_iter().find(|secret| told.contains(secret));
        assert_eq!(secret, None, "case: {case}: {told}");
    }
    assert!(!missing.exists(), "a database was made");
    other.drop().await.unwrap();
    for clinic in clinics {
        clinic.remove().await;
    }
}

#[test]
fn database_and_keys_must_be_named() {
    for action in ["verify-audit", "checkpoint-audit", "rotate-keys"] {
        let told = run(&["records", action], &[]).wrongly_used();
        assert!(told.contains("--database-url"), "{told}");
        let told = run(&["records", action, "--database-url", "sqlite:///x"], &[]).wrongly_used();
        assert!(told.contains("--keyring-file"), "{told}");
    }
}
