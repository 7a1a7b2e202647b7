//! Connections to PostgreSQL and SQLite, by one URL.

use std::{io, path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr,
    SqlxError, TransactionOptions, TransactionTrait as _,
    sqlx::{Connection as _, PgConnection, SqliteConnection},
};
use sea_orm_migration::MigratorTrait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use tracing::Instrument as _;

const SQLITE_PREFIX: &str = "sqlite://";
const POSTGRES_PREFIXES: [&str; 2] = ["postgres://", "postgresql://"];

/// Longest wait for a new connection to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a free connection of the pool; longer means that the pool is too small.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of a SQLite writer for the writer before it.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time after which a connection is asked whether it still lives before it is used. Asked at every use, each
/// call would wait for one answer of the database more.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// Longest wait for that answer; a connection that gives none is closed and another one opened.
const TEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Statements that one connection keeps prepared. Rows written at once make a statement for each number of them.
const STATEMENTS_MAX: usize = 256;
/// What PostgreSQL itself holds sessions of services to: it ends a statement, a wait for a lock, and a transaction
/// whose service does not go on, such as one that was cut off. Each ends before a caller's patience does.
const POSTGRES_LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "9s"),
    ("lock_timeout", "8s"),
    ("idle_in_transaction_session_timeout", "15s"),
];

/// Opens a pool of at most `connections_max` connections.
///
/// `url` is `postgres://user:password@host/database` or `sqlite://path`. A SQLite file is created
/// if it is missing (its folder is not), with a write-ahead log and foreign keys enforced; its
/// path is taken as it stands, without parameters or percent-encoding.
///
/// Waits are bounded: 10 s for a connection; PostgreSQL ends a statement after 9 s, a wait for a lock after 8 s
/// and an idle transaction after 15 s. [`is_away`] knows what comes of it. A server that is stopped or cut off
/// keeps no such promise: who answers callers limits the time of its own operations too. A connection is closed that is
/// silent for 2 s as it comes back, or before it is used after 1 s of idleness; and one of SQLite that comes back inside
/// of a transaction.
///
/// # Errors
/// If the URL is of neither kind, or the database can't be opened. The error does not repeat the
/// URL, which holds a password.
pub async fn connect(
    url: &SecretString,
    connections_max: u32,
) -> anyhow::Result<DatabaseConnection> {
    open(url, connections_max, &POSTGRES_LIMITS).await
}

/// As [`connect`], to a database that must be there: no SQLite file is created.
///
/// # Errors
/// As [`connect`], and if there is no such SQLite file.
pub async fn connect_existing(
    url: &SecretString,
    connections_max: u32,
) -> anyhow::Result<DatabaseConnection> {
    if let Some(path) = url.expose_secret().strip_prefix(SQLITE_PREFIX) {
        ensure!(Path::new(path).is_file(), "there is no database {path}; check the path");
    }
    connect(url, connections_max).await
}

/// As [`connect`], for work that may take long, such as migrations: no limit on statements and transactions.
///
/// # Errors
/// As [`connect`].
pub async fn connect_without_limits(
    url: &SecretString,
    connections_max: u32,
) -> anyhow::Result<DatabaseConnection> {
    open(url, connections_max, &[]).await
}

async fn open(
    url: &SecretString,
    connections_max: u32,
    limits: &'static [(&'static str, &'static str)],
) -> anyhow::Result<DatabaseConnection> {
    let mut options = if let Some(path) = url.expose_secret().strip_prefix(SQLITE_PREFIX) {
        sqlite(path)?
    } else if POSTGRES_PREFIXES.iter().any(|prefix| url.expose_secret().starts_with(prefix)) {
        let mut options = ConnectOptions::new(url.expose_secret());
        options.map_sqlx_postgres_opts(move |postgres| {
            postgres.options(limits.iter().copied()).statement_cache_capacity(STATEMENTS_MAX)
        });
        options.map_sqlx_postgres_pool_opts(|pool| {
            pool.before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for < TEST_AFTER_IDLE {
                        Ok(true)
                    } else {
                        lives(connection).await
                    }
                })
            })
            // The driver asks too as a connection comes back, and would wait for ever.
            .after_release(|connection, _| Box::pin(lives(connection)))
        });
        options
    } else {
        bail!("database url is of an unknown kind; give postgres://... or sqlite://path")
    };
    options
        .max_connections(connections_max.max(1))
        .connect_timeout(CONNECT_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // Statements would reach the log with every call; spans tell more.
        .sqlx_logging(false);
    Database::connect(options).await.context("connect to database")
}

