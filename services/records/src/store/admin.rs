//! What operators do, past the service: verify the audit, and seal with new keys.

use std::collections::BTreeSet;

use neurotriage_audit::{
    Anchor, Break, ChainId, Checkpoint, CheckpointError, Detail, Event, Outcome, Purpose, Resource,
    Signer, Subject, Tenant, shard_of,
};
use neurotriage_domain::HospitalId;
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::tenant::{self, Mode};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::LockType,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Vault, VaultError, audit, entry_row, failed, patient_row, search_token_row,
    unit::SHARDS,
    vault::{SealedTable, kind},
};
use crate::{
    entry::{Content as _, EntryKind, StudyLink},
    error::RecordsError,
    patient::PatientDetails,
    search::SearchKey,
    symptoms::Symptoms,
};

/// Rows sealed again in one transaction.
const ROTATE_ROWS: u64 = 200;
/// Who the audit says seals again.
const OPERATOR: &str = "neurotriage-records rotate-keys";

/// Why the audit can't be verified; a broken chain is an answer and not among it.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The keys don't serve.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] RecordsError),
    /// A line of checkpoints is none, or not ours.
    #[error("line {line} of the checkpoints can't be used")]
    Checkpoint {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: CheckpointError,
    },
}

/// One chain that was verified, or is broken.
#[derive(Clone, Debug)]
pub struct ChainReport {
    /// Whose.
    pub hospital_id: HospitalId,
    /// Which of the hospital's chains.
    pub shard: u16,
    /// Entries that were verified, or what is wrong.
    pub outcome: Result<u64, Break>,
}

/// The audit of every hospital, verified.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// Checkpoints that were compared with.
    pub checkpoints: usize,
}

impl AuditReport {
    /// Returns how many entries were verified.
    pub fn entries(&self) -> u64 {
        self.chains.iter().filter_map(|chain| chain.outcome.as_ref().ok()).sum()
    }

    /// Returns the chains that are broken.
    pub fn broken(&self) -> impl Iterator<Item = (&ChainReport, &Break)> {
        self.chains.iter().filter_map(|chain| chain.outcome.as_ref().err().map(|why| (chain, why)))
    }
}

/// Verifies every chain of every hospital that has some, or that `checkpoints` (one a line) or `hospitals` name.
///
/// # Errors
/// [`VerifyError`]; a broken chain is an answer.
pub async fn verify_audit(
    db: &DatabaseConnection,
    keyring: &Keyring,
    hospitals: &[HospitalId],
    checkpoints: &str,
) -> Result<AuditReport, VerifyError> {
    let signer = Vault::new(keyring)?.signer;
    let checkpoints = read_checkpoints(checkpoints, &signer)?;
    let mut ids: BTreeSet<HospitalId> = audit::hospitals(db).await?.into_iter().collect();
    ids.extend(hospitals.iter().cloned());
    for checkpoint in &checkpoints {
        ids.extend(checkpoint.tenant().as_str().parse::<HospitalId>().ok());
    }
    let mut report = AuditReport { chains: Vec::new(), checkpoints: checkpoints.len() };
    for hospital_id in ids {
        let owner = owner(&hospital_id)?;
        for shard in 0..SHARDS {
            let of_hospital = checkpoints.iter().filter(|checkpoint| *checkpoint.tenant() == owner);
            let anchors: Vec<Anchor> =
                of_hospital.filter_map(|checkpoint| checkpoint.anchor(shard)).collect();
            let chain = ChainId { tenant: owner.clone(), shard };
            let outcome = audit::verify(db, &signer, &hospital_id, chain, anchors).await?;
            let outcome = outcome.map(|verified| verified.rows);
            report.chains.push(ChainReport { hospital_id: hospital_id.clone(), shard, outcome });
        }
    }
    Ok(report)
}

fn read_checkpoints(lines: &str, signer: &Signer) -> Result<Vec<Checkpoint>, VerifyError> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let line_number = at + 1;
            Checkpoint::from_line(line.trim(), signer)
                .map_err(|source| VerifyError::Checkpoint { line: line_number, source })
        })
        .collect()
}

/// Returns a line for each hospital that says, signed, where its chains stand. To be kept where the owner of the
/// database can't change it.
///
/// # Errors
/// [`VerifyError`], if a head is forged too.
pub async fn checkpoint_audit(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Vec<String>, VerifyError> {
    let signer = Vault::new(keyring)?.signer;
    // Seconds since 1970: later ones are greater, whoever writes them.
    let number = OffsetDateTime::now_utc().unix_timestamp();
    let mut lines = Vec::new();
    for hospital_id in audit::hospitals(db).await? {
        let owner = owner(&hospital_id)?;
        let checkpoint = audit::checkpoint(db, &signer, &hospital_id, &owner, number).await?;
        lines.push(checkpoint.to_line());
    }
    Ok(lines)
}

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Rows that were looked at.
    pub seen: u64,
    /// Rows that were sealed and indexed again.
    pub resealed: u64,
}

