//! gRPC face of training. Calls leave no entry in the audit: runs read folders of cases that operators give, and no
//! patient's data of the service.

use std::{pin::Pin, time::SystemTime};

use futures::{Stream, StreamExt as _, stream};
use neurotriage_proto::segmentation::v1::{
    CancelTrainingRequest, CancelTrainingResponse, GetTrainingRequest, GetTrainingResponse,
    ListTrainingsRequest, ListTrainingsResponse, ResumeTrainingRequest, ResumeTrainingResponse,
    StartTrainingRequest, StartTrainingResponse, TrainingProgress, TrainingRun as PbRun,
    TrainingState as PbState, TrainingValidation, WatchTrainingRequest, WatchTrainingResponse,
    training_service_server::TrainingService,
};
use neurotriage_service_kit::status::to_status;
use time::OffsetDateTime;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::ERROR_DOMAIN;
use crate::{
    registry::ModelStore,
    training::{
        Progress, Trainer, TrainerError, TrainingRun, TrainingRunId, TrainingState, TrainingStore,
    },
};

/// Most bytes of a training file.
const TRAINING_FILE_BYTES_MAX: usize = 64 * 1024;
/// Most runs of a page.
const PAGE_MAX: u32 = 200;
/// Runs of a page if the caller does not say.
const PAGE_DEFAULT: u32 = 50;

/// `neurotriage.segmentation.v1.TrainingService` over any store.
#[derive(Debug)]
pub struct TrainingGrpc<S, M> {
    trainer: Option<Trainer<S, M>>,
}

impl<S, M> TrainingGrpc<S, M> {
    /// Serves with `trainer`; without one, every call says that training is off.
    pub fn new(trainer: Option<Trainer<S, M>>) -> Self {
        Self { trainer }
    }

    fn trainer(&self) -> Result<&Trainer<S, M>, Status> {
        self.trainer.as_ref().ok_or_else(|| refuse(TrainerError::Off))
    }
}

