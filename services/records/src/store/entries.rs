//! Entries of patients' records.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::PatientId;
use neurotriage_service_kit::audit::Call;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    QueryTrait as _, sea_query::LockType,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    SqlRecordsStore, cut, entry_row, failed, is_taken,
    patients::{self, Lock},
    queries, search_token_row, tokens,
    unit::Unit,
    unknown,
    vault::SealedTable,
};
use crate::{
    change::{ChangeAction, RecordKind},
    entry::{Content, Entry, EntryKind},
    error::RecordsError,
    records::{EntryFilter, New, Page, now},
    search::SearchKey,
};

const READ: &str = "read entry";
const WRITE: &str = "write entry";
/// How often a create is tried that met another one.
const ATTEMPTS_MAX: u32 = 3;

pub(super) async fn create<C: Content>(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    new: &New<C>,
) -> Result<Entry<C>, RecordsError> {
    let kind = C::KIND.as_str();
    for _ in 0..ATTEMPTS_MAX {
        // While keys change it looks first: an insert would wait, perhaps in a circle, for the row that is indexed anew.
        if !store.vault.is_rotating()
            && let Some(entry) = insert(store, call, patient_id, new).await?
        {
            return Ok(entry);
        }
        // Something of it is there already, or may be.
        let unit = Unit::begin(store, call).await?;
        let (mut unit, _) = patients::open(unit, Action::Create, patient_id, Lock::None).await?;
        if let Some(row) = find_by_request(&unit, new.request_id).await? {
            if let Some(error) = not_shown(&unit, &row, new)? {
                return Err(unit.refuse(Action::Create, kind, Some(row.entry_id), error).await);
            }
            let entry = open(store, &row)?;
            let detail = Detail::none().reason("REPEATED");
            unit.note(Action::Create, kind, Some(row.entry_id), detail)?;
            let revision = Detail::none().revision(row.revision.unsigned_abs());
            unit.note(Action::Read, kind, Some(row.entry_id), revision)?;
            unit.commit("commit audit of repeated create", row.patient_id).await?;
            return Ok(entry);
        }
        if let Some(taken) = find_study(&unit, &new.content).await? {
            let error = RecordsError::StudyLinked { patient_id: unit.told(taken) };
            return Err(unit.refuse(Action::Create, kind, Some(new.id), error).await);
        }
        unit.roll_back().await?;
        if store.vault.is_rotating()
            && let Some(entry) = insert(store, call, patient_id, new).await?
        {
            return Ok(entry);
        }
    }
    let source = "others created, and removed, the same entry at the same time";
    Err(RecordsError::store(WRITE, source))
}

/// Returns why a request may not be shown `row`, which one of its id made before; nothing if it may.
fn not_shown<C: Content>(
    unit: &Unit<'_>,
    row: &entry_row::Model,
    new: &New<C>,
) -> Result<Option<RecordsError>, RecordsError> {
    let request_id = new.request_id;
    // What the request said went with what is erased.
    let Some(mac) = row.request_mac.as_ref().filter(|_| row.erased_at.is_none()) else {
        return Ok(Some(RecordsError::DeletedSince { request_id }));
    };
    let same = row.kind == C::KIND.as_str()
        && unit.store.vault.is_same_request(unit.hospital(), &new.request, mac)?;
    if !same {
        return Ok(Some(RecordsError::RequestReused { request_id }));
    }
    Ok(row.deleted_at.is_some().then_some(RecordsError::DeletedSince { request_id }))
}

/// Stores the entry, or returns `None` if a value that must be unique is taken.
async fn insert<C: Content>(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    new: &New<C>,
) -> Result<Option<Entry<C>>, RecordsError> {
    let kind = C::KIND.as_str();
    let unit = Unit::begin(store, call).await?;
    // Locked: whoever deletes, erases or merges the patient comes before or after.
    let (mut unit, patient) = patients::open(unit, Action::Create, patient_id, Lock::Share).await?;
    let hospital = unit.hospital();
    let row = entry_row::ActiveModel {
        entry_id: Set(new.id),
        hospital_id: Set(hospital.to_owned()),
        patient_id: Set(patient.patient_id),
        kind: Set(kind.to_owned()),
        request_id: Set(new.request_id),
        request_mac: Set(Some(store.vault.request_mac(hospital, &new.request)?)),
        revision: Set(1),
        created_at: Set(new.at),
        updated_at: Set(new.at),
        deleted_at: Set(None),
        erased_at: Set(None),
        content: Set(Some(store.vault.seal(
            SealedTable::Entry,
            unit.hospital(),
            new.id,
            &new.content,
        )?)),
    };
    let record = (new.id, patient.patient_id);
    let found_by = tokens::rows(store, hospital, record, &new.content.search_keys())?;
    let patient_id = PatientId::from(patient.patient_id);
    let mut inserts = vec![entry_row::Entity::insert(row).into_query()];
    inserts.extend(tokens::insert_of(found_by));
    let record = (RecordKind::Entry(C::KIND), new.id);
    inserts.push(unit.change(record, patient_id, ChangeAction::Created, 1, new.at));
    if let Err(error) = unit.insert(inserts).await {
        let taken = is_taken(&error);
        unit.roll_back().await?;
        return if taken { Ok(None) } else { Err(failed(WRITE)(error)) };
    }
    unit.note(Action::Create, kind, Some(new.id), Detail::none().revision(1))?;
    unit.commit("commit entry", patient.patient_id).await?;
    let content = new.content.clone();
    let entry = Entry { entry_id: new.id, patient_id, revision: 1, created_at: new.at, content };
    Ok(Some(entry))
}

