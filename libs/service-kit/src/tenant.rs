//! Transactions of one hospital, the tenant, as row-level security in PostgreSQL sees them.
//!
//! Every statement on a hospital's data runs in such a transaction, reads too: the setting is gone with the
//! transaction, so that a pooled connection carries no tenant to the next call. Queries name the hospital as well:
//! SQLite has no row-level security, and what one of the two misses, the other holds.

use anyhow::Context as _;
use neurotriage_access::{Access, TENANT_SETTING};
use neurotriage_domain::HospitalId;
use sea_orm::{
    AccessMode, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions,
};

use crate::{database, grants::MAY_OWN};

/// PostgreSQL setting that lets a worker's transaction see rows of every hospital, in the few tables whose policy
/// says so.
pub const WORKER_SETTING: &str = "app.worker";

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only to read.
    Read,
    /// To write, perhaps after a read. SQLite takes its write lock at once: taken later, after a read, it is
    /// refused rather than waited for.
    Write,
}

/// Begins a transaction that sees and writes rows of `hospital_id` only.
///
/// On SQLite nothing but the queries themselves keeps to the hospital.
///
/// # Errors
/// If the database does not answer or refuses.
pub async fn begin(
    db: &DatabaseConnection,
    hospital_id: &HospitalId,
    mode: Mode,
) -> Result<DatabaseTransaction, DbErr> {
    let mut options = TransactionOptions::default();
    if mode == Mode::Write && db.get_database_backend() == DbBackend::Sqlite {
        options.sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    }
    let transaction = database::begin(db, options).await?;
    set(&transaction, TENANT_SETTING, hospital_id.as_str()).await?;
    Ok(transaction)
}

/// Begins a transaction of a background worker: it reads rows of every hospital where a table's policy admits
/// workers, to learn whose turn it is, and writes nothing.
///
/// What a worker then changes, it changes in a transaction of the row's own hospital. No call may use this.
///
/// # Errors
/// If the database does not answer or refuses.
pub async fn begin_across(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let mut options = TransactionOptions::default();
    if db.get_database_backend() == DbBackend::Postgres {
        options.access_mode = Some(AccessMode::ReadOnly);
    }
    let transaction = database::begin(db, options).await?;
    set(&transaction, WORKER_SETTING, "on").await?;
    Ok(transaction)
}

/// `SET LOCAL` with a bound value.
async fn set(
    transaction: &DatabaseTransaction,
    setting: &'static str,
    value: &str,
) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    if backend == DbBackend::Postgres {
        let values = [setting.into(), value.into()];
        let sql = "SELECT set_config($1, $2, true)";
        transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    Ok(())
}

/// Refuses a role of the database that row-level security does not bind, a superuser's or one with BYPASSRLS, where
/// `access` lets several hospitals in: only the queries would keep them apart. On loopback without tokens there is one
/// hospital, and it warns. Warns too if the role owns its tables, or could, and turn row-level security off.
///
/// # Errors
/// If the role is refused, or the database does not answer.
pub async fn check_role(db: &DatabaseConnection, access: &Access) -> anyhow::Result<()> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(());
    }
    let sql = format!(
        "SELECT r.rolsuper OR r.rolbypassrls, {MAY_OWN} FROM pg_roles r WHERE r.rolname = current_user"
    );
    let row = db.query_one_raw(Statement::from_string(backend, sql)).await;
    let row = row.context("read database role")?.context("database role is not in pg_roles")?;
    if row.try_get_by_index::<bool>(0).context("read database role")? {
        const UNBOUND: &str = "database role is a superuser or has BYPASSRLS, which row-level security does \
             not bind; connect as a role without both";
        anyhow::ensure!(access.is_development(), UNBOUND);
        tracing::warn!("{UNBOUND}");
    } else if row.try_get_by_index::<bool>(1).context("read owner of tables")? {
        tracing::warn!(
            "database role owns its tables, their schema or the database, or can become who does, and could turn \
             row-level security off; connect as one that `neurotriage-migrate up` grants what a service needs"
        );
    }
    Ok(())
}
