//! gRPC face of the life cycle of referrals.

mod convert;

use std::pin::Pin;

use futures::{Stream, TryStreamExt as _, stream};
use neurotriage_proto::referral::v1::{
    CreateReferralRequest, CreateReferralResponse, GetReferralRequest, GetReferralResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, ListEventsRequest, ListEventsResponse,
    ListReferralsRequest, ListReferralsResponse, MoveReferralRequest, MoveReferralResponse,
    ReleaseDeadLetterRequest, ReleaseDeadLetterResponse, WatchEventsRequest, WatchEventsResponse,
    referral_lifecycle_service_server::ReferralLifecycleService,
};
use neurotriage_service_kit::{access::Caller, audit::CallError, status::to_status};
use tonic::{Request, Response, Status};

use super::{ERROR_DOMAIN, call};
use crate::lifecycle::{
    Lifecycle, LifecycleError, Party, event::EventEnvelope, store::LifecycleStore,
};

/// `neurotriage.referral.v1.ReferralLifecycleService` over any [`LifecycleStore`].
#[derive(Debug)]
pub struct LifecycleGrpc<S> {
    lifecycle: Lifecycle<S>,
}

impl<S> LifecycleGrpc<S> {
    /// Serves `lifecycle`.
    pub fn new(lifecycle: Lifecycle<S>) -> Self {
        Self { lifecycle }
    }
}

fn refuse(error: impl Into<LifecycleError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Returns who calls. Without a token that is this machine's developer, who plays every receiver.
fn party<T>(request: &Request<T>) -> Result<Party, CallError> {
    let plays_receivers = request.extensions().get::<Caller>().is_none();
    Ok(Party { call: call(request)?, plays_receivers })
}

#[tonic::async_trait]
impl<S: LifecycleStore> ReferralLifecycleService for LifecycleGrpc<S> {
    type WatchEventsStream =
        Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    #[tracing::instrument(skip_all)]
    async fn create_referral(
        &self,
        request: Request<CreateReferralRequest>,
    ) -> Result<Response<CreateReferralResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let draft = convert::draft(&request.into_inner()).map_err(refuse)?;
        let referral = self.lifecycle.create(&call, draft).await.map_err(refuse)?;
        let (terms, status) = (referral.terms(), referral.status());
        tracing::info!(referral_id = %terms.referral_id, "referral created");
        let referral = Some(convert::referral(terms, status));
        Ok(Response::new(CreateReferralResponse { referral }))
    }

    #[tracing::instrument(skip_all)]
    async fn move_referral(
        &self,
        request: Request<MoveReferralRequest>,
    ) -> Result<Response<MoveReferralResponse>, Status> {
        let party = party(&request).map_err(refuse)?;
        let request = convert::move_request(&request.into_inner()).map_err(refuse)?;
        let (referral, event) = self.lifecycle.make_move(&party, request).await.map_err(refuse)?;
        let event = EventEnvelope::from(&event);
        tracing::info!(
            referral_id = %event.referral_id,
            event_id = %event.event_id,
            kind = %event.kind,
            "referral moved"
        );
        Ok(Response::new(MoveReferralResponse {
            referral: Some(convert::referral(referral.terms(), referral.status())),
            event: Some(convert::event(&event)),
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_referral(
        &self,
        request: Request<GetReferralRequest>,
    ) -> Result<Response<GetReferralResponse>, Status> {
        let party = party(&request).map_err(refuse)?;
        let request = request.into_inner();
        let referral_id = convert::referral_id(&request.referral_id).map_err(refuse)?;
        let (referral, legal) = match convert::role(request.role).map_err(refuse)? {
            Some(role) => self.lifecycle.get_with_moves(&party, referral_id, role).await,
            None => {
                let found = self.lifecycle.get(&party.call, referral_id).await;
                found.map(|referral| (referral, Vec::new()))
            }
        }
        .map_err(refuse)?;
        Ok(Response::new(GetReferralResponse {
            referral: Some(convert::referral(referral.terms(), referral.status())),
            legal_moves: legal.into_iter().map(|kind| convert::move_kind(kind).into()).collect(),
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_referrals(
        &self,
        request: Request<ListReferralsRequest>,
    ) -> Result<Response<ListReferralsResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let page = convert::referrals_page(&request.into_inner()).map_err(refuse)?;
        let (referrals, more) = self
            .lifecycle
            .list(&call, &page.listed, &page.states, page.before, page.limit)
            .await
            .map_err(refuse)?;
        let last = referrals.last().filter(|_| more);
        let next_page_token =
            last.map_or_else(String::new, |(terms, _)| terms.referral_id.to_string());
        let referrals =
            referrals.iter().map(|(terms, status)| convert::referral(terms, status)).collect();
        Ok(Response::new(ListReferralsResponse { referrals, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let page = convert::events_page(&request.into_inner()).map_err(refuse)?;
        let (events, more) = self
            .lifecycle
            .events(&call, page.referral_id, page.after_sequence, page.limit)
            .await
            .map_err(refuse)?;
        let last = events.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |event| event.sequence.to_string());
        let events = events.iter().map(convert::event).collect();
        Ok(Response::new(ListEventsResponse { events, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let call = call(&request).map_err(refuse)?;
        let watched = convert::watched(request.into_inner()).map_err(refuse)?;
        let watch = self.lifecycle.watch(&call, watched).await.map_err(refuse)?;
        let events = stream::try_unfold(watch, |mut watch| async move {
            let event = watch.next().await?;
            Ok::<_, LifecycleError>(Some((event, watch)))
        });
        let messages = events
            .map_ok(|event| WatchEventsResponse { event: Some(convert::event(&event)) })
            .map_err(refuse);
        Ok(Response::new(Box::pin(messages)))
    }

    #[tracing::instrument(skip_all)]
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let page = convert::dead_letters_page(&request.into_inner()).map_err(refuse)?;
        let (letters, more) = self
            .lifecycle
            .dead_letters(&call, page.hospital_id.as_ref(), page.after, page.limit)
            .await
            .map_err(refuse)?;
        let last = letters.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, convert::dead_letter_token);
        let dead_letters = letters.into_iter().map(convert::dead_letter).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn release_dead_letter(
        &self,
        request: Request<ReleaseDeadLetterRequest>,
    ) -> Result<Response<ReleaseDeadLetterResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let request = convert::release_request(&request.into_inner()).map_err(refuse)?;
        let posted = self.lifecycle.release(&call, request).await.map_err(refuse)?;
        tracing::info!(
            event_id = %posted.event.event_id,
            release = %request.release,
            "dead letter released"
        );
        Ok(Response::new(ReleaseDeadLetterResponse {
            event: Some(convert::event(&posted.event)),
            held_back: posted.held_back,
        }))
    }
}
