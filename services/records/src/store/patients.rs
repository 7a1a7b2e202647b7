//! Patients.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::PatientId;
use neurotriage_sealing::IndexError;
use neurotriage_service_kit::audit::Call;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, QueryTrait as _, sea_query::LockType,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    SqlRecordsStore, cut, failed, is_taken, patient_row, queries, search_token_row, tokens,
    unit::Unit,
    unknown,
    vault::{self, SealedTable},
};
use crate::{
    change::{ChangeAction, RecordKind},
    error::RecordsError,
    patient::{Patient, PatientChanges, PatientDetails, PatientField},
    records::{New, Page, PatientFilter, now},
    search::{Criteria, SearchKey},
};

/// Kind of the records, in the audit.
pub(super) const KIND: &str = "patient";
const READ: &str = "read patient";
const WRITE: &str = "write patient";
/// How often a create is tried that met another one of the same number or request.
const ATTEMPTS_MAX: u32 = 3;
/// How often a patient who is looked for may be merged meanwhile. Merges name who remains: one step is the rule.
const STEPS_MAX: u32 = 4;

/// What stands in the way of a create.
enum Conflict {
    Taken,
    Other(RecordsError),
}

pub(super) async fn create(
    store: &SqlRecordsStore,
    call: &Call,
    new: &New<PatientDetails>,
) -> Result<Patient, RecordsError> {
    for _ in 0..ATTEMPTS_MAX {
        // While keys change it looks first: an insert would wait, perhaps in a circle, for the row that is indexed anew.
        if !store.vault.is_rotating() {
            match insert(store, call, new).await {
                Ok(patient) => return Ok(patient),
                Err(Conflict::Other(error)) => return Err(error),
                Err(Conflict::Taken) => {}
            }
        }
        let mut unit = Unit::begin(store, call).await?;
        if let Some(row) = find_by_request(&unit, new.request_id).await? {
            let row = match made(&unit, &row, new).await? {
                Ok(row) => row,
                Err(error) => {
                    let id = Some(row.patient_id);
                    return Err(unit.refuse(Action::Create, KIND, id, error).await);
                }
            };
            let patient = patient(store, &row)?;
            let detail = Detail::none().reason("REPEATED");
            unit.note(Action::Create, KIND, Some(row.patient_id), detail)?;
            note_read(&mut unit, &row)?;
            unit.commit("commit audit of repeated create", row.patient_id).await?;
            return Ok(patient);
        }
        if let Some(taken) = find_number(&unit, &new.content, &[]).await? {
            let error = RecordsError::NumberTaken { patient_id: unit.told(taken) };
            return Err(unit.refuse(Action::Create, KIND, Some(taken), error).await);
        }
        unit.roll_back().await?;
        if store.vault.is_rotating() {
            match insert(store, call, new).await {
                Ok(patient) => return Ok(patient),
                Err(Conflict::Other(error)) => return Err(error),
                Err(Conflict::Taken) => {}
            }
        }
    }
    let source = "others created, and removed, the same patient at the same time";
    Err(RecordsError::store(WRITE, source))
}

/// Returns who remains of what the request made before, which `row` is; or why it may not be shown.
async fn made(
    unit: &Unit<'_>,
    row: &patient_row::Model,
    new: &New<PatientDetails>,
) -> Result<Result<patient_row::Model, RecordsError>, RecordsError> {
    let gone = RecordsError::DeletedSince { request_id: new.request_id };
    // What the request said went with what is erased.
    let Some(mac) = row.request_mac.as_ref().filter(|_| row.erased_at.is_none()) else {
        return Ok(Err(gone));
    };
    if !unit.store.vault.is_same_request(unit.hospital(), &new.request, mac)? {
        return Ok(Err(RecordsError::RequestReused { request_id: new.request_id }));
    }
    // Who was merged since is who remains.
    let remains = match row.merged_into {
        Some(_) => resolve(unit, row.patient_id.into(), Lock::None).await?,
        None => Some(row.clone()),
    };
    Ok(remains.filter(is_here).ok_or(gone))
}

/// Returns whether a patient was neither deleted nor erased.
pub(super) fn is_here(row: &patient_row::Model) -> bool {
    row.deleted_at.is_none() && row.erased_at.is_none()
}

/// Notes for the audit that a patient is shown.
pub(super) fn note_read(unit: &mut Unit<'_>, row: &patient_row::Model) -> Result<(), RecordsError> {
    let revision = Detail::none().revision(row.revision.unsigned_abs());
    unit.note(Action::Read, KIND, Some(row.patient_id), revision)
}

