//! Studies in a database: PostgreSQL or SQLite.

use std::error::Error;

use neurotriage_domain::{PatientId, StudyId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, SqlErr,
};
use uuid::Uuid;

use crate::study::{NewStudy, Study, StudyError, StudyStore};

/// Table `study`.
pub mod study_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "study")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub study_id: Uuid,
        pub request_id: Uuid,
        pub content_hash: String,
        pub patient_id: Uuid,
        pub accession: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub geometry: Json,
        pub volumes: Json,
        pub prepared: Json,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`StudyStore`] over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlStudyStore {
    db: DatabaseConnection,
}

impl SqlStudyStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }
}

fn failed<E: Error + Send + Sync + 'static>(operation: &'static str) -> impl Fn(E) -> StudyError {
    move |source| StudyError::Store { operation, source: Box::new(source) }
}

impl StudyStore for SqlStudyStore {
    async fn find(&self, study_id: StudyId) -> Result<Option<Study>, StudyError> {
        let row = study_row::Entity::find_by_id(study_id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read study"))?;
        row.map(study_from_row).transpose()
    }

    async fn find_by_request(
        &self,
        request_id: Uuid,
    ) -> Result<Option<(Study, String)>, StudyError> {
        let row = study_row::Entity::find()
            .filter(study_row::Column::RequestId.eq(request_id))
            .one(&self.db)
            .await
            .map_err(failed("read study by request"))?;
        let Some(row) = row else { return Ok(None) };
        let content_hash = row.content_hash.clone();
        Ok(Some((study_from_row(row)?, content_hash)))
    }

    async fn insert(&self, new: &NewStudy) -> Result<bool, StudyError> {
        let study = &new.study;
        let encode = failed("encode study row");
        let row = study_row::ActiveModel {
            study_id: Set(study.study_id.as_uuid()),
            request_id: Set(new.request_id),
            content_hash: Set(new.content_hash.clone()),
            patient_id: Set(study.patient_id.as_uuid()),
            accession: Set(study.accession.clone()),
            created_at: Set(study.created_at),
            geometry: Set(serde_json::to_value(&study.geometry).map_err(&encode)?),
            volumes: Set(serde_json::to_value(&study.volumes).map_err(&encode)?),
            prepared: Set(serde_json::to_value(&study.prepared).map_err(&encode)?),
        };
        match study_row::Entity::insert(row).exec_without_returning(&self.db).await {
            Ok(_) => Ok(true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => Ok(false),
                _ => Err(failed("write study")(error)),
            },
        }
    }

    async fn list(
        &self,
        patient_id: PatientId,
        before: Option<StudyId>,
        limit: u32,
    ) -> Result<Vec<Study>, StudyError> {
        let mut query = study_row::Entity::find()
            .filter(study_row::Column::PatientId.eq(patient_id.as_uuid()))
            .order_by_desc(study_row::Column::StudyId)
            .limit(u64::from(limit));
        if let Some(before) = before {
            query = query.filter(study_row::Column::StudyId.lt(before.as_uuid()));
        }
        let rows = query.all(&self.db).await.map_err(failed("list studies"))?;
        rows.into_iter().map(study_from_row).collect()
    }
}

fn study_from_row(row: study_row::Model) -> Result<Study, StudyError> {
    let decode = failed("decode study row");
    Ok(Study {
        study_id: row.study_id.into(),
        patient_id: row.patient_id.into(),
        accession: row.accession,
        created_at: row.created_at,
        geometry: serde_json::from_value(row.geometry).map_err(&decode)?,
        volumes: serde_json::from_value(row.volumes).map_err(&decode)?,
        prepared: serde_json::from_value(row.prepared).map_err(&decode)?,
    })
}
