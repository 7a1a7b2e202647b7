//! Why an operation on records failed.

use std::{error::Error, time::Duration};

use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, PatientId};
use neurotriage_service_kit::audit::{AuditError, CallError};
use uuid::Uuid;

use crate::entry::EntryKind;

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Most wrong fields that an answer names. They travel in its headers, of which clients take 16 KB.
pub const VIOLATIONS_MAX: usize = 32;
/// How long a caller waits before it tries to watch again.
const WATCH_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why an operation on records failed. No variant holds patient data.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields; see the field violations")]
    Invalid(Vec<FieldViolation>),

    /// The call may not, or can't be named in the audit.
    #[error(transparent)]
    Call(#[from] CallError),

    /// No such patient.
    #[error("patient {patient_id} not found")]
    PatientNotFound {
        /// The patient asked for.
        patient_id: PatientId,
    },

    /// No such entry.
    #[error("entry {entry_id} not found")]
    EntryNotFound {
        /// The kind asked for; none if every kind would do.
        kind: Option<EntryKind>,
        /// The entry asked for.
        entry_id: Uuid,
    },

    /// The request id was used for other content.
    #[error("request {request_id} was used for other content; choose a new request_id")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },

    /// What the request made is not there any more.
    #[error(
        "what request {request_id} made was deleted since; choose a new request_id to make another"
    )]
    DeletedSince {
        /// The id.
        request_id: Uuid,
    },

    /// The issuer gave this number to a patient who is registered already.
    #[error("medical record number is registered already for this issuer; look the patient up")]
    NumberTaken {
        /// Who has it, if the call may know of them.
        patient_id: Option<PatientId>,
    },

    /// The study belongs to a patient already.
    #[error("study is linked to a patient already; delete that link first")]
    StudyLinked {
        /// To whom, if the call may know of them.
        patient_id: Option<PatientId>,
    },

    /// The record changed since the caller read it.
    #[error("record is at revision {revision}; read it again and decide anew")]
    Stale {
        /// The current one.
        revision: u64,
    },

    /// The patient is not deleted.
    #[error("patient {patient_id} is not deleted")]
    NotDeleted {
        /// The patient.
        patient_id: PatientId,
    },

    /// The duplicate was merged into somebody else.
    #[error("patient {patient_id} was merged into {into} already")]
    AlreadyMerged {
        /// The duplicate.
        patient_id: PatientId,
        /// Into whom.
        into: PatientId,
    },

    /// The patient was merged into another, who is not to be met under the old id.
    #[error("patient {patient_id} was merged into {into}; name that one")]
    MergedAway {
        /// The patient asked for.
        patient_id: PatientId,
        /// Who remains.
        into: PatientId,
    },

    /// As many as allowed watch.
    #[error("{watchers_max} callers watch already; try again later")]
    TooManyWatchers {
        /// How many may.
        watchers_max: usize,
    },

    /// As many as allowed of the caller's hospital watch.
    #[error("{watchers_max} callers of your hospital watch already; end one of those watches")]
    TooManyWatchersOfHospital {
        /// How many of one hospital may.
        watchers_max: usize,
    },

    /// Nothing came of a batch for too long.
    #[error(
        "no create came for {idle_max_s} s; what came before may be stored: send the batch again with the same request_ids"
    )]
    BatchIdle {
        /// Longest wait for the next create, in seconds.
        idle_max_s: u64,
    },

    /// The service ends.
    #[error("the service is shutting down; watch again from the last resume_token")]
    ShuttingDown,

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

    /// Returns the error of a bug or of data that can't be read.
    pub(crate) fn store(
        operation: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Store { operation, source: source.into() }
    }
}

impl From<FieldViolation> for RecordsError {
    fn from(wrong: FieldViolation) -> Self {
        Self::Invalid(vec![wrong])
    }
}

