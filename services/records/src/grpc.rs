//! gRPC face of the service: decode, call one domain function, encode.

mod convert;

use std::sync::Arc;

use neurotriage_proto::records::v1::{
    CreatePatientRequest, CreatePatientResponse, CreateSymptomReportRequest,
    CreateSymptomReportResponse, GetPatientRequest, GetPatientResponse, GetSymptomReportRequest,
    GetSymptomReportResponse, ListPatientsRequest, ListPatientsResponse, ListSymptomReportsRequest,
    ListSymptomReportsResponse, records_service_server::RecordsService,
};
use neurotriage_service_kit::status::to_status;
use tonic::{Request, Response, Status};
use tracing::{Span, field::display};

use crate::{
    error::RecordsError,
    lexicon::Lexicon,
    records::{self, RecordsStore},
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "records.neurotriage.example";

/// `neurotriage.records.v1.RecordsService` over any [`RecordsStore`].
#[derive(Debug)]
pub struct RecordsGrpc<S> {
    store: S,
    lexicon: Arc<Lexicon>,
}

impl<S> RecordsGrpc<S> {
    /// Serves from `store`; symptoms are coded with `lexicon`.
    pub fn new(store: S, lexicon: Arc<Lexicon>) -> Self {
        Self { store, lexicon }
    }
}

fn refuse(error: RecordsError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

// Spans hold ids only, and those only once they are known to be ids.
#[tonic::async_trait]
impl<S: RecordsStore> RecordsService for RecordsGrpc<S> {
    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn create_patient(
        &self,
        request: Request<CreatePatientRequest>,
    ) -> Result<Response<CreatePatientResponse>, Status> {
        let (request_id, draft) = convert::create_patient(request.into_inner()).map_err(refuse)?;
        let patient =
            records::create_patient(&self.store, request_id, draft).await.map_err(refuse)?;
        Span::current().record("patient_id", display(patient.patient_id));
        Ok(Response::new(CreatePatientResponse { patient: Some(convert::patient(patient)) }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn get_patient(
        &self,
        request: Request<GetPatientRequest>,
    ) -> Result<Response<GetPatientResponse>, Status> {
        let patient_id = convert::patient_id(&request.get_ref().patient_id).map_err(refuse)?;
        Span::current().record("patient_id", display(patient_id));
        let patient = records::get_patient(&self.store, patient_id).await.map_err(refuse)?;
        Ok(Response::new(GetPatientResponse { patient: Some(convert::patient(patient)) }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_patients(
        &self,
        request: Request<ListPatientsRequest>,
    ) -> Result<Response<ListPatientsResponse>, Status> {
        let request = request.into_inner();
        let before = convert::patients_token(&request.page_token).map_err(refuse)?;
        let (patients, more) =
            records::list_patients(&self.store, request.page_size, before).await.map_err(refuse)?;
        let last = patients.last().filter(|_| more);
        let next_page_token =
            last.map(|last| convert::next_patients_token(last.patient_id)).unwrap_or_default();
        let patients = patients.into_iter().map(convert::patient).collect();
        Ok(Response::new(ListPatientsResponse { patients, next_page_token }))
    }

    #[tracing::instrument(skip_all, fields(patient_id, symptom_report_id))]
    async fn create_symptom_report(
        &self,
        request: Request<CreateSymptomReportRequest>,
    ) -> Result<Response<CreateSymptomReportResponse>, Status> {
        let (request_id, patient_id, text) =
            convert::create_report(request.into_inner()).map_err(refuse)?;
        Span::current().record("patient_id", display(patient_id));
        let report =
            records::create_report(&self.store, &self.lexicon, request_id, patient_id, text)
                .await
                .map_err(refuse)?;
        Span::current().record("symptom_report_id", display(report.symptom_report_id));
        Ok(Response::new(CreateSymptomReportResponse { report: Some(convert::report(report)) }))
    }

    #[tracing::instrument(skip_all, fields(symptom_report_id))]
    async fn get_symptom_report(
        &self,
        request: Request<GetSymptomReportRequest>,
    ) -> Result<Response<GetSymptomReportResponse>, Status> {
        let symptom_report_id =
            convert::symptom_report_id(&request.get_ref().symptom_report_id).map_err(refuse)?;
        Span::current().record("symptom_report_id", display(symptom_report_id));
        let report = records::get_report(&self.store, symptom_report_id).await.map_err(refuse)?;
        Ok(Response::new(GetSymptomReportResponse { report: Some(convert::report(report)) }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn list_symptom_reports(
        &self,
        request: Request<ListSymptomReportsRequest>,
    ) -> Result<Response<ListSymptomReportsResponse>, Status> {
        let request = request.into_inner();
        let patient_id = convert::patient_id(&request.patient_id).map_err(refuse)?;
        Span::current().record("patient_id", display(patient_id));
        let before = convert::reports_token(&request.page_token).map_err(refuse)?;
        let (reports, more) =
            records::list_reports(&self.store, patient_id, request.page_size, before)
                .await
                .map_err(refuse)?;
        let last = reports.last().filter(|_| more);
        let next_page_token = last
            .map(|last| convert::next_reports_token(last.symptom_report_id))
            .unwrap_or_default();
        let reports = reports.into_iter().map(convert::report).collect();
        Ok(Response::new(ListSymptomReportsResponse { reports, next_page_token }))
    }
}
