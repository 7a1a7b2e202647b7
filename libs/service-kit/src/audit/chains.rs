//! Audit chains in the database.

use std::collections::BTreeSet;

use neurotriage_audit::{
    self as chain, Anchor, Break, ChainId, Checkpoint, Event, Head, Mac, Row, Signer, Tenant,
    Verified, Verifier,
};
use neurotriage_domain::{HospitalId, InvalidId};
use neurotriage_sealing::KeyId;
use sea_orm::{
    AccessMode,
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction,
    DbBackend, EntityTrait as _, FromQueryResult as _, IsolationLevel, QueryFilter as _,
    QueryOrder as _, QueryResult, QuerySelect as _, QueryTrait as _, Statement, TransactionOptions,
    sea_query::{
        CommonTableExpression, Expr, ExprTrait as _, LockType, OnConflict, Query, UpdateStatement,
    },
};
use time::OffsetDateTime;

use super::{
    AuditError, SHARDS, failed,
    rows::{
        audit_entry_row as entry_row, audit_head_row as head_row,
        audit_hospital_row as hospital_row,
    },
};
use crate::{
    database,
    tenant::{self, Mode},
};

/// Rows read at once by a verification: some 0.5 MB.
const VERIFY_ROWS: u64 = 1000;

/// Makes the chains of a hospital that has none yet.
///
/// A hospital that was here before and whose heads are gone gets no new ones: whoever removed them would have a
/// chain that begins anew. Its calls fail until they are put back.
pub(super) async fn provision(
    db: &DatabaseConnection,
    signer: &Signer,
    hospital_id: &HospitalId,
    owner: Tenant,
) -> Result<(), AuditError> {
    const MAKE: &str = "make audit chains of hospital";
    let transaction = tenant::begin(db, hospital_id, Mode::Write).await.map_err(failed(MAKE))?;
    let row = hospital_row::ActiveModel {
        hospital_id: Set(hospital_id.as_str().to_owned()),
        created_at: Set(OffsetDateTime::now_utc()),
    };
    let once = OnConflict::column(hospital_row::Column::HospitalId).do_nothing().to_owned();
    let insert = hospital_row::Entity::insert(row).on_conflict(once).into_query();
    let made = transaction.execute(&insert).await.map_err(failed(MAKE))?;
    if made.rows_affected() == 1 {
        let heads = (0..SHARDS).map(|shard| {
            let head = Head::empty(ChainId { tenant: owner.clone(), shard }, signer);
            head_row::ActiveModel {
                hospital_id: Set(hospital_id.as_str().to_owned()),
                shard: Set(shard.into()),
                sequence: Set(0),
                hash: Set(head.hash),
                mac: Set(head.mac.as_str().to_owned()),
            }
        });
        head_row::Entity::insert_many(heads)
            .exec_without_returning(&transaction)
            .await
            .map_err(failed(MAKE))?;
    }
    transaction.commit().await.map_err(failed(MAKE))
}

/// Signs the head of a chain anew, if its signature holds and is not of the active key. Until then the old key is
/// needed. It is all that its transaction does.
pub(super) async fn sign_again(
    db: &DatabaseConnection,
    signer: &Signer,
    hospital_id: &HospitalId,
    chain: ChainId,
) -> Result<(), AuditError> {
    const SIGN: &str = "sign head of audit chain again";
    let transaction = tenant::begin(db, hospital_id, Mode::Write).await.map_err(failed(SIGN))?;
    let before = lock_head(&transaction, chain).await?;
    let (_, head) =
        chain::append(&before, &[], signer).map_err(|error| AuditError::new(SIGN, error))?;
    if head.mac != before.mac {
        transaction.execute(&moved(&head)).await.map_err(failed(SIGN))?;
    }
    transaction.commit().await.map_err(failed(SIGN))
}

