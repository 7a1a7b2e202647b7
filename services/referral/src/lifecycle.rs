//! Referrals from draft to end: created, moved by their parties, watched, delivered to hospitals,
//! closed when nobody answers.
//!
//! `referral`, `event`, `outbox` and `signature` decide and do nothing else; this module holds the
//! flow over a store. It knows neither tonic nor sea-orm, and not how events are sent.

pub mod changes;
mod error;
pub mod event;
pub mod expiry;
pub mod outbox;
pub mod referral;
pub mod signature;
pub mod store;
pub mod watch;

use std::sync::Arc;

use neurotriage_domain::{AssessmentId, EventId, HospitalId, ReferralId};
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::error::LifecycleError;
use self::{
    changes::{Changed, Changes},
    event::EventEnvelope,
    outbox::{Letter, Release, Row},
    referral::{
        Action, Actor, ActorId, Event, Move, MoveKind, Referral, Role, Status, Terms, stored_time,
    },
    store::{DeadLetter, DeadPlace, Decision, Due, LifecycleStore, Listed, Posted},
    watch::{Watch, Watched},
};

/// Most entries of a page.
pub const PAGE_SIZE_MAX: u32 = 200;

/// Entries of a page if the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// How often a move is tried that others were faster with. The second try nearly always answers: the
/// revision has changed, so the move is stale or was made already.
const COMMIT_TRIES_MAX: u32 = 3;

/// Name, in the namespace of the referral's id, of the request that expires it: two sweeps make one
/// event.
const EXPIRE_REQUEST: &[u8] = b"expire";

/// Who the audit says closes what nobody answered.
const EXPIRY: &str = "neurotriage-referral expiry";

/// Whether events are put into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// They are delivered somewhere.
    On,
    /// Nobody would take them out again: they are listed and watched only.
    Off,
}

/// What to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Chosen by the caller, unique to this referral.
    pub request_id: Uuid,
    /// Assessment that led to it.
    pub assessment_id: AssessmentId,
    /// Where to.
    pub hospital_id: HospitalId,
    /// Who refers.
    pub referrer_id: ActorId,
    /// Until when the hospital can answer.
    pub deadline_at: Option<OffsetDateTime>,
}

impl Draft {
    /// Returns true if a referral of these terms is what the draft asks for.
    pub(crate) fn is_of(&self, terms: &Terms) -> bool {
        terms.assessment_id == self.assessment_id
            && terms.hospital_id == self.hospital_id
            && terms.referrer_id == self.referrer_id
            && terms.deadline_at == self.deadline_at
    }
}

/// Who calls, for one of the hospitals of a referral.
///
/// A referral belongs to two hospitals: who acts as the referrer must be of the one that made it, who acts as the
/// hospital must be the one it goes to. Others see nothing of it.
#[derive(Clone, Debug)]
pub struct Party {
    /// The call.
    pub call: Call,
    /// It acts for the receivers of its own referrals too: the one developer of a service without tokens plays both.
    pub plays_receivers: bool,
}

impl Party {
    /// Fails if the party may not act as `role` on what `terms` say.
    fn check_side(&self, terms: &Terms, role: Role) -> Result<(), LifecycleError> {
        let hospital_id = &self.call.hospital_id;
        let is_sender = *hospital_id == terms.sender_hospital_id;
        let is_side = match role {
            Role::Referrer => is_sender,
            Role::Hospital => {
                *hospital_id == terms.hospital_id || (self.plays_receivers && is_sender)
            }
            Role::System => false,
        };
        let referral_id = terms.referral_id;
        if is_side { Ok(()) } else { Err(LifecycleError::OtherSide { referral_id, role }) }
    }
}

/// A move, by whom and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveRequest {
    /// The referral.
    pub referral_id: ReferralId,
    /// Its revision as the caller saw it.
    pub expected_revision: u64,
    /// Who moves it.
    pub actor: Actor,
    /// The move.
    pub request: Move,
}

/// What to do with which dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The event.
    pub event_id: EventId,
    /// How it is let go.
    pub release: Release,
    /// When it was given up, as the caller saw it.
    pub dead_at: OffsetDateTime,
}

