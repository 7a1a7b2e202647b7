//! One operation: a transaction of one hospital that ends with its audit entries.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::PatientId;
use neurotriage_service_kit::audit::{self, Call};
use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _, QueryTrait as _,
    sea_query::{CommonTableExpression, InsertStatement, Query},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{SqlRecordsStore, change_row, failed};
use crate::{
    change::{ChangeAction, RecordKind},
    error::RecordsError,
};

/// A transaction, and what the audit will say about it.
pub(super) struct Unit<'a> {
    pub(super) store: &'a SqlRecordsStore,
    call: &'a Call,
    audited: audit::Unit<'a>,
}

impl<'a> Unit<'a> {
    /// Begins. Reads write too: their audit entry.
    pub(super) async fn begin(
        store: &'a SqlRecordsStore,
        call: &'a Call,
    ) -> Result<Self, RecordsError> {
        Ok(Self { store, call, audited: store.audit.begin(call).await? })
    }

    /// Returns the hospital.
    pub(super) fn hospital(&self) -> &'a str {
        self.call.hospital_id.as_str()
    }

    /// Returns who calls.
    pub(super) fn call(&self) -> &'a Call {
        self.call
    }

    /// Returns the patient's id if the call may know of them: one that is kept to one patient learns of no other.
    pub(super) fn told(&self, patient_id: Uuid) -> Option<PatientId> {
        let patient_id = PatientId::from(patient_id);
        self.call.check_patient(patient_id).is_ok().then_some(patient_id)
    }

    /// Returns the transaction.
    pub(super) fn transaction(&self) -> &DatabaseTransaction {
        self.audited.transaction()
    }

    /// Notes for the audit what was done to a record, or to those of a kind as a whole.
    pub(super) fn note(
        &mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        detail: Detail,
    ) -> Result<(), RecordsError> {
        Ok(self.audited.note(action, kind, id, detail)?)
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
        self.transaction().execute(&insert).await.map_err(failed("write change"))?;
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
        if self.transaction().get_database_backend() != DbBackend::Postgres {
            for insert in &inserts {
                self.transaction().execute(insert).await?;
            }
            return Ok(());
        }
        let Some(last) = inserts.pop() else { return Ok(()) };
        if inserts.is_empty() {
            return self.transaction().execute(&last).await.map(drop);
        }
        let mut with = Query::with();
        for (place, insert) in inserts.into_iter().enumerate() {
            let table = CommonTableExpression::new()
                .table_name(format!("part_{place}"))
                .query(insert)
                .to_owned();
            with.cte(table);
        }
        self.transaction().execute(&last.with(with.to_owned())).await.map(drop)
    }

    /// Appends to the audit and commits. `about` is the patient if it is about one, a fresh id otherwise.
    pub(super) async fn commit(
        self,
        operation: &'static str,
        about: Uuid,
    ) -> Result<(), RecordsError> {
        Ok(self.audited.commit(operation, about).await?)
    }

    /// Gives up: nothing is stored.
    pub(super) async fn roll_back(self) -> Result<(), RecordsError> {
        Ok(self.audited.roll_back().await?)
    }

    /// Ends an operation that may not be, and says so in the audit. Returns `error`, or why the audit could not be
    /// written. Nothing may have been written before.
    pub(super) async fn refuse(
        self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        error: RecordsError,
    ) -> RecordsError {
        self.audited.refuse(action, kind, id, error).await
    }
}
