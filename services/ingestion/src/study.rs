//! Studies: what makes one acceptable, how it is prepared, and how a repeated upload is recognised.
//!
//! Knows neither tonic nor sea-orm.

use std::{fmt, future::Future};

use bytes::Bytes;
use neurotriage_audit::Action;
use neurotriage_blobs::BlobStore;
use neurotriage_domain::{BlobDigest, Modality, PatientId, StudyId};
use neurotriage_imaging::{ImagingError, NamedImage, Study as ImageStudy, nifti, prepare};
use neurotriage_service_kit::audit::Call;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::StudyError;

/// Most bytes of one uploaded file. A 512 x 512 x 300 float volume is 315 MB before compression.
pub const FILE_BYTES_MAX: usize = 384 * 1024 * 1024;

/// Longest accession, in characters.
pub const ACCESSION_CHARS_MAX: usize = 128;

/// Longest file name, in characters.
pub const FILE_NAME_CHARS_MAX: usize = 255;

/// Most studies on one page.
pub const PAGE_SIZE_MAX: u32 = 200;

/// Studies on a page if the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// One stored study.
#[derive(Clone, PartialEq)]
pub struct Study {
    /// Its identifier.
    pub study_id: StudyId,
    /// Whose study it is.
    pub patient_id: PatientId,
    /// The caller's own name for it.
    pub accession: String,
    /// When it was stored.
    pub created_at: OffsetDateTime,
    /// The grid of the files as uploaded.
    pub geometry: Geometry,
    /// One for each modality, in the order of [`Modality::ALL`].
    pub volumes: Vec<StoredVolume>,
    /// What segmentation reads.
    pub prepared: PreparedObject,
}

// Callers may write a patient's name into the accession.
impl fmt::Debug for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { study_id, patient_id, created_at, .. } = self;
        f.debug_struct("Study")
            .field("study_id", study_id)
            .field("patient_id", patient_id)
            .field("created_at", created_at)
            .finish_non_exhaustive()
    }
}

/// The grid of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Geometry {
    /// Voxels along each array axis, `[x, y, z]`.
    pub shape: [u32; 3],
    /// First three rows of the affine, voxel index to RAS+ millimetres, row by row.
    pub affine_mm: [f64; 12],
    /// Direction in which each array axis grows, such as `LPS`.
    pub orientation: String,
    /// Distance between voxel centres along each array axis, in millimetres.
    pub spacing_mm: [f64; 3],
}

/// One uploaded file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVolume {
    /// Sequence it holds.
    pub modality: Modality,
    /// Name it was uploaded under.
    pub file_name: String,
    /// Its content.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size_bytes: u64,
}

// Nor does a file's name go anywhere by accident.
impl fmt::Debug for StoredVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { modality, digest, size_bytes, .. } = self;
        f.debug_struct("StoredVolume")
            .field("modality", modality)
            .field("digest", digest)
            .field("size_bytes", size_bytes)
            .finish_non_exhaustive()
    }
}

/// The prepared study in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedObject {
    /// Its content.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Preprocessing profile.
    pub profile: String,
    /// Version of the profile.
    pub profile_version: u32,
}

/// A complete upload.
#[derive(Clone)]
pub struct Upload {
    /// Chosen by the caller.
    pub request_id: Uuid,
    /// Whose study it is.
    pub patient_id: PatientId,
    /// The caller's own name for it.
    pub accession: String,
    /// One for each modality, in the order of [`Modality::ALL`].
    pub files: [UploadedFile; 4],
}

/// One file of an upload.
#[derive(Clone, Default)]
pub struct UploadedFile {
    /// Its name without the folder.
    pub name: String,
    /// Its bytes.
    pub data: Bytes,
}

/// A study that its store is to keep.
#[derive(Clone, Debug)]
pub struct NewStudy {
    /// The study.
    pub study: Study,
    /// Request that made it.
    pub request_id: Uuid,
}

