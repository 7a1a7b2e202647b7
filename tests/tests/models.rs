//! The models of a running segmentation service, through the real command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Output};

use neurotriage::phantom;
use neurotriage_network::{CARD_FILE, ModelCard, WEIGHTS_FILE};
use neurotriage_tests::{
    programs::neurotriage,
    segmentation::{SegmentationGround, write_model, write_tiny_model},
    stored::files_under,
};

/// Largest file of a service on a disk that is nearly full, in KiB: enough for its rows.
const FILE_KIB_MAX: u32 = 1024;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_imported_exported_and_evaluated_by_its_id() {
    let ground = SegmentationGround::new().await.unwrap();
    let server = ground.start().await.unwrap();
    let path = |name: &str| ground.folder().join(name);
    let (sent, got) = (path("sent"), path("got"));
    let model = |arguments: &[&str]| {
        neurotriage(&[&["model", "--endpoint", ground.endpoint()], arguments].concat()).unwrap()
    };
    write_tiny_model(&sent, "tiny-1", 1).unwrap();
    succeeded(&model(&["import", text(&sent)]));

    let told = succeeded(&model(&["export", "tiny-1", "--out", text(&got)]));
    assert!(told.contains(text(&got.join(WEIGHTS_FILE))), "{told}");
    for name in [CARD_FILE, WEIGHTS_FILE] {
        assert!(fs::read(sent.join(name)).unwrap() == fs::read(got.join(name)).unwrap(), "{name}");
    }
    succeeded(&model(&["export", "tiny-1", "--out", text(&got)]));

    // The model of the program has another name, and may not take the folder.
    let listed = succeeded(&model(&["list"]));
    let built_in = listed.lines().next().unwrap().split_whitespace().nth(1).unwrap();
    let refused = model(&["export", built_in, "--out", text(&got)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("holds another model"), "{}", said(&refused));
    let default = path("default");
    succeeded(&model(&["export", built_in, "--out", text(&default)]));
    let card = ModelCard::from_json(&fs::read(default.join(CARD_FILE)).unwrap()).unwrap();
    card.check_weights(&fs::read(default.join(WEIGHTS_FILE)).unwrap()).unwrap();

    let cases = path("cases");
    phantom::write_default(&cases).unwrap();
    let json = path("scores.json");
    let evaluate = |model_id: &str, endpoint: &str| {
        let (cases, json) = (text(&cases), text(&json));
        let of_model = ["evaluate", "--model", model_id, "--endpoint", endpoint];
        let of_cases = ["--cases", cases, "--json", json, "--device", "cpu"];
        neurotriage(&[&of_model[..], &of_cases].concat()).unwrap()
    };
    succeeded(&evaluate("tiny-1", ground.endpoint()));
    let scores: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(scores["model"], "tiny-1");
    assert_eq!(scores["cases"].as_array().unwrap().len(), 1);

    // (what the row is for, model, endpoint, phrases of the error)
    let table = [
        ("unknown", "tiny-2", ground.endpoint(), vec!["no folder here", "MODEL_NOT_FOUND"]),
        ("no service", "tiny-1", "http://127.0.0.1:1", vec!["no folder here", "--endpoint"]),
        ("no id", "models/tiny-1", ground.endpoint(), vec!["model.safetensors and card.json"]),
    ];
    for (case, model_id, endpoint, phrases) in table {
        let output = evaluate(model_id, endpoint);
        assert_eq!(output.status.code(), Some(1), "case: {case}");
        for phrase in phrases {
            assert!(said(&output).contains(phrase), "case: {case}: {}", said(&output));
        }
    }
    server.terminate().await.unwrap();
    assert_eq!(server.exit_code().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_finds_the_disk_full_leaves_nothing_and_the_service_goes_on() {
    let ground = SegmentationGround::new().await.unwrap();
    let server = ground.start_with_small_files(FILE_KIB_MAX).await.unwrap();
    let model = |arguments: &[&str]| {
        neurotriage(&[&["model", "--endpoint", ground.endpoint()], arguments].concat()).unwrap()
    };
    let (large, small) = (ground.folder().join("large"), ground.folder().join("small"));
    write_model(&large, "large-1", 1, &[4, 192]).unwrap();
    write_tiny_model(&small, "small-1", 1).unwrap();
    let size_bytes = fs::metadata(large.join(WEIGHTS_FILE)).unwrap().len();
    assert!(size_bytes > u64::from(FILE_KIB_MAX) * 1024, "{size_bytes} bytes");
    let before = succeeded(&model(&["list"]));
    assert!(before.starts_with("* ") && before.lines().count() == 1, "{before}");

    let refused = model(&["import", text(&large)]);
    assert_eq!(refused.status.code(), Some(1));
    for phrase in ["no room", "make room", "BLOB_STORE_FULL"] {
        assert!(said(&refused).contains(phrase), "{phrase}: {}", said(&refused));
    }
    assert!(!said(&refused).contains(text(ground.folder().join("blobs").as_path())));
    assert_eq!(succeeded(&model(&["list"])), before, "listed in part");
    assert_eq!(files_under(&ground.folder().join("blobs")).unwrap(), 0, "a part is left");

    succeeded(&model(&["import", text(&small)]));
    server.terminate().await.unwrap();
    assert_eq!(server.exit_code().await.unwrap(), 0);
    let server = ground.start().await.unwrap();
    succeeded(&model(&["import", text(&large)]));
    succeeded(&model(&["load", "large-1"]));
    let listed = succeeded(&model(&["list"]));
    assert!(listed.starts_with(before.split("  ").next().unwrap()), "{listed}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    server.terminate().await.unwrap();
    assert_eq!(server.exit_code().await.unwrap(), 0);
}

#[test]
fn trained_models_become_one_with_several_members_without_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, second, both) = (path("first"), path("second"), path("both"));
    write_tiny_model(&first, "tiny-1", 1).unwrap();
    write_tiny_model(&second, "tiny-2", 2).unwrap();
    let combine = |name: &str, out: &Path, folders: [&Path; 2]| {
        let [one, other] = folders.map(text);
        let out = text(out);
        neurotriage(&["model", "combine", "--name", name, "--out", out, one, other]).unwrap()
    };
    let told = succeeded(&combine("tiny-pair", &both, [&first, &second]));
    assert!(told.starts_with("tiny-pair: 2 members"), "{told}");
    let card = ModelCard::from_json(&fs::read(both.join(CARD_FILE)).unwrap()).unwrap();
    assert_eq!((card.members, card.provenance.name.as_str()), (2, "tiny-pair"));
    card.check_weights(&fs::read(both.join(WEIGHTS_FILE)).unwrap()).unwrap();

    let new = path("new");
    // (what the row is for, name, out, folders, phrase of the error)
    let table = [
        ("a folder with a model", "tiny-pair", &both, [&first, &second], "is there already"),
        ("named twice", "tiny-pair", &new, [&first, &first], "name each model once"),
        ("no model", "tiny-pair", &new, [&first, &path("absent")], "absent"),
        ("a name that is none", "tiny pair", &new, [&first, &second], "--name"),
    ];
    for (case, name, out, [one, other], phrase) in table {
        let refused = combine(name, out, [one, other]);
        assert!(!refused.status.success(), "case: {case}");
        assert!(said(&refused).contains(phrase), "case: {case}: {}", said(&refused));
        assert!(!new.exists(), "case: {case}");
    }
}
