//! Tells this process that a referral moved, so that nobody waits for the next look at the database.
//!
//! Other replicas are not told: whoever listens must look by itself from time to time.

use neurotriage_domain::{HospitalId, ReferralId};
use tokio::sync::broadcast;

/// Most changes that a listener may be behind before it is only told that something changed.
const CHANGES_MAX: usize = 256;

/// That a referral moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which one.
    pub referral_id: ReferralId,
    /// To whom it goes.
    pub hospital_id: HospitalId,
}

/// Tells listeners of changes. Clones tell the same listeners.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Changed>);

/// Hears of changes made after it was made.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Changed>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(CHANGES_MAX))
    }
}

impl Changes {
    /// Tells everyone who listens.
    pub fn tell(&self, changed: Changed) {
        // Fails only if nobody listens.
        let _ = self.0.send(changed);
    }

    /// Returns a listener.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
    /// Completes when something has changed that `concerns` the caller, or may have. May be dropped
    /// and called again.
    pub async fn heard(&mut self, concerns: impl Fn(&Changed) -> bool) {
        loop {
            match self.0.recv().await {
                Ok(changed) if concerns(&changed) => break,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => break,
                // Nobody is left who could change anything here.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
        // What has been told meanwhile is found by the same look.
        while !matches!(
            self.0.try_recv(),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
        ) {}
    }
}
