//! Many creates in one call.

use std::time::Duration;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use neurotriage_domain::{DomainError as _, ErrorCode, once_per_field};
use neurotriage_proto::records::v1::{
    self as pb, batch_create_request::Create, batch_create_result::Outcome,
};
use neurotriage_service_kit::audit::Call;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::{convert, refuse};
use crate::{
    error::RecordsError,
    records::{NewEntry, Read, Records, RecordsStore},
};

/// Most creates of one call: what they answer stays below the 4 MiB of a message.
const CREATES_MAX: usize = 10_000;
/// Most bytes of wrong fields in one answer.
const VIOLATION_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait for the next create if nobody says: a program that reads from a slow source goes on, one that forgot its
/// stream holds no place in it.
pub const IDLE_MAX_DEFAULT: Duration = Duration::from_secs(30);
/// Creates of one call that run at a time, so that it leaves connections to others.
const AT_ONCE: usize = 4;

pub(super) async fn create<S: RecordsStore>(
    records: &Records<S>,
    call: &Call,
    creates: Streaming<pb::BatchCreateRequest>,
    idle_max: Duration,
) -> Result<Vec<pb::BatchCreateResult>, Status> {
    let numbered = in_time(creates, idle_max).enumerate().map(|(at, create)| match create {
        Ok(_) if at >= CREATES_MAX => {
            let right = format!("at most {CREATES_MAX} in one stream; send the others in another");
            Err(refuse(RecordsError::field("create", right)))
        }
        create => create,
    });
    let mut results: Vec<pb::BatchCreateResult> = numbered
        .map_ok(|request| async move {
            match one(records, call, request).await {
                Ok(id) => Ok(Outcome::Id(id.to_string())),
                Err(error) => refusal(&error).map(Outcome::Error).ok_or_else(|| refuse(error)),
            }
        })
        .try_buffered(AT_ONCE)
        .map_ok(|outcome| pb::BatchCreateResult { outcome: Some(outcome) })
        .try_collect()
        .await?;
    shorten(&mut results);
    Ok(results)
}

/// Ends a stream with an error when its next item does not come within `idle_max` of being asked for. The time that is
/// spent on those before does not count.
fn in_time<T>(
    items: impl Stream<Item = Result<T, Status>> + Unpin,
    idle_max: Duration,
) -> impl Stream<Item = Result<T, Status>> {
    stream::unfold(Some(items), move |items| async move {
        let mut items = items?;
        match timeout(idle_max, items.next()).await {
            Ok(next) => next.map(|item| (item, Some(items))),
            Err(_) => {
                let idle_max_s = idle_max.as_secs();
                Some((Err(refuse(RecordsError::BatchIdle { idle_max_s })), None))
            }
        }
    })
}

/// Leaves the wrong fields of later creates out where they would make the answer too long.
fn shorten(results: &mut [pb::BatchCreateResult]) {
    let mut bytes = 0;
    for result in results {
        let Some(Outcome::Error(error)) = &mut result.outcome else { continue };
        let own = error.field_violations.iter();
        bytes += own.map(|own| own.field.len() + own.description.len() + 8).sum::<usize>();
        if bytes > VIOLATION_BYTES_MAX {
            error.field_violations.clear();
        }
    }
}

async fn one<S: RecordsStore>(
    records: &Records<S>,
    call: &Call,
    request: pb::BatchCreateRequest,
) -> Result<Uuid, RecordsError> {
    // A stream can last longer than the token it began with.
    call.check_expiry()?;
    let kinds = "a patient, a symptom report, a link to a study or a note";
    match request.create.ok_or_else(|| RecordsError::field("create", kinds))? {
        Create::Patient(create) => {
            let (request_id, draft) = convert::patient::create(create);
            let patient = records.create_patient(call, request_id, draft).await?;
            Ok(patient.patient_id.as_uuid())
        }
        Create::SymptomReport(create) => {
            let (new, draft) = convert::entry::create_report(create);
            check_patient(call, &new)?;
            Ok(records.create_report(call, new, draft).await?.entry_id)
        }
        Create::StudyLink(create) => {
            let (new, link, unreadable) = convert::entry::link_study(create);
            check_patient(call, &new)?;
            Ok(records.link_study(call, new, link, unreadable).await?.entry_id)
        }
        Create::Note(create) => {
            let (new, text) = convert::entry::create_note(create);
            check_patient(call, &new)?;
            Ok(records.create_note(call, new, text).await?.entry_id)
        }
    }
}

/// Checks that the call may touch the patient, if the create names one.
fn check_patient(call: &Call, new: &Read<NewEntry>) -> Result<(), RecordsError> {
    Ok(new.as_ref().map_or(Ok(()), |new| call.check_patient(new.patient_id))?)
}

/// Returns what is wrong with one create, or nothing if the error is not of that create alone: then the call ends,
/// since the next ones would fail as well.
fn refusal(error: &RecordsError) -> Option<pb::BatchCreateError> {
    let code = match error.code() {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::FailedPrecondition => Code::FailedPrecondition,
        ErrorCode::Aborted => Code::Aborted,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::Unauthenticated
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unavailable
        | ErrorCode::DeadlineExceeded
        | ErrorCode::Internal => return None,
    };
    let violations = once_per_field(error.field_violations());
    let violations = violations.into_iter().map(|violation| pb::FieldViolation {
        field: violation.field,
        description: violation.description,
    });
    Some(pb::BatchCreateError {
        code: code.into(),
        reason: error.reason().to_owned(),
        message: error.to_string(),
        field_violations: violations.collect(),
        metadata: error
            .metadata()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    })
}
