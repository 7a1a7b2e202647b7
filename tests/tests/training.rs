//! Training in a running segmentation service, through the real command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use neurotriage_tests::{
    programs::{neurotriage, program},
    segmentation::SegmentationGround,
};

/// More steps than any test waits for.
const ENDLESS: u64 = 1_000_000;

/// Longest wait for a run to move on.
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes a training file of a tiny network that learns from phantoms.
fn write_file(ground: &SegmentationGround, name: &str, steps_max: u64) -> PathBuf {
    let text = format!(
        r#"
[model]
name = "{name}"
data = "phantoms"
licence = "CC0-1.0"

[train]
threads = 1
steps_max = {steps_max}
max_minutes = 0.0
log_steps = 1
checkpoint_minutes = 0.0
checkpoint_steps = 5
validate_minutes = 0.0

[train.network]
architecture = "residual"
in_channels = 4
out_channels = 3
widths = [4, 8]
stem_stride = 2
deep_supervision = false
dropout = []

[data.mix]
patch = [32, 32, 32]
"#
    );
    let path = ground.folder().join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

async fn ground() -> SegmentationGround {
    let mut ground = SegmentationGround::new().await.unwrap();
    ground.set("TRAINING_FOLDER", ground.folder().join("runs").display().to_string());
    ground
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks for a run until there is a place for it: a moment after the end of the one before is told.
fn when_free(ask: impl Fn() -> Output) -> String {
    let began = Instant::now();
    loop {
        let output = ask();
        if output.status.success() {
            return told(&output);
        }
        assert!(said(&output).contains("TRAINING_RUNS_MAX"), "{}", said(&output));
        assert!(began.elapsed() < PATIENCE, "the place is not free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_left_found_cancelled_and_resumed_by_command() {
    let ground = ground().await;
    let server = ground.start().await.unwrap();
    let endpoint = ground.endpoint();
    let training = |arguments: &[&str]| {
        neurotriage(&[&["training", "--endpoint", endpoint], arguments].concat()).unwrap()
    };
    assert_eq!(told(&training(&["list"])), "no run was started\n");

    // Ctrl-C leaves the run to the service.
    let mut watching = Command::new(program("neurotriage").unwrap())
        .args(["train", "--endpoint", endpoint, "--config"])
        .arg(write_file(&ground, "long-1", ENDLESS))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stderr.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let id = first.trim().strip_prefix("training run ").unwrap();
    let mut line = String::new();
    while !line.contains(" % step ") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "no step was told");
    }
    let interrupt = ["-INT", &watching.id().to_string()];
    assert!(Command::new("kill").args(interrupt).status().unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(watching.wait().unwrap().success(), "{rest}");
    for action in ["watch", "cancel"] {
        let command = format!("neurotriage training {action} {id} --endpoint {endpoint}");
        assert!(rest.contains(&command), "{rest}");
    }

    let listed = told(&training(&["list"]));
    assert!(listed.contains(id) && listed.contains("running"), "{listed}");
    told(&training(&["cancel", id]));
    let ended = training(&["watch", id]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended).contains("cancelled") && said(&ended).contains("training resume"));
    let shown = told(&training(&["show", id]));
    assert!(shown.contains("cancelled") && shown.contains("steps_max = 1000000"), "{shown}");

    let resumed = when_free(|| training(&["resume", id]));
    assert!(resumed.contains(&format!("next: neurotriage training watch {id}")), "{resumed}");
    told(&training(&["cancel", id]));
    assert_eq!(training(&["watch", id]).status.code(), Some(1));

    let short = write_file(&ground, "short-1", 2);
    let arguments = ["train", "--endpoint", endpoint, "--config", short.to_str().unwrap()];
    let trained = when_free(|| neurotriage(&arguments).unwrap());
    assert!(trained.starts_with("short-1\n"), "{trained}");
    let listed = told(&training(&["list"]));
    let newest = listed.lines().next().unwrap();
    assert!(newest.contains("succeeded") && newest.ends_with("short-1"), "{listed}");

    let unknown = training(&["show", "0190a0a0-0000-7000-8000-000000000000"]);
    assert!(said(&unknown).contains("TRAINING_NOT_FOUND"), "{}", said(&unknown));
    server.terminate().await.unwrap();
    assert_eq!(server.exit_code().await.unwrap(), 0);
}
