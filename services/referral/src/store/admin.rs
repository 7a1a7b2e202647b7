//! What operators do, past the service: seal with new keys, and what was written before there were any.

use std::collections::BTreeSet;

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::HospitalId;
use neurotriage_sealing::{Keyring, KeyringError, SealError};
use neurotriage_service_kit::{
    audit::{self, AuditError, Call, CallError, OperatorError, Unit},
    database::is_transient,
    keyring::{Left, Rotated},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DatabaseTransaction, DbErr,
    EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    sea_query::LockType,
};
use uuid::Uuid;

use super::{
    Ledger, SealedColumn, assessment_row, kind,
    lifecycle::{event_row, reason_row, referral_row},
};

/// Rows sealed again in one transaction.
const ROTATE_ROWS: u64 = 200;
/// Who the audit says seals again.
const OPERATOR: &str = "neurotriage-referral rotate-keys";

/// Table `readable_hospital`.
pub mod readable_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "readable_hospital")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Why rows can't be sealed again.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The keys don't serve.
    #[error("keyring does not serve")]
    Keyring(#[from] KeyringError),
    /// A row does not open.
    #[error("seal row again")]
    Seal(#[from] SealError),
    /// The audit can't name who rotates.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The audit does not verify, or the database failed.
    #[error(transparent)]
    Audit(#[from] OperatorError),
}

impl From<AuditError> for RotateError {
    fn from(error: AuditError) -> Self {
        Self::Audit(error.into())
    }
}

fn failed(operation: &'static str) -> impl Fn(DbErr) -> RotateError {
    move |error| {
        let is_away = is_transient(&error);
        AuditError { operation, source: Box::new(error), is_away }.into()
    }
}

/// Seals with the active key every text that is not, readable ones from before texts were sealed too, and signs the heads
/// of the audit again. May be stopped and run again, and may run beside the service. After it the old keys can be
/// removed; older checkpoints can't be checked then.
///
/// A reason is kept beside its event, which never changes: sealed again it is the same text.
///
/// # Errors
/// [`RotateError`], if a row does not open too: then the keyring lacks its key.
pub async fn rotate_keys(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Rotated, RotateError> {
    let ledger = Ledger::new(db.clone(), keyring)?;
    let mut rotated = Rotated::default();
    for hospital_id in hospitals(db).await? {
        let call = Call::of_program(hospital_id.clone(), OPERATOR)?;
        let rotation = Rotation { ledger: &ledger, call: &call };
        for column in [SealedColumn::Findings, SealedColumn::Reason] {
            let mut after = Uuid::nil();
            while let Some(last) = rotation.step(column, after, &mut rotated).await? {
                after = last;
            }
        }
        audit::sign_again(db, keyring, &hospital_id).await?;
        readable_row::Entity::delete_by_id(hospital_id.to_string())
            .exec(db)
            .await
            .map_err(failed("note that a hospital's texts are sealed"))?;
    }
    rotated.left = left(db, keyring).await?;
    Ok(rotated)
}

/// Returns what needs another key than the active one, or is readable.
///
/// # Errors
/// As [`rotate_keys`].
pub async fn left(db: &DatabaseConnection, keyring: &Keyring) -> Result<Left, RotateError> {
    let ledger = Ledger::new(db.clone(), keyring)?;
    let mut left = Left::default();
    for hospital_id in hospitals(db).await? {
        let call = Call::of_program(hospital_id.clone(), OPERATOR)?;
        let rotation = Rotation { ledger: &ledger, call: &call };
        for column in [SealedColumn::Findings, SealedColumn::Reason] {
            let mut after = Uuid::nil();
            while let Some(last) = rotation.look(column, after, &mut left).await? {
                after = last;
            }
        }
        left.heads += audit::heads_left(db, keyring, &hospital_id).await?;
    }
    Ok(left)
}

/// Returns the hospitals that may have texts: those that ever called, and those with texts from before that was noted.
async fn hospitals(db: &DatabaseConnection) -> Result<BTreeSet<HospitalId>, RotateError> {
    let mut hospitals: BTreeSet<HospitalId> = audit::hospitals(db).await?.into_iter().collect();
    let before = readable_row::Entity::find().all(db).await;
    for row in before.map_err(failed("read hospitals with readable texts"))? {
        let unreadable = |error| AuditError {
            operation: "decode hospital with readable texts",
            source: Box::new(error),
            is_away: false,
        };
        hospitals.insert(row.hospital_id.parse().map_err(unreadable)?);
    }
    Ok(hospitals)
}

struct Rotation<'a> {
    ledger: &'a Ledger,
    call: &'a Call,
}

impl Rotation<'_> {
    /// Seals again what needs it of the next rows; returns the last one looked at.
    async fn step(
        &self,
        column: SealedColumn,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RotateError> {
        let before = rotated.resealed;
        let mut unit = self.ledger.audit.begin(self.call).await?;
        let last = match column {
            SealedColumn::Findings => self.findings(&mut unit, after, rotated).await?,
            SealedColumn::Reason => self.reasons(&mut unit, after, rotated).await?,
        };
        if rotated.resealed > before {
            unit.commit("seal rows again", Uuid::now_v7()).await?;
        } else {
            unit.roll_back().await?;
        }
        Ok(last)
    }

    /// Counts what needs another key of the next rows; returns the last one looked at.
    async fn look(
        &self,
        column: SealedColumn,
        after: Uuid,
        left: &mut Left,
    ) -> Result<Option<Uuid>, RotateError> {
        let snapshot = audit::snapshot(&self.ledger.db, &self.call.hospital_id).await?;
        let (mut last, mut rows) = (None, 0);
        match column {
            SealedColumn::Findings => {
                for row in self.assessments(&snapshot, after, false).await? {
                    let id = row.assessment_id;
                    let sealed = self.sealed(column, id, row.sealed, &row.content)?;
                    (last, rows) = (Some(id), rows + u64::from(sealed.is_some()));
                }
            }
            SealedColumn::Reason => {
                for row in self.kept_reasons(&snapshot, after, false).await? {
                    let id = row.event_id;
                    let sealed = self.sealed(column, id, row.sealed, &row.readable)?;
                    (last, rows) = (Some(id), rows + u64::from(sealed.is_some()));
                }
            }
        }
        left.rows += rows;
        snapshot.rollback().await.map_err(failed("end snapshot"))?;
        Ok(last)
    }

    /// Returns the next assessments after `after`; those that are to be changed are locked.
    async fn assessments(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
        to_change: bool,
    ) -> Result<Vec<assessment_row::Model>, RotateError> {
        let query = assessment_row::Entity::find()
            .filter(assessment_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
            .filter(assessment_row::Column::AssessmentId.gt(after))
            .order_by_asc(assessment_row::Column::AssessmentId)
            .limit(ROTATE_ROWS);
        // Nothing is written between the text that is opened and the one that replaces it.
        let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
        query.all(transaction).await.map_err(failed("read assessments to seal again"))
    }

    async fn findings(
        &self,
        unit: &mut Unit<'_>,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RotateError> {
        let rows = self.assessments(unit.transaction(), after, true).await?;
        let last = rows.last().map(|row| row.assessment_id);
        for row in rows {
            rotated.seen += 1;
            let id = row.assessment_id;
            let sealed = self.sealed(SealedColumn::Findings, id, row.sealed, &row.content)?;
            let Some(sealed) = sealed else { continue };
            let columns = assessment_row::ActiveModel {
                content: Set(serde_json::Value::Null),
                sealed: Set(Some(sealed)),
                ..Default::default()
            };
            assessment_row::Entity::update_many()
                .set(columns)
                .filter(assessment_row::Column::HospitalId.eq(self.call.hospital_id.as_str()))
                .filter(assessment_row::Column::AssessmentId.eq(id))
                .exec(unit.transaction())
                .await
                .map_err(failed("write sealed findings"))?;
            unit.note(Action::Reseal, kind::ASSESSMENT, Some(id), Detail::none())?;
            rotated.resealed += 1;
        }
        Ok(last)
    }

    /// Those of referrals that the hospital sent: each is one hospital's, whoever wrote it.
    async fn kept_reasons(
        &self,
        transaction: &DatabaseTransaction,
        after: Uuid,
        to_change: bool,
    ) -> Result<Vec<reason_row::Model>, RotateError> {
        let referrals = referral_row::Entity::find()
            .select_only()
            .column(referral_row::Column::ReferralId)
            .filter(referral_row::Column::SenderHospitalId.eq(self.call.hospital_id.as_str()))
            .into_query();
        let events = event_row::Entity::find()
            .select_only()
            .column(event_row::Column::EventId)
            .filter(event_row::Column::ReferralId.in_subquery(referrals))
            .into_query();
        let query = reason_row::Entity::find()
            .filter(reason_row::Column::EventId.in_subquery(events))
            .filter(reason_row::Column::EventId.gt(after))
            .order_by_asc(reason_row::Column::EventId)
            .limit(ROTATE_ROWS);
        let query = if to_change { query.lock(LockType::NoKeyUpdate) } else { query };
        query.all(transaction).await.map_err(failed("read reasons to seal again"))
    }

    async fn reasons(
        &self,
        unit: &mut Unit<'_>,
        after: Uuid,
        rotated: &mut Rotated,
    ) -> Result<Option<Uuid>, RotateError> {
        let rows = self.kept_reasons(unit.transaction(), after, true).await?;
        let last = rows.last().map(|row| row.event_id);
        for row in rows {
            rotated.seen += 1;
            let id = row.event_id;
            let sealed = self.sealed(SealedColumn::Reason, id, row.sealed, &row.readable)?;
            let Some(sealed) = sealed else { continue };
            let columns = reason_row::ActiveModel {
                readable: Set(None),
                sealed: Set(Some(sealed)),
                ..Default::default()
            };
            reason_row::Entity::update_many()
                .set(columns)
                .filter(reason_row::Column::EventId.eq(id))
                .exec(unit.transaction())
                .await
                .map_err(failed("write sealed reason"))?;
            unit.note(Action::Reseal, kind::EVENT, Some(id), Detail::none())?;
            rotated.resealed += 1;
        }
        Ok(last)
    }

    /// Returns what to write for a text that is sealed, or readable; `None` if it is sealed as it should be.
    fn sealed(
        &self,
        column: SealedColumn,
        row: Uuid,
        sealed: Option<String>,
        readable: &impl serde::Serialize,
    ) -> Result<Option<String>, SealError> {
        let owner = self.call.hospital_id.as_str();
        match sealed {
            Some(sealed) => self.ledger.vault.renew(column, owner, row, &sealed),
            None => self.ledger.vault.seal(column, owner, row, readable).map(Some),
        }
    }
}
