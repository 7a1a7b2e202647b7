//! What keeps hospitals apart: whose assessments, diagnoses and referrals are, and row-level security by it. The
//! directory of hospitals all share.

use sea_orm_migration::prelude::*;

use crate::tenancy;

/// Adds the hospital to tables `assessment` and `diagnosis`.
pub(super) struct KeepAssessmentsApart;

impl MigrationName for KeepAssessmentsApart {
    fn name(&self) -> &str {
        "m20261126_000007_keep_assessments_apart"
    }
}

/// Table, its key of requests before, and since.
const BY_REQUEST: [(&str, &str, &str); 2] = [
    ("assessment", "uq_assessment_request_id", "uq_assessment_hospital_id_request_id"),
    ("diagnosis", "uq_diagnosis_request_id", "uq_diagnosis_hospital_id_request_id"),
];

#[async_trait::async_trait]
impl MigrationTrait for KeepAssessmentsApart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, before, since) in BY_REQUEST {
            tenancy::add_hospital_id(manager, table).await?;
            let mut key = Index::create();
            key.name(since).table(table).col("hospital_id").col("request_id").unique();
            tenancy::replace_index(manager, table, before, &mut key).await?;
            tenancy::enable_row_level_security(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, before, since) in BY_REQUEST {
            tenancy::disable_row_level_security(manager, table).await?;
            let mut key = Index::create();
            key.name(before).table(table).col("request_id").unique();
            tenancy::replace_index(manager, table, since, &mut key).await?;
            tenancy::drop_hospital_column(manager, table, "hospital_id").await?;
        }
        Ok(())
    }
}

/// Adds the hospital that refers to tables `referral` and `outbox`; `hospital_id` is the one referred to.
pub(super) struct KeepReferralsApart;

impl MigrationName for KeepReferralsApart {
    fn name(&self) -> &str {
        "m20261126_000008_keep_referrals_apart"
    }
}

const SENDER: &str = "sender_hospital_id = current_setting('app.tenant', true)";

/// The receiver has not heard of a draft, nor of one that was closed as such: of a draft's moves only one does not end
/// it.
const RECEIVER: &str = "hospital_id = current_setting('app.tenant', true) AND state <> 'draft' \
     AND NOT (revision = 2 AND state IN ('cancelled', 'expired'))";

const EITHER: &str = "current_setting('app.tenant', true) IN (sender_hospital_id, hospital_id)";

/// Whoever sees a referral sees its events.
const OF_REFERRAL: &str = "EXISTS (SELECT 1 FROM referral AS of_event \
     WHERE of_event.referral_id = referral_event.referral_id)";

#[async_trait::async_trait]
impl MigrationTrait for KeepReferralsApart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["referral", "outbox"] {
            tenancy::add_hospital_column(manager, table, "sender_hospital_id").await?;
        }
        tenancy::replace_index(
            manager,
            "referral",
            "uq_referral_request_id",
            Index::create()
                .name("uq_referral_sender_hospital_id_request_id")
                .table("referral")
                .col("sender_hospital_id")
                .col("request_id")
                .unique(),
        )
        .await?;

        // No rows are deleted, and events are not changed: no policy lets them be.
        let party = format!("({SENDER}) OR ({RECEIVER})");
        tenancy::force_row_level_security(manager, "referral").await?;
        for (name, clauses) in [
            ("referral_tenant_select", format!("FOR SELECT USING ({party})")),
            ("referral_tenant_insert", format!("FOR INSERT WITH CHECK ({SENDER})")),
            ("referral_tenant_update", format!("FOR UPDATE USING ({party}) WITH CHECK ({party})")),
        ] {
            tenancy::create_policy(manager, "referral", name, &clauses).await?;
        }
        tenancy::force_row_level_security(manager, "referral_event").await?;
        for (name, clauses) in [
            ("referral_event_tenant_select", format!("FOR SELECT USING ({OF_REFERRAL})")),
            ("referral_event_tenant_insert", format!("FOR INSERT WITH CHECK ({OF_REFERRAL})")),
        ] {
            tenancy::create_policy(manager, "referral_event", name, &clauses).await?;
        }
        tenancy::force_row_level_security(manager, "outbox").await?;
        for (name, clauses) in [
            ("outbox_tenant_select", format!("FOR SELECT USING ({EITHER})")),
            ("outbox_tenant_insert", format!("FOR INSERT WITH CHECK ({EITHER})")),
            ("outbox_tenant_update", format!("FOR UPDATE USING ({EITHER}) WITH CHECK ({EITHER})")),
        ] {
            tenancy::create_policy(manager, "outbox", name, &clauses).await?;
        }
        // Of what is due, of whatever hospital: the expiry of referrals, the delivery of events.
        tenancy::admit_workers(manager, "referral").await?;
        tenancy::admit_workers(manager, "outbox").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["referral_event", "outbox", "referral"] {
            tenancy::disable_row_level_security(manager, table).await?;
        }
        tenancy::replace_index(
            manager,
            "referral",
            "uq_referral_sender_hospital_id_request_id",
            Index::create()
                .name("uq_referral_request_id")
                .table("referral")
                .col("request_id")
                .unique(),
        )
        .await?;
        for table in ["outbox", "referral"] {
            tenancy::drop_hospital_column(manager, table, "sender_hospital_id").await?;
        }
        Ok(())
    }
}
