//! What is in the tables.

use neurotriage_migrations::referral::Migrator;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait as _;
use uuid::Uuid;

pub(crate) async fn run(db: &DatabaseConnection, sql: &str) -> anyhow::Result<u64> {
    Ok(db.execute_unprepared(sql).await?.rows_affected())
}

async fn texts(db: &DatabaseConnection, sql: String) -> anyhow::Result<Vec<String>> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Returns every row of every table, as text.
pub(crate) async fn dump(db: &DatabaseConnection) -> anyhow::Result<String> {
    let is_postgres = db.get_database_backend() == DbBackend::Postgres;
    let tables = if is_postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    };
    let tables = texts(db, tables.to_owned()).await?;
    assert!(tables.iter().any(|table| table == "referral_reason"), "{tables:?}");
    let mut dump = String::new();
    for table in tables {
        let rows = if is_postgres {
            format!("SELECT row_to_json(t)::text FROM {table} AS t")
        } else {
            let columns = format!("SELECT name FROM pragma_table_info('{table}')");
            let columns = texts(db, columns).await?;
            let quoted: Vec<String> =
                columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
            format!("SELECT {} FROM {table}", quoted.join(" || ' ' || "))
        };
        for row in texts(db, rows).await? {
            dump.push_str(&format!("{table}: {row}\n"));
        }
    }
    Ok(dump)
}

/// Returns an id as it stands in a statement.
pub(crate) fn literal(db: &DatabaseConnection, id: &str) -> String {
    let uuid: Uuid = id.parse().expect("a UUID");
    if db.get_database_backend() == DbBackend::Sqlite {
        format!("x'{}'", uuid.simple())
    } else {
        format!("'{uuid}'")
    }
}

/// Takes the step back that made room for sealed texts, and what came after it.
pub(crate) async fn step_back(db: &DatabaseConnection) -> Result<(), sea_orm::DbErr> {
    let applied = Migrator::get_applied_migrations_read_only(db).await?;
    let after = applied.iter().rev().take_while(|step| !step.name().ends_with("_seal_texts"));
    Migrator::down(db, Some(after.map(|_| 1).sum::<u32>() + 1)).await
}

/// Makes those steps again.
pub(crate) async fn step_on(db: &DatabaseConnection) -> Result<(), sea_orm::DbErr> {
    Migrator::up(db, None).await
}
