//! A run that is killed without warning, or that finds the disk full, goes on as if nothing had
//! happened.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use ndarray::{Array3, Array4};
use neurotriage_dataset::{DatasetError, Sample, SampleSource};
use neurotriage_network::{
    CHECKPOINT_FILE, DeviceChoice, METRICS_FILE, NetworkConfig, NetworkError, Provenance, Start,
    TrainConfig, TrainControl, TrainOutcome, TrainRun, ValidationCase, train,
};

/// Names the folder of a run in a process of its own.
const FOLDER: &str = "NEUROTRIAGE_TEST_RUN";
/// Tells such a run to go on.
const RESUME: &str = "NEUROTRIAGE_TEST_RESUME";
/// The test that such a process runs.
const CHILD: &str = "a_run_in_this_process_ends_with_a_model";

const STEPS: u64 = 12;
const SIDE: usize = 8;

/// A cube at a place that depends on the index.
struct Cubes;

fn cube(index: u64) -> Sample {
    let first = 1 + (index % 3) as usize;
    let labels = Array3::from_shape_fn((SIDE, SIDE, SIDE), |(x, y, z)| {
        let inside = [x, y, z].iter().all(|side| (first..first + 4).contains(side));
        if inside { 4 } else { 0 }
    });
    let image = Array4::from_shape_fn((4, SIDE, SIDE, SIDE), |(channel, x, y, z)| {
        let bright = f32::from(labels[[x, y, z]]);
        bright * (channel as f32 + 0.5) * 0.2 + ((x * 7 + y * 3 + z) % 5) as f32 * 0.1
    });
    Sample { image, labels, origin: "cube" }
}

impl SampleSource for Cubes {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        Ok(cube(index))
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        device: DeviceChoice::Cpu,
        threads: 1,
        batch: 2,
        accumulate: 2,
        steps_max: STEPS,
        max_minutes: 0.0,
        log_steps: 1,
        validate_minutes: 0.0,
        validate_steps: 4,
        patience: 3,
        checkpoint_minutes: 0.0,
        checkpoint_steps: 3,
        network: NetworkConfig { dropout: vec![0.2, 0.0], ..NetworkConfig::residual(&[4, 6]) },
        ..TrainConfig::default()
    }
}

/// Trains in this process; `halt_at` waits there for an end from outside.
fn run(folder: &Path, start: Start, halt_at: u64) -> Result<TrainOutcome, NetworkError> {
    let source: Arc<dyn SampleSource> = Arc::new(Cubes);
    let held_out = cube(7);
    let case =
        ValidationCase { name: "cube".into(), image: held_out.image, labels: held_out.labels };
    let run = TrainRun {
        folder: folder.to_owned(),
        start,
        provenance: Provenance::default(),
        profile: "whole/1".to_owned(),
    };
    train(&config(), &source, &[case], &run, &TrainControl::default(), &mut |at| {
        if at.step == halt_at {
            println!("halted");
            // Ends with this process, or when the other side hangs up.
            let _ = std::io::stdin().read(&mut [0]);
        }
    })
}

/// Starts [`CHILD`] in a process of its own.
fn child(folder: &Path, shell: Option<&str>) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match shell {
        None => Command::new(program),
        Some(script) => {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(program);
            command
        }
    };
    command.args(["--exact", CHILD, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command
}

#[test]
fn a_run_in_this_process_ends_with_a_model() {
    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(FOLDER).map_or_else(|| own.path().to_owned(), Into::into);
    let halt_at = if std::env::var_os(FOLDER).is_some() { 8 } else { u64::MAX };
    let start = if std::env::var_os(RESUME).is_some() { Start::Resume } else { Start::Fresh };
    let outcome = run(&folder, start, halt_at);
    if let Err(error) = &outcome {
        println!("failed: {error}: {}", std::error::Error::source(error).unwrap());
    }
    assert_eq!(outcome.unwrap().card.steps % 4, 0, "the best model is of a validation");
    assert!(folder.join("model.safetensors").exists());
}

#[test]
fn a_run_killed_after_a_checkpoint_ends_as_an_unbroken_one() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let unbroken = run(whole.path(), Start::Fresh, u64::MAX).unwrap();

    let mut process = child(killed.path(), None)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let halted = output.lines().map_while(Result::ok).any(|line| line.contains("halted"));
    assert!(halted, "the run never came to step 8");
    process.kill().unwrap(); // SIGKILL: nothing is written after it
    process.wait().unwrap();
    let log = fs::read_to_string(killed.path().join(METRICS_FILE)).unwrap();
    assert!(log.contains("\"step\":8"), "the log is ahead of the checkpoint at step 6");

    let resumed = run(killed.path(), Start::Resume, u64::MAX).unwrap();
    assert_eq!(resumed.card.weights_sha256, unbroken.card.weights_sha256);
    let model = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(model(whole.path()), model(killed.path()));
    // Weights, averages and moments of the last checkpoint, in 32 bits.
    let tensors = |folder: &Path| {
        let bytes = fs::read(folder.join(CHECKPOINT_FILE)).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + length..].to_vec()
    };
    assert_eq!(tensors(whole.path()), tensors(killed.path()));
    let steps = |folder: &Path| {
        let log = fs::read_to_string(folder.join(METRICS_FILE)).unwrap();
        log.lines().filter(|line| !line.contains("\"validation\"")).count()
    };
    assert_eq!([steps(whole.path()), steps(killed.path())], [STEPS as usize; 2]);
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_and_says_which_file() {
    let folder = tempfile::tempdir().unwrap();
    // 8 steps of 12: the process hangs up at step 8, after the checkpoint of step 6.
    let mut first = child(folder.path(), None)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(first.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains("halted")));
    first.kill().unwrap();
    first.wait().unwrap();
    let path = folder.path().join(CHECKPOINT_FILE);
    let before = fs::read(&path).unwrap();

    // No file may grow beyond 64 blocks of 512 bytes, and the signal that says so is ignored, so
    // that writes fail as on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let output =
        child(folder.path(), Some(limited)).env(RESUME, "1").stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("failed: access") && said.contains(CHECKPOINT_FILE), "{said}");
    assert!(said.contains("too large"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), before, "the last good checkpoint is gone");
    assert!(!folder.path().join(format!("{CHECKPOINT_FILE}.part")).exists());
    run(folder.path(), Start::Resume, u64::MAX).unwrap();
}
