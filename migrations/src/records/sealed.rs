//! Tables whose content is sealed, kept apart by hospital, and followed by an audit.
//!
//! Column `content` holds a sealed JSON document (`v1.<key id>.<base64url>`); whoever reads the
//! database without its keys sees ids, times and keyed hashes.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, json, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
    sea_orm::DbBackend,
};

use crate::tenancy;

/// Tables that the steps before made, in an order in which they can be removed.
const REPLACED: [&str; 3] = ["audit", "symptom_report", "patient"];

/// Removes the tables that kept patients readable. Their rows can't be sealed by a migration, which
/// has no keys: it refuses while there are some.
pub(super) struct ReplaceTables;

impl MigrationName for ReplaceTables {
    fn name(&self) -> &str {
        "m20261126_000004_replace_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ReplaceTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for table in REPLACED {
            let any = Query::select().expr(Expr::val(1)).from(table).limit(1).to_owned();
            if db.query_one(&any).await?.is_some() {
                return Err(DbErr::Custom(format!(
                    "table {table} holds rows of a version that did not seal them; keep a copy of this database, \
                     empty tables {REPLACED:?}, migrate, and register the patients again"
                )));
            }
        }
        for table in REPLACED {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::CreatePatient.up(manager).await?;
        super::CreateSymptomReport.up(manager).await?;
        super::CreateAudit.up(manager).await
    }
}

/// Adds table `patient`.
pub(super) struct CreatePatient;

impl MigrationName for CreatePatient {
    fn name(&self) -> &str {
        "m20261126_000005_create_patient"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreatePatient {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("patient")
                    .col(uuid("patient_id"))
                    .col(text("hospital_id"))
                    .col(uuid("request_id"))
                    .col(text_null("request_mac"))
                    .col(big_integer("revision"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(timestamp_with_time_zone("updated_at"))
                    .col(timestamp_with_time_zone_null("deleted_at"))
                    .col(timestamp_with_time_zone_null("erased_at"))
                    .col(uuid_null("merged_into"))
                    .col(json("merged_patient_ids"))
                    .col(text_null("content"))
                    .primary_key(Index::create().name("pk_patient").col("patient_id"))
                    .check(("ck_patient_hospital_id", Expr::col("hospital_id").ne("")))
                    .check(("ck_patient_revision", Expr::col("revision").gte(1)))
                    .check(("ck_patient_erased", erased_is_empty()))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_patient_merged_into")
                            .from("patient", "merged_into")
                            .to("patient", "patient_id"),
                    )
                    .to_owned(),
            )
            .await?;
        // Also what the keys of a hospital's own rows refer to, and the pages of its patients.
        unique(
            manager,
            "uq_patient_hospital_id_patient_id",
            "patient",
            &["hospital_id", "patient_id"],
        )
        .await?;
        unique(
            manager,
            "uq_patient_hospital_id_request_id",
            "patient",
            &["hospital_id", "request_id"],
        )
        .await?;
        manager
            .create_index(
                Index::create()
                    .name("ix_patient_merged_into")
                    .table("patient")
                    .col("merged_into")
                    .and_where(Expr::col("merged_into").is_not_null())
                    .to_owned(),
            )
            .await?;
        tenancy::enable_row_level_security(manager, "patient").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("patient").to_owned()).await
    }
}

/// Adds table `entry`: symptom reports, links to studies and notes.
pub(super) struct CreateEntry;

impl MigrationName for CreateEntry {
    fn name(&self) -> &str {
        "m20261126_000006_create_entry"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateEntry {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("entry")
                    .col(uuid("entry_id"))
                    .col(text("hospital_id"))
                    .col(uuid("patient_id"))
                    .col(text("kind"))
                    .col(uuid("request_id"))
                    .col(text_null("request_mac"))
                    .col(big_integer("revision"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(timestamp_with_time_zone("updated_at"))
                    .col(timestamp_with_time_zone_null("deleted_at"))
                    .col(timestamp_with_time_zone_null("erased_at"))
                    .col(text_null("content"))
                    .primary_key(Index::create().name("pk_entry").col("entry_id"))
                    .check(("ck_entry_hospital_id", Expr::col("hospital_id").ne("")))
                    .check((
                        "ck_entry_kind",
                        Expr::col("kind").is_in(["symptom_report", "study_link", "note"]),
                    ))
                    .check(("ck_entry_revision", Expr::col("revision").gte(1)))
                    .check(("ck_entry_erased", erased_is_empty()))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_entry_hospital_id_patient_id")
                            .from("entry", ("hospital_id", "patient_id"))
                            .to("patient", ("hospital_id", "patient_id")),
                    )
                    .to_owned(),
            )
            .await?;
        unique(manager, "uq_entry_hospital_id_request_id", "entry", &["hospital_id", "request_id"])
            .await?;
        // Serves the entries of one kind of a patient, newest first: ids sort by time.
        index(
            manager,
            "ix_entry_hospital_id_patient_id_kind_entry_id",
            "entry",
            &["hospital_id", "patient_id", "kind", "entry_id"],
        )
        .await?;
        tenancy::enable_row_level_security(manager, "entry").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("entry").to_owned()).await
    }
}

