//! How long to wait between attempts, and when to give up.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use neurotriage_domain::EventId;

/// Longest duration that a policy may hold: 30 days. Keeps every sum of times in range.
const DURATION_MAX: Duration = Duration::from_hours(30 * 24);

/// Times and limits of delivery, as settings give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// Longest wait after the first failed attempt.
    pub backoff_first: Duration,
    /// Longest wait after any attempt.
    pub backoff_max: Duration,
    /// Attempts before an event is a dead letter.
    pub attempts_max: u32,
    /// Age after which an event that was tried is a dead letter. Counts from when its turn came.
    pub age_max: Duration,
    /// Longest time that one attempt may take.
    pub attempt_timeout: Duration,
    /// How long a worker holds an event; longer than an attempt by the difference of the clocks of
    /// two workers.
    pub lease: Duration,
}

/// Why settings make no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// A time is zero or longer than 30 days.
    #[error("{setting} must lie between zero and 30 days")]
    OutOfRange {
        /// Which one.
        setting: &'static str,
    },
    /// There would be no attempt.
    #[error("attempts_max must be 1 or more")]
    NoAttempts,
    /// The first wait is longer than the longest.
    #[error("backoff_first must not be longer than backoff_max")]
    BackoffOrder,
    /// A second worker would begin before the first has given up.
    #[error("lease must be longer than attempt_timeout")]
    LeaseTooShort,
}

/// Times and limits of delivery.
///
/// Invariant: every time is above zero and at most 30 days, `backoff_first <= backoff_max`,
/// `attempts_max >= 1`, `attempt_timeout < lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(PolicySettings);

impl Default for Policy {
    /// Returns a policy for a hospital's system that may be away over a long weekend: first wait
    /// 5 s, doubled up to 6 h, 24 attempts, 72 h; 15 s an attempt, 60 s a lease.
    fn default() -> Self {
        Self(PolicySettings {
            backoff_first: Duration::from_secs(5),
            backoff_max: Duration::from_hours(6),
            attempts_max: 24,
            age_max: Duration::from_hours(72),
            attempt_timeout: Duration::from_secs(15),
            lease: Duration::from_secs(60),
        })
    }
}

impl Policy {
    /// Returns the policy of `settings`.
    ///
    /// # Errors
    /// [`InvalidPolicy`] says what is wrong.
    pub fn new(settings: PolicySettings) -> Result<Self, InvalidPolicy> {
        let times = [
            ("backoff_first", settings.backoff_first),
            ("backoff_max", settings.backoff_max),
            ("age_max", settings.age_max),
            ("attempt_timeout", settings.attempt_timeout),
            ("lease", settings.lease),
        ];
        for (setting, time) in times {
            if time.is_zero() || time > DURATION_MAX {
                return Err(InvalidPolicy::OutOfRange { setting });
            }
        }
        if settings.attempts_max == 0 {
            return Err(InvalidPolicy::NoAttempts);
        }
        if settings.backoff_first > settings.backoff_max {
            return Err(InvalidPolicy::BackoffOrder);
        }
        if settings.lease <= settings.attempt_timeout {
            return Err(InvalidPolicy::LeaseTooShort);
        }
        Ok(Self(settings))
    }

    /// Returns the settings it was made of.
    pub fn settings(&self) -> &PolicySettings {
        &self.0
    }

    /// Returns how long to wait after attempt number `attempts` of an event; zero before the first.
    ///
    /// `min(backoff_max, backoff_first · 2^(attempts - 1)) · (1 + u) / 2` with `u` in `0..1`, the
    /// first 8 bytes of SHA-256 over the event id and the attempt number: events that failed
    /// together do not come back together, and a test or a second worker computes the same time.
    ///
    /// # Source
    /// "Equal jitter" of Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    /// Ours: `u` from a hash and not from a generator.
    pub fn backoff(&self, event_id: EventId, attempts: u32) -> Duration {
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let longest = self.0.backoff_first.saturating_mul(factor).min(self.0.backoff_max);
        let mut hash = Sha256::new();
        hash.update(event_id.as_uuid().as_bytes());
        hash.update(attempts.to_be_bytes());
        let digest = hash.finalize();
        let share = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let half = longest / 2;
        // Shifting by 64 takes the share as a fraction of one; 30 days of nanoseconds fit twice.
        let part = (half.as_nanos() * u128::from(share)) >> 64;
        half + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }
}