/// Asks the server whether it is there, and waits for what was asked of it before, such as a rollback. One whose host
/// vanished says nothing, and no error either.
async fn lives(connection: &mut PgConnection) -> Result<bool, SqlxError> {
    match timeout(TEST_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(SqlxError::Io(io::ErrorKind::TimedOut.into())),
    }
}

fn sqlite(path: &str) -> anyhow::Result<ConnectOptions> {
    if path.is_empty() || path.starts_with(':') {
        bail!("sqlite url names no file; give sqlite:///folder/file.sqlite");
    }
    let path = path.to_owned();
    // The file is named below: a URL would treat `?` and `%` in a path as its own.
    let mut options = ConnectOptions::new("sqlite://unused");
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
            .pragma("journal_mode", "WAL")
            // What was answered is on the disk.
            .pragma("synchronous", "FULL")
    });
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| Box::pin(is_out_of_transactions(connection)))
    });
    Ok(options)
}

/// Asks the driver whether a connection that comes back is outside of a transaction.
///
/// SQLite rolls a whole transaction back by itself at some errors, such as a full disk. sqlx-sqlite 0.9.0 then fails to
/// roll it back once more, and counts it as open: the next to be given the connection would get a savepoint for a
/// transaction, inside one that never ends, and what they commit would be lost.
async fn is_out_of_transactions(connection: &mut SqliteConnection) -> Result<bool, SqlxError> {
    // A rollback that was only asked for is made before the answer.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Begins a transaction. If its caller goes away meanwhile, it is begun all the same, and rolled back.
///
/// Every transaction of a service begins here: sqlx-postgres 0.9.0 forgets one whose `BEGIN` was sent and whose answer nobody waited
/// for. The next to be given the connection would be inside it, and what they write outside of a transaction of their
/// own would be lost.
///
/// # Errors
/// If the database does not answer or refuses.
pub async fn begin(
    db: &DatabaseConnection,
    options: TransactionOptions,
) -> Result<DatabaseTransaction, DbErr> {
    let db = db.clone();
    let begun = async move { db.begin_with_options(options).await };
    match tokio::spawn(begun.in_current_span()).await {
        Ok(begun) => begun,
        Err(ended) => Err(DbErr::Conn(RuntimeErr::Internal(ended.to_string()))),
    }
}

/// Checks that every migration of `M` is applied, and no other. Changes nothing.
///
/// # Errors
/// If the database does not answer, a migration is missing (`neurotriage-migrate up` applies it), or a newer version
/// applied more.
pub async fn check_schema<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<()> {
    let pending = match M::get_pending_migrations_read_only(db).await {
        // So it says that steps are applied which `M` does not have.
        Err(DbErr::Custom(steps)) => bail!(
            "a newer version migrated this database ({steps}); start that version, or take its steps back with its \
             `neurotriage-migrate down`"
        ),
        pending => pending.context("read schema version")?,
    };
    if let Some(first) = pending.first() {
        bail!(
            "{} database migrations are missing, first {}; run `neurotriage-migrate up`",
            pending.len(),
            first.name()
        );
    }
    Ok(())
}

/// SQLSTATEs of a PostgreSQL server that does not take work now: its disk or memory is full, too many connections,
/// shutting down (by an administrator, after a crash), starting up; or that did not end it in time: a statement, a wait
/// for a lock, a transaction that was idle.
const POSTGRES_AWAY: [&str; 9] =
    ["53100", "53200", "53300", "57P01", "57P02", "57P03", "57014", "55P03", "25P03"];
/// Class of SQLSTATEs that say that the connection failed.
const POSTGRES_CONNECTION_CLASS: &str = "08";
/// Result codes of SQLite for a lock that another writer did not let go in time, and for a full disk.
const SQLITE_AWAY: [&str; 3] = ["5", "773", "13"];

/// Returns whether `error` means that the database does not answer now and may later, as opposed to a statement or
/// a setting that is wrong.
///
/// # Source
/// PostgreSQL 15 documentation, appendix A, "PostgreSQL Error Codes"; SQLite, "Result and Error Codes".
pub fn is_away(error: &DbErr) -> bool {
    let (DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) = error else {
        // Nothing else comes from the driver.
        return matches!(error, DbErr::ConnectionAcquire(_));
    };
    match error {
        RuntimeErr::SqlxError(error) => is_driver_away(error),
        RuntimeErr::Internal(_) => false,
    }
}

/// SQLSTATE of a transaction that PostgreSQL ended because it and others waited for each other.
const POSTGRES_DEADLOCK: &str = "40P01";

/// Returns whether what failed may pass if it is done again as a whole: the database [`is_away`], or ended the
/// transaction so that others may go on.
pub fn is_transient(error: &DbErr) -> bool {
    is_away(error) || is_deadlock(error)
}

fn is_deadlock(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == POSTGRES_DEADLOCK)
}

