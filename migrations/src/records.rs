//! Schema of the records database: patients, what they report, and who wrote when.

mod sealed;

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, date_null, double_null, json, text, timestamp_with_time_zone, uuid},
};

use crate::{audit, constraint::NameConstraint};

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreatePatient),
            Box::new(CreateSymptomReport),
            Box::new(CreateAudit),
            Box::new(sealed::ReplaceTables),
            Box::new(sealed::CreatePatient),
            Box::new(sealed::CreateEntry),
            Box::new(sealed::CreateSearchToken),
            Box::new(sealed::CreateChange),
            Box::new(audit::CreateAudit("m20261126_000009_create_audit")),
            Box::new(NameConstraint {
                step: "m20261127_000010_name_key_of_change",
                table: "change",
                chosen: "change_pkey",
                given: "pk_change",
            }),
        ]
    }

    fn migration_table_name() -> DynIden {
        "records_migrations".into_iden()
    }
}

/// Adds table `patient`.
struct CreatePatient;

impl MigrationName for CreatePatient {
    fn name(&self) -> &str {
        "m20261101_000001_create_patient"
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
                    .col(uuid("request_id"))
                    .col(text("content_hash"))
                    .col(big_integer("revision"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(text("medical_record_number"))
                    .col(text("issuer"))
                    .col(text("name"))
                    .col(date_null("birth_date"))
                    .col(text("sex"))
                    .col(text("handedness"))
                    .col(double_null("home_latitude_degrees"))
                    .col(double_null("home_longitude_degrees"))
                    .primary_key(Index::create().name("pk_patient").col("patient_id"))
                    .check(("ck_patient_revision", Expr::col("revision").gte(1)))
                    .check((
                        "ck_patient_sex",
                        Expr::col("sex").is_in(["unspecified", "female", "male", "other"]),
                    ))
                    .check((
                        "ck_patient_handedness",
                        Expr::col("handedness").is_in(["unspecified", "right", "left", "both"]),
                    ))
                    .check((
                        "ck_patient_home_latitude",
                        Expr::col("home_latitude_degrees").between(-90, 90),
                    ))
                    .check((
                        "ck_patient_home_longitude",
                        Expr::col("home_longitude_degrees").between(-180, 180),
                    ))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_patient_request_id")
                    .table("patient")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_patient_issuer_medical_record_number")
                    .table("patient")
                    .col("issuer")
                    .col("medical_record_number")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("patient").to_owned()).await
    }
}

/// Adds table `symptom_report`.
struct CreateSymptomReport;

impl MigrationName for CreateSymptomReport {
    fn name(&self) -> &str {
        "m20261101_000002_create_symptom_report"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSymptomReport {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("symptom_report")
                    .col(uuid("symptom_report_id"))
                    .col(uuid("request_id"))
                    .col(text("content_hash"))
                    .col(uuid("patient_id"))
                    .col(timestamp_with_time_zone("created_at"))
                    .col(text("text"))
                    .col(json("findings"))
                    .col(json("not_understood"))
                    .col(text("lexicon_version"))
                    .primary_key(Index::create().name("pk_symptom_report").col("symptom_report_id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("fk_symptom_report_patient_id")
                            .from("symptom_report", "patient_id")
                            .to("patient", "patient_id"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_symptom_report_request_id")
                    .table("symptom_report")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        // Serves the reports of a patient, newest first: ids sort by time.
        manager
            .create_index(
                Index::create()
                    .name("ix_symptom_report_patient_id_symptom_report_id")
                    .table("symptom_report")
                    .col("patient_id")
                    .col("symptom_report_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("symptom_report").to_owned()).await
    }
}

/// Adds table `audit`: one row per write, in the same transaction.
struct CreateAudit;

impl MigrationName for CreateAudit {
    fn name(&self) -> &str {
        "m20261101_000003_create_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAudit {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("audit")
                    .col(uuid("audit_id"))
                    .col(timestamp_with_time_zone("occurred_at"))
                    .col(text("actor"))
                    .col(text("action"))
                    .col(uuid("entity_id"))
                    .primary_key(Index::create().name("pk_audit").col("audit_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("ix_audit_entity_id_audit_id")
                    .table("audit")
                    .col("entity_id")
                    .col("audit_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audit").to_owned()).await
    }
}
