//! Calls to other services: channels, trace context, and their errors as ours.

use std::{error::Error as _, str::FromStr as _, time::Duration};

use anyhow::Context as _;
use http::uri::Scheme;
use neurotriage_access::relay::Relay;
use neurotriage_domain::{DomainError, ErrorCode};
use opentelemetry::{global, propagation::Injector};
use tonic::{
    Code, Request, Status,
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Longest wait for a connection to another service.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is checked.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the other side may take to answer that check.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Deadline of a call whose caller set none.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// How long to wait before asking an absent service again, if it did not say.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// Longest piece of another service's message that is repeated.
const MESSAGE_CHARS_MAX: usize = 256;

/// Returns a channel to `endpoint`, such as `http://records:50053`, or `https://…` by the system's root
/// certificates.
///
/// Connects at the first call and again whenever the connection is lost. Needs a Tokio runtime.
///
/// # Errors
/// If `endpoint` is not a URL, or it is `https` and the system has no root certificates.
pub fn channel(endpoint: &str) -> anyhow::Result<Channel> {
    let mut endpoint = Endpoint::from_shared(endpoint.to_owned())
        .with_context(|| format!("read endpoint `{endpoint}`; give http://host:port"))?;
    if endpoint.uri().scheme() == Some(&Scheme::HTTPS) {
        let tls = ClientTlsConfig::new().with_native_roots();
        endpoint = endpoint.tls_config(tls).context("read the system's root certificates")?;
    }
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}

/// A channel whose calls carry the trace context of the current span and the caller's token.
pub type TracedChannel = InterceptedService<Channel, TraceContext>;

/// Returns `channel` with the trace context of the current span and the token of the current caller
/// added to each call, and a deadline of 30 seconds to each call that has none.
pub fn traced(channel: Channel) -> TracedChannel {
    InterceptedService::new(channel, TraceContext)
}

/// Adds the trace context of the current span, the caller's token, and a deadline where there is none.
#[derive(Clone, Copy, Debug)]
pub struct TraceContext;

impl Interceptor for TraceContext {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let context = tracing::Span::current().context();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut MetadataInjector(request.metadata_mut()));
        });
        if !request.metadata().contains_key("grpc-timeout") {
            request.set_timeout(DEADLINE_DEFAULT);
        }
        Relay.call(request)
    }
}

struct MetadataInjector<'a>(&'a mut MetadataMap);

impl Injector for MetadataInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A propagator writes plain ASCII; anything else would not be a trace context.
        let key = MetadataKey::from_str(key);
        let value = MetadataValue::try_from(value);
        if let (Ok(key), Ok(value)) = (key, value) {
            self.0.insert(key, value);
        }
    }
}

/// What another service answered instead of what was asked for, in our error classes.
///
/// - not found, already there, wrong state: passed on with the other's message
/// - unavailable, too slow, cancelled, connection lost: [`ErrorCode::Unavailable`], with a time to try
///   again
/// - no room: [`ErrorCode::ResourceExhausted`], with a time to try again
/// - the caller unknown, or not allowed to: passed on with the other's message, since the call went out with the
///   caller's token
/// - everything else, a refused request among it, is a bug on this side: [`ErrorCode::Internal`]
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Upstream {
    service: &'static str,
    class: ErrorCode,
    message: String,
    reason: String,
    retry_after: Option<Duration>,
}

impl Upstream {
    /// Returns the error for `status`, which `service` (such as `records`) answered.
    pub fn new(service: &'static str, status: Status) -> Self {
        // What came over the wire has no cause: this one is of a connection that broke, whatever its code.
        let broken = status.source().is_some();
        let class = if broken { ErrorCode::Unavailable } else { class(status.code()) };
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let asked = details.retry_info().and_then(|retry| retry.retry_delay);
        let message = match class {
            ErrorCode::Unavailable => format!("{service} service does not answer; try again"),
            ErrorCode::ResourceExhausted => format!("{service} service is busy; try again later"),
            ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::FailedPrecondition => {
                beginning(status.message())
            }
            ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => {
                format!("{service} service refused the call: {}", beginning(status.message()))
            }
            ErrorCode::InvalidArgument
            | ErrorCode::Aborted
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal => {
                format!("{service} service answered {:?} ({reason})", status.code())
            }
        };
        let retry_after = matches!(class, ErrorCode::Unavailable | ErrorCode::ResourceExhausted)
            .then(|| asked.unwrap_or(RETRY_AFTER_DEFAULT));
        Self { service, class, message, reason, retry_after }
    }

    /// Returns the reason the other service gave, such as `PATIENT_NOT_FOUND`; may be empty.
    pub fn upstream_reason(&self) -> &str {
        &self.reason
    }
}