fn is_driver_away(error: &SqlxError) -> bool {
    let SqlxError::Database(error) = error else {
        return matches!(error, SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed);
    };
    error.code().is_some_and(|code| {
        let of_connection = code.len() == 5 && code.starts_with(POSTGRES_CONNECTION_CLASS);
        of_connection
            || POSTGRES_AWAY.contains(&code.as_ref())
            || SQLITE_AWAY.contains(&code.as_ref())
    })
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, error::Error, fmt, sync::Arc};

    use sea_orm::{
        ConnAcquireErr, ConnectionTrait as _, DbBackend, SqliteTransactionMode, Statement,
        sqlx::error::{DatabaseError, ErrorKind},
    };
    use sea_orm_migration::prelude::*;

    use super::*;

    /// What a server answers, by its code.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Answer {}

    impl DatabaseError for Answer {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_database_that_is_away_is_told_from_a_bug() {
        let answer = |code| SqlxError::Database(Box::new(Answer(code)));
        let reset = || SqlxError::Io(io::ErrorKind::ConnectionReset.into());
        // (what the row is for, error of the driver, whether the database is away)
        let table = [
            ("refused", SqlxError::Io(io::ErrorKind::ConnectionRefused.into()), true),
            ("closed in the middle", SqlxError::Io(io::ErrorKind::UnexpectedEof.into()), true),
            ("pool timed out", SqlxError::PoolTimedOut, true),
            ("pool closed", SqlxError::PoolClosed, true),
            ("too many connections", answer("53300"), true),
            ("shut down", answer("57P01"), true),
            ("crashed beside", answer("57P02"), true),
            ("starting up", answer("57P03"), true),
            ("connection failure", answer("08006"), true),
            ("disk full", answer("53100"), true),
            ("busy SQLite", answer("5"), true),
            ("SQLite's disk full", answer("13"), true),
            ("unique key", answer("23505"), false),
            ("row-level security", answer("42501"), false),
            ("no such table", answer("42P01"), false),
            ("wrong password", answer("28P01"), false),
            ("statement timed out", answer("57014"), true),
            ("lock not granted in time", answer("55P03"), true),
            ("transaction was idle for long", answer("25P03"), true),
            ("SQLite unique key", answer("2067"), false),
            ("no row", SqlxError::RowNotFound, false),
            ("broken protocol", SqlxError::Protocol("odd".to_owned()), false),
        ];
        for (case, error, away) in table {
            let error = DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
            assert_eq!(is_away(&error), away, "case: {case}");
        }
        assert!(is_away(&DbErr::Conn(RuntimeErr::SqlxError(Arc::new(reset())))));
        assert!(is_away(&DbErr::Exec(RuntimeErr::SqlxError(Arc::new(reset())))));
        assert!(is_away(&DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
        assert!(!is_away(&DbErr::RecordNotFound("study".to_owned())));
        assert!(!is_away(&DbErr::Exec(RuntimeErr::Internal("odd".to_owned()))));
    }

    #[tokio::test]
    async fn a_postgres_that_is_not_there_is_away() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut options = ConnectOptions::new(format!("postgres://nobody@127.0.0.1:{port}/none"));
        options.acquire_timeout(Duration::from_millis(200)).connect_lazy(true);
        let db = Database::connect(options).await.unwrap();
        let error = db.execute_unprepared("SELECT 1").await.unwrap_err();
        assert!(is_away(&error), "{error:?}");
    }

    struct Step;

    impl MigrationName for Step {
        fn name(&self) -> &str {
            "m1_step"
        }
    }

    #[sea_orm_migration::async_trait::async_trait]
    impl MigrationTrait for Step {
        #[allow(elided_lifetimes_in_paths, reason = "async_trait rejects `SchemaManager<'_>`")]
        async fn up(&self, _: &SchemaManager) -> Result<(), DbErr> {
            Ok(())
        }
    }

    struct Steps;

    impl MigratorTrait for Steps {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Step)]
        }
    }

    async fn pragma(db: &DatabaseConnection, name: &str) -> String {
        let statement = Statement::from_string(db.get_database_backend(), format!("PRAGMA {name}"));
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<String>(0)
            .or_else(|_| row.try_get_by_index::<i64>(0).map(|value| value.to_string()))
            .unwrap()
    }

    #[tokio::test]
    async fn a_sqlite_file_is_created_with_odd_characters_in_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b%20?.sqlite");
        let url = SecretString::from(format!("sqlite://{}", file.display()));
        let db = connect(&url, 2).await.unwrap();
        assert!(file.exists());
        assert_eq!(pragma(&db, "journal_mode").await, "wal");
        assert_eq!(pragma(&db, "foreign_keys").await, "1");
        assert_eq!(pragma(&db, "busy_timeout").await, "10000");
    }

    #[tokio::test]
    async fn what_is_committed_after_a_full_disk_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let url = SecretString::from(format!("sqlite://{}", folder.path().join("db").display()));
        let db = connect(&url, 1).await.unwrap();
        db.execute_unprepared("CREATE TABLE note (text BLOB)").await.unwrap();
        let immediate = || TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        // As many pages as there are: to the connection the disk is full.
        db.execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();
        let transaction = begin(&db, immediate()).await.unwrap();
        let full = transaction.execute_unprepared("INSERT INTO note VALUES (zeroblob(100000))");
        let error = full.await.unwrap_err();
        assert!(is_away(&error), "{error:?}");
        drop(transaction);
        for _ in 0..2 {
            let transaction = begin(&db, immediate()).await.unwrap();
            transaction.execute_unprepared("INSERT INTO note VALUES ('kept')").await.unwrap();
            transaction.commit().await.unwrap();
            begin(&db, immediate()).await.unwrap().rollback().await.unwrap();
        }
        drop(db);
        let other = connect_existing(&url, 1).await.unwrap();
        let count = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) FROM note");
        let row = other.query_one_raw(count).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 2);
    }

    #[tokio::test]
    async fn an_unknown_url_is_refused_without_its_password() {
        for url in ["mysql://app:hunter2@db/x", "hunter2", "sqlite::memory:", "sqlite://"] {
            let error = connect(&SecretString::from(url), 2).await.unwrap_err();
            assert!(error.to_string().contains("url"), "{error}");
            assert!(!format!("{error:#}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_missing_migration_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let url = SecretString::from(format!("sqlite://{}", folder.path().join("db").display()));
        let db = connect(&url, 1).await.unwrap();
        let error = check_schema::<Steps>(&db).await.unwrap_err();
        assert!(error.to_string().contains("first m1_step"), "{error}");
        Steps::up(&db, None).await.unwrap();
        check_schema::<Steps>(&db).await.unwrap();
    }
}