async fn insert(
    store: &SqlRecordsStore,
    call: &Call,
    new: &New<PatientDetails>,
) -> Result<Patient, Conflict> {
    let other = Conflict::Other;
    let mut unit = Unit::begin(store, call).await.map_err(other)?;
    let hospital = unit.hospital();
    let row = patient_row::ActiveModel {
        patient_id: Set(new.id),
        hospital_id: Set(hospital.to_owned()),
        request_id: Set(new.request_id),
        request_mac: Set(Some(store.vault.request_mac(hospital, &new.request).map_err(other)?)),
        revision: Set(1),
        created_at: Set(new.at),
        updated_at: Set(new.at),
        deleted_at: Set(None),
        erased_at: Set(None),
        merged_into: Set(None),
        merged_patient_ids: Set(serde_json::json!([])),
        content: Set(Some(
            store
                .vault
                .seal(SealedTable::Patient, unit.hospital(), new.id, &new.content)
                .map_err(other)?,
        )),
    };
    let patient_id = PatientId::from(new.id);
    let found_by = tokens::rows(store, hospital, (new.id, new.id), &new.content.search_keys());
    let mut inserts = vec![patient_row::Entity::insert(row).into_query()];
    inserts.extend(tokens::insert_of(found_by.map_err(other)?));
    let record = (RecordKind::Patient, new.id);
    inserts.push(unit.change(record, patient_id, ChangeAction::Created, 1, new.at));
    if let Err(error) = unit.insert(inserts).await {
        let taken = is_taken(&error);
        unit.roll_back().await.map_err(other)?;
        return Err(if taken { Conflict::Taken } else { other(failed(WRITE)(error)) });
    }
    unit.note(Action::Create, KIND, Some(new.id), Detail::none().revision(1)).map_err(other)?;
    unit.commit("commit patient", new.id).await.map_err(other)?;
    Ok(Patient {
        patient_id,
        revision: 1,
        created_at: new.at,
        updated_at: new.at,
        deleted_at: None,
        merged_patient_ids: Vec::new(),
        details: new.content.clone(),
    })
}

pub(super) async fn read(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
) -> Result<Patient, RecordsError> {
    let unit = Unit::begin(store, call).await?;
    let (mut unit, row) = open(unit, Action::Read, patient_id, Lock::None).await?;
    note_read(&mut unit, &row)?;
    unit.commit("commit audit of read", row.patient_id).await?;
    patient(store, &row)
}