/// Returns the time, as the store keeps it, with a last digit that is not 0.
///
/// SQLite keeps times as text without zeros at the end and sorts them so: `.123Z` stands after
/// `.1234Z`. With six digits always, events come in the order in which they occurred.
pub(crate) fn now() -> OffsetDateTime {
    six_digits(stored_time(OffsetDateTime::now_utc()))
}

/// Moves a time whose microseconds end in 0 on by one, so that its text has six digits.
fn six_digits(time: OffsetDateTime) -> OffsetDateTime {
    if time.microsecond().is_multiple_of(10) { time + time::Duration::MICROSECOND } else { time }
}

/// Returns a page size, with the default for 0.
///
/// # Errors
/// [`LifecycleError::Invalid`] above [`PAGE_SIZE_MAX`].
pub fn page_size(page_size: u32) -> Result<u32, LifecycleError> {
    match page_size {
        0 => Ok(PAGE_SIZE_DEFAULT),
        1..=PAGE_SIZE_MAX => Ok(page_size),
        _ => Err(LifecycleError::field("page_size", format!("at most {PAGE_SIZE_MAX}"))),
    }
}

/// The life cycle of referrals over a store. Clones share listeners and limits.
#[derive(Clone, Debug)]
pub struct Lifecycle<S> {
    store: S,
    posting: Posting,
    changes: Changes,
    watchers: Arc<Semaphore>,
    watchers_max: usize,
    stop: CancellationToken,
}

impl<S: LifecycleStore> Lifecycle<S> {
    /// Works on `store`; at most `watchers_max` watch at a time, until `stop`.
    pub fn new(store: S, posting: Posting, watchers_max: usize, stop: CancellationToken) -> Self {
        // More the semaphore can't count.
        let watchers_max = watchers_max.min(Semaphore::MAX_PERMITS);
        let watchers = Arc::new(Semaphore::new(watchers_max));
        Self { store, posting, changes: Changes::default(), watchers, watchers_max, stop }
    }

