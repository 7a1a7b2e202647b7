//! Every migrator, in SQLite and PostgreSQL: up, down, and none beside another.

use neurotriage_migrations::{ingestion, records, referral, segmentation};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;

async fn comes_and_goes<M: MigratorTrait>(tables: &[&str]) -> anyhow::Result<()> {
    for db in databases::<M>().await? {
        for table in tables {
            let manager = sea_orm_migration::SchemaManager::new(&db.db);
            assert!(manager.has_table(table).await?, "{table} is missing");
        }
        // One connection, as the program has: SQLite's others may not know yet what was dropped.
        let alone = db.owner().await?;
        M::down(&alone, None).await?;
        for table in tables {
            let manager = sea_orm_migration::SchemaManager::new(&db.db);
            assert!(!manager.has_table(table).await?, "{table} is left over");
        }
        M::up(&alone, None).await?;
        // Again changes nothing.
        M::up(&alone, None).await?;
        alone.close().await?;
        assert!(M::get_pending_migrations_read_only(&db.db).await?.is_empty());
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_schema_comes_and_goes() -> anyhow::Result<()> {
    comes_and_goes::<ingestion::Migrator>(&["study", "audit_head", "audit_entry"]).await?;
    comes_and_goes::<segmentation::Migrator>(&["segmentation", "audit_head", "audit_entry"])
        .await?;
    let tables = ["patient", "entry", "search_token", "change", "audit_head", "audit_entry"];
    comes_and_goes::<records::Migrator>(&tables).await?;
    let tables = ["hospital", "assessment", "referral", "referral_event", "outbox", "audit_entry"];
    comes_and_goes::<referral::Migrator>(&tables).await
}

#[tokio::test]
async fn a_second_service_is_refused_in_a_database() -> anyhow::Result<()> {
    for db in databases::<ingestion::Migrator>().await? {
        let refused = segmentation::Migrator::up(&db.db, None).await.unwrap_err();
        assert!(refused.to_string().contains("a database of its own"), "{refused}");
        assert!(ingestion::Migrator::get_pending_migrations_read_only(&db.db).await?.is_empty());
        db.drop().await?;
    }
    Ok(())
}

/// Returns the constraints whose names do not begin with their kind, of every table but the one in which the steps are
/// counted: no step makes that one.
async fn unnamed(db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT relname || ': ' || conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid \
         WHERE connamespace = 'public'::regnamespace AND relname NOT LIKE '%\\_migrations' \
         AND conname NOT LIKE CASE contype WHEN 'p' THEN 'pk' WHEN 'u' THEN 'uq' WHEN 'f' THEN 'fk' WHEN 'c' THEN 'ck' \
         END || '\\_%' ORDER BY 1";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// `chosen` is what PostgreSQL calls the constraint that the last step names, if it names one.
async fn names_its_constraints<M: MigratorTrait>(chosen: Option<&str>) -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<M>().await? else { return Ok(()) };
    assert_eq!(unnamed(&db.db).await?, [""; 0]);
    if let Some(chosen) = chosen {
        let owner = db.owner().await?;
        M::down(&owner, Some(1)).await?;
        assert_eq!(unnamed(&db.db).await?, [chosen]);
        M::up(&owner, None).await?;
        owner.close().await?;
        assert_eq!(unnamed(&db.db).await?, [""; 0]);
    }
    db.drop().await
}

/// What the database refuses it names by the constraint; a name of its own choice may be another after an upgrade.
#[tokio::test]
async fn every_constraint_has_a_name_of_its_kind() -> anyhow::Result<()> {
    names_its_constraints::<ingestion::Migrator>(None).await?;
    names_its_constraints::<segmentation::Migrator>(None).await?;
    names_its_constraints::<records::Migrator>(Some("change: change_pkey")).await?;
    names_its_constraints::<referral::Migrator>(Some("hospital: hospital_beds_free_check")).await
}
