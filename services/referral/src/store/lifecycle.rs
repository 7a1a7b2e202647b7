//! Referrals, their events and the outbox in a database: PostgreSQL or SQLite.

mod events;
mod outbox;
mod rows;

use std::error::Error;

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{AssessmentId, HospitalId, PatientId, ReferralId};
use neurotriage_service_kit::{
    audit::{Call, Unit},
    database::is_away,
    tenant::{self, Mode},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, SqlErr,
    sea_query::{Query, SelectStatement},
};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::rows::{event_row, outbox_row, reason_row, referral_row};
use super::{Ledger, REPEATED, assessment_row, hospital_row, kind};
use crate::lifecycle::{
    Draft, LifecycleError, ReleaseRequest,
    event::EventEnvelope,
    referral::{EVENTS_MAX, Event, Referral, State, Status, Terms},
    store::{DeadLetter, DeadPlace, Decision, Due, EventPlace, LifecycleStore, Listed, Posted},
};

/// Referrals over a connection pool.
///
/// Workers look for what is due in a transaction that only reads, and write in one of the hospital concerned: the expiry
/// in a unit of the audit, the outbox without, since it writes how far a letter is and nothing of a patient's.
#[derive(Clone, Debug)]
pub struct SqlLifecycleStore {
    ledger: Ledger,
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
    /// Stores in the database of `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Begins a transaction that leaves no entry in the audit.
    async fn begin(
        &self,
        hospital_id: &HospitalId,
        mode: Mode,
    ) -> Result<DatabaseTransaction, LifecycleError> {
        tenant::begin(&self.ledger.db, hospital_id, mode).await.map_err(failed("begin transaction"))
    }

    async fn begin_across(&self) -> Result<DatabaseTransaction, LifecycleError> {
        tenant::begin_across(&self.ledger.db).await.map_err(failed("begin transaction of a worker"))
    }

    async fn with_history(
        &self,
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
        let given = rows.iter().filter(|row| rows::has_reason(row)).map(|row| row.event_id);
        let mut reasons = rows::reasons(&self.ledger.vault, transaction, given.collect()).await?;
        let mut history = Vec::with_capacity(rows.len());
        for row in rows {
            let reason = reasons.remove(&row.event_id);
            history.push(rows::event_from_row(row, reason.as_deref())?);
        }
        Referral::replay(rows::terms_from_row(&model)?, &history).map_err(failed("replay referral"))
    }