    /// Returns what tells of the changes that this process makes.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Creates a referral by a hospital as a draft. A repeated request returns what it made, as it is now.
    ///
    /// # Errors
    /// [`LifecycleError::RequestReused`]; [`LifecycleError::DeadlineInPast`];
    /// [`LifecycleError::AssessmentNotFound`]; [`LifecycleError::HospitalNotFound`];
    /// [`LifecycleError::HospitalClosed`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    pub async fn create(&self, call: &Call, draft: Draft) -> Result<Referral, LifecycleError> {
        let draft = Draft { deadline_at: draft.deadline_at.map(stored_time), ..draft };
        if let Some(stored) = self.store.find_by_request(call, &draft).await? {
            return Ok(stored);
        }
        let created_at = now();
        if draft.deadline_at.is_some_and(|deadline_at| deadline_at <= created_at) {
            return Err(LifecycleError::DeadlineInPast);
        }
        let assessment_id = draft.assessment_id;
        let patient_id = self.store.patient_of_assessment(call, assessment_id).await?;
        let hospital_id = draft.hospital_id.clone();
        match self.store.hospital_accepts(&hospital_id).await? {
            Some(true) => {}
            Some(false) => return Err(LifecycleError::HospitalClosed { hospital_id }),
            None => return Err(LifecycleError::HospitalNotFound { hospital_id }),
        }
        let terms = Terms {
            referral_id: ReferralId::generate(),
            request_id: draft.request_id,
            patient_id,
            assessment_id,
            sender_hospital_id: call.hospital_id.clone(),
            hospital_id,
            referrer_id: draft.referrer_id.clone(),
            created_at,
            deadline_at: draft.deadline_at,
        };
        let (referral, event) = Referral::draft(terms);
        if self.store.insert(call, &referral, &event).await? {
            self.tell(&referral);
            return Ok(referral);
        }
        // The same request at the same moment was faster.
        let referral_id = referral.terms().referral_id;
        let stored = self.store.find_by_request(call, &draft).await?;
        stored.ok_or(LifecycleError::Contended { referral_id })
    }

    /// Makes one move. Returns the referral after it, and the event that it left. A repeated request
    /// returns what it returned the first time.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::OtherSide`]; [`LifecycleError::Move`];
    /// [`LifecycleError::Contended`]; [`LifecycleError::Store`].
    pub async fn make_move(
        &self,
        party: &Party,
        request: MoveRequest,
    ) -> Result<(Referral, Event), LifecycleError> {
        let role = request.actor.role;
        let decide = |referral: &Referral| {
            party.check_side(referral.terms(), role)?;
            self.decide(referral, request.clone())
        };
        self.change(&party.call, request.referral_id, decide).await
    }

    /// Returns what becomes of a referral that somebody wants to move.
    fn decide(
        &self,
        referral: &Referral,
        request: MoveRequest,
    ) -> Result<Decision, LifecycleError> {
        let MoveRequest { expected_revision, actor, request, .. } = request;
        let (moved, event) = referral.apply(request, expected_revision, actor, now())?;
        let is_repeated = event.revision <= referral.status().revision;
        let letter = if is_repeated { None } else { self.letter(&moved, &event)? };
        Ok(Decision { referral: moved, event, is_repeated, letter })
    }

    /// Does to a referral what `decide` says.
    async fn change(
        &self,
        call: &Call,
        referral_id: ReferralId,
        decide: impl Fn(&Referral) -> Result<Decision, LifecycleError> + Send + Sync,
    ) -> Result<(Referral, Event), LifecycleError> {
        for _ in 0..COMMIT_TRIES_MAX {
            let done = self.store.change(call, referral_id, &decide).await?;
            let Some(Decision { referral, event, is_repeated, .. }) = done else { continue };
            if !is_repeated {
                self.tell(&referral);
            }
            return Ok((referral, event));
        }
        Err(LifecycleError::Contended { referral_id })
    }

    fn letter(&self, referral: &Referral, event: &Event) -> Result<Option<Letter>, LifecycleError> {
        if self.posting == Posting::Off || !event.change.concerns_hospital() {
            return Ok(None);
        }
        let envelope = EventEnvelope::from(event);
        let body = envelope.to_json().map_err(|error| LifecycleError::Store {
            operation: "encode event",
            source: Box::new(error),
        })?;
        let EventEnvelope { event_id, referral_id, sequence, occurred_at, .. } = envelope;
        let row = Row::new(event_id, referral_id, sequence, occurred_at);
        Ok(Some(Letter { row, hospital_id: referral.terms().hospital_id.clone(), body }))
    }

    fn tell(&self, referral: &Referral) {
        let Terms { referral_id, hospital_id, .. } = referral.terms();
        self.changes.tell(Changed { referral_id: *referral_id, hospital_id: hospital_id.clone() });
    }

    /// Returns a referral that the hospital that calls is a party to. The receiver knows of none that was never sent.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    pub async fn get(
        &self,
        call: &Call,
        referral_id: ReferralId,
    ) -> Result<Referral, LifecycleError> {
        self.store.find(call, referral_id, |_| Ok(())).await
    }

    /// Returns a referral and what `role` may do with it now.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::OtherSide`]; [`LifecycleError::Store`].
    pub async fn get_with_moves(
        &self,
        party: &Party,
        referral_id: ReferralId,
        role: Role,
    ) -> Result<(Referral, Vec<MoveKind>), LifecycleError> {
        let check = |terms: &Terms| party.check_side(terms, role);
        let referral = self.store.find(&party.call, referral_id, check).await?;
        let legal = referral.legal_moves(role, now());
        Ok((referral, legal))
    }

    /// Returns a page of the hospital's referrals, sent and received, in one of `states` (all if empty), newest first, those older
    /// than `before`, and whether there are more.
    ///
    /// # Errors
    /// [`LifecycleError::Store`].
    pub async fn list(
        &self,
        call: &Call,
        listed: &Listed,
        states: &[referral::State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> Result<(Vec<(Terms, Status)>, bool), LifecycleError> {
        self.store.list(call, listed, states, before, limit).await
    }

    /// Returns a page of the events of one referral after number `after_sequence`, in order, and
    /// whether there are more.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Store`].
    pub async fn events(
        &self,
        call: &Call,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<(Vec<EventEnvelope>, bool), LifecycleError> {
        self.store.list_events(call, referral_id, after_sequence, limit).await
    }

    /// Begins to watch for a hospital, which sees what it is a party to. What happens after this returns is seen.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::HospitalNotFound`];
    /// [`LifecycleError::TooManyWatchers`]; [`LifecycleError::WatchOverrun`];
    /// [`LifecycleError::Store`].
    pub async fn watch(&self, call: &Call, watched: Watched) -> Result<Watch<S>, LifecycleError> {
        let watchers_max = self.watchers_max;
        let place = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| LifecycleError::TooManyWatchers { watchers_max })?;
        let referral_id = match &watched {
            Watched::Referral { referral_id, .. } => Some(*referral_id),
            Watched::Hospital(hospital_id) => {
                if self.store.hospital_accepts(hospital_id).await?.is_none() {
                    let hospital_id = hospital_id.clone();
                    return Err(LifecycleError::HospitalNotFound { hospital_id });
                }
                None
            }
        };
        self.store.begin_watch(call, referral_id).await?;
        let listener = self.changes.listen();
        Watch::begin(self.store.clone(), call.clone(), watched, listener, self.stop.clone(), place)
            .await
    }

    /// Returns a page of dead letters of the hospital's referrals, sent and received, to `receiver` alone if it is
    /// given, longest dead first, those after `after`, and whether there are
    /// more.
    ///
    /// # Errors
    /// [`LifecycleError::Store`].
    pub async fn dead_letters(
        &self,
        call: &Call,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, bool), LifecycleError> {
        self.store.dead_letters(call, receiver, after, limit).await
    }

    /// Lets a dead letter of one of the hospital's referrals go. Repeated, it does nothing.
    ///
    /// # Errors
    /// [`LifecycleError::EventNotFound`]; [`LifecycleError::NotDead`]; [`LifecycleError::Store`].
    pub async fn release(
        &self,
        call: &Call,
        request: ReleaseRequest,
    ) -> Result<Posted, LifecycleError> {
        let request = ReleaseRequest { dead_at: stored_time(request.dead_at), ..request };
        let event_id = request.event_id;
        for _ in 0..COMMIT_TRIES_MAX {
            let Some(posted) = self.store.release(call, &request, now()).await? else {
                // Somebody was faster: with the same, or with something else.
                continue;
            };
            // Wakes the worker; nobody else is concerned.
            let Posted { row, hospital_id, .. } = &posted;
            let referral_id = row.referral_id;
            self.changes.tell(Changed { referral_id, hospital_id: hospital_id.clone() });
            return Ok(posted);
        }
        Err(LifecycleError::NotDead { event_id })
    }

    /// Closes at most `limit` referrals of all hospitals whose deadline has passed, each in the name of the one that
    /// sent it. Returns how many it closed.
    ///
    /// # Errors
    /// The last error, after the others were tried.
    pub async fn expire(&self, limit: u32) -> Result<usize, LifecycleError> {
        let mut closed = 0;
        let mut failed = None;
        for due in self.store.due(now(), limit).await? {
            match self.expire_one(due).await {
                Ok(()) => closed += 1,
                // Somebody moved it in between.
                Err(LifecycleError::Move(_)) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(closed), Err)
    }

    async fn expire_one(&self, due: Due) -> Result<(), LifecycleError> {
        let Due { referral_id, sender_hospital_id } = due;
        let call = Call::of_program(sender_hospital_id, EXPIRY)?;
        let decide = |referral: &Referral| {
            let request_id = Uuid::new_v5(&referral_id.as_uuid(), EXPIRE_REQUEST);
            let request = MoveRequest {
                referral_id,
                expected_revision: referral.status().revision,
                actor: Actor { role: Role::System, id: ActorId::system() },
                request: Move { request_id, action: Action::Expire },
            };
            self.decide(referral, request)
        };
        self.change(&call, referral_id, decide).await?;
        Ok(())
    }
}
