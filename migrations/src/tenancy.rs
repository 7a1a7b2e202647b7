//! What steps need to keep hospitals, the tenants, apart.
//!
//! A policy compares with the setting that `neurotriage_service_kit::tenant` makes. It binds the owner of a table too
//! (FORCE), but neither superusers nor roles with BYPASSRLS. A later step that reads or changes rows of such a table
//! must set the tenant, or take FORCE off meanwhile: without, it sees no row and says so nowhere.
//! On SQLite there are no policies.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// True of rows of the transaction's hospital. Without the setting it is null or empty, which no row has.
const OF_TENANT: &str = "hospital_id = current_setting('app.tenant', true)";

/// Adds column `hospital_id` to a table that has rows.
///
/// Rows stored before there were tenants get `development`, the hospital of the development identity: until then
/// every caller had it.
///
/// # Errors
/// If the database refuses.
pub async fn add_hospital_id(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    add_hospital_column(manager, table, "hospital_id").await
}

/// Adds a column that names a hospital, as [`add_hospital_id`] does, under another name.
///
/// # Errors
/// If the database refuses.
pub async fn add_hospital_column(
    manager: &SchemaManager<'_>,
    table: &str,
    column: &str,
) -> Result<(), DbErr> {
    run(
        manager,
        &format!(
            "ALTER TABLE {table} ADD COLUMN {column} text NOT NULL DEFAULT 'development' \
             CONSTRAINT ck_{table}_{column} CHECK ({column} <> '')"
        ),
    )
    .await?;
    if is_postgres(manager) {
        // An insert that names no hospital must fail.
        run(manager, &format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")).await?;
    }
    Ok(())
}

/// Takes a column back that [`add_hospital_column`] added. Its indexes and policies must be gone.
///
/// # Errors
/// If the database refuses.
pub async fn drop_hospital_column(
    manager: &SchemaManager<'_>,
    table: &str,
    column: &str,
) -> Result<(), DbErr> {
    run(manager, &format!("ALTER TABLE {table} DROP COLUMN {column}")).await
}

/// Lets a transaction see and write rows of its own hospital only, by column `hospital_id`.
///
/// # Errors
/// If the database refuses.
pub async fn enable_row_level_security(
    manager: &SchemaManager<'_>,
    table: &str,
) -> Result<(), DbErr> {
    force_row_level_security(manager, table).await?;
    let clauses = format!("USING ({OF_TENANT}) WITH CHECK ({OF_TENANT})");
    create_policy(manager, table, &format!("{table}_tenant"), &clauses).await
}

/// Turns row-level security on, for the owner too: until there are policies, nobody sees a row.
///
/// # Errors
/// If the database refuses.
pub async fn force_row_level_security(
    manager: &SchemaManager<'_>,
    table: &str,
) -> Result<(), DbErr> {
    if !is_postgres(manager) {
        return Ok(());
    }
    run(manager, &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")).await?;
    run(manager, &format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY")).await
}

/// Creates a policy of these clauses, such as `FOR SELECT USING (...)`. What one policy admits, no other forbids.
///
/// # Errors
/// If the database refuses.
pub async fn create_policy(
    manager: &SchemaManager<'_>,
    table: &str,
    name: &str,
    clauses: &str,
) -> Result<(), DbErr> {
    if !is_postgres(manager) {
        return Ok(());
    }
    run(manager, &format!("CREATE POLICY {name} ON {table} {clauses}")).await
}

/// Lets transactions of workers read every row of a table besides, to learn whose turn it is.
///
/// # Errors
/// If the database refuses.
pub async fn admit_workers(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let clauses = "FOR SELECT USING (current_setting('app.worker', true) = 'on')";
    create_policy(manager, table, &format!("{table}_worker"), clauses).await
}

/// Turns row-level security off and drops every policy of a table.
///
/// # Errors
/// If the database refuses.
pub async fn disable_row_level_security(
    manager: &SchemaManager<'_>,
    table: &str,
) -> Result<(), DbErr> {
    if !is_postgres(manager) {
        return Ok(());
    }
    let drop_policies = format!(
        "DO $$ DECLARE policy name; BEGIN \
         FOR policy IN SELECT polname FROM pg_policy WHERE polrelid = '{table}'::regclass LOOP \
         EXECUTE format('DROP POLICY %I ON {table}', policy); END LOOP; END $$"
    );
    run(manager, &drop_policies).await?;
    run(manager, &format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")).await?;
    run(manager, &format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")).await
}

/// Puts an index in the place of the one named `old`: a key of one hospital's rows begins with the hospital, or a
/// collision tells one hospital of another's rows.
///
/// # Errors
/// If the database refuses.
pub async fn replace_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    old: &'static str,
    new: &mut IndexCreateStatement,
) -> Result<(), DbErr> {
    manager.drop_index(Index::drop().name(old).table(table).to_owned()).await?;
    manager.create_index(new.to_owned()).await
}

fn is_postgres(manager: &SchemaManager<'_>) -> bool {
    manager.get_database_backend() == DbBackend::Postgres
}

async fn run(manager: &SchemaManager<'_>, statement: &str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared(statement).await.map(|_| ())
}
