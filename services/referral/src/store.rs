//! Assessments and hospitals in a database: PostgreSQL or SQLite.

pub mod lifecycle;

use std::error::Error;

use neurotriage_domain::{AssessmentId, HospitalId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, SqlErr, TryInsertResult, sea_query::OnConflict,
};
use uuid::Uuid;

use crate::{
    assessment::{Assessment, AssessmentError, AssessmentRequest, ReferralStore},
    hospital::{Coordinates, Hospital},
};

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
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`ReferralStore`] over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlReferralStore {
    db: DatabaseConnection,
}

fn failed<E: Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl Fn(E) -> AssessmentError {
    move |source| AssessmentError::Store { operation, source: Box::new(source) }
}

impl SqlReferralStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    /// Fills the directory with `hospitals` if it is empty, and only then. Returns how many were
    /// written.
    ///
    /// # Errors
    /// [`AssessmentError::Store`] if the database fails.
    pub async fn fill_empty_directory(
        &self,
        hospitals: &[Hospital],
    ) -> Result<usize, AssessmentError> {
        let held = hospital_row::Entity::find()
            .count(&self.db)
            .await
            .map_err(failed("count hospitals"))?;
        if held > 0 || hospitals.is_empty() {
            return Ok(0);
        }
        let encode = failed("encode hospital row");
        let mut rows = Vec::with_capacity(hospitals.len());
        for hospital in hospitals {
            rows.push(hospital_row::ActiveModel {
                hospital_id: Set(hospital.hospital_id.to_string()),
                name: Set(hospital.name.clone()),
                city: Set(hospital.city.clone()),
                latitude_degrees: Set(hospital.location.latitude_degrees()),
                longitude_degrees: Set(hospital.location.longitude_degrees()),
                capabilities: Set(serde_json::to_value(&hospital.capabilities).map_err(&encode)?),
                capacity: Set(hospital.capacity),
                accepts_referrals: Set(hospital.accepts_referrals),
            });
        }
        // Another replica may start at the same moment: its rows are the same.
        let inserted = hospital_row::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::column(hospital_row::Column::HospitalId).do_nothing().to_owned(),
            )
            .try_insert()
            .exec_without_returning(&self.db)
            .await
            .map_err(failed("write sample hospitals"))?;
        match inserted {
            TryInsertResult::Inserted(_) => Ok(hospitals.len()),
            TryInsertResult::Empty | TryInsertResult::Conflicted => Ok(0),
        }
    }
}

impl ReferralStore for SqlReferralStore {
    async fn find(
        &self,
        assessment_id: AssessmentId,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let row = assessment_row::Entity::find_by_id(assessment_id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read assessment"))?;
        row.map(assessment_from_row).transpose()
    }

    async fn find_by_request(
        &self,
        request_id: Uuid,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let row = assessment_row::Entity::find()
            .filter(assessment_row::Column::RequestId.eq(request_id))
            .one(&self.db)
            .await
            .map_err(failed("read assessment by request"))?;
        row.map(assessment_from_row).transpose()
    }

    async fn insert(&self, assessment: &Assessment) -> Result<bool, AssessmentError> {
        let content =
            serde_json::to_value(&assessment.findings).map_err(failed("encode assessment row"))?;
        let row = assessment_row::ActiveModel {
            assessment_id: Set(assessment.assessment_id.as_uuid()),
            request_id: Set(assessment.request.request_id),
            patient_id: Set(assessment.patient_id.as_uuid()),
            symptom_report_id: Set(assessment.request.symptom_report_id.as_uuid()),
            segmentation_id: Set(assessment.request.segmentation_id.as_uuid()),
            hospitals_max: Set(i64::from(assessment.request.hospitals_max)),
            created_at: Set(assessment.created_at),
            content: Set(content),
        };
        match assessment_row::Entity::insert(row).exec_without_returning(&self.db).await {
            Ok(_) => Ok(true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => Ok(false),
                _ => Err(failed("write assessment")(error)),
            },
        }
    }

    async fn hospitals(
        &self,
        after: Option<HospitalId>,
        limit: u32,
    ) -> Result<Vec<Hospital>, AssessmentError> {
        let mut query = hospital_row::Entity::find()
            .order_by_asc(hospital_row::Column::HospitalId)
            .limit(u64::from(limit));
        if let Some(after) = after {
            query = query.filter(hospital_row::Column::HospitalId.gt(after.as_str()));
        }
        let rows = query.all(&self.db).await.map_err(failed("list hospitals"))?;
        rows.into_iter().map(hospital_from_row).collect()
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

fn hospital_from_row(row: hospital_row::Model) -> Result<Hospital, AssessmentError> {
    Ok(Hospital {
        hospital_id: row.hospital_id.parse().map_err(failed("decode hospital row"))?,
        name: row.name,
        city: row.city,
        location: Coordinates::from_degrees(row.latitude_degrees, row.longitude_degrees)
            .map_err(failed("decode hospital row"))?,
        capabilities: serde_json::from_value(row.capabilities)
            .map_err(failed("decode hospital row"))?,
        capacity: row.capacity,
        accepts_referrals: row.accepts_referrals,
    })
}
