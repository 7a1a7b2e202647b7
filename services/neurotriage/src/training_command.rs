//! The command `training`: the runs of a running segmentation service.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use neurotriage_proto::segmentation::v1::{
    CancelTrainingRequest, GetTrainingRequest, ListTrainingsRequest, ResumeTrainingRequest,
    TrainingRun, training_service_client::TrainingServiceClient,
};
use tokio::runtime::Runtime;

use crate::{
    output::{print, time_text},
    remote::{self, ServiceChannel, TokenArgs},
    services::{CALL_TIMEOUT, SEGMENTATION_ENDPOINT, answer, asking, within},
    train_remote::{command, line as progress_line, state_word, watch},
};

/// Runs of one page.
const PAGE_SIZE: u32 = 200;
/// Most pages that are asked for.
const PAGES_MAX: usize = 50;

/// What `training` takes.
#[derive(Debug, Args)]
pub struct TrainingCommandArgs {
    #[command(subcommand)]
    action: Action,

    /// Where the segmentation service answers.
    #[arg(
        long,
        env = "SEGMENTATION_ENDPOINT",
        global = true,
        default_value = SEGMENTATION_ENDPOINT
    )]
    endpoint: String,

    /// As whom.
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the runs, newest first.
    List,
    /// Shows one run and its training file.
    Show {
        /// Its id.
        training_run_id: String,
    },
    /// Tells how a run goes until it ends. Ctrl-C stops watching; the run goes on.
    Watch {
        /// Its id.
        training_run_id: String,
    },
    /// Ends a run after the step at hand.
    Cancel {
        /// Its id.
        training_run_id: String,
    },
    /// Goes on with an interrupted or cancelled run from its last checkpoint.
    Resume {
        /// Its id.
        training_run_id: String,
    },
}

/// Asks the service.
///
/// # Errors
/// If the service does not answer or refuses, or a run that is watched does not succeed.
pub fn run(runtime: &Runtime, args: TrainingCommandArgs) -> anyhow::Result<()> {
    let TrainingCommandArgs { action, endpoint, token } = args;
    runtime.block_on(async {
        let mut trainer = TrainingServiceClient::new(remote::connect(&endpoint, &token)?);
        let text = match action {
            Action::List => list(&mut trainer).await,
            Action::Show { training_run_id } => show(&mut trainer, training_run_id).await,
            Action::Watch { training_run_id } => {
                return watch(&mut trainer, &training_run_id, &endpoint).await;
            }
            Action::Cancel { training_run_id } => cancel(&mut trainer, training_run_id).await,
            Action::Resume { training_run_id } => {
                resume(&mut trainer, training_run_id, &endpoint).await
            }
        };
        print(&text.with_context(|| asking("segmentation", &endpoint))?)
    })
}

type Client = TrainingServiceClient<ServiceChannel>;

async fn list(trainer: &mut Client) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request = ListTrainingsRequest { page_size: PAGE_SIZE, page_token };
        let listed = trainer.list_trainings(within(CALL_TIMEOUT, request));
        let page = answer("list trainings", listed).await?;
        text.extend(page.runs.iter().map(line));
        page_token = page.next_page_token;
        if page_token.is_empty() && text.is_empty() {
            return Ok("no run was started\n".to_owned());
        }
        if page_token.is_empty() {
            return Ok(text);
        }
    }
    anyhow::bail!("more than {} runs; ask the service itself", PAGES_MAX * PAGE_SIZE as usize)
}

async fn show(trainer: &mut Client, training_run_id: String) -> anyhow::Result<String> {
    let request = within(CALL_TIMEOUT, GetTrainingRequest { training_run_id });
    let response = answer("get training", trainer.get_training(request)).await?;
    let run = response.run.context("service named no run")?;
    Ok(format!("{}\n{}", details(&run), response.training_file))
}

async fn cancel(trainer: &mut Client, training_run_id: String) -> anyhow::Result<String> {
    let request = within(CALL_TIMEOUT, CancelTrainingRequest { training_run_id });
    let response = answer("cancel training", trainer.cancel_training(request)).await?;
    Ok(line(&response.run.context("service named no run")?))
}

async fn resume(
    trainer: &mut Client,
    training_run_id: String,
    endpoint: &str,
) -> anyhow::Result<String> {
    let request = within(CALL_TIMEOUT, ResumeTrainingRequest { training_run_id });
    let response = answer("resume training", trainer.resume_training(request)).await?;
    let run = response.run.context("service named no run")?;
    let next = command("watch", &run.training_run_id, endpoint);
    Ok(format!("{}next: {next}\n", line(&run)))
}

/// Returns a run as a line of a list.
fn line(run: &TrainingRun) -> String {
    let state = state_word(run.state());
    let share = run.progress.as_ref().map_or(0.0, |progress| progress.share_done);
    let step = run.progress.as_ref().map_or(0, |progress| progress.step);
    let at = run.created_at.as_ref().map_or_else(String::new, |at| time_text(at.seconds));
    format!(
        "{}  {state:11}  {:3.0} %  step {step:<8}  {at:20}  {}\n",
        run.training_run_id,
        share * 100.0,
        run.model_id
    )
}

/// Returns what is known of a run, a line each.
fn details(run: &TrainingRun) -> String {
    let mut rows = vec![
        ("run", run.training_run_id.clone()),
        ("model", run.model_id.clone()),
        ("state", state_word(run.state()).to_owned()),
    ];
    let times = [("asked", run.created_at), ("started", run.started_at), ("ended", run.ended_at)];
    for (name, at) in times {
        rows.extend(at.map(|at| (name, time_text(at.seconds))));
    }
    if run.progress.is_some() {
        rows.push(("progress", progress_line(run).trim_start().to_owned()));
    }
    if !run.error_reason.is_empty() {
        rows.push(("error", format!("{} [{}]", run.error_text, run.error_reason)));
    }
    if !run.weights_sha256.is_empty() {
        rows.push(("weights", run.weights_sha256.clone()));
    }
    rows.iter().map(|(name, value)| format!("{name:8}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use neurotriage_proto::segmentation::v1::{TrainingProgress, TrainingState};

    use super::*;

    fn run() -> TrainingRun {
        TrainingRun {
            training_run_id: "0190".to_owned(),
            model_id: "glioma-2".to_owned(),
            state: TrainingState::Queued.into(),
            ..TrainingRun::default()
        }
    }

    #[test]
    fn a_line_names_the_run_its_state_and_how_far_it_is() {
        let mut run = run();
        assert!(line(&run).starts_with("0190  queued         0 %  step 0 "), "{}", line(&run));
        run.set_state(TrainingState::Running);
        run.progress =
            Some(TrainingProgress { step: 7, share_done: 0.5, ..TrainingProgress::default() });
        let text = line(&run);
        assert!(text.starts_with("0190  running       50 %  step 7 "), "{text}");
        assert!(text.ends_with("glioma-2\n"), "{text}");
    }

    #[test]
    fn details_say_what_is_known_and_leave_out_what_is_not() {
        let mut run = run();
        assert_eq!(details(&run), "run       0190\nmodel     glioma-2\nstate     queued\n");
        run.set_state(TrainingState::Failed);
        (run.error_text, run.error_reason) = ("too large".to_owned(), "BATCH".to_owned());
        assert!(details(&run).ends_with("error     too large [BATCH]\n"), "{}", details(&run));
    }
}
