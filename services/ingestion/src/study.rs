//! Studies: what makes one acceptable, how it is prepared, and how a repeated upload is recognised.
//!
//! Knows neither tonic nor sea-orm.

use std::{error::Error, future::Future, time::Duration};

use bytes::Bytes;
use neurotriage_blobs::{BlobError, BlobStore};
use neurotriage_domain::{
    BlobDigest, DomainError, ErrorCode, FieldViolation, HospitalId, Modality, PatientId, StudyId,
};
use neurotriage_imaging::{ImagingError, NamedImage, Study as ImageStudy, nifti, prepare};
use neurotriage_service_kit::access::AccessError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

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

/// How long a caller waits before it tries again when all upload slots are taken.
const UPLOAD_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a caller waits before it asks again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// One stored study.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What the request held: see [`content_hash`].
    pub content_hash: String,
}

/// Why an operation on studies failed.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", list(.0))]
    Invalid(Vec<FieldViolation>),
    /// A file cannot be used.
    #[error(transparent)]
    Image(#[from] ImagingError),
    /// The caller sent more than one file may hold.
    #[error("{file_name}: larger than {limit_bytes} bytes; send a smaller or compressed file")]
    FileTooLarge {
        /// Which file.
        file_name: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// Every upload slot is taken.
    #[error("too many uploads are running; try again later")]
    Busy,
    /// No such study.
    #[error("study {study_id} not found")]
    NotFound {
        /// The study asked for.
        study_id: StudyId,
    },
    /// The request id was used for another upload.
    #[error("request {request_id} was used for another upload; choose a new request_id")]
    RequestReused {
        /// The id.
        request_id: Uuid,
    },
    /// The caller may not touch it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read study`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read study`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn list(violations: &[FieldViolation]) -> String {
    let texts: Vec<String> =
        violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    texts.join("; ")
}

impl StudyError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl DomainError for StudyError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Image(_) => ErrorCode::InvalidArgument,
            Self::FileTooLarge { .. } | Self::Busy => ErrorCode::ResourceExhausted,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::RequestReused { .. } => ErrorCode::AlreadyExists,
            Self::Access(error) => error.code(),
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Store { .. } => ErrorCode::Internal,
            Self::Blob(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::Image(_) => "INVALID_IMAGE",
            Self::FileTooLarge { .. } => "FILE_TOO_LARGE",
            Self::Busy => "UPLOADS_BUSY",
            Self::NotFound { .. } => "STUDY_NOT_FOUND",
            Self::RequestReused { .. } => "REQUEST_ID_REUSED",
            Self::Access(error) => error.reason(),
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
            Self::Blob(error) => error.reason(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::Image(_)
            | Self::FileTooLarge { .. }
            | Self::Busy
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::Access(_)
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Blob(_) => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(UPLOAD_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Invalid(_)
            | Self::Image(_)
            | Self::FileTooLarge { .. }
            | Self::NotFound { .. }
            | Self::RequestReused { .. }
            | Self::Access(_)
            | Self::Store { .. }
            | Self::Blob(_) => None,
        }
    }
}

/// Keeps studies, each hospital's apart: of another's it knows nothing.
pub trait StudyStore: Clone + Send + Sync + 'static {
    /// Returns one study.
    fn find(
        &self,
        hospital_id: &HospitalId,
        study_id: StudyId,
    ) -> impl Future<Output = Result<Option<Study>, StudyError>> + Send;

    /// Returns the study that a request made, with its content hash.
    fn find_by_request(
        &self,
        hospital_id: &HospitalId,
        request_id: Uuid,
    ) -> impl Future<Output = Result<Option<(Study, String)>, StudyError>> + Send;

    /// Keeps a study; false if its request id is taken (by a call that ran beside this one).
    fn insert(
        &self,
        hospital_id: &HospitalId,
        study: &NewStudy,
    ) -> impl Future<Output = Result<bool, StudyError>> + Send;

    /// Returns at most `limit` studies of a patient with ids below `before`, newest first.
    fn list(
        &self,
        hospital_id: &HospitalId,
        patient_id: PatientId,
        before: Option<StudyId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Study>, StudyError>> + Send;
}

/// Returns the SHA-256, in hexadecimal, of everything an upload says but its request id.
pub fn content_hash(upload: &Upload) -> String {
    let mut hash = Sha256::new();
    hash.update(upload.patient_id.as_uuid().as_bytes());
    hash.update(upload.accession.as_bytes());
    for file in &upload.files {
        hash.update([0]);
        hash.update(file.name.as_bytes());
        hash.update([0]);
        hash.update(Sha256::digest(&file.data));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks, prepares and keeps a study of a hospital. Nothing is kept if any step fails.
///
/// # Errors
/// [`StudyError::Image`] names the file that is wrong; [`StudyError::RequestReused`] if the request
/// id was used for other content; [`StudyError::Blob`] and [`StudyError::Store`] if storage fails.
pub async fn ingest(
    store: &impl StudyStore,
    blobs: &BlobStore,
    hospital_id: &HospitalId,
    upload: Upload,
) -> Result<Study, StudyError> {
    let request_id = upload.request_id;
    let hash_of = upload.clone();
    let content_hash = blocking("hash upload", move || Ok(content_hash(&hash_of))).await?;
    if let Some(study) = repeated(store, hospital_id, request_id, &content_hash).await? {
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
        created_at: OffsetDateTime::now_utc(),
        geometry: checked.geometry,
        volumes,
        prepared: PreparedObject {
            digest,
            size_bytes,
            profile: prepare::PROFILE.to_owned(),
            profile_version: prepare::PROFILE_VERSION,
        },
    };
    let new = NewStudy { study, request_id, content_hash };
    if store.insert(hospital_id, &new).await? {
        return Ok(new.study);
    }
    match repeated(store, hospital_id, request_id, &new.content_hash).await? {
        Some(study) => Ok(study),
        None => Err(StudyError::RequestReused { request_id }),
    }
}

async fn repeated(
    store: &impl StudyStore,
    hospital_id: &HospitalId,
    request_id: Uuid,
    content_hash: &str,
) -> Result<Option<Study>, StudyError> {
    match store.find_by_request(hospital_id, request_id).await? {
        None => Ok(None),
        Some((study, hash)) if hash == content_hash => Ok(Some(study)),
        Some(_) => Err(StudyError::RequestReused { request_id }),
    }
}

struct Checked {
    geometry: Geometry,
    prepared: Bytes,
}

fn check(files: &[UploadedFile; 4]) -> Result<Checked, StudyError> {
    let read = |file: &UploadedFile| {
        let image = nifti::read_image(&file.data, &file.name)?;
        Ok::<_, ImagingError>(NamedImage { name: file.name.clone(), image })
    };
    let [flair, t1, t1ce, t2] = files;
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

/// Returns one study.
///
/// # Errors
/// [`StudyError::NotFound`] if the hospital has none; [`StudyError::Store`] if the store fails.
pub async fn get_study(
    store: &impl StudyStore,
    hospital_id: &HospitalId,
    study_id: StudyId,
) -> Result<Study, StudyError> {
    store.find(hospital_id, study_id).await?.ok_or(StudyError::NotFound { study_id })
}

/// Returns a page of a patient's studies, newest first, and whether more follow.
///
/// # Errors
/// [`StudyError::Invalid`] if `page_size` is above [`PAGE_SIZE_MAX`].
pub async fn list_studies(
    store: &impl StudyStore,
    hospital_id: &HospitalId,
    patient_id: PatientId,
    page_size: u32,
    before: Option<StudyId>,
) -> Result<(Vec<Study>, bool), StudyError> {
    if page_size > PAGE_SIZE_MAX {
        return Err(StudyError::field("page_size", format!("at most {PAGE_SIZE_MAX}")));
    }
    let limit = if page_size == 0 { PAGE_SIZE_DEFAULT } else { page_size };
    let mut studies = store.list(hospital_id, patient_id, before, limit + 1).await?;
    let more = studies.len() > limit as usize;
    studies.truncate(limit as usize);
    Ok((studies, more))
}

/// Returns the bytes of one file of a study.
///
/// # Errors
/// [`StudyError::NotFound`] if the study has no such file; [`StudyError::Blob`] if it is gone.
pub async fn read_volume(
    blobs: &BlobStore,
    study: &Study,
    modality: Modality,
) -> Result<Bytes, StudyError> {
    let volume = study
        .volumes
        .iter()
        .find(|volume| volume.modality == modality)
        .ok_or(StudyError::NotFound { study_id: study.study_id })?;
    Ok(blobs.get(volume.digest, FILE_BYTES_MAX as u64).await?)
}
