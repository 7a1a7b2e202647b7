//! Why an operation on segmentations failed.

use std::{error::Error, time::Duration};

use neurotriage_anatomy::AnatomyError;
use neurotriage_blobs::BlobError;
use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, SegmentationId, StudyId};
use neurotriage_imaging::ImagingError;
use neurotriage_network::NetworkError;
use neurotriage_service_kit::audit::{AuditError, CallError};

use crate::{engine::EngineError, placement::PlacementError};

/// How long a caller waits before it tries again when the queue is full: about one study.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an operation on segmentations failed.
#[derive(Debug, thiserror::Error)]
pub enum SegmentationError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields")]
    Invalid(Vec<FieldViolation>),
    /// A mask file cannot be used.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The mask cannot be localised.
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    /// No such segmentation.
    #[error("segmentation {segmentation_id} not found")]
    NotFound {
        /// The segmentation asked for.
        segmentation_id: SegmentationId,
    },
    /// The study has no mask by the model that serves.
    #[error("study {study_id} was not segmented by the model that serves; segment it first")]
    NotSegmented {
        /// The study asked for.
        study_id: StudyId,
    },
    /// The model was trained on another preprocessing.
    #[error(
        "study was prepared as {found}, the model needs {needed}; upload the study again or load \
         a model of that profile"
    )]
    ProfileMismatch {
        /// Profile and version of the study.
        found: String,
        /// Profile and version of the model.
        needed: String,
    },
    /// The queue is full.
    #[error("too many studies wait for the network; try again later")]
    QueueFull,
    /// Every slot for localising is taken.
    #[error("too many calls of Localise at a time; try again later")]
    Busy,
    /// The caller went away.
    #[error("call was cancelled")]
    Cancelled,
    /// Another service failed or refused.
    #[error("{0}")]
    Upstream(Box<dyn DomainError>),
    /// The network failed.
    #[error("run network")]
    Engine(#[source] EngineError),
    /// The caller may not touch it, or can't be named.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read segmentation`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read segmentation`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<EngineError> for SegmentationError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::QueueFull => Self::QueueFull,
            EngineError::Cancelled => Self::Cancelled,
            EngineError::Placement(PlacementError::Anatomy(error)) => Self::Anatomy(error),
            EngineError::Stopped | EngineError::Network(_) | EngineError::Placement(_) => {
                Self::Engine(error)
            }
        }
    }
}

impl From<AuditError> for SegmentationError {
    fn from(error: AuditError) -> Self {
        let AuditError { operation, source, is_away } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
    }
}

impl From<NetworkError> for SegmentationError {
    fn from(error: NetworkError) -> Self {
        Self::Engine(EngineError::Network(error))
    }
}

impl SegmentationError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl DomainError for SegmentationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Image(_) | Self::Anatomy(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } | Self::NotSegmented { .. } => ErrorCode::NotFound,
            Self::ProfileMismatch { .. } => ErrorCode::FailedPrecondition,
            Self::QueueFull | Self::Busy => ErrorCode::ResourceExhausted,
            Self::Cancelled | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Call(error) => error.code(),
            Self::Upstream(error) => error.code(),
            Self::Engine(EngineError::Stopped) => ErrorCode::Unavailable,
            Self::Engine(_) | Self::Store { .. } => ErrorCode::Internal,
            Self::Blob(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Image(_) => "INVALID_IMAGE",
            Self::Anatomy(_) => "INVALID_MASK",
            Self::NotFound { .. } => "SEGMENTATION_NOT_FOUND",
            Self::NotSegmented { .. } => "STUDY_NOT_SEGMENTED",
            Self::ProfileMismatch { .. } => "PROFILE_MISMATCH",
            Self::QueueFull => "QUEUE_FULL",
            Self::Busy => "UPLOADS_BUSY",
            Self::Cancelled => "CANCELLED",
            Self::Upstream(error) => error.reason(),
            Self::Engine(_) => "NETWORK_FAILED",
            Self::Call(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
            Self::Blob(error) => error.reason(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Invalid(violations) = self { violations } else { &[] }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Upstream(error) => error.metadata(),
            Self::Call(error) => error.metadata(),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::Anatomy(_)
            | Self::NotFound { .. }
            | Self::NotSegmented { .. }
            | Self::ProfileMismatch { .. }
            | Self::QueueFull
            | Self::Busy
            | Self::Cancelled
            | Self::Engine(_)
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Blob(_) => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(error) => error.retry_after(),
            Self::Call(error) => error.retry_after(),
            Self::QueueFull | Self::Busy => Some(QUEUE_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::Anatomy(_)
            | Self::NotFound { .. }
            | Self::NotSegmented { .. }
            | Self::ProfileMismatch { .. }
            | Self::Cancelled
            | Self::Engine(_)
            | Self::Store { .. }
            | Self::Blob(_) => None,
        }
    }
}
