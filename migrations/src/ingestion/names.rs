//! Names that callers give to studies and files, sealed.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::tenancy;

/// Adds column `names` to table `study`: a sealed JSON document (`v1.<key id>.<base64url>`) of the accession and of
/// the files' names by modality, into which callers may write a patient's name.
///
/// A row with `names` has the readable `accession`, the `file_name`s in `volumes` and `content_hash` empty. The last is
/// a SHA-256 of the names and of what stands beside it, the patient's id and the digests of the files: whoever
/// reads the row could try accessions until one fits. A repeated request is told by the columns themselves.
///
/// A migration has no keys, and a study is too large and too costly to be sent again: rows that are there keep
/// `names` null and stay readable by the service until `rotate-keys` seals them. It finds their hospitals, which may
/// have called nothing since, by policy `study_unsealed`: a transaction of a worker reads the rows that are not
/// sealed. A replica of the version before may run beside: it writes such rows, and shows sealed ones without
/// names.
pub(super) struct SealNames;

impl MigrationName for SealNames {
    fn name(&self) -> &str {
        "m20261126_000004_seal_names"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SealNames {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = "ALTER TABLE study ADD COLUMN names text \
                      CONSTRAINT ck_study_names CHECK (names IS NULL OR accession = '')";
        manager.get_connection().execute_unprepared(column).await?;
        let clauses =
            "FOR SELECT USING (names IS NULL AND current_setting('app.worker', true) = 'on')";
        tenancy::create_policy(manager, "study", "study_unsealed", clauses).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared("DROP POLICY study_unsealed ON study").await?;
        }
        db.execute_unprepared("ALTER TABLE study DROP COLUMN names").await.map(|_| ())
    }
}