/// Adds table `search_token`: keyed hashes by which patients and entries are found.
pub(super) struct CreateSearchToken;

impl MigrationName for CreateSearchToken {
    fn name(&self) -> &str {
        "m20261126_000007_create_search_token"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSearchToken {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("search_token")
                    .col(text("hospital_id"))
                    .col(text("kind"))
                    .col(text("token"))
                    .col(uuid("patient_id"))
                    .col(uuid("record_id"))
                    .primary_key(
                        Index::create()
                            .name("pk_search_token")
                            .col("hospital_id")
                            .col("kind")
                            .col("token")
                            .col("record_id"),
                    )
                    .check(("ck_search_token_hospital_id", Expr::col("hospital_id").ne("")))
                    .check((
                        "ck_search_token_kind",
                        Expr::col("kind").is_in([
                            "medical_record_number",
                            "name",
                            "birth_date",
                            "finding",
                            "study",
                        ]),
                    ))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_search_token_hospital_id_patient_id")
                            .from("search_token", ("hospital_id", "patient_id"))
                            .to("patient", ("hospital_id", "patient_id")),
                    )
                    .to_owned(),
            )
            .await?;
        for kind in ["medical_record_number", "study"] {
            manager
                .create_index(
                    Index::create()
                        .name(format!("uq_search_token_{kind}"))
                        .table("search_token")
                        .col("hospital_id")
                        .col("token")
                        .unique()
                        .and_where(Expr::col("kind").eq(kind))
                        .to_owned(),
                )
                .await?;
        }
        index(manager, "ix_search_token_record_id", "search_token", &["record_id"]).await?;
        index(
            manager,
            "ix_search_token_hospital_id_patient_id",
            "search_token",
            &["hospital_id", "patient_id"],
        )
        .await?;
        tenancy::enable_row_level_security(manager, "search_token").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("search_token").to_owned()).await
    }
}

/// Adds table `change`: what watchers are told, in an order that commits respect.
///
/// Numbers alone are given out before commits, so a higher one can be seen before a lower one. A
/// reader in PostgreSQL takes only the rows of transactions that are older than every running one,
/// by `transaction_id`; then nothing comes in before what it read. SQLite has one writer at a time.
pub(super) struct CreateChange;

impl MigrationName for CreateChange {
    fn name(&self) -> &str {
        "m20261126_000008_create_change"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateChange {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut transaction_id = big_integer("transaction_id");
        match manager.get_database_backend() {
            DbBackend::Postgres => {
                transaction_id.default(Expr::cust("pg_current_xact_id()::text::bigint"))
            }
            DbBackend::Sqlite | DbBackend::MySql => transaction_id.default(0),
            _ => return Err(DbErr::Custom("database is neither PostgreSQL nor SQLite".to_owned())),
        };
        manager
            .create_table(
                Table::create()
                    .table("change")
                    .col(big_integer("sequence").auto_increment().primary_key())
                    .col(transaction_id)
                    .col(text("hospital_id"))
                    .col(text("kind"))
                    .col(uuid("record_id"))
                    .col(uuid("patient_id"))
                    .col(text("action"))
                    .col(big_integer("revision"))
                    .col(timestamp_with_time_zone("changed_at"))
                    .check(("ck_change_hospital_id", Expr::col("hospital_id").ne("")))
                    .to_owned(),
            )
            .await?;
        index(
            manager,
            "ix_change_hospital_id_transaction_id_sequence",
            "change",
            &["hospital_id", "transaction_id", "sequence"],
        )
        .await?;
        tenancy::enable_row_level_security(manager, "change").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("change").to_owned()).await
    }
}

/// What is erased has no content, and nothing else has none.
fn erased_is_empty() -> Expr {
    let erased = Expr::col("erased_at").is_not_null();
    let empty = Expr::col("content").is_null().and(Expr::col("request_mac").is_null());
    let full = Expr::col("content").is_not_null().and(Expr::col("request_mac").is_not_null());
    erased.clone().and(empty).or(erased.not().and(full))
}

async fn unique(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    create_index(manager, Index::create().unique().to_owned(), name, table, columns).await
}

async fn index(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    create_index(manager, Index::create(), name, table, columns).await
}

async fn create_index(
    manager: &SchemaManager<'_>,
    mut index: IndexCreateStatement,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    index.name(name).table(table);
    for &column in columns {
        index.col(column);
    }
    manager.create_index(index).await
}
