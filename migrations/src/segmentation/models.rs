//! Trained models, and which of them served from when on.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, text, text_null, timestamp_with_time_zone},
};

/// Adds tables `model` and `model_promotion`.
pub(super) struct CreateModel;

impl MigrationName for CreateModel {
    fn name(&self) -> &str {
        "m20261122_000002_create_model"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateModel {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("model")
                    .col(text("model_id"))
                    // The name of the weights in the blob store, and the hash on the card.
                    .col(text("weights_sha256"))
                    .col(big_integer("weights_size_bytes"))
                    // The name of the card in the blob store.
                    .col(text("card_digest"))
                    .col(text("card_json"))
                    .col(text("licence"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(text("state"))
                    .primary_key(Index::create().name("pk_model").col("model_id"))
                    .check((
                        "ck_model_state",
                        Expr::col("state").is_in(["imported", "verified", "refused"]),
                    ))
                    .check(("ck_model_weights_size", Expr::col("weights_size_bytes").gt(0)))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("model_promotion")
                    // Counts from 1: of two who promote at once, one finds its number taken.
                    .col(big_integer("sequence"))
                    .col(text("kind"))
                    // Null is the model the program was started with.
                    .col(text_null("model_id"))
                    // What a rollback goes back to; null is the model the program was started with.
                    .col(big_integer_null("below"))
                    .col(timestamp_with_time_zone("created_at"))
                    .primary_key(Index::create().name("pk_model_promotion").col("sequence"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_model_promotion_model_id")
                            .from("model_promotion", "model_id")
                            .to("model", "model_id"),
                    )
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_model_promotion_below")
                            .from("model_promotion", "below")
                            .to("model_promotion", "sequence"),
                    )
                    .check((
                        "ck_model_promotion_kind",
                        Expr::col("kind").is_in(["promote", "rollback"]),
                    ))
                    .check(("ck_model_promotion_sequence", Expr::col("sequence").gte(1)))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("model_promotion").to_owned()).await?;
        manager.drop_table(Table::drop().table("model").to_owned()).await
    }
}
