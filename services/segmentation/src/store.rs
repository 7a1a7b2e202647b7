//! Segmentations in a database: PostgreSQL or SQLite.
//!
//! Each operation on segmentations is one transaction of its hospital that ends with its audit entries, in the chain
//! of the study: what was done to a study's segmentations, by whichever model, is in one. `models` and `training`
//! hold no patients, and are not audited.

pub mod models;
pub mod training;

use std::{error::Error, time::Duration};

use neurotriage_anatomy::Localisation;
use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{SegmentationId, StudyId};
use neurotriage_service_kit::{
    audit::{AuditLog, Call, Unit},
    database::is_away,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, Select, SqlErr};
use serde::{Deserialize, Serialize};

use crate::{
    certainty::Certainty,
    segmentation::{Part, Segmentation, SegmentationError, SegmentationStore, StoredMask, Target},
};

/// Kind of the records, in the audit.
const KIND: &str = "segmentation";
/// Kind of what they are made of.
const STUDY_KIND: &str = "study";
const READ: &str = "commit audit of read";

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

/// [`SegmentationStore`] in the database of an audit. Clones share it.
///
/// Each operation is one transaction of its hospital, and its queries name the hospital too.
#[derive(Clone, Debug)]
pub struct SqlSegmentationStore {
    audit: AuditLog,
}

impl SqlSegmentationStore {
    /// Stores in the database that `audit` writes to.
    pub fn new(audit: AuditLog) -> Self {
        Self { audit }
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

/// Returns what selects the segmentations of the hospital that calls.
fn of_hospital(call: &Call) -> Select<segmentation_row::Entity> {
    segmentation_row::Entity::find()
        .filter(segmentation_row::Column::HospitalId.eq(call.hospital_id.as_str()))
}

async fn find(
    unit: &Unit<'_>,
    call: &Call,
    segmentation_id: SegmentationId,
) -> Result<Option<segmentation_row::Model>, SegmentationError> {
    of_hospital(call)
        .filter(segmentation_row::Column::SegmentationId.eq(segmentation_id.as_uuid()))
        .one(unit.transaction())
        .await
        .map_err(failed("read segmentation"))
}

async fn find_by_study(
    unit: &Unit<'_>,
    call: &Call,
    study_id: StudyId,
    weights_sha256: &str,
) -> Result<Option<segmentation_row::Model>, SegmentationError> {
    of_hospital(call)
        .filter(segmentation_row::Column::StudyId.eq(study_id.as_uuid()))
        .filter(segmentation_row::Column::WeightsSha256.eq(weights_sha256))
        .one(unit.transaction())
        .await
        .map_err(failed("read segmentation of study"))
}

/// Notes that a part of a segmentation is shown, and returns it.
async fn shown(
    mut unit: Unit<'_>,
    row: segmentation_row::Model,
    part: Part,
) -> Result<Segmentation, SegmentationError> {
    let (id, about) = (row.segmentation_id, row.study_id);
    let segmentation = from_row(row)?;
    let detail = match part {
        Part::Findings => Detail::none(),
        Part::Mask => Detail::none().fields(&["mask"]),
        Part::Localisation => Detail::none().fields(&["localisation"]),
    };
    unit.note(Action::Read, KIND, Some(id), detail)?;
    unit.commit(READ, about).await?;
    Ok(segmentation)
}

impl SegmentationStore for SqlSegmentationStore {
    async fn read(
        &self,
        call: &Call,
        segmentation_id: SegmentationId,
        part: Part,
    ) -> Result<Segmentation, SegmentationError> {
        let unit = self.audit.begin(call).await?;
        match find(&unit, call, segmentation_id).await? {
            Some(row) => shown(unit, row, part).await,
            None => {
                let error = SegmentationError::NotFound { segmentation_id };
                let id = Some(segmentation_id.as_uuid());
                Err(unit.refuse(Action::Read, KIND, id, error).await)
            }
        }
    }

    async fn read_of_study(
        &self,
        call: &Call,
        study_id: StudyId,
        weights_sha256: &str,
        part: Part,
    ) -> Result<Segmentation, SegmentationError> {
        let unit = self.audit.begin(call).await?;
        match find_by_study(&unit, call, study_id, weights_sha256).await? {
            Some(row) => shown(unit, row, part).await,
            None => {
                let error = SegmentationError::NotSegmented { study_id };
                let id = Some(study_id.as_uuid());
                Err(unit.refuse(Action::Read, STUDY_KIND, id, error).await)
            }
        }
    }

    async fn study_of(
        &self,
        call: &Call,
        segmentation_id: SegmentationId,
    ) -> Result<Option<StudyId>, SegmentationError> {
        let unit = self.audit.begin(call).await?;
        let row = find(&unit, call, segmentation_id).await?;
        unit.roll_back().await?;
        Ok(row.map(|row| StudyId::from(row.study_id)))
    }

    async fn repeat(
        &self,
        call: &Call,
        study_id: StudyId,
        weights_sha256: &str,
    ) -> Result<Option<Segmentation>, SegmentationError> {
        let mut unit = self.audit.begin(call).await?;
        let Some(row) = find_by_study(&unit, call, study_id, weights_sha256).await? else {
            unit.roll_back().await?;
            return Ok(None);
        };
        let segmentation = from_row(row)?;
        let id = segmentation.segmentation_id.as_uuid();
        unit.note(Action::Create, KIND, Some(id), Detail::none().reason("REPEATED"))?;
        unit.commit("commit audit of repeated create", study_id.as_uuid()).await?;
        Ok(Some(segmentation))
    }

    async fn insert(
        &self,
        call: &Call,
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
            hospital_id: Set(call.hospital_id.to_string()),
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
        let mut unit = self.audit.begin(call).await?;
        let written =
            segmentation_row::Entity::insert(row).exec_without_returning(unit.transaction()).await;
        if let Err(error) = written {
            return match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => {
                    unit.roll_back().await?;
                    Ok(false)
                }
                _ => Err(failed("write segmentation")(error)),
            };
        }
        let id = segmentation.segmentation_id.as_uuid();
        unit.note(Action::Create, KIND, Some(id), Detail::none())?;
        unit.commit("commit segmentation", segmentation.study_id.as_uuid()).await?;
        Ok(true)
    }

    async fn refuse(
        &self,
        call: &Call,
        action: Action,
        target: Target,
        error: SegmentationError,
    ) -> SegmentationError {
        if let SegmentationError::Unavailable { .. } = error {
            return error;
        }
        let (kind, id, study_id) = match target {
            Target::Study(study_id) => (STUDY_KIND, study_id.as_uuid(), study_id),
            Target::Segmentation { segmentation_id, study_id } => {
                (KIND, segmentation_id.as_uuid(), study_id)
            }
        };
        match self.audit.begin(call).await {
            Ok(unit) => unit.refuse_about(study_id.as_uuid(), action, kind, Some(id), error).await,
            Err(away) => away.into(),
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
