//! Why an operation on diagnoses failed.

use std::time::Duration;

use neurotriage_domain::{DiagnosisId, DomainError, ErrorCode, FieldViolation};
use neurotriage_service_kit::audit::{AuditError, CallError};
use uuid::Uuid;

use crate::assessment::AssessmentError;

/// How long a caller waits before it tries again when every slot is taken: about one study.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Why an operation on diagnoses failed.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosisError {
    /// No such diagnosis.
    #[error("diagnosis {diagnosis_id} not found")]
    NotFound {
        /// The diagnosis asked for.
        diagnosis_id: DiagnosisId,
    },
    /// The request id was used for something else.
    #[error("request id {request_id} was used for another diagnosis; choose a new one")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// Another model serves than was asked for.
    #[error("model {found} serves, not the one asked for; promote that or leave model_id empty")]
    OtherModel {
        /// The model that serves.
        found: String,
    },
    /// Every slot is taken.
    #[error("too many diagnoses at a time; try again later")]
    Busy,
    /// The caller's time, or that of the service, is over.
    #[error("time is over; repeat request {request_id} with a longer deadline to go on")]
    DeadlineExceeded {
        /// What to repeat.
        request_id: Uuid,
    },
    /// A diagnosis that shall be compared has no segmentation.
    #[error("diagnosis {diagnosis_id} has no segmentation yet; repeat it until it is finished")]
    NotSegmented {
        /// The diagnosis.
        diagnosis_id: DiagnosisId,
    },
    /// The studies that shall be compared are of two patients.
    #[error("the studies are of different patients; choose two of one patient")]
    DifferentPatients,
    /// What was stored just before is not there.
    #[error("diagnosis of request {request_id} is not in the store any more")]
    Vanished {
        /// Its request.
        request_id: Uuid,
    },
    /// What an assessment and its sources refuse.
    #[error(transparent)]
    Assessment(#[from] AssessmentError),
}

impl From<AuditError> for DiagnosisError {
    fn from(error: AuditError) -> Self {
        Self::Assessment(error.into())
    }
}

impl From<CallError> for DiagnosisError {
    fn from(error: CallError) -> Self {
        Self::Assessment(error.into())
    }
}

impl DiagnosisError {
    /// Returns the error for one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Assessment(AssessmentError::field(field, description))
    }
}

impl DomainError for DiagnosisError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::RequestReused { .. } => ErrorCode::AlreadyExists,
            Self::OtherModel { .. } | Self::NotSegmented { .. } | Self::DifferentPatients => {
                ErrorCode::FailedPrecondition
            }
            Self::Busy => ErrorCode::ResourceExhausted,
            Self::DeadlineExceeded { .. } => ErrorCode::DeadlineExceeded,
            Self::Vanished { .. } => ErrorCode::Internal,
            Self::Assessment(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "DIAGNOSIS_NOT_FOUND",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::OtherModel { .. } => "OTHER_MODEL_SERVES",
            Self::Busy => "DIAGNOSES_BUSY",
            Self::DeadlineExceeded { .. } => "DEADLINE_EXCEEDED",
            Self::NotSegmented { .. } => "DIAGNOSIS_NOT_SEGMENTED",
            Self::DifferentPatients => "DIFFERENT_PATIENTS",
            Self::Vanished { .. } => "STORE_FAILED",
            Self::Assessment(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { diagnosis_id } | Self::NotSegmented { diagnosis_id } => {
                vec![("diagnosisId", diagnosis_id.to_string())]
            }
            Self::RequestReused { request_id }
            | Self::DeadlineExceeded { request_id }
            | Self::Vanished { request_id } => vec![("requestId", request_id.to_string())],
            Self::OtherModel { found } => vec![("servingModelId", found.clone())],
            Self::Busy | Self::DifferentPatients => Vec::new(),
            Self::Assessment(error) => error.metadata(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Assessment(error) = self { error.field_violations() } else { &[] }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(BUSY_RETRY_AFTER),
            Self::Assessment(error) => error.retry_after(),
            Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::OtherModel { .. }
            | Self::DeadlineExceeded { .. }
            | Self::NotSegmented { .. }
            | Self::DifferentPatients
            | Self::Vanished { .. } => None,
        }
    }
}
