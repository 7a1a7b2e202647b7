//! gRPC face of diagnoses: decode, call one domain function, encode.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use neurotriage_proto::referral::v1::{
    CompareStudiesRequest, CompareStudiesResponse, DiagnoseRequest, DiagnoseResponse,
    GetDiagnosisRequest, GetDiagnosisResponse, diagnose_response::Content,
    diagnosis_service_server::DiagnosisService,
};
use neurotriage_service_kit::{access::InCurrentCaller as _, deadline, status::to_status};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{ERROR_DOMAIN, call, convert, is_kept_to_patient};
use crate::diagnosis::{Diagnoser, DiagnosisError, DiagnosisSources, DiagnosisStore, Progress};

/// Messages that wait for a slow caller; progress beyond is left out.
const MESSAGES_WAITING_MAX: usize = 16;

/// `neurotriage.referral.v1.DiagnosisService` over any store and sources.
#[derive(Debug)]
pub struct DiagnosisGrpc<S, U> {
    diagnoser: Arc<Diagnoser<S, U>>,
}

impl<S, U> DiagnosisGrpc<S, U> {
    /// Serves with `diagnoser`.
    pub fn new(diagnoser: Diagnoser<S, U>) -> Self {
        Self { diagnoser: Arc::new(diagnoser) }
    }
}

fn refuse(error: impl Into<DiagnosisError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

#[tonic::async_trait]
impl<S: DiagnosisStore, U: DiagnosisSources> DiagnosisService for DiagnosisGrpc<S, U> {
    type DiagnoseStream = Pin<Box<dyn Stream<Item = Result<DiagnoseResponse, Status>> + Send>>;

    #[tracing::instrument(skip_all)]
    async fn diagnose(
        &self,
        request: Request<DiagnoseRequest>,
    ) -> Result<Response<Self::DiagnoseStream>, Status> {
        let time = deadline::of_caller(request.metadata());
        let call = call(&request).map_err(refuse)?;
        let is_kept_to_patient = is_kept_to_patient(&request).map_err(refuse)?;
        let request = convert::diagnosis_request(request.into_inner()).map_err(refuse)?;
        if is_kept_to_patient {
            self.diagnoser.check_patient(&call, request.study_id).await.map_err(refuse)?;
        }
        let (messages, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        let diagnoser = Arc::clone(&self.diagnoser);
        let task = async move {
            let sequence = AtomicU64::new(0);
            let next = || sequence.fetch_add(1, Ordering::Relaxed) + 1;
            let watch = |progress: Progress| {
                // A caller that reads slowly misses progress, never the diagnosis.
                let _ = messages.try_send(Ok(DiagnoseResponse {
                    diagnosis_id: progress.diagnosis_id.to_string(),
                    sequence: next(),
                    content: Some(Content::Progress(convert::diagnosis_progress(progress.at))),
                }));
            };
            let outcome = tokio::select! {
                outcome = diagnoser.diagnose(&call, &request, time, &watch) => outcome,
                () = messages.closed() => {
                    tracing::info!(request_id = %request.request_id, "caller of a diagnosis has gone");
                    return;
                }
            };
            let message = match outcome {
                Ok(answer) => {
                    let diagnosis_id = answer.diagnosis.diagnosis_id.to_string();
                    tracing::info!(diagnosis_id, "diagnosis answered");
                    let content = Some(Content::Diagnosis(convert::diagnosis(answer)));
                    Ok(DiagnoseResponse { diagnosis_id, sequence: next(), content })
                }
                Err(error) => Err(refuse(error)),
            };
            // Fails only if the caller has gone; then nobody waits.
            let _ = messages.send(message).await;
        };
        // Who works asks the other services with its own token, whoever else watches.
        tokio::spawn(task.in_current_span().in_current_caller());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    #[tracing::instrument(skip_all)]
    async fn get_diagnosis(
        &self,
        request: Request<GetDiagnosisRequest>,
    ) -> Result<Response<GetDiagnosisResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let diagnosis_id =
            convert::diagnosis_id(&request.get_ref().diagnosis_id).map_err(refuse)?;
        let answer = self.diagnoser.get(&call, diagnosis_id).await.map_err(refuse)?;
        let diagnosis = Some(convert::diagnosis(answer));
        Ok(Response::new(GetDiagnosisResponse { diagnosis }))
    }

    #[tracing::instrument(skip_all)]
    async fn compare_studies(
        &self,
        request: Request<CompareStudiesRequest>,
    ) -> Result<Response<CompareStudiesResponse>, Status> {
        let call = call(&request).map_err(refuse)?;
        let request = convert::comparison_request(&request.into_inner()).map_err(refuse)?;
        let comparison = self.diagnoser.compare_studies(&call, &request).await.map_err(refuse)?;
        let comparison = Some(convert::study_comparison(comparison));
        Ok(Response::new(CompareStudiesResponse { comparison }))
    }
}
