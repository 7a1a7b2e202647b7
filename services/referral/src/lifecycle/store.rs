//! What the life cycle asks of a database.

use std::future::Future;

use neurotriage_domain::{AssessmentId, EventId, HospitalId, PatientId, ReferralId};
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;

use super::{
    Draft, LifecycleError, ReleaseRequest,
    event::EventEnvelope,
    outbox::{Cause, Letter, Outcome, Policy, Row},
    referral::{ActorId, Event, Referral, State, Status, Terms},
};

/// Whose referrals are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those to this hospital, drafts that were never sent left out.
    ToHospital(HospitalId),
    /// Those of this patient.
    OfPatient(PatientId),
    /// Those by this referrer.
    ByReferrer(ActorId),
}

/// A place among the events of a hospital, by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// When the event occurred.
    pub occurred_at: OffsetDateTime,
    /// Whose it is.
    pub referral_id: ReferralId,
    /// Its number.
    pub sequence: u64,
}

/// A place among the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadPlace {
    /// When the event was given up.
    pub dead_at: OffsetDateTime,
    /// The event.
    pub event_id: EventId,
}

/// An event whose delivery was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event: EventEnvelope,
    /// Where it was to go.
    pub hospital_id: HospitalId,
    /// Why it was given up.
    pub cause: Cause,
    /// When.
    pub dead_at: OffsetDateTime,
    /// Attempts made.
    pub attempts: u32,
    /// Later events of its referral that wait behind it.
    pub held_back: u32,
}

/// An event in the outbox, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its row.
    pub row: Row,
    /// Where it goes.
    pub hospital_id: HospitalId,
    /// The event.
    pub event: EventEnvelope,
    /// Later events of its referral that are to be delivered.
    pub held_back: u32,
}

/// A referral that is to expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub referral_id: ReferralId,
    /// Whose it is.
    pub sender_hospital_id: HospitalId,
}

/// What becomes of a referral that is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The referral after the move.
    pub referral: Referral,
    /// What the move left.
    pub event: Event,
    /// The same request moved it before: nothing is stored.
    pub is_repeated: bool,
    /// What its receiver is told; stored with the event.
    pub letter: Option<Letter>,
}

