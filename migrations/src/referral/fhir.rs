//! What a patient's story is found by.

use sea_orm_migration::prelude::*;

/// Table and name of the index on its `patient_id`.
const INDEXES: [(&str, &str); 2] =
    [("assessment", "ix_assessment_patient_id"), ("diagnosis", "ix_diagnosis_patient_id")];

/// Adds indexes of assessments and diagnoses by patient.
pub(super) struct IndexPatients;

impl MigrationName for IndexPatients {
    fn name(&self) -> &str {
        "m20261126_000009_index_patients"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for IndexPatients {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, name) in INDEXES {
            let index = Index::create().name(name).table(table).col("patient_id").to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, name) in INDEXES {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        Ok(())
    }
}
