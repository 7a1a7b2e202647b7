//! Keys by id, from a text that a file or a secret setting holds.
//!
//! The text has one key a line, or several on a line parted by commas:
//!
//! ```text
//! # use:id:state:secret
//! seal:2026-05:retired:q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=
//! seal:2026-11:active:mrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8SNFZ4k=
//! index:2026-05:active:...
//! audit:2026-05:active:...
//! ```
//!
//! The secret is 32 random bytes in base64 (`openssl rand -base64 32`). What follows `#` on a line
//! is left out. Of each use that is there, one key is active: it writes. Retired keys only read.

use std::{
    fmt,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// Length of a key: that of XChaCha20-Poly1305, and the output of SHA-256.
pub const KEY_BYTES: usize = 32;
/// Longest text of a keyring.
pub const KEYRING_BYTES_MAX: usize = 64 * 1024;
/// Most keys of a keyring; rotating monthly, five years of three uses.
pub const KEYS_MAX: usize = 180;
/// Longest key id.
const KEY_ID_BYTES_MAX: usize = 32;
/// Fewest different bytes of a secret. 32 random ones have fewer less than once in 10^24.
const DISTINCT_BYTES_MIN: usize = 12;

/// Standard base64, with or without padding: secrets are pasted by people.
const SECRET: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a key is for. A key has one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyUse {
    /// Encrypts columns.
    Seal,
    /// Makes the hashes that a search compares.
    Index,
    /// Signs the heads and checkpoints of the audit chains.
    Audit,
}

impl KeyUse {
    const ALL: [Self; 3] = [Self::Seal, Self::Index, Self::Audit];

    /// Returns the word for it in a keyring.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Index => "index",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Name of a key: 1 to 32 of `a-z`, `0-9`, `-` and `_`. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Returns the id, or `None` if `text` is none.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        let right = (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        right.then(|| Self(text.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One key. Its memory is overwritten when it is dropped.
pub struct Key {
    id: KeyId,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    /// Returns the name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the secret, for signatures. Never to be shown or stored.
    pub fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.id)
    }
}

/// The keys of one use: one writes, all read.
#[derive(Debug)]
pub struct Keys {
    active: Key,
    retired: Vec<Key>,
}

impl Keys {
    /// Returns the key that writes.
    pub fn active(&self) -> &Key {
        &self.active
    }

    /// Returns every key, the active one first.
    pub fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.active).chain(&self.retired)
    }

    /// Returns the key of this name.
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.all().find(|key| key.id.as_str() == id)
    }
}

/// The keys of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    seal: Option<Arc<Keys>>,
    index: Option<Arc<Keys>>,
    audit: Option<Arc<Keys>>,
}

/// What is wrong with one entry of a keyring. The entry itself is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There are not four parts.
    Parts,
    /// The first part is no use.
    Use,
    /// The second part is no key id.
    Id,
    /// The third part is neither `active` nor `retired`.
    State,
    /// The secret is not base64.
    Base64,
    /// The secret is too short or too long.
    Length {
        /// Its length.
        bytes: usize,
    },
    /// The secret can't be random: too many of its bytes are alike.
    Weak,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts => formatter.write_str("write it as use:id:state:secret"),
            Self::Use => formatter.write_str("its use is none of seal, index, audit"),
            Self::Id => formatter.write_str("its id is not 1 to 32 of a-z, 0-9, - and _"),
            Self::State => formatter.write_str("its state is neither active nor retired"),
            Self::Base64 => formatter.write_str("its secret is not base64"),
            Self::Length { bytes } => {
                write!(formatter, "its secret has {bytes} bytes, not {KEY_BYTES}")
            }
            Self::Weak => formatter
                .write_str("its secret is not random; make one with `openssl rand -base64 32`"),
        }
    }
}

