//! Diagnoses: one study taken through segmentation and assessment, and stored with what it rests on.
//!
//! Knows neither tonic nor sea-orm. Every step is stored when it is done, so that a repeated request goes
//! on from there: segmentation answers a study once for each model, and the assessment's request id
//! is derived from the diagnosis's.
//!
//! Calls for one request wait for one another within this process alone: each works by its own caller's
//! deadline when its turn comes, and nothing runs for a caller that has gone. Two replicas may both ask
//! the network for one study at a time; what is stored first is the answer of both.

mod comparison;
mod error;
mod running;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use neurotriage_audit::Action;
use neurotriage_domain::{
    AssessmentId, BlobDigest, DiagnosisId, DomainError as _, ErrorCode, PatientId, SegmentationId,
    StudyId, SymptomReportId,
};
use neurotriage_service_kit::audit::Call;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{sync::Semaphore, time::timeout_at};
use uuid::Uuid;

use self::running::Running;
pub use self::{
    comparison::{ComparedSource, ComparisonRequest, StudyComparison},
    error::DiagnosisError,
};
use crate::{
    assessment::{
        self, Assessment, AssessmentError, AssessmentRequest, Knowledge, ReferralStore, Sources,
    },
    directory::DirectoryStore,
    measurement::Marking,
};

/// Version of the code that compares and ranks.
pub const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name under which the assessment's request id is derived.
const ASSESSMENT_NAME: &[u8] = b"assessment";

/// How close to the deadline a service that does not answer is taken for the deadline itself: both sides
/// count the same time.
const LATE: Duration = Duration::from_millis(100);

/// What to diagnose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagnosisRequest {
    /// Chosen by the caller, unique to this diagnosis.
    pub request_id: Uuid,
    /// The images.
    pub study_id: StudyId,
    /// The symptoms.
    pub symptom_report_id: SymptomReportId,
    /// Most hospitals to rank, 1 to [`assessment::HOSPITALS_MAX`].
    pub hospitals_max: u32,
    /// Model that shall mark the tumour; the one that serves if `None`.
    pub model_id: Option<String>,
}

/// What a diagnosis is made from, as found when it was begun.
///
/// Stored as JSON: fields are added with a default, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When the study was uploaded.
    #[serde(with = "time::serde::rfc3339")]
    pub uploaded_at: OffsetDateTime,
    /// The prepared study that the network reads.
    pub prepared_digest: BlobDigest,
    /// How it was prepared: profile and version.
    pub preparation: String,
    /// Version of the lexicon that coded the symptoms.
    pub lexicon_version: String,
}

/// One stored diagnosis.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Its identifier.
    pub diagnosis_id: DiagnosisId,
    /// When it was begun.
    pub created_at: OffsetDateTime,
    /// Whose it is.
    pub patient_id: PatientId,
    /// What was asked.
    pub request: DiagnosisRequest,
    /// What it is made from.
    pub origin: Origin,
    /// What the image shows; `None` until the study is segmented.
    pub marking: Option<Marking>,
    /// How it ended; `None` until it is finished.
    pub ending: Option<Ending>,
}

/// How a diagnosis ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Image and symptoms compared, hospitals ranked.
    pub assessment_id: AssessmentId,
    /// When.
    pub finished_at: OffsetDateTime,
    /// Version of the code that compared and ranked.
    pub code_version: String,
}

/// A diagnosis with its assessment, which it has when it is finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The diagnosis.
    pub diagnosis: Diagnosis,
    /// Its assessment.
    pub assessment: Option<Assessment>,
}

/// Steps of a diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Study and report are looked up.
    Check,
    /// The study waits for the network.
    Queue,
    /// The network runs.
    Segment,
    /// Regions are looked up and the mask is stored.
    Localise,
    /// Image and symptoms are compared.
    Assess,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepProgress {
    /// The step.
    pub step: Step,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
}

/// How far a diagnosis has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which diagnosis.
    pub diagnosis_id: DiagnosisId,
    /// How far.
    pub at: StepProgress,
}

