//! Schema of the ingestion database: the studies received.

mod names;

use sea_orm_migration::{
    prelude::*,
    schema::{json, text, timestamp_with_time_zone, uuid},
};

use crate::{audit, tenancy};

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateStudy),
            Box::new(KeepStudiesApart),
            Box::new(audit::CreateAudit("m20261126_000003_create_audit")),
            Box::new(names::SealNames),
        ]
    }

    fn migration_table_name() -> DynIden {
        "ingestion_migrations".into_iden()
    }
}

/// Adds table `study`: one row per study received.
struct CreateStudy;

impl MigrationName for CreateStudy {
    fn name(&self) -> &str {
        "m20261101_000001_create_study"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateStudy {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("study")
                    .col(uuid("study_id"))
                    .col(uuid("request_id"))
                    .col(text("content_hash"))
                    .col(uuid("patient_id"))
                    .col(text("accession"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(json("geometry"))
                    .col(json("volumes"))
                    .col(json("prepared"))
                    .primary_key(Index::create().name("pk_study").col("study_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_study_request_id")
                    .table("study")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        // Serves the studies of a patient, newest first: ids sort by time.
        manager
            .create_index(
                Index::create()
                    .name("ix_study_patient_id_study_id")
                    .table("study")
                    .col("patient_id")
                    .col("study_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("study").to_owned()).await
    }
}

/// Adds the hospital to table `study`, and row-level security by it.
struct KeepStudiesApart;

impl MigrationName for KeepStudiesApart {
    fn name(&self) -> &str {
        "m20261126_000002_keep_studies_apart"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for KeepStudiesApart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::add_hospital_id(manager, "study").await?;
        tenancy::replace_index(
            manager,
            "study",
            "uq_study_request_id",
            Index::create()
                .name("uq_study_hospital_id_request_id")
                .table("study")
                .col("hospital_id")
                .col("request_id")
                .unique(),
        )
        .await?;
        // Serves the studies of a patient, newest first: ids sort by time.
        tenancy::replace_index(
            manager,
            "study",
            "ix_study_patient_id_study_id",
            Index::create()
                .name("ix_study_hospital_id_patient_id_study_id")
                .table("study")
                .col("hospital_id")
                .col("patient_id")
                .col("study_id"),
        )
        .await?;
        tenancy::enable_row_level_security(manager, "study").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::disable_row_level_security(manager, "study").await?;
        tenancy::replace_index(
            manager,
            "study",
            "ix_study_hospital_id_patient_id_study_id",
            Index::create()
                .name("ix_study_patient_id_study_id")
                .table("study")
                .col("patient_id")
                .col("study_id"),
        )
        .await?;
        tenancy::replace_index(
            manager,
            "study",
            "uq_study_hospital_id_request_id",
            Index::create().name("uq_study_request_id").table("study").col("request_id").unique(),
        )
        .await?;
        tenancy::drop_hospital_column(manager, "study", "hospital_id").await
    }
}
