//! Row-level security as the steps make it, and transactions that it lets through.

#![allow(clippy::unwrap_used, reason = "a helper of a test that cannot go on ends the test")]

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use neurotriage_domain::HospitalId;
use neurotriage_migrations::tenancy;
use neurotriage_service_kit::{
    access::Access,
    audit,
    tenant::{self, Mode},
};
use neurotriage_testkit::{TestDb, databases, issuer::Issuer};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::prelude::*;
use tokio::time::sleep;

/// Makes a table before there are tenants, with one row.
struct Before;

impl MigrationName for Before {
    fn name(&self) -> &str {
        "m1_before"
    }
}

#[async_trait::async_trait]
#[allow(elided_lifetimes_in_paths, reason = "async_trait rejects `SchemaManager<'_>`")]
impl MigrationTrait for Before {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("CREATE TABLE note (note_id bigint NOT NULL PRIMARY KEY)").await?;
        db.execute_unprepared("INSERT INTO note VALUES (1)").await.map(|_| ())
    }
}

/// Keeps its rows apart.
struct Apart;

impl MigrationName for Apart {
    fn name(&self) -> &str {
        "m2_apart"
    }
}

#[async_trait::async_trait]
#[allow(elided_lifetimes_in_paths, reason = "async_trait rejects `SchemaManager<'_>`")]
impl MigrationTrait for Apart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::add_hospital_id(manager, "note").await?;
        tenancy::enable_row_level_security(manager, "note").await?;
        tenancy::admit_workers(manager, "note").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::disable_row_level_security(manager, "note").await?;
        tenancy::drop_hospital_column(manager, "note", "hospital_id").await
    }
}

struct Steps;

impl MigratorTrait for Steps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Before), Box::new(Apart)]
    }
}

async fn count(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let statement = Statement::from_string(db.get_database_backend(), "SELECT count(*) FROM note");
    db.query_one_raw(statement).await?.unwrap().try_get_by_index(0)
}

fn hospital(text: &str) -> HospitalId {
    text.parse().unwrap()
}

