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

use neurotriage_domain::{AssessmentId, EventId, HospitalId, PatientId, ReferralId};
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
    store::{DeadLetter, DeadPlace, Due, LifecycleStore, Listed, Posted},
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

/// The hospital that calls.
///
/// A referral belongs to two hospitals: who acts as the referrer must be of the one that made it, who acts as the
/// hospital must be the one it goes to. Others see nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The hospital.
    pub hospital_id: HospitalId,
    /// It acts for the receivers of its own referrals too: the one developer of a service without tokens plays both.
    pub plays_receivers: bool,
}

impl Party {
    /// Fails if the party may not act as `role` on what `terms` say.
    fn check_side(&self, terms: &Terms, role: Role) -> Result<(), LifecycleError> {
        let is_sender = self.hospital_id == terms.sender_hospital_id;
        let is_side = match role {
            Role::Referrer => is_sender,
            Role::Hospital => {
                self.hospital_id == terms.hospital_id || (self.plays_receivers && is_sender)
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

/// Cuts `entries`, one more than a page was asked for, to the page. Returns whether there are more.
fn cut<T>(entries: &mut Vec<T>, limit: u32) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    more
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

    /// Returns whom an assessment of the hospital is of.
    ///
    /// # Errors
    /// [`LifecycleError::AssessmentNotFound`]; [`LifecycleError::Store`].
    pub async fn patient_of_assessment(
        &self,
        hospital_id: &HospitalId,
        assessment_id: AssessmentId,
    ) -> Result<PatientId, LifecycleError> {
        let patient_id = self.store.patient_of_assessment(hospital_id, assessment_id).await?;
        patient_id.ok_or(LifecycleError::AssessmentNotFound { assessment_id })
    }

    /// Creates a referral by a hospital as a draft. A repeated request returns what it made, as it is now.
    ///
    /// # Errors
    /// [`LifecycleError::RequestReused`]; [`LifecycleError::DeadlineInPast`];
    /// [`LifecycleError::AssessmentNotFound`]; [`LifecycleError::HospitalNotFound`];
    /// [`LifecycleError::HospitalClosed`]; [`LifecycleError::Store`].
    pub async fn create(
        &self,
        sender_hospital_id: &HospitalId,
        draft: Draft,
    ) -> Result<Referral, LifecycleError> {
        let draft = Draft { deadline_at: draft.deadline_at.map(stored_time), ..draft };
        if let Some(stored) = self.created_by(sender_hospital_id, &draft).await? {
            return Ok(stored);
        }
        let created_at = now();
        if draft.deadline_at.is_some_and(|deadline_at| deadline_at <= created_at) {
            return Err(LifecycleError::DeadlineInPast);
        }
        let assessment_id = draft.assessment_id;
        let patient_id = self.patient_of_assessment(sender_hospital_id, assessment_id).await?;
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
            sender_hospital_id: sender_hospital_id.clone(),
            hospital_id,
            referrer_id: draft.referrer_id.clone(),
            created_at,
            deadline_at: draft.deadline_at,
        };
        let (referral, event) = Referral::draft(terms);
        if self.store.insert(&referral, &event).await? {
            self.tell(&referral);
            return Ok(referral);
        }
        // The same request at the same moment was faster.
        let referral_id = referral.terms().referral_id;
        self.created_by(sender_hospital_id, &draft)
            .await?
            .ok_or(LifecycleError::Contended { referral_id })
    }

    async fn created_by(
        &self,
        sender_hospital_id: &HospitalId,
        draft: &Draft,
    ) -> Result<Option<Referral>, LifecycleError> {
        let request_id = draft.request_id;
        let stored = self.store.find_by_request(sender_hospital_id, request_id).await?;
        let Some(stored) = stored else { return Ok(None) };
        let terms = stored.terms();
        let same = terms.assessment_id == draft.assessment_id
            && terms.hospital_id == draft.hospital_id
            && terms.referrer_id == draft.referrer_id
            && terms.deadline_at == draft.deadline_at;
        if same { Ok(Some(stored)) } else { Err(LifecycleError::RequestReused { request_id }) }
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
        self.move_if(&party.hospital_id, request, |terms| party.check_side(terms, role)).await
    }

    /// Makes a move in the name of a hospital that is a party, if `check` has nothing against it.
    async fn move_if(
        &self,
        hospital_id: &HospitalId,
        request: MoveRequest,
        check: impl Fn(&Terms) -> Result<(), LifecycleError>,
    ) -> Result<(Referral, Event), LifecycleError> {
        let referral_id = request.referral_id;
        for _ in 0..COMMIT_TRIES_MAX {
            let referral = self.get(hospital_id, referral_id).await?;
            check(referral.terms())?;
            let MoveRequest { expected_revision, actor, request, .. } = request.clone();
            let (moved, event) = referral.apply(request, expected_revision, actor, now())?;
            if event.revision <= referral.status().revision {
                // Made before.
                return Ok((moved, event));
            }
            let letter = self.letter(&moved, &event)?;
            if self.store.commit(hospital_id, &moved, &event, letter.as_ref()).await? {
                self.tell(&moved);
                return Ok((moved, event));
            }
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

    /// Returns a referral that the hospital is a party to. The receiver knows of none that was never sent.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Store`].
    pub async fn get(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
    ) -> Result<Referral, LifecycleError> {
        let found = self.store.find(hospital_id, referral_id).await?;
        found.ok_or(LifecycleError::NotFound { referral_id })
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
        let referral = self.get(&party.hospital_id, referral_id).await?;
        party.check_side(referral.terms(), role)?;
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
        hospital_id: &HospitalId,
        listed: &Listed,
        states: &[referral::State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> Result<(Vec<(Terms, Status)>, bool), LifecycleError> {
        let mut referrals = self.store.list(hospital_id, listed, states, before, limit + 1).await?;
        let more = cut(&mut referrals, limit);
        Ok((referrals, more))
    }

    /// Returns a page of the events of one referral after number `after_sequence`, in order, and
    /// whether there are more.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Store`].
    pub async fn events(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<(Vec<EventEnvelope>, bool), LifecycleError> {
        let mut events =
            self.store.events(hospital_id, referral_id, after_sequence, limit + 1).await?;
        if events.is_empty() {
            // Nothing new, or no such referral.
            self.get(hospital_id, referral_id).await?;
        }
        let more = cut(&mut events, limit);
        Ok((events, more))
    }

    /// Begins to watch for a hospital, which sees what it is a party to. What happens after this returns is seen.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::HospitalNotFound`];
    /// [`LifecycleError::TooManyWatchers`]; [`LifecycleError::WatchOverrun`];
    /// [`LifecycleError::Store`].
    pub async fn watch(
        &self,
        watcher: &HospitalId,
        watched: Watched,
    ) -> Result<Watch<S>, LifecycleError> {
        let watchers_max = self.watchers_max;
        let place = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| LifecycleError::TooManyWatchers { watchers_max })?;
        match &watched {
            Watched::Referral { referral_id, .. } => {
                self.get(watcher, *referral_id).await?;
            }
            Watched::Hospital(hospital_id) => {
                if self.store.hospital_accepts(hospital_id).await?.is_none() {
                    let hospital_id = hospital_id.clone();
                    return Err(LifecycleError::HospitalNotFound { hospital_id });
                }
            }
        }
        let listener = self.changes.listen();
        Watch::begin(
            self.store.clone(),
            watcher.clone(),
            watched,
            listener,
            self.stop.clone(),
            place,
        )
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
        hospital_id: &HospitalId,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, bool), LifecycleError> {
        let mut letters = self.store.dead_letters(hospital_id, receiver, after, limit + 1).await?;
        let more = cut(&mut letters, limit);
        Ok((letters, more))
    }

    /// Lets a dead letter of one of the hospital's referrals go. Repeated, it does nothing.
    ///
    /// # Errors
    /// [`LifecycleError::EventNotFound`]; [`LifecycleError::NotDead`]; [`LifecycleError::Store`].
    pub async fn release(
        &self,
        hospital_id: &HospitalId,
        request: ReleaseRequest,
    ) -> Result<Posted, LifecycleError> {
        let ReleaseRequest { event_id, release, dead_at } = request;
        let dead_at = stored_time(dead_at);
        let posted = self.posted(hospital_id, event_id).await?;
        if posted.row.was_released(release, dead_at) {
            return Ok(posted);
        }
        if !self.store.release(hospital_id, &posted.row, release, dead_at, now()).await? {
            // Somebody was faster: with the same, or with something else.
            let posted = self.posted(hospital_id, event_id).await?;
            if !posted.row.was_released(release, dead_at) {
                return Err(LifecycleError::NotDead { event_id });
            }
            return Ok(posted);
        }
        // Wakes the worker; nobody else is concerned.
        let referral = self.get(hospital_id, posted.row.referral_id).await?;
        self.tell(&referral);
        Ok(posted)
    }

    async fn posted(
        &self,
        hospital_id: &HospitalId,
        event_id: EventId,
    ) -> Result<Posted, LifecycleError> {
        let found = self.store.posted(hospital_id, event_id).await?;
        found.ok_or(LifecycleError::EventNotFound { event_id })
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
        let referral = self.get(&sender_hospital_id, referral_id).await?;
        let expected_revision = referral.status().revision;
        let request_id = Uuid::new_v5(&referral_id.as_uuid(), EXPIRE_REQUEST);
        let request = MoveRequest {
            referral_id,
            expected_revision,
            actor: Actor { role: Role::System, id: ActorId::system() },
            request: Move { request_id, action: Action::Expire },
        };
        self.move_if(&sender_hospital_id, request, |_| Ok(())).await?;
        Ok(())
    }
}
