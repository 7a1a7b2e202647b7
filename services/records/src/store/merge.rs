//! Two patients made one, and patients erased.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::PatientId;
use neurotriage_service_kit::audit::Call;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::LockType,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    SqlRecordsStore, entries, entry_row, failed, patient_row,
    patients::{self, KIND, Lock},
    search_token_row, tokens,
    unit::Unit,
    vault::SealedTable,
};
use crate::{
    change::{ChangeAction, RecordKind},
    error::RecordsError,
    patient::{MEDICAL_RECORD_NUMBERS_MAX, Patient},
    records::{Merge, now},
};

const MERGE: &str = "merge patients";
const ERASE: &str = "erase patient";

pub(super) async fn merge(
    store: &SqlRecordsStore,
    call: &Call,
    merge: &Merge,
) -> Result<Patient, RecordsError> {
    let action = Action::Merge;
    let mut unit = Unit::begin(store, call).await?;
    // In the order of their ids: two merges of the same patients wait for each other and not in a circle.
    let (first, second) = if merge.patient_id < merge.duplicate {
        (merge.patient_id, merge.duplicate)
    } else {
        (merge.duplicate, merge.patient_id)
    };
    let rows = (
        patients::find_remaining(&unit, first.as_uuid(), Lock::Write).await?,
        patients::find_remaining(&unit, second.as_uuid(), Lock::Write).await?,
    );
    let (kept, duplicate) = if first == merge.patient_id { rows } else { (rows.1, rows.0) };
    let duplicate = match duplicate {
        Some(row) => Some(row),
        // Perhaps merged already.
        None => patients::find(&unit, merge.duplicate.as_uuid()).await?,
    };
    let here = |row: &patient_row::Model| row.deleted_at.is_none() && row.erased_at.is_none();
    // Who was merged away is not who remains: the caller must name the latter.
    let Some(kept) = kept.filter(here) else {
        let patient_id = merge.patient_id;
        let gone = patients::find(&unit, patient_id.as_uuid()).await?;
        let into = gone.filter(here).and_then(|row| row.merged_into);
        let Some(into) = into else {
            return Err(patients::not_found(unit, action, patient_id).await);
        };
        let error = RecordsError::MergedAway { patient_id, into: into.into() };
        return Err(unit.refuse(action, KIND, Some(patient_id.as_uuid()), error).await);
    };
    let Some(duplicate) = duplicate.filter(here) else {
        return Err(patients::not_found(unit, action, merge.duplicate).await);
    };
    if duplicate.merged_into == Some(kept.patient_id) {
        let detail = Detail::none().reason("REPEATED");
        unit.note(action, KIND, Some(kept.patient_id), detail)?;
        patients::note_read(&mut unit, &kept)?;
        unit.commit("commit audit of repeated merge", kept.patient_id).await?;
        return patients::patient(store, &kept);
    }
    let refused = match duplicate.merged_into {
        Some(into) => {
            Some(RecordsError::AlreadyMerged { patient_id: merge.duplicate, into: into.into() })
        }
        None => patients::stale(&kept, merge.revision)
            .or_else(|| patients::stale(&duplicate, merge.duplicate_revision)),
    };
    if let Some(error) = refused {
        return Err(unit.refuse(action, KIND, Some(kept.patient_id), error).await);
    }

    let patient = patients::patient(store, &kept)?;
    let other = patients::patient(store, &duplicate)?;
    let mut details = patient.details;
    details.take_over(other.details);
    if details.medical_record_numbers.len() > MEDICAL_RECORD_NUMBERS_MAX {
        let right =
            format!("a patient with whom they have at most {MEDICAL_RECORD_NUMBERS_MAX} numbers");
        let error = RecordsError::field("duplicate_patient_id", right);
        return Err(unit.refuse(action, KIND, Some(kept.patient_id), error).await);
    }
    let mut merged = patient.merged_patient_ids;
    merged.extend(other.merged_patient_ids);
    merged.push(merge.duplicate);

    let at = now().max(kept.updated_at).max(duplicate.updated_at);
    // Above what was seen of either: the duplicate's id is from now on that of who remains, and no revision seen under
    // it may pass for theirs.
    let kept_next = kept.revision.max(duplicate.revision) + 1;
    let duplicate_next = duplicate.revision + 1;
    let columns = patient_row::ActiveModel {
        revision: Set(kept_next),
        updated_at: Set(at),
        merged_patient_ids: Set(json!(merged)),
        content: Set(Some(store.vault.seal(
            SealedTable::Patient,
            unit.hospital(),
            kept.patient_id,
            &details,
        )?)),
        ..Default::default()
    };
    patients::write(&unit, kept.patient_id, columns).await?;
    let columns = patient_row::ActiveModel {
        revision: Set(duplicate_next),
        updated_at: Set(at),
        merged_into: Set(Some(kept.patient_id)),
        merged_patient_ids: Set(json!([])),
        ..Default::default()
    };
    patients::write(&unit, duplicate.patient_id, columns).await?;
    move_over(&unit, duplicate.patient_id, kept.patient_id).await?;
    let record = (kept.patient_id, kept.patient_id);
    tokens::delete(&unit, (duplicate.patient_id, kept.patient_id)).await?;
    tokens::delete(&unit, record).await?;
    let tokens = tokens::rows(store, unit.hospital(), record, &details.search_keys())?;
    if let Err(error) = tokens::insert(&unit, tokens).await {
        let own = [kept.patient_id, duplicate.patient_id];
        return Err(patients::not_written(unit, action, &details, &own, error).await);
    }

    let remains = PatientId::from(kept.patient_id);
    for (id, next) in [(kept.patient_id, kept_next), (duplicate.patient_id, duplicate_next)] {
        let record = (RecordKind::Patient, id);
        unit.changed(record, remains, ChangeAction::Merged, next, at).await?;
        unit.note(action, KIND, Some(id), Detail::none().revision(next.unsigned_abs()))?;
    }
    unit.commit("commit merge", kept.patient_id).await?;
    let row = patient_row::Model {
        revision: kept_next,
        updated_at: at,
        merged_patient_ids: json!(merged),
        ..kept
    };
    patients::with_details(&row, details)
}

