//! Every migrator, in SQLite and PostgreSQL: up, down, and none beside another.

use neurotriage_migrations::{ingestion, records, referral, segmentation};
use neurotriage_testkit::databases;
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
