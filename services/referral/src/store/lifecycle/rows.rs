//! Rows of referrals, events and the outbox, and the values they hold.

use std::collections::HashMap;

use neurotriage_domain::{EventId, ReferralId};
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use time::OffsetDateTime;
use uuid::Uuid;

use super::failed;
use crate::lifecycle::{
    LifecycleError,
    event::{EVENT_VERSION, EventEnvelope, EventKind},
    outbox::{Cause, Fate, Lease, Letter, Release, Released, Row},
    referral::{Action, Actor, Change, Event, MoveKind, Referral, Role, State, Status, Terms},
};
use crate::store::vault::{SealedColumn, Vault};

/// Stands in column `referral.reason` where there is a reason: the text is that of the last event.
const SEALED: &str = "sealed";

/// Name of the fate of what is to be delivered.
pub(super) const PENDING: &str = "pending";
/// Name of the fate of what was given up.
pub(super) const DEAD: &str = "dead";

/// Table `referral`.
pub mod referral_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "referral")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub referral_id: Uuid,
        pub request_id: Uuid,
        pub patient_id: Uuid,
        pub assessment_id: Uuid,
        pub sender_hospital_id: String,
        pub hospital_id: String,
        pub referrer_id: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub deadline_at: Option<TimeDateTimeWithTimeZone>,
        pub state: String,
        pub revision: i64,
        pub updated_at: TimeDateTimeWithTimeZone,
        pub scheduled_at: Option<TimeDateTimeWithTimeZone>,
        pub reason: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `referral_event`.
pub mod event_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "referral_event")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        pub referral_id: Uuid,
        pub revision: i64,
        pub request_id: Uuid,
        #[sea_orm(column_name = "move")]
        pub kind: Option<String>,
        pub from_state: Option<String>,
        pub to_state: String,
        pub actor_role: String,
        pub actor_id: String,
        pub occurred_at: TimeDateTimeWithTimeZone,
        pub scheduled_at: Option<TimeDateTimeWithTimeZone>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `referral_reason`.
pub mod reason_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "referral_reason")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        pub readable: Option<String>,
        pub sealed: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `outbox`.
pub mod outbox_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "outbox")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        pub referral_id: Uuid,
        pub sequence: i64,
        pub sender_hospital_id: String,
        pub hospital_id: String,
        pub body: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub fate: String,
        pub settled_at: Option<TimeDateTimeWithTimeZone>,
        pub cause: Option<String>,
        pub attempts: i64,
        pub last_attempt_at: Option<TimeDateTimeWithTimeZone>,
        pub not_before: Option<TimeDateTimeWithTimeZone>,
        pub released_at: Option<TimeDateTimeWithTimeZone>,
        pub released_as: Option<String>,
        pub released_dead_at: Option<TimeDateTimeWithTimeZone>,
        pub lease_id: Option<Uuid>,
        pub leased_until: Option<TimeDateTimeWithTimeZone>,
        pub look_at: TimeDateTimeWithTimeZone,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) fn referral_to_row(
    referral: &Referral,
) -> Result<referral_row::ActiveModel, LifecycleError> {
    let (terms, status) = (referral.terms(), referral.status());
    Ok(referral_row::ActiveModel {
        referral_id: Set(terms.referral_id.as_uuid()),
        request_id: Set(terms.request_id),
        patient_id: Set(terms.patient_id.as_uuid()),
        assessment_id: Set(terms.assessment_id.as_uuid()),
        sender_hospital_id: Set(terms.sender_hospital_id.to_string()),
        hospital_id: Set(terms.hospital_id.to_string()),
        referrer_id: Set(terms.referrer_id.to_string()),
        created_at: Set(terms.created_at),
        deadline_at: Set(terms.deadline_at),
        state: Set(status.state.as_str().to_owned()),
        revision: Set(i64::try_from(status.revision).map_err(failed("encode referral row"))?),
        updated_at: Set(status.updated_at),
        scheduled_at: Set(status.scheduled_at),
        reason: Set(reason_mark(status)),
    })
}

