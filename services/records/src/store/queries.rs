//! The queries that lists and searches are made of; tests ask the database how it would run them.

use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement},
};
use uuid::Uuid;

use super::{change_row, entry_row, patient_row, search_token_row};
use crate::{
    change::Position,
    entry::EntryKind,
    records::{EntryFilter, PatientFilter},
};

/// Patients of a hospital that were not erased or merged into others, newest first, below `before`.
pub fn patients(
    hospital_id: &str,
    filter: &PatientFilter,
    before: Option<Uuid>,
    rows: u64,
) -> Select<patient_row::Entity> {
    use patient_row::Column;
    let mut query = patient_row::Entity::find()
        .filter(Column::HospitalId.eq(hospital_id))
        .filter(Column::ErasedAt.is_null())
        .filter(Column::MergedInto.is_null())
        .order_by_desc(Column::PatientId)
        .limit(rows);
    if !filter.show_deleted {
        query = query.filter(Column::DeletedAt.is_null());
    }
    let bounds = [
        before.map(|before| Column::PatientId.lt(before)),
        filter.created_from.map(|from| Column::CreatedAt.gte(from)),
        filter.created_before.map(|before| Column::CreatedAt.lt(before)),
        filter.updated_from.map(|from| Column::UpdatedAt.gte(from)),
    ];
    for bound in bounds.into_iter().flatten() {
        query = query.filter(bound);
    }
    query
}

/// As [`patients`], of those who have a token of each part.
pub fn patients_with(
    hospital_id: &str,
    parts: &[(&'static str, Vec<String>)],
    before: Option<Uuid>,
    rows: u64,
) -> Select<patient_row::Entity> {
    let each = parts.iter().fold(Condition::all(), |each, (kind, tokens)| {
        let with = having(hospital_id, kind, tokens, search_token_row::Column::PatientId);
        each.add(patient_row::Column::PatientId.in_subquery(with))
    });
    patients(hospital_id, &PatientFilter::default(), before, rows).filter(each)
}

/// Patients or records that have one of the tokens.
pub(super) fn having(
    hospital_id: &str,
    kind: &str,
    tokens: &[String],
    id: search_token_row::Column,
) -> SelectStatement {
    Query::select()
        .column(id)
        .from(search_token_row::Entity)
        .and_where(Expr::col(search_token_row::Column::HospitalId).eq(hospital_id))
        .and_where(Expr::col(search_token_row::Column::Kind).eq(kind))
        .and_where(Expr::col(search_token_row::Column::Token).is_in(tokens.iter().cloned()))
        .to_owned()
}

/// Entries of a patient, newest first, below `before`; with one of `tokens` if there are some.
pub fn entries(
    hospital_id: &str,
    patient_id: Uuid,
    kind: EntryKind,
    (filter, tokens): (&EntryFilter, Option<&[String]>),
    before: Option<Uuid>,
    rows: u64,
) -> Select<entry_row::Entity> {
    use entry_row::Column;
    let mut query = entry_row::Entity::find()
        .filter(Column::HospitalId.eq(hospital_id))
        .filter(Column::PatientId.eq(patient_id))
        .filter(Column::Kind.eq(kind.as_str()))
        .filter(Column::DeletedAt.is_null())
        .filter(Column::ErasedAt.is_null())
        .order_by_desc(Column::EntryId)
        .limit(rows);
    let bounds = [
        before.map(|before| Column::EntryId.lt(before)),
        filter.created_from.map(|from| Column::CreatedAt.gte(from)),
        filter.created_before.map(|before| Column::CreatedAt.lt(before)),
        tokens.map(|tokens| {
            let id = search_token_row::Column::RecordId;
            Column::EntryId.in_subquery(having(hospital_id, "finding", tokens, id))
        }),
    ];
    for bound in bounds.into_iter().flatten() {
        query = query.filter(bound);
    }
    query
}

/// Changes after a position, in order, of transactions below `horizon` and of one of `patients` if there are some.
pub fn changes(
    hospital_id: &str,
    position: Position,
    patients: Option<&[Uuid]>,
    horizon: Option<i64>,
    rows: u64,
) -> Select<change_row::Entity> {
    use change_row::Column;
    let place = Expr::tuple([Expr::col(Column::TransactionId), Expr::col(Column::Sequence)]);
    let seen = Expr::tuple([position.transaction_id.into(), position.sequence.into()]);
    let mut query = change_row::Entity::find()
        .filter(Column::HospitalId.eq(hospital_id))
        .filter(place.gt(seen))
        .order_by_asc(Column::TransactionId)
        .order_by_asc(Column::Sequence)
        .limit(rows);
    if let Some(horizon) = horizon {
        query = query.filter(Column::TransactionId.lt(horizon));
    }
    if let Some(patients) = patients {
        query = query.filter(Column::PatientId.is_in(patients.iter().copied()));
    }
    query
}
