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

use neurotriage_domain::{
    AssessmentId, BlobDigest, DiagnosisId, DomainError as _, ErrorCode, HospitalId, PatientId,
    SegmentationId, StudyId, SymptomReportId,
};
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

/// Where diagnoses are kept, each hospital's apart.
pub trait DiagnosisStore: ReferralStore + DirectoryStore {
    /// Returns a diagnosis; `None` if there is none.
    fn find_diagnosis(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
    ) -> impl Future<Output = Result<Option<Diagnosis>, AssessmentError>> + Send;

    /// Returns the diagnosis that a request began; `None` if it began none.
    fn find_diagnosis_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<Diagnosis>, AssessmentError>> + Send;

    /// Stores a diagnosis that was begun. Returns false if its request already began one.
    fn insert_diagnosis(
        &self,
        hospital_id: &HospitalId,
        diagnosis: &Diagnosis,
    ) -> impl Future<Output = Result<bool, AssessmentError>> + Send;

    /// Adds what the image shows, unless it is there already.
    fn add_marking(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
        marking: &Marking,
    ) -> impl Future<Output = Result<(), AssessmentError>> + Send;

    /// Adds how it ended, unless it has ended already.
    fn add_ending(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
        ending: &Ending,
    ) -> impl Future<Output = Result<(), AssessmentError>> + Send;
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

    /// Returns whose study it is.
    ///
    /// # Errors
    /// [`DiagnosisError::Assessment`] if it is missing, or ingestion is away.
    pub async fn patient_of(&self, study_id: StudyId) -> Result<PatientId, DiagnosisError> {
        Ok(self.sources.study(study_id).await?.patient_id)
    }

    /// Takes a study of a hospital through the whole path, within `time` if the caller set one.
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
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
        time: Option<Duration>,
        watch: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        let deadline = Instant::now() + time.map_or(self.time_max, |time| time.min(self.time_max));
        let late = || DiagnosisError::DeadlineExceeded { request_id: request.request_id };
        match timeout_at(deadline.into(), self.answer(hospital_id, request, deadline, watch)).await
        {
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
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
        deadline: Instant,
        watch: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        if let Some(finished) = self.finished(hospital_id, request).await? {
            return Ok(finished);
        }
        let _slot = self.slots.try_acquire().map_err(|_| DiagnosisError::Busy)?;
        let seat = self.running.join(hospital_id, request.request_id);
        let _turn = seat.turn(watch).await;
        // Whoever had the turn before may have finished.
        if let Some(finished) = self.finished(hospital_id, request).await? {
            return Ok(finished);
        }
        let tell = |progress: Progress| {
            watch(progress);
            seat.tell(progress);
        };
        self.work(hospital_id, request, &self.sources.until(deadline), &tell).await
    }

    /// Returns the answer if the request has one.
    async fn finished(
        &self,
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
    ) -> Result<Option<Answer>, DiagnosisError> {
        match self.begun(hospital_id, request).await? {
            Some(diagnosis) if diagnosis.ending.is_some() => {
                Ok(Some(self.with(hospital_id, diagnosis).await?))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Returns what is stored of the request.
    async fn begun(
        &self,
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
    ) -> Result<Option<Diagnosis>, DiagnosisError> {
        let request_id = request.request_id;
        match self.store.find_diagnosis_by_request(hospital_id, request_id).await? {
            Some(stored) if stored.request == *request => Ok(Some(stored)),
            Some(_) => Err(DiagnosisError::RequestReused { request_id }),
            None => Ok(None),
        }
    }

    /// Returns what is stored of a request that was begun before.
    async fn again(
        &self,
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
    ) -> Result<Diagnosis, DiagnosisError> {
        let request_id = request.request_id;
        self.begun(hospital_id, request).await?.ok_or(DiagnosisError::Vanished { request_id })
    }

    async fn with(
        &self,
        hospital_id: &HospitalId,
        diagnosis: Diagnosis,
    ) -> Result<Answer, DiagnosisError> {
        let assessment = match &diagnosis.ending {
            Some(ending) => {
                let assessment_id = ending.assessment_id;
                let store = &self.store;
                Some(assessment::get_assessment(store, hospital_id, assessment_id).await?)
            }
            None => None,
        };
        Ok(Answer { diagnosis, assessment })
    }

    /// Does what is not done yet, step by step.
    async fn work(
        &self,
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
        sources: &U,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Answer, DiagnosisError> {
        let diagnosis = match self.begun(hospital_id, request).await? {
            Some(begun) => begun,
            None => self.begin(hospital_id, request, sources).await?,
        };
        let diagnosis_id = diagnosis.diagnosis_id;
        let report = |at: StepProgress| tell(Progress { diagnosis_id, at });
        report(StepProgress { step: Step::Check, done: 1, total: 1 });
        let marking = match diagnosis.marking {
            Some(marking) => marking,
            None => self.mark(hospital_id, request, diagnosis_id, sources, &report).await?,
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
            assessment::assess(store, sources, knowledge, hospital_id, assessment_request).await?;
        let ending = Ending {
            assessment_id: assessment.assessment_id,
            finished_at: OffsetDateTime::now_utc(),
            code_version: CODE_VERSION.to_owned(),
        };
        self.store.add_ending(hospital_id, diagnosis_id, &ending).await?;
        // Another replica may have been faster: the stored answer is the answer.
        self.with(hospital_id, self.again(hospital_id, request).await?).await
    }

    /// Looks up study and report and stores that the diagnosis was begun.
    async fn begin(
        &self,
        hospital_id: &HospitalId,
        request: &DiagnosisRequest,
        sources: &U,
    ) -> Result<Diagnosis, DiagnosisError> {
        let (study, report) = tokio::try_join!(
            sources.study(request.study_id),
            sources.report(request.symptom_report_id)
        )?;
        if study.patient_id != report.patient_id {
            return Err(AssessmentError::DifferentPatients.into());
        }
        let diagnosis = Diagnosis {
            diagnosis_id: DiagnosisId::generate(),
            created_at: OffsetDateTime::now_utc(),
            patient_id: study.patient_id,
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
        // Another replica may have begun it at the same moment.
        self.store.insert_diagnosis(hospital_id, &diagnosis).await?;
        self.again(hospital_id, request).await
    }

    /// Segments the study and stores what it shows.
    async fn mark(
        &self,
        hospital_id: &HospitalId,
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
        self.store.add_marking(hospital_id, diagnosis_id, &marking).await?;
        let stored = self.again(hospital_id, request).await?;
        Ok(stored.marking.unwrap_or(marking))
    }

    /// Returns a diagnosis, finished or not.
    ///
    /// # Errors
    /// [`DiagnosisError::NotFound`] if the hospital has none.
    pub async fn get(
        &self,
        hospital_id: &HospitalId,
        diagnosis_id: DiagnosisId,
    ) -> Result<Answer, DiagnosisError> {
        let found = self.store.find_diagnosis(hospital_id, diagnosis_id).await?;
        self.with(hospital_id, found.ok_or(DiagnosisError::NotFound { diagnosis_id })?).await
    }
}

fn check_model(request: &DiagnosisRequest, found: &str) -> Result<(), DiagnosisError> {
    match &request.model_id {
        Some(wanted) if wanted != found => {
            Err(DiagnosisError::OtherModel { wanted: wanted.clone(), found: found.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}
