//! The outbox: what workers claim and settle, and what operators see of it.
//!
//! Every write compares with what was read, so that of two writers one changes nothing, and no lock
//! is held while an event is sent.

use neurotriage_domain::{EventId, HospitalId};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Alias, Expr, ExprTrait as _, Query},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    SqlLifecycleStore, failed, outbox_row,
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
            let row = &letter.row;
            // What is settled stays settled, so this still holds when the row is written.
            let ahead = self.ahead(row).await?;
            if let Ok(dead) = row.give_up(ahead, policy, now) {
                if self.write(row, &dead, now).await? {
                    claimed.dead.push(dead);
                }
                continue;
            }
            let Ok(held) = row.claim(Uuid::now_v7(), ahead, policy, now) else { continue };
            let look_at = held.lease.map_or(now, |lease| lease.until);
            if self.write(row, &held, look_at).await? {
                claimed.letters.push(Letter { row: held, ..letter });
            }
        }
        Ok(claimed)
    }

    async fn settle(
        &self,
        held: &Row,
        outcome: Outcome,
        policy: &Policy,
        now: OffsetDateTime,
    ) -> Result<Option<Row>, LifecycleError> {
        let Some(lease) = held.lease else { return Ok(None) };
        let Ok(done) = held.finish(lease.lease_id, outcome, policy, now) else { return Ok(None) };
        let backoff = now + policy.backoff(done.event_id, done.attempts);
        let look_at = Ord::max(backoff, done.not_before.unwrap_or(backoff));
        Ok(self.write(held, &done, look_at).await?.then_some(done))
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
        let rows = outbox_row::Entity::find()
            .filter(outbox_row::Column::Fate.eq(PENDING))
            .filter(outbox_row::Column::LookAt.lte(now))
            .filter(Expr::exists(held_back).not())
            .order_by_asc(outbox_row::Column::LookAt)
            .order_by_asc(outbox_row::Column::EventId)
            .limit(CLAIM_ROWS_MAX)
            .all(&self.db)
            .await
            .map_err(failed("find events to deliver"))?;
        rows.into_iter().map(letter_from_model).collect()
    }

    async fn ahead(&self, row: &Row) -> Result<Ahead, LifecycleError> {
        let models = outbox_row::Entity::find()
            .filter(outbox_row::Column::ReferralId.eq(row.referral_id.as_uuid()))
            .order_by_asc(outbox_row::Column::Sequence)
            .limit(EVENTS_MAX)
            .all(&self.db)
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
        &self,
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
            .filter(outbox_row::Column::EventId.eq(before.event_id.as_uuid()))
            .filter(outbox_row::Column::Fate.eq(fate_to_columns(before.fate).0))
            .filter(outbox_row::Column::Attempts.eq(i64::from(before.attempts)))
            .filter(same_lease)
            .exec(&self.db)
            .await
            .map_err(failed("write outbox row"))?;
        Ok(updated.rows_affected == 1)
    }

    pub(super) async fn dead(
        &self,
        hospital_id: Option<&HospitalId>,
        after: Option<DeadPlace>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, LifecycleError> {
        use outbox_row::Column::{EventId, SettledAt};
        let mut query = outbox_row::Entity::find().filter(outbox_row::Column::Fate.eq(DEAD));
        if let Some(hospital_id) = hospital_id {
            query = query.filter(outbox_row::Column::HospitalId.eq(hospital_id.as_str()));
        }
        if let Some(DeadPlace { dead_at, event_id }) = after {
            let same_time =
                Condition::all().add(SettledAt.eq(dead_at)).add(EventId.gt(event_id.as_uuid()));
            query = query.filter(Condition::any().add(SettledAt.gt(dead_at)).add(same_time));
        }
        let models = query
            .order_by_asc(SettledAt)
            .order_by_asc(EventId)
            .limit(u64::from(limit))
            .all(&self.db)
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
                held_back: self.held_back(&model).await?,
                hospital_id: model.hospital_id.parse().map_err(failed("decode outbox row"))?,
            });
        }
        Ok(letters)
    }

    pub(super) async fn one_posted(
        &self,
        event_id: EventId,
    ) -> Result<Option<Posted>, LifecycleError> {
        let model = outbox_row::Entity::find_by_id(event_id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read outbox row"))?;
        let Some(model) = model else { return Ok(None) };
        let held_back = self.held_back(&model).await?;
        let (row, event) = (row_from_model(&model)?, envelope_from_model(&model)?);
        Ok(Some(Posted { row, event, held_back }))
    }

    /// A referral has at most [`EVENTS_MAX`] rows.
    async fn held_back(&self, model: &outbox_row::Model) -> Result<u32, LifecycleError> {
        let count = outbox_row::Entity::find()
            .filter(outbox_row::Column::ReferralId.eq(model.referral_id))
            .filter(outbox_row::Column::Sequence.gt(model.sequence))
            .filter(outbox_row::Column::Fate.eq(PENDING))
            .count(&self.db)
            .await
            .map_err(failed("count events held back"))?;
        u32::try_from(count).map_err(failed("count events held back"))
    }
}
