//! Messages that are none: what a caller sees of bytes that can't be read as the contract's message.
//!
//! The generated code answers INTERNAL for them, and OUT_OF_RANGE for a message that is too long, as gRPC asks of a
//! library. Here the caller's mistake is the caller's: INVALID_ARGUMENT with the field that is wrong, or with an empty
//! field where the message was not read. What was sent is not repeated.

use http::{HeaderMap, Response};
use neurotriage_domain::{DomainError, ErrorCode, FieldViolation};
use tonic::{Code, Status};

use crate::status::to_status;

/// `ErrorInfo.domain` of a message that can't be read.
pub const MESSAGE_ERROR_DOMAIN: &str = "message.neurotriage.example";

/// How the generated code begins what it says of such a message, before the path of the field.
const UNREADABLE: &str = "failed to decode Protobuf message: ";

/// How it begins what it says of a message that is too long, and what stands before the most bytes.
const TOO_LONG: &str = "Error, decoded message length too large: ";
const LIMIT: &str = "the limit is: ";

/// A message that can't be read.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("message can't be read; see the field violations")]
    Unreadable([FieldViolation; 1]),
    #[error("message is too long; see the field violations")]
    TooLong([FieldViolation; 1]),
}

impl DomainError for Malformed {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "MALFORMED_MESSAGE",
            Self::TooLong(_) => "MESSAGE_TOO_LONG",
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Unreadable(violations) | Self::TooLong(violations) => violations,
        }
    }
}

/// Returns the answer, or one that names the wrong field if it says that the message can't be read.
pub(crate) fn name_field<B: Default>(response: Response<B>) -> Response<B> {
    match malformed(response.headers()) {
        Some(error) => to_status(MESSAGE_ERROR_DOMAIN, error).into_http(),
        None => response,
    }
}

fn malformed(headers: &HeaderMap) -> Option<Malformed> {
    // Only errors have it here: the status of an answer comes in trailers.
    let status = Status::from_header_map(headers)?;
    let (code, message) = (status.code(), status.message());
    if code == Code::Internal {
        let text = message.strip_prefix(UNREADABLE)?;
        Some(Malformed::Unreadable([field(text)]))
    } else if code == Code::OutOfRange {
        let (_, limit) = message.strip_prefix(TOO_LONG)?.split_once(LIMIT)?;
        // No field is known: nothing of the message was read.
        let description = format!("a message of at most {limit}");
        Some(Malformed::TooLong([FieldViolation { field: String::new(), description }]))
    } else {
        None
    }
}

/// Reads `Patient.name: CreatePatientRequest.patient: what is wrong`, the innermost field first.
fn field(text: &str) -> FieldViolation {
    let mut fields: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((place, after)) = rest.split_once(": ") {
        let Some((message, field)) = place.split_once('.') else { break };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_name(message) || !is_name(field) {
            break;
        }
        fields.push(field);
        rest = after;
    }
    fields.reverse();
    let description = if rest.contains("UTF-8") {
        "text in UTF-8"
    } else {
        "what the contract says, encoded as Protocol Buffers"
    };
    FieldViolation { field: fields.join("."), description: description.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_named_from_the_outermost_in() {
        // (what the generated code says, field, what would be right)
        let table = [
            (
                "GetPatientRequest.patient_id: invalid string value: data is not UTF-8 encoded",
                "patient_id",
                "UTF-8",
            ),
            (
                "Patient.name: CreatePatientRequest.patient: invalid string value: data is not UTF-8 encoded",
                "patient.name",
                "UTF-8",
            ),
            ("buffer underflow", "", "contract"),
            (
                "Coordinates.latitude_degrees: Address.coordinates: invalid wire type: Varint (expected SixtyFourBit)",
                "coordinates.latitude_degrees",
                "contract",
            ),
        ];
        for (text, path, right) in table {
            let violation = field(text);
            assert_eq!(violation.field, path, "{text}");
            assert!(violation.description.contains(right), "{text}");
        }
    }

    #[test]
    fn other_answers_stay_as_they_are() {
        let of = |status: Status| name_field(status.into_http::<()>());
        let code = |response: &Response<()>| {
            response.headers()[Status::GRPC_STATUS].to_str().unwrap().parse::<i32>().unwrap()
        };
        let too_long = format!("{TOO_LONG}found 9 bytes, {LIMIT}8 bytes");
        for status in [
            Status::internal(format!("{UNREADABLE}A.b: invalid varint")),
            Status::out_of_range(&too_long),
        ] {
            assert_eq!(code(&of(status)), i32::from(Code::InvalidArgument));
        }
        for status in [
            Status::internal("internal error"),
            Status::internal(too_long),
            Status::out_of_range("page"),
            Status::invalid_argument(format!("{UNREADABLE}A.b: invalid varint")),
        ] {
            let expected = i32::from(status.code());
            assert_eq!(code(&of(status)), expected);
        }
        assert!(name_field(Response::new(())).headers().is_empty());
    }
}
