//! The issuer's keys: read from a file or an address, kept, and read again.
//!
//! - Keys are read again after [`KeyTimes::refresh_after`], beside the calls, which go on with what is there. After
//!   twice that time, when no call came by, the next one waits for it.
//! - A token of a key that is not there makes them be read at once, and the call waits for it.
//! - There is one reading at a time, and at least [`KeyTimes::attempt_gap`] between two, whatever tokens come.
//! - A reading that fails leaves the keys as they are, until [`KeyTimes::stale_max`] after the last that did
//!   not. Then no token is taken.
//! - A document without keys is no failure: its issuer has taken all back, and no token is taken.

use std::{
    fmt,
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Instant, timeout},
};

use crate::{
    error::AccessError,
    jwks::{
        DOCUMENT_BYTES_MAX, DocumentError, KeySet, Lookup, SignatureAlgorithm, VerificationKey,
    },
};

/// A future of a trait that is used as an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// Why a document could not be had.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Fetches documents over HTTPS: what a program gives its HTTP client for.
pub trait FetchDocument: fmt::Debug + Send + Sync {
    /// Returns the body that `url` answers with status 200.
    ///
    /// Checks the server's certificate, follows no redirect, and stops reading above `bytes_max`, which is an
    /// error. The caller limits the time.
    ///
    /// # Errors
    /// If there is no such answer.
    fn fetch<'a>(
        &'a self,
        url: &'a str,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FetchError>>;
}

/// Where the key document is.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file, such as a mounted secret that is exchanged in place.
    File(PathBuf),
    /// An `https` address and what fetches it.
    Url(String, Arc<dyn FetchDocument>),
}

impl KeySource {
    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        match self {
            Self::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                let mut document = Vec::new();
                // One byte more than is taken, so that a larger file is not cut unseen.
                file.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut document).await?;
                Ok(document)
            }
            Self::Url(url, fetcher) => fetcher.fetch(url, DOCUMENT_BYTES_MAX).await,
        }
    }
}

/// When keys are read again, and how long they are good.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// Age from which they are read again. A key that was taken back may still be used for twice as long.
    pub refresh_after: Duration,
    /// Age from which they are no longer used.
    pub stale_max: Duration,
    /// Shortest time between two readings: how long a new key may be unknown.
    pub attempt_gap: Duration,
    /// Longest time of one reading.
    pub fetch_timeout: Duration,
}

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file or address did not give a document.
    #[error("read key document")]
    Fetch(#[source] FetchError),
    /// The document is not taken.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Nobody's token could be checked.
    #[error("key document has no key for RS256, ES256 or EdDSA")]
    Empty,
}

/// The keys of one issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: KeySource,
    times: KeyTimes,
    state: Mutex<State>,
    /// Held by the one who reads.
    reading: Arc<AsyncMutex<()>>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<KeySet>,
    /// When `keys` were read; `None` before the first time.
    read_at: Option<Instant>,
    /// When reading was last begun.
    attempted_at: Option<Instant>,
    /// Whether the last reading that ended has failed.
    attempt_failed: bool,
}

impl Keys {
    /// Returns the keys of `source`; none is read yet.
    pub fn new(source: KeySource, times: KeyTimes) -> Self {
        let state = State {
            keys: Arc::default(),
            read_at: None,
            attempted_at: None,
            attempt_failed: false,
        };
        Self(Arc::new(Shared {
            source,
            times,
            state: Mutex::new(state),
            reading: Arc::new(AsyncMutex::new(())),
        }))
    }

    /// Reads the keys for the first time.
    ///
    /// # Errors
    /// Every [`ReadError`]. They may be had later all the same.
    pub async fn read(&self) -> Result<(), ReadError> {
        let guard = Arc::clone(&self.0.reading).lock_owned().await;
        self.0.read(&guard).await?;
        if self.0.state().keys.is_empty() {
            return Err(ReadError::Empty);
        }
        Ok(())
    }

