//! Real databases for tests, each test with its own, and an issuer of tokens.
//!
//! SQLite needs nothing. PostgreSQL needs a server at `TEST_DATABASE_URL` (a role that may create
//! databases and roles, and no database name: `postgres://postgres@127.0.0.1:5432`); `cargo xtask test`
//! starts one.
//!
//! [`issuer`] signs tokens for servers that are to ask for them.

pub mod cluster;
pub mod issuer;

use anyhow::Context as _;
use neurotriage_service_kit::{database, grants};
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
    /// Connection for the test itself. On PostgreSQL it is the server's administrator, who sees every row.
    pub db: DatabaseConnection,
    /// Connection for the service under test. On PostgreSQL its role owns nothing and has what `grants` give a
    /// service; on SQLite it is `db`.
    pub service: DatabaseConnection,
    /// Where the database answers, as the service's role; for tests that start a program of their own.
    pub url: SecretString,
    /// Where it answers, as the role that owns the tables, for migrations. Row-level security binds it too.
    pub owner_url: SecretString,
    home: Home,
}

#[derive(Debug)]
enum Home {
    Sqlite(TempDir),
    Postgres { admin: DatabaseConnection, name: String, owner: Option<String> },
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
        let owner_url = url.clone();
        Ok(Self { service: db.clone(), db, url, owner_url, home: Home::Sqlite(folder) })
    }

    /// Creates a PostgreSQL database with the schema of `M`, owned by a role of its own and used by another, or returns
    /// `None` and says so if `TEST_DATABASE_URL` is not set.
    ///
    /// # Errors
    /// If the server does not answer or a migration fails.
    pub async fn postgres<M: MigratorTrait>() -> anyhow::Result<Option<Self>> {
        match server() {
            Some(server) => Self::postgres_at::<M>(&server).await.map(Some),
            None => Ok(None),
        }
    }

    /// Creates a database as [`TestDb::postgres`] does, on the server at `server`.
    ///
    /// # Errors
    /// If the server does not answer or a migration fails.
    pub async fn postgres_at<M: MigratorTrait>(server: &str) -> anyhow::Result<Self> {
        let mut made = Self::empty_postgres_at(server).await?;
        made.part(server).await?;
        let owner = made.owner().await?;
        M::up(&owner, None).await.context("migrate test database")?;
        owner.close().await.context("close connection of owner")?;
        made.grant().await?;
        Ok(made)
    }

    /// Gives the database to another role than the service's.
    async fn part(&mut self, server: &str) -> anyhow::Result<()> {
        let Home::Postgres { admin, name, owner } = &mut self.home else { return Ok(()) };
        let role = format!("{name}_owner");
        let password = create_role(admin, &role).await?;
        let give = format!("ALTER DATABASE {name} OWNER TO {role}");
        admin.execute_unprepared(&give).await.context("give test database away")?;
        self.owner_url = SecretString::from(url_of_role(server, &role, &password, name)?);
        *owner = Some(role);
        Ok(())
    }

    /// As [`TestDb::postgres`], without a schema: for a program that is to migrate it. The service's role owns it.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn empty_postgres() -> anyhow::Result<Option<Self>> {
        match server() {
            Some(server) => Self::empty_postgres_at(&server).await.map(Some),
            None => Ok(None),
        }
    }

    async fn empty_postgres_at(server: &str) -> anyhow::Result<Self> {
        let admin = SecretString::from(format!("{server}/postgres"));
        let admin = database::connect_without_limits(&admin, 1).await?;
        let name = format!("neurotriage_test_{}", Uuid::now_v7().simple());
        let password = create_role(&admin, &name).await?;
        let create = format!("CREATE DATABASE {name} OWNER {name}");
        admin.execute_unprepared(&create).await.context("create test database")?;
        let url = SecretString::from(url_of_role(server, &name, &password, &name)?);
        let service = database::connect(&url, CONNECTIONS_MAX).await?;
        let db = SecretString::from(format!("{server}/{name}"));
        let db = database::connect_without_limits(&db, CONNECTIONS_MAX).await?;
        let owner_url = url.clone();
        Ok(Self { db, service, url, owner_url, home: Home::Postgres { admin, name, owner: None } })
    }

    /// Returns a connection as the role that owns the tables, one as migrations have it.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn owner(&self) -> anyhow::Result<DatabaseConnection> {
        database::connect_without_limits(&self.owner_url, 1).await
    }

    /// Gives the service's role what it needs of tables that were made since.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn grant(&self) -> anyhow::Result<()> {
        let Home::Postgres { name, owner: Some(_), .. } = &self.home else { return Ok(()) };
        let owner = self.owner().await?;
        grants::grant(&owner, &name.parse()?).await.context("grant to test role")?;
        owner.close().await.context("close connection of owner")
    }

    /// Removes the database. A test that fails leaves a PostgreSQL database, with its role, to be looked at.
    ///
    /// # Errors
    /// If the database can't be removed.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.db.close().await.context("close test database")?;
        match self.home {
            Home::Sqlite(folder) => folder.close().context("remove database folder"),
            Home::Postgres { admin, name, owner } => {
                self.service.close().await.context("close test database")?;
                let drop = format!("DROP DATABASE {name} WITH (FORCE)");
                let dropped = match admin.execute_unprepared(&drop).await {
                    // A server that was stopped meanwhile leaves a connection that is gone.
                    Err(error) if database::is_away(&error) => {
                        admin.execute_unprepared(&drop).await
                    }
                    dropped => dropped,
                };
                dropped.context("drop test database")?;
                for role in [Some(name), owner].into_iter().flatten() {
                    let drop = format!("DROP ROLE {role}");
                    admin.execute_unprepared(&drop).await.context("drop test role")?;
                }
                admin.close().await.context("close admin connection")
            }
        }
    }
}

/// Returns where the PostgreSQL server is, or says that there is none.
fn server() -> Option<String> {
    let server = std::env::var("TEST_DATABASE_URL").ok();
    if server.is_none() {
        eprintln!("skipped postgres: set TEST_DATABASE_URL");
    }
    server
}

/// Creates a role that row-level security binds; returns its password.
async fn create_role(admin: &DatabaseConnection, role: &str) -> anyhow::Result<String> {
    let password = Uuid::new_v4().simple().to_string();
    let create = format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB PASSWORD '{password}'"
    );
    admin.execute_unprepared(&create).await.context("create test role")?;
    Ok(password)
}

/// Returns the URL of a database, as `role`, on the server of `server`.
fn url_of_role(server: &str, role: &str, password: &str, database: &str) -> anyhow::Result<String> {
    let (scheme, authority) = server.split_once("://").context("TEST_DATABASE_URL is no URL")?;
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    Ok(format!("{scheme}://{role}:{password}@{address}/{database}"))
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
