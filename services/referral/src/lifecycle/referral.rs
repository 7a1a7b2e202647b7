//! The life cycle of a referral: one patient, referred to one hospital.
//!
//! A referral is its terms, which never change, and its events, which only grow. Each event raises
//! the revision by one, and every move must name the revision it was decided on. No clock, no I/O.

mod action;
mod error;
mod rules;
#[cfg(test)]
mod tests;

use neurotriage_domain::{AssessmentId, HospitalId, PatientId, ReferralId};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use self::action::stored_time;
pub(crate) use self::rules::names;
pub use self::{
    action::{
        ACTOR_ID_BYTES_MAX, Action, Actor, ActorId, InvalidAction, InvalidActorId, Move,
        REASON_CHARS_MAX, Reason,
    },
    error::{MoveError, Refusal, ReplayError},
    rules::{MoveKind, RULES, Role, Rule, State},
};

/// Most events of one referral. Only rescheduling repeats, and nobody reschedules 190 times: a
/// program in a loop does.
pub const EVENTS_MAX: u64 = 200;

/// What a referral is about. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its identifier.
    pub referral_id: ReferralId,
    /// Request that created it.
    pub request_id: Uuid,
    /// Who is referred.
    pub patient_id: PatientId,
    /// Assessment that led to it.
    pub assessment_id: AssessmentId,
    /// Hospital that refers.
    pub sender_hospital_id: HospitalId,
    /// Where to.
    pub hospital_id: HospitalId,
    /// Who refers.
    pub referrer_id: ActorId,
    /// When it was drafted.
    pub created_at: OffsetDateTime,
    /// From when on the hospital can no longer answer; `None` if it may take any time.
    pub deadline_at: Option<OffsetDateTime>,
}

/// Where a referral stands. Follows from its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it is.
    pub state: State,
    /// Number of its last event; the first is 1.
    pub revision: u64,
    /// When its last event occurred.
    pub updated_at: OffsetDateTime,
    /// The appointment, once it has one. Stays when the referral ends.
    pub scheduled_at: Option<OffsetDateTime>,
    /// Why it was declined or cancelled.
    pub reason: Option<Reason>,
}

/// What an event did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The referral was drafted.
    Drafted,
    /// The referral was moved.
    Moved {
        /// State before.
        from: State,
        /// The move.
        action: Action,
        /// State after.
        to: State,
    },
}

impl Change {
    /// Returns true unless the change is one of a draft that was not sent, of which the hospital
    /// must not hear.
    pub fn concerns_hospital(&self) -> bool {
        match self {
            Self::Drafted => false,
            Self::Moved { from, action, .. } => {
                *from != State::Draft || action.kind() == MoveKind::Request
            }
        }
    }
}

/// One change of a referral, as it is stored. What leaves the system is
/// [`EventEnvelope`](super::event::EventEnvelope), which carries less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose change.
    pub referral_id: ReferralId,
    /// Revision that the referral has since; the first is 1.
    pub revision: u64,
    /// Request that made it.
    pub request_id: Uuid,
    /// What changed.
    pub change: Change,
    /// Who made it.
    pub actor: Actor,
    /// When, in whole microseconds of UTC; never before the event before it.
    pub occurred_at: OffsetDateTime,
}

/// A referral.
///
/// Invariant: the history is not empty, its revisions count from 1 without a gap, every move in it
/// is a rule, and the status follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    terms: Terms,
    status: Status,
    history: Vec<Event>,
}

impl Referral {
    /// Returns a new draft and its first event, made by the referrer of `terms`.
    pub fn draft(terms: Terms) -> (Self, Event) {
        let terms = Terms {
            created_at: stored_time(terms.created_at),
            deadline_at: terms.deadline_at.map(stored_time),
            ..terms
        };
        let event = Event {
            referral_id: terms.referral_id,
            revision: 1,
            request_id: terms.request_id,
            change: Change::Drafted,
            actor: Actor { role: Role::Referrer, id: terms.referrer_id.clone() },
            occurred_at: terms.created_at,
        };
        let status = drafted(event.occurred_at);
        (Self { terms, status, history: vec![event.clone()] }, event)
    }