pub(super) async fn list(
    store: &SqlRecordsStore,
    call: &Call,
    filter: &PatientFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Page<Patient>, RecordsError> {
    let unit = Unit::begin(store, call).await?;
    let rows = queries::patients(unit.hospital(), filter, before, u64::from(limit) + 1)
        .all(unit.transaction())
        .await
        .map_err(failed("list patients"))?;
    shown(unit, rows, limit, &["list"], |_| true).await
}

pub(super) async fn search(
    store: &SqlRecordsStore,
    call: &Call,
    criteria: &Criteria,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Page<Patient>, RecordsError> {
    let mut parts = Vec::new();
    for (field, key) in keys(criteria) {
        let unsearchable = |error: IndexError| RecordsError::field(field, error.to_string());
        let of_key =
            store.vault.candidates(call.hospital_id.as_str(), &key).map_err(unsearchable)?;
        parts.extend(of_key.into_iter().map(|tokens| (vault::kind(&key), tokens)));
    }
    let unit = Unit::begin(store, call).await?;
    let rows = queries::patients_with(unit.hospital(), &parts, before, u64::from(limit) + 1)
        .all(unit.transaction())
        .await
        .map_err(failed("search patients"))?;
    // Tokens are cut short: what was opened decides.
    shown(unit, rows, limit, &criteria.fields(), |details| meets(details, criteria)).await
}

fn keys(criteria: &Criteria) -> Vec<(&'static str, SearchKey)> {
    let name = criteria.name_prefix.clone().map(|name| ("name_prefix", SearchKey::Name(name)));
    let number = criteria.medical_record_number.clone().map(|(issuer, number)| {
        ("medical_record_number", SearchKey::MedicalRecordNumber { issuer, number })
    });
    let born = criteria.birth_date.map(|date| ("birth_date", SearchKey::BirthDate(date)));
    let code = criteria.code.clone().map(|code| ("code", SearchKey::Finding(code)));
    // What narrows most comes first.
    [number, born, name, code].into_iter().flatten().collect()
}

/// Codes are in reports and not looked at here.
fn meets(details: &PatientDetails, criteria: &Criteria) -> bool {
    let name = criteria.name_prefix.as_deref();
    let number = criteria.medical_record_number.as_ref();
    name.is_none_or(|typed| vault::begins_like(&details.name, typed))
        && criteria.birth_date.is_none_or(|date| details.birth_date == Some(date))
        && number.is_none_or(|(issuer, number)| {
            details.medical_record_numbers.iter().any(|own| {
                vault::same_text(&own.issuer, issuer) && vault::same_text(&own.number, number)
            })
        })
}

/// Opens the rows of a page and notes each patient that is shown.
async fn shown(
    mut unit: Unit<'_>,
    mut rows: Vec<patient_row::Model>,
    limit: u32,
    by: &[&'static str],
    is_shown: impl Fn(&PatientDetails) -> bool,
) -> Result<Page<Patient>, RecordsError> {
    let more = cut(&mut rows, limit, |row| row.content.as_ref().map_or(0, String::len));
    let next = rows.last().filter(|_| more).map(|row| row.patient_id);
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let patient = patient(unit.store, row)?;
        if is_shown(&patient.details) {
            let revision = Detail::none().revision(patient.revision);
            unit.note(Action::Read, KIND, Some(row.patient_id), revision)?;
            items.push(patient);
        }
    }
    let detail = Detail::none().fields(by).count(items.len() as u64);
    unit.note(Action::Search, KIND, None, detail)?;
    unit.commit("commit audit of search", Uuid::now_v7()).await?;
    Ok(Page { items, next })
}

pub(super) async fn update(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    revision: u64,
    changes: &PatientChanges,
) -> Result<Patient, RecordsError> {
    let action = Action::Update;
    let unit = Unit::begin(store, call).await?;
    let (mut unit, row) = open(unit, action, patient_id, Lock::Write).await?;
    if let Some(error) = stale(&row, revision) {
        return Err(unit.refuse(action, KIND, Some(row.patient_id), error).await);
    }
    let id = row.patient_id;
    let details = changes.apply(patient(store, &row)?.details);
    if changes.fields.contains(&PatientField::MedicalRecordNumbers)
        && let Some(taken) = find_number(&unit, &details, &[id]).await?
    {
        let error = RecordsError::NumberTaken { patient_id: unit.told(taken) };
        return Err(unit.refuse(action, KIND, Some(id), error).await);
    }
    let at = now().max(row.updated_at);
    let next = row.revision + 1;
    let columns = patient_row::ActiveModel {
        revision: Set(next),
        updated_at: Set(at),
        content: Set(Some(store.vault.seal(
            SealedTable::Patient,
            unit.hospital(),
            id,
            &details,
        )?)),
        ..Default::default()
    };
    write(&unit, id, columns).await?;
    // Of these fields alone: a name is changed, whatever stands against the numbers.
    let kinds: Vec<&str> = changes
        .fields
        .iter()
        .filter(|field| field.is_searched())
        .map(|field| field.kind())
        .collect();
    if !kinds.is_empty() {
        tokens::delete_kinds(&unit, (id, id), &kinds).await?;
        let mut keys = details.search_keys();
        keys.retain(|key| kinds.contains(&vault::kind(key)));
        let tokens = tokens::rows(store, unit.hospital(), (id, id), &keys)?;
        if let Err(error) = tokens::insert(&unit, tokens).await {
            return Err(not_written(unit, action, &details, &[id], error).await);
        }
    }
    let record = (RecordKind::Patient, id);
    unit.changed(record, id.into(), ChangeAction::Updated, next, at).await?;
    let fields: Vec<&'static str> = changes.fields.iter().map(|field| field.path()).collect();
    let detail = Detail::none().fields(&fields).revision(next.unsigned_abs());
    unit.note(action, KIND, Some(id), detail)?;
    unit.commit("commit patient", id).await?;
    let row = patient_row::Model { revision: next, updated_at: at, ..row };
    with_details(&row, details)
}

/// Ends an operation whose search tokens could not be written: if a number is taken, by the refusal of it. `own` are the
/// patients whose numbers they are.
pub(super) async fn not_written(
    unit: Unit<'_>,
    action: Action,
    details: &PatientDetails,
    own: &[Uuid],
    error: DbErr,
) -> RecordsError {
    let (store, call) = (unit.store, unit.call());
    let looked = async {
        unit.roll_back().await?;
        if !is_taken(&error) {
            return Ok(failed(WRITE)(error));
        }
        let unit = Unit::begin(store, call).await?;
        let taken = find_number(&unit, details, own).await?;
        let taken =
            taken.ok_or_else(|| RecordsError::store(WRITE, "number was taken, and is not"))?;
        let error = RecordsError::NumberTaken { patient_id: unit.told(taken) };
        Ok(unit.refuse(action, KIND, own.first().copied(), error).await)
    };
    looked.await.unwrap_or_else(|error| error)
}

pub(super) async fn delete(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    revision: u64,
) -> Result<u64, RecordsError> {
    let action = Action::Delete;
    let unit = Unit::begin(store, call).await?;
    let (mut unit, row) = open(unit, action, patient_id, Lock::Write).await?;
    if let Some(error) = stale(&row, revision) {
        return Err(unit.refuse(action, KIND, Some(row.patient_id), error).await);
    }
    let at = now().max(row.updated_at);
    let change = (action, ChangeAction::Deleted);
    let next = mark(&mut unit, &row, Some(at), at, change).await?;
    unit.commit("commit deletion", row.patient_id).await?;
    Ok(next)
}

pub(super) async fn undelete(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    revision: u64,
) -> Result<Patient, RecordsError> {
    let action = Action::Undelete;
    let mut unit = Unit::begin(store, call).await?;
    let row = match resolve(&unit, patient_id, Lock::Write).await? {
        Some(row) if row.erased_at.is_none() => row,
        Some(_) | None => return Err(not_found(unit, action, patient_id).await),
    };
    let refused = if row.deleted_at.is_none() {
        Some(RecordsError::NotDeleted { patient_id: row.patient_id.into() })
    } else {
        stale(&row, revision)
    };
    if let Some(error) = refused {
        return Err(unit.refuse(action, KIND, Some(row.patient_id), error).await);
    }
    let at = now().max(row.updated_at);
    mark(&mut unit, &row, None, at, (action, ChangeAction::Undeleted)).await?;
    unit.commit("commit undeletion", row.patient_id).await?;
    let row =
        patient_row::Model { revision: row.revision + 1, updated_at: at, deleted_at: None, ..row };
    patient(store, &row)
}

/// Sets or takes back the mark of deletion; returns the revision after.
async fn mark(
    unit: &mut Unit<'_>,
    row: &patient_row::Model,
    deleted_at: Option<OffsetDateTime>,
    at: OffsetDateTime,
    (action, change): (Action, ChangeAction),
) -> Result<u64, RecordsError> {
    let next = row.revision + 1;
    let columns = patient_row::ActiveModel {
        revision: Set(next),
        updated_at: Set(at),
        deleted_at: Set(deleted_at),
        ..Default::default()
    };
    write(unit, row.patient_id, columns).await?;
    let record = (RecordKind::Patient, row.patient_id);
    unit.changed(record, row.patient_id.into(), change, next, at).await?;
    let next = next.unsigned_abs();
    unit.note(action, KIND, Some(row.patient_id), Detail::none().revision(next))?;
    Ok(next)
}

/// Returns the patient that a call is about, or who remains of them, if they are here and the call reaches them. An id
/// that the call reaches does not let it reach who that one was merged into.
pub(super) async fn open<'a>(
    unit: Unit<'a>,
    action: Action,
    patient_id: PatientId,
    lock: Lock,
) -> Result<(Unit<'a>, patient_row::Model), RecordsError> {
    let Some(row) = resolve(&unit, patient_id, lock).await? else {
        return Err(not_found(unit, action, patient_id).await);
    };
    // First: whom the call does not reach it learns nothing of, not that they were deleted either.
    if let Err(error) = unit.call().check_patient(row.patient_id.into()) {
        return Err(unit.refuse(action, KIND, Some(patient_id.as_uuid()), error.into()).await);
    }
    if is_here(&row) { Ok((unit, row)) } else { Err(not_found(unit, action, patient_id).await) }
}

/// How a row is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// As it is.
    None,
    /// So that it does not change until the transaction ends.
    Share,
    /// To be changed.
    Write,
}

