//! `neurotriage fhir export` and `import`: a patient's story from one suite into another.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use neurotriage_tests::programs::program;

use crate::{
    bundles::{self, RIGHT, findings, numbers, texts, told},
    patients::{self, NOTE, NUMBER},
    suite::Suite,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_story_comes_into_another_suite_as_it_was_told() {
    let (here, there) = (Suite::start().await, Suite::start().await);
    let patient_id = patients::admit(&mut here.records().await).await;
    let (sent, back) = (here.file("story.json"), there.file("story.json"));
    assert_eq!(here.export(&patient_id, &sent).well(), "");
    there.import(&sent, &[]).well();
    let ids = patients::all(&mut there.records().await).await;
    let [id] = &ids[..] else { panic!("{} patients", ids.len()) };
    assert_ne!(*id, patient_id);
    assert_eq!(there.export(id, &back).well(), "");

    let (sent, back) = (bundles::read(&sent), bundles::read(&back));
    assert_eq!(told(&back), told(&sent));
    // What is the same is not nothing.
    assert_eq!(numbers(&back), [NUMBER, "가-7"]);
    let expected = [
        ("HP:0000103", "", true, "gradual"),
        ("HP:0001250", "", false, ""),
        ("HP:0001250", "", false, ""),
        ("HP:0001269", RIGHT, true, "sudden"),
        ("HP:0002315", "", true, ""),
    ];
    assert_eq!(findings(&back), expected);
    assert!(texts(&back).contains(&NOTE), "{:?}", texts(&back));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_stores_nothing_and_a_bundle_is_stored_once() {
    let (here, there) = (Suite::start().await, Suite::start().await);
    let patient_id = patients::admit(&mut here.records().await).await;
    let story = here.file("story.json");
    here.export(&patient_id, &story).well();
    let entries = bundles::brought_in(&bundles::read(&story));
    let passed_over = |said: &str| {
        ["Device", "Provenance"]
            .iter()
            .all(|kind| said.contains(&format!("passed over: 1 {kind}: resources of this kind")))
    };
    let created =
        format!("{entries} entries created, 0 changed, 0 known, 0 refused, 2 passed over\n");

    let empty = there.kept().await;
    let said = there.import(&story, &["--dry-run"]).well();
    assert!(said.starts_with(&format!("nothing was written; it would be: {created}")), "{said}");
    assert!(passed_over(&said), "{said}");
    assert_eq!(there.kept().await, empty);
    assert!(patients::all(&mut there.records().await).await.is_empty());

    let said = there.import(&story, &[]).well();
    assert!(said.starts_with(&created) && passed_over(&said), "{said}");
    let stored = there.kept().await;
    assert_ne!(stored, empty);
    let said = there.import(&story, &[]).well();
    let known =
        format!("0 entries created, 0 changed, {entries} known, 0 refused, 2 passed over\n");
    assert!(said.starts_with(&known), "{said}");
    assert_eq!(there.kept().await, stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_a_story_goes_to_stdout_and_parts_narrow_it() {
    let suite = Suite::start().await;
    let patient_id = patients::admit(&mut suite.records().await).await;
    let said = suite.fhir(&["export", &patient_id, "--parts", "notes"]).well();
    let bundle = serde_json::from_str(&said).unwrap();
    assert_eq!((texts(&bundle), findings(&bundle).len()), (vec![NOTE], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_for_those_whom_the_caller_lets_read_new_files() {
    let suite = Suite::start().await;
    let patient_id = patients::admit(&mut suite.records().await).await;
    let file = suite.file("story.json");
    let endpoint = suite.referral();
    // (umask of the caller, mode of the file)
    for (umask, mode) in [("077", 0o600), ("027", 0o640), ("022", 0o644)] {
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let ended = Command::new("sh")
            .args(["-c", &script])
            .arg(program("neurotriage").unwrap())
            .args(["fhir", "--endpoint", endpoint, "export", &patient_id, "-o"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let permissions = fs::metadata(&file).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "umask {umask}");
    }
}