    /// Returns the referral that `events` make of `terms`, in the order given.
    ///
    /// Roles and deadlines are not looked at again: an event that happened, happened.
    ///
    /// # Errors
    /// [`ReplayError`] if there are none, one is missing, belongs elsewhere or is not legal.
    pub fn replay(terms: Terms, events: &[Event]) -> Result<Self, ReplayError> {
        if events.is_empty() {
            return Err(ReplayError::Empty { referral_id: terms.referral_id });
        }
        let mut status = drafted(terms.created_at);
        for (event, expected) in events.iter().zip(1_u64..) {
            let revision = event.revision;
            if event.referral_id != terms.referral_id {
                let referral_id = event.referral_id;
                return Err(ReplayError::Foreign { revision, referral_id });
            }
            if revision != expected {
                return Err(ReplayError::Gap { expected, found: revision });
            }
            match &event.change {
                Change::Drafted if revision == 1 => {}
                Change::Moved { from, action, to }
                    if revision > 1
                        && *from == status.state
                        && from.rule(action.kind()).is_some_and(|rule| rule.to == *to) =>
                {
                    status = moved(&status, action, *to, event.occurred_at);
                }
                Change::Drafted | Change::Moved { .. } => {
                    return Err(ReplayError::NotLegal { revision });
                }
            }
        }
        Ok(Self { terms, status, history: events.to_vec() })
    }

    /// Returns what it is about.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns where it stands.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns its events, oldest first.
    pub fn history(&self) -> &[Event] {
        &self.history
    }

