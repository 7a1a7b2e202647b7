//! The example in Python against the four services in one process: what a hospital's system does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Stdio, time::Duration};

use neurotriage::{
    phantom,
    suite::{Ports, Suite, SuiteModel},
};
use neurotriage_network::DeviceChoice;
use neurotriage_segmentation::StartModel;
use tokio::{process::Command, time::timeout};

/// Longest that the example may take: it makes its clients and waits for the network.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_system_in_python_gets_its_report() {
    let Ok(python) = std::env::var("NEUROTRIAGE_PYTHON") else {
        eprintln!(
            "skipped: set NEUROTRIAGE_PYTHON to a python with examples/python/requirements.txt"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let case = phantom::write_default(folder.path()).unwrap();
    let start = StartModel::named(None).unwrap();
    let model = SuiteModel { start, device: DeviceChoice::Cpu, training: None };
    let suite = Suite::start(&folder.path().join("data"), Ports::Free, model).await.unwrap();
    let endpoints = suite.endpoints().clone();
    let host = |endpoint: &str| endpoint.trim_start_matches("http://").to_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = |case: &Path, symptoms: &str| {
        let mut command = Command::new(&python);
        command
            .arg(root.join("examples/python/diagnose_patient.py"))
            .arg("--case")
            .arg(case)
            .args(["--symptoms", symptoms])
            .args(["--records", &host(&endpoints.records)])
            .args(["--ingestion", &host(&endpoints.ingestion)])
            .args(["--referral", &host(&endpoints.referral)])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    };

    let symptoms = "Weakness of the right arm, 점점 심해진다. No seizures. Purple elephants.";
    let ended = timeout(PATIENCE, example(&case, symptoms).output()).await.unwrap().unwrap();
    let (report, told) =
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{told}");
    for line in [
        "Not a medical device",
        "Symptoms, image",
        "Hospitals",
        "seizure",
        "not understood: Purple elephants",
        "  1. ",
    ] {
        assert!(report.to_lowercase().contains(&line.to_lowercase()), "no `{line}` in:\n{report}");
    }
    assert!(told.contains("registered patient"), "{told}");

    // What is wrong is told by its stable reason and its field, and nothing of the text is repeated.
    let wrong = timeout(PATIENCE, example(&case, "\u{1}secret").output()).await.unwrap().unwrap();
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(!wrong.status.success());
    assert!(told.contains("INVALID_FIELDS") && told.contains("text:"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    suite.stop().await.unwrap();
}