/// Gives what belongs to one patient to another.
async fn move_over(unit: &Unit<'_>, from: Uuid, to: Uuid) -> Result<(), RecordsError> {
    let hospital = unit.hospital();
    let columns = entry_row::ActiveModel { patient_id: Set(to), ..Default::default() };
    entry_row::Entity::update_many()
        .set(columns)
        .filter(entry_row::Column::HospitalId.eq(hospital))
        .filter(entry_row::Column::PatientId.eq(from))
        .exec(unit.transaction())
        .await
        .map_err(failed(MERGE))?;
    let columns = search_token_row::ActiveModel { patient_id: Set(to), ..Default::default() };
    search_token_row::Entity::update_many()
        .set(columns)
        .filter(search_token_row::Column::HospitalId.eq(hospital))
        .filter(search_token_row::Column::PatientId.eq(from))
        .exec(unit.transaction())
        .await
        .map_err(failed(MERGE))?;
    // Who was merged into the duplicate before is now one step away from who remains.
    let columns = patient_row::ActiveModel { merged_into: Set(Some(to)), ..Default::default() };
    patient_row::Entity::update_many()
        .set(columns)
        .filter(patient_row::Column::HospitalId.eq(hospital))
        .filter(patient_row::Column::MergedInto.eq(from))
        .exec(unit.transaction())
        .await
        .map_err(failed(MERGE))?;
    Ok(())
}

pub(super) async fn erase(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    revision: u64,
) -> Result<u32, RecordsError> {
    let action = Action::Erase;
    let mut unit = Unit::begin(store, call).await?;
    let id = patient_id.as_uuid();
    let row = match patients::find_remaining(&unit, id, Lock::Write).await? {
        Some(row) => Some(row),
        // Perhaps merged.
        None => patients::find(&unit, id).await?,
    };
    let Some(row) = row else {
        return Err(patients::not_found(unit, action, patient_id).await);
    };
    let refused = match row.merged_into {
        _ if row.erased_at.is_some() => None,
        Some(into) => Some(RecordsError::MergedAway { patient_id, into: into.into() }),
        None => patients::stale(&row, revision),
    };
    if let Some(error) = refused {
        return Err(unit.refuse(action, KIND, Some(id), error).await);
    }
    if row.erased_at.is_some() {
        unit.note(action, KIND, Some(row.patient_id), Detail::none().reason("REPEATED"))?;
        unit.commit("commit audit of repeated erasure", row.patient_id).await?;
        return Ok(0);
    }
    let hospital = unit.hospital();
    let at = now().max(row.updated_at);
    let mut gone = patient_row::Entity::find()
        .filter(patient_row::Column::HospitalId.eq(hospital))
        .filter(patient_row::Column::MergedInto.eq(row.patient_id))
        .lock(LockType::NoKeyUpdate)
        .all(unit.transaction())
        .await
        .map_err(failed(ERASE))?;
    gone.push(row.clone());
    for patient in &gone {
        let next = patient.revision + 1;
        let columns = patient_row::ActiveModel {
            revision: Set(next),
            updated_at: Set(at),
            erased_at: Set(Some(at)),
            request_mac: Set(None),
            content: Set(None),
            ..Default::default()
        };
        patients::write(&unit, patient.patient_id, columns).await?;
        let record = (RecordKind::Patient, patient.patient_id);
        let remains = row.patient_id.into();
        unit.changed(record, remains, ChangeAction::Erased, next, at).await?;
    }
    let columns = entry_row::ActiveModel { updated_at: Set(at), ..Default::default() };
    let columns = entries::erased(columns, at);
    let entries = entry_row::Entity::update_many()
        .set(columns)
        .filter(entry_row::Column::HospitalId.eq(hospital))
        .filter(entry_row::Column::PatientId.eq(row.patient_id))
        .filter(entry_row::Column::ErasedAt.is_null())
        .exec(unit.transaction())
        .await
        .map_err(failed(ERASE))?
        .rows_affected;
    search_token_row::Entity::delete_many()
        .filter(search_token_row::Column::HospitalId.eq(hospital))
        .filter(search_token_row::Column::PatientId.eq(row.patient_id))
        .exec(unit.transaction())
        .await
        .map_err(failed(ERASE))?;
    for patient in &gone {
        unit.note(action, KIND, Some(patient.patient_id), Detail::none().count(entries))?;
    }
    unit.commit("commit erasure", row.patient_id).await?;
    Ok(u32::try_from(entries).unwrap_or(u32::MAX))
}
