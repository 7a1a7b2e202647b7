//! Records in a database: PostgreSQL or SQLite.

mod rows;

use neurotriage_domain::{PatientId, SymptomReportId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, SqlErr, TransactionTrait,
};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::rows::{audit_row, patient_row, symptom_report_row};
use crate::{
    error::RecordsError,
    patient::Patient,
    records::{Insertion, New, RecordsStore},
    symptoms::SymptomReport,
};

/// Who writes, until callers are known.
const ACTOR_UNKNOWN: &str = "anonymous";

/// [`RecordsStore`] over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlRecordsStore {
    db: DatabaseConnection,
}

impl SqlRecordsStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }
}

fn failed(operation: &'static str) -> impl Fn(DbErr) -> RecordsError {
    move |error| {
        let away = matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_));
        let source = Box::new(error);
        if away {
            RecordsError::Unavailable { operation, source }
        } else {
            RecordsError::Store { operation, source }
        }
    }
}

/// Returns what a refused insert means, or the error if it means nothing to the domain.
fn insertion(error: DbErr, operation: &'static str) -> Result<Insertion, RecordsError> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Ok(Insertion::Taken),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Ok(Insertion::NoPatient),
        _ => Err(failed(operation)(error)),
    }
}

async fn audit(
    transaction: &DatabaseTransaction,
    action: &'static str,
    entity_id: Uuid,
    occurred_at: OffsetDateTime,
) -> Result<(), RecordsError> {
    let row = audit_row::ActiveModel {
        audit_id: Set(Uuid::now_v7()),
        occurred_at: Set(occurred_at),
        actor: Set(ACTOR_UNKNOWN.to_owned()),
        action: Set(action.to_owned()),
        entity_id: Set(entity_id),
    };
    audit_row::Entity::insert(row)
        .exec_without_returning(transaction)
        .await
        .map_err(failed("write audit row"))?;
    Ok(())
}

impl RecordsStore for SqlRecordsStore {
    async fn find_patient(&self, patient_id: PatientId) -> Result<Option<Patient>, RecordsError> {
        let row = patient_row::Entity::find_by_id(patient_id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read patient"))?;
        row.map(rows::patient).transpose()
    }

    async fn find_patient_by_request(
        &self,
        request_id: Uuid,
    ) -> Result<Option<(Patient, String)>, RecordsError> {
        let row = patient_row::Entity::find()
            .filter(patient_row::Column::RequestId.eq(request_id))
            .one(&self.db)
            .await
            .map_err(failed("read patient by request"))?;
        let Some(row) = row else { return Ok(None) };
        let content_hash = row.content_hash.clone();
        Ok(Some((rows::patient(row)?, content_hash)))
    }

    async fn insert_patient(&self, new: &New<Patient>) -> Result<Insertion, RecordsError> {
        let row = rows::new_patient(new)?;
        let transaction = self.db.begin().await.map_err(failed("begin transaction"))?;
        // The insert comes first: SQLite then waits for the writer before it.
        if let Err(error) =
            patient_row::Entity::insert(row).exec_without_returning(&transaction).await
        {
            transaction.rollback().await.map_err(failed("roll back transaction"))?;
            return insertion(error, "write patient");
        }
        let patient = &new.record;
        audit(&transaction, "create_patient", patient.patient_id.as_uuid(), patient.created_at)
            .await?;
        transaction.commit().await.map_err(failed("commit patient"))?;
        Ok(Insertion::Stored)
    }

    async fn list_patients(
        &self,
        before: Option<PatientId>,
        limit: u32,
    ) -> Result<Vec<Patient>, RecordsError> {
        let mut query = patient_row::Entity::find()
            .order_by_desc(patient_row::Column::PatientId)
            .limit(u64::from(limit));
        if let Some(before) = before {
            query = query.filter(patient_row::Column::PatientId.lt(before.as_uuid()));
        }
        let found = query.all(&self.db).await.map_err(failed("list patients"))?;
        found.into_iter().map(rows::patient).collect()
    }

    async fn find_report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> Result<Option<SymptomReport>, RecordsError> {
        let row = symptom_report_row::Entity::find_by_id(symptom_report_id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read symptom report"))?;
        row.map(rows::report).transpose()
    }

    async fn find_report_by_request(
        &self,
        request_id: Uuid,
    ) -> Result<Option<(SymptomReport, String)>, RecordsError> {
        let row = symptom_report_row::Entity::find()
            .filter(symptom_report_row::Column::RequestId.eq(request_id))
            .one(&self.db)
            .await
            .map_err(failed("read symptom report by request"))?;
        let Some(row) = row else { return Ok(None) };
        let content_hash = row.content_hash.clone();
        Ok(Some((rows::report(row)?, content_hash)))
    }

    async fn insert_report(&self, new: &New<SymptomReport>) -> Result<Insertion, RecordsError> {
        let row = rows::new_report(new)?;
        let transaction = self.db.begin().await.map_err(failed("begin transaction"))?;
        if let Err(error) =
            symptom_report_row::Entity::insert(row).exec_without_returning(&transaction).await
        {
            transaction.rollback().await.map_err(failed("roll back transaction"))?;
            return insertion(error, "write symptom report");
        }
        let report = &new.record;
        let entity_id = report.symptom_report_id.as_uuid();
        audit(&transaction, "create_symptom_report", entity_id, report.created_at).await?;
        transaction.commit().await.map_err(failed("commit symptom report"))?;
        Ok(Insertion::Stored)
    }

    async fn list_reports(
        &self,
        patient_id: PatientId,
        before: Option<SymptomReportId>,
        limit: u32,
    ) -> Result<Vec<SymptomReport>, RecordsError> {
        let mut query = symptom_report_row::Entity::find()
            .filter(symptom_report_row::Column::PatientId.eq(patient_id.as_uuid()))
            .order_by_desc(symptom_report_row::Column::SymptomReportId)
            .limit(u64::from(limit));
        if let Some(before) = before {
            query = query.filter(symptom_report_row::Column::SymptomReportId.lt(before.as_uuid()));
        }
        let found = query.all(&self.db).await.map_err(failed("list symptom reports"))?;
        found.into_iter().map(rows::report).collect()
    }
}
