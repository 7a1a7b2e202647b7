//! What a patient's story takes from this service's database.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{PatientId, SegmentationId};
use neurotriage_service_kit::audit::{Call, CallError};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{
    SqlReferralStore, assessment_from_row, assessment_row,
    diagnosis::{diagnosis_from_row, diagnosis_row},
    failed, kind,
};
use crate::{
    assessment::{Assessment, ReferralStore as _},
    fhir::{FhirError, Span, StoryStore},
};

/// Returns how many rows to ask for: one more than may be returned.
fn limit(span: Span) -> u64 {
    u64::try_from(span.max).unwrap_or(u64::MAX).saturating_add(1)
}

fn ids(patients: &[PatientId]) -> Vec<Uuid> {
    patients.iter().map(|patient_id| patient_id.as_uuid()).collect()
}

/// Returns the patient whose other ids the rest are.
fn about(patients: &[PatientId]) -> Uuid {
    patients.first().map_or_else(Uuid::now_v7, |patient_id| patient_id.as_uuid())
}

impl StoryStore for SqlReferralStore {
    async fn assessments_of(
        &self,
        call: &Call,
        patients: &[PatientId],
        span: Span,
    ) -> Result<Vec<Assessment>, FhirError> {
        use assessment_row::Column;
        let since = span.from.map(|from| Column::CreatedAt.gte(from));
        let mut unit = self.ledger.audit.begin(call).await?;
        let rows = assessment_row::Entity::find()
            .filter(Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(Column::PatientId.is_in(ids(patients)))
            .filter(Condition::all().add_option(since))
            .order_by_desc(Column::AssessmentId)
            .limit(limit(span))
            .all(unit.transaction())
            .await
            .map_err(failed("list assessments of a patient"))?;
        if rows.len() > span.max {
            return Err(FhirError::TooLarge { what: "assessments" });
        }
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let id = Some(row.assessment_id);
            found.push(assessment_from_row(&self.ledger.vault, row)?);
            unit.note(Action::Read, kind::ASSESSMENT, id, Detail::none())?;
        }
        let count = Detail::none().count(found.len() as u64);
        unit.note(Action::Search, kind::ASSESSMENT, None, count)?;
        unit.commit("commit audit of list", about(patients)).await?;
        Ok(found)
    }

    async fn segmentations_of(
        &self,
        call: &Call,
        patients: &[PatientId],
        span: Span,
    ) -> Result<Vec<SegmentationId>, FhirError> {
        use diagnosis_row::Column;
        let since = span.from.map(|from| Column::CreatedAt.gte(from));
        let mut unit = self.ledger.audit.begin(call).await?;
        let rows = diagnosis_row::Entity::find()
            .filter(Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(Column::PatientId.is_in(ids(patients)))
            .filter(Column::Marking.is_not_null())
            .filter(Condition::all().add_option(since))
            .order_by_desc(Column::DiagnosisId)
            .limit(limit(span))
            .all(unit.transaction())
            .await
            .map_err(failed("list diagnoses of a patient"))?;
        if rows.len() > span.max {
            return Err(FhirError::TooLarge { what: "diagnoses" });
        }
        let mut found = Vec::new();
        let count = Detail::none().count(rows.len() as u64);
        for row in rows {
            let id = Some(row.diagnosis_id);
            found.extend(diagnosis_from_row(row)?.marking.map(|marking| marking.segmentation_id));
            unit.note(Action::Read, kind::DIAGNOSIS, id, Detail::none())?;
        }
        unit.note(Action::Search, kind::DIAGNOSIS, None, count)?;
        unit.commit("commit audit of list", about(patients)).await?;
        Ok(found)
    }

    async fn note_export(
        &self,
        call: &Call,
        patient_id: PatientId,
        parts: &[&'static str],
    ) -> Result<(), FhirError> {
        let mut unit = self.ledger.audit.begin(call).await?;
        let id = patient_id.as_uuid();
        unit.note(Action::Export, kind::PATIENT, Some(id), Detail::none().fields(parts))?;
        Ok(unit.commit("commit audit of export", id).await?)
    }

    async fn deny_export(&self, call: &Call, patient_id: PatientId, error: CallError) -> FhirError {
        self.deny(call, Action::Export, patient_id, error).await.into()
    }
}