/// Returns how many heads of a hospital's chains are not signed with the active key.
pub(super) async fn heads_left(
    db: &DatabaseConnection,
    signer: &Signer,
    hospital_id: &HospitalId,
) -> Result<u64, AuditError> {
    const READ: &str = "read heads of audit chains";
    let transaction = tenant::begin(db, hospital_id, Mode::Read).await.map_err(failed(READ))?;
    let rows = head_row::Entity::find()
        .filter(head_row::Column::HospitalId.eq(hospital_id.as_str()))
        .all(&transaction)
        .await
        .map_err(failed(READ))?;
    transaction.rollback().await.map_err(failed(READ))?;
    let left = rows.into_iter().filter(|row| !signer.is_by_active(&Mac::stored(row.mac.clone())));
    Ok(left.count() as u64)
}

/// Appends `events` to `chain`. It comes last in `transaction`, which locks no other chain.
pub(super) async fn append(
    transaction: &DatabaseTransaction,
    signer: &Signer,
    chain: ChainId,
    events: &[Event],
) -> Result<(), AuditError> {
    let head = lock_head(transaction, chain).await?;
    let (rows, head) = chain::append(&head, events, signer)
        .map_err(|error| AuditError::new("append audit entries", error))?;
    store(transaction, rows, &head).await
}

async fn lock_head(transaction: &DatabaseTransaction, chain: ChainId) -> Result<Head, AuditError> {
    const LOCK: &str = "lock head of audit chain";
    // In SQLite the transaction holds the lock on the whole database, and the clause is left out.
    let row = head_row::Entity::find_by_id((chain.tenant.as_str().to_owned(), chain.shard.into()))
        .lock(LockType::NoKeyUpdate)
        .one(transaction)
        .await
        .map_err(failed(LOCK))?
        .ok_or_else(|| AuditError::new(LOCK, "hospital has no such audit chain"))?;
    Ok(head(chain, row))
}

fn head(chain: ChainId, row: head_row::Model) -> Head {
    Head { chain, sequence: row.sequence, hash: row.hash, mac: Mac::stored(row.mac) }
}

/// Returns the statement that writes a head over the one before it.
fn moved(head: &Head) -> UpdateStatement {
    let columns = head_row::ActiveModel {
        sequence: Set(head.sequence),
        hash: Set(head.hash.clone()),
        mac: Set(head.mac.as_str().to_owned()),
        ..Default::default()
    };
    head_row::Entity::update_many()
        .set(columns)
        .filter(head_row::Column::HospitalId.eq(head.chain.tenant.as_str()))
        .filter(head_row::Column::Shard.eq(i32::from(head.chain.shard)))
        .into_query()
}

async fn store(
    transaction: &DatabaseTransaction,
    rows: Vec<Row>,
    head: &Head,
) -> Result<(), AuditError> {
    let entries: Vec<entry_row::ActiveModel> =
        rows.into_iter().map(entry).collect::<Result<_, _>>()?;
    let insert = entry_row::Entity::insert_many(entries).into_query();
    let update = moved(head);
    let write = failed("write audit entries");
    if transaction.get_database_backend() == DbBackend::Postgres {
        // Both in one statement: whoever waits for the head waits for one answer less.
        let moved = CommonTableExpression::new().table_name("moved").query(update).to_owned();
        let both = insert.with(Query::with().cte(moved).to_owned());
        transaction.execute(&both).await.map_err(write)?;
    } else {
        transaction.execute(&insert).await.map_err(&write)?;
        transaction.execute(&update).await.map_err(write)?;
    }
    Ok(())
}

fn entry(row: Row) -> Result<entry_row::ActiveModel, AuditError> {
    let shard =
        i32::try_from(row.shard).map_err(|error| AuditError::new("encode audit entry", error))?;
    Ok(entry_row::ActiveModel {
        hospital_id: Set(row.tenant),
        shard: Set(shard),
        sequence: Set(row.sequence),
        at_us: Set(row.at_us),
        actor: Set(row.actor),
        action: Set(row.action),
        resource_kind: Set(row.resource_kind),
        resource_id: Set(row.resource_id),
        purpose: Set(row.purpose),
        trace_id: Set(row.trace_id),
        outcome: Set(row.outcome),
        detail: Set(row.detail),
        previous_hash: Set(row.previous_hash),
        hash: Set(row.hash),
    })
}

