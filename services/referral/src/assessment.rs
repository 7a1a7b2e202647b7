//! Assessments: what is read from the other services, how it is compared, what is stored.
//!
//! Knows neither tonic nor sea-orm.

use std::{error::Error, future::Future, time::Duration};

use neurotriage_audit::Action;
use neurotriage_domain::{
    AssessmentId, DomainError, ErrorCode, FieldViolation, PatientId, SegmentationId, StudyId,
    SymptomReportId,
};
use neurotriage_service_kit::audit::{AuditError, Call, CallError};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    crosscheck::{self, Comparison, ImageEvidence, ReportedFinding},
    directory::{DirectoryStore, StoreError},
    evidence::{EvidenceTable, Handedness},
    hospital::Coordinates,
    ranking::{self, Need, NeedLesion, Ranking, RankingRules},
};

/// Most hospitals that are ranked for one patient.
pub const HOSPITALS_MAX: u32 = 50;

/// Hospitals that are ranked if the caller does not say.
pub const HOSPITALS_DEFAULT: u32 = 5;

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Age in years from which a patient is an adult.
const ADULT_YEARS: i32 = 18;

/// Groups of the evidence table whose findings call for epilepsy surgery.
const SEIZURE_GROUPS: [&str; 1] = ["seizure"];

/// Groups of the evidence table whose findings call for neuro-ophthalmology.
const VISUAL_GROUPS: [&str; 2] = ["visual_field", "visual_perception"];

/// What to assess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssessmentRequest {
    /// Chosen by the caller, unique to this request.
    pub request_id: Uuid,
    /// The symptoms.
    pub symptom_report_id: SymptomReportId,
    /// The image.
    pub segmentation_id: SegmentationId,
    /// Most hospitals to rank, 1 to [`HOSPITALS_MAX`].
    pub hospitals_max: u32,
}

/// A symptom report, as far as it is needed here.
#[derive(Clone, PartialEq)]
pub struct SymptomReport {
    /// Whose symptoms.
    pub patient_id: PatientId,
    /// What was understood.
    pub findings: Vec<ReportedFinding>,
    /// What was not.
    pub not_understood: Vec<String>,
}

/// A patient, as far as is needed here.
#[derive(Clone, PartialEq)]
pub struct Patient {
    /// Hand the patient writes with.
    pub handedness: Handedness,
    /// Where the patient lives.
    pub home: Option<Coordinates>,
    /// When the patient was born.
    pub birth_date: Option<Date>,
}

/// A segmentation, as far as it is needed here.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// The study that was segmented.
    pub study_id: StudyId,
    /// Model that made the mask.
    pub model_id: String,
    /// What the image shows, for the comparison.
    pub image: ImageEvidence,
    /// The same lesions, as far as a referral depends on them.
    pub lesions: Vec<NeedLesion>,
}

/// What an assessment is made by.
#[derive(Clone, Debug, PartialEq)]
pub struct Knowledge {
    /// How strongly findings point to structures.
    pub evidence: EvidenceTable,
    /// How hospitals are ranked.
    pub ranking: RankingRules,
}

/// What was found, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Image and symptoms compared.
    pub comparison: Comparison,
    /// Hospitals, best first.
    pub ranking: Ranking,
    /// Pieces of the symptom text that were not understood.
    pub not_understood: Vec<String>,
    /// Version of the evidence table.
    pub evidence_version: String,
    /// Model that made the mask.
    pub model_id: String,
}

/// One stored assessment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Its identifier.
    pub assessment_id: AssessmentId,
    /// When it was stored.
    pub created_at: OffsetDateTime,
    /// Whose it is.
    pub patient_id: PatientId,
    /// What was asked.
    pub request: AssessmentRequest,
    /// What was found.
    pub findings: Findings,
}

