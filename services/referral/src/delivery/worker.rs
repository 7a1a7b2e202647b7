//! The worker: claims, sends, settles. Any number of replicas may run one.

use std::time::Duration;

use neurotriage_service_kit::status::chain;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Delivery, SendError};
use crate::lifecycle::{
    LifecycleError,
    changes::Listener,
    now,
    outbox::{Fate, Letter, Outcome, Row},
    store::OutboxStore,
};

/// Most events that are being sent at a time; each is of another referral. A hospital's system need
/// not stand more.
const SENDING_MAX: usize = 8;

/// How often is looked for events of other replicas, and for those whose wait is over. A look reads
/// one index.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait after the database failed.
const ERROR_WAIT: Duration = Duration::from_secs(5);

/// Delivers until `stop`, then finishes what it is sending and returns.
///
/// `listener` hears of the events that this process writes.
pub async fn run<S: OutboxStore>(
    store: S,
    delivery: Delivery,
    mut listener: Listener,
    stop: CancellationToken,
) {
    let mut sending: JoinSet<()> = JoinSet::new();
    while !stop.is_cancelled() {
        let wait = match start(&store, &delivery, &mut sending).await {
            Ok(()) => POLL,
            Err(error) => {
                tracing::error!(error = %chain(&error), "claim events to deliver");
                ERROR_WAIT
            }
        };
        let full = sending.len() >= SENDING_MAX;
        tokio::select! {
            () = stop.cancelled() => {}
            // The next event of the same referral may be due now.
            Some(ended) = sending.join_next() => log_panic(ended),
            () = listener.heard(|_| true), if !full => {}
            () = tokio::time::sleep(wait), if !full => {}
        }
    }
    while let Some(ended) = sending.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    // The event is taken up again when its lease is over.
    if let Err(error) = ended {
        tracing::error!(%error, "delivery of an event broke off");
    }
}

/// Claims as many events as there is room for and starts to send them.
async fn start<S: OutboxStore>(
    store: &S,
    delivery: &Delivery,
    sending: &mut JoinSet<()>,
) -> Result<(), LifecycleError> {
    let room = SENDING_MAX.saturating_sub(sending.len());
    if room == 0 || !delivery.sink.is_ready() {
        return Ok(());
    }
    let claimed = store.claim(&delivery.policy, room, now()).await?;
    for row in &claimed.dead {
        log_dead(row);
    }
    for letter in claimed.letters {
        sending.spawn(deliver(store.clone(), delivery.clone(), letter));
    }
    Ok(())
}

async fn deliver<S: OutboxStore>(store: S, delivery: Delivery, letter: Letter) {
    let Delivery { sink, policy } = delivery;
    let attempt_timeout = policy.settings().attempt_timeout;
    let event_id = letter.row.event_id;
    let sent = match timeout(attempt_timeout, sink.send(&letter)).await {
        Ok(sent) => sent,
        Err(_) => Err(SendError::failed("no answer in time")),
    };
    let outcome = match &sent {
        Ok(()) => Outcome::Delivered,
        Err(SendError::Failed { retry_after, .. }) => Outcome::Failed { retry_after: *retry_after },
        Err(SendError::Refused { .. }) => Outcome::Refused,
    };
    if let Err(error) = &sent {
        let attempts = letter.row.attempts;
        tracing::warn!(%event_id, attempts, %error, "event not delivered");
    }
    match store.settle(&letter.hospital_id, &letter.row, outcome, &policy, now()).await {
        Ok(Some(row)) => log_dead(&row),
        Ok(None) => tracing::warn!(%event_id, "another worker took the event over"),
        // It is sent once more when the lease is over.
        Err(error) => tracing::error!(%event_id, error = %chain(&error), "settle event"),
    }
}

fn log_dead(row: &Row) {
    if let Fate::Dead { cause, .. } = row.fate {
        let (event_id, attempts) = (row.event_id, row.attempts);
        tracing::error!(%event_id, %cause, attempts, "event given up; it holds back its referral");
    }
}