/// Returns the row as it stands. One that can't be read comes back without content, which does not verify: somebody
/// altered it.
fn row(found: &QueryResult) -> Result<Row, AuditError> {
    let Ok(stored) = entry_row::Model::from_query_result(found, "") else {
        let sequence: i64 =
            found.try_get("", "sequence").map_err(failed("read number of audit entry"))?;
        return Ok(unreadable(sequence));
    };
    Ok(Row {
        tenant: stored.hospital_id,
        shard: stored.shard.into(),
        sequence: stored.sequence,
        at_us: stored.at_us,
        actor: stored.actor,
        action: stored.action,
        resource_kind: stored.resource_kind,
        resource_id: stored.resource_id,
        purpose: stored.purpose,
        trace_id: stored.trace_id,
        outcome: stored.outcome,
        detail: stored.detail,
        previous_hash: stored.previous_hash,
        hash: stored.hash,
    })
}

fn unreadable(sequence: i64) -> Row {
    Row {
        tenant: String::new(),
        shard: 0,
        sequence,
        at_us: 0,
        actor: String::new(),
        action: String::new(),
        resource_kind: String::new(),
        resource_id: None,
        purpose: String::new(),
        trace_id: None,
        outcome: String::new(),
        detail: String::new(),
        previous_hash: Vec::new(),
        hash: Vec::new(),
    }
}

/// Returns the hospitals whose audit there is, or a part of one: those that are registered, and those that heads or
/// entries name.
pub(super) async fn hospitals(db: &DatabaseConnection) -> Result<Vec<HospitalId>, AuditError> {
    const READ: &str = "read hospitals of audit";
    let across = tenant::begin_across(db).await.map_err(failed(READ))?;
    let mut ids = BTreeSet::new();
    for query in [
        hospital_row::Entity::find()
            .select_only()
            .column(hospital_row::Column::HospitalId)
            .into_query(),
        head_row::Entity::find().select_only().column(head_row::Column::HospitalId).into_query(),
        entry_row::Entity::find().select_only().column(entry_row::Column::HospitalId).into_query(),
    ] {
        let rows = across.query_all(query.clone().distinct()).await.map_err(failed(READ))?;
        for row in rows {
            let id: String = row.try_get_by_index(0).map_err(failed(READ))?;
            ids.insert(id.parse().map_err(|error: InvalidId| AuditError::new(READ, error))?);
        }
    }
    across.rollback().await.map_err(failed(READ))?;
    Ok(ids.into_iter().collect())
}

