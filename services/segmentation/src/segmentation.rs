//! From a prepared study to a stored mask with named regions.
//!
//! Knows neither tonic nor sea-orm: studies, rows and the network come in through traits and the
//! [`Engine`].

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use neurotriage_anatomy::{AnatomyError, Localisation, LocaliseOptions, localise};
use neurotriage_blobs::{BlobError, BlobStore};
use neurotriage_domain::{
    BlobDigest, DomainError, ErrorCode, FieldViolation, HospitalId, PatientId, SegmentationId,
    StudyId,
};
use neurotriage_imaging::{ImagingError, nifti, prepare::Prepared};
use neurotriage_network::{Mirroring, NetworkError};
use neurotriage_service_kit::access::AccessError;
use time::OffsetDateTime;

use crate::{
    certainty::{Certainty, judge},
    engine::{Engine, EngineError, Marked, Ticket},
    localise::space_rule,
    placement::{PlacementError, RegistrationRule},
};

/// Most bytes of a prepared study: 512 x 512 x 512 voxels of four 16-bit channels.
pub const PREPARED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most bytes of a mask file.
pub const MASK_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long a caller waits before it tries again when the queue is full: about one study.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// A study's mask and what it shows.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// Its identifier.
    pub segmentation_id: SegmentationId,
    /// Study that was segmented.
    pub study_id: StudyId,
    /// Model that made the mask.
    pub model_id: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// When it was stored.
    pub created_at: OffsetDateTime,
    /// The mask file, in the geometry of the uploaded files.
    pub mask: StoredMask,
    /// Where the lesions lie.
    pub localisation: Localisation,
    /// Mean entropy inside the tumour in bits, 0 to 1; `None` if no tumour was found.
    pub uncertainty: Option<f64>,
    /// How far the marking may be trusted; `None` for what was stored before this was judged.
    pub certainty: Option<Certainty>,
    /// Time the network took.
    pub inference: Duration,
}

/// A mask file in the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredMask {
    /// Its content.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// Where a prepared study lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedStudy {
    /// Whose study it is.
    pub patient_id: PatientId,
    /// Its content in the blob store.
    pub digest: BlobDigest,
    /// Preprocessing profile.
    pub profile: String,
    /// Version of the profile.
    pub profile_version: u32,
}

/// Steps of the work, for progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waiting for the network.
    Queue,
    /// The network runs.
    Segment,
    /// Regions are looked up.
    Localise,
    /// The result is stored.
    Store,
}

/// How far the work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Step that runs.
    pub step: Step,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
}

/// Why an operation on segmentations failed.
#[derive(Debug, thiserror::Error)]
pub enum SegmentationError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields")]
    Invalid(Vec<FieldViolation>),
    /// A mask file cannot be used.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The mask cannot be localised.
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    /// No such segmentation.
    #[error("segmentation {segmentation_id} not found")]
    NotFound {
        /// The segmentation asked for.
        segmentation_id: SegmentationId,
    },
    /// The study has no mask by the model that serves.
    #[error("study {study_id} was not segmented by the model that serves; segment it first")]
    NotSegmented {
        /// The study asked for.
        study_id: StudyId,
    },
    /// The model was trained on another preprocessing.
    #[error(
        "study was prepared as {found}, the model needs {needed}; upload the study again or load \
         a model of that profile"
    )]
    ProfileMismatch {
        /// Profile and version of the study.
        found: String,
        /// Profile and version of the model.
        needed: String,
    },
    /// The queue is full.
    #[error("too many studies wait for the network; try again later")]
    QueueFull,
    /// Every slot for localising is taken.
    #[error("too many calls of Localise at a time; try again later")]
    Busy,
    /// The caller went away.
    #[error("call was cancelled")]
    Cancelled,
    /// Another service failed or refused.
    #[error("{0}")]
    Upstream(Box<dyn DomainError>),
    /// The network failed.
    #[error("run network")]
    Engine(#[source] EngineError),
    /// The caller may not touch it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read segmentation`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read segmentation`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<EngineError> for SegmentationError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::QueueFull => Self::QueueFull,
            EngineError::Cancelled => Self::Cancelled,
            EngineError::Placement(PlacementError::Anatomy(error)) => Self::Anatomy(error),
            EngineError::Stopped | EngineError::Network(_) | EngineError::Placement(_) => {
                Self::Engine(error)
            }
        }
    }
}

impl From<NetworkError> for SegmentationError {
    fn from(error: NetworkError) -> Self {
        Self::Engine(EngineError::Network(error))
    }
}

