//! Referrals, their events, and the outbox that delivers them.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null,
        uuid, uuid_null,
    },
};

/// How far a referral can be.
const STATES: [&str; 9] = [
    "draft",
    "requested",
    "received",
    "accepted",
    "declined",
    "scheduled",
    "completed",
    "cancelled",
    "expired",
];

/// Adds table `referral`: one row per referral; what it is about, and where its events have led.
pub(super) struct CreateReferral;

impl MigrationName for CreateReferral {
    fn name(&self) -> &str {
        "m20261126_000003_create_referral"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateReferral {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("referral")
                    .col(uuid("referral_id"))
                    .col(uuid("request_id"))
                    // Of the records service.
                    .col(uuid("patient_id"))
                    .col(uuid("assessment_id"))
                    .col(text("hospital_id"))
                    .col(text("referrer_id"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(timestamp_with_time_zone_null("deadline_at"))
                    .col(text("state"))
                    // Number of its events.
                    .col(big_integer("revision"))
                    .col(timestamp_with_time_zone("updated_at"))
                    .col(timestamp_with_time_zone_null("scheduled_at"))
                    // Free text of a person.
                    .col(text_null("reason"))
                    .primary_key(Index::create().name("pk_referral").col("referral_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_referral_assessment_id")
                            .from("referral", "assessment_id")
                            .to("assessment", "assessment_id"),
                    )
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_referral_hospital_id")
                            .from("referral", "hospital_id")
                            .to("hospital", "hospital_id"),
                    )
                    .check(("ck_referral_state", Expr::col("state").is_in(STATES)))
                    .check(("ck_referral_revision", Expr::col("revision").between(1, 200)))
                    .check((
                        "ck_referral_scheduled_at",
                        Expr::col("state")
                            .ne("scheduled")
                            .or(Expr::col("scheduled_at").is_not_null()),
                    ))
                    .check((
                        "ck_referral_reason",
                        Expr::col("state")
                            .is_in(["declined", "cancelled"])
                            .eq(Expr::col("reason").is_not_null()),
                    ))
                    .check((
                        "ck_referral_reason_length",
                        Expr::cust("length(reason) BETWEEN 1 AND 500"),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_referral_request_id")
                    .table("referral")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        // Serve lists, newest first: ids sort by time.
        for (name, column) in [
            ("ix_referral_hospital_id_referral_id", "hospital_id"),
            ("ix_referral_patient_id_referral_id", "patient_id"),
            ("ix_referral_referrer_id_referral_id", "referrer_id"),
        ] {
            manager
                .create_index(
                    Index::create()
                        .name(name)
                        .table("referral")
                        .col(column)
                        .col("referral_id")
                        .to_owned(),
                )
                .await?;
        }
        // Serve the sweep that expires referrals, and those who watch a hospital.
        for (name, columns) in [
            ("ix_referral_state_deadline_at", ["state", "deadline_at"]),
            ("ix_referral_hospital_id_updated_at", ["hospital_id", "updated_at"]),
        ] {
            let [first, second] = columns;
            manager
                .create_index(
                    Index::create().name(name).table("referral").col(first).col(second).to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("referral").to_owned()).await
    }
}

/// Adds table `referral_event`: one row per change of a referral, never changed. It is the audit of
/// the referral as well.
pub(super) struct CreateReferralEvent;

impl MigrationName for CreateReferralEvent {
    fn name(&self) -> &str {
        "m20261126_000004_create_referral_event"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateReferralEvent {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("referral_event")
                    // UUIDv5 of referral and revision.
                    .col(uuid("event_id"))
                    .col(uuid("referral_id"))
                    .col(big_integer("revision"))
                    .col(uuid("request_id"))
                    // Name of the move; null for the draft.
                    .col(text_null("move"))
                    .col(text_null("from_state"))
                    .col(text("to_state"))
                    .col(text("actor_role"))
                    .col(text("actor_id"))
                    .col(timestamp_with_time_zone("occurred_at"))
                    .col(timestamp_with_time_zone_null("scheduled_at"))
                    .col(text_null("reason"))
                    .primary_key(Index::create().name("pk_referral_event").col("event_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_referral_event_referral_id")
                            .from("referral_event", "referral_id")
                            .to("referral", "referral_id"),
                    )
                    .check(("ck_referral_event_revision", Expr::col("revision").between(1, 200)))
                    .check((
                        "ck_referral_event_actor_role",
                        Expr::col("actor_role").is_in(["referrer", "hospital", "system"]),
                    ))
                    .check(("ck_referral_event_to_state", Expr::col("to_state").is_in(STATES)))
                    .check((
                        "ck_referral_event_move",
                        Expr::col("revision").eq(1).eq(Expr::col("move").is_null()),
                    ))
                    .to_owned(),
            )
            .await?;
        for (name, column) in [
            ("uq_referral_event_referral_id_revision", "revision"),
            ("uq_referral_event_referral_id_request_id", "request_id"),
        ] {
            manager
                .create_index(
                    Index::create()
                        .name(name)
                        .table("referral_event")
                        .col("referral_id")
                        .col(column)
                        .unique()
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("referral_event").to_owned()).await
    }
}

/// Adds table `outbox`: one row per event that concerns a hospital, written with the event.
pub(super) struct CreateOutbox;

impl MigrationName for CreateOutbox {
    fn name(&self) -> &str {
        "m20261126_000005_create_outbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateOutbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("outbox")
                    .col(uuid("event_id"))
                    .col(uuid("referral_id"))
                    .col(big_integer("sequence"))
                    // To whom; never changes.
                    .col(text("hospital_id"))
                    // The JSON form as it is signed: every attempt sends the same bytes.
                    .col(text("body"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(text("fate"))
                    // When it was delivered, given up or skipped.
                    .col(timestamp_with_time_zone_null("settled_at"))
                    // Why it was given up.
                    .col(text_null("cause"))
                    .col(big_integer("attempts"))
                    .col(timestamp_with_time_zone_null("last_attempt_at"))
                    .col(timestamp_with_time_zone_null("not_before"))
                    // How an operator last released it, and from which death.
                    .col(timestamp_with_time_zone_null("released_at"))
                    .col(text_null("released_as"))
                    .col(timestamp_with_time_zone_null("released_dead_at"))
                    .col(uuid_null("lease_id"))
                    .col(timestamp_with_time_zone_null("leased_until"))
                    // When a worker looks at it again; only a hint, `Row::decide` decides.
                    .col(timestamp_with_time_zone("look_at"))
                    .primary_key(Index::create().name("pk_outbox").col("event_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_outbox_event_id")
                            .from("outbox", "event_id")
                            .to("referral_event", "event_id"),
                    )
                    .check((
                        "ck_outbox_fate",
                        Expr::col("fate").is_in(["pending", "delivered", "dead", "skipped"]),
                    ))
                    .check((
                        "ck_outbox_settled_at",
                        Expr::col("fate").eq("pending").eq(Expr::col("settled_at").is_null()),
                    ))
                    .check((
                        "ck_outbox_cause",
                        Expr::col("fate").eq("dead").eq(Expr::col("cause").is_not_null()),
                    ))
                    .check((
                        "ck_outbox_lease",
                        Expr::col("lease_id").is_null().eq(Expr::col("leased_until").is_null()),
                    ))
                    .check((
                        "ck_outbox_released_as",
                        Expr::col("released_as").is_in(["retry", "skip"]),
                    ))
                    .check((
                        "ck_outbox_released",
                        Expr::col("released_at")
                            .is_null()
                            .eq(Expr::col("released_as").is_null())
                            .and(
                                Expr::col("released_at")
                                    .is_null()
                                    .eq(Expr::col("released_dead_at").is_null()),
                            ),
                    ))
                    .check(("ck_outbox_attempts", Expr::col("attempts").gte(0)))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_outbox_referral_id_sequence")
                    .table("outbox")
                    .col("referral_id")
                    .col("sequence")
                    .unique()
                    .to_owned(),
            )
            .await?;
        // Serve the workers, and the pages of dead letters.
        for (name, column) in [
            ("ix_outbox_fate_look_at_event_id", "look_at"),
            ("ix_outbox_fate_settled_at_event_id", "settled_at"),
        ] {
            manager
                .create_index(
                    Index::create()
                        .name(name)
                        .table("outbox")
                        .col("fate")
                        .col(column)
                        .col("event_id")
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("outbox").to_owned()).await
    }
}
