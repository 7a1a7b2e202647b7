//! The ingestion service as a source of studies.

use std::time::Duration;

use neurotriage_domain::StudyId;
use neurotriage_proto::ingestion::v1::{
    GetStudyRequest, ingestion_service_client::IngestionServiceClient,
};
use neurotriage_service_kit::client::{self, Upstream};
use tonic::{Request, transport::Channel};

use crate::segmentation::{PreparedStudy, SegmentationError, StudySource};

/// Longest wait for one answer of the ingestion service.
const DEADLINE: Duration = Duration::from_secs(10);

/// [`StudySource`] over gRPC.
#[derive(Clone, Debug)]
pub struct IngestionClient {
    channel: Channel,
}

impl IngestionClient {
    /// Asks the service behind `channel`.
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

impl StudySource for IngestionClient {
    async fn prepared(&self, study_id: StudyId) -> Result<PreparedStudy, SegmentationError> {
        let mut client = IngestionServiceClient::new(client::traced(self.channel.clone()));
        let mut request = Request::new(GetStudyRequest { study_id: study_id.to_string() });
        request.set_timeout(DEADLINE);
        let response = client.get_study(request).await.map_err(|status| {
            SegmentationError::Upstream(Box::new(Upstream::new("ingestion", status)))
        })?;
        let parsed = response.into_inner().study.and_then(|study| {
            let patient_id = study.patient_id.parse().ok()?;
            let prepared = study.prepared?;
            let digest = prepared.blob?.digest.parse().ok()?;
            let (profile, profile_version) = (prepared.profile, prepared.profile_version);
            Some(PreparedStudy { patient_id, digest, profile, profile_version })
        });
        parsed.ok_or_else(|| SegmentationError::Store {
            operation: "read the answer of the ingestion service",
            source: "study without a patient or a prepared object".into(),
        })
    }
}
