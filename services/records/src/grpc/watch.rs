//! Changes as a stream.

use std::pin::Pin;

use futures::{Stream, stream};
use neurotriage_domain::FieldViolation;
use neurotriage_proto::records::v1 as pb;
use neurotriage_service_kit::audit::Call;
use tonic::Status;

use super::{convert, refuse, token};
use crate::{
    change::{Change, ChangeAction, Position, RecordKind, Told, Watchers},
    entry::EntryKind,
    error::{RecordsError, violation},
    records::{RecordsStore, both},
};

/// What a watcher is sent.
pub(super) type Changes =
    Pin<Box<dyn Stream<Item = Result<pb::WatchChangesResponse, Status>> + Send>>;

pub(super) async fn begin<S: RecordsStore>(
    store: S,
    watchers: &Watchers,
    call: Call,
    request: &pb::WatchChangesRequest,
) -> Result<Changes, RecordsError> {
    let patient_id = match request.patient_id.as_str() {
        "" => Ok(None),
        text => convert::read(convert::patient_id("patient_id", text)).map(Some),
    };
    let read = both(convert::read(begin_at(request)), patient_id);
    let (position, patient_id) = read.map_err(RecordsError::Invalid)?;
    if let Some(patient_id) = patient_id {
        call.check_patient(patient_id)?;
    }
    let watch = watchers.watch(store, call, position, patient_id).await?;
    // Ends after the first error.
    let changes = stream::try_unfold(watch, |mut watch| async {
        let told = watch.next().await.map_err(refuse)?;
        Ok(Some((response(told), watch)))
    });
    Ok(Box::pin(changes))
}

/// Returns after what to begin; nothing if it is now.
fn begin_at(request: &pb::WatchChangesRequest) -> Result<Option<Position>, FieldViolation> {
    match (token::position(&request.resume_token)?, request.from_beginning) {
        (Some(_), true) => Err(violation("from_beginning", "false where there is a token")),
        (None, true) => Ok(Some(Position::START)),
        (position, false) => Ok(position),
    }
}

fn response(told: Told) -> pb::WatchChangesResponse {
    let (position, change) = match told {
        Told::Change(change) => (change.position, Some(message(&change))),
        Told::Nothing(position) => (position, None),
    };
    pb::WatchChangesResponse { resume_token: token::resume_token(position), change }
}

fn message(change: &Change) -> pb::Change {
    let kind = match change.kind {
        RecordKind::Patient => pb::RecordKind::Patient,
        RecordKind::Entry(EntryKind::SymptomReport) => pb::RecordKind::SymptomReport,
        RecordKind::Entry(EntryKind::StudyLink) => pb::RecordKind::StudyLink,
        RecordKind::Entry(EntryKind::Note) => pb::RecordKind::Note,
    };
    let action = match change.action {
        ChangeAction::Created => pb::ChangeAction::Created,
        ChangeAction::Updated => pb::ChangeAction::Updated,
        ChangeAction::Deleted => pb::ChangeAction::Deleted,
        ChangeAction::Undeleted => pb::ChangeAction::Undeleted,
        ChangeAction::Erased => pb::ChangeAction::Erased,
        ChangeAction::Merged => pb::ChangeAction::Merged,
    };
    pb::Change {
        kind: kind.into(),
        record_id: change.record_id.to_string(),
        patient_id: change.patient_id.to_string(),
        action: action.into(),
        revision: change.revision,
        changed_at: convert::timestamp(change.changed_at),
    }
}
