//! The directory of hospitals in the database.
//!
//! One row counts the writes. A write begins by counting, which makes writers wait for each other and
//! shows a stale one; a reader compares that count with the snapshot in memory and reads the hospitals again
//! only if it has changed.

use std::{error::Error, sync::PoisonError};

use neurotriage_service_kit::database::{self, is_away};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, TransactionOptions,
    sea_query::{Expr, OnConflict},
};

use super::SqlReferralStore;
use crate::{
    directory::{DirectoryStore, Snapshot, StoreError, Written},
    hospital::{Coordinates, Hospital},
};

/// Rows of one statement: SQLite takes at most 32,766 values.
const ROWS_PER_STATEMENT: usize = 1_000;

/// The one row of table `hospital_directory`.
const DIRECTORY_ID: i64 = 1;

/// Table `hospital`.
pub mod hospital_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "hospital")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
        pub name: String,
        pub city: String,
        pub latitude_degrees: f64,
        pub longitude_degrees: f64,
        pub capabilities: Json,
        pub capacity: f64,
        pub accepts_referrals: bool,
        pub identifiers: Json,
        pub languages: Json,
        pub beds_free: Option<i64>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `hospital_directory`.
pub mod directory_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "hospital_directory")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub directory_id: i64,
        pub revision: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

fn failed<E: Error + Send + Sync + 'static>(operation: &'static str) -> impl Fn(E) -> StoreError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        StoreError { operation, is_away: source.downcast_ref().is_some_and(is_away), source }
    }
}

impl SqlReferralStore {
    /// Fills the directory with `hospitals` if it is empty, and only then. Returns how many were
    /// written.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn fill_empty_directory(&self, hospitals: &[Hospital]) -> Result<usize, StoreError> {
        let snapshot = self.snapshot().await?;
        if !snapshot.hospitals().is_empty() || hospitals.is_empty() {
            return Ok(0);
        }
        match self.write(snapshot.revision, hospitals.to_vec()).await? {
            Written::At(_) => Ok(hospitals.len()),
            // Another replica started at the same moment.
            Written::Stale => Ok(0),
        }
    }

    async fn directory_revision(&self) -> Result<u64, StoreError> {
        let row = directory_row::Entity::find_by_id(DIRECTORY_ID)
            .one(&self.ledger.db)
            .await
            .map_err(failed("read directory revision"))?
            .ok_or_else(|| failed("read directory revision")(MissingRow))?;
        u64::try_from(row.revision).map_err(failed("decode directory revision"))
    }

    fn remembered(&self, revision: u64) -> Option<Snapshot> {
        let held = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|snapshot| snapshot.revision == revision).cloned()
    }

    fn remember(&self, snapshot: &Snapshot) {
        let mut held = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|held| held.revision < snapshot.revision) {
            *held = Some(snapshot.clone());
        }
    }
}

/// The row that the migration wrote is gone.
#[derive(Debug, thiserror::Error)]
#[error("table hospital_directory is empty; run neurotriage-migrate again")]
struct MissingRow;

impl DirectoryStore for SqlReferralStore {
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let revision = self.directory_revision().await?;
        if let Some(snapshot) = self.remembered(revision) {
            return Ok(snapshot);
        }
        let _turn = self.reading.lock().await;
        // Whoever had the turn before may have read it.
        let revision = self.directory_revision().await?;
        if let Some(snapshot) = self.remembered(revision) {
            return Ok(snapshot);
        }
        // A write between the two reads makes the hospitals newer than the revision says: the next
        // reader sees the new revision and reads again.
        let rows = hospital_row::Entity::find()
            .order_by_asc(hospital_row::Column::HospitalId)
            .all(&self.ledger.db)
            .await
            .map_err(failed("read hospitals"))?;
        let hospitals = rows.into_iter().map(hospital_from_row).collect::<Result<_, _>>()?;
        let snapshot = Snapshot::new(revision, hospitals);
        self.remember(&snapshot);
        Ok(snapshot)
    }

    async fn write(&self, revision: u64, hospitals: Vec<Hospital>) -> Result<Written, StoreError> {
        let before = i64::try_from(revision).map_err(failed("encode directory revision"))?;
        let rows = hospitals.iter().map(row_of_hospital).collect::<Result<Vec<_>, _>>()?;
        let transaction = database::begin(&self.ledger.db, TransactionOptions::default())
            .await
            .map_err(failed("begin import"))?;
        let counted = directory_row::Entity::update_many()
            .col_expr(directory_row::Column::Revision, Expr::value(before + 1))
            .filter(directory_row::Column::DirectoryId.eq(DIRECTORY_ID))
            .filter(directory_row::Column::Revision.eq(before))
            .exec(&transaction)
            .await
            .map_err(failed("count import"))?;
        if counted.rows_affected == 0 {
            transaction.rollback().await.map_err(failed("roll back import"))?;
            return Ok(Written::Stale);
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            hospital_row::Entity::insert_many(rows.to_vec())
                .on_conflict(replacing())
                .exec_without_returning(&transaction)
                .await
                .map_err(failed("write hospitals"))?;
        }
        transaction.commit().await.map_err(failed("commit import"))?;
        Ok(Written::At(revision + 1))
    }
}

fn replacing() -> OnConflict {
    use hospital_row::Column;
    OnConflict::column(Column::HospitalId)
        .update_columns([
            Column::Name,
            Column::City,
            Column::LatitudeDegrees,
            Column::LongitudeDegrees,
            Column::Capabilities,
            Column::Capacity,
            Column::AcceptsReferrals,
            Column::Identifiers,
            Column::Languages,
            Column::BedsFree,
        ])
        .to_owned()
}

fn row_of_hospital(hospital: &Hospital) -> Result<hospital_row::ActiveModel, StoreError> {
    let encode = failed("encode hospital row");
    Ok(hospital_row::ActiveModel {
        hospital_id: Set(hospital.hospital_id.to_string()),
        name: Set(hospital.name.clone()),
        city: Set(hospital.city.clone()),
        latitude_degrees: Set(hospital.location.latitude_degrees()),
        longitude_degrees: Set(hospital.location.longitude_degrees()),
        capabilities: Set(serde_json::to_value(&hospital.capabilities).map_err(&encode)?),
        capacity: Set(hospital.capacity),
        accepts_referrals: Set(hospital.accepts_referrals),
        identifiers: Set(serde_json::to_value(&hospital.identifiers).map_err(&encode)?),
        languages: Set(serde_json::to_value(&hospital.languages).map_err(&encode)?),
        beds_free: Set(hospital.beds_free.map(i64::from)),
    })
}

fn hospital_from_row(row: hospital_row::Model) -> Result<Hospital, StoreError> {
    let decode = failed("decode hospital row");
    Ok(Hospital {
        hospital_id: row.hospital_id.parse().map_err(failed("decode hospital row"))?,
        name: row.name,
        city: row.city,
        location: Coordinates::from_degrees(row.latitude_degrees, row.longitude_degrees)
            .map_err(failed("decode hospital row"))?,
        capabilities: serde_json::from_value(row.capabilities).map_err(&decode)?,
        capacity: row.capacity,
        accepts_referrals: row.accepts_referrals,
        identifiers: serde_json::from_value(row.identifiers).map_err(&decode)?,
        languages: serde_json::from_value(row.languages).map_err(&decode)?,
        beds_free: row
            .beds_free
            .map(u32::try_from)
            .transpose()
            .map_err(failed("decode hospital row"))?,
    })
}
