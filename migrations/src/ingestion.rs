//! Schema of the ingestion database: the studies received.

use sea_orm_migration::{
    prelude::*,
    schema::{json, text, timestamp_with_time_zone, uuid},
};

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateStudy)]
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
