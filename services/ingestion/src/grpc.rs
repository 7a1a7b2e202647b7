//! gRPC face of the service: decode, call one domain function, encode.

mod convert;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use neurotriage_audit::Action;
use neurotriage_blobs::BlobStore;
use neurotriage_domain::Modality;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    ingestion::v1::{
        DownloadVolumeRequest, DownloadVolumeResponse, GetStudyRequest, GetStudyResponse,
        ListStudiesRequest, ListStudiesResponse, UploadChunk, UploadStudyRequest,
        UploadStudyResponse, ingestion_service_server::IngestionService,
        upload_study_request::Content,
    },
};
use neurotriage_service_kit::{audit::Call, status::to_status};
use tokio::{sync::Semaphore, time::timeout};
use tokio_stream::Iter;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    error::StudyError,
    study::{self, FILE_BYTES_MAX, StudyStore, Upload, UploadedFile},
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "ingestion.neurotriage.example";

/// Longest silence of a caller in the middle of an upload.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(30);

/// Longest upload.
const UPLOAD_MAX: Duration = Duration::from_secs(1_800);

/// `neurotriage.ingestion.v1.IngestionService` over any [`StudyStore`].
#[derive(Debug)]
pub struct IngestionGrpc<S> {
    store: S,
    blobs: BlobStore,
    uploads: Arc<Semaphore>,
}

impl<S> IngestionGrpc<S> {
    /// Serves from `store` and `blobs`, at most `uploads_max` uploads at a time.
    pub fn new(store: S, blobs: BlobStore, uploads_max: usize) -> Self {
        Self { store, blobs, uploads: Arc::new(Semaphore::new(uploads_max)) }
    }
}

fn refuse(error: impl Into<StudyError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Returns who calls, or why the request can't be answered.
fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    Call::of(request.extensions()).map_err(refuse)
}

type DownloadStream = Iter<std::vec::IntoIter<Result<DownloadVolumeResponse, Status>>>;

#[tonic::async_trait]
impl<S: StudyStore> IngestionService for IngestionGrpc<S> {
    type DownloadVolumeStream = DownloadStream;

