//! What the role of a service may do, in every database of the suite.

#![allow(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

use neurotriage_migrations::{ingestion, records, referral, segmentation};
use neurotriage_service_kit::grants::{self, GrantError};
use neurotriage_testkit::TestDb;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;

/// Returns the names that `sql` selects.
async fn names(db: &DatabaseConnection, sql: &str) -> anyhow::Result<Vec<String>> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

async fn is_kept_to_rows<M: MigratorTrait>() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<M>().await? else { return Ok(()) };
    let tables = "SELECT relname::text FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname";
    let tables = names(&db.db, tables).await?;
    assert!(tables.iter().any(|table| table == "audit_entry"), "{tables:?}");
    for table in &tables {
        let read = format!("SELECT 1 FROM {table} LIMIT 0");
        db.service.execute_unprepared(&read).await?;
        for forbidden in [
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
            format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("CREATE POLICY p ON {table} USING (true)"),
            format!("TRUNCATE {table}"),
            format!("DROP TABLE {table}"),
            format!("CREATE RULE r AS ON INSERT TO {table} DO INSTEAD NOTHING"),
        ] {
            let refused = db.service.execute_unprepared(&forbidden).await;
            let refused = refused.expect_err(&forbidden).to_string();
            let right = refused.contains("must be owner") || refused.contains("permission denied");
            assert!(right, "{forbidden}: {refused}");
        }
    }
    for forbidden in [
        "UPDATE audit_entry SET actor = 'x'",
        "UPDATE audit_head SET hospital_id = 'x'",
        "UPDATE audit_hospital SET hospital_id = 'x'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_head",
        "DELETE FROM audit_hospital",
        "CREATE TABLE other (id integer)",
        "SET ROLE pg_database_owner",
    ] {
        let refused = db.service.execute_unprepared(forbidden).await;
        let refused = refused.expect_err(forbidden).to_string();
        assert!(refused.contains("permission denied"), "{forbidden}: {refused}");
    }
    let applied = tables.iter().find(|table| table.ends_with("_migrations")).expect("a table");
    let forget = format!("DELETE FROM {applied}");
    assert!(db.service.execute_unprepared(&forget).await.is_err(), "{forget}");
    // Again it is the same, and what somebody gave besides is taken.
    let role = names(&db.service, "SELECT current_user::text").await?.remove(0);
    let more = format!("GRANT UPDATE, DELETE, TRUNCATE, TRIGGER ON audit_entry TO {role}");
    db.db.execute_unprepared(&more).await?;
    db.service.execute_unprepared("DELETE FROM audit_entry").await?;
    db.grant().await?;
    assert!(db.service.execute_unprepared("DELETE FROM audit_entry").await.is_err());
    db.drop().await
}

#[tokio::test]
async fn a_service_can_change_neither_policies_nor_the_audit() -> anyhow::Result<()> {
    is_kept_to_rows::<ingestion::Migrator>().await?;
    is_kept_to_rows::<segmentation::Migrator>().await?;
    is_kept_to_rows::<records::Migrator>().await?;
    is_kept_to_rows::<referral::Migrator>().await
}

#[tokio::test]
async fn a_role_that_grants_do_not_limit_is_refused() -> anyhow::Result<()> {
    let sqlite = TestDb::sqlite::<records::Migrator>().await?;
    let refused = grants::grant(&sqlite.db, &"records".parse()?).await;
    assert!(matches!(refused, Err(GrantError::NoRoles)), "{refused:?}");
    sqlite.drop().await?;

    let Some(db) = TestDb::postgres::<records::Migrator>().await? else { return Ok(()) };
    let owner = db.owner().await?;
    let owner_name = names(&owner, "SELECT current_user::text").await?.remove(0);
    let service = names(&db.service, "SELECT current_user::text").await?.remove(0);
    let superuser = names(&db.db, "SELECT current_user::text").await?.remove(0);
    for unlimited in [&owner_name, &superuser] {
        let refused = grants::grant(&owner, &unlimited.parse()?).await;
        assert!(matches!(refused, Err(GrantError::Unlimited { .. })), "{unlimited}: {refused:?}");
    }
    let refused = grants::grant(&owner, &format!("{service}_x").parse()?).await;
    assert!(matches!(refused, Err(GrantError::Missing { .. })), "{refused:?}");
    db.db.execute_unprepared(&format!("GRANT {owner_name} TO {service}")).await?;
    let refused = grants::grant(&owner, &service.parse()?).await;
    assert!(matches!(refused, Err(GrantError::Unlimited { .. })), "{refused:?}");
    let database = names(&db.db, "SELECT current_database()::text").await?.remove(0);
    let back = names(&db.db, "SELECT current_user::text").await?.remove(0);
    db.db.execute_unprepared(&format!("REVOKE {owner_name} FROM {service}")).await?;
    for (unlimited, limited) in [
        (format!("ALTER ROLE {service} CREATEROLE"), format!("ALTER ROLE {service} NOCREATEROLE")),
        (
            format!("ALTER SCHEMA public OWNER TO {service}"),
            "ALTER SCHEMA public OWNER TO pg_database_owner".to_owned(),
        ),
        (
            format!("ALTER DATABASE {database} OWNER TO {service}"),
            format!("ALTER DATABASE {database} OWNER TO {back}"),
        ),
    ] {
        db.db.execute_unprepared(&unlimited).await?;
        let refused = grants::grant(&owner, &service.parse()?).await;
        assert!(matches!(refused, Err(GrantError::Unlimited { .. })), "{unlimited}: {refused:?}");
        db.db.execute_unprepared(&limited).await?;
        grants::grant(&owner, &service.parse()?).await?;
    }
    owner.close().await?;
    db.drop().await
}
