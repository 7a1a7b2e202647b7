//! Room for what people wrote about patients, sealed: reasons of referrals, and findings with pieces of symptom texts.

use sea_orm_migration::{
    prelude::*,
    schema::{text, text_null, uuid},
    sea_orm::{DbBackend, Statement},
};

use crate::tenancy;

/// Adds tables `referral_reason` and `readable_hospital`, and column `sealed` to `assessment`; takes column `reason` from
/// `referral_event`.
///
/// A migration has no keys. What was written before stays readable, in `assessment.content` and
/// `referral_reason.readable`, and the service reads it there until `rotate-keys` seals it.
pub(super) struct SealTexts;

impl MigrationName for SealTexts {
    fn name(&self) -> &str {
        "m20261126_000012_seal_texts"
    }
}

/// Tables with rows from before.
const BEFORE: [&str; 3] = ["assessment", "referral", "referral_event"];

/// Whoever sees an event sees its reason.
const OF_EVENT: &str = "EXISTS (SELECT 1 FROM referral_event AS of_reason \
     WHERE of_reason.event_id = referral_reason.event_id)";

#[async_trait::async_trait]
impl MigrationTrait for SealTexts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("referral_reason")
                    .col(uuid("event_id"))
                    // Free text of a person, from before texts were sealed.
                    .col(text_null("readable"))
                    .col(text_null("sealed"))
                    .primary_key(Index::create().name("pk_referral_reason").col("event_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_referral_reason_event_id")
                            .from("referral_reason", "event_id")
                            .to("referral_event", "event_id"),
                    )
                    .check((
                        "ck_referral_reason_sealed",
                        Expr::col("readable").is_null().eq(Expr::col("sealed").is_not_null()),
                    ))
                    .to_owned(),
            )
            .await?;
        // Hospitals with texts that are readable. Without row-level security: who seals them must know whose there are.
        manager
            .create_table(
                Table::create()
                    .table("readable_hospital")
                    .col(text("hospital_id"))
                    .primary_key(Index::create().name("pk_readable_hospital").col("hospital_id"))
                    .to_owned(),
            )
            .await?;
        // `content` is JSON null where this is not null.
        run(manager, "ALTER TABLE assessment ADD COLUMN sealed text").await?;
        see_every_row(manager, true).await?;
        for statement in [
            "INSERT INTO readable_hospital (hospital_id) SELECT DISTINCT hospital_id FROM assessment",
            "INSERT INTO referral_reason (event_id, readable) \
             SELECT event_id, reason FROM referral_event WHERE reason IS NOT NULL",
            // The text is that of the last event. SQLite can't drop the check that there is one.
            "UPDATE referral SET reason = 'sealed' WHERE reason IS NOT NULL",
        ] {
            run(manager, statement).await?;
        }
        see_every_row(manager, false).await?;
        run(manager, "ALTER TABLE referral_event DROP COLUMN reason").await?;

        // Events are never changed; how their reasons are kept may be.
        let table = "referral_reason";
        tenancy::force_row_level_security(manager, table).await?;
        for (name, clauses) in [
            ("referral_reason_tenant_select", format!("FOR SELECT USING ({OF_EVENT})")),
            ("referral_reason_tenant_insert", format!("FOR INSERT WITH CHECK ({OF_EVENT})")),
            (
                "referral_reason_tenant_update",
                format!("FOR UPDATE USING ({OF_EVENT}) WITH CHECK ({OF_EVENT})"),
            ),
        ] {
            tenancy::create_policy(manager, table, name, &clauses).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::disable_row_level_security(manager, "referral_reason").await?;
        see_every_row(manager, true).await?;
        let sealed = "SELECT 1 FROM assessment WHERE sealed IS NOT NULL UNION ALL \
                      SELECT 1 FROM referral_reason WHERE sealed IS NOT NULL";
        let backend = manager.get_database_backend();
        let statement = Statement::from_string(backend, sealed);
        if manager.get_connection().query_one_raw(statement).await?.is_some() {
            see_every_row(manager, false).await?;
            return Err(DbErr::Migration(
                "texts are sealed, which only the service's keys open; this step can't be taken back".to_owned(),
            ));
        }
        for statement in [
            "ALTER TABLE referral_event ADD COLUMN reason text",
            "UPDATE referral_event SET reason = (SELECT readable FROM referral_reason \
             WHERE referral_reason.event_id = referral_event.event_id)",
            "UPDATE referral SET reason = (SELECT reason FROM referral_event \
             WHERE referral_event.referral_id = referral.referral_id AND reason IS NOT NULL) \
             WHERE reason IS NOT NULL",
        ] {
            run(manager, statement).await?;
        }
        see_every_row(manager, false).await?;
        for table in ["referral_reason", "readable_hospital"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        run(manager, "ALTER TABLE assessment DROP COLUMN sealed").await
    }
}

/// Takes row-level security off the owner, or puts it on again.
async fn see_every_row(manager: &SchemaManager<'_>, every: bool) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let force = if every { "NO FORCE" } else { "FORCE" };
    for table in BEFORE {
        run(manager, &format!("ALTER TABLE {table} {force} ROW LEVEL SECURITY")).await?;
    }
    Ok(())
}

async fn run(manager: &SchemaManager<'_>, statement: &str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared(statement).await.map(|_| ())
}
