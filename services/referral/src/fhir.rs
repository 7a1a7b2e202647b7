//! Records in and out as FHIR: what a story is made of, and what a bundle changes.
//!
//! Knows neither tonic nor sea-orm; the form is `neurotriage-fhir`'s.

pub mod export;
pub mod import;

use std::{error::Error, future::Future, time::Duration};

use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, PatientId, SegmentationId};
use neurotriage_fhir::{
    bundle::BundleError,
    finding::{StoredNote, StoredReport, SymptomReport},
    patient::{MedicalRecordNumber, Patient, StoredPatient},
    story::{Segmentation, Study},
};
use neurotriage_service_kit::audit::{AuditError, Call, CallError};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    assessment::{Assessment, AssessmentError},
    directory::{DirectoryError, StoreError},
    lifecycle::LifecycleError,
};

/// When to try again while as many calls as allowed run.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum FhirError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", shown(.0))]
    Invalid(Vec<FieldViolation>),
    /// No such patient.
    #[error("patient {patient_id} not found")]
    PatientNotFound {
        /// The patient asked for.
        patient_id: PatientId,
    },
    /// The bundle as a whole cannot be used.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// The story does not fit in one bundle.
    #[error(
        "story is too large for one bundle ({what}); ask for fewer parts or a later created_from"
    )]
    TooLarge {
        /// Which part is too large.
        what: &'static str,
    },
    /// As many exports as allowed run.
    #[error("as many exports as allowed run; try again")]
    ExportsBusy,
    /// As many imports as allowed run.
    #[error("as many imports as allowed run; try again")]
    ImportsBusy,
    /// The time was not enough.
    #[error("not done after {seconds} s; ask for less, or allow more time")]
    TooSlow {
        /// The time there was.
        seconds: u64,
    },
    /// Another service does not allow its part of the call.
    #[error("{service} service refuses its part: {message}")]
    Denied {
        /// Which service.
        service: &'static str,
        /// What the token lacks.
        message: String,
    },
    /// Another part or service failed.
    #[error("{0}")]
    Failed(Box<dyn DomainError>),
    /// Another service answered something that its contract rules out.
    #[error("read the answer of the {service} service: {what}")]
    Malformed {
        /// Which service.
        service: &'static str,
        /// What is wrong with it.
        what: &'static str,
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

fn shown(violations: &[FieldViolation]) -> String {
    let parts = violations.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description));
    parts.collect::<Vec<_>>().join("; ")
}

impl FhirError {
    /// Returns the error for one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let (field, description) = (field.to_owned(), description.into());
        Self::Invalid(vec![FieldViolation { field, description }])
    }
}

impl From<StoreError> for FhirError {
    fn from(error: StoreError) -> Self {
        Self::Failed(Box::new(DirectoryError::Store(error)))
    }
}

macro_rules! failed_parts {
    ($($error:ty),*) => {
        $(impl From<$error> for FhirError {
            fn from(error: $error) -> Self {
                Self::Failed(Box::new(error))
            }
        })*
    };
}
failed_parts!(AssessmentError, CallError, DirectoryError, LifecycleError);

impl From<AuditError> for FhirError {
    fn from(error: AuditError) -> Self {
        AssessmentError::from(error).into()
    }
}

impl DomainError for FhirError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Bundle(_) => ErrorCode::InvalidArgument,
            Self::PatientNotFound { .. } => ErrorCode::NotFound,
            Self::TooLarge { .. } => ErrorCode::FailedPrecondition,
            Self::ExportsBusy | Self::ImportsBusy => ErrorCode::ResourceExhausted,
            Self::TooSlow { .. } => ErrorCode::DeadlineExceeded,
            Self::Denied { .. } => ErrorCode::PermissionDenied,
            Self::Failed(error) => error.code(),
            Self::Malformed { .. } | Self::Store { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::PatientNotFound { .. } => "PATIENT_NOT_FOUND",
            Self::Bundle(_) => "BUNDLE_UNREADABLE",
            Self::TooLarge { .. } => "EXPORT_TOO_LARGE",
            Self::ExportsBusy => "EXPORTS_BUSY",
            Self::ImportsBusy => "IMPORTS_BUSY",
            Self::TooSlow { .. } => "TOO_SLOW",
            Self::Denied { .. } => "UPSTREAM_DENIED",
            Self::Failed(error) => error.reason(),
            Self::Malformed { .. } => "UPSTREAM_MALFORMED",
            Self::Store { .. } => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::PatientNotFound { patient_id } => vec![("patientId", patient_id.to_string())],
            Self::Failed(error) => error.metadata(),
            Self::Invalid(_)
            | Self::Bundle(_)
            | Self::TooLarge { .. }
            | Self::ExportsBusy
            | Self::ImportsBusy
            | Self::TooSlow { .. }
            | Self::Denied { .. }
            | Self::Malformed { .. }
            | Self::Store { .. } => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::Failed(error) => error.field_violations(),
            Self::PatientNotFound { .. }
            | Self::Bundle(_)
            | Self::TooLarge { .. }
            | Self::ExportsBusy
            | Self::ImportsBusy
            | Self::TooSlow { .. }
            | Self::Denied { .. }
            | Self::Malformed { .. }
            | Self::Store { .. } => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ExportsBusy | Self::ImportsBusy => Some(RETRY_AFTER),
            Self::Failed(error) => error.retry_after(),
            Self::Invalid(_)
            | Self::PatientNotFound { .. }
            | Self::Bundle(_)
            | Self::TooLarge { .. }
            | Self::TooSlow { .. }
            | Self::Denied { .. }
            | Self::Malformed { .. }
            | Self::Store { .. } => None,
        }
    }
}