/// Why a keyring can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no key in it.
    #[error("keyring holds no key; write use:id:state:secret on a line")]
    Empty,
    /// The text is too long.
    #[error("keyring is longer than {KEYRING_BYTES_MAX} bytes")]
    TooLong,
    /// There are too many keys.
    #[error("keyring holds more than {KEYS_MAX} keys; take out those that nothing is sealed with")]
    TooMany,
    /// An entry is wrong.
    #[error("key {entry} of the keyring: {problem}")]
    Entry {
        /// Which, from 1.
        entry: usize,
        /// What is wrong.
        problem: Problem,
    },
    /// Two keys of a use have one name.
    #[error("keyring has two {key_use} keys named {id}")]
    SameId {
        /// Their use.
        key_use: KeyUse,
        /// Their name.
        id: KeyId,
    },
    /// Two keys have one secret.
    #[error("{key_use} key {id} has the secret of another key; give each its own")]
    SameSecret {
        /// Use of the later one.
        key_use: KeyUse,
        /// Name of the later one.
        id: KeyId,
    },
    /// No key of a use writes.
    #[error("keyring has no active {key_use} key")]
    NoActive {
        /// The use.
        key_use: KeyUse,
    },
    /// Several keys of a use would write.
    #[error("{key_use} keys {first} and {second} are both active; retire one")]
    ManyActive {
        /// The use.
        key_use: KeyUse,
        /// The first.
        first: KeyId,
        /// The second.
        second: KeyId,
    },
    /// The file can't be read.
    #[error("read keyring file")]
    Read(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("draw random bytes")]
    Random(#[source] getrandom::Error),
}

/// What is doubtful about a keyring that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Others than its owner and group may read the file, or the group may change it.
    #[error("keyring file has mode {mode:04o}; give it 0400")]
    OpenToOthers {
        /// The permission bits.
        mode: u32,
    },
}

struct Entry {
    key_use: KeyUse,
    active: bool,
    key: Key,
}

impl Keyring {
    /// Reads the keys in `text`; the format is described at the head of this module.
    ///
    /// # Errors
    /// If an entry is malformed, a name or secret is there twice, or a use has not one active key.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        if text.len() > KEYRING_BYTES_MAX {
            return Err(KeyringError::TooLong);
        }
        let mut entries: Vec<Entry> = Vec::new();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let written = lines.flat_map(|line| line.split(',')).map(str::trim);
        for (number, entry) in written.filter(|entry| !entry.is_empty()).enumerate() {
            if number == KEYS_MAX {
                return Err(KeyringError::TooMany);
            }
            let read = read_entry(entry)
                .map_err(|problem| KeyringError::Entry { entry: number + 1, problem })?;
            check_new(&entries, &read)?;
            entries.push(read);
        }
        if entries.is_empty() {
            return Err(KeyringError::Empty);
        }
        let mut keyring = Self::default();
        for key_use in KeyUse::ALL {
            let keys = keys(key_use, entries.extract_if(.., |entry| entry.key_use == key_use))?;
            *keyring.slot(key_use) = keys.map(Arc::new);
        }
        Ok(keyring)
    }

    /// Reads the keys in a file, and what is doubtful about the file.
    ///
    /// # Errors
    /// [`KeyringError::Read`] if the file can't be read, and as [`Keyring::parse`].
    pub fn read(path: &Path) -> Result<(Self, Vec<Warning>), KeyringError> {
        let file = std::fs::File::open(path).map_err(KeyringError::Read)?;
        let warnings = warnings(&file.metadata().map_err(KeyringError::Read)?);
        // Never grows, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(KEYRING_BYTES_MAX + 1));
        let limit = KEYRING_BYTES_MAX as u64 + 1;
        file.take(limit).read_to_string(&mut text).map_err(KeyringError::Read)?;
        Ok((Self::parse(&text)?, warnings))
    }

    /// Returns a line for a keyring with a fresh secret.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn new_line(key_use: KeyUse, id: &KeyId) -> Result<Zeroizing<String>, KeyringError> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(secret.as_mut_slice()).map_err(KeyringError::Random)?;
        let secret = Zeroizing::new(SECRET.encode(secret.as_slice()));
        Ok(Zeroizing::new(format!("{key_use}:{id}:active:{}", secret.as_str())))
    }

    /// Returns the text of a keyring with a fresh key of each use, named `id`.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn generate(id: &KeyId) -> Result<Zeroizing<String>, KeyringError> {
        let mut text = Zeroizing::new(String::new());
        for key_use in [KeyUse::Seal, KeyUse::Index, KeyUse::Audit] {
            text.push_str(&Self::new_line(key_use, id)?);
            text.push('\n');
        }
        Ok(text)
    }

    /// Returns the keys of a use.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is none.
    pub fn keys(&self, key_use: KeyUse) -> Result<Arc<Keys>, KeyringError> {
        let keys = match key_use {
            KeyUse::Seal => &self.seal,
            KeyUse::Index => &self.index,
            KeyUse::Audit => &self.audit,
        };
        keys.clone().ok_or(KeyringError::NoActive { key_use })
    }

    fn slot(&mut self, key_use: KeyUse) -> &mut Option<Arc<Keys>> {
        match key_use {
            KeyUse::Seal => &mut self.seal,
            KeyUse::Index => &mut self.index,
            KeyUse::Audit => &mut self.audit,
        }
    }
}