impl From<AuditError> for RecordsError {
    fn from(error: AuditError) -> Self {
        let AuditError { operation, source, is_away } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
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
            Self::Call(error) => error.code(),
            Self::PatientNotFound { .. } | Self::EntryNotFound { .. } => ErrorCode::NotFound,
            Self::RequestReused { .. } | Self::NumberTaken { .. } | Self::StudyLinked { .. } => {
                ErrorCode::AlreadyExists
            }
            Self::Stale { .. } | Self::BatchIdle { .. } => ErrorCode::Aborted,
            Self::DeletedSince { .. }
            | Self::NotDeleted { .. }
            | Self::AlreadyMerged { .. }
            | Self::MergedAway { .. } => ErrorCode::FailedPrecondition,
            Self::TooManyWatchers { .. } | Self::TooManyWatchersOfHospital { .. } => {
                ErrorCode::ResourceExhausted
            }
            Self::ShuttingDown | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Call(error) => error.reason(),
            Self::PatientNotFound { .. } => "PATIENT_NOT_FOUND",
            Self::EntryNotFound { kind, .. } => match kind {
                Some(EntryKind::SymptomReport) => "SYMPTOM_REPORT_NOT_FOUND",
                Some(EntryKind::StudyLink) => "STUDY_LINK_NOT_FOUND",
                Some(EntryKind::Note) => "NOTE_NOT_FOUND",
                None => "ENTRY_NOT_FOUND",
            },
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::DeletedSince { .. } => "DELETED_SINCE",
            Self::NumberTaken { .. } => "MEDICAL_RECORD_NUMBER_TAKEN",
            Self::StudyLinked { .. } => "STUDY_LINKED",
            Self::Stale { .. } => "REVISION_STALE",
            Self::NotDeleted { .. } => "NOT_DELETED",
            Self::AlreadyMerged { .. } => "ALREADY_MERGED",
            Self::MergedAway { .. } => "MERGED_AWAY",
            Self::TooManyWatchers { .. } => "TOO_MANY_WATCHERS",
            Self::TooManyWatchersOfHospital { .. } => "TOO_MANY_WATCHERS_OF_HOSPITAL",
            Self::BatchIdle { .. } => "BATCH_IDLE",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Call(error) => error.metadata(),
            Self::PatientNotFound { patient_id }
            | Self::NotDeleted { patient_id }
            | Self::MergedAway { into: patient_id, .. } => {
                vec![("patientId", patient_id.to_string())]
            }
            Self::NumberTaken { patient_id } | Self::StudyLinked { patient_id } => {
                patient_id.iter().map(|id| ("patientId", id.to_string())).collect()
            }
            Self::EntryNotFound { kind, entry_id } => {
                let name = match kind {
                    Some(EntryKind::SymptomReport) => "symptomReportId",
                    Some(EntryKind::StudyLink | EntryKind::Note) | None => "entryId",
                };
                vec![(name, entry_id.to_string())]
            }
            Self::RequestReused { request_id } | Self::DeletedSince { request_id } => {
                vec![("requestId", request_id.to_string())]
            }
            Self::Stale { revision } => vec![("revision", revision.to_string())],
            Self::AlreadyMerged { patient_id, into } => {
                vec![("patientId", patient_id.to_string()), ("mergedInto", into.to_string())]
            }
            Self::TooManyWatchers { watchers_max }
            | Self::TooManyWatchersOfHospital { watchers_max } => {
                vec![("watchersMax", watchers_max.to_string())]
            }
            Self::BatchIdle { idle_max_s } => vec![("idleMaxSeconds", idle_max_s.to_string())],
            Self::Invalid(_)
            | Self::ShuttingDown
            | Self::Unavailable { .. }
            | Self::Store { .. } => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Invalid(violations) = self {
            &violations[..violations.len().min(VIOLATIONS_MAX)]
        } else {
            &[]
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::TooManyWatchers { .. }
            | Self::TooManyWatchersOfHospital { .. }
            | Self::ShuttingDown => Some(WATCH_RETRY_AFTER),
            Self::Invalid(_)
            | Self::PatientNotFound { .. }
            | Self::EntryNotFound { .. }
            | Self::RequestReused { .. }
            | Self::DeletedSince { .. }
            | Self::NumberTaken { .. }
            | Self::StudyLinked { .. }
            | Self::Stale { .. }
            | Self::NotDeleted { .. }
            | Self::AlreadyMerged { .. }
            | Self::MergedAway { .. }
            | Self::BatchIdle { .. }
            | Self::Store { .. } => None,
        }
    }
}
