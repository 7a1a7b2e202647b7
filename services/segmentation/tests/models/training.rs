//! Training runs over a real socket: tiny networks on synthetic heads.

use std::time::Duration;

use neurotriage_migrations::segmentation::Migrator;
use neurotriage_proto::segmentation::v1::{
    CancelTrainingRequest, GetTrainingRequest, ListTrainingsRequest, ResumeTrainingRequest,
    StartTrainingRequest, TrainingRun, TrainingState, WatchTrainingRequest,
};
use neurotriage_segmentation::training::TrainingSettings;
use neurotriage_testkit::databases;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Files, Ground, Running, reason};

/// Longest wait for a run to move on.
const PATIENCE: Duration = Duration::from_secs(120);

/// A training file of a tiny network; `steps_max` steps.
fn file(name: &str, steps_max: u64) -> String {
    format!(
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
checkpoint_minutes = 0.000001
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
    )
}

/// More steps than any test waits for.
const ENDLESS: u64 = 1_000_000;

async fn ground() -> anyhow::Result<(Ground, TempDir)> {
    let runs = tempfile::tempdir()?;
    let mut ground = Ground::new().await?;
    ground.training = Some(TrainingSettings {
        folder: runs.path().to_owned(),
        runs_max: 1,
        data_variables: vec!["NEUROTRIAGE_CASES".to_owned()],
        threads_max: 1,
        minutes_max: 10.0,
    });
    Ok((ground, runs))
}

async fn start(running: &mut Running, request: Uuid, text: &str) -> Result<TrainingRun, Status> {
    let request =
        StartTrainingRequest { request_id: request.to_string(), training_file: text.to_owned() };
    Ok(running.training.start_training(request).await?.into_inner().run.unwrap())
}

async fn get(running: &mut Running, id: &str) -> anyhow::Result<TrainingRun> {
    let request = GetTrainingRequest { training_run_id: id.to_owned() };
    Ok(running.training.get_training(request).await?.into_inner().run.unwrap())
}