/// Seals and indexes again, with the active keys, every row that is not, and signs the heads of the audit again. May be
/// stopped and run again, and may run beside the service. After it the old keys can be removed: then a create that is
/// repeated from before is refused as REQUEST_ID_REUSED, and older checkpoints can't be checked.
///
/// # Errors
/// [`VerifyError`], if a row does not open too: then the keyring lacks its key.
pub async fn rotate_keys(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Rotated, VerifyError> {
    let vault = Vault::new(keyring)?;
    let mut rotated = Rotated::default();
    for hospital_id in audit::hospitals(db).await? {
        let rotation = Rotation { db, vault: &vault, hospital_id: &hospital_id };
        for table in [SealedTable::Patient, SealedTable::Entry] {
            let mut after = Uuid::nil();
            while let Some(last) = rotation.step(table, after, &mut rotated).await? {
                after = last;
            }
        }
        // Chains that nothing was appended to since are signed with the old key.
        for shard in 0..SHARDS {
            let chain = ChainId { tenant: owner(&hospital_id)?, shard };
            audit::sign_again(db, &vault.signer, &hospital_id, chain).await?;
        }
    }
    Ok(rotated)
}

fn owner(hospital_id: &HospitalId) -> Result<Tenant, RecordsError> {
    Tenant::new(hospital_id.as_str().to_owned())
        .map_err(|error| RecordsError::store("name chains of hospital", error))
}

struct Rotation<'a> {
    db: &'a DatabaseConnection,
    vault: &'a Vault,
    hospital_id: &'a HospitalId,
}

/// A row as both tables have it.
struct Row {
    id: Uuid,
    patient_id: Uuid,
    kind: Option<EntryKind>,
    content: String,
    deleted: bool,
}

