//! What is in the tables.

use neurotriage_service_kit::audit::audit_entry_row;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, EntityTrait as _, Statement};

/// Tables of the service, and of its migrations.
const TABLES: [&str; 5] =
    ["audit_entry", "audit_head", "audit_hospital", "ingestion_migrations", "study"];

pub(crate) async fn run(db: &DatabaseConnection, sql: &str) -> anyhow::Result<u64> {
    Ok(db.execute_unprepared(sql).await?.rows_affected())
}

async fn texts(db: &DatabaseConnection, sql: &str) -> anyhow::Result<Vec<String>> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}

/// Returns every row of every table as text, bytes in hexadecimal, in small letters.
pub(crate) async fn dump(db: &DatabaseConnection) -> anyhow::Result<String> {
    let is_postgres = db.get_database_backend() == DbBackend::Postgres;
    let names = if is_postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
    };
    assert_eq!(texts(db, names).await?, TABLES);
    let mut lines = Vec::new();
    for table in TABLES {
        let sql = if is_postgres {
            format!("SELECT row_to_json(t)::text FROM {table} AS t")
        } else {
            let columns = format!("SELECT name FROM pragma_table_info('{table}')");
            let columns = texts(db, &columns).await?;
            let quoted: Vec<String> =
                columns.iter().map(|column| format!("quote({column})")).collect();
            format!("SELECT {} FROM {table}", quoted.join(" || ' ' || "))
        };
        lines.extend(texts(db, &sql).await?);
    }
    Ok(lines.join("\n").to_lowercase())
}

pub(crate) async fn audit(db: &DatabaseConnection) -> anyhow::Result<Vec<audit_entry_row::Model>> {
    Ok(audit_entry_row::Entity::find().all(db).await?)
}
