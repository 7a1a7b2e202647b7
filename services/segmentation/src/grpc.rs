//! gRPC face of the service: decode, call one domain function, encode.

mod convert;
pub mod models;
pub mod training;
mod upload;

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::Stream;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{
        DownloadMaskRequest, DownloadMaskResponse, GetModelRequest, GetModelResponse,
        GetSegmentationRequest, GetSegmentationResponse, LocaliseRequest, LocaliseResponse, Model,
        SegmentStudyRequest, SegmentStudyResponse, segment_study_response::Content,
        segmentation_service_server::SegmentationService,
    },
};
use neurotriage_service_kit::{access::InCurrentCaller as _, audit::Call, status::to_status};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::segmentation::{
    Part, Progress, SegmentationError, SegmentationStore, Segmenter, StudySource,
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "segmentation.neurotriage.example";

/// Progress messages that wait for a slow caller; further ones are dropped.
const PROGRESS_WAITING_MAX: usize = 16;

/// `neurotriage.segmentation.v1.SegmentationService` over any store and source of studies.
#[derive(Debug)]
pub struct SegmentationGrpc<S, I> {
    segmenter: Segmenter<S, I>,
    uploads: Arc<Semaphore>,
}

impl<S, I> SegmentationGrpc<S, I> {
    /// Serves with `segmenter`, at most `uploads_max` calls of `Localise` at a time.
    pub fn new(segmenter: Segmenter<S, I>, uploads_max: usize) -> Self {
        Self { segmenter, uploads: Arc::new(Semaphore::new(uploads_max)) }
    }
}

fn refuse(error: impl Into<SegmentationError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Returns who calls, or why the request can't be answered.
fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    Call::of(request.extensions()).map_err(refuse)
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<S: SegmentationStore, I: StudySource> SegmentationService for SegmentationGrpc<S, I> {
    type SegmentStudyStream = BoxStream<SegmentStudyResponse>;
    type DownloadMaskStream = BoxStream<DownloadMaskResponse>;

    #[tracing::instrument(skip_all)]
    async fn segment_study(
        &self,
        request: Request<SegmentStudyRequest>,
    ) -> Result<Response<Self::SegmentStudyStream>, Status> {
        let call = call(&request)?;
        let study_id = convert::study_id(&request.get_ref().study_id).map_err(refuse)?;
        self.segmenter.check_creation(&call, study_id).await.map_err(refuse)?;
        let (messages, receiver) = mpsc::channel(PROGRESS_WAITING_MAX);
        let segmenter = self.segmenter.clone();
        let task = async move {
            let report = messages.clone();
            let progress = Arc::new(move |progress: Progress| {
                let content = Some(Content::Progress(convert::progress(progress)));
                // A caller that reads slowly misses progress, never the result.
                let _ = report.try_send(Ok(SegmentStudyResponse { content }));
            });
            let outcome = tokio::select! {
                outcome = segmenter.segment_study(&call, study_id, progress) => outcome,
                () = messages.closed() => {
                    let error = SegmentationError::Cancelled;
                    Err(segmenter.refuse_creation(&call, study_id, error).await)
                }
            };
            let message = match outcome {
                Ok(segmentation) => {
                    tracing::info!(segmentation_id = %segmentation.segmentation_id, "study segmented");
                    let content = Some(Content::Segmentation(convert::segmentation(segmentation)));
                    Ok(SegmentStudyResponse { content })
                }
                Err(error) => Err(refuse(error)),
            };
            // Fails only if the caller has gone; then nobody waits.
            let _ = messages.send(message).await;
        };
        tokio::spawn(task.in_current_span().in_current_caller());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    #[tracing::instrument(skip_all)]
    async fn get_segmentation(
        &self,
        request: Request<GetSegmentationRequest>,
    ) -> Result<Response<GetSegmentationResponse>, Status> {
        let call = call(&request)?;
        let id = convert::segmentation_id(&request.get_ref().segmentation_id).map_err(refuse)?;
        let segmentation = self.segmenter.get(&call, id, Part::Findings).await.map_err(refuse)?;
        let segmentation = Some(convert::segmentation(segmentation));
        Ok(Response::new(GetSegmentationResponse { segmentation }))
    }

    #[tracing::instrument(skip_all)]
    async fn download_mask(
        &self,
        request: Request<DownloadMaskRequest>,
    ) -> Result<Response<Self::DownloadMaskStream>, Status> {
        let call = call(&request)?;
        let id = convert::segmentation_id(&request.get_ref().segmentation_id).map_err(refuse)?;
        let segmentation = self.segmenter.get(&call, id, Part::Mask).await.map_err(refuse)?;
        let data = self.segmenter.mask(&call, &segmentation).await.map_err(refuse)?;
        let pieces: Vec<Bytes> = data.chunks(CHUNK_BYTES_MAX).map(Bytes::copy_from_slice).collect();
        let messages =
            pieces.into_iter().map(|piece| Ok(DownloadMaskResponse { data: piece.into() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    /// A mask that was sent leaves no entry in the audit: nothing says whose it is, and nothing of it is stored. A
    /// stored one that is read in its place does.
    #[tracing::instrument(skip_all)]
    async fn localise(
        &self,
        request: Request<Streaming<LocaliseRequest>>,
    ) -> Result<Response<LocaliseResponse>, Status> {
        let slot = Arc::clone(&self.uploads).try_acquire_owned();
        let slot = slot.map_err(|_| refuse(SegmentationError::Busy))?;
        let call = call(&request)?;
        let input = upload::receive(request.into_inner()).await?;
        let localisation = self.segmenter.localise(&call, input, slot).await.map_err(refuse)?;
        let localisation = Some(convert::localisation(&localisation));
        Ok(Response::new(LocaliseResponse { localisation }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_model(
        &self,
        _request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let serving = self.segmenter.engine.serving();
        let card = serving.card();
        let model = Model {
            model_id: card.provenance.name.clone(),
            weights_sha256: card.weights_sha256.to_string(),
            card_json: convert::card_json(card).map_err(refuse)?,
            device: serving.device().to_owned(),
        };
        Ok(Response::new(GetModelResponse { model: Some(model) }))
    }
}
