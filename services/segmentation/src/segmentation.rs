//! From a prepared study to a stored mask with named regions.
//!
//! Knows neither tonic nor sea-orm: studies, rows and the network come in through traits and the
//! [`Engine`].

mod error;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use neurotriage_anatomy::{Localisation, LocaliseOptions, localise};
use neurotriage_audit::Action;
use neurotriage_blobs::BlobStore;
use neurotriage_domain::{BlobDigest, PatientId, SegmentationId, StudyId};
use neurotriage_imaging::{nifti, prepare::Prepared};
use neurotriage_network::Mirroring;
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;

pub use self::error::SegmentationError;
use crate::{
    certainty::{Certainty, judge},
    engine::{Engine, Marked, Ticket},
    localise::space_rule,
    placement::RegistrationRule,
};

/// Most bytes of a prepared study: 512 x 512 x 512 voxels of four 16-bit channels.
pub const PREPARED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most bytes of a mask file.
pub const MASK_BYTES_MAX: usize = 256 * 1024 * 1024;

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

/// What of a stored segmentation is asked for, as the audit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What was found.
    Findings,
    /// The mask file.
    Mask,
    /// The mask, to be localised anew.
    Localisation,
}

/// What an operation that was refused was tried on, as the audit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A study, of which there is no segmentation to name.
    Study(StudyId),
    /// A segmentation.
    Segmentation {
        /// Which.
        segmentation_id: SegmentationId,
        /// Study that was segmented.
        study_id: StudyId,
    },
}

