//! Why a move was refused, and why a history does not make a referral.

use neurotriage_domain::{DomainError, ErrorCode, ReferralId};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{
    EVENTS_MAX,
    rules::{MoveKind, Role, State},
};

/// A refused move: what was tried, in which state, and what would have been legal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {attempted} a referral that is {state}: {refusal}; legal here: {}", list(.legal))]
pub struct MoveError {
    /// State that the referral is in.
    pub state: State,
    /// Revision that the referral is at.
    pub revision: u64,
    /// What was tried.
    pub attempted: MoveKind,
    /// What the actor's role may do now, in the order of [`MoveKind`]; for a stale revision or a
    /// stranger, too.
    pub legal: Vec<MoveKind>,
    /// Why not.
    pub refusal: Refusal,
}

/// Why a move was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller has not seen the last change: read the referral and decide again.
    #[error("revision {expected} is not the current one, which is {current}")]
    Stale {
        /// Revision that the caller named.
        expected: u64,
        /// Revision that the referral is at.
        current: u64,
    },
    /// The state does not allow it to anyone.
    #[error("no such move from this state")]
    NotLegal,
    /// The state allows it to others.
    #[error("a {role} may not")]
    RoleNotAllowed {
        /// As whom the caller acted.
        role: Role,
    },
    /// The caller is another hospital or another referrer.
    #[error("this {role} is not a party to it")]
    NotParty {
        /// As whom the caller acted.
        role: Role,
    },
    /// The time to answer is over, whether or not the referral was closed already.
    #[error("its deadline {} has passed", stamp(.deadline_at))]
    DeadlinePassed {
        /// The deadline.
        deadline_at: OffsetDateTime,
    },
    /// The time to answer is not over.
    #[error("its deadline {} has not passed", stamp(.deadline_at))]
    DeadlineAhead {
        /// The deadline.
        deadline_at: OffsetDateTime,
    },
    /// It has no deadline.
    #[error("it has no deadline")]
    NoDeadline,
    /// The appointment does not lie ahead.
    #[error("an appointment must lie after {}", stamp(.now))]
    ScheduledInPast {
        /// When the move was made.
        now: OffsetDateTime,
    },
    /// The request id was used for something else.
    #[error("request id {request_id} was used for another move; choose a new one")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// It was given too many appointments; it can only end now.
    #[error("it has {events} events of at most {EVENTS_MAX}")]
    TooManyEvents {
        /// Events that it has.
        events: u64,
    },
}

fn stamp(time: &OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

fn list(legal: &[MoveKind]) -> String {
    if legal.is_empty() {
        return "nothing".to_owned();
    }
    legal.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

impl DomainError for MoveError {
    fn code(&self) -> ErrorCode {
        match self.refusal {
            Refusal::Stale { .. }
            | Refusal::NotLegal
            | Refusal::DeadlinePassed { .. }
            | Refusal::DeadlineAhead { .. }
            | Refusal::NoDeadline
            | Refusal::TooManyEvents { .. } => ErrorCode::FailedPrecondition,
            Refusal::RoleNotAllowed { .. } | Refusal::NotParty { .. } => {
                ErrorCode::PermissionDenied
            }
            Refusal::ScheduledInPast { .. } => ErrorCode::InvalidArgument,
            Refusal::RequestReused { .. } => ErrorCode::AlreadyExists,
        }
    }

    fn reason(&self) -> &'static str {
        match self.refusal {
            Refusal::Stale { .. } => "REVISION_STALE",
            Refusal::NotLegal => "MOVE_NOT_LEGAL",
            Refusal::RoleNotAllowed { .. } => "ROLE_NOT_ALLOWED",
            Refusal::NotParty { .. } => "NOT_PARTY",
            Refusal::DeadlinePassed { .. } => "DEADLINE_PASSED",
            Refusal::DeadlineAhead { .. } => "DEADLINE_AHEAD",
            Refusal::NoDeadline => "NO_DEADLINE",
            Refusal::ScheduledInPast { .. } => "SCHEDULED_IN_PAST",
            Refusal::RequestReused { .. } => "REQUEST_ID_REUSED",
            Refusal::TooManyEvents { .. } => "TOO_MANY_EVENTS",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![
            ("state", self.state.to_string()),
            ("revision", self.revision.to_string()),
            ("move", self.attempted.to_string()),
            ("legalMoves", list(&self.legal)),
        ]
    }
}

/// Why a list of events is not the history of a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There are none.
    #[error("referral {referral_id} has no events")]
    Empty {
        /// The referral.
        referral_id: ReferralId,
    },
    /// One is missing, doubled or out of order.
    #[error("event {found} stands where event {expected} should")]
    Gap {
        /// Revision that should have come.
        expected: u64,
        /// Revision that came.
        found: u64,
    },
    /// One belongs to another referral.
    #[error("event {revision} belongs to referral {referral_id}")]
    Foreign {
        /// Its revision.
        revision: u64,
        /// Whose it is.
        referral_id: ReferralId,
    },
    /// One makes a move that its state does not allow; the first must be the draft and no other.
    #[error("event {revision} is not legal where it stands")]
    NotLegal {
        /// Its revision.
        revision: u64,
    },
}
