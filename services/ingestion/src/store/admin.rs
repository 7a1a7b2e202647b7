//! What operators do, past the service: seal with new keys, and what an earlier version left readable.

use std::collections::BTreeSet;

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::HospitalId;
use neurotriage_sealing::{Keyring, KeyringError};
use neurotriage_service_kit::{
    audit::{self, Call, OperatorError},
    keyring::{Left, Rotated},
    tenant,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::LockType,
};
use uuid::Uuid;

use super::{KIND, SqlStudyStore, broken, failed, study_row, unnamed, vault::Names, volumes};
use crate::error::StudyError;

/// Rows sealed again in one transaction.
const ROTATE_ROWS: u64 = 200;
/// Who the audit says seals again.
const OPERATOR: &str = "neurotriage-ingestion rotate-keys";

/// Why rows can't be sealed again.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The keys don't serve.
    #[error("keyring does not serve")]
    Keyring(#[from] KeyringError),
    /// A row does not open, or the database failed.
    #[error(transparent)]
    Store(#[from] StudyError),
    /// The audit does not verify, or the database failed.
    #[error(transparent)]
    Audit(#[from] OperatorError),
}

/// Seals, with the active key, the names of every study that are not: those of a retired key, and those that an
/// earlier version left readable. Signs the heads of the audit again. May be stopped and run again, and may run beside
/// the service. After it the old keys can be removed; older checkpoints of the audit can't be checked then. What was
/// readable is in the database's free space until it is vacuumed, and in its backups.
///
/// # Errors
/// [`RotateError`], if a row does not open too: then the keyring lacks its key.
pub async fn rotate_keys(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Rotated, RotateError> {
    let store = SqlStudyStore::new(db.clone(), keyring)?;
    let mut hospitals: BTreeSet<HospitalId> = audit::hospitals(db).await?.into_iter().collect();
    hospitals.extend(hospitals_unsealed(db).await?);
    let mut rotated = Rotated::default();
    for hospital_id in hospitals {
        let call = Call::of_program(hospital_id.clone(), OPERATOR).map_err(StudyError::from)?;
        let mut after = Uuid::nil();
        while let Some(last) = step(&store, &call, after, &mut rotated).await? {
            after = last;
        }
        audit::sign_again(db, keyring, &hospital_id).await?;
    }
    rotated.left = left(db, keyring).await?;
    Ok(rotated)
}

/// Returns what needs another key than the active one, or is readable.
///
/// # Errors
/// As [`rotate_keys`].
pub async fn left(db: &DatabaseConnection, keyring: &Keyring) -> Result<Left, RotateError> {
    let store = SqlStudyStore::new(db.clone(), keyring)?;
    let mut hospitals: BTreeSet<HospitalId> = audit::hospitals(db).await?.into_iter().collect();
    hospitals.extend(hospitals_unsealed(db).await?);
    let mut left = Left::default();
    for hospital_id in hospitals {
        let call = Call::of_program(hospital_id.clone(), OPERATOR).map_err(StudyError::from)?;
        let mut after = Uuid::nil();
        loop {
            let snapshot = audit::snapshot(db, &hospital_id).await.map_err(StudyError::from)?;
            let rows = rows(&snapshot, &call, after, false).await?;
            snapshot.rollback().await.map_err(failed("end snapshot"))?;
            let Some(last) = rows.last() else { break };
            after = last.study_id;
            for row in rows {
                left.rows += u64::from(sealed(&store, &hospital_id, row)?.is_some());
            }
        }
        left.heads += audit::heads_left(db, keyring, &hospital_id).await?;
    }
    Ok(left)
}

/// Returns the hospitals of rows that are not sealed. They may have no audit yet.
async fn hospitals_unsealed(db: &DatabaseConnection) -> Result<Vec<HospitalId>, StudyError> {
    const READ: &str = "read hospitals of studies to seal";
    let transaction = tenant::begin_across(db).await.map_err(failed(READ))?;
    let ids: Vec<String> = study_row::Entity::find()
        .select_only()
        .column(study_row::Column::HospitalId)
        .filter(study_row::Column::Names.is_null())
        .distinct()
        .into_tuple()
        .all(&transaction)
        .await
        .map_err(failed(READ))?;
    transaction.rollback().await.map_err(failed(READ))?;
    ids.into_iter().map(|id| id.parse().map_err(broken(READ))).collect()
}

/// Seals what needs it of the next rows; returns the last one looked at.
async fn step(
    store: &SqlStudyStore,
    call: &Call,
    after: Uuid,
    rotated: &mut Rotated,
) -> Result<Option<Uuid>, StudyError> {
    let mut unit = store.audit.begin(call).await?;
    let rows = rows(unit.transaction(), call, after, true).await?;
    let last = rows.last().map(|row| row.study_id);
    let before = rotated.resealed;
    for row in rows {
        rotated.seen += 1;
        let study_id = row.study_id;
        let Some(columns) = sealed(store, &call.hospital_id, row)? else { continue };
        write(unit.transaction(), call, study_id, columns).await?;
        unit.note(Action::Reseal, KIND, Some(study_id), Detail::none())?;
        rotated.resealed += 1;
    }
    if rotated.resealed > before {
        unit.commit("commit sealed studies", Uuid::now_v7()).await?;
    } else {
        unit.roll_back().await?;
    }
    Ok(last)
}

/// Returns the next rows after `after`; those that are to be changed are locked, so that nothing is written between the
/// value that is opened and the one that replaces it.
async fn rows(
    transaction: &DatabaseTransaction,
    call: &Call,
    after: Uuid,
    to_change: bool,
) -> Result<Vec<study_row::Model>, StudyError> {
    let query = study_row::Entity::find()
        .filter(study_row::Column::HospitalId.eq(call.hospital_id.as_str()))
        .filter(study_row::Column::StudyId.gt(after))
        .order_by_asc(study_row::Column::StudyId)
        .limit(ROTATE_ROWS);
    let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
    query.all(transaction).await.map_err(failed("read studies to seal again"))
}

/// Returns what is to be written over a row; nothing, if it is sealed with the active key.
fn sealed(
    store: &SqlStudyStore,
    hospital_id: &HospitalId,
    row: study_row::Model,
) -> Result<Option<study_row::ActiveModel>, StudyError> {
    if let Some(names) = &row.names {
        let again = store.vault.reseal(hospital_id, row.study_id, names)?;
        return Ok(again.map(|names| study_row::ActiveModel {
            names: Set(Some(names)),
            ..Default::default()
        }));
    }
    let volumes = volumes(&row)?;
    let file_names = volumes.iter().map(|it| (it.modality, it.file_name.clone())).collect();
    let names = Names { accession: row.accession, file_names };
    Ok(Some(study_row::ActiveModel {
        names: Set(Some(store.vault.seal(hospital_id, row.study_id, &names)?)),
        accession: Set(String::new()),
        volumes: Set(unnamed(volumes)?),
        content_hash: Set(String::new()),
        ..Default::default()
    }))
}

async fn write(
    transaction: &DatabaseTransaction,
    call: &Call,
    study_id: Uuid,
    columns: study_row::ActiveModel,
) -> Result<(), StudyError> {
    const SEAL: &str = "write sealed study";
    let written = study_row::Entity::update_many()
        .set(columns)
        .filter(study_row::Column::StudyId.eq(study_id))
        .filter(study_row::Column::HospitalId.eq(call.hospital_id.as_str()))
        .exec(transaction)
        .await
        .map_err(failed(SEAL))?;
    if written.rows_affected == 1 { Ok(()) } else { Err(broken(SEAL)("row is gone")) }
}
