//! Diagnoses in a database.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{DiagnosisId, PatientId, StudyId};
use neurotriage_service_kit::audit::{Call, Unit};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter,
};

use super::{REPEATED, SqlReferralStore, failed, is_first, kind};
use crate::{
    assessment::{Assessment, AssessmentError, ReferralStore as _},
    diagnosis::{Answer, Diagnosis, DiagnosisError, DiagnosisRequest, DiagnosisStore, Ending},
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

/// Returns a diagnosis of the hospital that calls.
async fn diagnosis(
    unit: &Unit<'_>,
    call: &Call,
    diagnosis_id: DiagnosisId,
) -> Result<Option<Diagnosis>, AssessmentError> {
    let row = diagnosis_row::Entity::find_by_id(diagnosis_id.as_uuid())
        .filter(diagnosis_row::Column::HospitalId.eq(call.hospital_id.as_str()))
        .one(unit.transaction())
        .await
        .map_err(failed("read diagnosis"))?;
    row.map(diagnosis_from_row).transpose()
}

impl SqlReferralStore {
    /// Begins a unit that shows a diagnosis; it is noted.
    async fn show<'a>(
        &'a self,
        call: &'a Call,
        diagnosis_id: DiagnosisId,
    ) -> Result<(Unit<'a>, Diagnosis), DiagnosisError> {
        let (action, kind, id) = (Action::Read, kind::DIAGNOSIS, diagnosis_id.as_uuid());
        let mut unit = self.ledger.audit.begin(call).await?;
        let Some(found) = diagnosis(&unit, call, diagnosis_id).await? else {
            let error = DiagnosisError::NotFound { diagnosis_id };
            return Err(unit.refuse(action, kind, Some(id), error).await);
        };
        if let Err(error) = call.check_patient(found.patient_id) {
            return Err(unit.refuse(action, kind, Some(id), error.into()).await);
        }
        unit.note(action, kind, Some(id), Detail::none())?;
        Ok((unit, found))
    }

    /// Begins a unit that shows once more what a request began; it is noted. Without, the unit has nothing to say.
    async fn show_again<'a>(
        &'a self,
        call: &'a Call,
        request: &DiagnosisRequest,
    ) -> Result<(Unit<'a>, Option<Diagnosis>), DiagnosisError> {
        let (action, kind, request_id) = (Action::Create, kind::DIAGNOSIS, request.request_id);
        let mut unit = self.ledger.audit.begin(call).await?;
        let row = diagnosis_row::Entity::find()
            .filter(diagnosis_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(diagnosis_row::Column::RequestId.eq(request_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read diagnosis by request"))?;
        let Some(row) = row else { return Ok((unit, None)) };
        let stored = diagnosis_from_row(row)?;
        let id = stored.diagnosis_id.as_uuid();
        let refused = match call.check_patient(stored.patient_id) {
            Err(error) => Some(error.into()),
            Ok(()) if stored.request != *request => {
                Some(DiagnosisError::RequestReused { request_id })
            }
            Ok(()) => None,
        };
        if let Some(error) = refused {
            return Err(unit.refuse(action, kind, Some(id), error).await);
        }
        unit.note(action, kind, Some(id), Detail::none().reason(REPEATED))?;
        Ok((unit, Some(stored)))
    }

    /// Returns the assessment of a diagnosis that has one; it is noted.
    async fn show_assessment(
        &self,
        unit: &mut Unit<'_>,
        call: &Call,
        diagnosis: &Diagnosis,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let Some(ending) = &diagnosis.ending else { return Ok(None) };
        let assessment_id = ending.assessment_id;
        let found = self.assessment(unit, call, assessment_id).await?;
        let found = found.ok_or(AssessmentError::NotFound { assessment_id })?;
        let id = Some(assessment_id.as_uuid());
        unit.note(Action::Read, kind::ASSESSMENT, id, Detail::none())?;
        Ok(Some(found))
    }

    /// Adds `columns` to a diagnosis unless column `missing` is there; the audit calls them `field`.
    async fn add(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
        (field, missing): (&'static str, diagnosis_row::Column),
        columns: diagnosis_row::ActiveModel,
    ) -> Result<Diagnosis, DiagnosisError> {
        const WRITE: &str = "write diagnosis";
        let mut unit = self.ledger.audit.begin(call).await?;
        let updated = diagnosis_row::Entity::update_many()
            .set(columns)
            .filter(diagnosis_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(diagnosis_row::Column::DiagnosisId.eq(diagnosis_id.as_uuid()))
            .filter(missing.is_null())
            .exec(unit.transaction())
            .await
            .map_err(failed(WRITE))?;
        let Some(stored) = diagnosis(&unit, call, diagnosis_id).await? else {
            let source = "the diagnosis is not in the store any more".into();
            return Err(AssessmentError::Store { operation: WRITE, source }.into());
        };
        // Another replica may have been faster: then it is read.
        let action = if updated.rows_affected == 0 { Action::Read } else { Action::Update };
        let id = Some(diagnosis_id.as_uuid());
        unit.note(action, kind::DIAGNOSIS, id, Detail::none().fields(&[field]))?;
        unit.commit("commit diagnosis", stored.patient_id.as_uuid()).await?;
        Ok(stored)
    }
}

impl DiagnosisStore for SqlReferralStore {
    async fn find_diagnosis(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
    ) -> Result<Diagnosis, DiagnosisError> {
        let (unit, found) = self.show(call, diagnosis_id).await?;
        unit.commit("commit audit of read", found.patient_id.as_uuid()).await?;
        Ok(found)
    }

    async fn find_diagnosis_answer(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
    ) -> Result<Answer, DiagnosisError> {
        let (mut unit, diagnosis) = self.show(call, diagnosis_id).await?;
        let assessment = self.show_assessment(&mut unit, call, &diagnosis).await?;
        unit.commit("commit audit of read", diagnosis.patient_id.as_uuid()).await?;
        Ok(Answer { diagnosis, assessment })
    }

    async fn find_finished(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
    ) -> Result<Option<Answer>, DiagnosisError> {
        let (mut unit, stored) = self.show_again(call, request).await?;
        let Some(diagnosis) = stored.filter(|stored| stored.ending.is_some()) else {
            // Nothing is shown.
            unit.roll_back().await?;
            return Ok(None);
        };
        let assessment = self.show_assessment(&mut unit, call, &diagnosis).await?;
        unit.commit("commit audit of repeated create", diagnosis.patient_id.as_uuid()).await?;
        Ok(Some(Answer { diagnosis, assessment }))
    }

    async fn find_begun(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
    ) -> Result<Option<Diagnosis>, DiagnosisError> {
        let (unit, stored) = self.show_again(call, request).await?;
        match &stored {
            Some(begun) => {
                let about = begun.patient_id.as_uuid();
                unit.commit("commit audit of repeated create", about).await?;
            }
            None => unit.roll_back().await?,
        }
        Ok(stored)
    }

    async fn insert_diagnosis(
        &self,
        call: &Call,
        begun: &Diagnosis,
    ) -> Result<Option<Diagnosis>, DiagnosisError> {
        const WRITE: &str = "write diagnosis";
        let (request, patient_id) = (&begun.request, begun.patient_id);
        if let Err(error) = call.check_patient(patient_id) {
            return Err(self.deny(call, Action::Create, patient_id, error).await.into());
        }
        let origin = serde_json::to_value(&begun.origin).map_err(failed("encode diagnosis row"))?;
        let id = begun.diagnosis_id.as_uuid();
        let row = diagnosis_row::ActiveModel {
            diagnosis_id: Set(id),
            hospital_id: Set(call.hospital_id.to_string()),
            request_id: Set(request.request_id),
            patient_id: Set(patient_id.as_uuid()),
            study_id: Set(request.study_id.as_uuid()),
            symptom_report_id: Set(request.symptom_report_id.as_uuid()),
            hospitals_max: Set(i64::from(request.hospitals_max)),
            model_id: Set(request.model_id.clone()),
            created_at: Set(begun.created_at),
            origin: Set(origin),
            marking: NotSet,
            assessment_id: NotSet,
            finished_at: NotSet,
            code_version: NotSet,
        };
        let unit = self.ledger.audit.begin(call).await?;
        let inserted = diagnosis_row::Entity::insert(row)
            .exec_without_returning(unit.transaction())
            .await
            .map(drop);
        let Some(mut unit) = is_first(unit, inserted, WRITE).await? else { return Ok(None) };
        let stored = diagnosis(&unit, call, begun.diagnosis_id).await?;
        unit.note(Action::Create, kind::DIAGNOSIS, Some(id), Detail::none())?;
        unit.commit("commit diagnosis", patient_id.as_uuid()).await?;
        Ok(stored)
    }

    async fn add_marking(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
        marking: &Marking,
    ) -> Result<Diagnosis, DiagnosisError> {
        let marking = serde_json::to_value(marking).map_err(failed("encode diagnosis row"))?;
        let columns =
            diagnosis_row::ActiveModel { marking: Set(Some(marking)), ..Default::default() };
        let missing = ("marking", diagnosis_row::Column::Marking);
        self.add(call, diagnosis_id, missing, columns).await
    }

    async fn add_ending(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
        ending: &Ending,
    ) -> Result<Diagnosis, DiagnosisError> {
        let columns = diagnosis_row::ActiveModel {
            assessment_id: Set(Some(ending.assessment_id.as_uuid())),
            finished_at: Set(Some(ending.finished_at)),
            code_version: Set(Some(ending.code_version.clone())),
            ..Default::default()
        };
        let missing = ("ending", diagnosis_row::Column::AssessmentId);
        self.add(call, diagnosis_id, missing, columns).await
    }

    async fn note_comparison(
        &self,
        call: &Call,
        patient_id: PatientId,
        studies: [StudyId; 2],
    ) -> Result<(), DiagnosisError> {
        if let Err(error) = call.check_patient(patient_id) {
            return Err(self.deny(call, Action::Read, patient_id, error).await.into());
        }
        let mut unit = self.ledger.audit.begin(call).await?;
        for (study_id, side) in studies.into_iter().zip(["earlier", "later"]) {
            let detail = Detail::none().fields(&[side]);
            unit.note(Action::Read, kind::STUDY, Some(study_id.as_uuid()), detail)?;
        }
        unit.commit("commit audit of comparison", patient_id.as_uuid()).await?;
        Ok(())
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