/// What an upload says, apart from its request id: one that says the same again is a repeated one.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    patient_id: PatientId,
    accession: String,
    /// Name and content of each file, in the order of [`Modality::ALL`].
    files: Vec<(String, BlobDigest)>,
}

impl Said {
    /// Returns what `upload` says. Hashes its files.
    pub fn by_upload(upload: &Upload) -> Self {
        let file = |file: &UploadedFile| {
            (file.name.clone(), BlobDigest::from_bytes(Sha256::digest(&file.data).into()))
        };
        Self {
            patient_id: upload.patient_id,
            accession: upload.accession.clone(),
            files: upload.files.iter().map(file).collect(),
        }
    }

    /// Returns what the upload said that made `study`.
    pub fn by_study(study: &Study) -> Self {
        let file = |volume: &StoredVolume| (volume.file_name.clone(), volume.digest);
        Self {
            patient_id: study.patient_id,
            accession: study.accession.clone(),
            files: study.volumes.iter().map(file).collect(),
        }
    }
}

/// Keeps studies, each hospital's apart: of another's it knows nothing. Every operation is in the audit, with what it
/// did, or is not done.
pub trait StudyStore: Clone + Send + Sync + 'static {
    /// Returns one study.
    ///
    /// # Errors
    /// [`StudyError::NotFound`], [`StudyError::Call`] if the call may not touch its patient.
    fn find(
        &self,
        call: &Call,
        study_id: StudyId,
    ) -> impl Future<Output = Result<Study, StudyError>> + Send;

    /// Returns what one file of a study holds, for a caller who will be sent it: the audit has it as read.
    ///
    /// # Errors
    /// As [`StudyStore::find`].
    fn find_volume(
        &self,
        call: &Call,
        study_id: StudyId,
        modality: Modality,
    ) -> impl Future<Output = Result<BlobDigest, StudyError>> + Send;

    /// Returns the study that a request made, if it made one and said the same.
    ///
    /// # Errors
    /// [`StudyError::RequestReused`] if it said something else.
    fn find_repeated(
        &self,
        call: &Call,
        request_id: Uuid,
        said: &Said,
    ) -> impl Future<Output = Result<Option<Study>, StudyError>> + Send;

    /// Keeps a study; false if its request id is taken (by a call that ran beside this one).
    fn insert(
        &self,
        call: &Call,
        study: &NewStudy,
    ) -> impl Future<Output = Result<bool, StudyError>> + Send;

    /// Returns at most `limit` studies of a patient with ids below `before`, newest first, and whether more follow.
    fn list(
        &self,
        call: &Call,
        patient_id: PatientId,
        before: Option<StudyId>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<Study>, bool), StudyError>> + Send;

    /// Puts into the audit that the call may not touch the patient; returns `error`, or why it could not be put there.
    fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: StudyError,
    ) -> impl Future<Output = StudyError> + Send;
}

/// Checks that a call may touch a patient. One that may not is noted in the audit.
///
/// # Errors
/// [`StudyError::Call`] if it may not.
pub async fn check_patient(
    store: &impl StudyStore,
    call: &Call,
    action: Action,
    patient_id: PatientId,
) -> Result<(), StudyError> {
    let Err(error) = call.check_patient(patient_id) else { return Ok(()) };
    Err(store.deny(call, action, patient_id, error.into()).await)
}

