//! What services have stored.

use std::{fs, path::Path};

use anyhow::Context as _;
use neurotriage_service_kit::database;
use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};
use secrecy::SecretString;

/// Returns the number of files under `folder`, at any depth; a folder that is not there has none.
///
/// # Errors
/// If a folder can't be read.
pub fn files_under(folder: &Path) -> anyhow::Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        count += if path.is_dir() { files_under(&path)? } else { 1 };
    }
    Ok(count)
}

/// Returns how many rows the tables of a `SQLite` file hold, but for the list of migrations, the audit and
/// tables in `ignored`.
///
/// # Errors
/// If it can't be opened or read.
pub async fn rows(database: &Path, ignored: &[&str]) -> anyhow::Result<i64> {
    let url = format!("sqlite://{}", database.display());
    let db = database::connect(&SecretString::from(url), 1).await?;
    let statement = |sql: String| Statement::from_string(DatabaseBackend::Sqlite, sql);
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' \
                 AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%migration%' \
                 AND name NOT LIKE 'audit_%'";
    let mut count = 0;
    for table in db.query_all_raw(statement(names.to_owned())).await? {
        let name: String = table.try_get("", "name")?;
        if ignored.contains(&name.as_str()) {
            continue;
        }
        let sql = format!("SELECT COUNT(*) AS rows FROM \"{name}\"");
        let row = db.query_one_raw(statement(sql)).await?.context("count returned no row")?;
        count += row.try_get::<i64>("", "rows")?;
    }
    db.close().await?;
    Ok(count)
}