    /// Returns the key for a token's header.
    ///
    /// # Errors
    /// [`AccessError::KeyUnknown`], [`AccessError::AlgorithmRefused`] if the key is for another algorithm, and
    /// [`AccessError::KeysUnavailable`] if there are none or they are too old, or if the key is not among them and
    /// they could not be read again.
    pub async fn find(
        &self,
        key_id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Result<VerificationKey, AccessError> {
        if let Some(found) = self.0.look_up(key_id, algorithm)
            && !self.0.is_overdue()
        {
            self.refresh_beside();
            return found;
        }
        self.refresh().await;
        match self.0.look_up(key_id, algorithm) {
            Some(found) => found,
            None if self.0.is_reading_failing() => Err(AccessError::KeysUnavailable),
            None => Err(AccessError::KeyUnknown),
        }
    }

    /// Reads the keys if they are old, without waiting for it.
    fn refresh_beside(&self) {
        if !self.0.is_old() || !self.0.is_attempt_due() {
            return;
        }
        // Somebody reads already if it is taken.
        if let Ok(guard) = Arc::clone(&self.0.reading).try_lock_owned() {
            let shared = Arc::clone(&self.0);
            tokio::spawn(async move { shared.read_if_due(guard).await });
        }
    }

    /// Reads the keys, or waits for the one who does.
    async fn refresh(&self) {
        if !self.0.is_attempt_due() && !self.0.is_being_read() {
            return;
        }
        // In a task of its own: a caller that goes must not end the reading, for the next one is far.
        let shared = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let guard = Arc::clone(&shared.reading).lock_owned().await;
            shared.read_if_due(guard).await;
        });
        // It fails only when the program ends.
        let _ = task.await;
    }
}

impl Shared {
    /// Returns a copy; the lock is never held for longer.
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns what the keys say that are still good, or nothing if others must be read.
    fn look_up(
        &self,
        key_id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Option<Result<VerificationKey, AccessError>> {
        let state = self.state();
        if state.read_at.is_none_or(|at| at.elapsed() > self.times.stale_max) {
            return None;
        }
        match state.keys.find(key_id, algorithm) {
            Lookup::Found(key) => Some(Ok(*key)),
            Lookup::OtherAlgorithm => Some(Err(AccessError::AlgorithmRefused)),
            Lookup::Unknown => None,
        }
    }

    fn is_old(&self) -> bool {
        self.state().read_at.is_none_or(|at| at.elapsed() > self.times.refresh_after)
    }

    /// Tells keys that nobody tried to read again in time from those whose issuer is away.
    fn is_overdue(&self) -> bool {
        let state = self.state();
        !state.attempt_failed
            && state.read_at.is_none_or(|at| at.elapsed() > 2 * self.times.refresh_after)
    }

    fn is_attempt_due(&self) -> bool {
        self.state().attempted_at.is_none_or(|at| at.elapsed() >= self.times.attempt_gap)
    }

    fn is_being_read(&self) -> bool {
        self.reading.try_lock().is_err()
    }

    fn is_reading_failing(&self) -> bool {
        self.state().attempt_failed
    }

    async fn read_if_due(&self, guard: OwnedMutexGuard<()>) {
        if !self.is_attempt_due() {
            return;
        }
        if let Err(error) = self.read(&guard).await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, "keys of the token issuer could not be read again");
        }
    }

    async fn read(&self, one_at_a_time: &OwnedMutexGuard<()>) -> Result<(), ReadError> {
        self.change(|state| state.attempted_at = Some(Instant::now()));
        let read = self.replace(one_at_a_time).await;
        self.change(|state| state.attempt_failed = read.is_err());
        read
    }

    async fn replace(&self, _one_at_a_time: &OwnedMutexGuard<()>) -> Result<(), ReadError> {
        let document = match timeout(self.times.fetch_timeout, self.source.read()).await {
            Ok(document) => document.map_err(ReadError::Fetch)?,
            Err(_) => {
                return Err(ReadError::Fetch(Box::new(io::Error::from(io::ErrorKind::TimedOut))));
            }
        };
        let keys = KeySet::parse(&document)?;
        if keys.is_empty() {
            tracing::warn!("token issuer publishes no key for RS256, ES256 or EdDSA");
        }
        self.change(|state| {
            state.keys = Arc::new(keys);
            state.read_at = Some(Instant::now());
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