/// Returns the row of a patient, or of who remains if they were merged.
pub(super) async fn resolve(
    unit: &Unit<'_>,
    patient_id: PatientId,
    lock: Lock,
) -> Result<Option<patient_row::Model>, RecordsError> {
    let mut id = patient_id.as_uuid();
    for _ in 0..STEPS_MAX {
        // Who was merged is never locked: a merge locks who remains first and those merged into them last.
        let remains = find_remaining(unit, id, lock).await?;
        if remains.is_some() {
            return Ok(remains);
        }
        match find(unit, id).await?.and_then(|row| row.merged_into) {
            Some(into) => id = into,
            None => return Ok(None),
        }
    }
    Err(RecordsError::store(READ, "patient is merged again and again"))
}

/// Returns the row of a patient who was not merged into another.
pub(super) async fn find_remaining(
    unit: &Unit<'_>,
    patient_id: Uuid,
    lock: Lock,
) -> Result<Option<patient_row::Model>, RecordsError> {
    let query = patient_row::Entity::find_by_id(patient_id)
        .filter(patient_row::Column::HospitalId.eq(unit.hospital()))
        .filter(patient_row::Column::MergedInto.is_null());
    let query = match lock {
        Lock::None => query,
        Lock::Share => query.lock(LockType::Share),
        Lock::Write => query.lock(LockType::NoKeyUpdate),
    };
    query.one(unit.transaction()).await.map_err(failed(READ))
}

