//! gRPC face of the registry. Models are no patients': calls leave no entry in the audit.

mod sending;

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{
        DescribeModelRequest, DescribeModelResponse, ExportModelRequest, ExportModelResponse,
        ImportModelRequest, ImportModelResponse, ListModelsRequest, ListModelsResponse,
        ListPromotionsRequest, ListPromotionsResponse, LoadModelRequest, LoadModelResponse,
        ModelState as PbState, PromoteModelRequest, PromoteModelResponse, Promotion as PbPromotion,
        PromotionKind as PbKind, RegisteredModel, RollbackModelRequest, RollbackModelResponse,
        import_model_request::Content, model_service_server::ModelService,
    },
};
use neurotriage_service_kit::status::to_status;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::{BoxStream, ERROR_DOMAIN};
use crate::registry::{
    CARD_BYTES_MAX, Listed, ModelId, ModelState, ModelStore, Promotion, PromotionKind, Registry,
    RegistryError,
};

/// Longest silence of a caller in the middle of an upload.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest time that a caller may take to read a piece of a model.
const DOWNLOAD_IDLE_MAX: Duration = Duration::from_secs(30);
/// Most entries of a page.
const PAGE_MAX: u32 = 200;
/// Entries of a page if the caller does not say.
const PAGE_DEFAULT: u32 = 50;

/// `neurotriage.segmentation.v1.ModelService` over any store.
#[derive(Debug)]
pub struct ModelGrpc<S> {
    registry: Registry<S>,
}

impl<S> ModelGrpc<S> {
    /// Serves with `registry`.
    pub fn new(registry: Registry<S>) -> Self {
        Self { registry }
    }
}

