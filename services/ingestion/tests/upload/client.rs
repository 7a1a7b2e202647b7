//! Calls of whoever has a token.

use neurotriage_proto::{
    common::v1::Modality,
    ingestion::v1::{
        DownloadVolumeRequest, GetStudyRequest, ListStudiesRequest,
        ingestion_service_client::IngestionServiceClient,
    },
};
use neurotriage_testkit::issuer::Bearer;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use super::harness::{Harness, reason, study};

/// Who calls, and in which trace: `traceparent`, as W3C writes it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Bearer, Option<&'static str>);

impl Interceptor for Caller {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut request = self.0.call(request)?;
        if let Some(trace) = self.1 {
            request.metadata_mut().insert("traceparent", MetadataValue::from_static(trace));
        }
        Ok(request)
    }
}

pub(crate) type Client = IngestionServiceClient<InterceptedService<Channel, Caller>>;

pub(crate) fn client(harness: &Harness, bearer: Bearer) -> Client {
    IngestionServiceClient::with_interceptor(harness.channel.clone(), Caller(bearer, None))
}

pub(crate) fn traced_client(harness: &Harness, bearer: Bearer, trace: &'static str) -> Client {
    IngestionServiceClient::with_interceptor(harness.channel.clone(), Caller(bearer, Some(trace)))
}

pub(crate) async fn upload(
    client: &mut Client,
    request_id: &str,
    patient: &str,
) -> Result<String, Status> {
    let messages = tokio_stream::iter(study(request_id, patient));
    let answer = client.upload_study(messages).await?.into_inner();
    Ok(answer.study.expect("a study").study_id)
}

pub(crate) async fn get(client: &mut Client, study_id: &str) -> Result<String, Status> {
    let request = GetStudyRequest { study_id: study_id.to_owned() };
    Ok(client.get_study(request).await?.into_inner().study.expect("a study").patient_id)
}

pub(crate) async fn list(client: &mut Client, patient_id: &str) -> Result<usize, Status> {
    let request =
        ListStudiesRequest { patient_id: patient_id.to_owned(), ..ListStudiesRequest::default() };
    Ok(client.list_studies(request).await?.into_inner().studies.len())
}

pub(crate) async fn download(client: &mut Client, study_id: &str) -> Result<usize, Status> {
    let modality = Modality::T1.into();
    let request = DownloadVolumeRequest { study_id: study_id.to_owned(), modality };
    let mut stream = client.download_volume(request).await?.into_inner();
    let mut bytes = 0;
    while let Some(message) = stream.message().await? {
        bytes += message.data.len();
    }
    Ok(bytes)
}

pub(crate) fn refused<T>(result: Result<T, Status>, case: &str) -> (Code, String) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    (status.code(), reason(&status))
}
