//! Why an operation on studies failed.

use std::{error::Error, time::Duration};

use neurotriage_blobs::BlobError;
use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, Modality, StudyId};
use neurotriage_imaging::ImagingError;
use neurotriage_service_kit::audit::{AuditError, CallError};
use uuid::Uuid;

/// How long a caller waits before it tries again when all upload slots are taken.
const UPLOAD_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an operation on studies failed.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", list(.0))]
    Invalid(Vec<FieldViolation>),
    /// A file cannot be used.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The caller sent more than one file may hold.
    #[error(
        "{modality} volume: larger than {limit_bytes} bytes; send a smaller or compressed file"
    )]
    FileTooLarge {
        /// Sequence that the file holds.
        modality: Modality,
        /// The limit.
        limit_bytes: usize,
    },
    /// Every upload slot is taken.
    #[error("too many uploads are running; try again later")]
    Busy,
    /// No such study.
    #[error("study {study_id} not found")]
    NotFound {
        /// The study asked for.
        study_id: StudyId,
    },
    /// The request id was used for another upload.
    #[error("request {request_id} was used for another upload; choose a new request_id")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// The call may not, or can't be named in the audit.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read study`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read study`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn list(violations: &[FieldViolation]) -> String {
    let texts: Vec<String> =
        violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    texts.join("; ")
}

impl StudyError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl From<AuditError> for StudyError {
    fn from(error: AuditError) -> Self {
        let AuditError { operation, source, is_away } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
    }
}

impl DomainError for StudyError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Image(_) => ErrorCode::InvalidArgument,
            Self::FileTooLarge { .. } | Self::Busy => ErrorCode::ResourceExhausted,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::RequestReused { .. } => ErrorCode::AlreadyExists,
            Self::Call(error) => error.code(),
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store { .. } => ErrorCode::Internal,
            Self::Blob(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Image(_) => "INVALID_IMAGE",
            Self::FileTooLarge { .. } => "FILE_TOO_LARGE",
            Self::Busy => "UPLOADS_BUSY",
            Self::NotFound { .. } => "STUDY_NOT_FOUND",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::Call(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
            Self::Blob(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Call(error) => error.metadata(),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::FileTooLarge { .. }
            | Self::Busy
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Blob(_) => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::Image(_)
            | Self::FileTooLarge { .. }
            | Self::Busy
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::Call(_)
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Blob(_) => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(UPLOAD_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Call(error) => error.retry_after(),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::FileTooLarge { .. }
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::Store { .. }
            | Self::Blob(_) => None,
        }
    }
}
