//! Rows that hold the hash of the row before them, and the head that holds the last hash.
//!
//! A row's hash is `SHA-256(hash of the row before || encoding)`. The encoding, version 1, is the
//! list of fields below, each as its length (`u32`, big-endian) and its bytes; a field that is
//! absent has the length `0xffffffff` and no bytes. Integers are `i64`, big-endian; texts are the
//! stored UTF-8; ids are their 16 bytes.
//!
//! `neurotriage.audit.v1`, tenant, shard, sequence, time in microseconds since 1970, actor, action,
//! kind of resource, id of resource (may be absent), purpose, trace id (may be absent), outcome,
//! detail.
//!
//! Before the first row stands the SHA-256 of `neurotriage.audit.genesis.v1`, tenant and shard in
//! the same form. Sequences begin at 1. A tenant has one chain for each shard.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Hash,
    event::{Event, EventError, Tenant},
    sign::{Mac, MacError, Signer},
};
use neurotriage_sealing::Frame;

/// Most events of one append: a page of records shown, and the search for it.
pub const EVENTS_MAX: usize = 512;

/// Which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId {
    /// Whose.
    pub tenant: Tenant,
    /// Which of the tenant's.
    pub shard: u16,
}

impl ChainId {
    /// Returns the hash that stands before the first row.
    pub fn genesis(&self) -> Hash {
        let frame = Frame::new("neurotriage.audit.genesis.v1")
            .text(self.tenant.as_str())
            .integer(self.shard.into());
        Sha256::digest(frame.as_slice()).into()
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.tenant.as_str(), self.shard)
    }
}

/// Returns the shard, of `shards`, for `key`: a patient's id, or a fresh id for what is about
/// several patients. Returns 0 if `shards` is 0. The number of shards may grow: rows say theirs.
pub fn shard_of(key: &Uuid, shards: u16) -> u16 {
    let digest: Hash = Sha256::digest(key.as_bytes()).into();
    let start = u64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ]);
    let shard = start.checked_rem(u64::from(shards)).unwrap_or_default();
    // The remainder is less than `shards`.
    u16::try_from(shard).unwrap_or_default()
}

/// An entry as it is stored. Nothing about it is taken for granted: it may have been altered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns; described at the head of this module")]
pub struct Row {
    pub tenant: String,
    pub shard: i64,
    pub sequence: i64,
    pub at_us: i64,
    pub actor: String,
    pub action: String,
    pub resource_kind: String,
    pub resource_id: Option<Uuid>,
    pub purpose: String,
    pub trace_id: Option<String>,
    pub outcome: String,
    pub detail: String,
    /// Hash of the row before. It repeats what the row before holds, so that a break can be told:
    /// it is what this row's hash was made with.
    pub previous_hash: Vec<u8>,
    /// Hash of the row.
    pub hash: Vec<u8>,
}

impl Row {
    /// Returns the hash of the row's content after `previous` if it stood at `sequence`.
    pub(super) fn hash_at(&self, previous: &[u8], sequence: i64) -> Hash {
        let frame = Frame::new("neurotriage.audit.v1")
            .text(&self.tenant)
            .integer(self.shard)
            .integer(sequence)
            .integer(self.at_us)
            .text(&self.actor)
            .text(&self.action)
            .text(&self.resource_kind)
            .optional(self.resource_id.as_ref().map(|id| id.as_bytes().as_slice()))
            .text(&self.purpose)
            .optional(self.trace_id.as_ref().map(|id| id.as_bytes()))
            .text(&self.outcome)
            .text(&self.detail);
        Sha256::new().chain_update(previous).chain_update(frame.as_slice()).finalize().into()
    }

    /// Returns whether the row's hash is that of its content after the hash that it names.
    pub(super) fn is_whole(&self) -> bool {
        self.hash == self.hash_at(&self.previous_hash, self.sequence)
    }
}