fn refuse(error: RegistryError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

#[tonic::async_trait]
impl<S: ModelStore> ModelService for ModelGrpc<S> {
    type ExportModelStream = BoxStream<ExportModelResponse>;

    #[tracing::instrument(skip_all)]
    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let request = request.into_inner();
        let limit = page_size(request.page_size).map_err(refuse)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(ModelId::from_token(token).ok_or_else(|| refuse(wrong_token()))?),
        };
        let page = self.registry.list(after.as_ref(), limit).await.map_err(refuse)?;
        Ok(Response::new(ListModelsResponse {
            models: page.models.into_iter().map(registered).collect(),
            next_page_token: page.next.map(|id| id.to_token()).unwrap_or_default(),
            serving_model_id: page.serving_model_id,
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn describe_model(
        &self,
        request: Request<DescribeModelRequest>,
    ) -> Result<Response<DescribeModelResponse>, Status> {
        let mut model =
            self.registry.describe(&request.get_ref().model_id).await.map_err(refuse)?;
        let card_json = std::mem::take(&mut model.card_json);
        Ok(Response::new(DescribeModelResponse { model: Some(registered(model)), card_json }))
    }

    #[tracing::instrument(skip_all)]
    async fn import_model(
        &self,
        request: Request<Streaming<ImportModelRequest>>,
    ) -> Result<Response<ImportModelResponse>, Status> {
        let permit = self.registry.begin_import().map_err(refuse)?;
        let weights_bytes_max = self.registry.limits().weights_bytes_max;
        let (card, weights) = receive(request.into_inner(), weights_bytes_max).await?;
        let model = self.registry.import(permit, card, weights).await.map_err(refuse)?;
        Ok(Response::new(ImportModelResponse { model: Some(registered(model)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn export_model(
        &self,
        request: Request<ExportModelRequest>,
    ) -> Result<Response<Self::ExportModelStream>, Status> {
        let model_id = request.into_inner().model_id;
        let export = self.registry.export(&model_id).await.map_err(refuse)?;
        let (messages, receiver) = mpsc::channel(sending::MESSAGES_WAITING_MAX);
        let task = async move {
            let (card_json, weights) = (export.card_json(), export.weights());
            sending::send(card_json, weights, messages, DOWNLOAD_IDLE_MAX).await;
        };
        tokio::spawn(task.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    #[tracing::instrument(skip_all)]
    async fn load_model(
        &self,
        request: Request<LoadModelRequest>,
    ) -> Result<Response<LoadModelResponse>, Status> {
        let (model, took) =
            self.registry.load(request.into_inner().model_id).await.map_err(refuse)?;
        let load_seconds = took.as_secs_f64();
        Ok(Response::new(LoadModelResponse { model: Some(registered(model)), load_seconds }))
    }

    #[tracing::instrument(skip_all)]
    async fn promote_model(
        &self,
        request: Request<PromoteModelRequest>,
    ) -> Result<Response<PromoteModelResponse>, Status> {
        let PromoteModelRequest { model_id, expected_serving_model_id } = request.into_inner();
        let change =
            self.registry.promote(model_id, expected_serving_model_id).await.map_err(refuse)?;
        Ok(Response::new(PromoteModelResponse {
            model: Some(registered(change.model)),
            previous_model_id: change.previous_model_id,
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn rollback_model(
        &self,
        request: Request<RollbackModelRequest>,
    ) -> Result<Response<RollbackModelResponse>, Status> {
        let expected = request.into_inner().expected_serving_model_id;
        let change = self.registry.roll_back(expected).await.map_err(refuse)?;
        Ok(Response::new(RollbackModelResponse {
            model: Some(registered(change.model)),
            previous_model_id: change.previous_model_id,
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_promotions(
        &self,
        request: Request<ListPromotionsRequest>,
    ) -> Result<Response<ListPromotionsResponse>, Status> {
        let request = request.into_inner();
        let limit = page_size(request.page_size).map_err(refuse)?;
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| refuse(wrong_token()))?),
        };
        let mut found = self.registry.promotions(before, limit + 1).await.map_err(refuse)?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let last = found.last().filter(|_| more);
        let next_page_token = last.map(|last| last.sequence.to_string()).unwrap_or_default();
        let promotions = found.into_iter().map(promotion).collect();
        Ok(Response::new(ListPromotionsResponse { promotions, next_page_token }))
    }
}

/// Returns how many entries a page has.
pub(super) fn page_size(asked: u32) -> Result<u32, RegistryError> {
    match asked {
        0 => Ok(PAGE_DEFAULT),
        1..=PAGE_MAX => Ok(asked),
        _ => Err(RegistryError::field("page_size", format!("0 to {PAGE_MAX}"))),
    }
}

fn wrong_token() -> RegistryError {
    let right = "the next_page_token of the page before, unchanged, or empty";
    RegistryError::field("page_token", right)
}

/// Receives a card and weights.
async fn receive(
    mut stream: Streaming<ImportModelRequest>,
    weights_bytes_max: u64,
) -> Result<(Bytes, Bytes), Status> {
    let mut card: Option<Bytes> = None;
    let mut weights = BytesMut::new();
    loop {
        let message = match timeout(UPLOAD_IDLE_MAX, stream.next()).await {
            Ok(message) => message.transpose()?,
            Err(_) => {
                let text = format!("nothing arrived for {} s", UPLOAD_IDLE_MAX.as_secs());
                return Err(refuse(RegistryError::field("weights", text)));
            }
        };
        let Some(message) = message else { break };
        take(message, &mut card, &mut weights, weights_bytes_max).map_err(refuse)?;
    }
    let card =
        card.ok_or_else(|| refuse(RegistryError::field("card_json", "send the card first")))?;
    if weights.is_empty() {
        return Err(refuse(RegistryError::field("weights", "send the weights after the card")));
    }
    Ok((card, weights.freeze()))
}

fn take(
    message: ImportModelRequest,
    card: &mut Option<Bytes>,
    weights: &mut BytesMut,
    weights_bytes_max: u64,
) -> Result<(), RegistryError> {
    match message.content {
        None => Err(RegistryError::field("content", "either a card or weights")),
        Some(Content::CardJson(_)) if card.is_some() => {
            Err(RegistryError::field("card_json", "send the card once, first"))
        }
        Some(Content::CardJson(json)) if json.len() > CARD_BYTES_MAX => {
            Err(RegistryError::field("card_json", format!("at most {CARD_BYTES_MAX} bytes")))
        }
        Some(Content::CardJson(json)) => {
            *card = Some(Bytes::from(json));
            Ok(())
        }
        Some(Content::Weights(_)) if card.is_none() => {
            Err(RegistryError::field("card_json", "send the card before the weights"))
        }
        Some(Content::Weights(data)) if data.len() > CHUNK_BYTES_MAX => {
            let text = format!("at most {CHUNK_BYTES_MAX} bytes in one message");
            Err(RegistryError::field("weights", text))
        }
        Some(Content::Weights(data)) if (weights.len() + data.len()) as u64 > weights_bytes_max => {
            let text = format!("at most {weights_bytes_max} bytes in all");
            Err(RegistryError::field("weights", text))
        }
        Some(Content::Weights(data)) => {
            weights.extend_from_slice(&data);
            Ok(())
        }
    }
}

fn registered(model: Listed) -> RegisteredModel {
    let state = match model.state {
        ModelState::Imported => PbState::Imported,
        ModelState::Verified => PbState::Verified,
        ModelState::Loaded => PbState::Loaded,
        ModelState::Serving => PbState::Serving,
        ModelState::Refused => PbState::Refused,
    };
    RegisteredModel {
        built_in: model.is_built_in(),
        model_id: model.model_id,
        weights_sha256: model.weights_sha256,
        weights_size_bytes: model.weights_size_bytes,
        card_digest: model.card_digest.unwrap_or_default(),
        licence: model.licence,
        created_at: model.created_at.map(|at| SystemTime::from(at).into()),
        state: state.into(),
        device: model.device.unwrap_or_default(),
    }
}

fn promotion(promotion: Promotion) -> PbPromotion {
    let kind = match promotion.kind {
        PromotionKind::Promote => PbKind::Promote,
        PromotionKind::Rollback => PbKind::Rollback,
    };
    PbPromotion {
        sequence: promotion.sequence,
        kind: kind.into(),
        model_id: promotion.model_id.map(|id| id.to_string()).unwrap_or_default(),
        created_at: Some(SystemTime::from(promotion.created_at).into()),
    }
}
