//! When an event is delivered, by whom, and when it is given up. Decides only: the caller reads
//! rows, sends, and writes rows.
//!
//! **Order.** The events of one referral are delivered one after another. An event waits until
//! every earlier one is settled: delivered, or skipped by an operator. *A dead letter holds back
//! the later events of its referral* until an operator releases it; other referrals go on.
//! Receivers in hospitals expect that: interface engines deliver in order and stop behind a message
//! that fails (Oracle Integration for Healthcare, "About Ordered Message Processing": after an
//! error the subsequent messages are blocked to preserve the order), because a state that a record
//! system cannot place, such as an appointment for a referral that it never saw accepted, is worse
//! than a late one. The price is that a cancellation can wait behind a dead letter: the number of
//! dead letters must raise an alarm, and `ListEvents` shows a receiver what it lacks.
//!
//! **At least once.** A worker that dies after sending and before writing is followed by another
//! that sends again. Receivers drop event ids that they have seen.
//!
//! **Lease.** A worker takes a row for [`PolicySettings::lease`], which is longer than an attempt
//! may last. Taking counts the attempt, so an event that kills its worker is given up as well. The
//! id of the lease, new each time, is the fencing token: a worker whose lease was taken over cannot
//! write any more.

mod policy;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use neurotriage_domain::{EventId, HospitalId, ReferralId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::policy::{InvalidPolicy, Policy, PolicySettings};
use crate::lifecycle::referral::names;

names! {
    /// Why an event was given up.
    Cause {
        /// Tried as often as allowed.
        AttemptsSpent = "attempts_spent",
        /// Too old.
        TooOld = "too_old",
        /// The receiver said that it will never take it.
        Refused = "refused",
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To be delivered.
    Pending,
    /// The receiver has it.
    Delivered {
        /// Since when.
        at: OffsetDateTime,
    },
    /// Given up; holds back the later events of its referral.
    Dead {
        /// Since when.
        at: OffsetDateTime,
        /// Why.
        cause: Cause,
    },
    /// A dead letter that an operator let go.
    Skipped {
        /// Since when.
        at: OffsetDateTime,
    },
}

/// A worker's hold on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Chosen by the worker, new for each claim.
    pub lease_id: Uuid,
    /// Until when; at that instant it is over.
    pub until: OffsetDateTime,
}

/// One event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The event.
    pub event_id: EventId,
    /// Whose event.
    pub referral_id: ReferralId,
    /// Its place among the events of its referral.
    pub sequence: u64,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// What became of it.
    pub fate: Fate,
    /// Attempts begun since it was written or last released.
    pub attempts: u32,
    /// When the last of them began.
    pub last_attempt_at: Option<OffsetDateTime>,
    /// Not before: what the receiver asked for.
    pub not_before: Option<OffsetDateTime>,
    /// How an operator last released it.
    pub released: Option<Released>,
    /// Who is at it. May be over.
    pub lease: Option<Lease>,
}

/// An event on its way: what is sent, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its place in the outbox.
    pub row: Row,
    /// To whom.
    pub hospital_id: HospitalId,
    /// The JSON form. Stored, so that every attempt sends the same bytes.
    pub body: String,
}

/// What stands before a row in its referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing.
    Nothing,
    /// Only what is settled, the last of it since then.
    Settled {
        /// Since when.
        at: OffsetDateTime,
    },
    /// Something that is still to be delivered.
    Pending,
    /// A dead letter.
    Dead,
}

/// What to do with a row now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is delivered or skipped.
    Settled,
    /// Nothing until an operator releases it.
    Dead,
    /// Nothing until what stands before it is settled.
    HeldBack {
        /// True if that is a dead letter.
        by_dead_letter: bool,
    },
    /// Look again then: another worker is at it.
    Leased {
        /// When the lease is over.
        until: OffsetDateTime,
    },
    /// Look again then: the last attempt failed.
    Wait {
        /// When it is due.
        until: OffsetDateTime,
    },
    /// Send it.
    Deliver,
    /// Give it up.
    DeadLetter {
        /// Why.
        cause: Cause,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver confirmed it.
    Delivered,
    /// It failed and may be tried again: no answer, a time-out, HTTP 408, 429 or 5xx.
    Failed {
        /// What the receiver asked for (`Retry-After`); cut to the longest backoff.
        retry_after: Option<Duration>,
    },
    /// The receiver will never take it, such as HTTP 410.
    Refused,
}

