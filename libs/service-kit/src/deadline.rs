//! How long the caller of this service waits.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// Header in which gRPC sends a deadline.
const HEADER: &str = "grpc-timeout";
/// Most digits of its number.
const DIGITS_MAX: usize = 8;

/// Returns the time that the caller gives a call from its start on; `None` if it set no deadline, or none
/// that can be read.
///
/// tonic ends a call by it only until the first message of the answer: who answers with a stream, or
/// calls other services, holds it by itself.
///
/// # Source
/// "gRPC over HTTP2", section Requests: one to eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n`.
pub fn of_caller(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|letter| letter.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 60 * 60)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Request;

    use super::*;

    #[test]
    fn a_deadline_is_read_as_grpc_writes_it() {
        // (what the row is for, header, time)
        let table = [
            ("hours", "2H", Some(Duration::from_secs(7_200))),
            ("minutes", "3M", Some(Duration::from_secs(180))),
            ("seconds", "10S", Some(Duration::from_secs(10))),
            ("milliseconds", "250m", Some(Duration::from_millis(250))),
            ("microseconds", "99999999u", Some(Duration::from_micros(99_999_999))),
            ("nanoseconds", "7n", Some(Duration::from_nanos(7))),
            ("too many digits", "123456789n", None),
            ("no number", "S", None),
            ("no unit", "10", None),
            ("a sign", "+1S", None),
            ("empty", "", None),
        ];
        for (case, header, expected) in table {
            let mut metadata = MetadataMap::new();
            metadata.insert(HEADER, header.parse().unwrap());
            assert_eq!(of_caller(&metadata), expected, "case: {case}");
        }
        assert_eq!(of_caller(&MetadataMap::new()), None);
    }

    #[test]
    fn what_a_client_sets_comes_back() {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_millis(1_500));
        assert_eq!(of_caller(request.metadata()), Some(Duration::from_millis(1_500)));
    }
}
