//! Events, for those who list them and those who watch.

use neurotriage_audit::{Action, Detail};
use neurotriage_domain::{EventId, HospitalId, ReferralId};
use neurotriage_service_kit::audit::{Call, Unit};
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait as _},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    SqlLifecycleStore, event_row, failed, ids_known_to, kind, known_to, referral_row, rows,
};
use crate::lifecycle::{
    LifecycleError,
    event::EventEnvelope,
    referral::{MoveKind, State},
    store::EventPlace,
};

impl SqlLifecycleStore {
    /// Begins a unit in which events of a referral are searched, and returns whose chain it ends in.
    pub(super) async fn begin_search<'a>(
        &'a self,
        call: &'a Call,
        referral_id: ReferralId,
    ) -> Result<(Unit<'a>, Uuid), LifecycleError> {
        let (action, kind, id) = (Action::Read, kind::REFERRAL, Some(referral_id.as_uuid()));
        let mut unit = self.ledger.audit.begin(call).await?;
        let known = referral_row::Entity::find_by_id(referral_id.as_uuid())
            .filter(known_to(&call.hospital_id))
            .one(unit.transaction())
            .await
            .map_err(failed("read referral"))?;
        let Some(known) = known else {
            let error = LifecycleError::NotFound { referral_id };
            return Err(unit.refuse(action, kind, id, error).await);
        };
        if let Err(error) = call.check_patient(known.patient_id.into()) {
            return Err(unit.refuse(action, kind, id, error.into()).await);
        }
        let revision = Detail::none().revision(known.revision.unsigned_abs());
        unit.note(action, kind, id, revision)?;
        Ok((unit, known.patient_id))
    }
}

/// Notes events that are shown, and the search that found them.
pub(super) fn note(
    unit: &mut Unit<'_>,
    shown: impl Iterator<Item = EventId>,
    by: &[&'static str],
) -> Result<(), LifecycleError> {
    let mut count = 0;
    for event_id in shown {
        unit.note(Action::Read, kind::EVENT, Some(event_id.as_uuid()), Detail::none())?;
        count += 1;
    }
    let detail = if by.is_empty() { Detail::none() } else { Detail::none().fields(by) };
    unit.note(Action::Search, kind::EVENT, None, detail.count(count))?;
    Ok(())
}

/// Returns at most `limit` events of a referral that is known to a hospital, after number `after_sequence`, in order.
pub(super) async fn of_referral(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    referral_id: ReferralId,
    after_sequence: u64,
    limit: u64,
) -> Result<Vec<EventEnvelope>, LifecycleError> {
    // No referral has events beyond what the column holds.
    let after = i64::try_from(after_sequence).unwrap_or(i64::MAX);
    let one = Expr::col(referral_row::Column::ReferralId).eq(referral_id.as_uuid());
    let known = ids_known_to(hospital_id).and_where(one).to_owned();
    let rows = event_row::Entity::find()
        .filter(event_row::Column::ReferralId.in_subquery(known))
        .filter(event_row::Column::Revision.gt(after))
        .order_by_asc(event_row::Column::Revision)
        .limit(limit)
        .all(transaction)
        .await
        .map_err(failed("list referral events"))?;
    rows.into_iter().map(rows::envelope_from_row).collect()
}

/// Returns at most `limit` events that concern `receiver`, of referrals known to a hospital, by time.
pub(super) async fn of_hospital(
    transaction: &DatabaseTransaction,
    hospital_id: &HospitalId,
    receiver: &HospitalId,
    since: OffsetDateTime,
    after: Option<EventPlace>,
    limit: u32,
) -> Result<Vec<EventEnvelope>, LifecycleError> {
    // Referrals first: their index leads to the few that moved, and to no other events.
    let moved = ids_known_to(hospital_id)
        .and_where(Expr::col(referral_row::Column::HospitalId).eq(receiver.as_str()))
        .and_where(Expr::col(referral_row::Column::UpdatedAt).gte(since))
        .to_owned();
    let not_of_a_draft = Condition::any()
        .add(event_row::Column::FromState.ne(State::Draft.as_str()))
        .add(event_row::Column::Kind.eq(MoveKind::Request.as_str()));
    let mut query = event_row::Entity::find()
        .filter(event_row::Column::ReferralId.in_subquery(moved))
        .filter(event_row::Column::OccurredAt.gte(since))
        .filter(not_of_a_draft);
    if let Some(after) = after {
        query = query.filter(later_than(after)?);
    }
    let rows = query
        .order_by_asc(event_row::Column::OccurredAt)
        .order_by_asc(event_row::Column::ReferralId)
        .order_by_asc(event_row::Column::Revision)
        .limit(u64::from(limit))
        .all(transaction)
        .await
        .map_err(failed("list events of hospital"))?;
    rows.into_iter().map(rows::envelope_from_row).collect()
}

/// True of events that come after `place` in the order of time, referral and revision.
fn later_than(place: EventPlace) -> Result<Condition, LifecycleError> {
    use event_row::Column::{OccurredAt, ReferralId, Revision};
    let revision = i64::try_from(place.sequence).map_err(failed("encode place of event"))?;
    let referral_id = place.referral_id.as_uuid();
    let same_referral = Condition::all().add(ReferralId.eq(referral_id)).add(Revision.gt(revision));
    let same_time = Condition::all()
        .add(OccurredAt.eq(place.occurred_at))
        .add(Condition::any().add(ReferralId.gt(referral_id)).add(same_referral));
    Ok(Condition::any().add(OccurredAt.gt(place.occurred_at)).add(same_time))
}