/// Returns as much of another service's message as is repeated.
fn beginning(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

fn class(code: Code) -> ErrorCode {
    match code {
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::FailedPrecondition | Code::Aborted => ErrorCode::FailedPrecondition,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorCode::Unavailable,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Ok
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unknown
        | Code::DataLoss
        | Code::Internal => ErrorCode::Internal,
    }
}

impl DomainError for Upstream {
    fn code(&self) -> ErrorCode {
        self.class
    }

    fn reason(&self) -> &'static str {
        match self.class {
            ErrorCode::NotFound => "UPSTREAM_NOT_FOUND",
            ErrorCode::AlreadyExists => "UPSTREAM_ALREADY_EXISTS",
            ErrorCode::FailedPrecondition => "UPSTREAM_FAILED_PRECONDITION",
            ErrorCode::ResourceExhausted => "UPSTREAM_BUSY",
            ErrorCode::Unavailable => "UPSTREAM_UNAVAILABLE",
            ErrorCode::Unauthenticated => "UPSTREAM_UNAUTHENTICATED",
            ErrorCode::PermissionDenied => "UPSTREAM_PERMISSION_DENIED",
            ErrorCode::InvalidArgument
            | ErrorCode::Aborted
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal => "UPSTREAM_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("upstream", self.service.to_owned()), ("upstreamReason", self.reason.clone())]
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_class_of_another_service_becomes_ours() {
        // (code answered, class, reason, whether trying again helps)
        let table = [
            (Code::NotFound, ErrorCode::NotFound, "UPSTREAM_NOT_FOUND", false),
            (Code::AlreadyExists, ErrorCode::AlreadyExists, "UPSTREAM_ALREADY_EXISTS", false),
            (Code::Aborted, ErrorCode::FailedPrecondition, "UPSTREAM_FAILED_PRECONDITION", false),
            (Code::ResourceExhausted, ErrorCode::ResourceExhausted, "UPSTREAM_BUSY", true),
            (Code::Unavailable, ErrorCode::Unavailable, "UPSTREAM_UNAVAILABLE", true),
            (Code::DeadlineExceeded, ErrorCode::Unavailable, "UPSTREAM_UNAVAILABLE", true),
            (Code::Unauthenticated, ErrorCode::Unauthenticated, "UPSTREAM_UNAUTHENTICATED", false),
            (
                Code::PermissionDenied,
                ErrorCode::PermissionDenied,
                "UPSTREAM_PERMISSION_DENIED",
                false,
            ),
            (Code::InvalidArgument, ErrorCode::Internal, "UPSTREAM_FAILED", false),
            (Code::Unknown, ErrorCode::Internal, "UPSTREAM_FAILED", false),
        ];
        for (code, class, reason, again) in table {
            let error = Upstream::new("records", Status::new(code, "why"));
            assert_eq!((error.code(), error.reason()), (class, reason), "code: {code:?}");
            assert_eq!(error.retry_after().is_some(), again, "code: {code:?}");
        }
    }

    #[test]
    fn reason_and_delay_of_the_other_service_are_kept() {
        let mut details = ErrorDetails::with_error_info("QUEUE_FULL", "segmentation", []);
        details.set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let error = Upstream::new("segmentation", status);
        assert_eq!(error.upstream_reason(), "QUEUE_FULL");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.to_string(), "segmentation service is busy; try again later");
    }

    #[test]
    fn a_refused_caller_learns_who_refused_and_why() {
        let details = ErrorDetails::with_error_info("SCOPE_MISSING", "access", []);
        let message = "bearer token lacks a scope for this call; it needs user/Study.r";
        let status = Status::with_error_details(Code::PermissionDenied, message, details);
        let error = Upstream::new("ingestion", status);
        assert_eq!(error.to_string(), format!("ingestion service refused the call: {message}"));
        let metadata =
            [("upstream", "ingestion".to_owned()), ("upstreamReason", "SCOPE_MISSING".to_owned())];
        assert_eq!(error.metadata(), metadata);
        // From service to service the message does not grow without end.
        let long = Status::unauthenticated("x".repeat(10_000));
        assert!(Upstream::new("records", long).to_string().len() < MESSAGE_CHARS_MAX + 64);
    }

    #[test]
    fn a_transport_error_does_not_name_the_host() {
        let error =
            Upstream::new("records", Status::unavailable("tcp connect to 10.0.0.7 refused"));
        assert!(!error.to_string().contains("10.0.0.7"));
        let long = Upstream::new("records", Status::not_found("x".repeat(10_000)));
        assert_eq!(long.to_string().len(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn a_connection_that_breaks_is_a_service_that_is_away() {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = Upstream::new("segmentation", Status::from_error(Box::new(broken)));
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.retry_after().is_some());
    }

    #[test]
    fn a_deadline_is_added_only_where_there_is_none() {
        let call = |request| TraceContext.call(request).unwrap();
        assert!(call(Request::new(())).metadata().contains_key("grpc-timeout"));
        let mut short = Request::new(());
        short.set_timeout(Duration::from_millis(5));
        assert_eq!(call(short).metadata().get("grpc-timeout").unwrap(), "5000000n");
    }

    #[tokio::test]
    async fn an_endpoint_must_be_a_url() {
        assert!(channel("http://127.0.0.1:1").is_ok());
        assert!(channel("https://127.0.0.1:1").is_ok());
        assert!(channel("not a url").unwrap_err().to_string().contains("http://host:port"));
    }
}
