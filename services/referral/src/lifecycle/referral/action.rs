//! What a caller asks for: an action, by whom, under which request id.

use std::{fmt, str::FromStr};

use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::rules::{MoveKind, Role};

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// Longest id of an actor, in bytes: that of a hospital id doubled, for ids of other systems.
pub const ACTOR_ID_BYTES_MAX: usize = 128;

/// Why a referral was declined or cancelled: 1 to [`REASON_CHARS_MAX`] characters, no blanks around
/// them.
///
/// People write it, so it may name a patient: `Debug` and every error keep it to themselves, and no
/// event carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = InvalidAction;

    /// # Errors
    /// [`InvalidAction::ReasonLength`] unless `text`, without blanks around it, has 1 to
    /// [`REASON_CHARS_MAX`] characters.
    fn from_str(text: &str) -> Result<Self, InvalidAction> {
        let text = text.trim();
        let chars = text.chars().count();
        if chars == 0 || chars > REASON_CHARS_MAX {
            return Err(InvalidAction::ReasonLength { chars });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({} characters)", self.0.chars().count())
    }
}

/// Text that names no actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("actor id must be 1 to {ACTOR_ID_BYTES_MAX} visible ASCII characters")]
pub struct InvalidActorId;

/// Identifies who acts: 1 to [`ACTOR_ID_BYTES_MAX`] visible ASCII characters.
///
/// It names an organisation or a system, never a person: a hospital's is its `hospital_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActorId(String);

impl ActorId {
    /// Returns the identifier of this service, which closes what nobody answered.
    pub fn system() -> Self {
        Self("neurotriage-referral".to_owned())
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActorId {
    type Err = InvalidActorId;

    /// # Errors
    /// [`InvalidActorId`] if it is empty, too long, or holds blanks or other letters than ASCII.
    fn from_str(text: &str) -> Result<Self, InvalidActorId> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > ACTOR_ID_BYTES_MAX || !visible {
            return Err(InvalidActorId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who acts, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// As whom.
    pub role: Role,
    /// Who.
    pub id: ActorId,
}

/// A move with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the draft to the hospital.
    Request,
    /// Confirm that the request was seen.
    Receive,
    /// Take the patient.
    Accept,
    /// Not take the patient.
    Decline {
        /// Why.
        reason: Reason,
    },
    /// Give an appointment, or another one.
    Schedule {
        /// When the patient is to come.
        scheduled_at: OffsetDateTime,
    },
    /// Say that the patient was seen.
    Complete,
    /// Withdraw.
    Cancel {
        /// Why.
        reason: Reason,
    },
    /// Close what nobody answered in time.
    Expire,
}

/// Why the parts of a request make no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAction {
    /// The move needs a reason.
    #[error("{kind} needs a reason")]
    ReasonMissing {
        /// The move.
        kind: MoveKind,
    },
    /// The move takes no reason.
    #[error("{kind} takes no reason")]
    ReasonUnwanted {
        /// The move.
        kind: MoveKind,
    },
    /// The reason is too long or only blank.
    #[error("reason has {chars} characters; expected 1 to {REASON_CHARS_MAX}")]
    ReasonLength {
        /// How many it has, without blanks around it.
        chars: usize,
    },
    /// The move needs a time.
    #[error("{kind} needs a time")]
    TimeMissing {
        /// The move.
        kind: MoveKind,
    },
    /// The move takes no time.
    #[error("{kind} takes no time")]
    TimeUnwanted {
        /// The move.
        kind: MoveKind,
    },
}

impl InvalidAction {
    /// Returns the name of the part that is wrong: `reason` or `scheduled_at`.
    pub fn field(&self) -> &'static str {
        match self {
            Self::ReasonMissing { .. }
            | Self::ReasonUnwanted { .. }
            | Self::ReasonLength { .. } => "reason",
            Self::TimeMissing { .. } | Self::TimeUnwanted { .. } => "scheduled_at",
        }
    }
}

impl Action {
    /// Returns the action of `kind`, made of the optional parts of a request or a row.
    ///
    /// # Errors
    /// [`InvalidAction`] says which part is missing, unwanted or wrong.
    pub fn from_parts(
        kind: MoveKind,
        reason: Option<&str>,
        scheduled_at: Option<OffsetDateTime>,
    ) -> Result<Self, InvalidAction> {
        let takes_reason = matches!(kind, MoveKind::Decline | MoveKind::Cancel);
        if reason.is_some() && !takes_reason {
            return Err(InvalidAction::ReasonUnwanted { kind });
        }
        if scheduled_at.is_some() && kind != MoveKind::Schedule {
            return Err(InvalidAction::TimeUnwanted { kind });
        }
        let parsed = || reason.ok_or(InvalidAction::ReasonMissing { kind })?.parse();
        Ok(match kind {
            MoveKind::Request => Self::Request,
            MoveKind::Receive => Self::Receive,
            MoveKind::Accept => Self::Accept,
            MoveKind::Decline => Self::Decline { reason: parsed()? },
            MoveKind::Schedule => Self::Schedule {
                scheduled_at: stored_time(scheduled_at.ok_or(InvalidAction::TimeMissing { kind })?),
            },
            MoveKind::Complete => Self::Complete,
            MoveKind::Cancel => Self::Cancel { reason: parsed()? },
            MoveKind::Expire => Self::Expire,
        })
    }

    /// Returns which move it is.
    pub fn kind(&self) -> MoveKind {
        match self {
            Self::Request => MoveKind::Request,
            Self::Receive => MoveKind::Receive,
            Self::Accept => MoveKind::Accept,
            Self::Decline { .. } => MoveKind::Decline,
            Self::Schedule { .. } => MoveKind::Schedule,
            Self::Complete => MoveKind::Complete,
            Self::Cancel { .. } => MoveKind::Cancel,
            Self::Expire => MoveKind::Expire,
        }
    }

    /// Returns the reason, if the move has one.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Decline { reason } | Self::Cancel { reason } => Some(reason),
            Self::Request
            | Self::Receive
            | Self::Accept
            | Self::Schedule { .. }
            | Self::Complete
            | Self::Expire => None,
        }
    }

    /// Returns the time of the appointment, if the move gives one.
    pub fn scheduled_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Schedule { scheduled_at } => Some(*scheduled_at),
            Self::Request
            | Self::Receive
            | Self::Accept
            | Self::Decline { .. }
            | Self::Complete
            | Self::Cancel { .. }
            | Self::Expire => None,
        }
    }

    /// Returns the action as a store gives it back.
    pub(super) fn stored(self) -> Self {
        match self {
            Self::Schedule { scheduled_at } => {
                Self::Schedule { scheduled_at: stored_time(scheduled_at) }
            }
            Self::Request
            | Self::Receive
            | Self::Accept
            | Self::Decline { .. }
            | Self::Complete
            | Self::Cancel { .. }
            | Self::Expire => self,
        }
    }
}

/// One request to move a referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Chosen by the caller, unique to this request.
    pub request_id: Uuid,
    /// What to do.
    pub action: Action,
}

/// Returns `time` in UTC and whole microseconds: what PostgreSQL keeps, so that a repeated request
/// compares equal to what was stored.
pub(crate) fn stored_time(time: OffsetDateTime) -> OffsetDateTime {
    let utc = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    utc.replace_microsecond(utc.microsecond()).unwrap_or(utc)
}
