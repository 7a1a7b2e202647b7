//! Why an operation on records failed.

use std::{error::Error, time::Duration};

use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, PatientId, SymptomReportId};
use uuid::Uuid;

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an operation on records failed. No variant holds patient data.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields; see the field violations")]
    Invalid(Vec<FieldViolation>),

    /// No such patient.
    #[error("patient {patient_id} not found")]
    PatientNotFound {
        /// The patient asked for.
        patient_id: PatientId,
    },

    /// No such symptom report.
    #[error("symptom report {symptom_report_id} not found")]
    SymptomReportNotFound {
        /// The report asked for.
        symptom_report_id: SymptomReportId,
    },

    /// The request id was used for other content.
    #[error("request {request_id} was used for other content; choose a new request_id")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },

    /// The issuer gave this number to a patient who is registered already.
    #[error("medical record number is registered already for this issuer; look the patient up")]
    NumberTaken,

    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read patient`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read patient`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl RecordsError {
    /// Returns the error of one wrong field; `description` says what would be right.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![violation(field, description)])
    }
}

/// Returns a wrong field; `description` says what would be right.
pub(crate) fn violation(field: &str, description: impl Into<String>) -> FieldViolation {
    FieldViolation { field: field.to_owned(), description: description.into() }
}

impl DomainError for RecordsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::PatientNotFound { .. } | Self::SymptomReportNotFound { .. } => {
                ErrorCode::NotFound
            }
            Self::RequestReused { .. } | Self::NumberTaken => ErrorCode::AlreadyExists,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::PatientNotFound { .. } => "PATIENT_NOT_FOUND",
            Self::SymptomReportNotFound { .. } => "SYMPTOM_REPORT_NOT_FOUND",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::NumberTaken => "MEDICAL_RECORD_NUMBER_TAKEN",
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::PatientNotFound { patient_id } => vec![("patientId", patient_id.to_string())],
            Self::SymptomReportNotFound { symptom_report_id } => {
                vec![("symptomReportId", symptom_report_id.to_string())]
            }
            Self::RequestReused { request_id } => vec![("requestId", request_id.to_string())],
            Self::Invalid(_)
            | Self::NumberTaken
            | Self::Unavailable { .. }
            | Self::Store { .. } => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::PatientNotFound { .. }
            | Self::SymptomReportNotFound { .. }
            | Self::RequestReused { .. }
            | Self::NumberTaken
            | Self::Unavailable { .. }
            | Self::Store { .. } => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Unavailable { .. }).then_some(DATABASE_RETRY_AFTER)
    }
}
