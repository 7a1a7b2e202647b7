//! Studies in a database: PostgreSQL or SQLite.
//!
//! Every operation is one transaction that sees one hospital's rows, appends to the audit last, and commits. What
//! callers name studies and files is sealed (`vault`). There is nothing that hospitals share.

pub mod admin;
mod vault;

use std::error::Error;

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{BlobDigest, HospitalId, Modality, PatientId, StudyId};
use neurotriage_sealing::{Keyring, KeyringError};
use neurotriage_service_kit::{
    audit::{AuditLog, Call, Unit},
    database::is_transient,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, SqlErr,
};
use uuid::Uuid;

use self::vault::{Names, Vault};
use crate::{
    error::StudyError,
    study::{NewStudy, Said, StoredVolume, Study, StudyStore},
};

/// Kind of the records, in the audit.
const KIND: &str = "study";
/// Kind of what a call was kept from before any study was looked for.
const PATIENT: &str = "patient";
const READ: &str = "read study";
const WRITE: &str = "write study";
const DECODE: &str = "decode study row";
const ENCODE: &str = "encode study row";

/// Table `study`.
pub mod study_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "study")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub study_id: Uuid,
        pub hospital_id: String,
        pub request_id: Uuid,
        pub content_hash: String,
        pub patient_id: Uuid,
        pub accession: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub geometry: Json,
        pub volumes: Json,
        pub prepared: Json,
        pub names: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`StudyStore`] over a connection pool. Clones share it.
#[derive(Clone, Debug)]
pub struct SqlStudyStore {
    vault: Vault,
    audit: AuditLog,
}

impl SqlStudyStore {
    /// Stores in `db`, which must be migrated, with the keys of `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is no active key to seal or to sign with.
    pub fn new(db: DatabaseConnection, keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { vault: Vault::new(keyring)?, audit: AuditLog::new(db, keyring)? })
    }

    /// Returns the audit of the store's database.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Returns the row of a study that the call may touch, and its operation, to be noted and committed.
    async fn show<'a>(
        &'a self,
        call: &'a Call,
        study_id: StudyId,
    ) -> Result<(Unit<'a>, study_row::Model), StudyError> {
        let unit = self.audit.begin(call).await?;
        let row = study_row::Entity::find_by_id(study_id.as_uuid())
            .filter(study_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .one(unit.transaction())
            .await
            .map_err(failed(READ))?;
        let id = Some(study_id.as_uuid());
        let Some(row) = row else {
            let error = StudyError::NotFound { study_id };
            return Err(unit.refuse(Action::Read, KIND, id, error).await);
        };
        if let Err(error) = call.check_patient(row.patient_id.into()) {
            return Err(unit.refuse(Action::Read, KIND, id, StudyError::from(error)).await);
        }
        Ok((unit, row))
    }
}

fn failed(operation: &'static str) -> impl Fn(DbErr) -> StudyError {
    move |error| {
        let is_away = is_transient(&error);
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if is_away {
            StudyError::Unavailable { operation, source }
        } else {
            StudyError::Store { operation, source }
        }
    }
}

/// Returns the error of a bug or of data that can't be read.
fn broken<E: Into<Box<dyn Error + Send + Sync>>>(
    operation: &'static str,
) -> impl Fn(E) -> StudyError {
    move |error| StudyError::Store { operation, source: error.into() }
}

impl StudyStore for SqlStudyStore {
    async fn find(&self, call: &Call, study_id: StudyId) -> Result<Study, StudyError> {
        let (mut unit, row) = self.show(call, study_id).await?;
        let patient_id = row.patient_id;
        let study = self.study(&call.hospital_id, row)?;
        unit.note(Action::Read, KIND, Some(study_id.as_uuid()), Detail::none())?;
        unit.commit("commit audit of read", patient_id).await?;
        Ok(study)
    }

    async fn find_volume(
        &self,
        call: &Call,
        study_id: StudyId,
        modality: Modality,
    ) -> Result<BlobDigest, StudyError> {
        let (mut unit, row) = self.show(call, study_id).await?;
        let id = Some(study_id.as_uuid());
        let volume = volumes(&row)?.into_iter().find(|volume| volume.modality == modality);
        let Some(volume) = volume else {
            let error = StudyError::NotFound { study_id };
            return Err(unit.refuse(Action::Read, KIND, id, error).await);
        };
        unit.note(Action::Read, KIND, id, Detail::none().fields(&[modality.as_str()]))?;
        unit.commit("commit audit of download", row.patient_id).await?;
        Ok(volume.digest)
    }