/// Returns the row of a patient as it is.
pub(super) async fn find(
    unit: &Unit<'_>,
    patient_id: Uuid,
) -> Result<Option<patient_row::Model>, RecordsError> {
    patient_row::Entity::find_by_id(patient_id)
        .filter(patient_row::Column::HospitalId.eq(unit.hospital()))
        .one(unit.transaction())
        .await
        .map_err(failed(READ))
}

async fn find_by_request(
    unit: &Unit<'_>,
    request_id: Uuid,
) -> Result<Option<patient_row::Model>, RecordsError> {
    patient_row::Entity::find()
        .filter(patient_row::Column::HospitalId.eq(unit.hospital()))
        .filter(patient_row::Column::RequestId.eq(request_id))
        .one(unit.transaction())
        .await
        .map_err(failed("read patient by request"))
}

/// Returns who else than `own` has one of the numbers.
async fn find_number(
    unit: &Unit<'_>,
    details: &PatientDetails,
    own: &[Uuid],
) -> Result<Option<Uuid>, RecordsError> {
    let mut tokens = Vec::new();
    for key in details.search_keys() {
        if let SearchKey::MedicalRecordNumber { .. } = key {
            let of_key = unit
                .store
                .vault
                .candidates(unit.hospital(), &key)
                .map_err(|error| RecordsError::store("make search token", error))?;
            tokens.extend(of_key.into_iter().flatten());
        }
    }
    let query = search_token_row::Entity::find()
        .filter(search_token_row::Column::HospitalId.eq(unit.hospital()))
        .filter(search_token_row::Column::Kind.eq("medical_record_number"))
        .filter(search_token_row::Column::Token.is_in(tokens))
        .filter(search_token_row::Column::PatientId.is_not_in(own.iter().copied()));
    let row = query.one(unit.transaction()).await.map_err(failed("read patient by number"))?;
    Ok(row.map(|row| row.patient_id))
}

/// Returns the refusal if `row` is not at `revision`.
pub(super) fn stale(row: &patient_row::Model, revision: u64) -> Option<RecordsError> {
    let current = row.revision.unsigned_abs();
    (current != revision).then_some(RecordsError::Stale { revision: current })
}

/// Ends an operation on a patient who is not there.
pub(super) async fn not_found(
    unit: Unit<'_>,
    action: Action,
    patient_id: PatientId,
) -> RecordsError {
    let error = RecordsError::PatientNotFound { patient_id };
    unit.refuse(action, KIND, Some(patient_id.as_uuid()), error).await
}

pub(super) async fn write(
    unit: &Unit<'_>,
    patient_id: Uuid,
    columns: patient_row::ActiveModel,
) -> Result<(), RecordsError> {
    let written = patient_row::Entity::update_many()
        .set(columns)
        .filter(patient_row::Column::PatientId.eq(patient_id))
        .filter(patient_row::Column::HospitalId.eq(unit.hospital()))
        .exec(unit.transaction())
        .await
        .map_err(failed(WRITE))?;
    if written.rows_affected == 1 { Ok(()) } else { Err(RecordsError::store(WRITE, "row is gone")) }
}

/// Opens a row that was not erased.
pub(super) fn patient(
    store: &SqlRecordsStore,
    row: &patient_row::Model,
) -> Result<Patient, RecordsError> {
    let content = row.content.as_deref().ok_or_else(|| unknown(READ, "content"))?;
    let details =
        store.vault.open(SealedTable::Patient, &row.hospital_id, row.patient_id, content)?;
    with_details(row, details)
}

pub(super) fn with_details(
    row: &patient_row::Model,
    details: PatientDetails,
) -> Result<Patient, RecordsError> {
    Ok(Patient {
        patient_id: row.patient_id.into(),
        revision: u64::try_from(row.revision).map_err(|_| unknown(READ, "revision"))?,
        created_at: row.created_at,
        updated_at: row.updated_at,
        deleted_at: row.deleted_at,
        merged_patient_ids: serde_json::from_value(row.merged_patient_ids.clone())
            .map_err(|error| RecordsError::store(READ, error))?,
        details,
    })
}
