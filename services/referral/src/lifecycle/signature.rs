//! Signs the body of a webhook, and verifies such a signature.
//!
//! HMAC-SHA256 over `timestamp.body`, sent as `t=<seconds>,v1=<hex>[,v1=<hex>…]`: one `v1` for each
//! secret, so that sender and receiver can change secrets at different times. The scheme is that
//! of Stripe (docs.stripe.com/webhooks, "Verify webhook signatures manually").
//!
//! A signature proves who sent a body and about when, not that it comes for the first time:
//! receivers drop event ids that they have seen.

use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use time::OffsetDateTime;

/// Name of the header that carries the signature.
pub const SIGNATURE_HEADER: &str = "neurotriage-signature";

/// How far the clock of a receiver may differ from the time of signing. Stripe's default.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_secs(300);

/// Shortest secret, in bytes: the output of SHA-256 (RFC 2104, section 3: shorter keys weaken it).
pub const SECRET_BYTES_MIN: usize = 32;

/// Most secrets at once: the old, the new, and one for a change that was broken off.
pub const SECRETS_MAX: usize = 3;

/// Most signatures that are looked at: each costs a comparison for each secret.
pub const SIGNATURES_MAX: usize = 8;

/// Longest header, in bytes: [`SIGNATURES_MAX`] signatures and as much again.
pub const HEADER_BYTES_MAX: usize = 1024;

/// Longest timestamp, in digits: enough for 30 000 years.
const TIMESTAMP_DIGITS_MAX: usize = 12;

type HmacSha256 = Hmac<Sha256>;

/// Why secrets are not taken. Never shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecrets {
    /// There are none, or more than [`SECRETS_MAX`].
    #[error("{count} secrets; expected 1 to {SECRETS_MAX}")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// One is shorter than [`SECRET_BYTES_MIN`].
    #[error("secret {position} has fewer than {SECRET_BYTES_MIN} bytes")]
    TooShort {
        /// Which one, from 1.
        position: usize,
    },
}

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is not of the form `t=…,v1=…`.
    #[error("signature header is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// No signature in it is of a secret that is held.
    #[error("signature does not match")]
    Mismatch,
    /// It was right, but long ago or is dated ahead.
    #[error("signature is {distance_seconds} s away from now; tolerated are {tolerance_seconds} s")]
    OutOfTolerance {
        /// How far, in seconds.
        distance_seconds: u64,
        /// How far is tolerated, in seconds.
        tolerance_seconds: u64,
    },
}

/// The secrets that sign and verify. `Debug` shows how many.
///
/// Invariant: 1 to [`SECRETS_MAX`] of them.
#[derive(Clone)]
pub struct Secrets(Vec<HmacSha256>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Returns the secrets; their bytes as they are written are the keys.
    ///
    /// # Errors
    /// [`InvalidSecrets`] if there are none or too many, or one is too short.
    pub fn new(secrets: &[SecretString]) -> Result<Self, InvalidSecrets> {
        let count = secrets.len();
        if count == 0 || count > SECRETS_MAX {
            return Err(InvalidSecrets::Count { count });
        }
        let mut keyed = Vec::with_capacity(count);
        for (secret, position) in secrets.iter().zip(1..) {
            let key = secret.expose_secret().as_bytes();
            if key.len() < SECRET_BYTES_MIN {
                return Err(InvalidSecrets::TooShort { position });
            }
            // HMAC takes keys of any length; its only error is a length.
            keyed.push(
                HmacSha256::new_from_slice(key)
                    .map_err(|_| InvalidSecrets::TooShort { position })?,
            );
        }
        Ok(Self(keyed))
    }

    /// Returns the value of [`SIGNATURE_HEADER`] for `body`, signed at `now` with every secret.
    pub fn sign(&self, body: &[u8], now: OffsetDateTime) -> String {
        let timestamp = now.unix_timestamp().max(0).to_string();
        let mut header = format!("t={timestamp}");
        for keyed in &self.0 {
            let digest = message(keyed, &timestamp, body).finalize().into_bytes();
            header.push_str(",v1=");
            header.push_str(&hex::encode(digest));
        }
        header
    }

    /// Returns when `body` was signed, if `header` holds a signature of one of these secrets that
    /// is at most `tolerance` older or newer than `now`, in whole seconds.
    ///
    /// Every signature is compared with every secret in constant time, a match or not. Members of
    /// other names than `t` and `v1` are passed over, so that a later scheme can be added; they
    /// never count as a signature.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`], [`SignatureError::Mismatch`],
    /// [`SignatureError::OutOfTolerance`].
    pub fn verify(
        &self,
        header: &str,
        body: &[u8],
        tolerance: Duration,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SignatureError> {
        let Header { timestamp, seconds, signatures } = parse(header)?;
        let signed_at = OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| SignatureError::Malformed { what: "timestamp is out of range" })?;
        let mut matches = false;
        for keyed in &self.0 {
            let expected = message(keyed, timestamp, body);
            for signature in &signatures {
                matches |= expected.clone().verify_slice(signature).is_ok();
            }
        }
        if !matches {
            return Err(SignatureError::Mismatch);
        }
        let distance_seconds = now.unix_timestamp().abs_diff(seconds);
        let tolerance_seconds = tolerance.as_secs();
        if distance_seconds > tolerance_seconds {
            return Err(SignatureError::OutOfTolerance { distance_seconds, tolerance_seconds });
        }
        Ok(signed_at)
    }
}

fn message(keyed: &HmacSha256, timestamp: &str, body: &[u8]) -> HmacSha256 {
    keyed.clone().chain_update(timestamp).chain_update(b".").chain_update(body)
}

struct Header<'a> {
    /// As it was sent: what was signed is text.
    timestamp: &'a str,
    seconds: i64,
    signatures: Vec<[u8; 32]>,
}

fn parse(header: &str) -> Result<Header<'_>, SignatureError> {
    let malformed = |what| SignatureError::Malformed { what };
    if header.len() > HEADER_BYTES_MAX {
        return Err(malformed("too long"));
    }
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for member in header.split(',') {
        let (name, value) = member.trim().split_once('=').ok_or(malformed("member without `=`"))?;
        match name {
            "t" if timestamp.is_some() => return Err(malformed("two timestamps")),
            "t" => timestamp = Some(value),
            "v1" => {
                let mut signature = [0_u8; 32];
                hex::decode_to_slice(value, &mut signature)
                    .map_err(|_| malformed("signature is not 64 hexadecimal digits"))?;
                signatures.push(signature);
            }
            _ => {}
        }
    }
    if signatures.is_empty() {
        return Err(malformed("no signature"));
    }
    if signatures.len() > SIGNATURES_MAX {
        return Err(malformed("too many signatures"));
    }
    let timestamp = timestamp.ok_or(malformed("no timestamp"))?;
    // Looked at first: the number parser would take a sign.
    let digits = timestamp.bytes().all(|letter| letter.is_ascii_digit());
    if !digits || timestamp.len() > TIMESTAMP_DIGITS_MAX {
        return Err(malformed("timestamp is not a number of seconds"));
    }
    let seconds =
        timestamp.parse().map_err(|_| malformed("timestamp is not a number of seconds"))?;
    Ok(Header { timestamp, seconds, signatures })
}

#[cfg(test)]
mod tests;
