//! Changes, as watchers read them.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::PatientId;
use neurotriage_service_kit::{
    audit::Call,
    tenant::{self, Mode},
};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};
use uuid::Uuid;

use super::{SqlRecordsStore, change_row, failed, patient_row, queries, unit::Unit, unknown};
use crate::{
    change::{Change, ChangeAction, Looked, Position, RecordKind},
    error::RecordsError,
};

const READ: &str = "read changes";

/// Returns where what comes from now on begins. Whatever commits later is after it; what is committing
/// may be.
pub(super) async fn begin(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: Option<PatientId>,
) -> Result<Position, RecordsError> {
    let mut unit = Unit::begin(store, call).await?;
    let position = match horizon(unit.transaction()).await? {
        Some(horizon) => before(horizon),
        None => {
            let newest = change_row::Entity::find()
                .filter(change_row::Column::HospitalId.eq(unit.hospital()))
                .order_by_desc(change_row::Column::TransactionId)
                .order_by_desc(change_row::Column::Sequence)
                .limit(1)
                .one(unit.transaction())
                .await
                .map_err(failed(READ))?;
            let at =
                |row: change_row::Model| Position { transaction_id: 0, sequence: row.sequence };
            newest.map_or(Position::START, at)
        }
    };
    unit.note(Action::Search, "change", patient_id.map(|id| id.as_uuid()), Detail::none())?;
    unit.commit("commit audit of watch", Uuid::now_v7()).await?;
    Ok(position)
}

/// Returns the first transaction that a reader must not look at yet: it, or one after it, still runs. None in SQLite,
/// where one writes at a time.
async fn horizon(transaction: &DatabaseTransaction) -> Result<Option<i64>, RecordsError> {
    let backend = transaction.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(None);
    }
    let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon";
    let row = transaction
        .query_one_raw(Statement::from_string(backend, sql))
        .await
        .map_err(failed(READ))?;
    let row = row.ok_or_else(|| unknown(READ, "horizon"))?;
    row.try_get("", "horizon").map(Some).map_err(failed(READ))
}

pub(super) async fn after(
    store: &SqlRecordsStore,
    call: &Call,
    position: Position,
    patient_id: Option<PatientId>,
    limit: u32,
) -> Result<Looked, RecordsError> {
    let transaction = tenant::begin(&store.db, &call.hospital_id, Mode::Read)
        .await
        .map_err(failed("begin transaction"))?;
    // Asked for first: rows that are visible now and below it stay all that there are.
    let horizon = horizon(&transaction).await?;
    let hospital = call.hospital_id.as_str();
    let of = match patient_id {
        Some(patient_id) => Some(named(&transaction, hospital, patient_id.as_uuid()).await?),
        None => None,
    };
    let rows = queries::changes(hospital, position, of.as_deref(), horizon, limit.into())
        .all(&transaction)
        .await
        .map_err(failed(READ))?;
    transaction.commit().await.map_err(failed(READ))?;
    let all = rows.len() < limit as usize;
    let changes = rows.into_iter().map(change).collect::<Result<_, _>>()?;
    // Nothing commits below the horizon any more.
    let to = horizon.filter(|_| all).map(before);
    Ok(Looked { changes, to })
}

/// Returns the last place below a horizon.
fn before(horizon: i64) -> Position {
    Position { transaction_id: horizon - 1, sequence: i64::MAX }
}

/// Returns the ids that changes of a patient name: their own, and if they were merged that of who remains and of all who
/// were merged into that one, for whom the patient may have stood in between.
async fn named(
    transaction: &DatabaseTransaction,
    hospital: &str,
    patient_id: Uuid,
) -> Result<Vec<Uuid>, RecordsError> {
    let row = patient_row::Entity::find_by_id(patient_id)
        .filter(patient_row::Column::HospitalId.eq(hospital))
        .one(transaction)
        .await
        .map_err(failed(READ))?;
    let Some(into) = row.and_then(|row| row.merged_into) else { return Ok(vec![patient_id]) };
    let merged = patient_row::Entity::find()
        .select_only()
        .column(patient_row::Column::PatientId)
        .filter(patient_row::Column::HospitalId.eq(hospital))
        .filter(patient_row::Column::MergedInto.eq(into))
        .into_tuple::<Uuid>()
        .all(transaction)
        .await
        .map_err(failed(READ))?;
    Ok(merged.into_iter().chain([into]).collect())
}

fn change(row: change_row::Model) -> Result<Change, RecordsError> {
    Ok(Change {
        position: Position { transaction_id: row.transaction_id, sequence: row.sequence },
        kind: RecordKind::parse(&row.kind).ok_or_else(|| unknown(READ, "kind"))?,
        record_id: row.record_id,
        patient_id: row.patient_id.into(),
        action: ChangeAction::parse(&row.action).ok_or_else(|| unknown(READ, "action"))?,
        revision: u64::try_from(row.revision).map_err(|_| unknown(READ, "revision"))?,
        changed_at: row.changed_at,
    })
}
