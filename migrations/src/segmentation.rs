//! Schema of the segmentation database: masks, models, training runs.

mod models;
mod training;

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, double, double_null, json, text, timestamp_with_time_zone, uuid},
};

use crate::{audit, tenancy};

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateSegmentation),
            Box::new(models::CreateModel),
            Box::new(training::CreateTrainingRun),
            Box::new(KeepSegmentationsApart),
            Box::new(audit::CreateAudit("m20261126_000005_create_audit")),
        ]
    }

    fn migration_table_name() -> DynIden {
        "segmentation_migrations".into_iden()
    }
}

/// Adds table `segmentation`: one row per study and set of weights.
struct CreateSegmentation;

impl MigrationName for CreateSegmentation {
    fn name(&self) -> &str {
        "m20261101_000001_create_segmentation"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSegmentation {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("segmentation")
                    .col(uuid("segmentation_id"))
                    .col(uuid("study_id"))
                    .col(text("model_id"))
                    .col(text("weights_sha256"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(text("mask_digest"))
                    .col(big_integer("mask_size_bytes"))
                    .col(json("localisation"))
                    .col(double_null("uncertainty"))
                    .col(double("inference_seconds"))
                    .primary_key(Index::create().name("pk_segmentation").col("segmentation_id"))
                    .check(("ck_segmentation_mask_size", Expr::col("mask_size_bytes").gte(0)))
                    .check(("ck_segmentation_inference", Expr::col("inference_seconds").gte(0)))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_segmentation_study_id_weights_sha256")
                    .table("segmentation")
                    .col("study_id")
                    .col("weights_sha256")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("segmentation").to_owned()).await
    }
}

/// Adds the hospital to table `segmentation`, and row-level security by it. Models, promotions and training runs all
/// hospitals share.
struct KeepSegmentationsApart;

impl MigrationName for KeepSegmentationsApart {
    fn name(&self) -> &str {
        "m20261126_000004_keep_segmentations_apart"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for KeepSegmentationsApart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::add_hospital_id(manager, "segmentation").await?;
        // An answer from the store is of the hospital that asks.
        tenancy::replace_index(
            manager,
            "segmentation",
            "uq_segmentation_study_id_weights_sha256",
            Index::create()
                .name("uq_segmentation_hospital_id_study_id_weights_sha256")
                .table("segmentation")
                .col("hospital_id")
                .col("study_id")
                .col("weights_sha256")
                .unique(),
        )
        .await?;
        tenancy::enable_row_level_security(manager, "segmentation").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenancy::disable_row_level_security(manager, "segmentation").await?;
        tenancy::replace_index(
            manager,
            "segmentation",
            "uq_segmentation_hospital_id_study_id_weights_sha256",
            Index::create()
                .name("uq_segmentation_study_id_weights_sha256")
                .table("segmentation")
                .col("study_id")
                .col("weights_sha256")
                .unique(),
        )
        .await?;
        tenancy::drop_hospital_column(manager, "segmentation", "hospital_id").await
    }
}
