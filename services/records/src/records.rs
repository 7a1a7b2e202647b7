//! What may be done with patients and symptom reports.

use std::{future::Future, sync::Arc};

use neurotriage_domain::{PatientId, SymptomReportId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    coding,
    error::RecordsError,
    lexicon::Lexicon,
    patient::{Patient, PatientDetails, PatientDraft},
    symptoms::{SymptomReport, SymptomText},
};

/// Rows on a page if the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// Most rows on a page.
pub const PAGE_SIZE_MAX: u32 = 200;

/// What a create stores, and the request that asked for it.
#[derive(Clone, Debug)]
pub struct New<T> {
    /// What is stored.
    pub record: T,
    /// The request's own id.
    pub request_id: Uuid,
    /// SHA-256 of everything the request said, in hexadecimal.
    pub content_hash: String,
}

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It is stored.
    Stored,
    /// A value that must be unique is taken.
    Taken,
    /// The patient it refers to does not exist.
    NoPatient,
}

/// Where records are kept. Every write leaves an audit row in the same transaction.
pub trait RecordsStore: Send + Sync + 'static {
    /// Returns one patient.
    fn find_patient(
        &self,
        patient_id: PatientId,
    ) -> impl Future<Output = Result<Option<Patient>, RecordsError>> + Send;

    /// Returns the patient that a request made, with its content hash.
    fn find_patient_by_request(
        &self,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<(Patient, String)>, RecordsError>> + Send;

    /// Keeps a patient.
    fn insert_patient(
        &self,
        new: &New<Patient>,
    ) -> impl Future<Output = Result<Insertion, RecordsError>> + Send;

    /// Returns at most `limit` patients with ids below `before`, newest first.
    fn list_patients(
        &self,
        before: Option<PatientId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Patient>, RecordsError>> + Send;

    /// Returns one symptom report.
    fn find_report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> impl Future<Output = Result<Option<SymptomReport>, RecordsError>> + Send;

    /// Returns the report that a request made, with its content hash.
    fn find_report_by_request(
        &self,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<(SymptomReport, String)>, RecordsError>> + Send;

    /// Keeps a symptom report.
    fn insert_report(
        &self,
        new: &New<SymptomReport>,
    ) -> impl Future<Output = Result<Insertion, RecordsError>> + Send;

    /// Returns at most `limit` reports of a patient with ids below `before`, newest first.
    fn list_reports(
        &self,
        patient_id: PatientId,
        before: Option<SymptomReportId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<SymptomReport>, RecordsError>> + Send;
}

/// Registers a patient. The same request again returns the patient it made.
///
/// # Errors
/// [`RecordsError::Invalid`] names wrong fields; [`RecordsError::RequestReused`] if the request id
/// was used for other content; [`RecordsError::NumberTaken`] if the issuer's number is registered.
pub async fn create_patient(
    store: &impl RecordsStore,
    request_id: Uuid,
    draft: PatientDraft,
) -> Result<Patient, RecordsError> {
    let now = now();
    let details = PatientDetails::check(draft, now).map_err(RecordsError::Invalid)?;
    let content_hash = content_hash(&details)?;
    if let Some(made) = store.find_patient_by_request(request_id).await? {
        return repeated(made, request_id, &content_hash);
    }
    let patient =
        Patient { patient_id: PatientId::generate(), revision: 1, created_at: now, details };
    let new = New { record: patient, request_id, content_hash };
    match store.insert_patient(&new).await? {
        Insertion::Stored => return Ok(new.record),
        Insertion::Taken | Insertion::NoPatient => {}
    }
    // The same request may have run beside this one.
    match store.find_patient_by_request(request_id).await? {
        Some(made) => repeated(made, request_id, &new.content_hash),
        None => Err(RecordsError::NumberTaken),
    }
}

/// Returns one patient.
///
/// # Errors
/// [`RecordsError::PatientNotFound`] if there is none.
pub async fn get_patient(
    store: &impl RecordsStore,
    patient_id: PatientId,
) -> Result<Patient, RecordsError> {
    store.find_patient(patient_id).await?.ok_or(RecordsError::PatientNotFound { patient_id })
}

/// Returns a page of patients, newest first, and whether there are more.
///
/// # Errors
/// [`RecordsError::Invalid`] if `page_size` is above [`PAGE_SIZE_MAX`].
pub async fn list_patients(
    store: &impl RecordsStore,
    page_size: u32,
    before: Option<PatientId>,
) -> Result<(Vec<Patient>, bool), RecordsError> {
    let limit = limit(page_size)?;
    let patients = store.list_patients(before, limit + 1).await?;
    Ok(page(patients, limit))
}

/// Codes symptoms and stores them as written. The same request again returns the report it made.
///
/// # Errors
/// [`RecordsError::PatientNotFound`] if there is no such patient; [`RecordsError::RequestReused`]
/// if the request id was used for other content.
pub async fn create_report(
    store: &impl RecordsStore,
    lexicon: &Arc<Lexicon>,
    request_id: Uuid,
    patient_id: PatientId,
    text: SymptomText,
) -> Result<SymptomReport, RecordsError> {
    let content_hash = content_hash(&(patient_id, text.as_str()))?;
    if let Some(made) = store.find_report_by_request(request_id).await? {
        return repeated(made, request_id, &content_hash);
    }
    let (lexicon_version, lexicon) = (lexicon.version().to_owned(), Arc::clone(lexicon));
    // A long text takes milliseconds: too long for the runtime's threads.
    let (text, coded) = spawn_blocking(move || {
        let coded = coding::code(&lexicon, text.as_str());
        (text, coded)
    })
    .await
    .map_err(|error| RecordsError::Store { operation: "code text", source: error.into() })?;
    let report = SymptomReport {
        symptom_report_id: SymptomReportId::generate(),
        patient_id,
        created_at: now(),
        text: text.as_str().to_owned(),
        findings: coded.findings,
        not_understood: coded.not_understood,
        lexicon_version,
    };
    let new = New { record: report, request_id, content_hash };
    match store.insert_report(&new).await? {
        Insertion::Stored => return Ok(new.record),
        Insertion::NoPatient => return Err(RecordsError::PatientNotFound { patient_id }),
        Insertion::Taken => {}
    }
    // The same request ran beside this one.
    match store.find_report_by_request(request_id).await? {
        Some(made) => repeated(made, request_id, &new.content_hash),
        None => Err(RecordsError::RequestReused { request_id }),
    }
}

/// Returns one symptom report.
///
/// # Errors
/// [`RecordsError::SymptomReportNotFound`] if there is none.
pub async fn get_report(
    store: &impl RecordsStore,
    symptom_report_id: SymptomReportId,
) -> Result<SymptomReport, RecordsError> {
    let report = store.find_report(symptom_report_id).await?;
    report.ok_or(RecordsError::SymptomReportNotFound { symptom_report_id })
}

/// Returns a page of a patient's reports, newest first, and whether there are more.
///
/// # Errors
/// [`RecordsError::Invalid`] if `page_size` is above [`PAGE_SIZE_MAX`];
/// [`RecordsError::PatientNotFound`] if there is no such patient.
pub async fn list_reports(
    store: &impl RecordsStore,
    patient_id: PatientId,
    page_size: u32,
    before: Option<SymptomReportId>,
) -> Result<(Vec<SymptomReport>, bool), RecordsError> {
    let limit = limit(page_size)?;
    let reports = store.list_reports(patient_id, before, limit + 1).await?;
    if reports.is_empty() {
        get_patient(store, patient_id).await?;
    }
    Ok(page(reports, limit))
}

/// Databases keep microseconds; what is returned at once must equal what is read later.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

fn content_hash(content: &impl Serialize) -> Result<String, RecordsError> {
    let content = serde_json::to_vec(content)
        .map_err(|error| RecordsError::Store { operation: "hash request", source: error.into() })?;
    Ok(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn repeated<T>(
    (record, hash): (T, String),
    request_id: Uuid,
    content_hash: &str,
) -> Result<T, RecordsError> {
    if hash == content_hash { Ok(record) } else { Err(RecordsError::RequestReused { request_id }) }
}

fn limit(page_size: u32) -> Result<u32, RecordsError> {
    match page_size {
        0 => Ok(PAGE_SIZE_DEFAULT),
        1..=PAGE_SIZE_MAX => Ok(page_size),
        _ => Err(RecordsError::field("page_size", format!("0 to {PAGE_SIZE_MAX}"))),
    }
}

fn page<T>(mut rows: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    (rows, more)
}
