//! Diagnoses in a database.

use neurotriage_domain::{DiagnosisId, HospitalId};
use neurotriage_service_kit::tenant::Mode;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter,
};
use uuid::Uuid;

use super::{SqlReferralStore, commit, end_insert, failed};
use crate::{
    assessment::AssessmentError,
    diagnosis::{Diagnosis, DiagnosisRequest, DiagnosisStore, Ending},
    measurement::Marking,
};

/// Table `diagnosis`.
pub mod diagnosis_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "diagnosis")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub diagnosis_id: Uuid,
        pub hospital_id: String,
        pub request_id: Uuid,
        pub patient_id: Uuid,
        pub study_id: Uuid,
        pub symptom_report_id: Uuid,
        pub hospitals_max: i64,
        pub model_id: Option<String>,
        pub created_at: TimeDateTimeWithTimeZone,
        pub origin: Json,
        pub marking: Option<Json>,
        pub assessment_id: Option<Uuid>,
        pub finished_at: Option<TimeDateTimeWithTimeZone>,
        pub code_version: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

impl DiagnosisStore for SqlReferralStore {
    async fn find_diagnosis(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
    ) -> Result<Option<Diagnosis>, AssessmentError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = diagnosis_row::Entity::find_by_id(diagnosis_id.as_uuid())
            .filter(diagnosis_row::Column::HospitalId.eq(hospital_id.as_str()))
            .one(&transaction)
            .await
            .map_err(failed("read diagnosis"))?;
        commit(transaction).await?;
        row.map(diagnosis_from_row).transpose()
    }

    async fn find_diagnosis_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> Result<Option<Diagnosis>, AssessmentError> {
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let row = diagnosis_row::Entity::find()
            .filter(diagnosis_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(diagnosis_row::Column::RequestId.eq(request_id))
            .one(&transaction)
            .await
            .map_err(failed("read diagnosis by request"))?;
        commit(transaction).await?;
        row.map(diagnosis_from_row).transpose()
    }

    async fn insert_diagnosis(
        &self,
        hospital_id: &HospitalId,
        diagnosis: &Diagnosis,
    ) -> Result<bool, AssessmentError> {
        let request = &diagnosis.request;
        let origin =
            serde_json::to_value(&diagnosis.origin).map_err(failed("encode diagnosis row"))?;
        let row = diagnosis_row::ActiveModel {
            diagnosis_id: Set(diagnosis.diagnosis_id.as_uuid()),
            hospital_id: Set(hospital_id.to_string()),
            request_id: Set(request.request_id),
            patient_id: Set(diagnosis.patient_id.as_uuid()),
            study_id: Set(request.study_id.as_uuid()),
            symptom_report_id: Set(request.symptom_report_id.as_uuid()),
            hospitals_max: Set(i64::from(request.hospitals_max)),
            model_id: Set(request.model_id.clone()),
            created_at: Set(diagnosis.created_at),
            origin: Set(origin),
            marking: NotSet,
            assessment_id: NotSet,
            finished_at: NotSet,
            code_version: NotSet,
        };
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        let inserted =
            diagnosis_row::Entity::insert(row).exec_without_returning(&transaction).await;
        end_insert(transaction, inserted, "write diagnosis").await
    }

    async fn add_marking(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
        marking: &Marking,
    ) -> Result<(), AssessmentError> {
        let marking = serde_json::to_value(marking).map_err(failed("encode diagnosis row"))?;
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        diagnosis_row::Entity::update_many()
            .set(diagnosis_row::ActiveModel { marking: Set(Some(marking)), ..Default::default() })
            .filter(diagnosis_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(diagnosis_row::Column::DiagnosisId.eq(diagnosis_id.as_uuid()))
            .filter(diagnosis_row::Column::Marking.is_null())
            .exec(&transaction)
            .await
            .map_err(failed("write segmentation of diagnosis"))?;
        commit(transaction).await
    }

    async fn add_ending(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
        ending: &Ending,
    ) -> Result<(), AssessmentError> {
        let transaction = self.begin(hospital_id, Mode::Write).await?;
        diagnosis_row::Entity::update_many()
            .set(diagnosis_row::ActiveModel {
                assessment_id: Set(Some(ending.assessment_id.as_uuid())),
                finished_at: Set(Some(ending.finished_at)),
                code_version: Set(Some(ending.code_version.clone())),
                ..Default::default()
            })
            .filter(diagnosis_row::Column::HospitalId.eq(hospital_id.as_str()))
            .filter(diagnosis_row::Column::DiagnosisId.eq(diagnosis_id.as_uuid()))
            .filter(diagnosis_row::Column::AssessmentId.is_null())
            .exec(&transaction)
            .await
            .map_err(failed("write end of diagnosis"))?;
        commit(transaction).await
    }
}

pub(super) fn diagnosis_from_row(row: diagnosis_row::Model) -> Result<Diagnosis, AssessmentError> {
    const DECODE: &str = "decode diagnosis row";
    let ending = match (row.assessment_id, row.finished_at, row.code_version) {
        (Some(assessment_id), Some(finished_at), Some(code_version)) => {
            Some(Ending { assessment_id: assessment_id.into(), finished_at, code_version })
        }
        // The schema lets all three be null, or none.
        _ => None,
    };
    Ok(Diagnosis {
        diagnosis_id: row.diagnosis_id.into(),
        created_at: row.created_at,
        patient_id: row.patient_id.into(),
        request: DiagnosisRequest {
            request_id: row.request_id,
            study_id: row.study_id.into(),
            symptom_report_id: row.symptom_report_id.into(),
            hospitals_max: u32::try_from(row.hospitals_max).map_err(failed(DECODE))?,
            model_id: row.model_id,
        },
        origin: serde_json::from_value(row.origin).map_err(failed(DECODE))?,
        marking: row.marking.map(serde_json::from_value).transpose().map_err(failed(DECODE))?,
        ending,
    })
}