/// How much of something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Only what was stored then or later.
    pub from: Option<OffsetDateTime>,
    /// Most that may be returned; there is an error if there is more.
    pub max: usize,
}

/// What the other services know of a patient. Every call has a deadline.
pub trait StorySources: Clone + Send + Sync + 'static {
    /// Returns the patient; one who was merged into another is that other.
    fn stored_patient(
        &self,
        patient_id: PatientId,
    ) -> impl Future<Output = Result<StoredPatient, FhirError>> + Send;

    /// Returns the patient's symptom reports, newest first.
    fn stored_reports(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> impl Future<Output = Result<Vec<StoredReport>, FhirError>> + Send;

    /// Returns the notes on the patient, newest first.
    fn stored_notes(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> impl Future<Output = Result<Vec<StoredNote>, FhirError>> + Send;

    /// Returns the studies linked to the patient, without their images, newest first.
    fn linked_studies(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> impl Future<Output = Result<Vec<Study>, FhirError>> + Send;

    /// Returns the studies that were uploaded for the patient, newest first.
    fn uploaded_studies(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> impl Future<Output = Result<Vec<Study>, FhirError>> + Send;

    /// Returns a segmentation; `None` if there is none.
    fn found_segmentation(
        &self,
        segmentation_id: SegmentationId,
    ) -> impl Future<Output = Result<Option<Segmentation>, FhirError>> + Send;
}

/// What this service keeps of the patients of the hospital that calls. Every answer is in the audit.
pub trait StoryStore: Send + Sync + 'static {
    /// Returns the assessments of any of `patients`, newest first.
    fn assessments_of(
        &self,
        call: &Call,
        patients: &[PatientId],
        span: Span,
    ) -> impl Future<Output = Result<Vec<Assessment>, FhirError>> + Send;

    /// Returns the segmentations of their diagnoses, newest diagnosis first.
    fn segmentations_of(
        &self,
        call: &Call,
        patients: &[PatientId],
        span: Span,
    ) -> impl Future<Output = Result<Vec<SegmentationId>, FhirError>> + Send;

    /// Notes that these parts of a patient's story leave the system.
    fn note_export(
        &self,
        call: &Call,
        patient_id: PatientId,
        parts: &[&'static str],
    ) -> impl Future<Output = Result<(), FhirError>> + Send;

    /// Notes that a call may not touch a patient. Returns `error`, or why that could not be noted.
    fn deny_export(
        &self,
        call: &Call,
        patient_id: PatientId,
        error: CallError,
    ) -> impl Future<Output = FhirError> + Send;
}

/// Something to create in the records.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// The same for the same content.
    pub request_id: Uuid,
    /// What.
    pub what: Created,
}

/// What is created.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    /// A patient.
    Patient(Box<Patient>),
    /// A symptom report.
    Report(PatientId, Box<SymptomReport>),
    /// A note.
    Note(PatientId, String),
}

/// Why the records refused to create something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCreate {
    /// Stable reason.
    pub reason: String,
    /// What is wrong, or for each field what would be right; no patient data.
    pub problems: Vec<String>,
}

/// Where patients and their records are kept.
pub trait Records: Send + Sync + 'static {
    /// Returns the patient who has a number, with what is known of them.
    fn find_patient(
        &self,
        number: &MedicalRecordNumber,
    ) -> impl Future<Output = Result<Option<StoredPatient>, FhirError>> + Send;

    /// Returns the newest reports of a patient, at most `max`, each with its id.
    fn newest_reports(
        &self,
        patient_id: PatientId,
        max: usize,
    ) -> impl Future<Output = Result<Vec<StoredReport>, FhirError>> + Send;

    /// Returns the newest notes on a patient, at most `max`, each with its id.
    fn newest_notes(
        &self,
        patient_id: PatientId,
        max: usize,
    ) -> impl Future<Output = Result<Vec<StoredNote>, FhirError>> + Send;

    /// Creates each, or says why not; in order.
    fn create(
        &self,
        creates: Vec<Create>,
    ) -> impl Future<Output = Result<Vec<Result<Uuid, RefusedCreate>>, FhirError>> + Send;
}
