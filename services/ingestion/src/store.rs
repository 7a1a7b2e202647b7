//! Studies in a database: PostgreSQL or SQLite.

use std::error::Error;

use neurotriage_domain::{HospitalId, PatientId, StudyId};
use neurotriage_service_kit::{
    database::is_away,
    tenant::{self, Mode},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DatabaseTransaction, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, SqlErr,
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
        pub hospital_id: String,
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
///
/// Each operation is one transaction of its hospital, and its queries name the hospital too.
#[derive(Clone, Debug)]
pub struct SqlStudyStore {
    db: DatabaseConnection,
}

impl SqlStudyStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    async fn begin(
        &self,
        hospital_id: &HospitalId,
        mode: Mode,
    ) -> Result<DatabaseTransaction, StudyError> {
        tenant::begin(&self.db, hospital_id, mode).await.map_err(failed("begin transaction"))
    }
}

fn failed<E: Error + Send + Sync + 'static>(operation: &'static str) -> impl Fn(E) -> StudyError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            StudyError::Unavailable { operation, source }
        } else {
            StudyError::Store { operation, source }
        }
    }
}

async fn commit(transaction: DatabaseTransaction) -> Result<(), StudyError> {
    transaction.commit().await.map_err(failed("commit transaction"))
}

impl StudyStore for SqlStudyStore {
    async fn find(
        &self,
        hospital_id: &HospitalId,
        study_id: StudyId,
    ) -> Result<Option<Study>, StudyError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = study_row::Entity::find_by_id(study_id.as_uuid())
            .filter(study_row::Column::HospitalId.eq(hospital_id.as_str()))
            .one(&transaction)
            .await
            .map_err(failed("read study"))?;
        commit(transaction).await?;
        row.map(study_from_row).transpose()
    }

    async fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> Result<Option<(Study, String)>, StudyError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = study_row::Entity::find()
            .filter(study_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(study_row::Column::RequestId.eq(request_id))
            .one(&transaction)
            .await
            .map_err(failed("read study by request"))?;
        commit(transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let content_hash = row.content_hash.clone();
        Ok(Some((study_from_row(row)?, content_hash)))
    }

    async fn insert(&self, hospital_id: &HospitalId, new: &NewStudy) -> Result<bool, StudyError> {
        let study = &new.study;
        let encode = failed("encode study row");
        let row = study_row::ActiveModel {
            study_id: Set(study.study_id.as_uuid()),
            hospital_id: Set(hospital_id.to_string()),
            request_id: Set(new.request_id),
            content_hash: Set(new.content_hash.clone()),
            patient_id: Set(study.patient_id.as_uuid()),
            accession: Set(study.accession.clone()),
            created_at: Set(study.created_at),
            geometry: Set(serde_json::to_value(&study.geometry).map_err(&encode)?),
            volumes: Set(serde_json::to_value(&study.volumes).map_err(&encode)?),
            prepared: Set(serde_json::to_value(&study.prepared).map_err(&encode)?),
        };
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        let written = study_row::Entity::insert(row).exec_without_returning(&transaction).await;
        match written {
            Ok(_) => commit(transaction).await.map(|()| true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => {
                    transaction.rollback().await.map_err(failed("roll back transaction"))?;
                    Ok(false)
                }
                _ => Err(failed("write study")(error)),
            },
        }
    }

    async fn list(
        &self,
        hospital_id: &HospitalId,
        patient_id: PatientId,
        before: Option<StudyId>,
        limit: u32,
    ) -> Result<Vec<Study>, StudyError> {
        let mut query = study_row::Entity::find()
            .filter(study_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(study_row::Column::PatientId.eq(patient_id.as_uuid()))
            .order_by_desc(study_row::Column::StudyId)
            .limit(u64::from(limit));
        if let Some(before) = before {
            query = query.filter(study_row::Column::StudyId.lt(before.as_uuid()));
        }
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = query.all(&transaction).await.map_err(failed("list studies"))?;
        commit(transaction).await?;
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
