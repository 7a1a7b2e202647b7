//! Watching: events as they occur, whichever replica made them.
//!
//! A watch looks at the database, at once when this process made a change that concerns it and else
//! every other second. It reads on only when its caller took what it read: nothing piles up.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use neurotriage_domain::{HospitalId, ReferralId};
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{
    LifecycleError,
    changes::{Changed, Listener},
    event::EventEnvelope,
    store::{EventPlace, LifecycleStore},
};

/// How long a change by another replica may stay unseen. A look reads one index.
const POLL: Duration = Duration::from_secs(2);

/// How far back a look at a hospital reads: by how much the clocks of two replicas may differ, plus
/// the time from an event's stamp to its commit. What comes later than that is missed; the
/// sequence numbers show it.
const OVERLAP: Duration = Duration::from_secs(30);

/// Most events that one query returns.
const PAGE: u32 = 200;

/// Most events of a hospital that one look hands on before the caller takes them.
const READY_MAX: usize = 1_000;

/// Most referrals of a hospital that may move within [`OVERLAP`].
const REFERRALS_MAX: usize = 10_000;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One referral.
    Referral {
        /// Which.
        referral_id: ReferralId,
        /// Only events after this number.
        after_sequence: u64,
    },
    /// Every referral to a hospital, from now on.
    Hospital(HospitalId),
}

#[derive(Debug)]
enum Cursor {
    Referral { referral_id: ReferralId, after_sequence: u64 },
    Hospital { hospital_id: HospitalId, looked_at: OffsetDateTime, sent: Sent },
}

/// Last event sent of each referral that moved lately, with its time.
type Sent = HashMap<ReferralId, (u64, OffsetDateTime)>;

/// One caller's watch. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Watch<S> {
    store: S,
    call: Call,
    cursor: Cursor,
    ready: VecDeque<EventEnvelope>,
    listener: Listener,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl<S: LifecycleStore> Watch<S> {
    /// Begins a watch of a hospital. `listener` must have been made before.
    pub(super) async fn begin(
        store: S,
        call: Call,
        watched: Watched,
        listener: Listener,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, LifecycleError> {
        let cursor = match watched {
            Watched::Referral { referral_id, after_sequence } => {
                Cursor::Referral { referral_id, after_sequence }
            }
            Watched::Hospital(hospital_id) => {
                let looked_at = OffsetDateTime::now_utc();
                let mut sent = Sent::new();
                // What is there already counts as sent.
                let of = [&call.hospital_id, &hospital_id];
                while !look(&store, of, looked_at, &mut sent, &mut VecDeque::new()).await? {}
                Cursor::Hospital { hospital_id, looked_at, sent }
            }
        };
        let ready = VecDeque::new();
        Ok(Self { store, call, cursor, ready, listener, stop, _place: place })
    }

    /// Returns the next event, once there is one. May be dropped and called again.
    ///
    /// # Errors
    /// [`LifecycleError::Stopping`] when the service ends; [`LifecycleError::WatchOverrun`];
    /// [`LifecycleError::Call`] when the caller's token expires; [`LifecycleError::Store`]. The watch is then over.
    pub async fn next(&mut self) -> Result<EventEnvelope, LifecycleError> {
        loop {
            if self.stop.is_cancelled() {
                return Err(LifecycleError::Stopping);
            }
            self.call.check_expiry()?;
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            self.look().await?;
            if !self.ready.is_empty() {
                continue;
            }
            let Self { cursor, listener, stop, .. } = self;
            tokio::select! {
                () = stop.cancelled() => {}
                () = listener.heard(|changed| cursor.concerns(changed)) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), LifecycleError> {
        match &mut self.cursor {
            Cursor::Referral { referral_id, after_sequence } => {
                let events = self
                    .store
                    .events(&self.call.hospital_id, *referral_id, *after_sequence, PAGE)
                    .await?;
                if let Some(last) = events.last() {
                    *after_sequence = last.sequence;
                }
                self.ready.extend(events);
            }
            Cursor::Hospital { hospital_id, looked_at, sent } => {
                let now = OffsetDateTime::now_utc();
                let of = [&self.call.hospital_id, &*hospital_id];
                if look(&self.store, of, *looked_at, sent, &mut self.ready).await? {
                    *looked_at = now;
                }
            }
        }
        Ok(())
    }
}

impl Cursor {
    fn concerns(&self, changed: &Changed) -> bool {
        match self {
            Self::Referral { referral_id, .. } => changed.referral_id == *referral_id,
            Self::Hospital { hospital_id, .. } => changed.hospital_id == *hospital_id,
        }
    }
}

/// Adds to `ready` what is new since shortly before `looked_at`. Returns false if there is more.
async fn look(
    store: &impl LifecycleStore,
    [watcher, receiver]: [&HospitalId; 2],
    looked_at: OffsetDateTime,
    sent: &mut Sent,
    ready: &mut VecDeque<EventEnvelope>,
) -> Result<bool, LifecycleError> {
    let since = looked_at - OVERLAP;
    // No query returns these again.
    sent.retain(|_, (_, occurred_at)| *occurred_at >= since);
    let mut after = None;
    loop {
        let events = store.events_of_hospital(watcher, receiver, since, after, PAGE).await?;
        let is_last = events.len() < PAGE as usize;
        for event in events {
            let EventEnvelope { occurred_at, referral_id, sequence, .. } = event;
            after = Some(EventPlace { occurred_at, referral_id, sequence });
            let known = sent.get(&referral_id).is_some_and(|(last, _)| *last >= sequence);
            if known {
                continue;
            }
            if sent.len() >= REFERRALS_MAX && !sent.contains_key(&referral_id) {
                return Err(LifecycleError::WatchOverrun);
            }
            sent.insert(referral_id, (sequence, occurred_at));
            ready.push_back(event);
        }
        if is_last {
            return Ok(true);
        }
        if ready.len() >= READY_MAX {
            return Ok(false);
        }
    }
}
