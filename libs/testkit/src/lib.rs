//! Real databases for tests, each test with its own.
//!
//! SQLite needs nothing. PostgreSQL needs a server at `TEST_DATABASE_URL` (a role that may create
//! databases, and no database name: `postgres://postgres@127.0.0.1:5432`); `cargo xtask test`
//! starts one.

use anyhow::Context as _;
use neurotriage_service_kit::database;
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use secrecy::SecretString;
use tempfile::TempDir;
use uuid::Uuid;

/// Connections of one test to its database.
const CONNECTIONS_MAX: u32 = 4;

/// A migrated database that no other test sees.
#[derive(Debug)]
pub struct TestDb {
    /// Connection to the fresh database.
    pub db: DatabaseConnection,
    /// Where the database answers; for tests that start a program of their own.
    pub url: SecretString,
    home: Home,
}

#[derive(Debug)]
enum Home {
    Sqlite(TempDir),
    Postgres { admin: DatabaseConnection, name: String },
}

impl TestDb {
    /// Creates a SQLite file with the schema of `M`.
    ///
    /// # Errors
    /// If the file can't be written or a migration fails.
    pub async fn sqlite<M: MigratorTrait>() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("create database folder")?;
        let url = format!("sqlite://{}", folder.path().join("test.sqlite").display());
        let url = SecretString::from(url);
        let db = migrated::<M>(&url).await?;
        Ok(Self { db, url, home: Home::Sqlite(folder) })
    }

    /// Creates a PostgreSQL database with the schema of `M`, or returns `None` and says so if
    /// `TEST_DATABASE_URL` is not set.
    ///
    /// # Errors
    /// If the server does not answer or a migration fails.
    pub async fn postgres<M: MigratorTrait>() -> anyhow::Result<Option<Self>> {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            eprintln!("skipped postgres: set TEST_DATABASE_URL");
            return Ok(None);
        };
        let admin = SecretString::from(format!("{server}/postgres"));
        let admin = database::connect(&admin, 1).await?;
        let name = format!("neurotriage_test_{}", Uuid::now_v7().simple());
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        let url = SecretString::from(format!("{server}/{name}"));
        let db = migrated::<M>(&url).await?;
        Ok(Some(Self { db, url, home: Home::Postgres { admin, name } }))
    }

    /// Removes the database. A test that fails leaves a PostgreSQL database to be looked at.
    ///
    /// # Errors
    /// If the database can't be removed.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.db.close().await.context("close test database")?;
        match self.home {
            Home::Sqlite(folder) => folder.close().context("remove database folder"),
            Home::Postgres { admin, name } => {
                admin
                    .execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)"))
                    .await
                    .context("drop test database")?;
                admin.close().await.context("close admin connection")
            }
        }
    }
}

async fn migrated<M: MigratorTrait>(url: &SecretString) -> anyhow::Result<DatabaseConnection> {
    let db = database::connect(url, CONNECTIONS_MAX).await?;
    M::up(&db, None).await.context("migrate test database")?;
    Ok(db)
}

/// Returns a SQLite database, and a PostgreSQL one if `TEST_DATABASE_URL` is set, each with the
/// schema of `M`.
///
/// # Errors
/// If a database can't be made.
pub async fn databases<M: MigratorTrait>() -> anyhow::Result<Vec<TestDb>> {
    let mut databases = vec![TestDb::sqlite::<M>().await?];
    databases.extend(TestDb::postgres::<M>().await?);
    Ok(databases)
}