/// Asks `future` `polls` times whether it is ready, and drops it.
async fn abandon(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        let pending = future.as_mut().poll(context).is_pending() && left > 0;
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Waits until no transaction of the database is open.
async fn wait_for_ends(db: &DatabaseConnection) -> anyhow::Result<()> {
    let open = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        sleep(Duration::from_millis(20)).await;
        let asked = Statement::from_string(DbBackend::Postgres, open);
        let row = db.query_one_raw(asked).await?.context("no count")?;
        match row.try_get_by_index::<i64>(0)? {
            0 => return Ok(()),
            left => ensure!(Instant::now() < deadline, "{left} transactions are left open"),
        }
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_transaction_open() -> anyhow::Result<()> {
    let Some(test) = TestDb::postgres::<Steps>().await? else { return Ok(()) };
    let db = &test.service;
    let a = hospital("a");
    for polls in 1..=6 {
        // The connection that is there is used: it came back before.
        abandon(tenant::begin(db, &a, Mode::Write), polls).await;
        wait_for_ends(&test.db).await.with_context(|| format!("begin, {polls} polls"))?;
        abandon(audit::snapshot(db, &a), polls).await;
        wait_for_ends(&test.db).await.with_context(|| format!("snapshot, {polls} polls"))?;
    }
    test.drop().await
}

#[tokio::test]
async fn a_hospital_sees_and_changes_its_own_rows_only() -> anyhow::Result<()> {
    let Some(test) = TestDb::postgres::<Steps>().await? else { return Ok(()) };
    let db = &test.service;
    assert_eq!(count(db).await?, 0, "without the setting");
    assert!(db.execute_unprepared("INSERT INTO note VALUES (2, 'a')").await.is_err());
    assert!(db.execute_unprepared("INSERT INTO note VALUES (2, '')").await.is_err());
    assert!(db.execute_unprepared("INSERT INTO note (note_id) VALUES (2)").await.is_err());

    let own = tenant::begin(db, &hospital("development"), Mode::Read).await?;
    assert_eq!(count(&own).await?, 1, "what was stored before there were tenants");
    own.commit().await?;

    let a = tenant::begin(db, &hospital("a"), Mode::Write).await?;
    a.execute_unprepared("INSERT INTO note VALUES (3, 'a')").await?;
    assert_eq!(count(&a).await?, 1);
    a.commit().await?;

    let b = tenant::begin(db, &hospital("b"), Mode::Write).await?;
    assert_eq!(count(&b).await?, 0);
    let changed = b.execute_unprepared("UPDATE note SET hospital_id = 'b'").await?;
    assert_eq!(changed.rows_affected(), 0);
    assert_eq!(b.execute_unprepared("DELETE FROM note").await?.rows_affected(), 0);
    assert!(b.execute_unprepared("INSERT INTO note VALUES (4, 'a')").await.is_err());
    b.rollback().await?;

    let a = tenant::begin(db, &hospital("a"), Mode::Write).await?;
    assert!(a.execute_unprepared("UPDATE note SET hospital_id = 'b'").await.is_err());
    a.rollback().await?;

    // The setting went with its transaction; what is left on the connection is empty, which fits no row.
    for _ in 0..8 {
        assert_eq!(count(db).await?, 0);
    }
    assert_eq!(count(&test.db).await?, 2, "the administrator is not bound");
    test.drop().await
}

#[tokio::test]
async fn a_worker_reads_all_and_writes_nothing() -> anyhow::Result<()> {
    let Some(test) = TestDb::postgres::<Steps>().await? else { return Ok(()) };
    let worker = tenant::begin_across(&test.service).await?;
    assert_eq!(count(&worker).await?, 1);
    let error = worker.execute_unprepared("DELETE FROM note").await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    worker.rollback().await?;

    // Nor does the policy let it write where the transaction would.
    let writer = tenant::begin(&test.service, &hospital("b"), Mode::Write).await?;
    writer.execute_unprepared("SELECT set_config('app.worker', 'on', true)").await?;
    assert_eq!(count(&writer).await?, 1);
    assert_eq!(writer.execute_unprepared("DELETE FROM note").await?.rows_affected(), 0);
    writer.rollback().await?;
    test.drop().await
}

#[tokio::test]
async fn the_column_comes_and_goes() -> anyhow::Result<()> {
    for test in databases::<Steps>().await? {
        let column = |name| {
            let manager = SchemaManager::new(&test.db);
            async move { manager.has_column("note", name).await }
        };
        assert!(column("hospital_id").await?);
        let owner = test.owner().await?;
        Steps::down(&owner, Some(1)).await?;
        assert!(!column("hospital_id").await?);
        assert_eq!(count(&test.service).await?, 1, "the policy is gone");
        Steps::up(&owner, None).await?;
        owner.close().await?;
        let empty = "INSERT INTO note (note_id, hospital_id) VALUES (9, '')";
        assert!(test.db.execute_unprepared(empty).await.is_err());
        test.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_sqlite_writer_waits_for_the_one_before_it() -> anyhow::Result<()> {
    let test = TestDb::sqlite::<Steps>().await?;
    assert_eq!(test.db.get_database_backend(), DbBackend::Sqlite);
    let write = |note_id: i64| {
        let db = test.service.clone();
        async move {
            let transaction = tenant::begin(&db, &hospital("a"), Mode::Write).await?;
            let before = count(&transaction).await?;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let insert = format!("INSERT INTO note VALUES ({note_id}, 'a')");
            transaction.execute_unprepared(&insert).await?;
            transaction.commit().await?;
            Ok::<_, DbErr>(before)
        }
    };
    // A deferred transaction would be refused: it read before the other wrote.
    let (first, second) = tokio::join!(write(2), write(3));
    let mut before = [first?, second?];
    before.sort_unstable();
    assert_eq!(before, [1, 2]);
    test.drop().await
}

#[tokio::test]
async fn the_role_of_the_tests_is_one_that_policies_bind() -> anyhow::Result<()> {
    let issuer = Issuer::start()?;
    let (alone, open) = (Access::development("127.0.0.1:1".parse()?)?, issuer.access().await?);
    for test in databases::<Steps>().await? {
        tenant::check_role(&test.service, &open).await?;
        // There is one hospital.
        tenant::check_role(&test.db, &alone).await?;
        if test.db.get_database_backend() == DbBackend::Postgres {
            let sql = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
            let query = |db: sea_orm::DatabaseConnection| async move {
                let row =
                    db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
                row.unwrap().try_get_by_index::<bool>(0)
            };
            assert!(!query(test.service.clone()).await?);
            assert!(query(test.db.clone()).await?);
            let refused = tenant::check_role(&test.db, &open).await.unwrap_err().to_string();
            assert!(refused.contains("superuser") && refused.contains("connect as"), "{refused}");
        }
        test.drop().await?;
    }
    Ok(())
}
