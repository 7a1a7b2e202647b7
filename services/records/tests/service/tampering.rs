//! What is done to the audit behind the service's back is named, in SQLite and PostgreSQL.

use neurotriage_audit::{
    Action, Break, ChainId, Detail, Event, Head, Outcome, Part, Purpose, Resource, Signer, Subject,
    Tenant, Witness, append,
};
use neurotriage_migrations::records::Migrator;
use neurotriage_records::store::patient_row;
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit::{audit_entry_row, audit_head_row, checkpoint, verify};
use neurotriage_testkit::databases;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseConnection, DbBackend, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
};
use time::OffsetDateTime;
use tonic::Code;
use uuid::Uuid;

use crate::harness::{self, Harness, Start, keyring, patient, refusal, start, start_with, stored};

const HOSPITAL: &str = "development";

/// One chain as it stands.
struct Chain {
    shard: i32,
    rows: Vec<audit_entry_row::Model>,
    head: audit_head_row::Model,
}

impl Chain {
    /// Returns the chain of a patient.
    async fn of(db: &DatabaseConnection, patient_id: &str) -> anyhow::Result<Self> {
        let id: Uuid = patient_id.parse()?;
        let one = audit_entry_row::Entity::find()
            .filter(audit_entry_row::Column::ResourceId.eq(id))
            .one(db)
            .await?;
        let shard = one.ok_or_else(|| anyhow::anyhow!("no entry"))?.shard;
        let rows = audit_entry_row::Entity::find()
            .filter(audit_entry_row::Column::Shard.eq(shard))
            .order_by_asc(audit_entry_row::Column::Sequence)
            .all(db)
            .await?;
        let head = audit_head_row::Entity::find_by_id((HOSPITAL.to_owned(), shard)).one(db).await?;
        Ok(Self { shard, rows, head: head.ok_or_else(|| anyhow::anyhow!("no head"))? })
    }

    /// Puts the chain back as it was.
    async fn restore(&self, db: &DatabaseConnection) -> anyhow::Result<()> {
        audit_entry_row::Entity::delete_many()
            .filter(audit_entry_row::Column::Shard.eq(self.shard))
            .exec(db)
            .await?;
        audit_head_row::Entity::delete_many()
            .filter(audit_head_row::Column::Shard.eq(self.shard))
            .exec(db)
            .await?;
        let rows = self.rows.iter().cloned().map(|row| row.into_active_model());
        audit_entry_row::Entity::insert_many(rows).exec_without_returning(db).await?;
        self.head.clone().into_active_model().insert(db).await?;
        Ok(())
    }

    /// Returns what a verification says of the chain; all others must be whole.
    async fn verify(
        &self,
        db: &DatabaseConnection,
        checkpoints: &str,
    ) -> anyhow::Result<Result<u64, Break>> {
        let report = verify(db, &keyring(), &[], checkpoints).await?;
        let (own, others): (Vec<_>, Vec<_>) =
            report.chains.into_iter().partition(|chain| chain.shard == self.shard);
        assert_eq!((own.len(), others.len()), (1, 63));
        assert!(others.iter().all(|chain| chain.outcome.is_ok()));
        Ok(own[0].outcome.clone())
    }

    /// Runs statements, `{c}` being the chain.
    async fn tamper(&self, db: &DatabaseConnection, sql: &str) -> anyhow::Result<()> {
        let chain = format!("hospital_id = '{HOSPITAL}' AND shard = {}", self.shard);
        for statement in sql.split("; ") {
            let changed = stored::run(db, &statement.replace("{c}", &chain)).await?;
            assert!(changed > 0, "nothing changed: {statement}");
        }
        Ok(())
    }
}

/// A patient whose chain has seven entries.
async fn prepared(harness: &mut Harness) -> anyhow::Result<(String, Chain)> {
    let id = harness.create(patient(1)).await?.patient_id;
    for _ in 0..6 {
        harness.get(&id).await?;
    }
    let chain = Chain::of(harness.store(), &id).await?;
    assert_eq!(chain.rows.len(), 7);
    Ok((id, chain))
}