pub(super) async fn read<C: Content>(
    store: &SqlRecordsStore,
    call: &Call,
    entry_id: Uuid,
) -> Result<Entry<C>, RecordsError> {
    let kind = C::KIND.as_str();
    let mut unit = Unit::begin(store, call).await?;
    let row = find(&unit, entry_id, false).await?;
    // First: of whom the call does not reach it learns nothing, not that something was deleted either.
    if let Some(Err(error)) = row.as_ref().map(|row| call.check_patient(row.patient_id.into())) {
        return Err(unit.refuse(Action::Read, kind, Some(entry_id), error.into()).await);
    }
    let row = match row {
        Some(row) if row.kind == kind && is_there(&unit, &row).await? => row,
        Some(_) | None => {
            let error = RecordsError::EntryNotFound { kind: Some(C::KIND), entry_id };
            return Err(unit.refuse(Action::Read, kind, Some(entry_id), error).await);
        }
    };
    let revision = Detail::none().revision(row.revision.unsigned_abs());
    unit.note(Action::Read, kind, Some(entry_id), revision)?;
    unit.commit("commit audit of read", row.patient_id).await?;
    open(store, &row)
}

pub(super) async fn list<C: Content>(
    store: &SqlRecordsStore,
    call: &Call,
    patient_id: PatientId,
    filter: &EntryFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Page<Entry<C>>, RecordsError> {
    let kind = C::KIND.as_str();
    let unit = Unit::begin(store, call).await?;
    let (mut unit, patient) = patients::open(unit, Action::Search, patient_id, Lock::None).await?;
    let hospital = unit.hospital();
    let tokens = match &filter.code {
        None => None,
        Some(code) => {
            let tokens = store.vault.candidates(hospital, &SearchKey::Finding(code.clone()));
            let tokens = tokens.map_err(|error| RecordsError::field("code", error.to_string()))?;
            Some(tokens.into_iter().flatten().collect::<Vec<_>>())
        }
    };
    let by = (filter, tokens.as_deref());
    let rows = u64::from(limit) + 1;
    let mut rows = queries::entries(hospital, patient.patient_id, C::KIND, by, before, rows)
        .all(unit.transaction())
        .await
        .map_err(failed("list entries"))?;
    let more = cut(&mut rows, limit, |row| row.content.as_ref().map_or(0, String::len));
    let next = rows.last().filter(|_| more).map(|row| row.entry_id);
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let revision = Detail::none().revision(row.revision.unsigned_abs());
        unit.note(Action::Read, kind, Some(row.entry_id), revision)?;
        items.push(open(store, row)?);
    }
    let detail = Detail::none().count(items.len() as u64);
    unit.note(Action::Search, kind, Some(patient.patient_id), detail)?;
    unit.commit("commit audit of list", patient.patient_id).await?;
    Ok(Page { items, next })
}

pub(super) async fn delete(
    store: &SqlRecordsStore,
    call: &Call,
    entry_id: Uuid,
    revision: u64,
) -> Result<u64, RecordsError> {
    remove(store, call, Action::Delete, (entry_id, revision)).await
}

/// Removes the content of what is there, what was deleted, and what belongs to a patient who was.
pub(super) async fn erase(
    store: &SqlRecordsStore,
    call: &Call,
    entry_id: Uuid,
    revision: u64,
) -> Result<u64, RecordsError> {
    remove(store, call, Action::Erase, (entry_id, revision)).await
}

