//! Referrals, their events and the outbox in a database: PostgreSQL or SQLite.

mod outbox;
mod rows;

use std::error::Error;

use neurotriage_domain::{AssessmentId, EventId, HospitalId, PatientId, ReferralId};
use neurotriage_service_kit::{
    database::is_away,
    tenant::{self, Mode},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, DatabaseConnection, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, SqlErr,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement},
};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::rows::{event_row, outbox_row, referral_row};
use super::{assessment_row, hospital_row};
use crate::lifecycle::{
    LifecycleError,
    event::EventEnvelope,
    outbox::{Letter, Release, Row},
    referral::{EVENTS_MAX, Event, MoveKind, Referral, State, Status, Terms},
    store::{DeadLetter, DeadPlace, Due, EventPlace, LifecycleStore, Listed, Posted},
};

/// Referrals over a connection pool.
///
/// Each operation is one transaction of the hospital that asks, and its queries name the hospital too. Workers look for
/// what is due in a transaction that only reads, and write in one of the hospital concerned.
#[derive(Clone, Debug)]
pub struct SqlLifecycleStore {
    db: DatabaseConnection,
}

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    operation: &'static str,
) -> impl Fn(E) -> LifecycleError {
    move |error| {
        let source = error.into();
        if source.downcast_ref().is_some_and(is_away) {
            LifecycleError::Unavailable { operation, source }
        } else {
            LifecycleError::Store { operation, source }
        }
    }
}

impl SqlLifecycleStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    async fn begin(
        &self,
        hospital_id: &HospitalId,
        mode: Mode,
    ) -> Result<DatabaseTransaction, LifecycleError> {
        tenant::begin(&self.db, hospital_id, mode).await.map_err(failed("begin transaction"))
    }

    async fn begin_across(&self) -> Result<DatabaseTransaction, LifecycleError> {
        tenant::begin_across(&self.db).await.map_err(failed("begin transaction of a worker"))
    }

    async fn with_history(
        transaction: &DatabaseTransaction,
        model: referral_row::Model,
    ) -> Result<Referral, LifecycleError> {
        let rows = event_row::Entity::find()
            .filter(event_row::Column::ReferralId.eq(model.referral_id))
            .order_by_asc(event_row::Column::Revision)
            .limit(EVENTS_MAX)
            .all(transaction)
            .await
            .map_err(failed("read referral events"))?;
        let (terms, _) = rows::referral_from_row(model)?;
        let mut history = Vec::with_capacity(rows.len());
        for row in rows {
            history.push(rows::event_from_row(row)?);
        }
        Referral::replay(terms, &history).map_err(failed("replay referral"))
    }
}

async fn commit(transaction: DatabaseTransaction) -> Result<(), LifecycleError> {
    transaction.commit().await.map_err(failed("commit transaction"))
}

/// Returns false, with everything taken back, if the row is there already.
async fn inserted(
    transaction: DatabaseTransaction,
    event: &Event,
) -> Result<Option<DatabaseTransaction>, LifecycleError> {
    let row = rows::event_to_row(event)?;
    let Err(error) = event_row::Entity::insert(row).exec_without_returning(&transaction).await
    else {
        return Ok(Some(transaction));
    };
    let taken = matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)));
    transaction.rollback().await.map_err(failed("roll back transaction"))?;
    if taken { Ok(None) } else { Err(failed("write referral event")(error)) }
}

/// True of referrals that the hospital has heard of: neither a draft nor closed as one. Of a draft's
/// moves only `request` does not end it.
fn was_sent() -> Condition {
    let closed_as_draft = Condition::all()
        .add(referral_row::Column::Revision.eq(2))
        .add(referral_row::Column::State.is_in(names(&[State::Cancelled, State::Expired])));
    Condition::all()
        .add(referral_row::Column::State.ne(State::Draft.as_str()))
        .add(closed_as_draft.not())
}

/// True of referrals that a hospital sent, or that were sent to it.
fn known_to(hospital_id: &HospitalId) -> Condition {
    let received = Condition::all()
        .add(referral_row::Column::HospitalId.eq(hospital_id.as_str()))
        .add(was_sent());
    Condition::any()
        .add(referral_row::Column::SenderHospitalId.eq(hospital_id.as_str()))
        .add(received)
}

/// Selects the ids of referrals known to a hospital.
fn ids_known_to(hospital_id: &HospitalId) -> SelectStatement {
    Query::select()
        .column(referral_row::Column::ReferralId)
        .from(referral_row::Entity)
        .cond_where(known_to(hospital_id))
        .to_owned()
}

fn names(states: &[State]) -> Vec<&'static str> {
    states.iter().map(|state| state.as_str()).collect()
}

