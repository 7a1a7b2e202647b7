//! Schema of the referral database: the hospital directory, the assessments made, the referrals and
//! their outbox.

mod apart;
mod diagnosis;
mod directory;
mod fhir;
mod lifecycle;
mod sealing;

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, boolean, double, json, text, timestamp_with_time_zone, uuid},
};

use crate::{audit, constraint::NameConstraint};

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateHospital),
            Box::new(CreateAssessment),
            Box::new(directory::WidenHospital),
            Box::new(diagnosis::CreateDiagnosis),
            Box::new(lifecycle::CreateReferral),
            Box::new(lifecycle::CreateReferralEvent),
            Box::new(lifecycle::CreateOutbox),
            Box::new(apart::KeepAssessmentsApart),
            Box::new(apart::KeepReferralsApart),
            Box::new(fhir::IndexPatients),
            Box::new(audit::CreateAudit("m20261126_000011_create_audit")),
            Box::new(sealing::SealTexts),
            Box::new(NameConstraint {
                step: "m20261127_000013_name_check_of_beds",
                table: "hospital",
                chosen: "hospital_beds_free_check",
                given: "ck_hospital_beds_free",
            }),
        ]
    }

    fn migration_table_name() -> DynIden {
        "referral_migrations".into_iden()
    }
}

/// Adds table `hospital`: one row per hospital of the directory.
struct CreateHospital;

impl MigrationName for CreateHospital {
    fn name(&self) -> &str {
        "m20261101_000001_create_hospital"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateHospital {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("hospital")
                    .col(text("hospital_id"))
                    .col(text("name"))
                    .col(text("city"))
                    .col(double("latitude_degrees"))
                    .col(double("longitude_degrees"))
                    // List of names, such as `["neurosurgery"]`.
                    .col(json("capabilities"))
                    // Share of referrals that can be taken now.
                    .col(double("capacity"))
                    .col(boolean("accepts_referrals"))
                    .primary_key(Index::create().name("pk_hospital").col("hospital_id"))
                    .check(("ck_hospital_latitude", Expr::col("latitude_degrees").between(-90, 90)))
                    .check((
                        "ck_hospital_longitude",
                        Expr::col("longitude_degrees").between(-180, 180),
                    ))
                    .check(("ck_hospital_capacity", Expr::col("capacity").between(0, 1)))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hospital").to_owned()).await
    }
}

/// Adds table `assessment`: one row per assessment made.
struct CreateAssessment;

impl MigrationName for CreateAssessment {
    fn name(&self) -> &str {
        "m20261101_000002_create_assessment"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAssessment {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("assessment")
                    .col(uuid("assessment_id"))
                    .col(uuid("request_id"))
                    .col(uuid("patient_id"))
                    .col(uuid("symptom_report_id"))
                    .col(uuid("segmentation_id"))
                    .col(big_integer("hospitals_max"))
                    .col(timestamp_with_time_zone("created_at"))
                    // The whole answer.
                    .col(json("content"))
                    .primary_key(Index::create().name("pk_assessment").col("assessment_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("uq_assessment_request_id")
                    .table("assessment")
                    .col("request_id")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("assessment").to_owned()).await
    }
}
