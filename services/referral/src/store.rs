//! Assessments, diagnoses, referrals and hospitals in a database: PostgreSQL or SQLite.
//!
//! Every operation on what is a patient's is a unit of the audit ([`neurotriage_service_kit::audit`]): a transaction of
//! the hospital that calls, whose queries name the hospital too, and which ends with its entries in that hospital's
//! chains. Kinds of records there are `assessment`, `diagnosis`, `referral`, `referral_event`, `study` (of which two were
//! compared) and `patient` (who was exported, or whom a call may not touch).
//!
//! No entry is left by what is no patient's: the directory of hospitals, which all share; by a look-up that finds nothing
//! and answers nothing; by those who watch when they look again, since events carry ids only and the watch was noted
//! when it began; and by the outbox's workers, whose letters carry no more than events.
//!
//! What people wrote is sealed ([`Vault`]).

pub mod admin;
pub mod diagnosis;
mod fhir;
mod hospitals;
pub mod lifecycle;
mod vault;

use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{AssessmentId, PatientId};
use neurotriage_sealing::{Keyring, KeyringError};
use neurotriage_service_kit::{
    audit::{AuditLog, Call, CallError, Unit},
    database::is_away,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, SqlErr,
};

use crate::{
    assessment::{Assessment, AssessmentError, AssessmentRequest, ReferralStore},
    directory::Snapshot,
};

use self::vault::SealedColumn;
pub use self::{
    hospitals::{directory_row, hospital_row},
    vault::Vault,
};

/// Kinds of records, in the audit.
mod kind {
    pub(super) const ASSESSMENT: &str = "assessment";
    pub(super) const DIAGNOSIS: &str = "diagnosis";
    pub(super) const EVENT: &str = "referral_event";
    pub(super) const PATIENT: &str = "patient";
    pub(super) const REFERRAL: &str = "referral";
    pub(super) const STUDY: &str = "study";
}

/// What the audit says of a request that was answered before.
const REPEATED: &str = "REPEATED";

/// Table `assessment`.
pub mod assessment_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "assessment")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub assessment_id: Uuid,
        pub hospital_id: String,
        pub request_id: Uuid,
        pub patient_id: Uuid,
        pub symptom_report_id: Uuid,
        pub segmentation_id: Uuid,
        pub hospitals_max: i64,
        pub created_at: TimeDateTimeWithTimeZone,
        pub content: Json,
        pub sealed: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// What operations on patients' data work with. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: DatabaseConnection,
    audit: AuditLog,
    vault: Vault,
}

impl Ledger {
    /// Keeps in `db`, which must be migrated, with the keys of `keyring`.
    ///
    /// # Errors
    /// If no key seals, or none signs the audit.
    pub fn new(db: DatabaseConnection, keyring: &Keyring) -> Result<Self, KeyringError> {
        let vault = Vault::new(keyring)?;
        let audit = AuditLog::new(db.clone(), keyring)?;
        Ok(Self { db, audit, vault })
    }

    /// Returns the audit of the database.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }
}

/// [`ReferralStore`] and [`DirectoryStore`](crate::directory::DirectoryStore) over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlReferralStore {
    ledger: Ledger,
    /// The directory as it was last read; another replica may have written since.
    directory: Arc<Mutex<Option<Snapshot>>>,
    /// Held by whoever reads the directory, so that after a write it is read once and not by every
    /// call that waits for it.
    reading: Arc<tokio::sync::Mutex<()>>,
}

fn failed<E: Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl Fn(E) -> AssessmentError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            AssessmentError::Unavailable { operation, source }
        } else {
            AssessmentError::Store { operation, source }
        }
    }
}

/// Returns false, with everything taken back, if the request of what was inserted made something before.
async fn is_first<'a>(
    unit: Unit<'a>,
    inserted: Result<(), DbErr>,
    operation: &'static str,
) -> Result<Option<Unit<'a>>, AssessmentError> {
    let Err(error) = inserted else { return Ok(Some(unit)) };
    if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
        unit.roll_back().await?;
        return Ok(None);
    }
    Err(failed(operation)(error))
}

impl SqlReferralStore {
    /// Stores in the database of `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, directory: Arc::default(), reading: Arc::default() }
    }

    /// Returns an assessment of the unit's hospital.
    async fn assessment(
        &self,
        unit: &Unit<'_>,
        call: &Call,
        assessment_id: AssessmentId,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let row = assessment_row::Entity::find_by_id(assessment_id.as_uuid())
            .filter(assessment_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .one(unit.transaction())
            .await
            .map_err(failed("read assessment"))?;
        row.map(|row| assessment_from_row(&self.ledger.vault, row)).transpose()
    }
}

