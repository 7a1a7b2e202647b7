//! Why an operation on referrals failed.

use std::{error::Error, time::Duration};

use neurotriage_domain::{
    AssessmentId, DomainError, ErrorCode, EventId, FieldViolation, HospitalId, ReferralId,
};
use neurotriage_service_kit::audit::{AuditError, CallError};
use uuid::Uuid;

use super::referral::{MoveError, Role};

/// How long a caller waits that met others at the same referral, a full house, or a shutdown.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why an operation on referrals failed.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", list(.0))]
    Invalid(Vec<FieldViolation>),
    /// No such referral.
    #[error("referral {referral_id} not found")]
    NotFound {
        /// The referral asked for.
        referral_id: ReferralId,
    },
    /// No such assessment.
    #[error("assessment {assessment_id} not found")]
    AssessmentNotFound {
        /// The assessment asked for.
        assessment_id: AssessmentId,
    },
    /// No such hospital.
    #[error("hospital {hospital_id} not found")]
    HospitalNotFound {
        /// The hospital asked for.
        hospital_id: HospitalId,
    },
    /// The hospital takes no referrals.
    #[error("hospital {hospital_id} takes no referrals; choose another")]
    HospitalClosed {
        /// The hospital asked for.
        hospital_id: HospitalId,
    },
    /// The hospital would have no time to answer.
    #[error("deadline_at must lie ahead")]
    DeadlineInPast,
    /// The request id was used for something else.
    #[error("request id {request_id} was used for another referral; choose a new one")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// The move is refused.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// Others moved the referral each time that this was tried.
    #[error("referral {referral_id} is being moved by others; try again")]
    Contended {
        /// The referral.
        referral_id: ReferralId,
    },
    /// No such event on its way to a hospital.
    #[error("event {event_id} was never to be delivered")]
    EventNotFound {
        /// The event asked for.
        event_id: EventId,
    },
    /// The event is no dead letter.
    #[error("event {event_id} is no dead letter that was given up at that time; list them again")]
    NotDead {
        /// The event.
        event_id: EventId,
    },
    /// Too many watch already.
    #[error("{watchers_max} callers watch already; try again later")]
    TooManyWatchers {
        /// Most that may.
        watchers_max: usize,
    },
    /// More happens than a watcher can be told.
    #[error("too much happens at the hospital to be watched; list events instead")]
    WatchOverrun,
    /// The service ends.
    #[error("the service is shutting down; watch again from the last event")]
    Stopping,
    /// The caller's hospital is on the other side of the referral.
    #[error("the caller's hospital is not the {role} of referral {referral_id}")]
    OtherSide {
        /// The referral.
        referral_id: ReferralId,
        /// As whom the caller would act.
        role: Role,
    },
    /// The call can't be answered for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed.
    #[error("{operation}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn list(violations: &[FieldViolation]) -> String {
    let parts: Vec<String> = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect();
    parts.join("; ")
}

impl From<AuditError> for LifecycleError {
    fn from(error: AuditError) -> Self {
        let AuditError { operation, source, is_away } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
    }
}

impl LifecycleError {
    /// Returns the error for one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let (field, description) = (field.to_owned(), description.into());
        Self::Invalid(vec![FieldViolation { field, description }])
    }
}

impl DomainError for LifecycleError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::DeadlineInPast => ErrorCode::InvalidArgument,
            Self::NotFound { .. }
            | Self::AssessmentNotFound { .. }
            | Self::HospitalNotFound { .. }
            | Self::EventNotFound { .. } => ErrorCode::NotFound,
            Self::HospitalClosed { .. } | Self::NotDead { .. } => ErrorCode::FailedPrecondition,
            Self::RequestReused { .. } => ErrorCode::AlreadyExists,
            Self::Move(error) => error.code(),
            Self::TooManyWatchers { .. } | Self::WatchOverrun => ErrorCode::ResourceExhausted,
            Self::OtherSide { .. } => ErrorCode::PermissionDenied,
            Self::Call(error) => error.code(),
            Self::Contended { .. } | Self::Stopping | Self::Unavailable { .. } => {
                ErrorCode::Unavailable
            }
            Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound { .. } => "REFERRAL_NOT_FOUND",
            Self::AssessmentNotFound { .. } => "ASSESSMENT_NOT_FOUND",
            Self::HospitalNotFound { .. } => "HOSPITAL_NOT_FOUND",
            Self::HospitalClosed { .. } => "HOSPITAL_CLOSED",
            Self::DeadlineInPast => "DEADLINE_IN_PAST",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::Move(error) => error.reason(),
            Self::Contended { .. } => "REFERRAL_CONTENDED",
            Self::EventNotFound { .. } => "EVENT_NOT_FOUND",
            Self::NotDead { .. } => "NOT_DEAD",
            Self::TooManyWatchers { .. } => "TOO_MANY_WATCHERS",
            Self::WatchOverrun => "WATCH_OVERRUN",
            Self::Stopping => "SHUTTING_DOWN",
            Self::OtherSide { .. } => "NOT_PARTY",
            Self::Call(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { referral_id }
            | Self::Contended { referral_id }
            | Self::OtherSide { referral_id, .. } => {
                vec![("referralId", referral_id.to_string())]
            }
            Self::Call(error) => error.metadata(),
            Self::AssessmentNotFound { assessment_id } => {
                vec![("assessmentId", assessment_id.to_string())]
            }
            Self::HospitalNotFound { hospital_id } | Self::HospitalClosed { hospital_id } => {
                vec![("hospitalId", hospital_id.to_string())]
            }
            Self::RequestReused { request_id } => vec![("requestId", request_id.to_string())],
            Self::EventNotFound { event_id } | Self::NotDead { event_id } => {
                vec![("eventId", event_id.to_string())]
            }
            Self::Move(error) => error.metadata(),
            Self::Invalid(_)
            | Self::DeadlineInPast
            | Self::TooManyWatchers { .. }
            | Self::WatchOverrun
            | Self::Stopping
            | Self::Unavailable { .. }
            | Self::Store { .. } => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::NotFound { .. }
            | Self::AssessmentNotFound { .. }
            | Self::HospitalNotFound { .. }
            | Self::HospitalClosed { .. }
            | Self::DeadlineInPast
            | Self::RequestReused { .. }
            | Self::Move(_)
            | Self::Contended { .. }
            | Self::EventNotFound { .. }
            | Self::NotDead { .. }
            | Self::TooManyWatchers { .. }
            | Self::WatchOverrun
            | Self::Stopping
            | Self::OtherSide { .. }
            | Self::Call(_)
            | Self::Unavailable { .. }
            | Self::Store { .. } => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self.code(), ErrorCode::ResourceExhausted | ErrorCode::Unavailable)
            .then_some(RETRY_AFTER)
    }
}
