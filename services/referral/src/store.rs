//! Assessments and hospitals in a database: PostgreSQL or SQLite.

pub mod diagnosis;
mod fhir;
mod hospitals;
pub mod lifecycle;

use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use neurotriage_domain::{AssessmentId, HospitalId};
use neurotriage_service_kit::{
    database::is_away,
    tenant::{self, Mode},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter, SqlErr,
};
use uuid::Uuid;

use crate::{
    assessment::{Assessment, AssessmentError, AssessmentRequest, ReferralStore},
    directory::Snapshot,
};

pub use self::hospitals::{directory_row, hospital_row};

/// Table `assessment`.
pub mod assessment_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "assessment")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub assessment_id: Uuid,
        pub hospital_id: String,
        pub request_id: Uuid,
        pub patient_id: Uuid,
        pub symptom_report_id: Uuid,
        pub segmentation_id: Uuid,
        pub hospitals_max: i64,
        pub created_at: TimeDateTimeWithTimeZone,
        pub content: Json,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`ReferralStore`] and [`DirectoryStore`](crate::directory::DirectoryStore) over a connection pool.
///
/// Each operation on assessments and diagnoses is one transaction of its hospital, and its queries name the hospital
/// too.
#[derive(Clone, Debug)]
pub struct SqlReferralStore {
    db: DatabaseConnection,
    /// The directory as it was last read; another replica may have written since.
    directory: Arc<Mutex<Option<Snapshot>>>,
    /// Held by whoever reads the directory, so that after a write it is read once and not by every
    /// call that waits for it.
    reading: Arc<tokio::sync::Mutex<()>>,
}

fn failed<E: Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl Fn(E) -> AssessmentError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            AssessmentError::Unavailable { operation, source }
        } else {
            AssessmentError::Store { operation, source }
        }
    }
}

async fn commit(transaction: DatabaseTransaction) -> Result<(), AssessmentError> {
    transaction.commit().await.map_err(failed("commit transaction"))
}

/// Ends a transaction that inserted one row. Returns false, with everything taken back, if its request made one
/// before.
async fn end_insert<T>(
    transaction: DatabaseTransaction,
    inserted: Result<T, DbErr>,
    operation: &'static str,
) -> Result<bool, AssessmentError> {
    let Err(error) = inserted else { return commit(transaction).await.map(|()| true) };
    if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
        transaction.rollback().await.map_err(failed("roll back transaction"))?;
        return Ok(false);
    }
    Err(failed(operation)(error))
}

impl SqlReferralStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db, directory: Arc::default(), reading: Arc::default() }
    }

    async fn begin(
        &self,
        hospital_id: &HospitalId,
        mode: Mode,
    ) -> Result<DatabaseTransaction, AssessmentError> {
        tenant::begin(&self.db, hospital_id, mode).await.map_err(failed("begin transaction"))
    }
}

impl ReferralStore for SqlReferralStore {
    async fn find(
        &self,
        hospital_id: &HospitalId,
        assessment_id: AssessmentId,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = assessment_row::Entity::find_by_id(assessment_id.as_uuid())
            .filter(assessment_row::Column::HospitalId.eq(hospital_id.as_str()))
            .one(&transaction)
            .await
            .map_err(failed("read assessment"))?;
        commit(transaction).await?;
        row.map(assessment_from_row).transpose()
    }

    async fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = assessment_row::Entity::find()
            .filter(assessment_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(assessment_row::Column::RequestId.eq(request_id))
            .one(&transaction)
            .await
            .map_err(failed("read assessment by request"))?;
        commit(transaction).await?;
        row.map(assessment_from_row).transpose()
    }

    async fn insert(
        &self,
        hospital_id: &HospitalId,
        assessment: &Assessment,
    ) -> Result<bool, AssessmentError> {
        let content =
            serde_json::to_value(&assessment.findings).map_err(failed("encode assessment row"))?;
        let row = assessment_row::ActiveModel {
            assessment_id: Set(assessment.assessment_id.as_uuid()),
            hospital_id: Set(hospital_id.to_string()),
            request_id: Set(assessment.request.request_id),
            patient_id: Set(assessment.patient_id.as_uuid()),
            symptom_report_id: Set(assessment.request.symptom_report_id.as_uuid()),
            segmentation_id: Set(assessment.request.segmentation_id.as_uuid()),
            hospitals_max: Set(i64::from(assessment.request.hospitals_max)),
            created_at: Set(assessment.created_at),
            content: Set(content),
        };
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        let inserted =
            assessment_row::Entity::insert(row).exec_without_returning(&transaction).await;
        end_insert(transaction, inserted, "write assessment").await
    }
}

fn assessment_from_row(row: assessment_row::Model) -> Result<Assessment, AssessmentError> {
    Ok(Assessment {
        assessment_id: row.assessment_id.into(),
        created_at: row.created_at,
        patient_id: row.patient_id.into(),
        request: AssessmentRequest {
            request_id: row.request_id,
            symptom_report_id: row.symptom_report_id.into(),
            segmentation_id: row.segmentation_id.into(),
            hospitals_max: u32::try_from(row.hospitals_max)
                .map_err(failed("decode assessment row"))?,
        },
        findings: serde_json::from_value(row.content).map_err(failed("decode assessment row"))?,
    })
}
