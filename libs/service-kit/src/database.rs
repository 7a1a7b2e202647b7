//! Connections to PostgreSQL and SQLite, by one URL.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use secrecy::{ExposeSecret as _, SecretString};

const SQLITE_PREFIX: &str = "sqlite://";
const POSTGRES_PREFIXES: [&str; 2] = ["postgres://", "postgresql://"];

/// Longest wait for a new connection to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a free connection of the pool; longer means that the pool is too small.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of a SQLite writer for the writer before it.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a pool of at most `connections_max` connections.
///
/// `url` is `postgres://user:password@host/database` or `sqlite://path`. A SQLite file is created
/// if it is missing (its folder is not), with a write-ahead log and foreign keys enforced; its
/// path is taken as it stands, without parameters or percent-encoding.
///
/// # Errors
/// If the URL is of neither kind, or the database can't be opened. The error does not repeat the
/// URL, which holds a password.
pub async fn connect(
    url: &SecretString,
    connections_max: u32,
) -> anyhow::Result<DatabaseConnection> {
    let mut options = if let Some(path) = url.expose_secret().strip_prefix(SQLITE_PREFIX) {
        sqlite(path)?
    } else if POSTGRES_PREFIXES.iter().any(|prefix| url.expose_secret().starts_with(prefix)) {
        ConnectOptions::new(url.expose_secret())
    } else {
        bail!("database url is of an unknown kind; give postgres://... or sqlite://path")
    };
    options
        .max_connections(connections_max.max(1))
        .connect_timeout(CONNECT_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Statements would reach the log with every call; spans tell more.
        .sqlx_logging(false);
    Database::connect(options).await.context("connect to database")
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
            .pragma("synchronous", "NORMAL")
    });
    Ok(options)
}

/// Checks that every migration of `M` is applied. Changes nothing.
///
/// # Errors
/// If the database does not answer or a migration is missing; `neurotriage-migrate up` applies it.
pub async fn check_schema<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<()> {
    let pending = M::get_pending_migrations_read_only(db).await.context("read schema version")?;
    if let Some(first) = pending.first() {
        bail!(
            "{} database migrations are missing, first {}; run `neurotriage-migrate up`",
            pending.len(),
            first.name()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Statement};
    use sea_orm_migration::prelude::*;

    use super::*;

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