/// A thing that another service keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A symptom report of the records service.
    SymptomReport,
    /// A patient of the records service.
    Patient,
    /// A segmentation of the segmentation service.
    Segmentation,
    /// A study of the ingestion service.
    Study,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Self::SymptomReport => "symptom report",
            Self::Patient => "patient",
            Self::Segmentation => "segmentation",
            Self::Study => "study",
        }
    }
}

/// Why an operation on assessments failed.
#[derive(Debug, thiserror::Error)]
pub enum AssessmentError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", list(.0))]
    Invalid(Vec<FieldViolation>),
    /// No such assessment.
    #[error("assessment {assessment_id} not found")]
    NotFound {
        /// The assessment asked for.
        assessment_id: AssessmentId,
    },
    /// Another service does not have what is needed.
    #[error("{} {id} not found", .kept.name())]
    Missing {
        /// What is needed.
        kept: Kept,
        /// Its identifier.
        id: Uuid,
    },
    /// Report and study are of two patients.
    #[error("symptom report and study are of different patients; choose both of one patient")]
    DifferentPatients,
    /// The request id was used for something else.
    #[error("request id {request_id} was used for another assessment; choose a new one")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// Another service failed.
    #[error("{0}")]
    Upstream(Box<dyn DomainError>),
    /// Another service answered something that its contract rules out.
    #[error("read the answer of the {service} service: {what}")]
    Malformed {
        /// Which service.
        service: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The call can't be answered for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed.
    #[error("{operation}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

fn list(violations: &[FieldViolation]) -> String {
    let parts: Vec<String> = violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.description))
        .collect();
    parts.join("; ")
}

impl From<StoreError> for AssessmentError {
    fn from(error: StoreError) -> Self {
        let StoreError { operation, is_away, source } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
    }
}

impl From<AuditError> for AssessmentError {
    fn from(error: AuditError) -> Self {
        let AuditError { operation, source, is_away } = error;
        if is_away {
            Self::Unavailable { operation, source }
        } else {
            Self::Store { operation, source }
        }
    }
}

impl AssessmentError {
    /// Returns the error for one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let (field, description) = (field.to_owned(), description.into());
        Self::Invalid(vec![FieldViolation { field, description }])
    }
}

impl DomainError for AssessmentError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } | Self::Missing { .. } => ErrorCode::NotFound,
            Self::DifferentPatients => ErrorCode::FailedPrecondition,
            Self::RequestReused { .. } => ErrorCode::AlreadyExists,
            Self::Upstream(error) => error.code(),
            Self::Call(error) => error.code(),
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Malformed { .. } | Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound { .. } => "ASSESSMENT_NOT_FOUND",
            Self::Missing { kept: Kept::SymptomReport, .. } => "SYMPTOM_REPORT_NOT_FOUND",
            Self::Missing { kept: Kept::Patient, .. } => "PATIENT_NOT_FOUND",
            Self::Missing { kept: Kept::Segmentation, .. } => "SEGMENTATION_NOT_FOUND",
            Self::Missing { kept: Kept::Study, .. } => "STUDY_NOT_FOUND",
            Self::DifferentPatients => "DIFFERENT_PATIENTS",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::Upstream(error) => error.reason(),
            Self::Malformed { .. } => "UPSTREAM_MALFORMED",
            Self::Call(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { assessment_id } => vec![("assessmentId", assessment_id.to_string())],
            Self::Missing { id, .. } => vec![("id", id.to_string())],
            Self::RequestReused { request_id } => vec![("requestId", request_id.to_string())],
            Self::Upstream(error) => error.metadata(),
            Self::Call(error) => error.metadata(),
            Self::Invalid(_)
            | Self::DifferentPatients
            | Self::Malformed { .. }
            | Self::Unavailable { .. }
            | Self::Store { .. } => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::NotFound { .. }
            | Self::Missing { .. }
            | Self::DifferentPatients
            | Self::RequestReused { .. }
            | Self::Upstream(_)
            | Self::Malformed { .. }
            | Self::Call(_)
            | Self::Unavailable { .. }
            | Self::Store { .. } => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(error) => error.retry_after(),
            Self::Call(error) => error.retry_after(),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::Missing { .. }
            | Self::DifferentPatients
            | Self::RequestReused { .. }
            | Self::Malformed { .. }
            | Self::Store { .. } => None,
        }
    }
}