names! {
    /// What an operator does with a dead letter.
    Release {
        /// Try again, as if it were new.
        Retry = "retry",
        /// Let it go: the next events of its referral follow, and the receiver sees a gap in the
        /// sequence.
        Skip = "skip",
    }
}

/// That an operator released a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// When.
    pub at: OffsetDateTime,
    /// How.
    pub release: Release,
    /// When it had been given up. Tells a repeated request from one for a second death.
    pub dead_at: OffsetDateTime,
}

/// Why a row was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// There is nothing to deliver now.
    #[error("event {event_id} is not to be delivered now")]
    NotDeliverable {
        /// The event.
        event_id: EventId,
        /// What to do instead.
        decision: Decision,
    },
    /// Another worker took over, or the row was settled meanwhile.
    #[error("event {event_id} is no longer this worker's")]
    LeaseLost {
        /// The event.
        event_id: EventId,
    },
    /// Only dead letters are released, and only the death that was seen.
    #[error("event {event_id} is no dead letter that was given up at that time")]
    NotDead {
        /// The event.
        event_id: EventId,
    },
}

impl Row {
    /// Returns a row for a new event.
    pub fn new(
        event_id: EventId,
        referral_id: ReferralId,
        sequence: u64,
        created_at: OffsetDateTime,
    ) -> Self {
        Self {
            event_id,
            referral_id,
            sequence,
            created_at,
            fate: Fate::Pending,
            attempts: 0,
            last_attempt_at: None,
            not_before: None,
            released: None,
            lease: None,
        }
    }

    /// Returns what to do with this row at `now`.
    ///
    /// Age counts from when the row's turn came, not from when it was written: what waited
    /// behind a dead letter for a week is not thrown after it. What was never tried is never too
    /// old, so a week without workers loses nothing.
    pub fn decide(&self, ahead: Ahead, policy: &Policy, now: OffsetDateTime) -> Decision {
        match self.fate {
            Fate::Delivered { .. } | Fate::Skipped { .. } => return Decision::Settled,
            Fate::Dead { .. } => return Decision::Dead,
            Fate::Pending => {}
        }
        let turn_came_at = match ahead {
            Ahead::Nothing => self.created_at,
            Ahead::Settled { at } => at.max(self.created_at),
            Ahead::Pending => return Decision::HeldBack { by_dead_letter: false },
            Ahead::Dead => return Decision::HeldBack { by_dead_letter: true },
        };
        if let Some(lease) = self.lease
            && now < lease.until
        {
            return Decision::Leased { until: lease.until };
        }
        let Some(last_attempt_at) = self.last_attempt_at else { return Decision::Deliver };
        let settings = policy.settings();
        if self.attempts >= settings.attempts_max {
            return Decision::DeadLetter { cause: Cause::AttemptsSpent };
        }
        let released_at = self.released.map_or(turn_came_at, |released| released.at);
        let too_old_at = later(turn_came_at.max(released_at), settings.age_max);
        if too_old_at <= now {
            return Decision::DeadLetter { cause: Cause::TooOld };
        }
        let due = later(last_attempt_at, policy.backoff(self.event_id, self.attempts));
        let due = due.max(self.not_before.unwrap_or(due));
        if due <= now {
            return Decision::Deliver;
        }
        Decision::Wait { until: due.min(too_old_at) }
    }

