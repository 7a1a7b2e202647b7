//! What the other services know, over gRPC.

mod convert;
mod diagnosis;
mod fhir;

use std::time::{Duration, Instant};

use neurotriage_domain::{PatientId, SegmentationId, StudyId, SymptomReportId};
use neurotriage_proto::{
    ingestion::v1::{
        GetStudyRequest, GetStudyResponse, ingestion_service_client::IngestionServiceClient,
    },
    records::v1::{
        GetPatientRequest, GetPatientResponse, GetSymptomReportRequest, GetSymptomReportResponse,
        records_service_client::RecordsServiceClient,
    },
    segmentation::v1::{
        GetSegmentationRequest, GetSegmentationResponse,
        segmentation_service_client::SegmentationServiceClient,
    },
};
use neurotriage_service_kit::client::{TracedChannel, Upstream, traced};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use crate::assessment::{AssessmentError, Kept, Patient, Segmentation, Sources, SymptomReport};

/// Deadline of every call: each reads one row, and two calls at most follow one another.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// [`Sources`] over channels to the services.
#[derive(Clone, Debug)]
pub struct GrpcSources {
    records: RecordsServiceClient<TracedChannel>,
    segmentation: SegmentationServiceClient<TracedChannel>,
    ingestion: IngestionServiceClient<TracedChannel>,
    /// When the caller's time is over.
    deadline: Option<Instant>,
}

impl GrpcSources {
    /// Asks the services at the other ends of the channels.
    pub fn new(records: Channel, segmentation: Channel, ingestion: Channel) -> Self {
        Self {
            records: RecordsServiceClient::new(traced(records)),
            segmentation: SegmentationServiceClient::new(traced(segmentation)),
            ingestion: IngestionServiceClient::new(traced(ingestion)),
            deadline: None,
        }
    }

    /// Returns a request that may take [`CALL_DEADLINE`], or what is left of the caller's time.
    fn request<T>(&self, message: T) -> Request<T> {
        self.request_within(CALL_DEADLINE, message)
    }

    fn request_within<T>(&self, longest: Duration, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.left().map_or(longest, |left| left.min(longest)));
        request
    }

    async fn get_study(&self, study_id: StudyId) -> Result<GetStudyResponse, AssessmentError> {
        let message = GetStudyRequest { study_id: study_id.to_string() };
        let answer = self.ingestion.clone().get_study(self.request(message)).await;
        let answer = answer.map_err(failed("ingestion", Kept::Study, study_id.as_uuid()))?;
        Ok(answer.into_inner())
    }

    async fn get_patient(
        &self,
        patient_id: PatientId,
    ) -> Result<GetPatientResponse, AssessmentError> {
        let message = GetPatientRequest { patient_id: patient_id.to_string() };
        let answer = self.records.clone().get_patient(self.request(message)).await;
        let id = patient_id.as_uuid();
        Ok(answer.map_err(failed("records", Kept::Patient, id))?.into_inner())
    }

    async fn get_symptom_report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> Result<GetSymptomReportResponse, AssessmentError> {
        let message = GetSymptomReportRequest { symptom_report_id: symptom_report_id.to_string() };
        let answer = self.records.clone().get_symptom_report(self.request(message)).await;
        let id = symptom_report_id.as_uuid();
        Ok(answer.map_err(failed("records", Kept::SymptomReport, id))?.into_inner())
    }

    async fn get_segmentation(
        &self,
        segmentation_id: SegmentationId,
    ) -> Result<GetSegmentationResponse, AssessmentError> {
        let message = GetSegmentationRequest { segmentation_id: segmentation_id.to_string() };
        let answer = self.segmentation.clone().get_segmentation(self.request(message)).await;
        let id = segmentation_id.as_uuid();
        Ok(answer.map_err(failed("segmentation", Kept::Segmentation, id))?.into_inner())
    }

    /// Returns what is left of the caller's time, if it set a limit.
    fn left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

fn failed(service: &'static str, kept: Kept, id: Uuid) -> impl Fn(Status) -> AssessmentError {
    move |status| {
        if status.code() == Code::NotFound {
            return AssessmentError::Missing { kept, id };
        }
        AssessmentError::Upstream(Box::new(Upstream::new(service, status)))
    }
}

impl Sources for GrpcSources {
    async fn symptom_report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> Result<SymptomReport, AssessmentError> {
        convert::symptom_report(self.get_symptom_report(symptom_report_id).await?)
    }

    async fn patient(&self, patient_id: PatientId) -> Result<Patient, AssessmentError> {
        convert::patient(self.get_patient(patient_id).await?)
    }

    async fn remaining_patient(&self, patient_id: PatientId) -> Result<PatientId, AssessmentError> {
        convert::remaining_patient(self.get_patient(patient_id).await?)
    }

    async fn segmentation(
        &self,
        segmentation_id: SegmentationId,
    ) -> Result<Segmentation, AssessmentError> {
        convert::segmentation(self.get_segmentation(segmentation_id).await?)
    }

    async fn patient_of_study(&self, study_id: StudyId) -> Result<PatientId, AssessmentError> {
        convert::patient_of_study(self.get_study(study_id).await?)
    }
}