/// Checks, prepares and keeps a study. No study is kept if any step fails; files that were put into the blob store
/// before, such as when the database goes away then, stay there and no study names them.
///
/// # Errors
/// [`StudyError::Image`] names the sequence whose file is wrong; [`StudyError::RequestReused`] if the request
/// id was used for other content; [`StudyError::Blob`] and [`StudyError::Store`] if storage fails.
pub async fn ingest(
    store: &impl StudyStore,
    blobs: &BlobStore,
    call: &Call,
    upload: Upload,
) -> Result<Study, StudyError> {
    let request_id = upload.request_id;
    let hashed = upload.clone();
    let said = blocking("hash upload", move || Ok(Said::by_upload(&hashed))).await?;
    if let Some(study) = store.find_repeated(call, request_id, &said).await? {
        return Ok(study);
    }

    let files = upload.files.clone();
    let checked = blocking("check study", move || check(&files)).await?;

    let mut volumes = Vec::with_capacity(Modality::ALL.len());
    for (modality, file) in Modality::ALL.into_iter().zip(upload.files) {
        let size_bytes = file.data.len() as u64;
        let digest = blobs.put(file.data).await?;
        volumes.push(StoredVolume { modality, file_name: file.name, digest, size_bytes });
    }
    let size_bytes = checked.prepared.len() as u64;
    let digest = blobs.put(checked.prepared).await?;
    let study = Study {
        study_id: StudyId::generate(),
        patient_id: upload.patient_id,
        accession: upload.accession,
        created_at: now(),
        geometry: checked.geometry,
        volumes,
        prepared: PreparedObject {
            digest,
            size_bytes,
            profile: prepare::PROFILE.to_owned(),
            profile_version: prepare::PROFILE_VERSION,
        },
    };
    let new = NewStudy { study, request_id };
    if store.insert(call, &new).await? {
        return Ok(new.study);
    }
    let repeated = store.find_repeated(call, request_id, &said).await?;
    repeated.ok_or(StudyError::RequestReused { request_id })
}

/// Databases keep microseconds; what is returned at once must equal what is read later.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

struct Checked {
    geometry: Geometry,
    prepared: Bytes,
}

/// Returns what errors call the file of a sequence: its own name may be a patient's.
fn volume_name(modality: Modality) -> String {
    format!("{modality} volume")
}

fn check(files: &[UploadedFile; 4]) -> Result<Checked, StudyError> {
    let read = |modality: Modality| {
        let (file, name) = (&files[modality.channel()], volume_name(modality));
        let image =
            nifti::read_image(&file.data, &file.name).map_err(|error| error.called(&name))?;
        Ok::<_, ImagingError>(NamedImage { name, image })
    };
    let [flair, t1, t1ce, t2] = Modality::ALL;
    let study = ImageStudy::from_images([read(flair)?, read(t1)?, read(t1ce)?, read(t2)?])?;
    let prepared = prepare::prepare(&study)?;
    let source = study.source();
    let rows = source.affine.rows();
    let geometry = Geometry {
        shape: source.shape.map(|voxels| voxels as u32),
        affine_mm: std::array::from_fn(|i| rows[i / 4][i % 4]),
        orientation: source.affine.orientation().to_string(),
        spacing_mm: source.affine.spacing().as_mm(),
    };
    Ok(Checked { geometry, prepared: Bytes::from(prepared.to_bytes()?) })
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, StudyError> + Send + 'static,
) -> Result<T, StudyError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(StudyError::Store { operation, source: source.into() }),
    }
}

/// Returns a page of a patient's studies, newest first, and whether more follow.
///
/// # Errors
/// [`StudyError::Invalid`] if `page_size` is above [`PAGE_SIZE_MAX`].
pub async fn list_studies(
    store: &impl StudyStore,
    call: &Call,
    patient_id: PatientId,
    page_size: u32,
    before: Option<StudyId>,
) -> Result<(Vec<Study>, bool), StudyError> {
    if page_size > PAGE_SIZE_MAX {
        return Err(StudyError::field("page_size", format!("at most {PAGE_SIZE_MAX}")));
    }
    let limit = if page_size == 0 { PAGE_SIZE_DEFAULT } else { page_size };
    store.list(call, patient_id, before, limit).await
}

/// Returns the bytes of one file of a study. They are in the audit as read before the first of them is.
///
/// # Errors
/// As [`StudyStore::find_volume`]; [`StudyError::Blob`] if the file is gone.
pub async fn read_volume(
    store: &impl StudyStore,
    blobs: &BlobStore,
    call: &Call,
    study_id: StudyId,
    modality: Modality,
) -> Result<Bytes, StudyError> {
    let digest = store.find_volume(call, study_id, modality).await?;
    Ok(blobs.get(digest, FILE_BYTES_MAX as u64).await?)
}
