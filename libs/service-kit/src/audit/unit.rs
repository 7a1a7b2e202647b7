//! One operation: a transaction of one hospital that ends with its audit entries.
//!
//! What happens comes first, the audit comes last and once, right before the commit: it locks the head of
//! one chain. Whoever waits for a head holds none, so nobody waits in a circle, and a head is locked for
//! two answers of the database.

use neurotriage_audit::{Action, ChainId, Detail, Event, Outcome, Resource, shard_of};
use neurotriage_domain::{DomainError, ErrorCode};
use sea_orm::DatabaseTransaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{AuditError, AuditLog, Call, SHARDS, chains, failed, owner};
use crate::tenant::{self, Mode};

/// A transaction, and what the audit will say about it. Dropped without an end, it is rolled back.
#[derive(Debug)]
pub struct Unit<'a> {
    log: &'a AuditLog,
    call: &'a Call,
    transaction: DatabaseTransaction,
    events: Vec<Event>,
}

impl AuditLog {
    /// Begins an operation. Reads write too: their audit entry.
    ///
    /// # Errors
    /// If the database does not answer, or the hospital's chains were taken away.
    pub async fn begin<'a>(&'a self, call: &'a Call) -> Result<Unit<'a>, AuditError> {
        self.provision(&call.hospital_id).await?;
        let transaction = tenant::begin(&self.db, &call.hospital_id, Mode::Write)
            .await
            .map_err(failed("begin transaction"))?;
        Ok(Unit { log: self, call, transaction, events: Vec::new() })
    }
}

impl Unit<'_> {
    /// Returns the transaction, which sees the hospital's rows only.
    pub fn transaction(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Notes what was done to a record, or to those of a kind as a whole. `kind` is a word of `a-z` and `_`.
    ///
    /// # Errors
    /// If `kind` is no word.
    pub fn note(
        &mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        detail: Detail,
    ) -> Result<(), AuditError> {
        self.note_outcome(action, kind, id, detail, Outcome::Done)
    }

    pub(super) fn note_outcome(
        &mut self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        detail: Detail,
        outcome: Outcome,
    ) -> Result<(), AuditError> {
        let resource = match id {
            Some(id) => Resource::one(kind, id),
            None => Resource::all(kind),
        };
        self.events.push(Event {
            at: OffsetDateTime::now_utc(),
            actor: self.call.actor.clone(),
            action,
            resource: resource.map_err(|error| AuditError::new("make audit event", error))?,
            purpose: self.call.purpose.clone(),
            trace: self.call.trace.clone(),
            outcome,
            detail,
        });
        Ok(())
    }

    /// Appends to the audit and commits. `about` chooses the chain: the patient if it is about one, so that the
    /// order of what was done to a patient can't be denied, and a fresh id if it is about several.
    ///
    /// # Errors
    /// If nothing was noted, or the database does not answer or refuses: then nothing is stored, or, if the answer to
    /// the commit was lost, all of it.
    pub async fn commit(self, operation: &'static str, about: Uuid) -> Result<(), AuditError> {
        if self.events.is_empty() {
            return Err(AuditError::new(operation, "nothing was noted for the audit"));
        }
        let tenant = owner(&self.call.hospital_id)?;
        let chain = ChainId { tenant, shard: shard_of(&about, SHARDS) };
        chains::append(&self.transaction, &self.log.signer, chain, &self.events).await?;
        self.transaction.commit().await.map_err(failed(operation))
    }

    /// Gives up: nothing is stored.
    ///
    /// # Errors
    /// If the database does not answer; nothing is stored then either.
    pub async fn roll_back(self) -> Result<(), AuditError> {
        self.transaction.rollback().await.map_err(failed("roll back transaction"))
    }

    /// Ends an operation that may not be: what was tried, and why it was refused, is in the audit and nothing else
    /// is stored. Returns `error`, or why the audit could not be written.
    ///
    /// Nothing may have been written before.
    pub async fn refuse<E: DomainError + From<AuditError>>(
        self,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        error: E,
    ) -> E {
        let about = id.unwrap_or_else(Uuid::now_v7);
        self.refuse_about(about, action, kind, id, error).await
    }

    /// As [`Unit::refuse`], in the chain of `about`, which the record belongs to.
    pub async fn refuse_about<E: DomainError + From<AuditError>>(
        mut self,
        about: Uuid,
        action: Action,
        kind: &'static str,
        id: Option<Uuid>,
        error: E,
    ) -> E {
        let denied = error.code() == ErrorCode::PermissionDenied;
        let outcome = if denied { Outcome::Denied } else { Outcome::Failed };
        let detail = Detail::none().reason(error.reason());
        let noted = match self.note_outcome(action, kind, id, detail, outcome) {
            Ok(()) => self.commit("commit audit of refusal", about).await,
            Err(error) => Err(error),
        };
        noted.err().map_or(error, E::from)
    }
}