/// What the other services know. Every call has a deadline.
pub trait Sources: Send + Sync + 'static {
    /// Returns a symptom report.
    fn symptom_report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> impl Future<Output = Result<SymptomReport, AssessmentError>> + Send;

    /// Returns a patient.
    fn patient(
        &self,
        patient_id: PatientId,
    ) -> impl Future<Output = Result<Patient, AssessmentError>> + Send;

    /// Returns whom the id of a patient means: themselves, or after a merge who remains.
    fn remaining_patient(
        &self,
        patient_id: PatientId,
    ) -> impl Future<Output = Result<PatientId, AssessmentError>> + Send;

    /// Returns a segmentation.
    fn segmentation(
        &self,
        segmentation_id: SegmentationId,
    ) -> impl Future<Output = Result<Segmentation, AssessmentError>> + Send;

    /// Returns whose study it is.
    fn patient_of_study(
        &self,
        study_id: StudyId,
    ) -> impl Future<Output = Result<PatientId, AssessmentError>> + Send;
}

/// Where assessments are kept, each hospital's apart: of another's it knows nothing. Every answer is in the audit, and
/// what a call may not touch too.
pub trait ReferralStore: Send + Sync + 'static {
    /// Returns an assessment.
    ///
    /// # Errors
    /// [`AssessmentError::NotFound`] if the hospital has none; [`AssessmentError::Call`] if it is of a patient whom
    /// the call may not touch; [`AssessmentError::Store`].
    fn find(
        &self,
        call: &Call,
        assessment_id: AssessmentId,
    ) -> impl Future<Output = Result<Assessment, AssessmentError>> + Send;

    /// Returns once more what a request made; `None` if it made nothing.
    ///
    /// # Errors
    /// [`AssessmentError::RequestReused`] if it asked for something else; [`AssessmentError::Call`];
    /// [`AssessmentError::Store`].
    fn find_answer(
        &self,
        call: &Call,
        request: &AssessmentRequest,
    ) -> impl Future<Output = Result<Option<Assessment>, AssessmentError>> + Send;

    /// Stores an assessment and returns it as it is stored; `None` if its request already made one.
    fn insert(
        &self,
        call: &Call,
        assessment: &Assessment,
    ) -> impl Future<Output = Result<Option<Assessment>, AssessmentError>> + Send;

    /// Notes that a call may not touch a patient. Returns `error`, or why that could not be noted.
    fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: CallError,
    ) -> impl Future<Output = AssessmentError> + Send;
}