    /// Returns the row with the lease `lease_id` and one attempt more, if it is to be delivered.
    ///
    /// The store must write it only if the row still has the fate, the attempts and the lease of this:
    /// of two workers that read the same row, the second then writes nothing.
    ///
    /// # Errors
    /// [`OutboxError::NotDeliverable`] otherwise.
    pub fn claim(
        &self,
        lease_id: Uuid,
        ahead: Ahead,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<Self, OutboxError> {
        match self.decide(ahead, policy, now) {
            Decision::Deliver => Ok(Self {
                attempts: self.attempts + 1,
                last_attempt_at: Some(now),
                not_before: None,
                lease: Some(Lease { lease_id, until: later(now, policy.settings().lease) }),
                ..self.clone()
            }),
            decision @ (Decision::Settled
            | Decision::Dead
            | Decision::HeldBack { .. }
            | Decision::Leased { .. }
            | Decision::Wait { .. }
            | Decision::DeadLetter { .. }) => {
                Err(OutboxError::NotDeliverable { event_id: self.event_id, decision })
            }
        }
    }

    /// Returns the row after the attempt under the lease `lease_id` ended with `outcome`.
    ///
    /// A lease that ran out but that nobody took over still counts: what was delivered is not sent
    /// again for a late note.
    ///
    /// # Errors
    /// [`OutboxError::LeaseLost`] if another worker took over or the row is settled.
    pub fn finish(
        &self,
        lease_id: Uuid,
        outcome: Outcome,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<Self, OutboxError> {
        let held = self.lease.is_some_and(|lease| lease.lease_id == lease_id);
        if !held || self.fate != Fate::Pending {
            return Err(OutboxError::LeaseLost { event_id: self.event_id });
        }
        let free = Self { lease: None, ..self.clone() };
        Ok(match outcome {
            Outcome::Delivered => Self { fate: Fate::Delivered { at: now }, ..free },
            Outcome::Refused => Self { fate: self.death(Cause::Refused, now), ..free },
            Outcome::Failed { retry_after } => {
                let longest = policy.settings().backoff_max;
                let not_before = retry_after.map(|wait| later(now, wait.min(longest)));
                Self { not_before, ..free }
            }
        })
    }

    /// Returns the row given up, if that is what is to be done.
    ///
    /// # Errors
    /// [`OutboxError::NotDeliverable`] if something else is; it says what.
    pub fn give_up(
        &self,
        ahead: Ahead,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<Self, OutboxError> {
        match self.decide(ahead, policy, now) {
            Decision::DeadLetter { cause } => {
                Ok(Self { fate: self.death(cause, now), lease: None, ..self.clone() })
            }
            decision @ (Decision::Settled
            | Decision::Dead
            | Decision::HeldBack { .. }
            | Decision::Leased { .. }
            | Decision::Wait { .. }
            | Decision::Deliver) => {
                Err(OutboxError::NotDeliverable { event_id: self.event_id, decision })
            }
        }
    }

    /// Returns the death at `now`, but after the one that was released last: an operator names a death
    /// by its time.
    fn death(&self, cause: Cause, now: OffsetDateTime) -> Fate {
        let earliest =
            self.released.map_or(now, |done| later(done.dead_at, Duration::from_micros(1)));
        Fate::Dead { at: now.max(earliest), cause }
    }

    /// Returns true if the last thing an operator did was to let the death at `dead_at` go this way.
    pub fn was_released(&self, release: Release, dead_at: OffsetDateTime) -> bool {
        self.released.is_some_and(|done| done.release == release && done.dead_at == dead_at)
    }

    /// Returns the dead letter that was given up at `dead_at` released; the row as it is if that was
    /// done already.
    ///
    /// # Errors
    /// [`OutboxError::NotDead`] if it is no such dead letter.
    pub fn release(
        &self,
        release: Release,
        dead_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Self, OutboxError> {
        if self.was_released(release, dead_at) {
            return Ok(self.clone());
        }
        match self.fate {
            Fate::Dead { at, .. } if at == dead_at => {}
            Fate::Dead { .. } | Fate::Pending | Fate::Delivered { .. } | Fate::Skipped { .. } => {
                return Err(OutboxError::NotDead { event_id: self.event_id });
            }
        }
        let released = Released { at: now, release, dead_at };
        let released = Self { released: Some(released), lease: None, ..self.clone() };
        Ok(match release {
            Release::Skip => Self { fate: Fate::Skipped { at: now }, ..released },
            Release::Retry => Self {
                fate: Fate::Pending,
                attempts: 0,
                last_attempt_at: None,
                not_before: None,
                ..released
            },
        })
    }
}

/// Returns what stands before each row, for the rows of one referral in order of their sequence.
pub fn ahead_of_each(rows: &[Row]) -> Vec<Ahead> {
    let mut ahead = Ahead::Nothing;
    let mut each = Vec::with_capacity(rows.len());
    for row in rows {
        each.push(ahead);
        ahead = match (ahead, row.fate) {
            (Ahead::Pending | Ahead::Dead, _) => ahead,
            (_, Fate::Pending) => Ahead::Pending,
            (_, Fate::Dead { .. }) => Ahead::Dead,
            (Ahead::Settled { at: before }, Fate::Delivered { at } | Fate::Skipped { at }) => {
                Ahead::Settled { at: at.max(before) }
            }
            (Ahead::Nothing, Fate::Delivered { at } | Fate::Skipped { at }) => {
                Ahead::Settled { at }
            }
        };
    }
    each
}

/// Policies hold at most 30 days, so the end of time is out of reach for any clock that is right.
fn later(time: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time::Duration::try_from(by).map_or(time, |by| time.saturating_add(by))
}
