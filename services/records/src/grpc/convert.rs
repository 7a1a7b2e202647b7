//! Between protobuf messages and domain types. The only place that knows both.

pub(super) mod entry;
pub(super) mod patient;

use std::time::SystemTime;

use neurotriage_domain::{FieldViolation, PatientId};
use prost_types::Timestamp;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    error::violation,
    patient::date,
    records::Read,
    symptoms::{CODE, is_code},
};

/// Wrong fields, as they are found.
pub(super) type Violations = Vec<FieldViolation>;

pub(super) fn patient_id(field: &str, text: &str) -> Result<PatientId, FieldViolation> {
    // What was sent is not repeated: it might be anything, a name too.
    text.parse().map_err(|_| violation(field, "a UUID"))
}

pub(super) fn uuid(field: &str, text: &str) -> Result<Uuid, FieldViolation> {
    Uuid::try_parse(text).map_err(|_| violation(field, "a UUID"))
}

fn request_id(text: &str) -> Result<Uuid, FieldViolation> {
    Uuid::try_parse(text).map_err(|_| violation("request_id", "a UUID chosen by the caller"))
}

/// Returns the code of a finding that is looked for, if there is one; notes it as wrong if no finding can have it.
fn code(text: &str, wrong: &mut Violations) -> Option<String> {
    let code = text.trim();
    if code.is_empty() {
        return None;
    }
    if !is_code(code) {
        wrong.push(violation("code", format!("{CODE}, or empty")));
    }
    Some(code.to_owned())
}

/// Returns the time, if there is one; notes it as wrong if it can't be read.
fn time(field: &str, at: Option<Timestamp>, wrong: &mut Violations) -> Option<OffsetDateTime> {
    let read = time_of(&at?);
    if read.is_none() {
        wrong.push(violation(field, "a time of the years 1 to 9999"));
    }
    read
}

/// Returns a value of one field as that of a request, of which more may be wrong.
pub(super) fn read<T>(field: Result<T, FieldViolation>) -> Read<T> {
    field.map_err(|wrong| vec![wrong])
}

/// Returns the value, if nothing is wrong.
fn unless<T>(wrong: Violations, value: T) -> Read<T> {
    if wrong.is_empty() { Ok(value) } else { Err(wrong) }
}

/// Returns the time to the microsecond, which is what databases keep.
fn time_of(at: &Timestamp) -> Option<OffsetDateTime> {
    if !(0..1_000_000_000).contains(&at.nanos) {
        return None;
    }
    let seconds = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
    let micros = at.nanos.unsigned_abs() / 1000;
    let time = seconds.replace_microsecond(micros).ok()?;
    (1..=9999).contains(&time.year()).then_some(time)
}

pub(super) fn timestamp(at: OffsetDateTime) -> Option<Timestamp> {
    Some(SystemTime::from(at).into())
}

/// Returns the date that `text` says; notes it as wrong if it says none.
fn read_date(field: &str, text: &str, wrong: &mut Violations) -> Option<Date> {
    if text.is_empty() {
        return None;
    }
    let read = date(text);
    if read.is_none() {
        wrong.push(violation(field, "YYYY-MM-DD, not in the future, or empty"));
    }
    read
}

fn date_text(date: Option<Date>) -> String {
    // `Date` shows itself as YYYY-MM-DD.
    date.map(|date| date.to_string()).unwrap_or_default()
}