/// Hides an entry, or removes its content where `action` is to erase.
async fn remove(
    store: &SqlRecordsStore,
    call: &Call,
    action: Action,
    (entry_id, revision): (Uuid, u64),
) -> Result<u64, RecordsError> {
    let erases = action == Action::Erase;
    let mut unit = Unit::begin(store, call).await?;
    let row = find(&unit, entry_id, true).await?;
    if let Some(Err(error)) = row.as_ref().map(|row| call.check_patient(row.patient_id.into())) {
        return Err(unit.refuse(action, "entry", Some(entry_id), error.into()).await);
    }
    let found = match row {
        Some(row) if erases || is_there(&unit, &row).await? => {
            EntryKind::parse(&row.kind).map(|kind| (row, kind))
        }
        Some(_) | None => None,
    };
    let Some((row, kind)) = found else {
        let error = RecordsError::EntryNotFound { kind: None, entry_id };
        return Err(unit.refuse(action, "entry", Some(entry_id), error).await);
    };
    let current = row.revision.unsigned_abs();
    if row.erased_at.is_some() {
        unit.note(action, kind.as_str(), Some(entry_id), Detail::none().reason("REPEATED"))?;
        unit.commit("commit audit of repeated erasure", row.patient_id).await?;
        return Ok(current);
    }
    if current != revision {
        let error = RecordsError::Stale { revision: current };
        return Err(unit.refuse(action, kind.as_str(), Some(entry_id), error).await);
    }
    let at = now().max(row.updated_at);
    let next = row.revision + 1;
    let columns =
        entry_row::ActiveModel { revision: Set(next), updated_at: Set(at), ..Default::default() };
    let (columns, change) = if erases {
        (erased(columns, at), ChangeAction::Erased)
    } else {
        let columns = entry_row::ActiveModel { deleted_at: Set(Some(at)), ..columns };
        (columns, ChangeAction::Deleted)
    };
    entry_row::Entity::update_many()
        .set(columns)
        .filter(entry_row::Column::EntryId.eq(entry_id))
        .filter(entry_row::Column::HospitalId.eq(unit.hospital()))
        .exec(unit.transaction())
        .await
        .map_err(failed(WRITE))?;
    tokens::delete(&unit, (entry_id, row.patient_id)).await?;
    let patient_id = row.patient_id.into();
    let record = (RecordKind::Entry(kind), entry_id);
    unit.changed(record, patient_id, change, next, at).await?;
    let next = next.unsigned_abs();
    unit.note(action, kind.as_str(), Some(entry_id), Detail::none().revision(next))?;
    unit.commit("commit removal", row.patient_id).await?;
    Ok(next)
}

/// Returns the columns with those of an entry whose content is gone.
pub(super) fn erased(
    columns: entry_row::ActiveModel,
    at: OffsetDateTime,
) -> entry_row::ActiveModel {
    entry_row::ActiveModel {
        erased_at: Set(Some(at)),
        request_mac: Set(None),
        content: Set(None),
        ..columns
    }
}

async fn find(
    unit: &Unit<'_>,
    entry_id: Uuid,
    to_change: bool,
) -> Result<Option<entry_row::Model>, RecordsError> {
    let query = entry_row::Entity::find_by_id(entry_id)
        .filter(entry_row::Column::HospitalId.eq(unit.hospital()));
    let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
    query.one(unit.transaction()).await.map_err(failed(READ))
}

/// Returns whether neither the entry nor its patient was deleted or erased.
async fn is_there(unit: &Unit<'_>, row: &entry_row::Model) -> Result<bool, RecordsError> {
    if row.deleted_at.is_some() || row.erased_at.is_some() {
        return Ok(false);
    }
    let patient = patients::find(unit, row.patient_id).await?;
    Ok(patient.as_ref().is_some_and(patients::is_here))
}

async fn find_by_request(
    unit: &Unit<'_>,
    request_id: Uuid,
) -> Result<Option<entry_row::Model>, RecordsError> {
    entry_row::Entity::find()
        .filter(entry_row::Column::HospitalId.eq(unit.hospital()))
        .filter(entry_row::Column::RequestId.eq(request_id))
        .one(unit.transaction())
        .await
        .map_err(failed("read entry by request"))
}

/// Returns the patient that the content's study belongs to, if it is about one.
async fn find_study<C: Content>(
    unit: &Unit<'_>,
    content: &C,
) -> Result<Option<Uuid>, RecordsError> {
    let mut tokens = Vec::new();
    for key in content.search_keys() {
        if let SearchKey::Study(_) = key {
            let of_key = unit
                .store
                .vault
                .candidates(unit.hospital(), &key)
                .map_err(|error| RecordsError::store("make search token", error))?;
            tokens.extend(of_key.into_iter().flatten());
        }
    }
    if tokens.is_empty() {
        return Ok(None);
    }
    let row = search_token_row::Entity::find()
        .filter(search_token_row::Column::HospitalId.eq(unit.hospital()))
        .filter(search_token_row::Column::Kind.eq("study"))
        .filter(search_token_row::Column::Token.is_in(tokens))
        .one(unit.transaction())
        .await
        .map_err(failed("read link by study"))?;
    Ok(row.map(|row| row.patient_id))
}

/// Opens a row that was not erased.
fn open<C: Content>(
    store: &SqlRecordsStore,
    row: &entry_row::Model,
) -> Result<Entry<C>, RecordsError> {
    let content = row.content.as_deref().ok_or_else(|| unknown(READ, "content"))?;
    Ok(Entry {
        entry_id: row.entry_id,
        patient_id: row.patient_id.into(),
        revision: u64::try_from(row.revision).map_err(|_| unknown(READ, "revision"))?,
        created_at: row.created_at,
        content: store.vault.open(SealedTable::Entry, &row.hospital_id, row.entry_id, content)?,
    })
}