/// Keeps segmentations, each hospital's apart: of another's it knows nothing. What is read and written is in the
/// audit, or it is neither read nor written.
pub trait SegmentationStore: Clone + Send + Sync + 'static {
    /// Returns one segmentation, of which `part` is shown.
    ///
    /// # Errors
    /// [`SegmentationError::NotFound`] if the hospital has none.
    fn read(
        &self,
        call: &Call,
        segmentation_id: SegmentationId,
        part: Part,
    ) -> impl Future<Output = Result<Segmentation, SegmentationError>> + Send;

    /// Returns the segmentation of a study by the model with these weights, of which `part` is shown.
    ///
    /// # Errors
    /// [`SegmentationError::NotSegmented`] if the hospital has none.
    fn read_of_study(
        &self,
        call: &Call,
        study_id: StudyId,
        weights_sha256: &str,
        part: Part,
    ) -> impl Future<Output = Result<Segmentation, SegmentationError>> + Send;

    /// Returns the study that was segmented. It is for the check that comes before a read, and the audit does not
    /// hold it: whoever calls answers with nothing of it.
    fn study_of(
        &self,
        call: &Call,
        segmentation_id: SegmentationId,
    ) -> impl Future<Output = Result<Option<StudyId>, SegmentationError>> + Send;

    /// Returns the segmentation of a study by the model with these weights, which was made before and is asked to be
    /// made.
    fn repeat(
        &self,
        call: &Call,
        study_id: StudyId,
        weights_sha256: &str,
    ) -> impl Future<Output = Result<Option<Segmentation>, SegmentationError>> + Send;

    /// Keeps a segmentation; false if the study has one by the same model already.
    fn insert(
        &self,
        call: &Call,
        segmentation: &Segmentation,
    ) -> impl Future<Output = Result<bool, SegmentationError>> + Send;

    /// Notes that an operation failed or was denied, and returns `error`, or why that could not be noted. A
    /// database that is away is asked nothing more.
    fn refuse(
        &self,
        call: &Call,
        action: Action,
        target: Target,
        error: SegmentationError,
    ) -> impl Future<Output = SegmentationError> + Send;
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
    /// Segments a study, localises what is found, stores the result.
    ///
    /// A study already segmented for the hospital by the same weights is answered from the store. Dropping the
    /// future cancels the network's work; whoever drops it says so to [`Segmenter::refuse_creation`].
    ///
    /// # Errors
    /// [`SegmentationError::Upstream`] if the study cannot be had,
    /// [`SegmentationError::ProfileMismatch`], [`SegmentationError::QueueFull`], or a failure of
    /// the network or a store.
    pub async fn segment_study(
        &self,
        call: &Call,
        study_id: StudyId,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Segmentation, SegmentationError> {
        match self.segment(call, study_id, progress).await {
            Ok(segmentation) => Ok(segmentation),
            Err(error) => Err(self.refuse_creation(call, study_id, error).await),
        }
    }

    /// Notes that a study was not segmented. Returns `error`, or why that could not be noted.
    pub async fn refuse_creation(
        &self,
        call: &Call,
        study_id: StudyId,
        error: SegmentationError,
    ) -> SegmentationError {
        self.store.refuse(call, Action::Create, Target::Study(study_id), error).await
    }

    async fn segment(
        &self,
        call: &Call,
        study_id: StudyId,
        progress: Arc<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Segmentation, SegmentationError> {
        // One model for the whole call: another may begin to serve meanwhile.
        let model = self.engine.serving();
        let weights_sha256 = model.card().weights_sha256.to_string();
        if let Some(known) = self.store.repeat(call, study_id, &weights_sha256).await? {
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
        if self.store.insert(call, &segmentation).await? {
            return Ok(segmentation);
        }
        // Another call finished the same study first: its result is the one that counts.
        let known = self.store.repeat(call, study_id, &weights_sha256).await?;
        known.ok_or_else(|| SegmentationError::Store {
            operation: "write segmentation",
            source: "study was segmented meanwhile, and is not".into(),
        })
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

    /// Checks that a call that would segment a study may touch its patient.
    ///
    /// # Errors
    /// As [`Segmenter::get`].
    pub async fn check_creation(
        &self,
        call: &Call,
        study_id: StudyId,
    ) -> Result<(), SegmentationError> {
        match self.check_patient(call, study_id).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse_creation(call, study_id, error).await),
        }
    }

    /// Checks that a call may touch what belongs to the patient of a study. No patient is kept here: only for a call
    /// that is kept to one, ingestion is asked whose study it is.
    async fn check_patient(&self, call: &Call, study_id: StudyId) -> Result<(), SegmentationError> {
        if call.is_of_one_patient() {
            call.check_patient(self.studies.prepared(study_id).await?.patient_id)?;
        }
        Ok(())
    }

    /// Returns one segmentation, of which `part` is shown.
    ///
    /// # Errors
    /// [`SegmentationError::NotFound`] if the hospital has none; [`SegmentationError::Call`] if it is another
    /// patient's, or [`SegmentationError::Upstream`] if the caller may not know whose it is.
    pub async fn get(
        &self,
        call: &Call,
        segmentation_id: SegmentationId,
        part: Part,
    ) -> Result<Segmentation, SegmentationError> {
        if call.is_of_one_patient()
            && let Some(study_id) = self.store.study_of(call, segmentation_id).await?
            && let Err(error) = self.check_patient(call, study_id).await
        {
            let target = Target::Segmentation { segmentation_id, study_id };
            return Err(self.store.refuse(call, Action::Read, target, error).await);
        }
        self.store.read(call, segmentation_id, part).await
    }

    /// Returns the mask file (`.nii.gz`) of a segmentation that was read for it.
    ///
    /// # Errors
    /// [`SegmentationError::Blob`] if it is gone.
    pub async fn mask(
        &self,
        call: &Call,
        segmentation: &Segmentation,
    ) -> Result<Bytes, SegmentationError> {
        match self.blobs.get(segmentation.mask.digest, MASK_BYTES_MAX as u64).await {
            Ok(mask) => Ok(mask),
            Err(error) => {
                let Segmentation { segmentation_id, study_id, .. } = *segmentation;
                let target = Target::Segmentation { segmentation_id, study_id };
                Err(self.store.refuse(call, Action::Read, target, error.into()).await)
            }
        }
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