impl SegmentationError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl DomainError for SegmentationError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Image(_) | Self::Anatomy(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } | Self::NotSegmented { .. } => ErrorCode::NotFound,
            Self::ProfileMismatch { .. } => ErrorCode::FailedPrecondition,
            Self::QueueFull | Self::Busy => ErrorCode::ResourceExhausted,
            Self::Cancelled | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Access(error) => error.code(),
            Self::Upstream(error) => error.code(),
            Self::Engine(EngineError::Stopped) => ErrorCode::Unavailable,
            Self::Engine(_) | Self::Store { .. } => ErrorCode::Internal,
            Self::Blob(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Image(_) => "INVALID_IMAGE",
            Self::Anatomy(_) => "INVALID_MASK",
            Self::NotFound { .. } => "SEGMENTATION_NOT_FOUND",
            Self::NotSegmented { .. } => "STUDY_NOT_SEGMENTED",
            Self::ProfileMismatch { .. } => "PROFILE_MISMATCH",
            Self::QueueFull => "QUEUE_FULL",
            Self::Busy => "UPLOADS_BUSY",
            Self::Cancelled => "CANCELLED",
            Self::Upstream(error) => error.reason(),
            Self::Engine(_) => "NETWORK_FAILED",
            Self::Access(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
            Self::Blob(error) => error.reason(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Invalid(violations) = self { violations } else { &[] }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        if let Self::Upstream(error) = self { error.metadata() } else { Vec::new() }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream(error) => error.retry_after(),
            Self::QueueFull | Self::Busy => Some(QUEUE_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::Anatomy(_)
            | Self::NotFound { .. }
            | Self::NotSegmented { .. }
            | Self::ProfileMismatch { .. }
            | Self::Cancelled
            | Self::Engine(_)
            | Self::Access(_)
            | Self::Store { .. }
            | Self::Blob(_) => None,
        }
    }
}

/// Keeps segmentations, each hospital's apart: of another's it knows nothing.
pub trait SegmentationStore: Clone + Send + Sync + 'static {
    /// Returns one segmentation.
    fn find(
        &self,
        hospital_id: &HospitalId,
        segmentation_id: SegmentationId,
    ) -> impl Future<Output = Result<Option<Segmentation>, SegmentationError>> + Send;

    /// Returns the segmentation of a study by the model with these weights.
    fn find_by_study(
        &self,
        hospital_id: &HospitalId,
        study_id: StudyId,
        weights_sha256: &str,
    ) -> impl Future<Output = Result<Option<Segmentation>, SegmentationError>> + Send;

    /// Keeps a segmentation; false if the study has one by the same model already.
    fn insert(
        &self,
        hospital_id: &HospitalId,
        segmentation: &Segmentation,
    ) -> impl Future<Output = Result<bool, SegmentationError>> + Send;
}

/// Knows where prepared studies lie.
pub trait StudySource: Clone + Send + Sync + 'static {
    /// Returns where one prepared study lies, if the caller may know.
    fn prepared(
        &self,
        study_id: StudyId,
    ) -> impl Future<Output = Result<PreparedStudy, SegmentationError>> + Send;
}

/// What segmentation works with.
#[derive(Clone, Debug)]
pub struct Segmenter<S, I> {
    /// Keeps results.
    pub store: S,
    /// Knows studies.
    pub studies: I,
    /// Keeps files.
    pub blobs: BlobStore,
    /// Owns the network.
    pub engine: Engine,
    /// Mirror images that are segmented too; those that suit the model if `None`.
    pub mirroring: Option<Mirroring>,
    /// Which studies are registered to a template.
    pub registration: RegistrationRule,
}

