//! Two studies of one patient, looked up and compared.

use neurotriage_domain::{DiagnosisId, PatientId, SegmentationId};
use neurotriage_service_kit::audit::Call;
use time::Date;

use super::{Diagnoser, DiagnosisError, DiagnosisSources, DiagnosisStore};
use crate::{
    assessment::same_patient,
    growth::{self, DateOrigin, Growth, Scan},
    measurement::Marking,
};

/// Which study to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparedSource {
    /// That of a diagnosis.
    Diagnosis(DiagnosisId),
    /// That of a segmentation.
    Segmentation(SegmentationId),
}

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparisonRequest {
    /// The earlier study.
    pub earlier: ComparedSource,
    /// The later one.
    pub later: ComparedSource,
    /// Days of the scans; those of the uploads if `None`.
    pub acquired_on: Option<[Date; 2]>,
}

/// Two studies compared.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyComparison {
    /// Whose they are.
    pub patient_id: PatientId,
    /// The earlier study.
    pub earlier: Scan,
    /// The later one.
    pub later: Scan,
    /// What changed.
    pub growth: Growth,
}

/// A study with its owner and the day of its upload (UTC).
struct Found {
    patient_id: PatientId,
    uploaded_on: Date,
    marking: Marking,
}

impl<S: DiagnosisStore, U: DiagnosisSources> Diagnoser<S, U> {
    /// Compares two studies of one patient. Stores nothing but that it did, in the audit.
    ///
    /// # Errors
    /// [`DiagnosisError::NotFound`], [`DiagnosisError::NotSegmented`] and
    /// [`DiagnosisError::Assessment`] name what is missing or away, or the field that is wrong: both the
    /// same study, or the later one of an earlier day; [`DiagnosisError::DifferentPatients`].
    pub async fn compare_studies(
        &self,
        call: &Call,
        request: &ComparisonRequest,
    ) -> Result<StudyComparison, DiagnosisError> {
        let (earlier, later) = tokio::try_join!(
            self.compared(call, request.earlier),
            self.compared(call, request.later)
        )?;
        let patient_id = same_patient(&self.sources, earlier.patient_id, later.patient_id).await?;
        let patient_id = patient_id.ok_or(DiagnosisError::DifferentPatients)?;
        if earlier.marking.study_id == later.marking.study_id {
            return Err(DiagnosisError::field("later", "another study than the earlier one"));
        }
        let (date_origin, dates) = match request.acquired_on {
            Some(dates) => (DateOrigin::Request, dates),
            None => (DateOrigin::Upload, [earlier.uploaded_on, later.uploaded_on]),
        };
        let [earlier, later] = [(earlier, dates[0]), (later, dates[1])].map(|(found, date)| Scan {
            date,
            date_origin,
            marking: found.marking,
        });
        let growth = growth::compare(&earlier, &later).map_err(|_| {
            let text = "on the day of the earlier study or after it; exchange the two, or give the \
                        days of both scans";
            DiagnosisError::field("later.acquired_on", text)
        })?;
        let studies = [earlier.marking.study_id, later.marking.study_id];
        self.store.note_comparison(call, patient_id, studies).await?;
        Ok(StudyComparison { patient_id, earlier, later, growth })
    }

    async fn compared(&self, call: &Call, source: ComparedSource) -> Result<Found, DiagnosisError> {
        match source {
            ComparedSource::Diagnosis(diagnosis_id) => {
                let diagnosis = self.store.find_diagnosis(call, diagnosis_id).await?;
                Ok(Found {
                    patient_id: diagnosis.patient_id,
                    uploaded_on: day(diagnosis.origin.uploaded_at),
                    marking: diagnosis
                        .marking
                        .ok_or(DiagnosisError::NotSegmented { diagnosis_id })?,
                })
            }
            ComparedSource::Segmentation(segmentation_id) => {
                let marking = self.sources.marking(segmentation_id).await?;
                let study = self.sources.study(marking.study_id).await?;
                Ok(Found {
                    patient_id: study.patient_id,
                    uploaded_on: day(study.uploaded_at),
                    marking,
                })
            }
        }
    }
}

fn day(at: time::OffsetDateTime) -> Date {
    at.to_offset(time::UtcOffset::UTC).date()
}
