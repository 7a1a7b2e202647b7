//! Tables of the audit, which the database of every service has: chains that show what was altered.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, binary, integer, text, text_null, timestamp_with_time_zone, uuid_null},
    sea_orm::DbBackend,
};

use crate::tenancy;

/// Adds tables `audit_hospital`, `audit_head` and `audit_entry`; has the name of a service's step.
pub(super) struct CreateAudit(pub(super) &'static str);

impl MigrationName for CreateAudit {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAudit {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_table("audit_hospital").await? {
            return Err(DbErr::Migration(
                "another service's audit is in this database; give each service a database of its own"
                    .to_owned(),
            ));
        }
        // Without row-level security: a verification must know whose chains there are.
        manager
            .create_table(
                Table::create()
                    .table("audit_hospital")
                    .col(text("hospital_id"))
                    .col(timestamp_with_time_zone("created_at"))
                    .primary_key(Index::create().name("pk_audit_hospital").col("hospital_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("audit_head")
                    .col(text("hospital_id"))
                    .col(integer("shard"))
                    .col(big_integer("sequence"))
                    .col(binary("hash"))
                    .col(text("mac"))
                    .primary_key(
                        Index::create().name("pk_audit_head").col("hospital_id").col("shard"),
                    )
                    .check(("ck_audit_head_shard", Expr::col("shard").between(0, 63)))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_audit_head_hospital_id")
                            .from("audit_head", "hospital_id")
                            .to("audit_hospital", "hospital_id"),
                    )
                    .to_owned(),
            )
            .await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            // A head is written with every entry: room on its page keeps its versions there.
            let room = "ALTER TABLE audit_head SET (fillfactor = 10)";
            manager.get_connection().execute_unprepared(room).await?;
        }
        manager
            .create_table(
                Table::create()
                    .table("audit_entry")
                    .col(text("hospital_id"))
                    .col(integer("shard"))
                    .col(big_integer("sequence"))
                    // No timestamp: the driver can't read every one that the database can hold.
                    .col(big_integer("at_us"))
                    .col(text("actor"))
                    .col(text("action"))
                    .col(text("resource_kind"))
                    .col(uuid_null("resource_id"))
                    .col(text("purpose"))
                    .col(text_null("trace_id"))
                    .col(text("outcome"))
                    .col(text("detail"))
                    .col(binary("previous_hash"))
                    .col(binary("hash"))
                    .primary_key(
                        Index::create()
                            .name("pk_audit_entry")
                            .col("hospital_id")
                            .col("shard")
                            .col("sequence"),
                    )
                    .check(("ck_audit_entry_shard", Expr::col("shard").between(0, 63)))
                    .check(("ck_audit_entry_sequence", Expr::col("sequence").gte(1)))
                    .to_owned(),
            )
            .await?;
        // Serves the history of one record.
        let history = Index::create()
            .name("ix_audit_entry_resource_id_at_us")
            .table("audit_entry")
            .col("resource_id")
            .col("at_us")
            .to_owned();
        manager.create_index(history).await?;
        tenancy::enable_row_level_security(manager, "audit_head").await?;
        tenancy::enable_row_level_security(manager, "audit_entry").await?;
        // A verification must find those whose row in `audit_hospital` was removed.
        tenancy::admit_workers(manager, "audit_head").await?;
        tenancy::admit_workers(manager, "audit_entry").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["audit_entry", "audit_head", "audit_hospital"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