impl Rotation<'_> {
    /// Seals again what needs it of the next rows; returns the last one looked at.
    async fn step(
        &self,
        table: SealedTable,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RecordsError> {
        const ROTATE: &str = "seal rows again";
        let transaction = tenant::begin(self.db, self.hospital_id, Mode::Write)
            .await
            .map_err(failed("begin transaction"))?;
        let rows = match table {
            SealedTable::Patient => self.patients(&transaction, after).await?,
            SealedTable::Entry => self.entries(&transaction, after).await?,
        };
        let last = rows.last().map(|row| row.id);
        let mut events = Vec::new();
        for row in rows {
            rotated.seen += 1;
            if !self.needs_it(&transaction, &row).await? {
                continue;
            }
            let keys = self.reseal(&transaction, table, &row).await?;
            self.index(&transaction, &row, &keys).await?;
            events.push(event(row.kind.map_or("patient", EntryKind::as_str), row.id)?);
            rotated.resealed += 1;
        }
        let chain =
            ChainId { tenant: owner(self.hospital_id)?, shard: shard_of(&Uuid::now_v7(), SHARDS) };
        audit::append(&transaction, &self.vault.signer, chain, &events).await?;
        transaction.commit().await.map_err(failed(ROTATE))?;
        Ok(last)
    }

    async fn patients(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
    ) -> Result<Vec<Row>, RecordsError> {
        let rows = patient_row::Entity::find()
            .filter(patient_row::Column::HospitalId.eq(self.hospital_id.as_str()))
            .filter(patient_row::Column::PatientId.gt(after))
            .order_by_asc(patient_row::Column::PatientId)
            .limit(ROTATE_ROWS)
            // Nothing is written between the value that is opened and the one that replaces it.
            .lock(LockType::NoKeyUpdate)
            .all(transaction)
            .await
            .map_err(failed("read patients to seal again"))?;
        Ok(rows
            .into_iter()
            .map(|row| Row {
                id: row.patient_id,
                patient_id: row.patient_id,
                kind: None,
                content: row.content.unwrap_or_default(),
                // Who was merged is found by who remains.
                deleted: row.merged_into.is_some(),
            })
            .collect())
    }

    async fn entries(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
    ) -> Result<Vec<Row>, RecordsError> {
        let rows = entry_row::Entity::find()
            .filter(entry_row::Column::HospitalId.eq(self.hospital_id.as_str()))
            .filter(entry_row::Column::EntryId.gt(after))
            .order_by_asc(entry_row::Column::EntryId)
            .limit(ROTATE_ROWS)
            .lock(LockType::NoKeyUpdate)
            .all(transaction)
            .await
            .map_err(failed("read entries to seal again"))?;
        Ok(rows
            .into_iter()
            .map(|row| Row {
                id: row.entry_id,
                patient_id: row.patient_id,
                kind: EntryKind::parse(&row.kind),
                content: row.content.unwrap_or_default(),
                deleted: row.deleted_at.is_some(),
            })
            .collect())
    }

    async fn needs_it(
        &self,
        transaction: &DatabaseTransaction,
        row: &Row,
    ) -> Result<bool, RecordsError> {
        if row.content.is_empty() {
            return Ok(false);
        }
        if self.vault.is_old(&row.content)? {
            return Ok(true);
        }
        let tokens = search_token_row::Entity::find()
            .filter(search_token_row::Column::HospitalId.eq(self.hospital_id.as_str()))
            .filter(search_token_row::Column::RecordId.eq(row.id))
            .all(transaction)
            .await
            .map_err(failed("read search tokens"))?;
        Ok(tokens.iter().any(|row| self.vault.is_old_token(&row.token)))
    }

    /// Seals the row again; returns what it is found by.
    async fn reseal(
        &self,
        transaction: &DatabaseTransaction,
        table: SealedTable,
        row: &Row,
    ) -> Result<Vec<SearchKey>, RecordsError> {
        // As it is: fields that this version does not know stay.
        let content: serde_json::Value = self.vault.open(table, row.id, &row.content)?;
        let sealed = self.vault.seal(table, row.id, &content)?;
        let decode = |error| RecordsError::store("decode content", error);
        let keys = match (table, row.kind) {
            (SealedTable::Patient, _) => {
                serde_json::from_value::<PatientDetails>(content).map_err(decode)?.search_keys()
            }
            (SealedTable::Entry, Some(EntryKind::SymptomReport)) => {
                serde_json::from_value::<Symptoms>(content).map_err(decode)?.search_keys()
            }
            (SealedTable::Entry, Some(EntryKind::StudyLink)) => {
                serde_json::from_value::<StudyLink>(content).map_err(decode)?.search_keys()
            }
            (SealedTable::Entry, Some(EntryKind::Note) | None) => Vec::new(),
        };
        let write = failed("write sealed row");
        match table {
            SealedTable::Patient => {
                let columns =
                    patient_row::ActiveModel { content: Set(Some(sealed)), ..Default::default() };
                patient_row::Entity::update_many()
                    .set(columns)
                    .filter(patient_row::Column::PatientId.eq(row.id))
                    .exec(transaction)
                    .await
                    .map_err(write)?;
            }
            SealedTable::Entry => {
                let columns =
                    entry_row::ActiveModel { content: Set(Some(sealed)), ..Default::default() };
                entry_row::Entity::update_many()
                    .set(columns)
                    .filter(entry_row::Column::EntryId.eq(row.id))
                    .exec(transaction)
                    .await
                    .map_err(write)?;
            }
        }
        Ok(keys)
    }

    async fn index(
        &self,
        transaction: &DatabaseTransaction,
        row: &Row,
        keys: &[SearchKey],
    ) -> Result<(), RecordsError> {
        let write = failed("write search tokens");
        search_token_row::Entity::delete_many()
            .filter(search_token_row::Column::HospitalId.eq(self.hospital_id.as_str()))
            .filter(search_token_row::Column::RecordId.eq(row.id))
            .exec(transaction)
            .await
            .map_err(&write)?;
        if row.deleted {
            return Ok(());
        }
        let mut tokens = Vec::new();
        for key in keys {
            let of_key = self.vault.tokens(self.hospital_id.as_str(), key)?;
            tokens.extend(of_key.into_iter().map(|token| (kind(key), token)));
        }
        tokens.sort_unstable();
        tokens.dedup();
        if tokens.is_empty() {
            return Ok(());
        }
        let rows = tokens.into_iter().map(|(kind, token)| search_token_row::ActiveModel {
            hospital_id: Set(self.hospital_id.as_str().to_owned()),
            kind: Set(kind.to_owned()),
            token: Set(token),
            record_id: Set(row.id),
            patient_id: Set(row.patient_id),
        });
        search_token_row::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await
            .map_err(write)?;
        Ok(())
    }
}

fn event(kind: &'static str, id: Uuid) -> Result<Event, RecordsError> {
    let event = || {
        Ok::<_, neurotriage_audit::EventError>(Event {
            at: OffsetDateTime::now_utc(),
            actor: Subject::new(OPERATOR.to_owned())?,
            action: neurotriage_audit::Action::Reseal,
            resource: Resource::one(kind, id)?,
            purpose: Purpose::SYSTEM_ADMINISTRATION,
            trace: None,
            outcome: Outcome::Done,
            detail: Detail::none(),
        })
    };
    event().map_err(|error| RecordsError::store("make audit event", error))
}