/// Entries of a hospital that stand in no chain.
pub(super) struct Stray {
    pub(super) shard: i32,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Returns what stands outside of the chains of a hospital: no chain's verification meets it.
pub(super) async fn strays(
    db: &DatabaseConnection,
    hospital_id: &HospitalId,
) -> Result<Vec<Stray>, AuditError> {
    const READ: &str = "read audit entries outside of the chains";
    let snapshot = snapshot(db, hospital_id).await?;
    let sequence = || Expr::col(entry_row::Column::Sequence);
    let outside = Condition::any()
        .add(entry_row::Column::Shard.lt(0))
        .add(entry_row::Column::Shard.gte(i32::from(SHARDS)))
        .add(entry_row::Column::Sequence.lt(1));
    let query = entry_row::Entity::find()
        .select_only()
        .column(entry_row::Column::Shard)
        .expr(sequence().min())
        .expr(sequence().max())
        .filter(entry_row::Column::HospitalId.eq(hospital_id.as_str()))
        .filter(outside)
        .group_by(entry_row::Column::Shard)
        .order_by_asc(entry_row::Column::Shard)
        .into_tuple::<(i32, i64, i64)>();
    let found = query.all(&snapshot).await.map_err(failed(READ))?;
    snapshot.rollback().await.map_err(failed("end snapshot"))?;
    Ok(found.into_iter().map(|(shard, first, last)| Stray { shard, first, last }).collect())
}

/// Reads one chain of a hospital and says what is wrong with it, and which key signed its head if it is not the active
/// one. `anchors` are of checkpoints kept elsewhere.
pub(super) async fn verify(
    db: &DatabaseConnection,
    signer: &Signer,
    hospital_id: &HospitalId,
    chain: ChainId,
    anchors: Vec<Anchor>,
) -> Result<(Result<Verified, Break>, Option<KeyId>), AuditError> {
    let snapshot = snapshot(db, hospital_id).await?;
    let key = (chain.tenant.as_str().to_owned(), i32::from(chain.shard));
    let stored = head_row::Entity::find_by_id(key)
        .one(&snapshot)
        .await
        .map_err(failed("read head of audit chain"))?;
    let mut verifier = Verifier::new(chain.clone(), anchors);
    loop {
        let rows = rows_after(&snapshot, &chain, verifier.reached()).await?;
        let last = (rows.len() as u64) < VERIFY_ROWS;
        let broken = rows.into_iter().any(|row| verifier.push(row).is_break());
        if last || broken {
            break;
        }
    }
    snapshot.rollback().await.map_err(failed("end snapshot"))?;
    let head = stored.map(|row| head(chain, row));
    let retired = head.as_ref().filter(|head| !signer.is_by_active(&head.mac));
    let retired = retired.and_then(|head| head.mac.key_id());
    Ok((verifier.finish(head.as_ref(), signer), retired))
}

async fn rows_after(
    snapshot: &DatabaseTransaction,
    chain: &ChainId,
    sequence: i64,
) -> Result<Vec<Row>, AuditError> {
    let query = entry_row::Entity::find()
        .filter(entry_row::Column::HospitalId.eq(chain.tenant.as_str()))
        .filter(entry_row::Column::Shard.eq(i32::from(chain.shard)))
        .filter(entry_row::Column::Sequence.gt(sequence))
        .order_by_asc(entry_row::Column::Sequence)
        .limit(VERIFY_ROWS)
        .build(snapshot.get_database_backend());
    let found = snapshot.query_all_raw(query).await.map_err(failed("read audit entries"))?;
    found.iter().map(row).collect()
}

/// Begins a transaction that sees the hospital's rows as they are now until it ends, and locks and changes none.
///
/// # Errors
/// If the database does not answer.
pub async fn snapshot(
    db: &DatabaseConnection,
    hospital_id: &HospitalId,
) -> Result<DatabaseTransaction, AuditError> {
    const BEGIN: &str = "begin snapshot";
    // A transaction of SQLite is a snapshot from its first read on.
    let mut options = TransactionOptions::default();
    let backend = db.get_database_backend();
    if backend == DbBackend::Sqlite {
        return database::begin(db, options).await.map_err(failed(BEGIN));
    }
    options.isolation_level = Some(IsolationLevel::RepeatableRead);
    options.access_mode = Some(AccessMode::ReadOnly);
    let snapshot = database::begin(db, options).await.map_err(failed(BEGIN))?;
    let values = [hospital_id.as_str().into()];
    let set = Statement::from_sql_and_values(
        backend,
        "SELECT set_config('app.tenant', $1, true)",
        values,
    );
    snapshot.execute_raw(set).await.map_err(failed(BEGIN))?;
    Ok(snapshot)
}

/// Signs where the chains of a hospital stand. The line of the checkpoint is to be kept elsewhere.
pub(super) async fn checkpoint(
    db: &DatabaseConnection,
    signer: &Signer,
    hospital_id: &HospitalId,
    owner: &Tenant,
    number: i64,
) -> Result<Checkpoint, AuditError> {
    const SIGN: &str = "sign checkpoint";
    let snapshot = snapshot(db, hospital_id).await?;
    let stored = head_row::Entity::find()
        .filter(head_row::Column::HospitalId.eq(hospital_id.as_str()))
        .order_by_asc(head_row::Column::Shard)
        .all(&snapshot)
        .await
        .map_err(failed("read heads of audit chains"))?;
    snapshot.rollback().await.map_err(failed("end snapshot"))?;
    if stored.len() != usize::from(SHARDS) {
        return Err(AuditError::new(SIGN, "a head of the audit is gone; run verify-audit"));
    }
    let mut heads = Vec::with_capacity(stored.len());
    for row in stored {
        let shard = u16::try_from(row.shard).map_err(|error| AuditError::new(SIGN, error))?;
        heads.push(head(ChainId { tenant: owner.clone(), shard }, row));
    }
    Checkpoint::new(owner.clone(), number, OffsetDateTime::now_utc(), &heads, signer)
        .map_err(|error| AuditError::new(SIGN, error))
}
