//! Clients of the four services, and their errors in words that help.

use std::{future::Future, time::Duration};

use anyhow::anyhow;
use neurotriage_proto::{
    ingestion::v1::ingestion_service_client::IngestionServiceClient,
    records::v1::records_service_client::RecordsServiceClient,
    referral::v1::referral_service_client::ReferralServiceClient,
    segmentation::v1::segmentation_service_client::SegmentationServiceClient,
};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::remote::{ServiceChannel, TokenArgs, connect};

/// How long a call that only reads or writes rows may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a segmentation service answers that was started with its own settings.
pub(crate) const SEGMENTATION_ENDPOINT: &str = "http://127.0.0.1:50052";

/// Where a referral service answers that was started with its own settings.
pub(crate) const REFERRAL_ENDPOINT: &str = "http://127.0.0.1:50054";

/// How long a file may be on its way.
pub(crate) const FILE_TIMEOUT: Duration = Duration::from_secs(120);

/// Where the four services answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Of ingestion, such as `http://127.0.0.1:50051`.
    pub ingestion: String,
    /// Of segmentation.
    pub segmentation: String,
    /// Of records.
    pub records: String,
    /// Of referral.
    pub referral: String,
}

/// Clients of the four services.
#[derive(Clone, Debug)]
pub struct Services {
    /// Of ingestion.
    pub ingestion: IngestionServiceClient<ServiceChannel>,
    /// Of segmentation.
    pub segmentation: SegmentationServiceClient<ServiceChannel>,
    /// Of records.
    pub records: RecordsServiceClient<ServiceChannel>,
    /// Of referral.
    pub referral: ReferralServiceClient<ServiceChannel>,
}

impl Services {
    /// Returns clients that connect when they are first used, without a token.
    ///
    /// # Errors
    /// If an endpoint is no URL.
    pub fn connect(endpoints: &Endpoints) -> anyhow::Result<Self> {
        Self::connect_as(endpoints, &TokenArgs::default())
    }

    /// As [`Services::connect`], with the token that `token` names.
    ///
    /// # Errors
    /// As [`Services::connect`]; and if there is no token, or it would go over an open line.
    pub fn connect_as(endpoints: &Endpoints, token: &TokenArgs) -> anyhow::Result<Self> {
        let to = |endpoint: &str| connect(endpoint, token);
        Ok(Self {
            ingestion: IngestionServiceClient::new(to(&endpoints.ingestion)?),
            segmentation: SegmentationServiceClient::new(to(&endpoints.segmentation)?),
            records: RecordsServiceClient::new(to(&endpoints.records)?),
            referral: ReferralServiceClient::new(to(&endpoints.referral)?),
        })
    }
}

/// Returns what an error adds that comes from asking the service of that name at `endpoint`.
pub(crate) fn asking(service: &str, endpoint: &str) -> String {
    format!("ask the {service} service at {endpoint} (--endpoint names another)")
}

/// Returns a request whose call may take `timeout`.
pub(crate) fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Returns the answer of `call`, or an error that says what `action` was tried.
pub(crate) async fn answer<T>(
    action: &'static str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> anyhow::Result<T> {
    call.await.map(Response::into_inner).map_err(|status| refused(action, &status))
}

/// Returns an error that says what was tried and what the service said.
pub(crate) fn refused(action: &'static str, status: &Status) -> anyhow::Error {
    anyhow!(said(status)).context(action)
}

/// Returns what the service said, which fields were wrong, and its reason.
pub(crate) fn said(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = status.message().to_owned();
    if text.is_empty() {
        text = status.code().description().to_owned();
    }
    if let Some(request) = details.bad_request() {
        for violation in &request.field_violations {
            // Most messages name the fields already.
            if violation.description.is_empty() || !text.contains(&violation.description) {
                text.push_str(&format!("; {}: {}", violation.field, violation.description));
            }
        }
    }
    if let Some(info) = details.error_info() {
        text.push_str(&format!(" [{}]", info.reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_says_action_message_fields_and_reason() {
        let mut details = ErrorDetails::with_error_info("INVALID_FIELDS", "records", []);
        details.add_bad_request_violation("text", "must not be empty");
        let status = Status::with_error_details(
            Code::InvalidArgument,
            "request has invalid fields",
            details,
        );
        assert_eq!(
            format!("{:#}", refused("store symptoms", &status)),
            "store symptoms: request has invalid fields; text: must not be empty [INVALID_FIELDS]"
        );
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("size", "at most 5");
        let told = "request has invalid fields: size: at most 5";
        let status = Status::with_error_details(Code::InvalidArgument, told, details);
        assert_eq!(format!("{:#}", refused("list", &status)), format!("list: {told}"));
        let bare = Status::new(Code::Unavailable, "");
        assert!(format!("{:#}", refused("upload", &bare)).starts_with("upload: "));
    }
}
