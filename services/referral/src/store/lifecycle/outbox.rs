//! The outbox: what workers claim and settle, and what operators see of it.
//!
//! A worker finds what is due of all hospitals, and then works in the name of the one that a row goes to.
//! Every write compares with what was read, so that of two writers one changes nothing, and no lock
//! is held while an event is sent.

use neurotriage_domain::{EventId, HospitalId};
use neurotriage_service_kit::tenant::Mode;
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Alias, Expr, ExprTrait as _, Query},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    SqlLifecycleStore, commit, failed, outbox_row,
    rows::{
        DEAD, PENDING, envelope_from_model, fate_to_columns, letter_from_model, outbox_changes,
        row_from_model,
    },
};
use crate::lifecycle::{
    LifecycleError,
    outbox::{Ahead, Fate, Letter, Outcome, Policy, Row, ahead_of_each},
    referral::EVENTS_MAX,
    store::{Claimed, DeadLetter, DeadPlace, OutboxStore, Posted},
};

/// Most rows that a worker looks at in one go.
const CLAIM_ROWS_MAX: u64 = 32;

impl OutboxStore for SqlLifecycleStore {
    async fn claim(
        &self,
        policy: &Policy,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<Claimed, LifecycleError> {
        let mut claimed = Claimed::default();
        for letter in self.candidates(now).await? {
            if claimed.letters.len() >= limit {
                break;
            }
            let (row, receiver) = (&letter.row, &letter.hospital_id);
            let transaction = self.begin(receiver, Mode::Write).await?;
            // What is settled stays settled, so this still holds when the row is written.
            let ahead = ahead(&transaction, receiver, row).await?;
            if let Ok(dead) = row.give_up(ahead, policy, now) {
                let written = write(&transaction, receiver, row, &dead, now).await?;
                commit(transaction).await?;
                if written {
                    claimed.dead.push(dead);
                }
                continue;
            }
            let Ok(held) = row.claim(Uuid::now_v7(), ahead, policy, now) else { continue };
            let look_at = held.lease.map_or(now, |lease| lease.until);
            let written = write(&transaction, receiver, row, &held, look_at).await?;
            commit(transaction).await?;
            if written {
                claimed.letters.push(Letter { row: held, ..letter });
            }
        }
        Ok(claimed)
    }

    async fn settle(
        &self,
        receiver: &HospitalId,
        held: &Row,
        outcome: Outcome,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<Option<Row>, LifecycleError> {
        let Some(lease) = held.lease else { return Ok(None) };
        let Ok(done) = held.finish(lease.lease_id, outcome, policy, now) else { return Ok(None) };
        let backoff = now + policy.backoff(done.event_id, done.attempts);
        let look_at = Ord::max(backoff, done.not_before.unwrap_or(backoff));
        let transaction = self.begin(receiver, Mode::Write).await?;
        let written = write(&transaction, receiver, held, &done, look_at).await?;
        commit(transaction).await?;
        Ok(written.then_some(done))
    }
}

impl SqlLifecycleStore {
    /// Returns the rows that may be due, longest due first: the first of each referral that is not
    /// settled.
    ///
    /// ```sql
    /// SELECT … FROM outbox WHERE fate = 'pending' AND look_at <= $now AND NOT EXISTS
    ///     (SELECT 1 FROM outbox AS earlier WHERE earlier.referral_id = outbox.referral_id
    ///      AND earlier.sequence < outbox.sequence AND earlier.fate IN ('pending', 'dead'))
    /// ORDER BY look_at, event_id LIMIT 32
    /// ```
    async fn candidates(&self, now: OffsetDateTime) -> Result<Vec<Letter>, LifecycleError> {
        let earlier = |column: &'static str| Expr::col((Alias::new("earlier"), Alias::new(column)));
        let later = |column: outbox_row::Column| Expr::col((outbox_row::Entity, column));
        let held_back = Query::select()
            .expr(Expr::val(1))
            .from_as(outbox_row::Entity, Alias::new("earlier"))
            .and_where(earlier("referral_id").eq(later(outbox_row::Column::ReferralId)))
            .and_where(earlier("sequence").lt(later(outbox_row::Column::Sequence)))
            .and_where(earlier("fate").is_in([PENDING, DEAD]))
            .to_owned();
        let transaction = self.begin_across().await?;
        let rows = outbox_row::Entity::find()
            .filter(outbox_row::Column::Fate.eq(PENDING))
            .filter(outbox_row::Column::LookAt.lte(now))
            .filter(Expr::exists(held_back).not())
            .order_by_asc(outbox_row::Column::LookAt)
            .order_by_asc(outbox_row::Column::EventId)
            .limit(CLAIM_ROWS_MAX)
            .all(&transaction)
            .await
            .map_err(failed("find events to deliver"))?;
        commit(transaction).await?;
        rows.into_iter().map(letter_from_model).collect()
    }
}

/// True of rows of referrals that a hospital sent, or that were sent to it.
fn known_to(hospital_id: &HospitalId) -> Condition {
    Condition::any()
        .add(outbox_row::Column::SenderHospitalId.eq(hospital_id.as_str()))
        .add(outbox_row::Column::HospitalId.eq(hospital_id.as_str()))
}

async fn ahead(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    row: &Row,
) -> Result<Ahead, LifecycleError> {
    let models = outbox_row::Entity::find()
        .filter(known_to(hospital_id))
        .filter(outbox_row::Column::ReferralId.eq(row.referral_id.as_uuid()))
        .order_by_asc(outbox_row::Column::Sequence)
        .limit(EVENTS_MAX)
        .all(transaction)
        .await
        .map_err(failed("read outbox of referral"))?;
    let mut rows = Vec::with_capacity(models.len());
    for model in &models {
        rows.push(row_from_model(model)?);
    }
    let place = rows.iter().position(|one| one.event_id == row.event_id);
    let ahead = place.and_then(|place| ahead_of_each(&rows).get(place).copied());
    Ok(ahead.unwrap_or(Ahead::Pending))
}

/// Writes `after` over `before`. Returns false, and writes nothing, if the row is no longer as
/// it was in fate, attempts and lease.
///
/// ```sql
/// UPDATE outbox SET … WHERE event_id = $1 AND fate = $2 AND attempts = $3
///     AND (lease_id = $4 | lease_id IS NULL)
/// ```
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    before: &Row,
    after: &Row,
    look_at: OffsetDateTime,
) -> Result<bool, LifecycleError> {
    let same_lease = match before.lease {
        Some(lease) => outbox_row::Column::LeaseId.eq(lease.lease_id),
        None => outbox_row::Column::LeaseId.is_null(),
    };
    let updated = outbox_row::Entity::update_many()
        .set(outbox_changes(after, look_at))
        .filter(known_to(hospital_id))
        .filter(outbox_row::Column::EventId.eq(before.event_id.as_uuid()))
        .filter(outbox_row::Column::Fate.eq(fate_to_columns(before.fate).0))
        .filter(outbox_row::Column::Attempts.eq(i64::from(before.attempts)))
        .filter(same_lease)
        .exec(transaction)
        .await
        .map_err(failed("write outbox row"))?;
    Ok(updated.rows_affected == 1)
}

pub(super) async fn dead(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    receiver: Option<&HospitalId>,
    after: Option<DeadPlace>,
    limit: u64,
) -> Result<Vec<DeadLetter>, LifecycleError> {
    use outbox_row::Column::{EventId, SettledAt};
    let mut query = outbox_row::Entity::find()
        .filter(known_to(hospital_id))
        .filter(outbox_row::Column::Fate.eq(DEAD));
    if let Some(receiver) = receiver {
        query = query.filter(outbox_row::Column::HospitalId.eq(receiver.as_str()));
    }
    if let Some(DeadPlace { dead_at, event_id }) = after {
        let same_time =
            Condition::all().add(SettledAt.eq(dead_at)).add(EventId.gt(event_id.as_uuid()));
        query = query.filter(Condition::any().add(SettledAt.gt(dead_at)).add(same_time));
    }
    let models = query
        .order_by_asc(SettledAt)
        .order_by_asc(EventId)
        .limit(limit)
        .all(transaction)
        .await
        .map_err(failed("list dead letters"))?;
    let mut letters = Vec::with_capacity(models.len());
    for model in models {
        let Fate::Dead { at: dead_at, cause } = row_from_model(&model)?.fate else { continue };
        letters.push(DeadLetter {
            event: envelope_from_model(&model)?,
            cause,
            dead_at,
            attempts: u32::try_from(model.attempts).map_err(failed("decode outbox row"))?,
            held_back: held_back(transaction, &model).await?,
            hospital_id: model.hospital_id.parse().map_err(failed("decode outbox row"))?,
        });
    }
    Ok(letters)
}

pub(super) async fn posted(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    event_id: EventId,
) -> Result<Option<Posted>, LifecycleError> {
    let model = outbox_row::Entity::find_by_id(event_id.as_uuid())
        .filter(known_to(hospital_id))
        .one(transaction)
        .await
        .map_err(failed("read outbox row"))?;
    let Some(model) = model else { return Ok(None) };
    let held_back = held_back(transaction, &model).await?;
    let (row, event) = (row_from_model(&model)?, envelope_from_model(&model)?);
    let hospital_id = model.hospital_id.parse().map_err(failed("decode outbox row"))?;
    Ok(Some(Posted { row, hospital_id, event, held_back }))
}

/// A referral has at most [`EVENTS_MAX`] rows.
async fn held_back(
    transaction: &DatabaseTransaction,
    model: &outbox_row::Model,
) -> Result<u32, LifecycleError> {
    let count = outbox_row::Entity::find()
        .filter(outbox_row::Column::ReferralId.eq(model.referral_id))
        .filter(outbox_row::Column::Sequence.gt(model.sequence))
        .filter(outbox_row::Column::Fate.eq(PENDING))
        .count(transaction)
        .await
        .map_err(failed("count events held back"))?;
    u32::try_from(count).map_err(failed("count events held back"))
}
