//! The command `train --endpoint`: has a running segmentation service train, and watches.

use std::fs;

use anyhow::{Context as _, bail, ensure};
use neurotriage_proto::segmentation::v1::{
    StartTrainingRequest, TrainingRun, TrainingState, WatchTrainingRequest,
    training_service_client::TrainingServiceClient,
};
use tokio::runtime::Runtime;
use tonic::Request;
use uuid::Uuid;

use crate::{
    cli::TrainArgs,
    output::print,
    remote::{self, ServiceChannel},
    services::{CALL_TIMEOUT, answer, asking, refused, within},
    signal::stop_signal,
    train::check_config,
};

/// Most bytes of a training file.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Starts a run in the service behind `endpoint` and tells how it goes. Ctrl-C stops watching; the
/// run goes on.
///
/// # Errors
/// If the file can't be read, the service refuses, or the run does not succeed.
pub fn run(runtime: &Runtime, args: &TrainArgs, endpoint: &str) -> anyhow::Result<()> {
    check_config(&args.config)?;
    let path = args.config.display();
    let training_file = fs::read_to_string(&args.config).with_context(|| format!("read {path}"))?;
    ensure!(training_file.len() <= FILE_BYTES_MAX, "{path}: larger than {FILE_BYTES_MAX} bytes");
    runtime.block_on(async {
        let mut trainer = TrainingServiceClient::new(remote::connect(endpoint, &args.token)?);
        let request =
            StartTrainingRequest { request_id: Uuid::now_v7().to_string(), training_file };
        let started =
            answer("start training", trainer.start_training(within(CALL_TIMEOUT, request)));
        let run = started.await.with_context(|| asking("segmentation", endpoint))?.run;
        let training_run_id = run.context("service named no run")?.training_run_id;
        eprintln!("training run {training_run_id}");
        watch(&mut trainer, &training_run_id, endpoint).await
    })
}

/// Tells how a run goes until it has ended. Ctrl-C stops watching; the run goes on.
///
/// # Errors
/// If the service refuses or goes away, or the run does not succeed.
pub(crate) async fn watch(
    trainer: &mut TrainingServiceClient<ServiceChannel>,
    training_run_id: &str,
    endpoint: &str,
) -> anyhow::Result<()> {
    // No deadline: a run may take days, and a service that goes away is noticed.
    let request =
        Request::new(WatchTrainingRequest { training_run_id: training_run_id.to_owned() });
    let watched = answer("watch training", trainer.watch_training(request)).await;
    let mut stream = watched.with_context(|| asking("segmentation", endpoint))?;
    let command = |action| command(action, training_run_id, endpoint);
    let mut told = String::new();
    loop {
        let message = tokio::select! {
            message = stream.message() => {
                message
                    .map_err(|status| refused("watch training", &status))
                    .with_context(|| lost(&command("watch")))?
            }
            signal = stop_signal() => {
                signal?;
                eprintln!("no longer watching; the run goes on in the service");
                eprintln!("watch it: {}\ncancel it: {}", command("watch"), command("cancel"));
                return Ok(());
            }
        };
        let Some(run) = message.and_then(|message| message.run) else {
            bail!(lost(&command("watch")));
        };
        let line = line(&run);
        if line != told {
            eprintln!("{line}");
            told = line;
        }
        if run.state() != TrainingState::Queued && run.state() != TrainingState::Running {
            return ended(&run, &command("resume"));
        }
    }
}

fn lost(watch: &str) -> String {
    format!("the service stopped telling of the run; look again with {watch}")
}

/// Returns the command that does `action` with the run.
pub(crate) fn command(action: &str, training_run_id: &str, endpoint: &str) -> String {
    format!("neurotriage training {action} {training_run_id} --endpoint {endpoint}")
}

fn ended(run: &TrainingRun, resume: &str) -> anyhow::Result<()> {
    match run.state() {
        TrainingState::Succeeded => {
            let id = &run.model_id;
            print(&format!("{id}\nnext: neurotriage model load {id}\n"))
        }
        TrainingState::Cancelled => bail!("the run was cancelled; go on with {resume}"),
        TrainingState::Interrupted => bail!("the run was interrupted; go on with {resume}"),
        TrainingState::Failed => bail!("{} [{}]", run.error_text, run.error_reason),
        TrainingState::Unspecified | TrainingState::Queued | TrainingState::Running => {
            bail!("the run ended as {}", state_word(run.state()))
        }
    }
}

/// Returns what becomes of a run in one word.
pub(crate) fn state_word(state: TrainingState) -> &'static str {
    match state {
        TrainingState::Unspecified => "?",
        TrainingState::Queued => "queued",
        TrainingState::Running => "running",
        TrainingState::Succeeded => "succeeded",
        TrainingState::Failed => "failed",
        TrainingState::Cancelled => "cancelled",
        TrainingState::Interrupted => "interrupted",
    }
}

/// Returns how far a run is.
pub(crate) fn line(run: &TrainingRun) -> String {
    let Some(progress) = &run.progress else { return "reading cases".to_owned() };
    let left = progress
        .seconds_left
        .map_or_else(String::new, |seconds| format!(", {:.0} min left", (seconds / 60.0).ceil()));
    let dice = progress.validation.as_ref().map_or_else(String::new, |dice| {
        let (wt, tc, et) = (dice.whole_tumour, dice.tumour_core, dice.enhancing_tumour);
        format!(", Dice WT {wt:.3} TC {tc:.3} ET {et:.3} at step {}", dice.step)
    });
    format!(
        "{:>3.0} % step {} loss {:.4} rate {:.1e}{left}{dice}",
        progress.share_done * 100.0,
        progress.step,
        progress.loss_mean,
        progress.learning_rate
    )
}

#[cfg(test)]
mod tests {
    use neurotriage_proto::segmentation::v1::{TrainingProgress, TrainingValidation};

    use super::*;

    #[test]
    fn a_line_says_how_far_the_run_is_and_what_it_is_worth() {
        let mut run = TrainingRun::default();
        assert_eq!(line(&run), "reading cases");
        run.progress = Some(TrainingProgress {
            step: 7,
            share_done: 0.5,
            loss_mean: 0.25,
            learning_rate: 1e-3,
            seconds_left: Some(61.0),
            validation: Some(TrainingValidation {
                step: 5,
                whole_tumour: 0.9,
                ..Default::default()
            }),
            ..TrainingProgress::default()
        });
        assert_eq!(
            line(&run),
            " 50 % step 7 loss 0.2500 rate 1.0e-3, 2 min left, Dice WT 0.900 TC 0.000 ET 0.000 at step 5"
        );
        run.set_state(TrainingState::Failed);
        run.error_text = "batch: too large".to_owned();
        assert!(ended(&run, "resume").unwrap_err().to_string().contains("batch"));
        for state in [TrainingState::Cancelled, TrainingState::Interrupted] {
            run.set_state(state);
            let said = ended(&run, "the command").unwrap_err().to_string();
            assert!(said.contains(state_word(state)) && said.contains("the command"), "{said}");
        }
    }
}
