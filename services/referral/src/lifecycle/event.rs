//! Events as they leave the system: that a referral moved, and nothing about whom.
//!
//! An event carries ids, a kind, a role and a time. Whoever wants more asks for the referral, and
//! is then subject to whatever guards that.

use std::fmt;

use neurotriage_domain::{EventId, ReferralId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::lifecycle::referral::{Change, Event, MoveKind, Role, State, names};

/// Version of the JSON form. New members may come without a new version; readers skip what they do
/// not know.
pub const EVENT_VERSION: u32 = 1;

/// Longest JSON form that is read, in bytes: 50 times what version 1 needs.
pub const EVENT_JSON_BYTES_MAX: usize = 16 * 1024;

names! {
    /// What happened.
    EventKind {
        /// Written, not sent.
        Drafted = "drafted",
        /// Sent to the hospital.
        Requested = "requested",
        /// Seen by the hospital.
        Received = "received",
        /// Taken.
        Accepted = "accepted",
        /// Not taken.
        Declined = "declined",
        /// Given its first appointment.
        Scheduled = "scheduled",
        /// Given another appointment.
        Rescheduled = "rescheduled",
        /// The patient was seen.
        Completed = "completed",
        /// Withdrawn.
        Cancelled = "cancelled",
        /// Not answered in time.
        Expired = "expired",
    }
}

impl EventKind {
    /// Returns the kind of `change`.
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Drafted => Self::Drafted,
            Change::Moved { from, action, to } => Self::of_move(action.kind(), *from, *to),
        }
    }

    /// Returns the kind of a move.
    pub fn of_move(kind: MoveKind, from: State, to: State) -> Self {
        match kind {
            MoveKind::Request => Self::Requested,
            MoveKind::Receive => Self::Received,
            MoveKind::Accept => Self::Accepted,
            MoveKind::Decline => Self::Declined,
            // The only move that leads back to where it began.
            MoveKind::Schedule if from == to => Self::Rescheduled,
            MoveKind::Schedule => Self::Scheduled,
            MoveKind::Complete => Self::Completed,
            MoveKind::Cancel => Self::Cancelled,
            MoveKind::Expire => Self::Expired,
        }
    }
}

/// One event, as it is sent.
///
/// Carries no patient id, no reason, no appointment and no actor id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEnvelope {
    /// [`EVENT_VERSION`].
    pub version: u32,
    /// Its identifier: receivers drop an event whose id they have seen.
    pub event_id: EventId,
    /// Which referral moved.
    pub referral_id: ReferralId,
    /// Revision of the referral since; counts from 1 without a gap, so receivers see what they
    /// missed.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
    /// As whom it was done.
    pub actor_role: Role,
    /// When, RFC 3339 in UTC with at most six digits after the second.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

/// Why text is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is too long to be one.
    #[error("event of {bytes} bytes is longer than {EVENT_JSON_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is of another version.
    #[error("event of version {found}; this program reads version {EVENT_VERSION}")]
    UnknownVersion {
        /// Its version.
        found: u32,
    },
    /// Its id is not that of its referral and sequence number.
    #[error("event {found} should have id {expected}")]
    IdMismatch {
        /// The id it has.
        found: EventId,
        /// The id it should have.
        expected: EventId,
    },
    /// It is not JSON of this form.
    #[error("read or write event as JSON")]
    Json(#[from] serde_json::Error),
}

/// Read first: another version may have another form.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl From<&Event> for EventEnvelope {
    fn from(event: &Event) -> Self {
        Self {
            version: EVENT_VERSION,
            event_id: EventId::of(event.referral_id, event.revision),
            referral_id: event.referral_id,
            sequence: event.revision,
            kind: EventKind::of(&event.change),
            actor_role: event.actor.role,
            occurred_at: event.occurred_at,
        }
    }
}

impl EventEnvelope {
    /// Returns the JSON form: one object on one line, members always in the same order.
    ///
    /// # Errors
    /// [`EventError::Json`] if the year has more than four digits.
    pub fn to_json(&self) -> Result<String, EventError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Returns the event that `json` holds.
    ///
    /// # Errors
    /// [`EventError::TooLong`], [`EventError::UnknownVersion`], [`EventError::IdMismatch`],
    /// [`EventError::Json`].
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        if json.len() > EVENT_JSON_BYTES_MAX {
            return Err(EventError::TooLong { bytes: json.len() });
        }
        let Version { version: found } = serde_json::from_slice(json)?;
        if found != EVENT_VERSION {
            return Err(EventError::UnknownVersion { found });
        }
        let event: Self = serde_json::from_slice(json)?;
        let expected = EventId::of(event.referral_id, event.sequence);
        if event.event_id != expected {
            return Err(EventError::IdMismatch { found: event.event_id, expected });
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests;