    async fn find_repeated(
        &self,
        call: &Call,
        request_id: Uuid,
        said: &Said,
    ) -> Result<Option<Study>, StudyError> {
        let mut unit = self.audit.begin(call).await?;
        let row = study_row::Entity::find()
            .filter(study_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(study_row::Column::RequestId.eq(request_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read study by request"))?;
        let Some(row) = row else {
            unit.roll_back().await?;
            return Ok(None);
        };
        let study = self.study(&call.hospital_id, row)?;
        let id = Some(study.study_id.as_uuid());
        if Said::by_study(&study) != *said {
            let error = StudyError::RequestReused { request_id };
            return Err(unit.refuse(Action::Create, KIND, id, error).await);
        }
        unit.note(Action::Create, KIND, id, Detail::none().reason("REPEATED"))?;
        unit.commit("commit audit of repeated create", study.patient_id.as_uuid()).await?;
        Ok(Some(study))
    }

    async fn insert(&self, call: &Call, new: &NewStudy) -> Result<bool, StudyError> {
        let study = &new.study;
        let encode = broken(ENCODE);
        let row = study_row::ActiveModel {
            study_id: Set(study.study_id.as_uuid()),
            hospital_id: Set(call.hospital_id.to_string()),
            request_id: Set(new.request_id),
            content_hash: Set(String::new()),
            patient_id: Set(study.patient_id.as_uuid()),
            accession: Set(String::new()),
            created_at: Set(study.created_at),
            geometry: Set(serde_json::to_value(&study.geometry).map_err(&encode)?),
            volumes: Set(unnamed(study.volumes.clone())?),
            prepared: Set(serde_json::to_value(&study.prepared).map_err(&encode)?),
            names: Set(Some(self.vault.seal(
                &call.hospital_id,
                study.study_id.as_uuid(),
                &Names::of(study),
            )?)),
        };
        let mut unit = self.audit.begin(call).await?;
        let written =
            study_row::Entity::insert(row).exec_without_returning(unit.transaction()).await;
        if let Err(error) = written {
            let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() else {
                return Err(failed(WRITE)(error));
            };
            unit.roll_back().await?;
            return Ok(false);
        }
        unit.note(Action::Create, KIND, Some(study.study_id.as_uuid()), Detail::none())?;
        unit.commit("commit study", study.patient_id.as_uuid()).await?;
        Ok(true)
    }

    async fn list(
        &self,
        call: &Call,
        patient_id: PatientId,
        before: Option<StudyId>,
        limit: u32,
    ) -> Result<(Vec<Study>, bool), StudyError> {
        let mut query = study_row::Entity::find()
            .filter(study_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(study_row::Column::PatientId.eq(patient_id.as_uuid()))
            .order_by_desc(study_row::Column::StudyId)
            .limit(u64::from(limit) + 1);
        if let Some(before) = before {
            query = query.filter(study_row::Column::StudyId.lt(before.as_uuid()));
        }
        let mut unit = self.audit.begin(call).await?;
        let mut rows = query.all(unit.transaction()).await.map_err(failed("list studies"))?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut studies = Vec::with_capacity(rows.len());
        for row in rows {
            unit.note(Action::Read, KIND, Some(row.study_id), Detail::none())?;
            studies.push(self.study(&call.hospital_id, row)?);
        }
        let detail = Detail::none().count(studies.len() as u64);
        unit.note(Action::Search, KIND, Some(patient_id.as_uuid()), detail)?;
        unit.commit("commit audit of list", patient_id.as_uuid()).await?;
        Ok((studies, more))
    }

    async fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: StudyError,
    ) -> StudyError {
        match self.audit.begin(call).await {
            Ok(unit) => unit.refuse(action, PATIENT, Some(patient_id.as_uuid()), error).await,
            Err(error) => error.into(),
        }
    }
}

impl SqlStudyStore {
    /// Returns the study of a row, with its names.
    fn study(&self, hospital_id: &HospitalId, row: study_row::Model) -> Result<Study, StudyError> {
        let mut volumes = volumes(&row)?;
        let accession = match &row.names {
            // Written by a version that did not seal: what is readable counts.
            None => row.accession,
            Some(sealed) => {
                let Names { accession, mut file_names } =
                    self.vault.open(hospital_id, row.study_id, sealed)?;
                for volume in &mut volumes {
                    let name = file_names.remove(&volume.modality);
                    volume.file_name =
                        name.ok_or_else(|| broken(DECODE)("a volume has no name"))?;
                }
                accession
            }
        };
        Ok(Study {
            study_id: row.study_id.into(),
            patient_id: row.patient_id.into(),
            accession,
            created_at: row.created_at,
            geometry: serde_json::from_value(row.geometry).map_err(broken(DECODE))?,
            volumes,
            prepared: serde_json::from_value(row.prepared).map_err(broken(DECODE))?,
        })
    }
}

/// Returns the volumes as the row has them: without names, if they are sealed.
fn volumes(row: &study_row::Model) -> Result<Vec<StoredVolume>, StudyError> {
    serde_json::from_value(row.volumes.clone()).map_err(broken(DECODE))
}

/// Returns the readable column of volumes, whose names are sealed elsewhere.
fn unnamed(mut volumes: Vec<StoredVolume>) -> Result<serde_json::Value, StudyError> {
    for volume in &mut volumes {
        volume.file_name.clear();
    }
    serde_json::to_value(volumes).map_err(broken(ENCODE))
}
