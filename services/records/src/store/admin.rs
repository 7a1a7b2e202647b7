//! What operators do, past the service: seal with new keys.

use std::collections::HashMap;

use neurotriage_audit::{Action, Detail};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{self, Call, OperatorError},
    keyring::{Clash, Left, Rotated},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, DbErr,
    EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, TransactionTrait as _,
    sea_query::LockType,
};
use uuid::Uuid;

use super::{
    SqlRecordsStore, VaultError, entry_row, failed, is_taken, patient_row, search_token_row,
    vault::{self, SealedTable, kind},
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
/// How often a transaction is begun that the database breaks off.
const STEP_ATTEMPTS_MAX: usize = 5;
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

/// Seals and indexes again, with the active keys, every row that is not, and signs the heads of the audit again. Then
/// looks through all of it once more, and tells what still needs another key. May be stopped and run again, and may run
/// beside the service.
///
/// Once nothing is left, and no replica writes with the old keys any more, those can be removed: then a create that is
/// repeated from before is refused as REQUEST_ID_REUSED, and older checkpoints can't be checked. Run without the old keys
/// it removes the hashes that replicas made with them beside others.
///
/// Two rows that hold one value which must be unique, each found by another key, are left as they are and told of.
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
            while let Some(last) = rotation.step_again(table, after, &mut rotated).await? {
                after = last;
            }
        }
        audit::sign_again(db, keyring, &hospital_id).await?;
    }
    rotated.left = left(db, keyring).await?;
    Ok(rotated)
}

/// Returns what needs another key than the active one.
///
/// # Errors
/// As [`rotate_keys`].
pub async fn left(db: &DatabaseConnection, keyring: &Keyring) -> Result<Left, RotateError> {
    let store = SqlRecordsStore::new(db.clone(), keyring)?;
    let mut left = Left::default();
    for hospital_id in audit::hospitals(db).await? {
        let call = Call::of_program(hospital_id.clone(), OPERATOR).map_err(RecordsError::from)?;
        let rotation = Rotation { store: &store, call: &call };
        for table in [SealedTable::Patient, SealedTable::Entry] {
            let mut after = Uuid::nil();
            while let Some(last) = rotation.look(table, after, &mut left).await? {
                after = last;
            }
        }
        left.heads += audit::heads_left(db, keyring, &hospital_id).await?;
    }
    Ok(left)
}

