//! gRPC face of the service: decode, call one domain function, encode.

mod convert;
pub mod diagnosis;
mod directory;
pub mod fhir;
pub mod lifecycle;

use neurotriage_audit::Action;
use neurotriage_proto::referral::v1::{
    AssessRequest, AssessResponse, GetAssessmentRequest, GetAssessmentResponse,
    referral_service_server::ReferralService,
};
use neurotriage_service_kit::{
    access::{Grant, Reach},
    audit::{Call, CallError},
    status::to_status,
};
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

fn refuse(error: impl Into<AssessmentError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Returns who calls, or why the request can't be answered.
fn call<T>(request: &Request<T>) -> Result<Call, CallError> {
    Call::of(request.extensions())
}

/// Returns true of a call that may touch one patient only: it pays for looking up whose data it asks for before
/// anything is done.
fn is_kept_to_patient<T>(request: &Request<T>) -> Result<bool, CallError> {
    let grant = Grant::of(request.extensions())?;
    Ok(matches!(grant.reach(), Reach::Patient(..)))
}

#[tonic::async_trait]
impl<S: ReferralStore + DirectoryStore, U: Sources> ReferralService for ReferralGrpc<S, U> {
    #[tracing::instrument(skip_all)]
    async fn assess(
        &self,
        request: Request<AssessRequest>,
    ) -> Result<Response<AssessResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let is_kept_to_patient = is_kept_to_patient(&request).map_err(refuse)?;
        let request = convert::assessment_request(&request.into_inner()).map_err(refuse)?;
        let Self { store, sources, knowledge } = self;
        if is_kept_to_patient {
            let report = sources.symptom_report(request.symptom_report_id).await.map_err(refuse)?;
            if let Err(error) = call.check_patient(report.patient_id) {
                let denied = store.deny(&call, Action::Create, report.patient_id, error).await;
                return Err(refuse(denied));
            }
        }
        let assessment =
            assessment::assess(store, sources, knowledge, &call, request).await.map_err(refuse)?;
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
        let call = call(&request).map_err(refuse)?;
        let assessment_id =
            convert::assessment_id(&request.get_ref().assessment_id).map_err(refuse)?;
        let assessment = self.store.find(&call, assessment_id).await.map_err(refuse)?;
        let assessment = Some(convert::assessment(assessment));
        Ok(Response::new(GetAssessmentResponse { assessment }))
    }
}
