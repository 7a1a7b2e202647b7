//! Training in a running segmentation service, through the real command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use neurotriage_network::{CHECKPOINT_FILE, METRICS_FILE};
use neurotriage_proto::segmentation::v1::{
    GetTrainingRequest, ResumeTrainingRequest, StartTrainingRequest, TrainingRun, TrainingState,
    WatchTrainingRequest, training_service_client::TrainingServiceClient,
};
use neurotriage_tests::{
    programs::{neurotriage, program},
    segmentation::SegmentationGround,
};
use tokio::time::timeout;
use tonic::transport::Channel;
use uuid::Uuid;

/// More steps than any test waits for.
const ENDLESS: u64 = 1_000_000;

/// Steps of a run that ends by itself; enough that it can be killed before.
const STEPS: u64 = 60;
/// Steps between two checkpoints.
const CHECKPOINT_STEPS: u64 = 5;
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
checkpoint_steps = {CHECKPOINT_STEPS}
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

type Client = TrainingServiceClient<Channel>;

async fn client(ground: &SegmentationGround) -> Client {
    let endpoint = Channel::from_shared(ground.endpoint().to_owned()).unwrap();
    TrainingServiceClient::new(endpoint.connect().await.unwrap())
}

/// Watches a run until `enough` or its end, and returns everything that was told.
async fn watch(
    client: &mut Client,
    id: &str,
    enough: impl Fn(&TrainingRun) -> bool,
) -> Vec<TrainingRun> {
    let request = WatchTrainingRequest { training_run_id: id.to_owned() };
    let mut stream = client.watch_training(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(message) = timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
        let run = message.run.unwrap();
        told.push(run.clone());
        if enough(&run) {
            break;
        }
    }
    told
}

fn steps(run: &TrainingRun) -> u64 {
    run.progress.as_ref().map_or(0, |progress| progress.step)
}

/// Returns the whole lines of a run's log.
fn log(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join(METRICS_FILE)).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_its_checkpoint_after_its_service_was_killed() {
    let ground = ground().await;
    let server = ground.start().await.unwrap();
    let mut before = client(&ground).await;
    let training_file = fs::read_to_string(write_file(&ground, "killed-1", STEPS)).unwrap();
    let request = StartTrainingRequest { request_id: Uuid::now_v7().to_string(), training_file };
    let run = before.start_training(request).await.unwrap().into_inner().run.unwrap();
    let id = run.training_run_id;
    watch(&mut before, &id, |run| steps(run) > CHECKPOINT_STEPS).await;
    server.kill().await.unwrap();
    let folder = ground.folder().join("runs").join(&id);
    assert!(folder.join(CHECKPOINT_FILE).is_file());
    let old = log(&folder);
    assert!(old.len() < STEPS as usize, "the run ended before it was killed");

    let server = ground.start().await.unwrap();
    let mut after = client(&ground).await;
    let request = GetTrainingRequest { training_run_id: id.clone() };
    let found = after.get_training(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(found.state(), TrainingState::Interrupted);
    let request = ResumeTrainingRequest { training_run_id: id.clone() };
    after.resume_training(request).await.unwrap();
    let watched = watch(&mut after, &id, |_| false).await;
    let last = watched.last().unwrap();
    assert_eq!(last.state(), TrainingState::Succeeded, "{}", last.error_text);
    assert_eq!(steps(last), STEPS);
    let lowest = watched.iter().map(steps).filter(|&step| step > 0).min().unwrap();
    assert!(lowest > CHECKPOINT_STEPS, "begun afresh: step {lowest}");

    // Every step is in the log once, and those before the checkpoint as they were.
    let new = log(&folder);
    assert_eq!(new.len(), STEPS as usize);
    let kept = CHECKPOINT_STEPS as usize;
    assert_eq!(new[..kept], old[..kept]);
    let listed = neurotriage(&["model", "list", "--endpoint", ground.endpoint()]).unwrap();
    assert!(told(&listed).contains("killed-1"));
    drop((before, after));
    server.terminate().await.unwrap();
    assert_eq!(server.exit_code().await.unwrap(), 0);
}
