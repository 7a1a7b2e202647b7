//! What a patient's story takes from this service's database.

use neurotriage_domain::{HospitalId, PatientId, SegmentationId};
use neurotriage_service_kit::tenant::Mode;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{
    SqlReferralStore, assessment_from_row, assessment_row, commit,
    diagnosis::{diagnosis_from_row, diagnosis_row},
    failed,
};
use crate::{
    assessment::Assessment,
    fhir::{FhirError, Span, StoryStore},
};

/// Returns how many rows to ask for: one more than may be returned.
fn limit(span: Span) -> u64 {
    u64::try_from(span.max).unwrap_or(u64::MAX).saturating_add(1)
}

fn ids(patients: &[PatientId]) -> Vec<Uuid> {
    patients.iter().map(|patient_id| patient_id.as_uuid()).collect()
}

impl StoryStore for SqlReferralStore {
    async fn assessments_of(
        &self,
        hospital_id: &HospitalId,
        patients: &[PatientId],
        span: Span,
    ) -> Result<Vec<Assessment>, FhirError> {
        use assessment_row::Column;
        let since = span.from.map(|from| Column::CreatedAt.gte(from));
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = assessment_row::Entity::find()
            .filter(Column::HospitalId.eq(hospital_id.as_str()))
            .filter(Column::PatientId.is_in(ids(patients)))
            .filter(Condition::all().add_option(since))
            .order_by_desc(Column::AssessmentId)
            .limit(limit(span))
            .all(&transaction)
            .await
            .map_err(failed("list assessments of a patient"))?;
        commit(transaction).await?;
        if rows.len() > span.max {
            return Err(FhirError::TooLarge { what: "assessments" });
        }
        rows.into_iter().map(|row| assessment_from_row(row).map_err(FhirError::from)).collect()
    }

    async fn segmentations_of(
        &self,
        hospital_id: &HospitalId,
        patients: &[PatientId],
        span: Span,
    ) -> Result<Vec<SegmentationId>, FhirError> {
        use diagnosis_row::Column;
        let since = span.from.map(|from| Column::CreatedAt.gte(from));
        let transaction = self.begin(hospital_id, Mode::Read).await?;
        let rows = diagnosis_row::Entity::find()
            .filter(Column::HospitalId.eq(hospital_id.as_str()))
            .filter(Column::PatientId.is_in(ids(patients)))
            .filter(Column::Marking.is_not_null())
            .filter(Condition::all().add_option(since))
            .order_by_desc(Column::DiagnosisId)
            .limit(limit(span))
            .all(&transaction)
            .await
            .map_err(failed("list diagnoses of a patient"))?;
        commit(transaction).await?;
        if rows.len() > span.max {
            return Err(FhirError::TooLarge { what: "diagnoses" });
        }
        let mut found = Vec::new();
        for row in rows {
            found.extend(diagnosis_from_row(row)?.marking.map(|marking| marking.segmentation_id));
        }
        Ok(found)
    }
}