/// Returns what stands in column `referral.reason`.
pub(super) fn reason_mark(status: &Status) -> Option<String> {
    status.reason.is_some().then(|| SEALED.to_owned())
}

/// Returns the event whose reason a referral has, if it has one: its last.
pub(super) fn last_reason(row: &referral_row::Model) -> Option<Uuid> {
    row.reason.as_ref()?;
    let revision = u64::try_from(row.revision).ok()?;
    Some(EventId::of(row.referral_id.into(), revision).as_uuid())
}

/// Returns true of an event that has a reason.
pub(super) fn has_reason(row: &event_row::Model) -> bool {
    let kind = row.kind.as_deref().and_then(MoveKind::from_name);
    matches!(kind, Some(MoveKind::Decline | MoveKind::Cancel))
}

/// Returns the reasons of these events.
pub(super) async fn reasons(
    vault: &Vault,
    transaction: &DatabaseTransaction,
    events: Vec<Uuid>,
) -> Result<HashMap<Uuid, String>, LifecycleError> {
    if events.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = reason_row::Entity::find()
        .filter(reason_row::Column::EventId.is_in(events))
        .all(transaction)
        .await
        .map_err(failed("read reasons"))?;
    let mut reasons = HashMap::with_capacity(rows.len());
    for row in rows {
        let reason = match (row.sealed, row.readable) {
            (Some(sealed), _) => {
                let opened = vault.open(SealedColumn::Reason, "", row.event_id, &sealed);
                opened.map_err(failed("open reason"))?
            }
            // From before reasons were sealed.
            (None, readable) => readable.unwrap_or_default(),
        };
        reasons.insert(row.event_id, reason);
    }
    Ok(reasons)
}

pub(super) fn reason_to_row(
    vault: &Vault,
    event: &Event,
) -> Result<Option<reason_row::ActiveModel>, LifecycleError> {
    let Change::Moved { action, .. } = &event.change else { return Ok(None) };
    let Some(reason) = action.reason() else { return Ok(None) };
    let event_id = EventId::of(event.referral_id, event.revision).as_uuid();
    let sealed = vault.seal(SealedColumn::Reason, "", event_id, &reason.as_str());
    Ok(Some(reason_row::ActiveModel {
        event_id: Set(event_id),
        readable: Set(None),
        sealed: Set(Some(sealed.map_err(failed("seal reason"))?)),
    }))
}

pub(super) fn terms_from_row(row: &referral_row::Model) -> Result<Terms, LifecycleError> {
    const DECODE: &str = "decode referral row";
    Ok(Terms {
        referral_id: row.referral_id.into(),
        request_id: row.request_id,
        patient_id: row.patient_id.into(),
        assessment_id: row.assessment_id.into(),
        sender_hospital_id: row.sender_hospital_id.parse().map_err(failed(DECODE))?,
        hospital_id: row.hospital_id.parse().map_err(failed(DECODE))?,
        referrer_id: row.referrer_id.parse().map_err(failed(DECODE))?,
        created_at: row.created_at,
        deadline_at: row.deadline_at,
    })
}

/// Returns what a row says, with the reason of its last event.
pub(super) fn referral_from_row(
    row: &referral_row::Model,
    reason: Option<String>,
) -> Result<(Terms, Status), LifecycleError> {
    const DECODE: &str = "decode referral row";
    if row.reason.is_some() && reason.is_none() {
        return Err(failed(DECODE)("its reason is not there"));
    }
    let status = Status {
        state: state(&row.state)?,
        revision: u64::try_from(row.revision).map_err(failed(DECODE))?,
        updated_at: row.updated_at,
        scheduled_at: row.scheduled_at,
        reason: reason.map(|text| text.parse()).transpose().map_err(failed(DECODE))?,
    };
    Ok((terms_from_row(row)?, status))
}