/// Where a study comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyOrigin {
    /// Whose it is.
    pub patient_id: PatientId,
    /// When it was uploaded.
    pub uploaded_at: OffsetDateTime,
    /// What the network reads of it.
    pub prepared_digest: BlobDigest,
    /// Profile and version.
    pub preparation: String,
}

/// Where a symptom report comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOrigin {
    /// Whose it is.
    pub patient_id: PatientId,
    /// Version of the lexicon that coded it.
    pub lexicon_version: String,
}

/// Who is told how a segmentation comes along.
pub type Tell<'a> = &'a (dyn Fn(StepProgress) + Send + Sync);

/// What the other services know and do.
pub trait DiagnosisSources: Sources + Sized {
    /// Returns the same sources, whose calls end at `deadline` if not before.
    #[must_use]
    fn until(&self, deadline: Instant) -> Self;

    /// Returns where a study comes from.
    fn study(
        &self,
        study_id: StudyId,
    ) -> impl Future<Output = Result<StudyOrigin, AssessmentError>> + Send;

    /// Returns where a symptom report comes from.
    fn report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> impl Future<Output = Result<ReportOrigin, AssessmentError>> + Send;

    /// Returns the model that serves.
    fn serving_model(&self) -> impl Future<Output = Result<String, AssessmentError>> + Send;

    /// Segments a study, or returns what the same model made of it before. Dropping the future
    /// cancels the work.
    fn segment_study(
        &self,
        study_id: StudyId,
        tell: Tell<'_>,
    ) -> impl Future<Output = Result<Marking, AssessmentError>> + Send;

    /// Returns what a segmentation shows.
    fn marking(
        &self,
        segmentation_id: SegmentationId,
    ) -> impl Future<Output = Result<Marking, AssessmentError>> + Send;
}

/// Where diagnoses are kept, each hospital's apart. Every answer is in the audit, and what a call may not touch too.
pub trait DiagnosisStore: ReferralStore + DirectoryStore {
    /// Returns a diagnosis.
    ///
    /// # Errors
    /// [`DiagnosisError::NotFound`] if the hospital has none; [`DiagnosisError::Assessment`], also if it is of a
    /// patient whom the call may not touch.
    fn find_diagnosis(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
    ) -> impl Future<Output = Result<Diagnosis, DiagnosisError>> + Send;

    /// Returns a diagnosis with its assessment.
    ///
    /// # Errors
    /// As [`DiagnosisStore::find_diagnosis`].
    fn find_diagnosis_answer(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
    ) -> impl Future<Output = Result<Answer, DiagnosisError>> + Send;

    /// Returns once more what a request made, if that is finished.
    ///
    /// # Errors
    /// [`DiagnosisError::RequestReused`] if it began another diagnosis; [`DiagnosisError::Assessment`].
    fn find_finished(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
    ) -> impl Future<Output = Result<Option<Answer>, DiagnosisError>> + Send;

    /// Returns the diagnosis that a request began, to go on with it; `None` if it began none.
    ///
    /// # Errors
    /// As [`DiagnosisStore::find_finished`].
    fn find_begun(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
    ) -> impl Future<Output = Result<Option<Diagnosis>, DiagnosisError>> + Send;

    /// Stores a diagnosis that was begun and returns it as it is stored; `None` if its request already began one.
    fn insert_diagnosis(
        &self,
        call: &Call,
        diagnosis: &Diagnosis,
    ) -> impl Future<Output = Result<Option<Diagnosis>, DiagnosisError>> + Send;

    /// Adds what the image shows, unless it is there already. Returns the diagnosis after it.
    fn add_marking(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
        marking: &Marking,
    ) -> impl Future<Output = Result<Diagnosis, DiagnosisError>> + Send;

    /// Adds how it ended, unless it has ended already. Returns the diagnosis after it.
    fn add_ending(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
        ending: &Ending,
    ) -> impl Future<Output = Result<Diagnosis, DiagnosisError>> + Send;

