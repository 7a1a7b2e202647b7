//! gRPC face of the service: decode, call one domain function, encode.

mod convert;
mod directory;

use neurotriage_proto::referral::v1::{
    AssessRequest, AssessResponse, GetAssessmentRequest, GetAssessmentResponse,
    referral_service_server::ReferralService,
};
use neurotriage_service_kit::status::to_status;
use tonic::{Request, Response, Status};

pub use self::directory::DirectoryGrpc;
use crate::{
    assessment::{self, AssessmentError, Knowledge, ReferralStore, Sources},
    directory::DirectoryStore,
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "referral.neurotriage.example";

/// `neurotriage.referral.v1.ReferralService` over any [`ReferralStore`] and [`Sources`].
#[derive(Debug)]
pub struct ReferralGrpc<S, U> {
    store: S,
    sources: U,
    knowledge: Knowledge,
}

impl<S, U> ReferralGrpc<S, U> {
    /// Serves from `store` and `sources` by what `knowledge` says.
    pub fn new(store: S, sources: U, knowledge: Knowledge) -> Self {
        Self { store, sources, knowledge }
    }
}

fn refuse(error: AssessmentError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

#[tonic::async_trait]
impl<S: ReferralStore + DirectoryStore, U: Sources> ReferralService for ReferralGrpc<S, U> {
    #[tracing::instrument(skip_all)]
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let request = convert::assessment_request(&request.into_inner()).map_err(refuse)?;
        let assessment = assessment::assess(&self.store, &self.sources, &self.knowledge, request)
            .await
            .map_err(refuse)?;
        tracing::info!(
            assessment_id = %assessment.assessment_id,
            verdict = ?assessment.findings.comparison.verdict,
            "assessment answered"
        );
        let assessment = Some(convert::assessment(assessment));
        Ok(Response::new(AssessResponse { assessment }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_assessment(
        &self,
        request: Request<GetAssessmentRequest>,
    ) -> Result<Response<GetAssessmentResponse>, Status> {
        let assessment_id =
            convert::assessment_id(&request.get_ref().assessment_id).map_err(refuse)?;
        let assessment =
            assessment::get_assessment(&self.store, assessment_id).await.map_err(refuse)?;
        let assessment = Some(convert::assessment(assessment));
        Ok(Response::new(GetAssessmentResponse { assessment }))
    }
}
