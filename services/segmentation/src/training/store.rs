//! A training run, and where runs are kept.

use std::{fmt, future::Future, str::FromStr};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::TrainerError;
use crate::registry::ModelId;

/// Identifies one training run. A UUIDv7, so ids sort by creation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrainingRunId(Uuid);

/// Text that is no training run's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a training run id; expected a UUID")]
pub struct InvalidTrainingRunId;

impl TrainingRunId {
    /// Returns a fresh identifier.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the identifier as a UUID, for storage.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for TrainingRunId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for TrainingRunId {
    type Err = InvalidTrainingRunId;

    fn from_str(text: &str) -> Result<Self, InvalidTrainingRunId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidTrainingRunId)
    }
}

impl fmt::Display for TrainingRunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingState {
    /// Accepted; its data is about to be read.
    Queued,
    /// Runs.
    Running,
    /// Ended; its model is in the registry.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended by a caller.
    Cancelled,
    /// Cut short by the end of the service.
    Interrupted,
}

impl TrainingState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// Returns its name, as in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns whether nothing more happens by itself.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for TrainingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Dice on the cases held out, mean over the cases, each in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Step after which it was made.
    pub step: u64,
    /// Whole tumour.
    pub wt: f64,
    /// Tumour core.
    pub tc: f64,
    /// Enhancing tumour.
    pub et: f64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Share of the run behind, `[0, 1]`.
    pub share_done: f64,
    /// Minutes trained.
    pub minutes: f64,
    /// Loss of the last step; `None` if it was not finite.
    pub loss: Option<f64>,
    /// Moving average of the loss; `None` if it is not finite.
    pub loss_mean: Option<f64>,
    /// Step size of the last step.
    pub learning_rate: f64,
    /// Estimate of the time left, in seconds.
    pub seconds_left: Option<f64>,
    /// Last validation.
    pub validation: Option<Validation>,
}

/// A training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRun {
    /// Its identifier.
    pub id: TrainingRunId,
    /// What became of it.
    pub state: TrainingState,
    /// Name that its model has or will have.
    pub model_name: String,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it last began to run.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Why it failed: stable cause, and words without paths.
    pub error: Option<(String, String)>,
    /// Its model in the registry.
    pub model_id: Option<ModelId>,
    /// SHA-256 of the weights of its model.
    pub weights_sha256: Option<String>,
}

impl TrainingRun {
    /// Returns a run that was just accepted.
    pub(super) fn queued(model_id: &ModelId, created_at: OffsetDateTime) -> Self {
        Self {
            id: TrainingRunId::generate(),
            state: TrainingState::Queued,
            model_name: model_id.to_string(),
            created_at,
            started_at: None,
            ended_at: None,
            progress: None,
            error: None,
            model_id: None,
            weights_sha256: None,
        }
    }
}

/// A run about to be stored.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The run.
    pub run: TrainingRun,
    /// The request that makes it.
    pub request_id: Uuid,
    /// SHA-256 of the training file, in hexadecimal.
    pub content_hash: String,
    /// The training file as it was sent.
    pub training_file: String,
}

/// Keeps training runs.
pub trait TrainingStore: Clone + fmt::Debug + Send + Sync + 'static {
    /// Returns a run and its training file.
    fn find(
        &self,
        id: TrainingRunId,
    ) -> impl Future<Output = Result<Option<(TrainingRun, String)>, TrainerError>> + Send;

    /// Returns the run that a request made, with the hash of its file.
    fn find_by_request(
        &self,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<(TrainingRun, String)>, TrainerError>> + Send;

    /// Keeps a run; false if the request has one.
    fn insert(&self, new: &NewRun) -> impl Future<Output = Result<bool, TrainerError>> + Send;

    /// Writes what changes of a run; false if it is not in the state `before` any more.
    fn update(
        &self,
        run: &TrainingRun,
        before: TrainingState,
    ) -> impl Future<Output = Result<bool, TrainerError>> + Send;

    /// Marks every run that has not ended as interrupted; returns how many.
    fn interrupt_all(
        &self,
        ended_at: OffsetDateTime,
    ) -> impl Future<Output = Result<u64, TrainerError>> + Send;

    /// Returns at most `limit` runs with ids below `before`, newest first.
    fn list(
        &self,
        before: Option<TrainingRunId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<TrainingRun>, TrainerError>> + Send;
}