/// Watches a run until `enough`, and returns everything that was told.
async fn watch(
    running: &mut Running,
    id: &str,
    enough: impl Fn(&TrainingRun) -> bool,
) -> anyhow::Result<Vec<TrainingRun>> {
    let request = WatchTrainingRequest { training_run_id: id.to_owned() };
    let mut stream = running.training.watch_training(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(message) = timeout(PATIENCE, stream.message()).await?? {
        let run = message.run.unwrap();
        let done = enough(&run);
        told.push(run);
        if done {
            break;
        }
    }
    Ok(told)
}

/// What tells one end from another.
fn end(run: &TrainingRun) -> (&str, TrainingState, &str, u64) {
    (&run.training_run_id, run.state(), &run.weights_sha256, steps(run))
}

fn steps(run: &TrainingRun) -> u64 {
    run.progress.as_ref().map_or(0, |progress| progress.step)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_to_its_end_and_its_model_can_serve() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, _runs) = ground().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let request = Uuid::now_v7();
        let run = start(&mut running, request, &file("trained-1", 3)).await?;
        assert_eq!(run.model_id, "trained-1");
        let told = watch(&mut running, &run.training_run_id, |_| false).await?;
        let last = told.last().unwrap();
        assert_eq!(last.state(), TrainingState::Succeeded, "{}", last.error_text);
        assert_eq!(steps(last), 3);
        let progress = last.progress.unwrap();
        assert!((progress.share_done - 1.0).abs() < 1e-9 && progress.loss.is_finite());
        assert!(told.windows(2).all(|two| steps(&two[0]) <= steps(&two[1])), "never back");

        // Whoever comes late sees the end, at once.
        let late = watch(&mut running, &run.training_run_id, |_| false).await?;
        assert_eq!(late.len(), 1);
        assert_eq!(end(&late[0]), end(last));
        // The same request again makes no other run; another file under it is refused.
        let again = start(&mut running, request, &file("trained-1", 3)).await?;
        assert_eq!(end(&again), end(last));
        let reused = start(&mut running, request, &file("trained-2", 3)).await.unwrap_err();
        assert_eq!((reused.code(), &*reason(&reused)), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
        let taken = start(&mut running, Uuid::now_v7(), &file("trained-1", 3)).await.unwrap_err();
        assert_eq!(reason(&taken), "MODEL_ALREADY_EXISTS");

        assert_eq!(running.serving().await?, "first", "a trained model does not serve by itself");
        let loaded = running.load("trained-1").await?;
        assert_eq!(loaded.weights_sha256, last.weights_sha256);
        running.promote("trained-1", "first").await?;
        let made = running.segment(&Uuid::now_v7().to_string()).await?;
        assert_eq!(made.model_id, "trained-1");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_at_a_time_and_a_cancelled_one_frees_the_place() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, _runs) = ground().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let request = Uuid::now_v7();
        let run = start(&mut running, request, &file("long-1", ENDLESS)).await?;
        let id = run.training_run_id.clone();
        watch(&mut running, &id, |run| steps(run) > 0).await?;

        let full = start(&mut running, Uuid::now_v7(), &file("b", 1)).await.unwrap_err();
        assert_eq!((full.code(), &*reason(&full)), (Code::ResourceExhausted, "TRAINING_RUNS_MAX"));
        assert!(full.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()));
        let same = start(&mut running, request, &file("long-1", ENDLESS)).await?;
        assert_eq!(same.training_run_id, id, "the same request is no second run");

        let cancel = CancelTrainingRequest { training_run_id: id.clone() };
        running.training.cancel_training(cancel.clone()).await?;
        let told = watch(&mut running, &id, |_| false).await?;
        let ended = told.last().unwrap().clone();
        assert_eq!(ended.state(), TrainingState::Cancelled);
        assert!(ended.ended_at.is_some() && ended.weights_sha256.is_empty());
        let again = running.training.cancel_training(cancel).await?.into_inner().run.unwrap();
        assert_eq!(again.state(), TrainingState::Cancelled, "cancelling twice changes nothing");

        let next = loop {
            // The place is free a moment after the end is told.
            match start(&mut running, Uuid::now_v7(), &file("b", 1)).await {
                Ok(next) => break next,
                Err(status) => assert_eq!(reason(&status), "TRAINING_RUNS_MAX"),
            }
            tokio::task::yield_now().await;
        };
        let told = watch(&mut running, &next.training_run_id, |_| false).await?;
        assert_eq!(told.last().unwrap().state(), TrainingState::Succeeded);

        let (mut ids, mut token) = (Vec::new(), String::new());
        loop {
            let request = ListTrainingsRequest { page_size: 1, page_token: token };
            let page = running.training.list_trainings(request).await?.into_inner();
            ids.extend(page.runs.into_iter().map(|run| run.training_run_id));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(ids, [next.training_run_id, id], "newest first");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_service_outlived_is_interrupted_and_goes_on() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, runs) = ground().await?;
        let start_model = Files::tiny("first", 1);
        let mut running = ground.serve(&db.service, start_model.start()).await?;
        let run = start(&mut running, Uuid::now_v7(), &file("long-2", ENDLESS)).await?;
        let id = run.training_run_id;
        watch(&mut running, &id, |run| steps(run) > 1).await?;
        running.stop().await?;
        let folder = runs.path().join(&id);
        assert!(folder.join(neurotriage_network::CHECKPOINT_FILE).is_file());

        let mut running = ground.serve(&db.service, start_model.start()).await?;
        let interrupted = get(&mut running, &id).await?;
        assert_eq!(interrupted.state(), TrainingState::Interrupted);
        let before = steps(&interrupted);
        assert!(before > 1);
        let request = ResumeTrainingRequest { training_run_id: id.clone() };
        let resumed = running.training.resume_training(request.clone()).await?.into_inner();
        assert_eq!(resumed.run.unwrap().state(), TrainingState::Queued);
        let told = watch(&mut running, &id, |run| steps(run) > before).await?;
        assert!(told.iter().all(|run| steps(run) >= before), "from the checkpoint, not afresh");
        let twice = running.training.resume_training(request).await.unwrap_err();
        assert_eq!(reason(&twice), "TRAINING_NOT_RESUMABLE");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_finds_its_runs_interrupted() -> anyhow::Result<()> {
    use sea_orm::ConnectionTrait as _;
    for db in databases::<Migrator>().await? {
        let (ground, _runs) = ground().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let run = start(&mut running, Uuid::now_v7(), &file("a", 1)).await?;
        let id = run.training_run_id;
        watch(&mut running, &id, |_| false).await?;
        running.stop().await?;
        // What kill -9 leaves behind.
        let sql = "UPDATE training_run SET state = 'running', ended_at = NULL, model_id = NULL";
        db.db.execute_unprepared(sql).await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let found = get(&mut running, &id).await?;
        assert_eq!(found.state(), TrainingState::Interrupted);
        assert!(found.ended_at.is_some());
        let cancel = CancelTrainingRequest { training_run_id: id };
        let cancelled = running.training.cancel_training(cancel).await?.into_inner().run.unwrap();
        assert_eq!(cancelled.state(), TrainingState::Cancelled);
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_refused_before_it_runs() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, runs) = ground().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let good = file("a", 1);
        let with_data = |data: &str| format!("{good}\n[data]\n{data}");
        let table = [
            ("no file", String::new()),
            ("no toml", "[[".to_owned()),
            ("too long", format!("# {}\n{good}", "x".repeat(65_536))),
            ("no licence", good.replace("CC0-1.0", "")),
            ("name with a path", good.replace("\"a\"", "\"../a\"")),
            ("path", with_data("case_folders = ['/etc']").replace("[data.mix]", "[data.mix] #")),
            ("too wide", good.replace("threads = 1", "threads = 1\nbatch = 1000")),
        ];
        for (case, text) in table {
            let status = start(&mut running, Uuid::now_v7(), &text).await.expect_err(case);
            assert_eq!(status.code(), Code::InvalidArgument, "case: {case}: {status}");
            assert_eq!(reason(&status), "INVALID_FIELDS", "case: {case}");
        }
        for id in ["", "banana"] {
            let request = WatchTrainingRequest { training_run_id: id.to_owned() };
            let status = running.training.watch_training(request).await.unwrap_err();
            assert_eq!(reason(&status), "INVALID_FIELDS");
        }
        let request = WatchTrainingRequest { training_run_id: Uuid::now_v7().to_string() };
        let status = running.training.watch_training(request).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "TRAINING_NOT_FOUND"));
        assert_eq!(std::fs::read_dir(runs.path())?.count(), 0, "nothing was begun");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_why_without_paths() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, runs) = ground().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        // Where the run's folder should be there is a file.
        std::fs::remove_dir_all(runs.path())?;
        std::fs::write(runs.path(), b"in the way")?;
        let run = start(&mut running, Uuid::now_v7(), &file("a", 1)).await?;
        let told = watch(&mut running, &run.training_run_id, |_| false).await?;
        let last = told.last().unwrap();
        assert_eq!((last.state(), &*last.error_reason), (TrainingState::Failed, "FILE_ACCESS"));
        let folder = runs.path().display().to_string();
        assert!(!last.error_text.contains(&folder), "{}", last.error_text);
        std::fs::remove_file(runs.path())?;
        std::fs::create_dir(runs.path())?;
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_training_is_off() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let status = start(&mut running, Uuid::now_v7(), &file("a", 1)).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::FailedPrecondition, "TRAINING_OFF"));
        assert!(status.message().contains("TRAINING_FOLDER"), "{status}");
        let listed = running.training.list_trainings(ListTrainingsRequest::default()).await;
        assert_eq!(reason(&listed.unwrap_err()), "TRAINING_OFF");
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}
