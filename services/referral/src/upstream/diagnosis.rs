//! What a diagnosis asks of the other services.

use std::time::{Duration, Instant};

use neurotriage_domain::{SegmentationId, StudyId, SymptomReportId};
use neurotriage_proto::segmentation::v1::{
    GetModelRequest, SegmentStudyRequest, segment_study_response::Content,
};
use neurotriage_service_kit::client::Upstream;
use tonic::Status;

use super::{GrpcSources, convert};
use crate::{
    assessment::AssessmentError,
    diagnosis::{DiagnosisSources, ReportOrigin, StudyOrigin, Tell},
    measurement::Marking,
};

/// Longest time of a segmentation whose caller set no deadline.
const SEGMENT_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// What is told of a segmentation that cannot be made.
fn segmenting(status: Status) -> AssessmentError {
    AssessmentError::Upstream(Box::new(Upstream::new("segmentation", status)))
}

impl DiagnosisSources for GrpcSources {
    fn until(&self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    async fn study(&self, study_id: StudyId) -> Result<StudyOrigin, AssessmentError> {
        convert::study_origin(self.get_study(study_id).await?)
    }

    async fn report(
        &self,
        symptom_report_id: SymptomReportId,
    ) -> Result<ReportOrigin, AssessmentError> {
        convert::report_origin(self.get_symptom_report(symptom_report_id).await?)
    }

    async fn serving_model(&self) -> Result<String, AssessmentError> {
        let request = self.request(GetModelRequest {});
        let answer = self.segmentation.clone().get_model(request).await.map_err(segmenting)?;
        convert::serving_model(answer.into_inner())
    }

    async fn segment_study(
        &self,
        study_id: StudyId,
        tell: Tell<'_>,
    ) -> Result<Marking, AssessmentError> {
        let message = SegmentStudyRequest { study_id: study_id.to_string() };
        let request = self.request_within(self.left().unwrap_or(SEGMENT_DEADLINE), message);
        let answer = self.segmentation.clone().segment_study(request).await.map_err(segmenting)?;
        let mut messages = answer.into_inner();
        while let Some(message) = messages.message().await.map_err(segmenting)? {
            match message.content {
                Some(Content::Progress(progress)) => tell(convert::step_progress(&progress)),
                Some(Content::Segmentation(segmentation)) => return convert::marking(segmentation),
                // Of a later version of the contract.
                None => {}
            }
        }
        Err(convert::malformed("segmentation", "no segmentation at the end of the stream"))
    }

    async fn marking(&self, segmentation_id: SegmentationId) -> Result<Marking, AssessmentError> {
        let segmentation = self.get_segmentation(segmentation_id).await?.segmentation;
        convert::marking(
            segmentation.ok_or_else(|| convert::malformed("segmentation", "no segmentation"))?,
        )
    }
}