    /// Notes that two studies of a patient are compared, the earlier one first.
    ///
    /// # Errors
    /// [`DiagnosisError::Assessment`], also if the call may not touch the patient.
    fn note_comparison(
        &self,
        call: &Call,
        patient_id: PatientId,
        studies: [StudyId; 2],
    ) -> impl Future<Output = Result<(), DiagnosisError>> + Send;
}

/// How much is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagnosisLimits {
    /// Most calls of `Diagnose` that work or watch at a time.
    pub running_max: usize,
    /// Longest time for one call, whatever its caller allows.
    pub time_max: Duration,
}

impl Default for DiagnosisLimits {
    /// 32 calls, which with a queue of 8 studies mostly watch and wait; an hour, as a study may take on a
    /// slow CPU with others before it.
    fn default() -> Self {
        Self { running_max: 32, time_max: Duration::from_secs(60 * 60) }
    }
}

/// Takes studies through the whole path.
#[derive(Debug)]
pub struct Diagnoser<S, U> {
    store: S,
    sources: U,
    knowledge: Knowledge,
    time_max: Duration,
    slots: Semaphore,
    running: Running,
}

impl<S: DiagnosisStore, U: DiagnosisSources> Diagnoser<S, U> {
    /// Works with `store` and `sources` by what `knowledge` says.
    pub fn new(store: S, sources: U, knowledge: Knowledge, limits: DiagnosisLimits) -> Self {
        let DiagnosisLimits { running_max, time_max } = limits;
        let slots = Semaphore::new(running_max);
        Self { store, sources, knowledge, time_max, slots, running: Running::default() }
    }

    /// Checks that a call may touch the patient of a study: whose the study is, the diagnosis is, which refuses a report
    /// of another patient.
    ///
    /// # Errors
    /// [`DiagnosisError::Assessment`] if it may not, the study is missing, or ingestion is away.
    pub async fn check_patient(
        &self,
        call: &Call,
        study_id: StudyId,
    ) -> Result<(), DiagnosisError> {
        let patient_id = self.sources.study(study_id).await?.patient_id;
        let Err(error) = call.check_patient(patient_id) else { return Ok(()) };
        Err(self.store.deny(call, Action::Create, patient_id, error).await.into())
    }

    /// Takes a study of the hospital that calls through the whole path, within `time` if the caller set one.
    ///
    /// A repeated request returns what is stored, or goes on from it. Of several calls for one
    /// request one works and the others watch; when it goes, the next takes over. Dropping the future
    /// drops the calls to other services.
    ///
    /// # Errors
    /// [`DiagnosisError::RequestReused`], [`DiagnosisError::OtherModel`], [`DiagnosisError::Busy`],
    /// [`DiagnosisError::DeadlineExceeded`], or [`DiagnosisError::Assessment`] for what is missing
    /// or away.
    pub async fn diagnose(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
        time: Option<Duration>,
        watch: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        let deadline = Instant::now() + time.map_or(self.time_max, |time| time.min(self.time_max));
        let late = || DiagnosisError::DeadlineExceeded { request_id: request.request_id };
        match timeout_at(deadline.into(), self.answer(call, request, deadline, watch)).await {
            Ok(Err(error))
                if error.code() == ErrorCode::Unavailable && Instant::now() + LATE >= deadline =>
            {
                Err(late())
            }
            Ok(outcome) => outcome,
            Err(_) => Err(late()),
        }
    }

    async fn answer(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
        deadline: Instant,
        watch: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        if let Some(finished) = self.store.find_finished(call, request).await? {
            return Ok(finished);
        }
        let _slot = self.slots.try_acquire().map_err(|_| DiagnosisError::Busy)?;
        let seat = self.running.join(&call.hospital_id, request.request_id);
        let _turn = seat.turn(watch).await;
        // Whoever had the turn before may have finished.
        if let Some(finished) = self.store.find_finished(call, request).await? {
            return Ok(finished);
        }
        let tell = |progress: Progress| {
            watch(progress);
            seat.tell(progress);
        };
        self.work(call, request, &self.sources.until(deadline), &tell).await
    }

