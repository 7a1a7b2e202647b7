//! What the database lets the service's role do, on PostgreSQL.

use neurotriage_migrations::records::Migrator;
use neurotriage_records::store::admin::rotate_keys;
use neurotriage_service_kit::audit;
use neurotriage_testkit::TestDb;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use crate::harness::{keyring, named, patient, start, stored};

const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";

#[tokio::test]
async fn the_service_works_without_owning_its_tables() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let owned = "SELECT count(*) AS n FROM pg_class WHERE relowner = current_user::regrole";
    assert_eq!(stored::number(&db.service, owned).await?, 0);
    let mut harness = start(db).await?;
    let one = harness.create(patient(1)).await?;
    let two = harness.create(named(2, "Lee Sample")).await?;
    let id = one.patient_id.clone();
    let report = harness.report(&id, "headache").await?;
    harness.link(&id, STUDY).await?;
    harness.note(&id, "seen").await?;
    harness.update(one, &["sex"]).await?;
    harness.delete_entry(&report.symptom_report_id, 1).await?;
    let kept = harness.get(&id).await?;
    harness.merge(&kept, &two).await?;
    harness.delete(&id, 3).await?;
    harness.undelete(&id, 4).await?;
    harness.erase(&id, 5).await?;
    let rotated = rotate_keys(&harness.db.service, &keyring()).await?;
    assert!(rotated.left.is_nothing());
    let report = audit::verify(&harness.db.service, &keyring(), &[], "").await?;
    assert_eq!(report.broken().count(), 0);
    assert!(report.entries() > 10);
    harness.stop().await
}

#[tokio::test]
async fn the_service_can_hide_nothing_that_was_noted() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let mut harness = start(db).await?;
    harness.create(patient(1)).await?;
    let role = harness.db.service.clone();
    for sql in [
        "UPDATE audit_entry SET actor = 'nobody'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET shard = 0",
        "TRUNCATE patient CASCADE",
        "ALTER TABLE patient DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "DROP POLICY patient_tenant ON patient",
    ] {
        let transaction = role.begin().await?;
        let set = "SELECT set_config('app.tenant', 'development', true)";
        transaction.execute_unprepared(set).await?;
        let refused = transaction.execute_unprepared(sql).await.expect_err(sql).to_string();
        let right = refused.contains("permission denied") || refused.contains("must be owner");
        assert!(right, "{sql}: {refused}");
        transaction.rollback().await?;
    }
    harness.stop().await
}