fn state(name: &str) -> Result<State, LifecycleError> {
    State::from_name(name).ok_or_else(|| failed("decode state")(format!("no state `{name}`")))
}

pub(super) fn event_to_row(event: &Event) -> Result<event_row::ActiveModel, LifecycleError> {
    let (action, from, to) = match &event.change {
        Change::Drafted => (None, None, State::Draft),
        Change::Moved { from, action, to } => (Some(action), Some(from.as_str()), *to),
    };
    Ok(event_row::ActiveModel {
        event_id: Set(EventId::of(event.referral_id, event.revision).as_uuid()),
        referral_id: Set(event.referral_id.as_uuid()),
        revision: Set(i64::try_from(event.revision).map_err(failed("encode referral event"))?),
        request_id: Set(event.request_id),
        kind: Set(action.map(|action| action.kind().as_str().to_owned())),
        from_state: Set(from.map(str::to_owned)),
        to_state: Set(to.as_str().to_owned()),
        actor_role: Set(event.actor.role.as_str().to_owned()),
        actor_id: Set(event.actor.id.to_string()),
        occurred_at: Set(event.occurred_at),
        scheduled_at: Set(action.and_then(Action::scheduled_at)),
    })
}

fn half_a_move() -> LifecycleError {
    failed("decode referral event")("a move without the state before it, or the reverse")
}

/// Returns the event of a row, with its reason.
pub(super) fn event_from_row(
    row: event_row::Model,
    reason: Option<&str>,
) -> Result<Event, LifecycleError> {
    const DECODE: &str = "decode referral event";
    let unknown = |what: &str| failed(DECODE)(format!("no {what} of that name"));
    let change = match (&row.kind, &row.from_state) {
        (None, None) => Change::Drafted,
        (Some(kind), Some(from)) => {
            let kind = MoveKind::from_name(kind).ok_or_else(|| unknown("move"))?;
            let action =
                Action::from_parts(kind, reason, row.scheduled_at).map_err(failed(DECODE))?;
            Change::Moved { from: state(from)?, action, to: state(&row.to_state)? }
        }
        (None, Some(_)) | (Some(_), None) => return Err(half_a_move()),
    };
    let role = Role::from_name(&row.actor_role).ok_or_else(|| unknown("role"))?;
    Ok(Event {
        referral_id: row.referral_id.into(),
        revision: u64::try_from(row.revision).map_err(failed(DECODE))?,
        request_id: row.request_id,
        change,
        actor: Actor { role, id: row.actor_id.parse().map_err(failed(DECODE))? },
        occurred_at: row.occurred_at,
    })
}

pub(super) fn envelope_from_row(row: event_row::Model) -> Result<EventEnvelope, LifecycleError> {
    const DECODE: &str = "decode referral event";
    let unknown = |what: &str| failed(DECODE)(format!("no {what} of that name"));
    let kind = match (&row.kind, &row.from_state) {
        (None, None) => EventKind::Drafted,
        (Some(kind), Some(from)) => {
            let kind = MoveKind::from_name(kind).ok_or_else(|| unknown("move"))?;
            EventKind::of_move(kind, state(from)?, state(&row.to_state)?)
        }
        (None, Some(_)) | (Some(_), None) => return Err(half_a_move()),
    };
    let (referral_id, sequence) =
        (row.referral_id.into(), u64::try_from(row.revision).map_err(failed(DECODE))?);
    Ok(EventEnvelope {
        version: EVENT_VERSION,
        event_id: EventId::of(referral_id, sequence),
        referral_id,
        sequence,
        kind,
        actor_role: Role::from_name(&row.actor_role).ok_or_else(|| unknown("role"))?,
        occurred_at: row.occurred_at,
    })
}