impl ReferralStore for SqlReferralStore {
    async fn find(
        &self,
        call: &Call,
        assessment_id: AssessmentId,
    ) -> Result<Assessment, AssessmentError> {
        let (action, kind, id) = (Action::Read, kind::ASSESSMENT, assessment_id.as_uuid());
        let mut unit = self.ledger.audit.begin(call).await?;
        let Some(found) = self.assessment(&unit, call, assessment_id).await? else {
            let error = AssessmentError::NotFound { assessment_id };
            return Err(unit.refuse(action, kind, Some(id), error).await);
        };
        if let Err(error) = call.check_patient(found.patient_id) {
            return Err(unit.refuse(action, kind, Some(id), error.into()).await);
        }
        unit.note(action, kind, Some(id), Detail::none())?;
        unit.commit("commit audit of read", found.patient_id.as_uuid()).await?;
        Ok(found)
    }

    async fn find_answer(
        &self,
        call: &Call,
        request: &AssessmentRequest,
    ) -> Result<Option<Assessment>, AssessmentError> {
        let (action, kind, request_id) = (Action::Create, kind::ASSESSMENT, request.request_id);
        let mut unit = self.ledger.audit.begin(call).await?;
        let row = assessment_row::Entity::find()
            .filter(assessment_row::Column::HospitalId.eq(call.hospital_id.as_str()))
            .filter(assessment_row::Column::RequestId.eq(request_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read assessment by request"))?;
        let Some(row) = row else {
            unit.roll_back().await?;
            return Ok(None);
        };
        let stored = assessment_from_row(&self.ledger.vault, row)?;
        let id = stored.assessment_id.as_uuid();
        let refused = match call.check_patient(stored.patient_id) {
            Err(error) => Some(error.into()),
            Ok(()) if stored.request != *request => {
                Some(AssessmentError::RequestReused { request_id })
            }
            Ok(()) => None,
        };
        if let Some(error) = refused {
            return Err(unit.refuse(action, kind, Some(id), error).await);
        }
        unit.note(action, kind, Some(id), Detail::none().reason(REPEATED))?;
        unit.commit("commit audit of repeated create", stored.patient_id.as_uuid()).await?;
        Ok(Some(stored))
    }

    async fn insert(
        &self,
        call: &Call,
        assessment: &Assessment,
    ) -> Result<Option<Assessment>, AssessmentError> {
        const WRITE: &str = "write assessment";
        let (patient_id, assessment_id) = (assessment.patient_id, assessment.assessment_id);
        if let Err(error) = call.check_patient(patient_id) {
            return Err(self.deny(call, Action::Create, patient_id, error).await);
        }
        let id = assessment_id.as_uuid();
        let vault = &self.ledger.vault;
        let sealed =
            vault.seal(SealedColumn::Findings, call.hospital_id.as_str(), id, &assessment.findings);
        let row = assessment_row::ActiveModel {
            assessment_id: Set(id),
            hospital_id: Set(call.hospital_id.to_string()),
            request_id: Set(assessment.request.request_id),
            patient_id: Set(patient_id.as_uuid()),
            symptom_report_id: Set(assessment.request.symptom_report_id.as_uuid()),
            segmentation_id: Set(assessment.request.segmentation_id.as_uuid()),
            hospitals_max: Set(i64::from(assessment.request.hospitals_max)),
            created_at: Set(assessment.created_at),
            content: Set(serde_json::Value::Null),
            sealed: Set(Some(sealed.map_err(failed("seal findings"))?)),
        };
        let unit = self.ledger.audit.begin(call).await?;
        let inserted = assessment_row::Entity::insert(row)
            .exec_without_returning(unit.transaction())
            .await
            .map(drop);
        let Some(mut unit) = is_first(unit, inserted, WRITE).await? else { return Ok(None) };
        let stored = self.assessment(&unit, call, assessment_id).await?;
        let stored = stored.ok_or(AssessmentError::NotFound { assessment_id })?;
        unit.note(Action::Create, kind::ASSESSMENT, Some(id), Detail::none())?;
        unit.commit("commit assessment", patient_id.as_uuid()).await?;
        Ok(Some(stored))
    }

    async fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: CallError,
    ) -> AssessmentError {
        match self.ledger.audit.begin(call).await {
            Ok(unit) => {
                let id = Some(patient_id.as_uuid());
                unit.refuse(action, kind::PATIENT, id, error.into()).await
            }
            Err(error) => error.into(),
        }
    }
}

fn assessment_from_row(
    vault: &Vault,
    row: assessment_row::Model,
) -> Result<Assessment, AssessmentError> {
    const DECODE: &str = "decode assessment row";
    let id = row.assessment_id;
    let findings = match &row.sealed {
        Some(sealed) => vault
            .open(SealedColumn::Findings, &row.hospital_id, id, sealed)
            .map_err(failed(DECODE))?,
        // From before findings were sealed.
        None => serde_json::from_value(row.content).map_err(failed(DECODE))?,
    };
    Ok(Assessment {
        assessment_id: row.assessment_id.into(),
        created_at: row.created_at,
        patient_id: row.patient_id.into(),
        request: AssessmentRequest {
            request_id: row.request_id,
            symptom_report_id: row.symptom_report_id.into(),
            segmentation_id: row.segmentation_id.into(),
            hospitals_max: u32::try_from(row.hospitals_max).map_err(failed(DECODE))?,
        },
        findings,
    })
}