    #[tracing::instrument(skip_all)]
    async fn upload_study(
        &self,
        request: Request<Streaming<UploadStudyRequest>>,
    ) -> Result<Response<UploadStudyResponse>, Status> {
        let _slot = self.uploads.try_acquire().map_err(|_| refuse(StudyError::Busy))?;
        let call = call(&request)?;
        let upload = receive(request.into_inner(), &self.store, &call).await?;
        let study = study::ingest(&self.store, &self.blobs, &call, upload).await.map_err(refuse)?;
        tracing::info!(study_id = %study.study_id, "study stored");
        Ok(Response::new(UploadStudyResponse { study: Some(convert::study(study)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_study(
        &self,
        request: Request<GetStudyRequest>,
    ) -> Result<Response<GetStudyResponse>, Status> {
        let call = call(&request)?;
        let study_id = convert::study_id(&request.get_ref().study_id).map_err(refuse)?;
        let study = self.store.find(&call, study_id).await.map_err(refuse)?;
        Ok(Response::new(GetStudyResponse { study: Some(convert::study(study)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_studies(
        &self,
        request: Request<ListStudiesRequest>,
    ) -> Result<Response<ListStudiesResponse>, Status> {
        let call = call(&request)?;
        let request = request.into_inner();
        let patient_id = convert::patient_id(&request.patient_id).map_err(refuse)?;
        study::check_patient(&self.store, &call, Action::Search, patient_id)
            .await
            .map_err(refuse)?;
        let before = convert::page_token(&request.page_token).map_err(refuse)?;
        let (studies, more) =
            study::list_studies(&self.store, &call, patient_id, request.page_size, before)
                .await
                .map_err(refuse)?;
        let next_page_token = match studies.last() {
            Some(last) if more => last.study_id.to_string(),
            Some(_) | None => String::new(),
        };
        let studies = studies.into_iter().map(convert::study).collect();
        Ok(Response::new(ListStudiesResponse { studies, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn download_volume(
        &self,
        request: Request<DownloadVolumeRequest>,
    ) -> Result<Response<Self::DownloadVolumeStream>, Status> {
        let call = call(&request)?;
        let request = request.into_inner();
        let study_id = convert::study_id(&request.study_id).map_err(refuse)?;
        let modality = convert::modality(request.modality, "modality").map_err(refuse)?;
        let data = study::read_volume(&self.store, &self.blobs, &call, study_id, modality)
            .await
            .map_err(refuse)?;
        let pieces: Vec<_> =
            pieces(data).map(|data| Ok(DownloadVolumeResponse { data: data.into() })).collect();
        Ok(Response::new(tokio_stream::iter(pieces)))
    }
}

/// Splits without copying.
fn pieces(data: Bytes) -> impl Iterator<Item = Bytes> {
    let count = data.len().div_ceil(CHUNK_BYTES_MAX);
    (0..count)
        .map(move |i| data.slice(i * CHUNK_BYTES_MAX..data.len().min((i + 1) * CHUNK_BYTES_MAX)))
}

/// Collects an upload: a header, then each file in chunks. Whose it is is checked before any file is taken.
async fn receive(
    stream: Streaming<UploadStudyRequest>,
    store: &impl StudyStore,
    call: &Call,
) -> Result<Upload, Status> {
    timeout(UPLOAD_MAX, receive_all(stream, store, call)).await.unwrap_or_else(|_| {
        let text = format!("not complete after {} s", UPLOAD_MAX.as_secs());
        Err(refuse(StudyError::field("chunk", text)))
    })
}

async fn receive_all(
    mut stream: Streaming<UploadStudyRequest>,
    store: &impl StudyStore,
    call: &Call,
) -> Result<Upload, Status> {
    let Some(Content::Header(header)) = next(&mut stream).await? else {
        return Err(refuse(StudyError::field("header", "send it first, before any chunk")));
    };
    let (request_id, patient_id, accession) = convert::header(header).map_err(refuse)?;
    study::check_patient(store, call, Action::Create, patient_id).await.map_err(refuse)?;
    let mut files: [Option<(String, BytesMut)>; 4] = Default::default();
    while let Some(content) = next(&mut stream).await? {
        let Content::Chunk(chunk) = content else {
            return Err(refuse(StudyError::field("header", "send it only once")));
        };
        append(&mut files, chunk).map_err(refuse)?;
    }

    let mut complete: [UploadedFile; 4] = Default::default();
    for (modality, file) in Modality::ALL.into_iter().zip(files) {
        let Some((name, data)) = file else {
            let text =
                format!("the {modality} volume is missing; send all of flair, t1, t1ce and t2");
            return Err(refuse(StudyError::field("chunk", text)));
        };
        complete[modality.channel()] = UploadedFile { name, data: data.freeze() };
    }
    Ok(Upload { request_id, patient_id, accession, files: complete })
}

async fn next(stream: &mut Streaming<UploadStudyRequest>) -> Result<Option<Content>, Status> {
    let message = match timeout(UPLOAD_IDLE_MAX, stream.next()).await {
        Ok(message) => message.transpose()?,
        Err(_) => {
            let text = format!("nothing arrived for {} s", UPLOAD_IDLE_MAX.as_secs());
            return Err(refuse(StudyError::field("chunk", text)));
        }
    };
    match message {
        None => Ok(None),
        Some(UploadStudyRequest { content: Some(content) }) => Ok(Some(content)),
        Some(UploadStudyRequest { content: None }) => {
            Err(refuse(StudyError::field("content", "send a header or a chunk")))
        }
    }
}

fn append(
    files: &mut [Option<(String, BytesMut)>; 4],
    chunk: UploadChunk,
) -> Result<(), StudyError> {
    let modality = convert::modality(chunk.modality, "chunk.modality")?;
    if chunk.data.len() > CHUNK_BYTES_MAX {
        return Err(StudyError::field("chunk.data", format!("at most {CHUNK_BYTES_MAX} bytes")));
    }
    let (name, data) = match &mut files[modality.channel()] {
        Some(file) => file,
        empty @ None => {
            let name = convert::file_name(&chunk.file_name, modality)?;
            empty.insert((name, BytesMut::new()))
        }
    };
    if !chunk.file_name.is_empty() && chunk.file_name != *name {
        let text =
            format!("the {modality} volume came under two names; send one file per sequence");
        return Err(StudyError::field("chunk.file_name", text));
    }
    if data.len() + chunk.data.len() > FILE_BYTES_MAX {
        return Err(StudyError::FileTooLarge { modality, limit_bytes: FILE_BYTES_MAX });
    }
    data.extend_from_slice(&chunk.data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_at_most_a_mebibyte_and_lose_nothing() {
        for length in [0, 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX] {
            let data = Bytes::from(vec![7_u8; length]);
            let pieces: Vec<Bytes> = pieces(data).collect();
            assert!(pieces.iter().all(|piece| piece.len() <= CHUNK_BYTES_MAX));
            assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), length);
        }
    }

    #[test]
    fn a_file_that_changes_its_name_is_refused() {
        let chunk = |name: &str| UploadChunk {
            modality: neurotriage_proto::common::v1::Modality::Flair as i32,
            file_name: name.to_owned(),
            data: vec![1],
        };
        let mut files = Default::default();
        append(&mut files, chunk("a.nii.gz")).unwrap();
        append(&mut files, chunk("")).unwrap();
        append(&mut files, chunk("a.nii.gz")).unwrap();
        assert!(
            append(&mut files, chunk("b.nii.gz")).unwrap_err().to_string().contains("two names")
        );
        assert_eq!(files[0].as_ref().unwrap().1.len(), 3);
    }
}