    /// Returns true if the referral is to be closed with [`Action::Expire`] at `now`.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.status.state.expires()
            && self.terms.deadline_at.is_some_and(|deadline_at| deadline_at <= now)
    }

    /// Returns the moves that `role` may make at `now`, in the order of [`MoveKind`].
    pub fn legal_moves(&self, role: Role, now: OffsetDateTime) -> Vec<MoveKind> {
        let mut legal = Vec::new();
        for kind in self.status.state.legal() {
            let may = self.status.state.rule(kind).is_some_and(|rule| rule.roles.contains(&role));
            if may && self.check_time(kind, now).is_ok() && self.check_room(kind).is_ok() {
                legal.push(kind);
            }
        }
        legal.sort_unstable();
        legal
    }

    /// Returns the referral after `request`, made by `actor` at `now`, and the event to store with
    /// it.
    ///
    /// A repeated request id gives what it gave the first time, the referral as it was then
    /// included, whatever happened since; the expected revision and the time of the repetition do
    /// not matter. A clock that runs behind does not turn time back: the event then occurs when the
    /// one before it did.
    ///
    /// # Errors
    /// [`MoveError`] with, in this order: [`Refusal::RequestReused`] if the request id stands for
    /// another move or actor; [`Refusal::NotParty`]; [`Refusal::Stale`]; [`Refusal::NotLegal`];
    /// [`Refusal::RoleNotAllowed`]; [`Refusal::DeadlinePassed`] for a move other than cancelling
    /// or expiring once the deadline of the answer has come; [`Refusal::NoDeadline`] and
    /// [`Refusal::DeadlineAhead`] for expiring; [`Refusal::ScheduledInPast`];
    /// [`Refusal::TooManyEvents`] for an appointment beyond [`EVENTS_MAX`].
    pub fn apply(
        &self,
        request: Move,
        expected_revision: u64,
        actor: Actor,
        now: OffsetDateTime,
    ) -> Result<(Self, Event), MoveError> {
        let Move { request_id, action } = request;
        let action = action.stored();
        let (kind, role) = (action.kind(), actor.role);
        let refuse = |refusal| MoveError {
            state: self.status.state,
            revision: self.status.revision,
            attempted: kind,
            legal: self.legal_moves(role, now),
            refusal,
        };
        if let Some(earlier) = self.history.iter().find(|event| event.request_id == request_id) {
            let same =
                matches!(&earlier.change, Change::Moved { action: done, .. } if *done == action);
            if !same || earlier.actor != actor {
                return Err(refuse(Refusal::RequestReused { request_id }));
            }
            return Ok((self.as_of(earlier.revision), earlier.clone()));
        }
        if !self.is_party(&actor) {
            return Err(refuse(Refusal::NotParty { role }));
        }
        if expected_revision != self.status.revision {
            let current = self.status.revision;
            return Err(refuse(Refusal::Stale { expected: expected_revision, current }));
        }
        let Some(rule) = self.status.state.rule(kind) else {
            return Err(refuse(Refusal::NotLegal));
        };
        if !rule.roles.contains(&role) {
            return Err(refuse(Refusal::RoleNotAllowed { role }));
        }
        self.check_time(kind, now).map_err(refuse)?;
        if action.scheduled_at().is_some_and(|scheduled_at| scheduled_at <= now) {
            return Err(refuse(Refusal::ScheduledInPast { now }));
        }
        self.check_room(kind).map_err(refuse)?;
        let occurred_at = stored_time(now).max(self.status.updated_at);
        let status = moved(&self.status, &action, rule.to, occurred_at);
        let event = Event {
            referral_id: self.terms.referral_id,
            revision: status.revision,
            request_id,
            change: Change::Moved { from: rule.from, action, to: rule.to },
            actor,
            occurred_at,
        };
        let mut history = self.history.clone();
        history.push(event.clone());
        Ok((Self { terms: self.terms.clone(), status, history }, event))
    }

    fn is_party(&self, actor: &Actor) -> bool {
        match actor.role {
            Role::Referrer => actor.id == self.terms.referrer_id,
            Role::Hospital => actor.id.as_str() == self.terms.hospital_id.as_str(),
            Role::System => true,
        }
    }

    /// The answer must not depend on whether the sweep that expires referrals has already run, so
    /// the deadline binds by itself.
    fn check_time(&self, kind: MoveKind, now: OffsetDateTime) -> Result<(), Refusal> {
        let deadline_at = self.terms.deadline_at;
        if kind == MoveKind::Expire {
            let deadline_at = deadline_at.ok_or(Refusal::NoDeadline)?;
            if now < deadline_at {
                return Err(Refusal::DeadlineAhead { deadline_at });
            }
            return Ok(());
        }
        match deadline_at {
            Some(deadline_at) if self.is_due(now) && kind != MoveKind::Cancel => {
                Err(Refusal::DeadlinePassed { deadline_at })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps the last place for the move that ends the referral.
    fn check_room(&self, kind: MoveKind) -> Result<(), Refusal> {
        let events = self.status.revision;
        if kind == MoveKind::Schedule && events + 1 >= EVENTS_MAX {
            return Err(Refusal::TooManyEvents { events });
        }
        Ok(())
    }

    fn as_of(&self, revision: u64) -> Self {
        let history: Vec<Event> =
            self.history.iter().filter(|event| event.revision <= revision).cloned().collect();
        let mut status = drafted(self.terms.created_at);
        for event in &history {
            if let Change::Moved { action, to, .. } = &event.change {
                status = moved(&status, action, *to, event.occurred_at);
            }
        }
        Self { terms: self.terms.clone(), status, history }
    }
}

fn drafted(created_at: OffsetDateTime) -> Status {
    Status {
        state: State::Draft,
        revision: 1,
        updated_at: created_at,
        scheduled_at: None,
        reason: None,
    }
}

fn moved(before: &Status, action: &Action, to: State, occurred_at: OffsetDateTime) -> Status {
    Status {
        state: to,
        revision: before.revision + 1,
        updated_at: occurred_at,
        scheduled_at: action.scheduled_at().or(before.scheduled_at),
        reason: action.reason().or(before.reason.as_ref()).cloned(),
    }
}
