//! Records in a database: PostgreSQL or SQLite.
//!
//! Every operation is one `unit`: a transaction that sees one hospital's rows, that writes
//! what it does, appends to the audit last, and commits. What is written down about patients is sealed
//! (`vault`); the database sees ids, times and keyed hashes.

pub mod admin;
mod changes;
mod entries;
mod merge;
mod patients;
pub mod queries;
mod rows;
mod tokens;
mod unit;
mod vault;

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use neurotriage_audit::Action;
use neurotriage_domain::PatientId;
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{AuditLog, Call},
    database,
};
use sea_orm::{DatabaseConnection, DbErr, SqlErr};
use tokio::time::timeout;
use uuid::Uuid;

use self::unit::Unit;
pub use self::{
    rows::{change_row, entry_row, patient_row, search_token_row},
    vault::{Vault, VaultError},
};
use crate::{
    change::{Looked, Position},
    entry::{Content, Entry},
    error::RecordsError,
    patient::{Patient, PatientChanges, PatientDetails},
    records::{EntryFilter, Merge, New, Page, PatientFilter, RecordsStore},
    search::Criteria,
};

/// Most bytes of sealed content on a page: what is opened of it stays below the 4 MiB of a message.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest that an operation may take, waits for a connection and for locks too. A database that is there and silent,
/// stopped or cut off, ends nothing by itself.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// [`RecordsStore`] over a connection pool. Clones share it.
#[derive(Clone, Debug)]
pub struct SqlRecordsStore {
    db: DatabaseConnection,
    vault: Arc<Vault>,
    audit: AuditLog,
}

impl SqlRecordsStore {
    /// Stores in `db`, which must be migrated, with the keys of `keyring`.
    ///
    /// # Errors
    /// If a use of keys has no active one.
    pub fn new(db: DatabaseConnection, keyring: &Keyring) -> Result<Self, VaultError> {
        let vault = Arc::new(Vault::new(keyring)?);
        let audit = AuditLog::new(db.clone(), keyring)?;
        Ok(Self { db, vault, audit })
    }

    /// Returns the audit of the store's database.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }
}

fn failed(operation: &'static str) -> impl Fn(DbErr) -> RecordsError {
    move |error| {
        let away = database::is_transient(&error);
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if away {
            RecordsError::Unavailable { operation, source }
        } else {
            RecordsError::Store { operation, source }
        }
    }
}

/// Ends `work` when its time is over. What it wrote is rolled back, or committed if it came so far.
async fn in_time<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, RecordsError>>,
) -> Result<T, RecordsError> {
    let late = |source| RecordsError::Unavailable { operation, source: Box::new(source) };
    timeout(OPERATION_TIMEOUT, work).await.map_err(late)?
}