/// Where a chain ends, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which chain.
    pub chain: ChainId,
    /// Sequence of the last row; 0 if there is none.
    pub sequence: i64,
    /// Hash of the last row.
    pub hash: Vec<u8>,
    /// Signature over the three.
    pub mac: Mac,
}

impl Head {
    /// Returns the head of a chain without rows. It is made once, when the tenant is: made again,
    /// it would let somebody begin a chain anew.
    pub fn empty(chain: ChainId, signer: &Signer) -> Self {
        let hash = chain.genesis().to_vec();
        let mac = signer.sign(&signed(&chain, 0, &hash));
        Self { chain, sequence: 0, hash, mac }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`MacError`].
    pub fn check(&self, signer: &Signer) -> Result<(), MacError> {
        signer.check(&signed(&self.chain, self.sequence, &self.hash), &self.mac)
    }
}

fn signed(chain: &ChainId, sequence: i64, hash: &[u8]) -> Frame {
    Frame::new("neurotriage.audit.head.v1")
        .text(chain.tenant.as_str())
        .integer(chain.shard.into())
        .integer(sequence)
        .bytes(hash)
}

/// Why events can't be appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// An event is malformed.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The head was not written by this service, or its key is missing.
    #[error("head of audit chain {chain}: {source}; run `records verify-audit`")]
    Head {
        /// Which chain.
        chain: ChainId,
        /// What is wrong.
        source: MacError,
    },
    /// There are too many events.
    #[error("{events} events at once; at most {EVENTS_MAX}")]
    Many {
        /// How many.
        events: usize,
    },
    /// The chain can't be longer.
    #[error("audit chain {chain} is full")]
    Full {
        /// Which chain.
        chain: ChainId,
    },
}

/// Returns the rows for `events` after `head`, and the head after them. The caller holds the lock
/// on the head and stores both in the transaction of what happened.
///
/// # Errors
/// [`AuditError::Head`] if the head's signature does not hold: to go on would vouch for a forgery.
/// [`AuditError::Event`] and [`AuditError::Many`] for the events.
pub fn append(
    head: &Head,
    events: &[Event],
    signer: &Signer,
) -> Result<(Vec<Row>, Head), AuditError> {
    if events.len() > EVENTS_MAX {
        return Err(AuditError::Many { events: events.len() });
    }
    let chain = head.chain.clone();
    head.check(signer).map_err(|source| AuditError::Head { chain: chain.clone(), source })?;
    let mut rows: Vec<Row> = Vec::with_capacity(events.len());
    let (mut sequence, mut hash) = (head.sequence, head.hash.clone());
    for event in events {
        sequence = match sequence.checked_add(1) {
            Some(next) => next,
            None => return Err(AuditError::Full { chain }),
        };
        let row = row(&chain, sequence, hash, event)?;
        hash = row.hash.clone();
        rows.push(row);
    }
    let mac = signer.sign(&signed(&chain, sequence, &hash));
    Ok((rows, Head { chain, sequence, hash, mac }))
}

fn row(
    chain: &ChainId,
    sequence: i64,
    previous_hash: Vec<u8>,
    event: &Event,
) -> Result<Row, EventError> {
    let mut row = Row {
        tenant: chain.tenant.as_str().to_owned(),
        shard: chain.shard.into(),
        sequence,
        at_us: event.at_us()?,
        actor: event.actor.as_str().to_owned(),
        action: event.action.as_str().to_owned(),
        resource_kind: event.resource.kind().to_owned(),
        resource_id: event.resource.id(),
        purpose: event.purpose.as_str().to_owned(),
        trace_id: event.trace.as_ref().map(|trace| trace.as_str().to_owned()),
        outcome: event.outcome.as_str().to_owned(),
        detail: event.detail_text()?.to_owned(),
        previous_hash,
        hash: Vec::new(),
    };
    row.hash = row.hash_at(&row.previous_hash, sequence).to_vec();
    Ok(row)
}