fn read_entry(entry: &str) -> Result<Entry, Problem> {
    let parts: Vec<&str> = entry.split(':').map(str::trim).collect();
    let [key_use, id, state, secret] = parts[..] else { return Err(Problem::Parts) };
    let key_use =
        KeyUse::ALL.into_iter().find(|known| known.as_str() == key_use).ok_or(Problem::Use)?;
    let id = KeyId::parse(id).ok_or(Problem::Id)?;
    let active = match state {
        "active" => true,
        "retired" => false,
        _ => return Err(Problem::State),
    };
    // The decoder's own error holds a byte of the secret.
    let bytes = Zeroizing::new(SECRET.decode(secret).map_err(|_| Problem::Base64)?);
    let secret: [u8; KEY_BYTES] =
        bytes.as_slice().try_into().map_err(|_| Problem::Length { bytes: bytes.len() })?;
    let secret = Zeroizing::new(secret);
    let distinct: std::collections::BTreeSet<u8> = secret.iter().copied().collect();
    if distinct.len() < DISTINCT_BYTES_MIN {
        return Err(Problem::Weak);
    }
    Ok(Entry { key_use, active, key: Key { id, secret } })
}

fn check_new(entries: &[Entry], new: &Entry) -> Result<(), KeyringError> {
    let (key_use, id) = (new.key_use, new.key.id.clone());
    if entries.iter().any(|entry| entry.key_use == key_use && entry.key.id == id) {
        return Err(KeyringError::SameId { key_use, id });
    }
    if entries.iter().any(|entry| entry.key.secret == new.key.secret) {
        return Err(KeyringError::SameSecret { key_use, id });
    }
    Ok(())
}

fn keys(
    key_use: KeyUse,
    entries: impl Iterator<Item = Entry>,
) -> Result<Option<Keys>, KeyringError> {
    let mut active: Option<Key> = None;
    let mut retired = Vec::new();
    for entry in entries {
        if !entry.active {
            retired.push(entry.key);
        } else if let Some(first) = active {
            let (first, second) = (first.id, entry.key.id);
            return Err(KeyringError::ManyActive { key_use, first, second });
        } else {
            active = Some(entry.key);
        }
    }
    match active {
        Some(active) => Ok(Some(Keys { active, retired })),
        None if retired.is_empty() => Ok(None),
        None => Err(KeyringError::NoActive { key_use }),
    }
}

#[cfg(unix)]
fn warnings(metadata: &std::fs::Metadata) -> Vec<Warning> {
    use std::os::unix::fs::PermissionsExt as _;

    // Members of the group may read: Kubernetes mounts a Secret so.
    const OTHERS: u32 = 0o037;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 { Vec::new() } else { vec![Warning::OpenToOthers { mode }] }
}

#[cfg(not(unix))]
fn warnings(_: &std::fs::Metadata) -> Vec<Warning> {
    Vec::new()
}

#[cfg(test)]
mod tests;
