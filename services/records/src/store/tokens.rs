//! What records are found by, in table `search_token`.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, DbErr, EntityTrait as _, QueryFilter as _, QueryTrait as _,
    sea_query::{InsertStatement, SimpleExpr},
};
use uuid::Uuid;

use super::{SqlRecordsStore, failed, search_token_row, unit::Unit, vault};
use crate::{error::RecordsError, search::SearchKey};

/// Returns the kinds and tokens of what a record is found by.
pub(super) fn of(
    store: &SqlRecordsStore,
    hospital: &str,
    keys: &[SearchKey],
) -> Result<Vec<(&'static str, String)>, RecordsError> {
    let mut tokens = Vec::new();
    for key in keys {
        for token in store.vault.tokens(hospital, key)? {
            tokens.push((vault::kind(key), token));
        }
    }
    // One order for all: two that write the same ones wait for each other and not in a circle.
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens)
}

/// Returns the rows by which `record` of `patient` is found.
pub(super) fn rows(
    store: &SqlRecordsStore,
    hospital: &str,
    (record_id, patient_id): (Uuid, Uuid),
    keys: &[SearchKey],
) -> Result<Vec<search_token_row::ActiveModel>, RecordsError> {
    let row = |(kind, token): (&'static str, String)| search_token_row::ActiveModel {
        hospital_id: Set(hospital.to_owned()),
        kind: Set(kind.to_owned()),
        token: Set(token),
        record_id: Set(record_id),
        patient_id: Set(patient_id),
    };
    Ok(of(store, hospital, keys)?.into_iter().map(row).collect())
}

/// Returns the insert of rows that [`rows`] made, if there are some.
pub(super) fn insert_of(rows: Vec<search_token_row::ActiveModel>) -> Option<InsertStatement> {
    (!rows.is_empty()).then(|| search_token_row::Entity::insert_many(rows).into_query())
}

/// Writes rows that [`rows`] made.
///
/// # Errors
/// The database's own, so that a caller can tell that one is taken.
pub(super) async fn insert(
    unit: &Unit<'_>,
    rows: Vec<search_token_row::ActiveModel>,
) -> Result<(), DbErr> {
    unit.insert(insert_of(rows).into_iter().collect()).await
}

/// Removes what `record` of `patient` is found by, of these kinds.
pub(super) async fn delete_kinds(
    unit: &Unit<'_>,
    record: (Uuid, Uuid),
    kinds: &[&str],
) -> Result<(), RecordsError> {
    delete_where(unit, record, Some(search_token_row::Column::Kind.is_in(kinds.iter().copied())))
        .await
}

/// Removes what `record` of `patient` is found by.
pub(super) async fn delete(unit: &Unit<'_>, record: (Uuid, Uuid)) -> Result<(), RecordsError> {
    delete_where(unit, record, None).await
}

async fn delete_where(
    unit: &Unit<'_>,
    (record_id, patient_id): (Uuid, Uuid),
    narrower: Option<SimpleExpr>,
) -> Result<(), RecordsError> {
    let of_record = Condition::all()
        .add(search_token_row::Column::HospitalId.eq(unit.hospital()))
        // SQLite, which nobody tells how the rows are spread, would look at every one of the hospital otherwise.
        .add(search_token_row::Column::PatientId.eq(patient_id))
        .add(search_token_row::Column::RecordId.eq(record_id))
        .add_option(narrower);
    search_token_row::Entity::delete_many()
        .filter(of_record)
        .exec(unit.transaction())
        .await
        .map_err(failed("remove search tokens"))?;
    Ok(())
}
