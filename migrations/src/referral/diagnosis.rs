//! Diagnoses: one study taken through segmentation and assessment.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, json, json_null, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

/// Adds table `diagnosis`: one row per diagnosis that was begun.
pub(super) struct CreateDiagnosis;

impl MigrationName for CreateDiagnosis {
    fn name(&self) -> &str {
        "m20261126_000006_create_diagnosis"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateDiagnosis {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ended = || Expr::col("assessment_id").is_not_null();
        let null = |column: &'static str| Expr::col(column).is_null();
        let not_null = |column: &'static str| Expr::col(column).is_not_null();
        manager
            .create_table(
                Table::create()
                    .table("diagnosis")
                    .col(uuid("diagnosis_id"))
                    .col(uuid("request_id"))
                    .col(uuid("patient_id"))
                    .col(uuid("study_id"))
                    .col(uuid("symptom_report_id"))
                    .col(big_integer("hospitals_max"))
                    // The model asked for; null takes the one that serves.
                    .col(text_null("model_id"))
                    .col(timestamp_with_time_zone("created_at"))
                    // The prepared study and the lexicon, as they were when it was begun.
                    .col(json("origin"))
                    // The segmentation, its model and atlas, and what was measured; null until then.
                    .col(json_null("marking"))
                    // Null, as the next two, until it is finished.
                    .col(uuid_null("assessment_id"))
                    .col(timestamp_with_time_zone_null("finished_at"))
                    .col(text_null("code_version"))
                    .primary_key(Index::create().name("pk_diagnosis").col("diagnosis_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_diagnosis_assessment_id")
                            .from("diagnosis", "assessment_id")
                            .to("assessment", "assessment_id"),
                    )
                    .check((
                        "ck_diagnosis_ending",
                        ended()
                            .and(not_null("marking"))
                            .and(not_null("finished_at"))
                            .and(not_null("code_version"))
                            .or(null("assessment_id")
                                .and(null("finished_at"))
                                .and(null("code_version"))),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_diagnosis_request_id")
                    .table("diagnosis")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("diagnosis").to_owned()).await
    }
}
