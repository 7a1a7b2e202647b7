//! Assessments: what is read from the other services, how it is compared, what is stored.
//!
//! Knows neither tonic nor sea-orm.

use std::{error::Error, future::Future, time::Duration};

use neurotriage_domain::{
    AssessmentId, DomainError, ErrorCode, FieldViolation, HospitalId, PatientId, SegmentationId,
    StudyId, SymptomReportId,
};
use neurotriage_service_kit::access::AccessError;
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
    /// The caller may not touch it.
    #[error(transparent)]
    Access(#[from] AccessError),
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
            Self::Access(error) => error.code(),
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
            Self::Access(error) => error.reason(),
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
            Self::Access(error) => error.metadata(),
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
            | Self::Access(_)
            | Self::Unavailable { .. }
            | Self::Store { .. } => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(error) => error.retry_after(),
            Self::Access(error) => error.retry_after(),
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

/// Where assessments are kept, each hospital's apart: of another's it knows nothing.
pub trait ReferralStore: Send + Sync + 'static {
    /// Returns an assessment; `None` if there is none.
    fn find(
        &self,
        hospital_id: &HospitalId,
        assessment_id: AssessmentId,
    ) -> impl Future<Output = Result<Option<Assessment>, AssessmentError>> + Send;

    /// Returns the assessment that a request made; `None` if it made none.
    fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<Assessment>, AssessmentError>> + Send;

    /// Stores an assessment. Returns false if its request already made one.
    fn insert(
        &self,
        hospital_id: &HospitalId,
        assessment: &Assessment,
    ) -> impl Future<Output = Result<bool, AssessmentError>> + Send;
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
    hospital_id: &HospitalId,
    request: AssessmentRequest,
) -> Result<Assessment, AssessmentError> {
    if let Some(stored) = stored_answer(store, hospital_id, request).await? {
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
    if study_patient_id != report.patient_id {
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
    // A request that ran at the same time may have been faster: the stored answer is the answer.
    store.insert(hospital_id, &assessment).await?;
    match stored_answer(store, hospital_id, request).await? {
        Some(stored) => Ok(stored),
        None => Err(AssessmentError::NotFound { assessment_id: assessment.assessment_id }),
    }
}

async fn stored_answer(
    store: &impl ReferralStore,
    hospital_id: &HospitalId,
    request: AssessmentRequest,
) -> Result<Option<Assessment>, AssessmentError> {
    match store.find_by_request(hospital_id, request.request_id).await? {
        Some(stored) if stored.request == request => Ok(Some(stored)),
        Some(_) => Err(AssessmentError::RequestReused { request_id: request.request_id }),
        None => Ok(None),
    }
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

/// Returns one assessment.
///
/// # Errors
/// [`AssessmentError::NotFound`] if the hospital has none; [`AssessmentError::Store`].
pub async fn get_assessment(
    store: &impl ReferralStore,
    hospital_id: &HospitalId,
    assessment_id: AssessmentId,
) -> Result<Assessment, AssessmentError> {
    store.find(hospital_id, assessment_id).await?.ok_or(AssessmentError::NotFound { assessment_id })
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
