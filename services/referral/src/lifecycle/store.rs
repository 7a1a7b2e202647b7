//! What the life cycle asks of a database.

use std::future::Future;

use neurotriage_domain::{AssessmentId, EventId, HospitalId, PatientId, ReferralId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    LifecycleError,
    event::EventEnvelope,
    outbox::{Cause, Letter, Outcome, Policy, Release, Row},
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

/// Where referrals, their events and the outbox are kept.
///
/// `hospital_id` is the hospital that asks. It sees what it refers and what was sent to it, and knows nothing of the rest.
pub trait LifecycleStore: Clone + Send + Sync + 'static {
    /// Returns whom an assessment is of; `None` if there is no such assessment.
    fn patient_of_assessment(
        &self,
        hospital_id: &HospitalId,
        assessment_id: AssessmentId,
    ) -> impl Future<Output = Result<Option<PatientId>, LifecycleError>> + Send;

    /// Returns whether a hospital takes referrals; `None` if there is no such hospital.
    fn hospital_accepts(
        &self,
        hospital_id: &HospitalId,
    ) -> impl Future<Output = Result<Option<bool>, LifecycleError>> + Send;

    /// Stores a draft of its sender and its event. Returns false if its request already made a referral.
    fn insert(
        &self,
        draft: &Referral,
        event: &Event,
    ) -> impl Future<Output = Result<bool, LifecycleError>> + Send;

    /// Stores what [`Referral::apply`] returned: the referral, the event, and the letter in the
    /// outbox, or none of them. Returns false, and stores nothing, if the referral has moved.
    fn commit(
        &self,
        hospital_id: &HospitalId,
        referral: &Referral,
        event: &Event,
        letter: Option<&Letter>,
    ) -> impl Future<Output = Result<bool, LifecycleError>> + Send;

    /// Returns a referral with its history; `None` if there is none.
    fn find(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
    ) -> impl Future<Output = Result<Option<Referral>, LifecycleError>> + Send;

    /// Returns the referral that a request of the hospital created; `None` if it created none.
    fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<Referral>, LifecycleError>> + Send;

    /// Returns at most `limit` referrals in one of `states` (all if empty), newest first, those
    /// older than `before`.
    fn list(
        &self,
        hospital_id: &HospitalId,
        listed: &Listed,
        states: &[State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(Terms, Status)>, LifecycleError>> + Send;

    /// Returns at most `limit` events of a referral after number `after_sequence`, in order.
    fn events(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<EventEnvelope>, LifecycleError>> + Send;

    /// Returns at most `limit` events that concern `receiver`, by time and then in the order of each
    /// referral: those that occurred at `since` or later and stand after `after`.
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
    /// `after`.
    fn dead_letters(
        &self,
        hospital_id: &HospitalId,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, LifecycleError>> + Send;

    /// Returns an event in the outbox; `None` if it is not there.
    fn posted(
        &self,
        hospital_id: &HospitalId,
        event_id: EventId,
    ) -> impl Future<Output = Result<Option<Posted>, LifecycleError>> + Send;

    /// Releases the dead letter that was given up at `dead_at`. Returns false if another operator
    /// was faster.
    ///
    /// # Errors
    /// [`LifecycleError::NotDead`]; [`LifecycleError::Store`].
    fn release(
        &self,
        hospital_id: &HospitalId,
        row: &Row,
        release: Release,
        dead_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<bool, LifecycleError>> + Send;
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
