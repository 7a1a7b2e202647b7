//! Between protobuf messages and domain types. The only place that knows both.

use neurotriage_domain::{InvalidId, Modality, PatientId, StudyId};
use neurotriage_proto::{common::v1 as common, ingestion::v1 as pb};
use uuid::Uuid;

use crate::{
    error::StudyError,
    study::{
        ACCESSION_CHARS_MAX, FILE_NAME_CHARS_MAX, Geometry, PreparedObject, StoredVolume, Study,
    },
};

fn invalid_id(field: &'static str) -> impl Fn(InvalidId) -> StudyError {
    move |error| StudyError::field(field, error.to_string())
}

pub(super) fn study_id(text: &str) -> Result<StudyId, StudyError> {
    text.parse().map_err(invalid_id("study_id"))
}

pub(super) fn patient_id(text: &str) -> Result<PatientId, StudyError> {
    text.parse().map_err(invalid_id("patient_id"))
}

pub(super) fn page_token(text: &str) -> Result<Option<StudyId>, StudyError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        StudyError::field("page_token", "pass the next_page_token of the page before, unchanged")
    })
}

pub(super) fn modality(value: i32, field: &str) -> Result<Modality, StudyError> {
    match common::Modality::try_from(value) {
        Ok(common::Modality::Flair) => Ok(Modality::Flair),
        Ok(common::Modality::T1) => Ok(Modality::T1),
        Ok(common::Modality::T1ce) => Ok(Modality::T1ce),
        Ok(common::Modality::T2) => Ok(Modality::T2),
        Ok(common::Modality::Unspecified) | Err(_) => {
            Err(StudyError::field(field, "one of FLAIR, T1, T1CE and T2"))
        }
    }
}

fn modality_message(modality: Modality) -> common::Modality {
    match modality {
        Modality::Flair => common::Modality::Flair,
        Modality::T1 => common::Modality::T1,
        Modality::T1ce => common::Modality::T1ce,
        Modality::T2 => common::Modality::T2,
    }
}

pub(super) fn header(header: pb::UploadHeader) -> Result<(Uuid, PatientId, String), StudyError> {
    let request_id = Uuid::try_parse(&header.request_id)
        .map_err(|_| StudyError::field("header.request_id", "a UUID chosen by the caller"))?;
    let patient_id = header.patient_id.parse().map_err(invalid_id("header.patient_id"))?;
    if header.accession.chars().count() > ACCESSION_CHARS_MAX {
        let text = format!("at most {ACCESSION_CHARS_MAX} characters");
        return Err(StudyError::field("header.accession", text));
    }
    Ok((request_id, patient_id, header.accession))
}

pub(super) fn file_name(name: &str, modality: Modality) -> Result<String, StudyError> {
    if name.is_empty() {
        return Ok(format!("{modality}.nii.gz"));
    }
    let odd = |c: char| c.is_control() || c == '/' || c == '\\';
    if name.chars().count() > FILE_NAME_CHARS_MAX || name.contains(odd) {
        let text = format!("a name without folders, at most {FILE_NAME_CHARS_MAX} characters");
        return Err(StudyError::field("chunk.file_name", text));
    }
    Ok(name.to_owned())
}

pub(super) fn study(study: Study) -> pb::Study {
    pb::Study {
        study_id: study.study_id.to_string(),
        patient_id: study.patient_id.to_string(),
        accession: study.accession,
        created_at: Some(timestamp(study.created_at)),
        geometry: Some(geometry(study.geometry)),
        volumes: study.volumes.into_iter().map(stored_volume).collect(),
        prepared: Some(prepared(study.prepared)),
    }
}

fn timestamp(time: time::OffsetDateTime) -> prost_types::Timestamp {
    std::time::SystemTime::from(time).into()
}

fn geometry(geometry: Geometry) -> common::Geometry {
    common::Geometry {
        shape: geometry.shape.to_vec(),
        affine_mm: geometry.affine_mm.to_vec(),
        orientation: geometry.orientation,
        spacing_mm: geometry.spacing_mm.to_vec(),
    }
}

fn stored_volume(volume: StoredVolume) -> pb::StoredVolume {
    pb::StoredVolume {
        modality: modality_message(volume.modality).into(),
        file_name: volume.file_name,
        blob: Some(common::BlobReference {
            digest: volume.digest.to_string(),
            size_bytes: volume.size_bytes,
        }),
    }
}

fn prepared(prepared: PreparedObject) -> pb::PreparedStudy {
    pb::PreparedStudy {
        blob: Some(common::BlobReference {
            digest: prepared.digest.to_string(),
            size_bytes: prepared.size_bytes,
        }),
        profile: prepared.profile,
        profile_version: prepared.profile_version,
    }
}
