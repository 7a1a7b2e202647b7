//! Domain errors to `google.rpc.Status`, as AIP-193 asks.

use std::{collections::HashMap, error::Error};

use neurotriage_domain::{DomainError, ErrorCode, once_per_field};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Returns the status a client sees for `error`.
///
/// Always carries `ErrorInfo { reason, domain, metadata }`; carries `BadRequest` when fields were
/// wrong and `RetryInfo` when waiting helps. An internal error keeps its text to itself: the
/// client gets a fixed message, the log gets the whole chain.
///
/// `domain` is the name of the service, such as `records.neurotriage.example`.
pub fn to_status(domain: &'static str, error: impl DomainError) -> Status {
    let code = grpc_code(error.code());
    let message = if code == Code::Internal {
        tracing::error!(reason = error.reason(), error = %chain(&error), "request failed");
        "internal error".to_owned()
    } else {
        error.to_string()
    };

    let metadata: HashMap<String, String> =
        error.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut details = ErrorDetails::with_error_info(error.reason(), domain, metadata);
    for violation in once_per_field(error.field_violations()) {
        details.add_bad_request_violation(violation.field, violation.description);
    }
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message, details)
}

fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::FailedPrecondition => Code::FailedPrecondition,
        ErrorCode::Aborted => Code::Aborted,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Internal => Code::Internal,
    }
}

/// Returns the text of `error` and of everything that caused it, for the log.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use neurotriage_domain::FieldViolation;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("pool exhausted")]
    struct Db;

    #[derive(Debug, thiserror::Error)]
    #[error("sample {code:?}")]
    struct Sample {
        code: ErrorCode,
        #[source]
        source: Db,
        violations: Vec<FieldViolation>,
    }

    fn sample(code: ErrorCode) -> Sample {
        Sample { code, source: Db, violations: Vec::new() }
    }

    impl DomainError for Sample {
        fn code(&self) -> ErrorCode {
            self.code
        }
        fn reason(&self) -> &'static str {
            "SAMPLE"
        }
        fn metadata(&self) -> Vec<(&'static str, String)> {
            vec![("sampleId", "7".to_owned())]
        }
        fn field_violations(&self) -> &[FieldViolation] {
            &self.violations
        }
        fn retry_after(&self) -> Option<Duration> {
            (self.code == ErrorCode::Unavailable).then_some(Duration::from_secs(2))
        }
    }

    #[test]
    fn every_class_has_its_grpc_code() {
        let table = [
            (ErrorCode::InvalidArgument, Code::InvalidArgument),
            (ErrorCode::NotFound, Code::NotFound),
            (ErrorCode::AlreadyExists, Code::AlreadyExists),
            (ErrorCode::FailedPrecondition, Code::FailedPrecondition),
            (ErrorCode::Unauthenticated, Code::Unauthenticated),
            (ErrorCode::PermissionDenied, Code::PermissionDenied),
            (ErrorCode::ResourceExhausted, Code::ResourceExhausted),
            (ErrorCode::Unavailable, Code::Unavailable),
            (ErrorCode::DeadlineExceeded, Code::DeadlineExceeded),
            (ErrorCode::Internal, Code::Internal),
        ];
        for (class, code) in table {
            assert_eq!(to_status("sample.test", sample(class)).code(), code, "class: {class:?}");
        }
    }

    #[test]
    fn details_carry_reason_fields_and_delay() {
        let mut error = sample(ErrorCode::Unavailable);
        error.violations =
            vec![FieldViolation { field: "name".to_owned(), description: "too long".to_owned() }];
        let status = to_status("sample.test", error);
        assert_eq!(status.message(), "sample Unavailable");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("SAMPLE", "sample.test"));
        assert_eq!(info.metadata["sampleId"], "7");
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "name");
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_internal_error_hides_its_cause() {
        let status = to_status("sample.test", sample(ErrorCode::Internal));
        assert_eq!(status.message(), "internal error");
        assert_eq!(chain(&sample(ErrorCode::Internal)), "sample Internal: pool exhausted");
    }
}