/// Returns whether a value that must be unique is taken.
fn is_taken(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// A row holds what this version does not understand.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds an unknown value")]
struct UnknownValue {
    column: &'static str,
}

fn unknown(operation: &'static str, column: &'static str) -> RecordsError {
    RecordsError::store(operation, UnknownValue { column })
}

impl RecordsStore for SqlRecordsStore {
    async fn create_patient(
        &self,
        call: &Call,
        new: &New<PatientDetails>,
    ) -> Result<Patient, RecordsError> {
        in_time("create patient", patients::create(self, call, new)).await
    }

    async fn read_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
    ) -> Result<Patient, RecordsError> {
        in_time("read patient", patients::read(self, call, patient_id)).await
    }

    async fn list_patients(
        &self,
        call: &Call,
        filter: &PatientFilter,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Patient>, RecordsError> {
        in_time("list patients", patients::list(self, call, filter, before, limit)).await
    }

    async fn search_patients(
        &self,
        call: &Call,
        criteria: &Criteria,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Patient>, RecordsError> {
        in_time("search patients", patients::search(self, call, criteria, before, limit)).await
    }

    async fn update_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
        changes: &PatientChanges,
    ) -> Result<Patient, RecordsError> {
        in_time("update patient", patients::update(self, call, patient_id, revision, changes)).await
    }

    async fn delete_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> Result<u64, RecordsError> {
        in_time("delete patient", patients::delete(self, call, patient_id, revision)).await
    }

    async fn undelete_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> Result<Patient, RecordsError> {
        in_time("undelete patient", patients::undelete(self, call, patient_id, revision)).await
    }

    async fn erase_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> Result<u32, RecordsError> {
        in_time("erase patient", merge::erase(self, call, patient_id, revision)).await
    }

    async fn merge_patients(&self, call: &Call, merge: &Merge) -> Result<Patient, RecordsError> {
        in_time("merge patients", merge::merge(self, call, merge)).await
    }

    async fn create_entry<C: Content>(
        &self,
        call: &Call,
        patient_id: PatientId,
        new: &New<C>,
    ) -> Result<Entry<C>, RecordsError> {
        in_time("create entry", entries::create(self, call, patient_id, new)).await
    }

    async fn read_entry<C: Content>(
        &self,
        call: &Call,
        entry_id: Uuid,
    ) -> Result<Entry<C>, RecordsError> {
        in_time("read entry", entries::read(self, call, entry_id)).await
    }

    async fn list_entries<C: Content>(
        &self,
        call: &Call,
        patient_id: PatientId,
        filter: &EntryFilter,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Entry<C>>, RecordsError> {
        in_time("list entries", entries::list(self, call, patient_id, filter, before, limit)).await
    }

    async fn delete_entry(
        &self,
        call: &Call,
        entry_id: Uuid,
        revision: u64,
    ) -> Result<u64, RecordsError> {
        in_time("delete entry", entries::delete(self, call, entry_id, revision)).await
    }

    async fn erase_entry(
        &self,
        call: &Call,
        entry_id: Uuid,
        revision: u64,
    ) -> Result<u64, RecordsError> {
        in_time("erase entry", entries::erase(self, call, entry_id, revision)).await
    }

    async fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: RecordsError,
    ) -> RecordsError {
        let noted = async {
            let unit = Unit::begin(self, call).await?;
            Ok(unit.refuse(action, patients::KIND, Some(patient_id.as_uuid()), error).await)
        };
        in_time("note refusal", noted).await.unwrap_or_else(|away| away)
    }

    async fn begin_watch(
        &self,
        call: &Call,
        patient_id: Option<PatientId>,
    ) -> Result<Position, RecordsError> {
        in_time("begin watch", changes::begin(self, call, patient_id)).await
    }

    async fn changes_after(
        &self,
        call: &Call,
        position: Position,
        patient_id: Option<PatientId>,
        limit: u32,
    ) -> Result<Looked, RecordsError> {
        in_time("read changes", changes::after(self, call, position, patient_id, limit)).await
    }
}

/// Cuts `rows` of a query for one more than `limit` to a page, and below [`PAGE_BYTES_MAX`]. Returns
/// whether there is more.
fn cut<R>(rows: &mut Vec<R>, limit: u32, content: impl Fn(&R) -> usize) -> bool {
    let mut more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut bytes = 0;
    let fits = rows.iter().position(|row| {
        let first = bytes == 0;
        bytes += content(row);
        bytes > PAGE_BYTES_MAX && !first
    });
    if let Some(fits) = fits {
        rows.truncate(fits);
        more = true;
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_to_rows_and_bytes() {
        // (what the row is for, bytes of the rows, limit, rows left, whether there is more)
        let big = PAGE_BYTES_MAX;
        let table: [(&str, &[usize], u32, usize, bool); 6] = [
            ("none", &[], 2, 0, false),
            ("as many as fit", &[1, 1], 2, 2, false),
            ("one more", &[1, 1, 1], 2, 2, true),
            ("one that is too big alone", &[big + 1, 1], 2, 1, true),
            ("too big together", &[big / 2, big / 2 + 1, 1], 3, 1, true),
            ("too big at the end", &[1, big], 2, 1, true),
        ];
        for (case, sizes, limit, left, expected) in table {
            let mut rows = sizes.to_vec();
            let more = cut(&mut rows, limit, |size| *size);
            assert_eq!((rows.len(), more), (left, expected), "case: {case}");
        }
    }
}
