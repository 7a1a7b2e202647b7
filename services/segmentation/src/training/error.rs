//! Why an operation on training runs failed.

use std::{error::Error, time::Duration};

use neurotriage_domain::{DomainError, ErrorCode, FieldViolation};
use uuid::Uuid;

use super::{TrainingRunId, TrainingState};
use crate::registry::ModelId;

/// How long to wait before asking again while another run goes on.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long to wait before asking again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an operation on training runs failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// Training is off.
    #[error("training is off in this service; set TRAINING_FOLDER to turn it on")]
    Off,
    /// Fields of the request are wrong.
    #[error("request has invalid fields")]
    Invalid(Vec<FieldViolation>),
    /// No such run.
    #[error("training run {id} not found")]
    NotFound {
        /// The run asked for.
        id: TrainingRunId,
    },
    /// The request id was used for another file.
    #[error("request {request_id} started a run of another file; choose a new request_id")]
    RequestReused {
        /// The request.
        request_id: Uuid,
    },
    /// The registry has a model of that name.
    #[error("a model is named {model_id}; change model.name in the training file")]
    ModelExists {
        /// The name.
        model_id: ModelId,
    },
    /// The run can't be resumed.
    #[error("training run {id} is {state}; only an interrupted or cancelled one can be resumed")]
    NotResumable {
        /// The run.
        id: TrainingRunId,
        /// What became of it.
        state: TrainingState,
    },
    /// As many runs as allowed go on.
    #[error("{runs_max} training runs go on, as many as this service allows; try again later")]
    Full {
        /// The limit.
        runs_max: usize,
    },
    /// The service ends.
    #[error("service is stopping; try again later")]
    Stopping,
    /// The training file can't be followed.
    #[error("training file: {text}")]
    Training {
        /// Stable cause.
        reason: &'static str,
        /// Why, without paths.
        text: String,
    },
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read training run`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read training run`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TrainerError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl DomainError for TrainerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::RequestReused { .. } | Self::ModelExists { .. } => ErrorCode::AlreadyExists,
            Self::Off | Self::NotResumable { .. } | Self::Training { .. } => {
                ErrorCode::FailedPrecondition
            }
            Self::Full { .. } => ErrorCode::ResourceExhausted,
            Self::Stopping | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Off => "TRAINING_OFF",
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound { .. } => "TRAINING_NOT_FOUND",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::ModelExists { .. } => "MODEL_ALREADY_EXISTS",
            Self::NotResumable { .. } => "TRAINING_NOT_RESUMABLE",
            Self::Full { .. } => "TRAINING_RUNS_MAX",
            Self::Stopping => "STOPPING",
            Self::Training { reason, .. } => reason,
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Invalid(violations) = self { violations } else { &[] }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } | Self::Stopping => Some(FULL_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Off
            | Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::ModelExists { .. }
            | Self::NotResumable { .. }
            | Self::Training { .. }
            | Self::Store { .. } => None,
        }
    }
}
