//! What operators do, past the service: seal with new keys.

use neurotriage_audit::{Action, Detail};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{self, Call, OperatorError},
    keyring::Rotated,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::LockType,
};
use uuid::Uuid;

use super::{
    SqlRecordsStore, VaultError, entry_row, failed, patient_row, search_token_row,
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

/// Why rows can't be sealed again.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The keys don't serve.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A row does not open, or the database failed.
    #[error(transparent)]
    Store(#[from] RecordsError),
    /// The audit does not verify, or the database failed.
    #[error(transparent)]
    Audit(#[from] OperatorError),
}

/// Seals and indexes again, with the active keys, every row that is not, and signs the heads of the audit again. May be
/// stopped and run again, and may run beside the service. After it the old keys can be removed: then a create that is
/// repeated from before is refused as REQUEST_ID_REUSED, and older checkpoints can't be checked.
///
/// # Errors
/// [`RotateError`], if a row does not open too: then the keyring lacks its key.
pub async fn rotate_keys(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Rotated, RotateError> {
    let store = SqlRecordsStore::new(db.clone(), keyring)?;
    let mut rotated = Rotated::default();
    for hospital_id in audit::hospitals(db).await? {
        let call = Call::of_program(hospital_id.clone(), OPERATOR).map_err(RecordsError::from)?;
        let rotation = Rotation { store: &store, call: &call };
        for table in [SealedTable::Patient, SealedTable::Entry] {
            let mut after = Uuid::nil();
            while let Some(last) = rotation.step(table, after, &mut rotated).await? {
                after = last;
            }
        }
        audit::sign_again(db, keyring, &hospital_id).await?;
    }
    Ok(rotated)
}

struct Rotation<'a> {
    store: &'a SqlRecordsStore,
    call: &'a Call,
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
        let mut unit = self.store.audit.begin(self.call).await?;
        let rows = match table {
            SealedTable::Patient => self.patients(unit.transaction(), after).await?,
            SealedTable::Entry => self.entries(unit.transaction(), after).await?,
        };
        let last = rows.last().map(|row| row.id);
        let before = rotated.resealed;
        for row in rows {
            rotated.seen += 1;
            if !self.needs_it(unit.transaction(), &row).await? {
                continue;
            }
            let keys = self.reseal(unit.transaction(), table, &row).await?;
            self.index(unit.transaction(), &row, &keys).await?;
            let kind = row.kind.map_or("patient", EntryKind::as_str);
            unit.note(Action::Reseal, kind, Some(row.id), Detail::none())?;
            rotated.resealed += 1;
        }
        if rotated.resealed > before {
            unit.commit("seal rows again", Uuid::now_v7()).await?;
        } else {
            unit.roll_back().await?;
        }
        Ok(last)
    }

    async fn patients(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
    ) -> Result<Vec<Row>, RecordsError> {
        let rows = patient_row::Entity::find()
            .filter(patient_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
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
            .filter(entry_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
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
        if self.store.vault.is_old(&row.content)? {
            return Ok(true);
        }
        let tokens = search_token_row::Entity::find()
            .filter(search_token_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(search_token_row::Column::RecordId.eq(row.id))
            .all(transaction)
            .await
            .map_err(failed("read search tokens"))?;
        Ok(tokens.iter().any(|row| self.store.vault.is_old_token(&row.token)))
    }

    /// Seals the row again; returns what it is found by.
    async fn reseal(
        &self,
        transaction: &DatabaseTransaction,
        table: SealedTable,
        row: &Row,
    ) -> Result<Vec<SearchKey>, RecordsError> {
        // As it is: fields that this version does not know stay.
        let content: serde_json::Value =
            self.store.vault.open(table, self.call.hospital_id.as_str(), row.id, &row.content)?;
        let sealed =
            self.store.vault.seal(table, self.call.hospital_id.as_str(), row.id, &content)?;
        // The error may repeat content; it goes no further.
        let decode = |_: serde_json::Error| {
            RecordsError::store("decode content", "content is of another version")
        };
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
            .filter(search_token_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(search_token_row::Column::RecordId.eq(row.id))
            .exec(transaction)
            .await
            .map_err(&write)?;
        if row.deleted {
            return Ok(());
        }
        let mut tokens = Vec::new();
        for key in keys {
            let of_key = self.store.vault.tokens(self.call.hospital_id.as_str(), key)?;
            tokens.extend(of_key.into_iter().map(|token| (kind(key), token)));
        }
        tokens.sort_unstable();
        tokens.dedup();
        if tokens.is_empty() {
            return Ok(());
        }
        let rows = tokens.into_iter().map(|(kind, token)| search_token_row::ActiveModel {
            hospital_id: Set(self.call.hospital_id.as_str().to_owned()),
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