pub(super) fn letter_to_row(
    letter: &Letter,
    terms: &Terms,
) -> Result<outbox_row::ActiveModel, LifecycleError> {
    let row = &letter.row;
    Ok(outbox_row::ActiveModel {
        event_id: Set(row.event_id.as_uuid()),
        referral_id: Set(row.referral_id.as_uuid()),
        sequence: Set(i64::try_from(row.sequence).map_err(failed("encode outbox row"))?),
        sender_hospital_id: Set(terms.sender_hospital_id.to_string()),
        hospital_id: Set(letter.hospital_id.to_string()),
        body: Set(letter.body.clone()),
        created_at: Set(row.created_at),
        ..outbox_changes(row, row.created_at)
    })
}

/// Returns what changes of a row while it is delivered.
pub(super) fn outbox_changes(row: &Row, look_at: OffsetDateTime) -> outbox_row::ActiveModel {
    let (fate, settled_at, cause) = fate_to_columns(row.fate);
    outbox_row::ActiveModel {
        fate: Set(fate.to_owned()),
        settled_at: Set(settled_at),
        cause: Set(cause.map(|cause| cause.as_str().to_owned())),
        attempts: Set(i64::from(row.attempts)),
        last_attempt_at: Set(row.last_attempt_at),
        not_before: Set(row.not_before),
        released_at: Set(row.released.map(|released| released.at)),
        released_as: Set(row.released.map(|released| released.release.as_str().to_owned())),
        released_dead_at: Set(row.released.map(|released| released.dead_at)),
        lease_id: Set(row.lease.map(|lease| lease.lease_id)),
        leased_until: Set(row.lease.map(|lease| lease.until)),
        look_at: Set(look_at),
        ..Default::default()
    }
}

pub(super) fn fate_to_columns(fate: Fate) -> (&'static str, Option<OffsetDateTime>, Option<Cause>) {
    match fate {
        Fate::Pending => (PENDING, None, None),
        Fate::Delivered { at } => ("delivered", Some(at), None),
        Fate::Dead { at, cause } => (DEAD, Some(at), Some(cause)),
        Fate::Skipped { at } => ("skipped", Some(at), None),
    }
}

pub(super) fn row_from_model(model: &outbox_row::Model) -> Result<Row, LifecycleError> {
    const DECODE: &str = "decode outbox row";
    let cause = model.cause.as_deref().and_then(Cause::from_name);
    let fate = match (model.fate.as_str(), model.settled_at, cause) {
        (PENDING, None, None) => Fate::Pending,
        ("delivered", Some(at), None) => Fate::Delivered { at },
        (DEAD, Some(at), Some(cause)) => Fate::Dead { at, cause },
        ("skipped", Some(at), None) => Fate::Skipped { at },
        _ => return Err(failed(DECODE)(format!("fate `{}` with other columns", model.fate))),
    };
    let lease =
        model.lease_id.zip(model.leased_until).map(|(lease_id, until)| Lease { lease_id, until });
    let release = model.released_as.as_deref().and_then(Release::from_name);
    let released = match (model.released_at, release, model.released_dead_at) {
        (Some(at), Some(release), Some(dead_at)) => Some(Released { at, release, dead_at }),
        _ => None,
    };
    Ok(Row {
        event_id: EventId::from(model.event_id),
        referral_id: ReferralId::from(model.referral_id),
        sequence: u64::try_from(model.sequence).map_err(failed(DECODE))?,
        created_at: model.created_at,
        fate,
        attempts: u32::try_from(model.attempts).map_err(failed(DECODE))?,
        last_attempt_at: model.last_attempt_at,
        not_before: model.not_before,
        released,
        lease,
    })
}

pub(super) fn letter_from_model(model: outbox_row::Model) -> Result<Letter, LifecycleError> {
    let row = row_from_model(&model)?;
    let hospital_id = model.hospital_id.parse().map_err(failed("decode outbox row"))?;
    Ok(Letter { row, hospital_id, body: model.body })
}

pub(super) fn envelope_from_model(
    model: &outbox_row::Model,
) -> Result<EventEnvelope, LifecycleError> {
    EventEnvelope::from_json(model.body.as_bytes()).map_err(failed("decode event"))
}
