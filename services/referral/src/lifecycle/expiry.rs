//! Closes referrals that nobody answered before their deadline.
//!
//! Moves check the deadline by themselves: how often this runs decides only when the event comes.

use std::time::Duration;

use neurotriage_service_kit::status::chain;
use tokio_util::sync::CancellationToken;

use super::{Lifecycle, store::LifecycleStore};

/// How often is looked for what is due. Deadlines are hours; a look reads one index.
const INTERVAL: Duration = Duration::from_secs(15);

/// Most referrals that one look closes; the next follows at once if it closed as many.
const BATCH: u32 = 100;

/// Closes what is due until `stop`.
pub async fn run<S: LifecycleStore>(lifecycle: Lifecycle<S>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let more = match lifecycle.expire(BATCH).await {
            Ok(closed) => closed >= BATCH as usize,
            Err(error) => {
                tracing::error!(error = %chain(&error), "expire referrals");
                false
            }
        };
        if more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
