//! What is in the tables.

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, EntityTrait as _, Statement};
use uuid::Uuid;

use neurotriage_records::store::{change_row, entry_row, patient_row, search_token_row};
use neurotriage_service_kit::audit::{audit_entry_row, audit_head_row, audit_hospital_row};

pub(crate) async fn run(db: &DatabaseConnection, sql: &str) -> anyhow::Result<u64> {
    Ok(db.execute_unprepared(sql).await?.rows_affected())
}

/// Returns the number that `sql` selects as `n`.
pub(crate) async fn number(db: &DatabaseConnection, sql: &str) -> anyhow::Result<i64> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?;
    Ok(row.ok_or_else(|| anyhow::anyhow!("no row"))?.try_get("", "n")?)
}

/// Returns an id as it stands in a statement.
pub(crate) fn id(db: &DatabaseConnection, id: &str) -> String {
    let uuid: Uuid = id.parse().expect("a UUID");
    if db.get_database_backend() == DbBackend::Sqlite {
        format!("x'{}'", uuid.simple())
    } else {
        format!("'{uuid}'")
    }
}

/// Returns every row of every table as text.
pub(crate) async fn dump(db: &DatabaseConnection) -> anyhow::Result<String> {
    let rows = [
        format!("{:?}", patient_row::Entity::find().all(db).await?),
        format!("{:?}", entry_row::Entity::find().all(db).await?),
        format!("{:?}", search_token_row::Entity::find().all(db).await?),
        format!("{:?}", change_row::Entity::find().all(db).await?),
        format!("{:?}", audit_hospital_row::Entity::find().all(db).await?),
        format!("{:?}", audit_head_row::Entity::find().all(db).await?),
        format!("{:?}", audit_entry_row::Entity::find().all(db).await?),
    ];
    Ok(rows.join("\n"))
}

pub(crate) async fn audit(db: &DatabaseConnection) -> anyhow::Result<Vec<audit_entry_row::Model>> {
    Ok(audit_entry_row::Entity::find().all(db).await?)
}