#[tokio::test]
async fn every_kind_of_tampering_is_named() -> anyhow::Result<()> {
    let content = |sequence| Break::Altered { sequence, part: Part::Content };
    let table = [
        ("who", "UPDATE audit_entry SET actor = 'nobody' WHERE {c} AND sequence = 3", content(3)),
        ("when", "UPDATE audit_entry SET at_us = at_us + 1 WHERE {c} AND sequence = 1", content(1)),
        (
            "to what",
            "UPDATE audit_entry SET resource_id = NULL WHERE {c} AND sequence = 7",
            content(7),
        ),
        ("detail", "UPDATE audit_entry SET detail = '' WHERE {c} AND sequence = 2", content(2)),
        (
            "hash",
            "UPDATE audit_entry SET hash = previous_hash WHERE {c} AND sequence = 4",
            Break::Altered { sequence: 4, part: Part::Hash },
        ),
        (
            "hash before",
            "UPDATE audit_entry SET previous_hash = hash WHERE {c} AND sequence = 4",
            Break::Altered { sequence: 4, part: Part::PreviousHash },
        ),
        (
            "one removed",
            "DELETE FROM audit_entry WHERE {c} AND sequence = 3",
            Break::Removed { first: 3, last: 3 },
        ),
        (
            "the first removed",
            "DELETE FROM audit_entry WHERE {c} AND sequence < 3",
            Break::Removed { first: 1, last: 2 },
        ),
        (
            "removed, and the gap closed",
            "DELETE FROM audit_entry WHERE {c} AND sequence = 3; \
             UPDATE audit_entry SET sequence = sequence - 1 WHERE {c} AND sequence = 4; \
             UPDATE audit_entry SET sequence = sequence - 1 WHERE {c} AND sequence = 5; \
             UPDATE audit_entry SET sequence = sequence - 1 WHERE {c} AND sequence = 6; \
             UPDATE audit_entry SET sequence = sequence - 1 WHERE {c} AND sequence = 7",
            Break::Removed { first: 3, last: 3 },
        ),
        (
            "renumbered",
            "UPDATE audit_entry SET sequence = 99 WHERE {c} AND sequence = 3",
            Break::Reordered { sequence: 3, found: 4 },
        ),
        (
            "exchanged",
            "UPDATE audit_entry SET sequence = 99 WHERE {c} AND sequence = 3; \
             UPDATE audit_entry SET sequence = 3 WHERE {c} AND sequence = 4; \
             UPDATE audit_entry SET sequence = 4 WHERE {c} AND sequence = 99",
            Break::Reordered { sequence: 3, found: 4 },
        ),
        (
            "cut",
            "DELETE FROM audit_entry WHERE {c} AND sequence > 5",
            Break::TailRemoved { first: 6, last: 7, witness: Witness::Head },
        ),
        (
            "emptied",
            "DELETE FROM audit_entry WHERE {c}",
            Break::TailRemoved { first: 1, last: 7, witness: Witness::Head },
        ),
        ("headless", "DELETE FROM audit_head WHERE {c}", Break::HeadMissing { last: 7 }),
        (
            "emptied, and headless",
            "DELETE FROM audit_entry WHERE {c}; DELETE FROM audit_head WHERE {c}",
            Break::HeadMissing { last: 0 },
        ),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (_, chain) = prepared(&mut harness).await?;
        let db = harness.store();
        assert_eq!(chain.verify(db, "").await?, Ok(7));
        for (case, sql, expected) in &table {
            chain.tamper(db, sql).await?;
            let found = chain.verify(db, "").await?;
            assert_eq!(found, Err(expected.clone()), "case: {case}");
            chain.restore(db).await?;
        }
        assert_eq!(chain.verify(db, "").await?, Ok(7));

        // The head put back, cut or not.
        let back = "UPDATE audit_head SET sequence = 5 WHERE {c}";
        for sql in [back, &format!("{back}; DELETE FROM audit_entry WHERE {{c}} AND sequence > 5")]
        {
            chain.tamper(db, sql).await?;
            let found = chain.verify(db, "").await?;
            assert!(matches!(found, Err(Break::HeadSignature { .. })), "{found:?}");
            chain.restore(db).await?;
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_inserted_entry_is_named() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (_, chain) = prepared(&mut harness).await?;
        let db = harness.store();
        // (what the row is for, number of the copy, which is copied, first of those inserted)
        for (case, sequence, copied) in [("at the end", 8, 7), ("an old one at the end", 8, 2)] {
            let copy = audit_entry_row::Model { sequence, ..chain.rows[copied - 1].clone() };
            copy.into_active_model().insert(db).await?;
            let found = chain.verify(db, "").await?;
            assert!(
                matches!(found, Err(Break::Inserted { last: 7, .. })),
                "case: {case}: {found:?}"
            );
            chain.restore(db).await?;
        }
        // In the middle, those after it moved up.
        for row in chain.rows.iter().rev().filter(|row| row.sequence > 3) {
            let sql = format!(
                "UPDATE audit_entry SET sequence = {} WHERE {{c}} AND sequence = {}",
                row.sequence + 1,
                row.sequence
            );
            chain.tamper(db, &sql).await?;
        }
        let forged = audit_entry_row::Model {
            sequence: 4,
            actor: "nobody".to_owned(),
            previous_hash: chain.rows[2].hash.clone(),
            ..chain.rows[2].clone()
        };
        forged.into_active_model().insert(db).await?;
        let found = chain.verify(db, "").await?;
        assert_eq!(found, Err(Break::Inserted { first: 4, last: 4 }));
        chain.restore(db).await?;
        harness.stop().await?;
    }
    Ok(())
}

/// Makes a chain of as many entries with right hashes, signed by another key of the same name.
fn forged(chain: &Chain) -> anyhow::Result<Chain> {
    let keys = harness::KEYS.replace("QUJDREVG", "YUJDREVG");
    let signer = Signer::new(&Keyring::parse(&keys)?)?;
    let id = ChainId { tenant: Tenant::new(HOSPITAL.to_owned())?, shard: chain.shard.try_into()? };
    let event = Event {
        at: OffsetDateTime::now_utc(),
        actor: Subject::new("nobody".to_owned())?,
        action: Action::Read,
        resource: Resource::all("patient")?,
        purpose: Purpose::NOT_STATED,
        trace: None,
        outcome: Outcome::Done,
        detail: Detail::none(),
    };
    let events = vec![event; chain.rows.len()];
    let (rows, head) = append(&Head::empty(id, &signer), &events, &signer)?;
    let rows = rows.into_iter().zip(&chain.rows).map(|(row, stored)| audit_entry_row::Model {
        at_us: row.at_us,
        actor: row.actor,
        action: row.action,
        resource_kind: row.resource_kind,
        resource_id: row.resource_id,
        purpose: row.purpose,
        trace_id: row.trace_id,
        outcome: row.outcome,
        detail: row.detail,
        previous_hash: row.previous_hash,
        hash: row.hash,
        ..stored.clone()
    });
    let mac = head.mac.as_str().to_owned();
    let stored = chain.head.clone();
    let head = audit_head_row::Model { hash: head.hash, mac, ..stored };
    Ok(Chain { shard: chain.shard, rows: rows.collect(), head })
}

#[tokio::test]
async fn a_chain_written_anew_is_named() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (id, chain) = prepared(&mut harness).await?;
        let forged = forged(&chain)?;
        forged.restore(harness.store()).await?;
        let found = chain.verify(harness.store(), "").await?;
        assert!(matches!(found, Err(Break::HeadSignature { last: 7, .. })), "{found:?}");
        // With the head that was there: another row than it names.
        let head = chain.head.clone();
        Chain { head, ..forged }.restore(harness.store()).await?;
        let found = chain.verify(harness.store(), "").await?;
        assert_eq!(found, Err(Break::Replaced { sequence: 7 }));
        // The service does not go on with it.
        let forged = self::forged(&chain)?;
        forged.restore(harness.store()).await?;
        assert_eq!(refusal(harness.get(&id).await).0, Code::Internal);
        chain.restore(harness.store()).await?;
        harness.get(&id).await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_older_state_shows_in_a_checkpoint_alone() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (id, old) = prepared(&mut harness).await?;
        for _ in 0..3 {
            harness.get(&id).await?;
        }
        let line = checkpoint(&harness.db.service, &keyring()).await?.join("\n");
        let number: i64 = line.split(' ').nth(2).expect("a number").parse()?;
        let db = harness.store().clone();
        assert_eq!(old.verify(&db, &line).await?, Ok(10));

        old.restore(&db).await?;
        assert_eq!(old.verify(&db, "").await?, Ok(7));
        let witness = Witness::Checkpoint { number };
        let expected = Break::TailRemoved { first: 8, last: 10, witness };
        assert_eq!(old.verify(&db, &line).await?, Err(expected));
        // And when it has gone on from there.
        for _ in 0..5 {
            harness.get(&id).await?;
        }
        assert_eq!(old.verify(&db, "").await?, Ok(12));
        let expected = Break::Rewritten { first: 1, last: 10, checkpoint: number };
        assert_eq!(old.verify(&db, &line).await?, Err(expected));
        harness.stop().await?;
    }
    Ok(())
}