fn refuse(error: TrainerError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<S: TrainingStore, M: ModelStore> TrainingService for TrainingGrpc<S, M> {
    type WatchTrainingStream = BoxStream<WatchTrainingResponse>;

    #[tracing::instrument(skip_all)]
    async fn start_training(
        &self,
        request: Request<StartTrainingRequest>,
    ) -> Result<Response<StartTrainingResponse>, Status> {
        let trainer = self.trainer()?;
        let StartTrainingRequest { request_id, training_file } = request.into_inner();
        let request_id = Uuid::try_parse(&request_id).map_err(|_| {
            refuse(TrainerError::field("request_id", "a UUID chosen by the caller"))
        })?;
        if training_file.len() > TRAINING_FILE_BYTES_MAX {
            let text = format!("at most {TRAINING_FILE_BYTES_MAX} bytes");
            return Err(refuse(TrainerError::field("training_file", text)));
        }
        let run = trainer.start(request_id, training_file).await.map_err(refuse)?;
        Ok(Response::new(StartTrainingResponse { run: Some(encode(run)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn watch_training(
        &self,
        request: Request<WatchTrainingRequest>,
    ) -> Result<Response<Self::WatchTrainingStream>, Status> {
        let trainer = self.trainer()?;
        let id = run_id(&request.get_ref().training_run_id)?;
        let (now, changes) = trainer.watch(id).await.map_err(refuse)?;
        let going = changes.filter(|_| !now.state.has_ended());
        let first = stream::iter([now]);
        let runs = first.chain(stream::unfold(going, following));
        let messages = runs.map(|run| Ok(WatchTrainingResponse { run: Some(encode(run)) }));
        Ok(Response::new(Box::pin(messages)))
    }

    #[tracing::instrument(skip_all)]
    async fn get_training(
        &self,
        request: Request<GetTrainingRequest>,
    ) -> Result<Response<GetTrainingResponse>, Status> {
        let id = run_id(&request.get_ref().training_run_id)?;
        let (run, training_file) = self.trainer()?.get(id).await.map_err(refuse)?;
        Ok(Response::new(GetTrainingResponse { run: Some(encode(run)), training_file }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_trainings(
        &self,
        request: Request<ListTrainingsRequest>,
    ) -> Result<Response<ListTrainingsResponse>, Status> {
        let ListTrainingsRequest { page_size, page_token } = request.into_inner();
        let limit = match page_size {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => page_size,
            _ => {
                let text = format!("0 to {PAGE_MAX}");
                return Err(refuse(TrainerError::field("page_size", text)));
            }
        };
        let before = match page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                let right = "the next_page_token of the page before, unchanged, or empty";
                refuse(TrainerError::field("page_token", right))
            })?),
        };
        let mut runs = self.trainer()?.list(before, limit + 1).await.map_err(refuse)?;
        let more = runs.len() > limit as usize;
        runs.truncate(limit as usize);
        let last = runs.last().filter(|_| more);
        let next_page_token = last.map(|last| last.id.to_string()).unwrap_or_default();
        let runs = runs.into_iter().map(encode).collect();
        Ok(Response::new(ListTrainingsResponse { runs, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn cancel_training(
        &self,
        request: Request<CancelTrainingRequest>,
    ) -> Result<Response<CancelTrainingResponse>, Status> {
        let id = run_id(&request.get_ref().training_run_id)?;
        let run = self.trainer()?.cancel(id).await.map_err(refuse)?;
        Ok(Response::new(CancelTrainingResponse { run: Some(encode(run)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn resume_training(
        &self,
        request: Request<ResumeTrainingRequest>,
    ) -> Result<Response<ResumeTrainingResponse>, Status> {
        let id = run_id(&request.get_ref().training_run_id)?;
        let run = self.trainer()?.resume(id).await.map_err(refuse)?;
        Ok(Response::new(ResumeTrainingResponse { run: Some(encode(run)) }))
    }
}

/// Returns the next state of a run, and what to ask after it: nothing once it has ended.
async fn following(
    changes: Option<watch::Receiver<TrainingRun>>,
) -> Option<(TrainingRun, Option<watch::Receiver<TrainingRun>>)> {
    let mut changes = changes?;
    changes.changed().await.ok()?;
    let run = changes.borrow_and_update().clone();
    let going = Some(changes).filter(|_| !run.state.has_ended());
    Some((run, going))
}

fn run_id(text: &str) -> Result<TrainingRunId, Status> {
    text.parse().map_err(|_| refuse(TrainerError::field("training_run_id", "a UUID")))
}

fn encode(run: TrainingRun) -> PbRun {
    let state = match run.state {
        TrainingState::Queued => PbState::Queued,
        TrainingState::Running => PbState::Running,
        TrainingState::Succeeded => PbState::Succeeded,
        TrainingState::Failed => PbState::Failed,
        TrainingState::Cancelled => PbState::Cancelled,
        TrainingState::Interrupted => PbState::Interrupted,
    };
    let at = |time: OffsetDateTime| SystemTime::from(time).into();
    let (error_reason, error_text) = run.error.unwrap_or_default();
    PbRun {
        training_run_id: run.id.to_string(),
        state: state.into(),
        model_id: run.model_name,
        created_at: Some(at(run.created_at)),
        started_at: run.started_at.map(at),
        ended_at: run.ended_at.map(at),
        progress: run.progress.map(progress),
        error_reason,
        error_text,
        weights_sha256: run.weights_sha256.unwrap_or_default(),
    }
}

fn progress(progress: Progress) -> TrainingProgress {
    TrainingProgress {
        step: progress.step,
        share_done: progress.share_done,
        minutes: progress.minutes,
        loss: progress.loss.unwrap_or(f64::NAN),
        loss_mean: progress.loss_mean.unwrap_or(f64::NAN),
        learning_rate: progress.learning_rate,
        seconds_left: progress.seconds_left,
        validation: progress.validation.map(|validation| TrainingValidation {
            step: validation.step,
            whole_tumour: validation.wt,
            tumour_core: validation.tc,
            enhancing_tumour: validation.et,
        }),
    }
}
