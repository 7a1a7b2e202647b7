//! gRPC face of the service: decode, call one domain function, encode.

mod convert;
pub mod lifecycle;

use neurotriage_proto::referral::v1::{
    AssessRequest, AssessResponse, GetAssessmentRequest, GetAssessmentResponse,
    ListHospitalsRequest, ListHospitalsResponse, referral_service_server::ReferralService,
};
use neurotriage_service_kit::status::to_status;
use tonic::{Request, Response, Status};

use crate::{
    assessment::{self, AssessmentError, ReferralStore, Sources},
    evidence::EvidenceTable,
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "referral.neurotriage.example";

/// `neurotriage.referral.v1.ReferralService` over any [`ReferralStore`] and [`Sources`].
#[derive(Debug)]
pub struct ReferralGrpc<S, U> {
    store: S,
    sources: U,
    table: EvidenceTable,
}

impl<S, U> ReferralGrpc<S, U> {
    /// Serves from `store` and `sources` by the evidence of `table`.
    pub fn new(store: S, sources: U, table: EvidenceTable) -> Self {
        Self { store, sources, table }
    }
}

fn refuse(error: AssessmentError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

#[tonic::async_trait]
impl<S: ReferralStore, U: Sources> ReferralService for ReferralGrpc<S, U> {
    #[tracing::instrument(skip_all)]
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let request = convert::assessment_request(&request.into_inner()).map_err(refuse)?;
        let assessment = assessment::assess(&self.store, &self.sources, &self.table, request)
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

    #[tracing::instrument(skip_all)]
    async fn list_hospitals(
        &self,
        request: Request<ListHospitalsRequest>,
    ) -> Result<Response<ListHospitalsResponse>, Status> {
        let request = request.into_inner();
        let after = convert::page_token(&request.page_token).map_err(refuse)?;
        let (hospitals, more) = assessment::list_hospitals(&self.store, request.page_size, after)
            .await
            .map_err(refuse)?;
        let next_page_token = match hospitals.last() {
            Some(last) if more => last.hospital_id.to_string(),
            Some(_) | None => String::new(),
        };
        let hospitals = hospitals.into_iter().map(convert::hospital).collect();
        Ok(Response::new(ListHospitalsResponse { hospitals, next_page_token }))
    }
}