/// Returns the patient whom two ids mean, if they mean one: it is the same id, or after a merge an old id of theirs.
///
/// # Errors
/// [`AssessmentError::Upstream`] if the records service is away.
pub(crate) async fn same_patient(
    sources: &impl Sources,
    one: PatientId,
    other: PatientId,
) -> Result<Option<PatientId>, AssessmentError> {
    if one == other {
        return Ok(Some(one));
    }
    let remaining = async |patient_id| match sources.remaining_patient(patient_id).await {
        Ok(patient_id) => Ok(Some(patient_id)),
        Err(AssessmentError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let one = remaining(one).await?;
    let other = remaining(other).await?;
    Ok(one.filter(|one| Some(*one) == other))
}

/// Assesses one patient of a hospital and stores the answer. A repeated request returns what is stored.
///
/// # Errors
/// [`AssessmentError::Missing`] names what another service lacks;
/// [`AssessmentError::DifferentPatients`]; [`AssessmentError::RequestReused`];
/// [`AssessmentError::Upstream`] if a service is away; [`AssessmentError::Store`].
pub async fn assess(
    store: &(impl ReferralStore + DirectoryStore),
    sources: &impl Sources,
    knowledge: &Knowledge,
    call: &Call,
    request: AssessmentRequest,
) -> Result<Assessment, AssessmentError> {
    if let Some(stored) = store.find_answer(call, &request).await? {
        return Ok(stored);
    }
    let (report, segmentation) = tokio::try_join!(
        sources.symptom_report(request.symptom_report_id),
        sources.segmentation(request.segmentation_id),
    )?;
    let (patient, study_patient_id) = tokio::try_join!(
        sources.patient(report.patient_id),
        sources.patient_of_study(segmentation.study_id),
    )?;
    if same_patient(sources, study_patient_id, report.patient_id).await?.is_none() {
        return Err(AssessmentError::DifferentPatients);
    }
    let directory = store.snapshot().await?;
    let Knowledge { evidence: table, ranking: rules } = knowledge;
    let created_at = OffsetDateTime::now_utc();
    let patient_id = report.patient_id;
    let hospitals_max = usize::try_from(request.hospitals_max).unwrap_or(usize::MAX);
    let comparison =
        crosscheck::compare(table, &report.findings, patient.handedness, &segmentation.image);
    let need = need(table, &comparison, segmentation.lesions, &patient, created_at.date());
    let ranking = ranking::rank(rules, &need, directory.hospitals(), hospitals_max);
    let assessment = Assessment {
        assessment_id: AssessmentId::generate(),
        created_at,
        patient_id,
        request,
        findings: Findings {
            comparison,
            ranking,
            not_understood: report.not_understood,
            evidence_version: table.version().to_owned(),
            model_id: segmentation.model_id,
        },
    };
    if let Some(stored) = store.insert(call, &assessment).await? {
        return Ok(stored);
    }
    // The same request at the same time was faster: the stored answer is the answer.
    let assessment_id = assessment.assessment_id;
    let stored = store.find_answer(call, &request).await?;
    stored.ok_or(AssessmentError::NotFound { assessment_id })
}

fn need(
    table: &EvidenceTable,
    comparison: &Comparison,
    lesions: Vec<NeedLesion>,
    patient: &Patient,
    today: Date,
) -> Need {
    let reported = |groups: &[&str]| {
        comparison.findings.iter().any(|fit| {
            fit.finding.present
                && table
                    .finding(&fit.finding.finding_id)
                    .is_some_and(|row| groups.contains(&row.group.as_str()))
        })
    };
    Need {
        site: comparison.confirmed_site,
        lesions,
        language_left: table.language_left(patient.handedness),
        urgency: comparison.urgency,
        is_child: patient.birth_date.is_some_and(|birth| age_years(birth, today) < ADULT_YEARS),
        has_seizures: reported(&SEIZURE_GROUPS),
        has_visual_signs: reported(&VISUAL_GROUPS),
        home: patient.home,
    }
}

/// Returns completed years.
fn age_years(birth: Date, today: Date) -> i32 {
    let birthday_to_come =
        (u8::from(today.month()), today.day()) < (u8::from(birth.month()), birth.day());
    today.year() - birth.year() - i32::from(birthday_to_come)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn age_counts_completed_years() {
        // (what the row is for, born, today, years)
        let table = [
            ("day before", date!(2008 - 11 - 22), date!(2026 - 11 - 21), 17),
            ("birthday", date!(2008 - 11 - 22), date!(2026 - 11 - 22), 18),
            ("leap day", date!(2008 - 02 - 29), date!(2026 - 02 - 28), 17),
            ("after leap day", date!(2008 - 02 - 29), date!(2026 - 03 - 01), 18),
        ];
        for (case, birth, today, years) in table {
            assert_eq!(age_years(birth, today), years, "case: {case}");
        }
    }
}
