//! One operation: a transaction of one hospital that ends with its audit entries.
//!
//! What happens comes first, the audit comes last and once, right before the commit: it locks the head of
//! one chain. Whoever waits for a head holds none, so nobody waits in a circle, and a head is locked for
//! two answers of the database.

use neurotriage_audit::{Action, ChainId, Detail, Event, Outcome, Resource, shard_of};
use neurotriage_domain::{DomainError as _, PatientId};
use neurotriage_service_kit::tenant::{self, Mode};
use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _, QueryTrait as _,
    sea_query::{CommonTableExpression, InsertStatement, Query},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{SqlRecordsStore, audit, change_row, failed};
use crate::{
    call::Call,
    change::{ChangeAction, RecordKind},
    error::RecordsError,
};

/// Chains of one hospital's audit. A head is locked for as long as a commit lasts; with 64 the audit waits for the
/// disk, not for itself.
pub(super) const SHARDS: u16 = 64;

/// A transaction, and what the audit will say about it.
pub(super) struct Unit<'a> {
    pub(super) store: &'a SqlRecordsStore,
    pub(super) call: &'a Call,
    pub(super) transaction: DatabaseTransaction,
    events: Vec<Event>,
}

impl<'a> Unit<'a> {
    /// Begins. Reads write too: their audit entry.
    pub(super) async fn begin(
        store: &'a SqlRecordsStore,
        call: &'a Call,
    ) -> Result<Self, RecordsError> {
        store.provision(call).await?;
        let transaction = tenant::begin(&store.db, &call.hospital_id, Mode::Write)
            .await
            .map_err(failed("begin transaction"))?;
        Ok(Self { store, call, transaction, events: Vec::new() })
    }

    /// Returns the hospital.
    pub(super) fn hospital(&self) -> &'a str {
        self.call.hospital_id.as_str()
    }

    /// Notes for the audit what was done to a record, or to those of a kind as a whole.
    pub(super) fn note(
        &mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        detail: Detail,
    ) -> Result<(), RecordsError> {
        self.note_outcome(action, kind, id, detail, Outcome::Done)
    }

    fn note_outcome(
        &mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        detail: Detail,
        outcome: Outcome,
    ) -> Result<(), RecordsError> {
        let resource = match id {
            Some(id) => Resource::one(kind, id),
            None => Resource::all(kind),
        };
        self.events.push(Event {
            at: OffsetDateTime::now_utc(),
            actor: self.call.actor.clone(),
            action,
            resource: resource.map_err(|error| RecordsError::store("make audit event", error))?,
            purpose: self.call.purpose.clone(),
            trace: self.call.trace.clone(),
            outcome,
            detail,
        });
        Ok(())
    }

    /// Tells watchers of a change.
    pub(super) async fn changed(
        &self,
        record: (RecordKind, Uuid),
        patient_id: PatientId,
        action: ChangeAction,
        revision: i64,
        at: OffsetDateTime,
    ) -> Result<(), RecordsError> {
        let insert = self.change(record, patient_id, action, revision, at);
        self.transaction.execute(&insert).await.map_err(failed("write change"))?;
        Ok(())
    }

    /// Returns what tells watchers of a change.
    pub(super) fn change(
        &self,
        (kind, record_id): (RecordKind, Uuid),
        patient_id: PatientId,
        action: ChangeAction,
        revision: i64,
        at: OffsetDateTime,
    ) -> InsertStatement {
        let row = change_row::ActiveModel {
            hospital_id: Set(self.hospital().to_owned()),
            kind: Set(kind.as_str().to_owned()),
            record_id: Set(record_id),
            patient_id: Set(patient_id.as_uuid()),
            action: Set(action.as_str().to_owned()),
            revision: Set(revision),
            changed_at: Set(at),
            ..Default::default()
        };
        change_row::Entity::insert(row).into_query()
    }

    /// Makes the inserts: in PostgreSQL all in one statement, so that they wait for one answer together. What they
    /// refer to in each other is checked after the last.
    pub(super) async fn insert(&self, mut inserts: Vec<InsertStatement>) -> Result<(), DbErr> {
        if self.transaction.get_database_backend() != DbBackend::Postgres {
            for insert in &inserts {
                self.transaction.execute(insert).await?;
            }
            return Ok(());
        }
        let Some(last) = inserts.pop() else { return Ok(()) };
        if inserts.is_empty() {
            return self.transaction.execute(&last).await.map(drop);
        }
        let mut with = Query::with();
        for (place, insert) in inserts.into_iter().enumerate() {
            let table = CommonTableExpression::new()
                .table_name(format!("part_{place}"))
                .query(insert)
                .to_owned();
            with.cte(table);
        }
        self.transaction.execute(&last.with(with.to_owned())).await.map(drop)
    }

    /// Appends to the audit and commits. `about` is the patient if it is about one, so that the order of what was
    /// done to a patient can't be denied, and a fresh id if it is about several.
    pub(super) async fn commit(
        self,
        operation: &'static str,
        about: Uuid,
    ) -> Result<(), RecordsError> {
        let chain = ChainId { tenant: self.call.tenant()?, shard: shard_of(&about, SHARDS) };
        audit::append(&self.transaction, &self.store.vault.signer, chain, &self.events).await?;
        self.transaction.commit().await.map_err(failed(operation))
    }

    /// Gives up: nothing is stored.
    pub(super) async fn roll_back(self) -> Result<(), RecordsError> {
        self.transaction.rollback().await.map_err(failed("roll back transaction"))
    }

    /// Ends an operation that may not be: what was tried, and why it was refused, is in the audit and nothing else
    /// is stored. Returns `error`, or why the audit could not be written.
    ///
    /// Nothing may have been written before.
    pub(super) async fn refuse(
        mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        error: RecordsError,
    ) -> RecordsError {
        let denied = matches!(error, RecordsError::Access(_));
        let outcome = if denied { Outcome::Denied } else { Outcome::Failed };
        let detail = Detail::none().reason(error.reason());
        let about = id.unwrap_or_else(Uuid::now_v7);
        let noted = match self.note_outcome(action, kind, id, detail, outcome) {
            Ok(()) => self.commit("commit audit of refusal", about).await,
            Err(error) => Err(error),
        };
        noted.err().unwrap_or(error)
    }
}