    /// Does what is not done yet, step by step.
    async fn work(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
        sources: &U,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        let diagnosis = match self.store.find_begun(call, request).await? {
            Some(begun) => begun,
            None => self.begin(call, request, sources).await?,
        };
        let diagnosis_id = diagnosis.diagnosis_id;
        let report = |at: StepProgress| tell(Progress { diagnosis_id, at });
        report(StepProgress { step: Step::Check, done: 1, total: 1 });
        let marking = match diagnosis.marking {
            Some(marking) => marking,
            None => self.mark(call, request, diagnosis_id, sources, &report).await?,
        };

        report(StepProgress { step: Step::Assess, done: 0, total: 1 });
        let assessment_request = AssessmentRequest {
            request_id: Uuid::new_v5(&request.request_id, ASSESSMENT_NAME),
            symptom_report_id: request.symptom_report_id,
            segmentation_id: marking.segmentation_id,
            hospitals_max: request.hospitals_max,
        };
        let (store, knowledge) = (&self.store, &self.knowledge);
        let assessment =
            assessment::assess(store, sources, knowledge, call, assessment_request).await?;
        let ending = Ending {
            assessment_id: assessment.assessment_id,
            finished_at: OffsetDateTime::now_utc(),
            code_version: CODE_VERSION.to_owned(),
        };
        // Another replica may have been faster, with the same assessment: the stored answer is the answer.
        let diagnosis = store.add_ending(call, diagnosis_id, &ending).await?;
        Ok(Answer { diagnosis, assessment: Some(assessment) })
    }

    /// Looks up study and report and stores that the diagnosis was begun.
    async fn begin(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
        sources: &U,
    ) -> Result<Diagnosis, DiagnosisError> {
        let (study, report) = tokio::try_join!(
            sources.study(request.study_id),
            sources.report(request.symptom_report_id)
        )?;
        let patient_id =
            assessment::same_patient(sources, study.patient_id, report.patient_id).await?;
        let patient_id = patient_id.ok_or(AssessmentError::DifferentPatients)?;
        let diagnosis = Diagnosis {
            diagnosis_id: DiagnosisId::generate(),
            created_at: OffsetDateTime::now_utc(),
            patient_id,
            request: request.clone(),
            origin: Origin {
                uploaded_at: study.uploaded_at,
                prepared_digest: study.prepared_digest,
                preparation: study.preparation,
                lexicon_version: report.lexicon_version,
            },
            marking: None,
            ending: None,
        };
        if let Some(stored) = self.store.insert_diagnosis(call, &diagnosis).await? {
            return Ok(stored);
        }
        // Another replica began it at the same moment.
        let request_id = request.request_id;
        let begun = self.store.find_begun(call, request).await?;
        begun.ok_or(DiagnosisError::Vanished { request_id })
    }

    /// Segments the study and stores what it shows.
    async fn mark(
        &self,
        call: &Call,
        request: &DiagnosisRequest,
        diagnosis_id: DiagnosisId,
        sources: &U,
        tell: Tell<'_>,
    ) -> Result<Marking, DiagnosisError> {
        if request.model_id.is_some() {
            check_model(request, &sources.serving_model().await?)?;
        }
        let marking = sources.segment_study(request.study_id, tell).await?;
        // Another model may have begun to serve meanwhile.
        check_model(request, &marking.model_id)?;
        let stored = self.store.add_marking(call, diagnosis_id, &marking).await?;
        Ok(stored.marking.unwrap_or(marking))
    }

    /// Returns a diagnosis, finished or not.
    ///
    /// # Errors
    /// [`DiagnosisError::NotFound`] if the hospital has none.
    pub async fn get(
        &self,
        call: &Call,
        diagnosis_id: DiagnosisId,
    ) -> Result<Answer, DiagnosisError> {
        self.store.find_diagnosis_answer(call, diagnosis_id).await
    }
}

fn check_model(request: &DiagnosisRequest, found: &str) -> Result<(), DiagnosisError> {
    match &request.model_id {
        Some(wanted) if wanted != found => {
            Err(DiagnosisError::OtherModel { found: found.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}