    /// Returns a referral that is known to the hospital that calls.
    async fn known(
        &self,
        unit: &Unit<'_>,
        call: &Call,
        referral_id: ReferralId,
    ) -> Result<Option<Referral>, LifecycleError> {
        let row = referral_row::Entity::find_by_id(referral_id.as_uuid())
            .filter(known_to(&call.hospital_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read referral"))?;
        match row {
            Some(row) => self.with_history(unit.transaction(), row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins a unit with a referral that the call may touch; whatever else is refused, as a try of `action`.
    async fn begin_with<'a>(
        &'a self,
        call: &'a Call,
        action: Action,
        referral_id: ReferralId,
    ) -> Result<(Unit<'a>, Referral), LifecycleError> {
        let unit = self.ledger.audit.begin(call).await?;
        let refused = match self.known(&unit, call, referral_id).await? {
            None => LifecycleError::NotFound { referral_id },
            Some(referral) => match call.check_patient(referral.terms().patient_id) {
                Ok(()) => return Ok((unit, referral)),
                Err(error) => error.into(),
            },
        };
        Err(unit.refuse(action, kind::REFERRAL, Some(referral_id.as_uuid()), refused).await)
    }

    /// Writes an event, and its reason sealed. Returns false if the event is there already: then the transaction is
    /// of no use any more.
    async fn insert_event(
        &self,
        transaction: &DatabaseTransaction,
        event: &Event,
    ) -> Result<bool, LifecycleError> {
        let row = rows::event_to_row(event)?;
        let inserted = event_row::Entity::insert(row).exec_without_returning(transaction).await;
        if !is_new(inserted.map(drop), "write referral event")? {
            return Ok(false);
        }
        if let Some(row) = rows::reason_to_row(&self.ledger.vault, event)? {
            reason_row::Entity::insert(row)
                .exec_without_returning(transaction)
                .await
                .map_err(failed("write reason"))?;
        }
        Ok(true)
    }
}

async fn commit(transaction: DatabaseTransaction) -> Result<(), LifecycleError> {
    transaction.commit().await.map_err(failed("commit transaction"))
}

/// Returns false if what was inserted is there already.
fn is_new(inserted: Result<(), DbErr>, operation: &'static str) -> Result<bool, LifecycleError> {
    match inserted {
        Ok(()) => Ok(true),
        Err(error) => match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Ok(false),
            _ => Err(failed(operation)(error)),
        },
    }
}

/// Returns the detail of a referral at its revision.
fn at_revision(referral: &Referral) -> Detail {
    Detail::none().revision(referral.status().revision)
}

/// Returns whose chain a referral's entries are in.
fn about(referral: &Referral) -> Uuid {
    referral.terms().patient_id.as_uuid()
}

/// Cuts `entries`, one more than a page was asked for, to the page. Returns whether there are more.
fn cut<T>(entries: &mut Vec<T>, limit: u32) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    more
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
        call: &Call,
        assessment_id: AssessmentId,
    ) -> Result<PatientId, LifecycleError> {
        let (action, kind, id) = (Action::Read, kind::ASSESSMENT, Some(assessment_id.as_uuid()));
        let mut unit = self.ledger.audit.begin(call).await?;
        let patient_id: Option<Uuid> = assessment_row::Entity::find_by_id(assessment_id.as_uuid())
            .select_only()
            .column(assessment_row::Column::PatientId)
            .filter(assessment_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .into_tuple()
            .one(unit.transaction())
            .await
            .map_err(failed("read patient of assessment"))?;
        let Some(patient_id) = patient_id else {
            let error = LifecycleError::AssessmentNotFound { assessment_id };
            return Err(unit.refuse(action, kind, id, error).await);
        };
        if let Err(error) = call.check_patient(patient_id.into()) {
            return Err(unit.refuse(action, kind, id, error.into()).await);
        }
        unit.note(action, kind, id, Detail::none().fields(&["patient_id"]))?;
        unit.commit("commit audit of read", patient_id).await?;
        Ok(patient_id.into())
    }

    async fn hospital_accepts(
        &self,
        hospital_id: &HospitalId,
    ) -> Result<Option<bool>, LifecycleError> {
        hospital_row::Entity::find_by_id(hospital_id.to_string())
            .select_only()
            .column(hospital_row::Column::AcceptsReferrals)
            .into_tuple()
            .one(&self.ledger.db)
            .await
            .map_err(failed("read whether hospital accepts"))
    }

    async fn find_by_request(
        &self,
        call: &Call,
        draft: &Draft,
    ) -> Result<Option<Referral>, LifecycleError> {
        let (action, kind, request_id) = (Action::Create, kind::REFERRAL, draft.request_id);
        let mut unit = self.ledger.audit.begin(call).await?;
        let row = referral_row::Entity::find()
            .filter(referral_row::Column::SenderHospitalId.eq(call.hospital_id.as_str()))
            .filter(referral_row::Column::RequestId.eq(request_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read referral by request"))?;
        let Some(row) = row else {
            unit.roll_back().await?;
            return Ok(None);
        };
        let stored = self.with_history(unit.transaction(), row).await?;
        let id = Some(stored.terms().referral_id.as_uuid());
        let refused = match call.check_patient(stored.terms().patient_id) {
            Err(error) => Some(error.into()),
            Ok(()) if !draft.is_of(stored.terms()) => {
                Some(LifecycleError::RequestReused { request_id })
            }
            Ok(()) => None,
        };
        if let Some(error) = refused {
            return Err(unit.refuse(action, kind, id, error).await);
        }
        unit.note(action, kind, id, Detail::none().reason(REPEATED))?;
        unit.commit("commit audit of repeated create", about(&stored)).await?;
        Ok(Some(stored))
    }

    async fn insert(
        &self,
        call: &Call,
        draft: &Referral,
        event: &Event,
    ) -> Result<bool, LifecycleError> {
        let row = rows::referral_to_row(draft)?;
        let mut unit = self.ledger.audit.begin(call).await?;
        let inserted =
            referral_row::Entity::insert(row).exec_without_returning(unit.transaction()).await;
        let is_new = is_new(inserted.map(drop), "write referral")?
            && self.insert_event(unit.transaction(), event).await?;
        if !is_new {
            unit.roll_back().await?;
            return Ok(false);
        }
        let id = Some(draft.terms().referral_id.as_uuid());
        unit.note(Action::Create, kind::REFERRAL, id, at_revision(draft))?;
        unit.commit("commit referral", about(draft)).await?;
        Ok(true)
    }

    async fn change(
        &self,
        call: &Call,
        referral_id: ReferralId,
        decide: impl Fn(&Referral) -> Result<Decision, LifecycleError> + Send + Sync,
    ) -> Result<Option<Decision>, LifecycleError> {
        let (action, kind, id) = (Action::Update, kind::REFERRAL, Some(referral_id.as_uuid()));
        let (mut unit, before) = self.begin_with(call, action, referral_id).await?;
        let decision = match decide(&before) {
            Ok(decision) => decision,
            Err(error) => return Err(unit.refuse(action, kind, id, error).await),
        };
        let Decision { referral, event, is_repeated, letter } = &decision;
        let detail = if *is_repeated {
            Detail::none().reason(REPEATED)
        } else {
            // The update comes first: PostgreSQL locks the row, so that of two moves from one revision one finds
            // nothing to update.
            let transaction = unit.transaction();
            let written = update(transaction, &call.hospital_id, referral).await?
                && self.insert_event(transaction, event).await?;
            if !written {
                unit.roll_back().await?;
                return Ok(None);
            }
            if let Some(letter) = letter {
                outbox_row::Entity::insert(rows::letter_to_row(letter, referral.terms())?)
                    .exec_without_returning(transaction)
                    .await
                    .map_err(failed("write outbox row"))?;
            }
            at_revision(referral)
        };
        unit.note(action, kind, id, detail)?;
        unit.commit("commit move of referral", about(&before)).await?;
        Ok(Some(decision))
    }

    async fn find(
        &self,
        call: &Call,
        referral_id: ReferralId,
        check: impl Fn(&Terms) -> Result<(), LifecycleError> + Send + Sync,
    ) -> Result<Referral, LifecycleError> {
        let (action, kind, id) = (Action::Read, kind::REFERRAL, Some(referral_id.as_uuid()));
        let (mut unit, referral) = self.begin_with(call, action, referral_id).await?;
        if let Err(error) = check(referral.terms()) {
            return Err(unit.refuse(action, kind, id, error).await);
        }
        unit.note(action, kind, id, at_revision(&referral))?;
        unit.commit("commit audit of read", about(&referral)).await?;
        Ok(referral)
    }

    async fn list(
        &self,
        call: &Call,
        listed: &Listed,
        states: &[State],
        before: Option<ReferralId>,
        limit: u32,
    ) -> Result<(Vec<(Terms, Status)>, bool), LifecycleError> {
        let query = referral_row::Entity::find().filter(known_to(&call.hospital_id));
        let (by, mut query) = match listed {
            Listed::ToHospital(receiver) => {
                let to_it = referral_row::Column::HospitalId.eq(receiver.as_str());
                ("hospital_id", query.filter(to_it).filter(was_sent()))
            }
            Listed::OfPatient(patient_id) => {
                let of_it = referral_row::Column::PatientId.eq(patient_id.as_uuid());
                ("patient_id", query.filter(of_it))
            }
            Listed::ByReferrer(referrer_id) => {
                let by_it = referral_row::Column::ReferrerId.eq(referrer_id.as_str());
                ("referrer_id", query.filter(by_it))
            }
        };
        if !states.is_empty() {
            query = query.filter(referral_row::Column::State.is_in(names(states)));
        }
        if let Some(before) = before {
            query = query.filter(referral_row::Column::ReferralId.lt(before.as_uuid()));
        }
        let mut unit = self.ledger.audit.begin(call).await?;
        let mut rows = query
            .order_by_desc(referral_row::Column::ReferralId)
            .limit(u64::from(limit) + 1)
            .all(unit.transaction())
            .await
            .map_err(failed("list referrals"))?;
        let more = cut(&mut rows, limit);
        let given = rows.iter().filter_map(rows::last_reason).collect();
        let mut reasons = rows::reasons(&self.ledger.vault, unit.transaction(), given).await?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let reason = rows::last_reason(&row).and_then(|event_id| reasons.remove(&event_id));
            let (terms, status) = rows::referral_from_row(&row, reason)?;
            let revision = Detail::none().revision(status.revision);
            unit.note(Action::Read, kind::REFERRAL, Some(row.referral_id), revision)?;
            shown.push((terms, status));
        }
        let detail = Detail::none().fields(&[by]).count(shown.len() as u64);
        unit.note(Action::Search, kind::REFERRAL, None, detail)?;
        let about = match listed {
            Listed::OfPatient(patient_id) => patient_id.as_uuid(),
            Listed::ToHospital(_) | Listed::ByReferrer(_) => Uuid::now_v7(),
        };
        unit.commit("commit audit of list", about).await?;
        Ok((shown, more))
    }

    async fn list_events(
        &self,
        call: &Call,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<(Vec<EventEnvelope>, bool), LifecycleError> {
        let (mut unit, about) = self.begin_search(call, referral_id).await?;
        let hospital_id = &call.hospital_id;
        let rows = u64::from(limit) + 1;
        let transaction = unit.transaction();
        let mut found =
            events::of_referral(transaction, hospital_id, referral_id, after_sequence, rows)
                .await?;
        let more = cut(&mut found, limit);
        events::note(&mut unit, found.iter().map(|event| event.event_id), &[])?;
        unit.commit("commit audit of list", about).await?;
        Ok((found, more))
    }

    async fn begin_watch(
        &self,
        call: &Call,
        referral_id: Option<ReferralId>,
    ) -> Result<(), LifecycleError> {
        let (mut unit, about) = match referral_id {
            Some(referral_id) => self.begin_search(call, referral_id).await?,
            None => (self.ledger.audit.begin(call).await?, Uuid::now_v7()),
        };
        unit.note(Action::Search, kind::EVENT, None, Detail::none().fields(&["watch"]))?;
        unit.commit("commit audit of watch", about).await?;
        Ok(())
    }

    async fn events(
        &self,
        hospital_id: &HospitalId,
        referral_id: ReferralId,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<EventEnvelope>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = limit.into();
        let found =
            events::of_referral(&transaction, hospital_id, referral_id, after_sequence, rows)
                .await?;
        commit(transaction).await?;
        Ok(found)
    }

    async fn events_of_hospital(
        &self,
        hospital_id: &HospitalId,
        receiver: &HospitalId,
        since: OffsetDateTime,
        after: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<EventEnvelope>, LifecycleError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let found =
            events::of_hospital(&transaction, hospital_id, receiver, since, after, limit).await?;
        commit(transaction).await?;
        Ok(found)
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
        call: &Call,
        receiver: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, bool), LifecycleError> {
        let mut unit = self.ledger.audit.begin(call).await?;
        let (transaction, hospital_id) = (unit.transaction(), &call.hospital_id);
        let rows = u64::from(limit) + 1;
        let mut letters = outbox::dead(transaction, hospital_id, receiver, after, rows).await?;
        let more = cut(&mut letters, limit);
        let shown = letters.iter().map(|letter| letter.event.event_id);
        events::note(&mut unit, shown, &["dead_letters"])?;
        unit.commit("commit audit of list", Uuid::now_v7()).await?;
        Ok((letters, more))
    }

    async fn release(
        &self,
        call: &Call,
        request: &ReleaseRequest,
        now: OffsetDateTime,
    ) -> Result<Option<Posted>, LifecycleError> {
        let ReleaseRequest { event_id, release, dead_at } = *request;
        let (action, kind, id) = (Action::Update, kind::EVENT, Some(event_id.as_uuid()));
        let hospital_id = &call.hospital_id;
        let mut unit = self.ledger.audit.begin(call).await?;
        let Some(posted) = outbox::posted(unit.transaction(), hospital_id, event_id).await? else {
            let error = LifecycleError::EventNotFound { event_id };
            return Err(unit.refuse(action, kind, id, error).await);
        };
        let detail = if posted.row.was_released(release, dead_at) {
            Detail::none().reason(REPEATED)
        } else {
            let Ok(released) = posted.row.release(release, dead_at, now) else {
                let error = LifecycleError::NotDead { event_id };
                return Err(unit.refuse(action, kind, id, error).await);
            };
            let transaction = unit.transaction();
            if !outbox::write(transaction, hospital_id, &posted.row, &released, now).await? {
                unit.roll_back().await?;
                return Ok(None);
            }
            Detail::none().fields(&["release"])
        };
        unit.note(action, kind, id, detail)?;
        unit.commit("commit release", posted.row.referral_id.as_uuid()).await?;
        Ok(Some(posted))
    }
}

/// Writes where a referral stands. Returns false if it moved since the revision before.
async fn update(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    referral: &Referral,
) -> Result<bool, LifecycleError> {
    let (terms, status) = (referral.terms(), referral.status());
    let revision = i64::try_from(status.revision).map_err(failed("encode referral row"))?;
    let updated = referral_row::Entity::update_many()
        .set(referral_row::ActiveModel {
            state: Set(status.state.as_str().to_owned()),
            revision: Set(revision),
            updated_at: Set(status.updated_at),
            scheduled_at: Set(status.scheduled_at),
            reason: Set(rows::reason_mark(status)),
            ..Default::default()
        })
        .filter(referral_row::Column::ReferralId.eq(terms.referral_id.as_uuid()))
        .filter(referral_row::Column::Revision.eq(revision - 1))
        .filter(known_to(hospital_id))
        .exec(transaction)
        .await
        .map_err(failed("write referral"))?;
    Ok(updated.rows_affected != 0)
}
