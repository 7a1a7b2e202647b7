//! Segmentations in a database: PostgreSQL or SQLite.

pub mod models;
pub mod training;

use std::{error::Error, time::Duration};

use neurotriage_anatomy::Localisation;
use neurotriage_domain::{HospitalId, SegmentationId, StudyId};
use neurotriage_service_kit::{
    database::is_away,
    tenant::{self, Mode},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DatabaseTransaction, EntityTrait,
    QueryFilter, SqlErr,
};
use serde::{Deserialize, Serialize};

use crate::{
    certainty::Certainty,
    segmentation::{Segmentation, SegmentationError, SegmentationStore, StoredMask},
};

/// What the column `localisation` holds: the localisation's own fields, and beside them what was
/// judged of it. Rows of older versions lack the latter; older versions skip it.
#[derive(Serialize, Deserialize)]
struct StoredLocalisation {
    #[serde(flatten)]
    localisation: Localisation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certainty: Option<Certainty>,
}

/// Table `segmentation`.
pub mod segmentation_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "segmentation")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub segmentation_id: Uuid,
        pub hospital_id: String,
        pub study_id: Uuid,
        pub model_id: String,
        pub weights_sha256: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub mask_digest: String,
        pub mask_size_bytes: i64,
        pub localisation: Json,
        pub uncertainty: Option<f64>,
        pub inference_seconds: f64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`SegmentationStore`] over a connection pool.
///
/// Each operation is one transaction of its hospital, and its queries name the hospital too.
#[derive(Clone, Debug)]
pub struct SqlSegmentationStore {
    db: DatabaseConnection,
}

impl SqlSegmentationStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    async fn begin(
        &self,
        hospital_id: &HospitalId,
        mode: Mode,
    ) -> Result<DatabaseTransaction, SegmentationError> {
        tenant::begin(&self.db, hospital_id, mode).await.map_err(failed("begin transaction"))
    }
}

fn failed<E: Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl Fn(E) -> SegmentationError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            SegmentationError::Unavailable { operation, source }
        } else {
            SegmentationError::Store { operation, source }
        }
    }
}

async fn commit(transaction: DatabaseTransaction) -> Result<(), SegmentationError> {
    transaction.commit().await.map_err(failed("commit transaction"))
}

impl SegmentationStore for SqlSegmentationStore {
    async fn find(
        &self,
        hospital_id: &HospitalId,
        segmentation_id: SegmentationId,
    ) -> Result<Option<Segmentation>, SegmentationError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = segmentation_row::Entity::find_by_id(segmentation_id.as_uuid())
            .filter(segmentation_row::Column::HospitalId.eq(hospital_id.as_str()))
            .one(&transaction)
            .await
            .map_err(failed("read segmentation"))?;
        commit(transaction).await?;
        row.map(from_row).transpose()
    }

    async fn find_by_study(
        &self,
        hospital_id: &HospitalId,
        study_id: StudyId,
        weights_sha256: &str,
    ) -> Result<Option<Segmentation>, SegmentationError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = segmentation_row::Entity::find()
            .filter(segmentation_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(segmentation_row::Column::StudyId.eq(study_id.as_uuid()))
            .filter(segmentation_row::Column::WeightsSha256.eq(weights_sha256))
            .one(&transaction)
            .await
            .map_err(failed("read segmentation of study"))?;
        commit(transaction).await?;
        row.map(from_row).transpose()
    }

    async fn insert(
        &self,
        hospital_id: &HospitalId,
        segmentation: &Segmentation,
    ) -> Result<bool, SegmentationError> {
        let stored = StoredLocalisation {
            localisation: segmentation.localisation.clone(),
            certainty: segmentation.certainty.clone(),
        };
        let localisation =
            serde_json::to_value(stored).map_err(failed("encode segmentation row"))?;
        let mask_size_bytes = i64::try_from(segmentation.mask.size_bytes)
            .map_err(failed("encode segmentation row"))?;
        let row = segmentation_row::ActiveModel {
            segmentation_id: Set(segmentation.segmentation_id.as_uuid()),
            hospital_id: Set(hospital_id.to_string()),
            study_id: Set(segmentation.study_id.as_uuid()),
            model_id: Set(segmentation.model_id.clone()),
            weights_sha256: Set(segmentation.weights_sha256.clone()),
            created_at: Set(segmentation.created_at),
            mask_digest: Set(segmentation.mask.digest.to_string()),
            mask_size_bytes: Set(mask_size_bytes),
            localisation: Set(localisation),
            uncertainty: Set(segmentation.uncertainty),
            inference_seconds: Set(segmentation.inference.as_secs_f64()),
        };
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        let written =
            segmentation_row::Entity::insert(row).exec_without_returning(&transaction).await;
        match written {
            Ok(_) => commit(transaction).await.map(|()| true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => {
                    transaction.rollback().await.map_err(failed("roll back transaction"))?;
                    Ok(false)
                }
                _ => Err(failed("write segmentation")(error)),
            },
        }
    }
}

fn from_row(row: segmentation_row::Model) -> Result<Segmentation, SegmentationError> {
    const DECODE: &str = "decode segmentation row";
    let stored: StoredLocalisation =
        serde_json::from_value(row.localisation).map_err(failed(DECODE))?;
    Ok(Segmentation {
        segmentation_id: SegmentationId::from(row.segmentation_id),
        study_id: StudyId::from(row.study_id),
        model_id: row.model_id,
        weights_sha256: row.weights_sha256,
        created_at: row.created_at,
        mask: StoredMask {
            digest: row.mask_digest.parse().map_err(failed(DECODE))?,
            size_bytes: u64::try_from(row.mask_size_bytes).map_err(failed(DECODE))?,
        },
        localisation: stored.localisation,
        uncertainty: row.uncertainty,
        certainty: stored.certainty,
        inference: Duration::try_from_secs_f64(row.inference_seconds).map_err(failed(DECODE))?,
    })
}
