//! Training runs.

use sea_orm_migration::{
    prelude::*,
    schema::{
        json_null, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
    },
};

/// Adds table `training_run`.
pub(super) struct CreateTrainingRun;

impl MigrationName for CreateTrainingRun {
    fn name(&self) -> &str {
        "m20261122_000003_create_training_run"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTrainingRun {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("training_run")
                    .col(uuid("training_run_id"))
                    .col(uuid("request_id"))
                    .col(text("content_hash"))
                    .col(text("training_file"))
                    .col(text("model_name"))
                    .col(text("state"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(timestamp_with_time_zone_null("started_at"))
                    .col(timestamp_with_time_zone_null("ended_at"))
                    .col(json_null("progress"))
                    .col(text_null("error_reason"))
                    .col(text_null("error_text"))
                    .col(text_null("model_id"))
                    .col(text_null("weights_sha256"))
                    .primary_key(Index::create().name("pk_training_run").col("training_run_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_training_run_model_id")
                            .from("training_run", "model_id")
                            .to("model", "model_id"),
                    )
                    .check((
                        "ck_training_run_state",
                        Expr::col("state").is_in([
                            "queued",
                            "running",
                            "succeeded",
                            "failed",
                            "cancelled",
                            "interrupted",
                        ]),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_training_run_request_id")
                    .table("training_run")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("training_run").to_owned()).await
    }
}
