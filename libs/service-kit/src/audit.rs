//! The audit of a service: who touched which patient data, written in the transaction of what was done.
//!
//! Every operation on a hospital's data is a [`Unit`]: a transaction that sees that hospital's rows and ends with
//! chained entries in tables [`audit_head_row`] and [`audit_entry_row`] of the same database. What makes a
//! chain is in `neurotriage_audit`; [`verify`] and [`checkpoint`] are for operators.

mod call;
mod chains;
mod operator;
mod refusals;
mod rows;
mod unit;

use std::{
    collections::HashSet,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use neurotriage_audit::{Signer, Tenant};
use neurotriage_domain::HospitalId;
use neurotriage_sealing::{Keyring, KeyringError};
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::Semaphore;

pub use self::{
    call::{Call, CallError},
    chains::snapshot,
    operator::{
        AuditReport, ChainReport, OperatorError, checkpoint, heads_left, hospitals, sign_again,
        verify,
    },
    rows::{audit_entry_row, audit_head_row, audit_hospital_row},
    unit::Unit,
};
use crate::database;

/// Chains of one hospital's audit. A head is locked for as long as a commit lasts; with 64 the audit waits for the
/// disk, not for itself.
const SHARDS: u16 = 64;
/// Most refused calls that are noted at a time: few, so that they leave connections to those who may.
const REFUSALS_MAX: usize = 3;
/// Most hospitals whose audit this process remembers to be there.
const HOSPITALS_MAX: usize = 10_000;

/// Why the audit could not be written or read; `operation` says what was tried.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct AuditError {
    /// What was tried, such as `write audit entries`.
    pub operation: &'static str,
    /// Why it failed.
    pub source: Box<dyn Error + Send + Sync>,
    /// Whether the database does not answer, or asks to try again.
    pub is_away: bool,
}

impl AuditError {
    fn new(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { operation, source: source.into(), is_away: false }
    }
}

fn failed(operation: &'static str) -> impl Fn(DbErr) -> AuditError {
    move |error| {
        let is_away = database::is_transient(&error);
        AuditError { operation, source: Box::new(error), is_away }
    }
}

/// Returns the owner of a hospital's chains.
fn owner(hospital_id: &HospitalId) -> Result<Tenant, AuditError> {
    Tenant::new(hospital_id.as_str().to_owned())
        .map_err(|error| AuditError::new("name chains of hospital", error))
}

/// The audit of one service's database. Clones share what they know.
#[derive(Clone, Debug)]
pub struct AuditLog {
    db: DatabaseConnection,
    signer: Signer,
    /// Hospitals whose chains are known to be there.
    provisioned: Arc<Mutex<HashSet<HospitalId>>>,
    refusals: Arc<Semaphore>,
}

impl AuditLog {
    /// Writes to `db`, which must be migrated, signed with the audit keys of `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is no such key.
    pub fn new(db: DatabaseConnection, keyring: &Keyring) -> Result<Self, KeyringError> {
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        Ok(Self { db, signer: Signer::new(keyring)?, provisioned: Arc::default(), refusals })
    }

    /// Makes the chains of a hospital at its first call.
    async fn provision(&self, hospital_id: &HospitalId) -> Result<(), AuditError> {
        if self.provisioned.lock().unwrap_or_else(PoisonError::into_inner).contains(hospital_id) {
            return Ok(());
        }
        chains::provision(&self.db, &self.signer, hospital_id, owner(hospital_id)?).await?;
        let mut provisioned = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner);
        if provisioned.len() >= HOSPITALS_MAX {
            provisioned.clear();
        }
        provisioned.insert(hospital_id.clone());
        Ok(())
    }
}