impl LifecycleStore for SqlLifecycleStore {
    async fn patient_of_assessment(
        &self,
        hospital_id: &HospitalId,
        assessment_id: AssessmentId,
    ) -> Result<Option<PatientId>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let patient_id: Option<Uuid> = assessment_row::Entity::find_by_id(assessment_id.as_uuid())
            .select_only()
            .column(assessment_row::Column::PatientId)
            .filter(assessment_row::Column::HospitalId.eq(hospital_id.as_str()))
            .into_tuple()
            .one(&transaction)
            .await
            .map_err(failed("read patient of assessment"))?;
        commit(transaction).await?;
        Ok(patient_id.map(PatientId::from))
    }

    async fn hospital_accepts(
        &self,
        hospital_id: &HospitalId,
    ) -> Result<Option<bool>, LifecycleError> {
        hospital_row::Entity::find_by_id(hospital_id.to_string())
            .select_only()
            .column(hospital_row::Column::AcceptsReferrals)
            .into_tuple()
            .one(&self.db)
            .await
            .map_err(failed("read whether hospital accepts"))
    }

    async fn insert(&self, draft: &Referral, event: &Event) -> Result<bool, LifecycleError> {
        let row = rows::referral_to_row(draft)?;
        let transaction = self.begin(&draft.terms().sender_hospital_id, Mode::Write).await?;
        if let Err(error) =
            referral_row::Entity::insert(row).exec_without_returning(&transaction).await
        {
            let taken = matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)));
            transaction.rollback().await.map_err(failed("roll back transaction"))?;
            return if taken { Ok(false) } else { Err(failed("write referral")(error)) };
        }
        let Some(transaction) = inserted(transaction, event).await? else { return Ok(false) };
        commit(transaction).await.map(|()| true)
    }

    async fn commit(
        &self,
        hospital_id: &HospitalId,
        referral: &Referral,
        event: &Event,
        letter: Option<&Letter>,
    ) -> Result<bool, LifecycleError> {
        let status = referral.status();
        let revision = i64::try_from(status.revision).map_err(failed("encode referral row"))?;
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        // The update comes first: PostgreSQL locks the row, so that of two moves from one revision one finds nothing
        // to update.
        let updated = referral_row::Entity::update_many()
            .set(referral_row::ActiveModel {
                state: Set(status.state.as_str().to_owned()),
                revision: Set(revision),
                updated_at: Set(status.updated_at),
                scheduled_at: Set(status.scheduled_at),
                reason: Set(status.reason.as_ref().map(|reason| reason.as_str().to_owned())),
                ..Default::default()
            })
            .filter(referral_row::Column::ReferralId.eq(event.referral_id.as_uuid()))
            .filter(referral_row::Column::Revision.eq(revision - 1))
            .filter(known_to(hospital_id))
            .exec(&transaction)
            .await
            .map_err(failed("write referral"))?;
        if updated.rows_affected == 0 {
            transaction.rollback().await.map_err(failed("roll back transaction"))?;
            return Ok(false);
        }
        let Some(transaction) = inserted(transaction, event).await? else { return Ok(false) };
        if let Some(letter) = letter {
            outbox_row::Entity::insert(rows::letter_to_row(letter, referral.terms())?)
                .exec_without_returning(&transaction)
                .await
                .map_err(failed("write outbox row"))?;
        }
        commit(transaction).await.map(|()| true)
    }

    async fn find(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
    ) -> Result<Option<Referral>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = referral_row::Entity::find_by_id(referral_id.as_uuid())
            .filter(known_to(hospital_id))
            .one(&transaction)
            .await
            .map_err(failed("read referral"))?;
        let Some(row) = row else { return Ok(None) };
        let referral = Self::with_history(&transaction, row).await?;
        commit(transaction).await?;
        Ok(Some(referral))
    }

    async fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> Result<Option<Referral>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = referral_row::Entity::find()
            .filter(referral_row::Column::SenderHospitalId.eq(hospital_id.as_str()))
            .filter(referral_row::Column::RequestId.eq(request_id))
            .one(&transaction)
            .await
            .map_err(failed("read referral by request"))?;
        let Some(row) = row else { return Ok(None) };
        let referral = Self::with_history(&transaction, row).await?;
        commit(transaction).await?;
        Ok(Some(referral))
    }

    async fn list(
        &self,
        hospital_id: &HospitalId,
        listed: &Listed,
        states: &[State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> Result<Vec<(Terms, Status)>, LifecycleError> {
        let query = referral_row::Entity::find().filter(known_to(hospital_id));
        let mut query = match listed {
            Listed::ToHospital(receiver) => query
                .filter(referral_row::Column::HospitalId.eq(receiver.as_str()))
                .filter(was_sent()),
            Listed::OfPatient(patient_id) => {
                query.filter(referral_row::Column::PatientId.eq(patient_id.as_uuid()))
            }
            Listed::ByReferrer(referrer_id) => {
                query.filter(referral_row::Column::ReferrerId.eq(referrer_id.as_str()))
            }
        };
        if !states.is_empty() {
            query = query.filter(referral_row::Column::State.is_in(names(states)));
        }
        if let Some(before) = before {
            query = query.filter(referral_row::Column::ReferralId.lt(before.as_uuid()));
        }
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = query
            .order_by_desc(referral_row::Column::ReferralId)
            .limit(u64::from(limit))
            .all(&transaction)
            .await
            .map_err(failed("list referrals"))?;
        commit(transaction).await?;
        rows.into_iter().map(rows::referral_from_row).collect()
    }

    async fn events(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<EventEnvelope>, LifecycleError> {
        // No referral has events beyond what the column holds.
        let after = i64::try_from(after_sequence).unwrap_or(i64::MAX);
        let one = Expr::col(referral_row::Column::ReferralId).eq(referral_id.as_uuid());
        let known = ids_known_to(hospital_id).and_where(one).to_owned();
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = event_row::Entity::find()
            .filter(event_row::Column::ReferralId.in_subquery(known))
            .filter(event_row::Column::Revision.gt(after))
            .order_by_asc(event_row::Column::Revision)
            .limit(u64::from(limit))
            .all(&transaction)
            .await
            .map_err(failed("list referral events"))?;
        commit(transaction).await?;
        rows.into_iter().map(rows::envelope_from_row).collect()
    }

    async fn events_of_hospital(
        &self,
        hospital_id: &HospitalId,
        receiver: &HospitalId,
        since: OffsetDateTime,
        after: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventEnvelope>, LifecycleError> {
        // Referrals first: their index leads to the few that moved, and to no other events.
        let moved = ids_known_to(hospital_id)
            .and_where(Expr::col(referral_row::Column::HospitalId).eq(receiver.as_str()))
            .and_where(Expr::col(referral_row::Column::UpdatedAt).gte(since))
            .to_owned();
        let not_of_a_draft = Condition::any()
            .add(event_row::Column::FromState.ne(State::Draft.as_str()))
            .add(event_row::Column::Kind.eq(MoveKind::Request.as_str()));
        let mut query = event_row::Entity::find()
            .filter(event_row::Column::ReferralId.in_subquery(moved))
            .filter(event_row::Column::OccurredAt.gte(since))
            .filter(not_of_a_draft);
        if let Some(after) = after {
            query = query.filter(later_than(after)?);
        }
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = query
            .order_by_asc(event_row::Column::OccurredAt)
            .order_by_asc(event_row::Column::ReferralId)
            .order_by_asc(event_row::Column::Revision)
            .limit(u64::from(limit))
            .all(&transaction)
            .await
            .map_err(failed("list events of hospital"))?;
        commit(transaction).await?;
        rows.into_iter().map(rows::envelope_from_row).collect()
    }

    async fn due(&self, now: OffsetDateTime, limit: u32) -> Result<Vec<Due>, LifecycleError> {
        let open: Vec<State> = State::ALL.iter().copied().filter(|one| one.expires()).collect();
        let transaction = self.begin_across().await?;
        let rows: Vec<(Uuid, String)> = referral_row::Entity::find()
            .select_only()
            .column(referral_row::Column::ReferralId)
            .column(referral_row::Column::SenderHospitalId)
            .filter(referral_row::Column::State.is_in(names(&open)))
            .filter(referral_row::Column::DeadlineAt.lte(now))
            .order_by_asc(referral_row::Column::DeadlineAt)
            .order_by_asc(referral_row::Column::ReferralId)
            .limit(u64::from(limit))
            .into_tuple()
            .all(&transaction)
            .await
            .map_err(failed("find referrals to expire"))?;
        commit(transaction).await?;
        let mut due = Vec::with_capacity(rows.len());
        for (referral_id, sender) in rows {
            let sender_hospital_id = sender.parse().map_err(failed("decode referral row"))?;
            due.push(Due { referral_id: referral_id.into(), sender_hospital_id });
        }
        Ok(due)
    }

    async fn dead_letters(
        &self,
        hospital_id: &HospitalId,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let letters = outbox::dead(&transaction, hospital_id, receiver, after, limit).await?;
        commit(transaction).await?;
        Ok(letters)
    }

    async fn posted(
        &self,
        hospital_id: &HospitalId,
        event_id: EventId,
    ) -> Result<Option<Posted>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let posted = outbox::posted(&transaction, hospital_id, event_id).await?;
        commit(transaction).await?;
        Ok(posted)
    }

    async fn release(
        &self,
        hospital_id: &HospitalId,
        row: &Row,
        release: Release,
        dead_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, LifecycleError> {
        let event_id = row.event_id;
        let released =
            row.release(release, dead_at, now).map_err(|_| LifecycleError::NotDead { event_id })?;
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        let written = outbox::write(&transaction, hospital_id, row, &released, now).await?;
        commit(transaction).await?;
        Ok(written)
    }
}

/// True of events that come after `place` in the order of time, referral and revision.
fn later_than(place: EventPlace) -> Result<Condition, LifecycleError> {
    use event_row::Column::{OccurredAt, ReferralId, Revision};
    let revision = i64::try_from(place.sequence).map_err(failed("encode place of event"))?;
    let referral_id = place.referral_id.as_uuid();
    let same_referral = Condition::all().add(ReferralId.eq(referral_id)).add(Revision.gt(revision));
    let same_time = Condition::all()
        .add(OccurredAt.eq(place.occurred_at))
        .add(Condition::any().add(ReferralId.gt(referral_id)).add(same_referral));
    Ok(Condition::any().add(OccurredAt.gt(place.occurred_at)).add(same_time))
}