/// Runs `sql` as somebody who takes no notice of checks.
async fn unchecked(db: &DatabaseConnection, sql: &str) -> anyhow::Result<()> {
    let sql = if db.get_database_backend() == DbBackend::Postgres {
        format!("ALTER TABLE audit_entry DROP CONSTRAINT IF EXISTS ck_audit_entry_shard; {sql}")
    } else {
        format!(
            "PRAGMA ignore_check_constraints = ON; {sql}; PRAGMA ignore_check_constraints = OFF"
        )
    };
    stored::run(db, &sql).await?;
    Ok(())
}

#[tokio::test]
async fn an_entry_outside_of_the_chains_is_named() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (_, chain) = prepared(&mut harness).await?;
        for shard in [64, -1] {
            let sql = format!(
                "INSERT INTO audit_entry SELECT hospital_id, {shard}, 5, at_us, actor, action, resource_kind, \
                 resource_id, purpose, trace_id, outcome, detail, previous_hash, hash FROM audit_entry \
                 WHERE shard = {} AND sequence = 1",
                chain.shard
            );
            unchecked(harness.store(), &sql).await?;
            let report = verify(&harness.db.service, &keyring(), &[], "").await?;
            let found: Vec<_> = report.broken().map(|(at, why)| (at.shard, why.clone())).collect();
            assert_eq!(found, [(shard, Break::Inserted { first: 5, last: 5 })]);
            stored::run(harness.store(), &format!("DELETE FROM audit_entry WHERE shard = {shard}"))
                .await?;
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hospital_that_was_struck_off_is_still_verified() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (_, chain) = prepared(&mut harness).await?;
        let db = harness.store().clone();
        // Its heads hold it.
        stored::run(&db, "DELETE FROM audit_hospital").await.unwrap_err();
        stored::run(&db, "DELETE FROM audit_head").await?;
        stored::run(&db, "DELETE FROM audit_hospital").await?;
        let report = verify(&harness.db.service, &keyring(), &[], "").await?;
        let broken: Vec<i32> = report.broken().map(|(at, _)| at.shard).collect();
        assert!(broken.contains(&chain.shard), "{broken:?}");
        assert!(checkpoint(&harness.db.service, &keyring()).await.is_err());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hospital_without_heads_gets_no_new_chain() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let (id, _) = prepared(&mut harness).await?;
        let db = harness.leave().await?;
        let heads = audit_head_row::Entity::find().all(&db.db).await?;
        stored::run(&db.db, "DELETE FROM audit_head").await?;

        // A process that knows of no hospital yet.
        let mut harness = start_with(db, Start::default()).await?;
        for _ in 0..2 {
            assert_eq!(refusal(harness.get(&id).await).0, Code::Internal);
            assert_eq!(refusal(harness.create(patient(2)).await).0, Code::Internal);
        }
        let db = harness.store();
        assert_eq!(audit_head_row::Entity::find().count(db).await?, 0);
        assert_eq!(patient_row::Entity::find().count(db).await?, 1);
        let report = verify(db, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 64);
        assert!(report.broken().all(|(_, why)| matches!(why, Break::HeadMissing { .. })));

        // Put back, it goes on.
        let heads = heads.into_iter().map(|head| head.into_active_model());
        audit_head_row::Entity::insert_many(heads).exec_without_returning(db).await?;
        harness.get(&id).await?;
        assert_eq!(verify(harness.store(), &keyring(), &[], "").await?.broken().count(), 0);
        harness.stop().await?;
    }
    Ok(())
}