/// How a row stands to keys that are not the active ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of it is of another key.
    New,
    /// It has hashes of another key beside those of the active one: without that key it is read and found all the same.
    Beside,
    /// Without another key it can't be read or found, or it is not found by every name that it should be.
    Old,
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
    /// As [`Rotation::step`], again while the database takes it for the one to give way: a merge or an erasure may lock the
    /// same rows in another order.
    async fn step_again(
        &self,
        table: SealedTable,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RecordsError> {
        for _ in 1..STEP_ATTEMPTS_MAX {
            let mut so_far = rotated.clone();
            match self.step(table, after, &mut so_far).await {
                Err(RecordsError::Unavailable { .. }) => {}
                done => {
                    *rotated = so_far;
                    return done;
                }
            }
        }
        self.step(table, after, rotated).await
    }

    /// Seals again what needs it of the next rows; returns the last one looked at.
    async fn step(
        &self,
        table: SealedTable,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RecordsError> {
        let mut unit = self.store.audit.begin(self.call).await?;
        let rows = self.rows(unit.transaction(), table, after, true).await?;
        let mut found_by = self.found_by(unit.transaction(), &rows).await?;
        let last = rows.last().map(|row| row.id);
        let before = rotated.resealed;
        for row in rows {
            rotated.seen += 1;
            let tokens = found_by.remove(&row.id).unwrap_or_default();
            if self.state(table, &row, &tokens)? == State::New {
                continue;
            }
            if let Some(clash) = self.renew(unit.transaction(), table, &row).await? {
                rotated.clash(clash);
                continue;
            }
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

    /// Counts what needs another key of the next rows; returns the last one looked at.
    async fn look(
        &self,
        table: SealedTable,
        after: Uuid,
        left: &mut Left,
    ) -> Result<Option<Uuid>, RecordsError> {
        let snapshot = audit::snapshot(&self.store.db, &self.call.hospital_id).await?;
        let rows = self.rows(&snapshot, table, after, false).await?;
        let mut found_by = self.found_by(&snapshot, &rows).await?;
        snapshot.rollback().await.map_err(failed("end snapshot"))?;
        for row in &rows {
            let tokens = found_by.remove(&row.id).unwrap_or_default();
            if self.state(table, row, &tokens)? == State::Old {
                left.rows += 1;
            }
        }
        Ok(rows.last().map(|row| row.id))
    }

    /// Returns the next rows after `after`; those that are to be changed are locked, so that nothing is written between
    /// the value that is opened and the one that replaces it.
    async fn rows(
        &self,
        transaction: &DatabaseTransaction,
        table: SealedTable,
        after: Uuid,
        to_change: bool,
    ) -> Result<Vec<Row>, RecordsError> {
        match table {
            SealedTable::Patient => self.patients(transaction, after, to_change).await,
            SealedTable::Entry => self.entries(transaction, after, to_change).await,
        }
    }

    /// Returns what each of these rows is found by.
    async fn found_by(
        &self,
        transaction: &DatabaseTransaction,
        rows: &[Row],
    ) -> Result<HashMap<Uuid, Vec<search_token_row::Model>>, RecordsError> {
        let found = search_token_row::Entity::find()
            .filter(search_token_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            // As in `tokens`: SQLite would look at every one of the hospital otherwise.
            .filter(
                search_token_row::Column::PatientId.is_in(rows.iter().map(|row| row.patient_id)),
            )
            .filter(search_token_row::Column::RecordId.is_in(rows.iter().map(|row| row.id)))
            .all(transaction)
            .await
            .map_err(failed("read search tokens"))?;
        let mut found_by: HashMap<Uuid, Vec<search_token_row::Model>> = HashMap::new();
        for token in found {
            found_by.entry(token.record_id).or_default().push(token);
        }
        Ok(found_by)
    }

    /// Seals and indexes a row again, unless another row holds what must be unique.
    async fn renew(
        &self,
        transaction: &DatabaseTransaction,
        table: SealedTable,
        row: &Row,
    ) -> Result<Option<Clash>, RecordsError> {
        const KEEP: &str = "keep row as it is";
        // What the database refuses would end the whole transaction.
        let part = transaction.begin().await.map_err(failed(KEEP))?;
        let keys = self.reseal(&part, table, row).await?;
        let tokens = self.tokens(row, &keys)?;
        match self.index(&part, row, &tokens).await {
            Ok(()) => {
                part.commit().await.map_err(failed("write sealed row"))?;
                Ok(None)
            }
            Err(error) if is_taken(&error) => {
                part.rollback().await.map_err(failed(KEEP))?;
                self.clash(transaction, row, &tokens).await.map(Some)
            }
            Err(error) => Err(failed("write search tokens")(error)),
        }
    }

    /// Returns whose row holds what `row` holds too.
    async fn clash(
        &self,
        transaction: &DatabaseTransaction,
        row: &Row,
        tokens: &[(&'static str, String)],
    ) -> Result<Clash, RecordsError> {
        const READ: &str = "read who has the same";
        let same = tokens.iter().filter(|(kind, _)| vault::UNIQUE_KINDS.contains(kind));
        let other = search_token_row::Entity::find()
            .filter(search_token_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(search_token_row::Column::Kind.is_in(vault::UNIQUE_KINDS))
            .filter(search_token_row::Column::Token.is_in(same.map(|(_, token)| token)))
            .filter(search_token_row::Column::RecordId.ne(row.id))
            .one(transaction)
            .await
            .map_err(failed(READ))?
            .ok_or_else(|| RecordsError::store(READ, "it was taken, and is not"))?;
        Ok(Clash {
            kind: other.kind,
            patient_id: row.patient_id,
            other_patient_id: other.patient_id,
            record_id: row.id,
            other_record_id: other.record_id,
        })
    }

    async fn patients(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
        to_change: bool,
    ) -> Result<Vec<Row>, RecordsError> {
        let query = patient_row::Entity::find()
            .filter(patient_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(patient_row::Column::PatientId.gt(after))
            .order_by_asc(patient_row::Column::PatientId)
            .limit(ROTATE_ROWS);
        let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
        let rows = query.all(transaction).await.map_err(failed("read patients to seal again"))?;
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
        to_change: bool,
    ) -> Result<Vec<Row>, RecordsError> {
        let query = entry_row::Entity::find()
            .filter(entry_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(entry_row::Column::EntryId.gt(after))
            .order_by_asc(entry_row::Column::EntryId)
            .limit(ROTATE_ROWS);
        let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
        let rows = query.all(transaction).await.map_err(failed("read entries to seal again"))?;
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

    fn state(
        &self,
        table: SealedTable,
        row: &Row,
        tokens: &[search_token_row::Model],
    ) -> Result<State, RecordsError> {
        if row.content.is_empty() {
            return Ok(State::New);
        }
        if self.store.vault.is_old(&row.content)? {
            return Ok(State::Old);
        }
        let (old, new): (Vec<_>, Vec<_>) =
            tokens.iter().partition(|row| self.store.vault.is_old_token(&row.token));
        // What a row is found by is written at once: of a kind it has all tokens of a key, or none.
        let found = |old: &search_token_row::Model| new.iter().any(|new| new.kind == old.kind);
        if !old.iter().all(|old| found(old)) {
            return Ok(State::Old);
        }
        if table == SealedTable::Patient && !row.deleted {
            // Names may be indexed by rules of before.
            let hospital = self.call.hospital_id.as_str();
            let details: PatientDetails =
                self.store.vault.open(table, hospital, row.id, &row.content)?;
            let has = |(kind, token): &(&str, String)| {
                new.iter().any(|row| row.kind == *kind && row.token == *token)
            };
            if !self.tokens(row, &details.search_keys())?.iter().all(has) {
                return Ok(State::Old);
            }
        }
        Ok(if old.is_empty() { State::New } else { State::Beside })
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

    /// Returns what a row with `keys` is to be found by.
    fn tokens(
        &self,
        row: &Row,
        keys: &[SearchKey],
    ) -> Result<Vec<(&'static str, String)>, RecordsError> {
        let mut tokens = Vec::new();
        for key in keys.iter().filter(|_| !row.deleted) {
            let of_key = self.store.vault.active_tokens(self.call.hospital_id.as_str(), key)?;
            tokens.extend(of_key.into_iter().map(|token| (kind(key), token)));
        }
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    async fn index(
        &self,
        transaction: &DatabaseTransaction,
        row: &Row,
        tokens: &[(&'static str, String)],
    ) -> Result<(), DbErr> {
        search_token_row::Entity::delete_many()
            .filter(search_token_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(search_token_row::Column::RecordId.eq(row.id))
            .exec(transaction)
            .await?;
        if tokens.is_empty() {
            return Ok(());
        }
        let rows = tokens.iter().map(|(kind, token)| search_token_row::ActiveModel {
            hospital_id: Set(self.call.hospital_id.as_str().to_owned()),
            kind: Set((*kind).to_owned()),
            token: Set(token.clone()),
            record_id: Set(row.id),
            patient_id: Set(row.patient_id),
        });
        search_token_row::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await
            .map(drop)
    }
}
