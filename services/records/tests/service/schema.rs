//! The program on a database whose schema is not its own: it ends, says why, and leaves everything as it was.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use neurotriage_migrations::records::Migrator;
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait as _;
use secrecy::ExposeSecret as _;
use tokio::{process::Command, time::timeout};

use crate::harness::{self, patient, start, stored};

/// Longest that the program may take to end.
const END_WAIT: Duration = Duration::from_secs(60);
/// A step that this version does not know.
const LATER: &str = "m20991231_000001_later";

/// Starts the program on a database and waits for its end.
async fn run(db: &TestDb) -> anyhow::Result<Output> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_neurotriage-records"));
    program
        .env_clear()
        .env("RECORDS_LISTEN", "127.0.0.1:0")
        .env("RECORDS_DATABASE_URL", db.url.expose_secret())
        .env("KEYRING", harness::KEYS.replace('\n', ","))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    timeout(END_WAIT, program.output()).await.context("the program goes on")?.context("start")
}

/// Returns what the tables are, the steps that made them, and every row.
async fn everything(db: &DatabaseConnection) -> anyhow::Result<String> {
    let (schema, steps) = if db.get_database_backend() == DbBackend::Postgres {
        let schema = "SELECT relname::text || ' ' || relkind::text || ' ' || coalesce(string_agg(attname::text || ' ' || \
             format_type(atttypid, atttypmod), ',' ORDER BY attnum), '') AS line \
             FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid \
             WHERE relnamespace = 'public'::regnamespace GROUP BY relname, relkind ORDER BY relname";
        (schema, "version || ' ' || applied_at")
    } else {
        (
            "SELECT name || coalesce(sql, '') AS line FROM sqlite_master ORDER BY name",
            "version || applied_at",
        )
    };
    let steps = format!("SELECT {steps} AS line FROM records_migrations ORDER BY version");
    let mut lines = vec![stored::dump(db).await?];
    for sql in [schema, steps.as_str()] {
        let statement = Statement::from_string(db.get_database_backend(), sql);
        for row in db.query_all_raw(statement).await? {
            lines.push(row.try_get("", "line")?);
        }
    }
    Ok(lines.join("\n"))
}

/// Returns a database with a patient in it.
async fn filled(db: TestDb) -> anyhow::Result<TestDb> {
    let mut harness = start(db).await?;
    let one = harness.create(patient(1)).await?;
    harness.report(&one.patient_id, "headache").await?;
    harness.leave().await
}

/// Checks that the program ends on `db`, says each of `words`, and changes nothing.
async fn refuses(db: &TestDb, words: &[&str]) -> anyhow::Result<()> {
    let before = everything(&db.db).await?;
    let ended = run(db).await?;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word} in: {said}");
    }
    assert_eq!(everything(&db.db).await?, before);
    Ok(())
}

#[tokio::test]
async fn the_program_does_not_start_on_an_older_schema() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let db = filled(db).await?;
        let owner = db.owner().await?;
        Migrator::down(&owner, Some(1)).await?;
        owner.close().await?;
        let last = Migrator::migrations().last().expect("steps").name().to_owned();
        refuses(&db, &["1 database migrations are missing", &last, "neurotriage-migrate up"])
            .await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_program_does_not_start_on_a_newer_schema() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let db = filled(db).await?;
        let step = format!("INSERT INTO records_migrations VALUES ('{LATER}', 0)");
        stored::run(&db.db, &step).await?;
        refuses(&db, &[LATER, "newer version", "neurotriage-migrate down"]).await?;
        db.drop().await?;
    }
    Ok(())
}