/// Where referrals, their events and the outbox are kept.
///
/// The hospital that calls sees what it refers and what was sent to it, and knows nothing of the rest. Every answer is in
/// the audit of that hospital, and what it was refused too.
pub trait LifecycleStore: Clone + Send + Sync + 'static {
    /// Returns whom an assessment is of, to refer them.
    ///
    /// # Errors
    /// [`LifecycleError::AssessmentNotFound`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    fn patient_of_assessment(
        &self,
        call: &Call,
        assessment_id: AssessmentId,
    ) -> impl Future<Output = Result<PatientId, LifecycleError>> + Send;

    /// Returns whether a hospital takes referrals; `None` if there is no such hospital.
    fn hospital_accepts(
        &self,
        hospital_id: &HospitalId,
    ) -> impl Future<Output = Result<Option<bool>, LifecycleError>> + Send;

    /// Returns once more what the request of a draft made; `None` if it made nothing.
    ///
    /// # Errors
    /// [`LifecycleError::RequestReused`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    fn find_by_request(
        &self,
        call: &Call,
        draft: &Draft,
    ) -> impl Future<Output = Result<Option<Referral>, LifecycleError>> + Send;

    /// Stores a draft of the hospital that calls, and its event. Returns false if its request already made a
    /// referral.
    fn insert(
        &self,
        call: &Call,
        draft: &Referral,
        event: &Event,
    ) -> impl Future<Output = Result<bool, LifecycleError>> + Send;

    /// Does to a referral what `decide` says, and returns that; `None`, and nothing is stored, if the referral moved
    /// meanwhile.
    ///
    /// # Errors
    /// What `decide` returns; [`LifecycleError::NotFound`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    fn change(
        &self,
        call: &Call,
        referral_id: ReferralId,
        decide: impl Fn(&Referral) -> Result<Decision, LifecycleError> + Send + Sync,
    ) -> impl Future<Output = Result<Option<Decision>, LifecycleError>> + Send;

    /// Returns a referral with its history, if `check` has nothing against it.
    ///
    /// # Errors
    /// What `check` returns; [`LifecycleError::NotFound`]; [`LifecycleError::Call`]; [`LifecycleError::Store`].
    fn find(
        &self,
        call: &Call,
        referral_id: ReferralId,
        check: impl Fn(&Terms) -> Result<(), LifecycleError> + Send + Sync,
    ) -> impl Future<Output = Result<Referral, LifecycleError>> + Send;

    /// Returns at most `limit` referrals in one of `states` (all if empty), newest first, those
    /// older than `before`, and whether there are more.
    fn list(
        &self,
        call: &Call,
        listed: &Listed,
        states: &[State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<(Terms, Status)>, bool), LifecycleError>> + Send;

    /// Returns at most `limit` events of a referral after number `after_sequence`, in order, and whether there are
    /// more.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Store`].
    fn list_events(
        &self,
        call: &Call,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<EventEnvelope>, bool), LifecycleError>> + Send;

    /// Notes that events are watched: of one referral, or of those to a hospital.
    ///
    /// # Errors
    /// [`LifecycleError::NotFound`]; [`LifecycleError::Store`].
    fn begin_watch(
        &self,
        call: &Call,
        referral_id: Option<ReferralId>,
    ) -> impl Future<Output = Result<(), LifecycleError>> + Send;

    /// Returns at most `limit` events of a referral after number `after_sequence`, in order, to who watches and was
    /// noted when that began.
    fn events(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<EventEnvelope>, LifecycleError>> + Send;

    /// Returns at most `limit` events that concern `receiver`, by time and then in the order of each
    /// referral: those that occurred at `since` or later and stand after `after`. As [`LifecycleStore::events`] to
    /// who watches.
    fn events_of_hospital(
        &self,
        hospital_id: &HospitalId,
        receiver: &HospitalId,
        since: OffsetDateTime,
        after: Option<EventPlace>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<EventEnvelope>, LifecycleError>> + Send;

    /// Returns at most `limit` referrals of all hospitals that are to expire at `now`, longest due first. For the
    /// worker alone.
    fn due(
        &self,
        now: OffsetDateTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Due>, LifecycleError>> + Send;

    /// Returns at most `limit` dead letters, to `receiver` alone if it is given, longest dead first, those after
    /// `after`, and whether there are more.
    fn dead_letters(
        &self,
        call: &Call,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<DeadLetter>, bool), LifecycleError>> + Send;

    /// Releases a dead letter, unless that was done already. Returns it as it was before; `None` if another operator
    /// was faster.
    ///
    /// # Errors
    /// [`LifecycleError::EventNotFound`]; [`LifecycleError::NotDead`]; [`LifecycleError::Store`].
    fn release(
        &self,
        call: &Call,
        request: &ReleaseRequest,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Option<Posted>, LifecycleError>> + Send;
}

/// Where workers find what to deliver, whatever hospital it goes to. What they write, they write in the name of that
/// hospital.
pub trait OutboxStore: Clone + Send + Sync + 'static {
    /// Takes at most `limit` events that are to be delivered now, and gives up those whose time is
    /// over.
    fn claim(
        &self,
        policy: &Policy,
        limit: usize,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Claimed, LifecycleError>> + Send;

    /// Writes how an attempt ended and returns the row as it is now; `None` if another worker took
    /// over meanwhile.
    fn settle(
        &self,
        receiver: &HospitalId,
        held: &Row,
        outcome: Outcome,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Option<Row>, LifecycleError>> + Send;
}

/// What a worker took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// To be sent, under a lease.
    pub letters: Vec<Letter>,
    /// Given up.
    pub dead: Vec<Row>,
}