impl<S: SegmentationStore, I: StudySource> Segmenter<S, I> {
    /// Segments a study of a hospital, localises what is found, stores the result.
    ///
    /// A study already segmented for the hospital by the same weights is answered from the store. Dropping the
    /// future cancels the network's work.
    ///
    /// # Errors
    /// [`SegmentationError::Upstream`] if the study cannot be had,
    /// [`SegmentationError::ProfileMismatch`], [`SegmentationError::QueueFull`], or a failure of
    /// the network or a store.
    pub async fn segment_study(
        &self,
        hospital_id: &HospitalId,
        study_id: StudyId,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Segmentation, SegmentationError> {
        // One model for the whole call: another may begin to serve meanwhile.
        let model = self.engine.serving();
        let weights_sha256 = model.card().weights_sha256.to_string();
        if let Some(known) =
            self.store.find_by_study(hospital_id, study_id, &weights_sha256).await?
        {
            return Ok(known);
        }
        let source = self.studies.prepared(study_id).await?;
        check_profile(&source, &model.card().profile)?;
        let prepared = self.read_prepared(&source).await?;

        progress(Progress { step: Step::Queue, done: 0, total: 0 });
        let report = Arc::clone(&progress);
        let ticket = Ticket::new(move |done, total| {
            report(Progress { step: Step::Segment, done, total });
        })
        .with_mirroring(self.mirroring)
        .with_registration(self.registration);
        let marked = self.engine.segment_with(Arc::clone(&model), prepared, ticket).await?;

        progress(Progress { step: Step::Localise, done: 0, total: 1 });
        let described = blocking("localise", move || describe(&marked)).await?;

        progress(Progress { step: Step::Store, done: 0, total: 1 });
        let size_bytes = described.mask.len() as u64;
        let digest = self.blobs.put(described.mask).await?;
        let segmentation = Segmentation {
            segmentation_id: SegmentationId::generate(),
            study_id,
            model_id: model.model_id().to_owned(),
            weights_sha256: weights_sha256.clone(),
            created_at: OffsetDateTime::now_utc(),
            mask: StoredMask { digest, size_bytes },
            localisation: described.localisation,
            uncertainty: described.uncertainty,
            certainty: Some(described.certainty),
            inference: described.elapsed,
        };
        if self.store.insert(hospital_id, &segmentation).await? {
            return Ok(segmentation);
        }
        // Another call finished the same study first: its result is the one that counts.
        let known = self.store.find_by_study(hospital_id, study_id, &weights_sha256).await?;
        Ok(known.unwrap_or(segmentation))
    }

    /// Returns what ingestion prepared of a study.
    pub(crate) async fn prepared(&self, study_id: StudyId) -> Result<Prepared, SegmentationError> {
        let source = self.studies.prepared(study_id).await?;
        self.read_prepared(&source).await
    }

    async fn read_prepared(&self, source: &PreparedStudy) -> Result<Prepared, SegmentationError> {
        let bytes = self.blobs.get(source.digest, PREPARED_BYTES_MAX).await?;
        blocking("read prepared study", move || Ok(Prepared::from_bytes(&bytes)?)).await
    }

    /// Returns whose study it is, as ingestion says: no patient is kept here.
    ///
    /// # Errors
    /// [`SegmentationError::Upstream`] if the caller may not know.
    pub async fn patient_of(&self, study_id: StudyId) -> Result<PatientId, SegmentationError> {
        Ok(self.studies.prepared(study_id).await?.patient_id)
    }

    /// Returns one segmentation.
    ///
    /// # Errors
    /// [`SegmentationError::NotFound`] if the hospital has none.
    pub async fn get(
        &self,
        hospital_id: &HospitalId,
        segmentation_id: SegmentationId,
    ) -> Result<Segmentation, SegmentationError> {
        self.store
            .find(hospital_id, segmentation_id)
            .await?
            .ok_or(SegmentationError::NotFound { segmentation_id })
    }

    /// Returns the mask file (`.nii.gz`) of a segmentation.
    ///
    /// # Errors
    /// [`SegmentationError::Blob`] if it is gone.
    pub async fn mask(&self, segmentation: &Segmentation) -> Result<Bytes, SegmentationError> {
        Ok(self.blobs.get(segmentation.mask.digest, MASK_BYTES_MAX as u64).await?)
    }
}

/// What is known of a marking once it is localised.
struct Described {
    mask: Bytes,
    localisation: Localisation,
    uncertainty: Option<f64>,
    certainty: Certainty,
    elapsed: Duration,
}

/// Writes the mask file, names regions, and judges how far all of it may be trusted.
fn describe(marked: &Marked) -> Result<Described, SegmentationError> {
    let Marked { prepared, segmentation, place, elapsed } = marked;
    let options =
        LocaliseOptions { space: space_rule(place.clone()), ..LocaliseOptions::default() };
    let mask = prepared.restore_mask(&segmentation.labels)?;
    let localisation = localise(&mask, &options)?;
    let certainty = judge(prepared, segmentation, &localisation, &options)?;
    let marks_tumour = segmentation.labels.iter().any(|label| *label != 0);
    let entropy_bits_mean = segmentation.uncertainty.lesion_entropy_bits_mean;
    Ok(Described {
        mask: Bytes::from(nifti::write_mask_gz(&mask)?),
        localisation,
        uncertainty: marks_tumour.then_some(entropy_bits_mean),
        certainty,
        elapsed: *elapsed,
    })
}

fn check_profile(source: &PreparedStudy, needed: &str) -> Result<(), SegmentationError> {
    let found = format!("{}/{}", source.profile, source.profile_version);
    if found == needed {
        return Ok(());
    }
    Err(SegmentationError::ProfileMismatch { found, needed: needed.to_owned() })
}

pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, SegmentationError> + Send + 'static,
) -> Result<T, SegmentationError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(SegmentationError::Store { operation, source: source.into() }),
    }
}
