//! Where all chains of a tenant stood at a time, signed, to be kept outside the database.
//!
//! A head alone can't show that a chain and its head were both put back to an older state. A
//! checkpoint kept elsewhere (an object store that does not overwrite, a log, a printed page) can:
//! the chain must still hold the row with the sequence and hash that it notes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use time::OffsetDateTime;

use super::{
    Hash,
    chain::{ChainId, Head},
    event::Tenant,
    sign::{Mac, MacError, Signer},
    verify::Anchor,
};
use neurotriage_sealing::Frame;

/// Most positions of a checkpoint: one for each shard a tenant may have.
const POSITIONS_MAX: usize = 4096;
/// Longest line of a checkpoint: a position takes at most 70 characters.
const LINE_BYTES_MAX: usize = POSITIONS_MAX * 70 + 512;

const VERSION: &str = "c1";

/// Where one chain stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which chain of the tenant.
    pub shard: u16,
    /// Sequence of its last row; 0 if there was none.
    pub sequence: i64,
    /// Hash of that row.
    pub hash: Hash,
}

/// Where all chains of a tenant stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    tenant: Tenant,
    number: i64,
    at_us: i64,
    positions: Vec<Position>,
    mac: Mac,
}

/// Why a checkpoint can't be made or trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The line is no checkpoint.
    #[error("line is no checkpoint: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The signature does not hold.
    #[error("checkpoint {number}: {source}")]
    Signature {
        /// Which.
        number: i64,
        /// What is wrong.
        source: MacError,
    },
    /// A head is not to be trusted.
    #[error("head of audit chain {chain}: {source}; run `records verify-audit`")]
    Head {
        /// Which chain.
        chain: ChainId,
        /// What is wrong.
        source: MacError,
    },
}

fn malformed(what: &'static str) -> CheckpointError {
    CheckpointError::Malformed { what }
}

impl Checkpoint {
    /// Signs where `heads`, all those of `tenant`, stand.
    ///
    /// # Errors
    /// [`CheckpointError::Head`] if a head's own signature does not hold;
    /// [`CheckpointError::Malformed`] if a head is of another tenant or there are too many.
    pub fn new(
        tenant: Tenant,
        number: i64,
        at: OffsetDateTime,
        heads: &[Head],
        signer: &Signer,
    ) -> Result<Self, CheckpointError> {
        if heads.len() > POSITIONS_MAX {
            return Err(malformed("it has too many positions"));
        }
        let mut positions = Vec::with_capacity(heads.len());
        for head in heads {
            let chain = head.chain.clone();
            head.check(signer).map_err(|source| CheckpointError::Head { chain, source })?;
            if head.chain.tenant != tenant {
                return Err(malformed("a head is of another tenant"));
            }
            let hash = head.hash.as_slice().try_into();
            let hash: Hash = hash.map_err(|_| malformed("a hash is not 32 bytes"))?;
            positions.push(Position { shard: head.chain.shard, sequence: head.sequence, hash });
        }
        positions.sort_by_key(|position| position.shard);
        if positions.windows(2).any(|two| two[0].shard == two[1].shard) {
            return Err(malformed("a shard is there twice"));
        }
        let at_us = i64::try_from(at.unix_timestamp_nanos().div_euclid(1000))
            .map_err(|_| malformed("its time is out of range"))?;
        let mac = signer.sign(&signed(&tenant, number, at_us, &positions));
        Ok(Self { tenant, number, at_us, positions, mac })
    }

    /// Returns its number: each is one more than the one before.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Returns whose chains it notes.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Returns where the chains stood, by shard.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Returns what the chain of `shard` must still hold.
    pub fn anchor(&self, shard: u16) -> Option<Anchor> {
        let position = self.positions.iter().find(|position| position.shard == shard)?;
        let Position { sequence, hash, .. } = *position;
        Some(Anchor { checkpoint: self.number, sequence, hash })
    }

    /// Returns the checkpoint as a line:
    /// `c1 <tenant> <number> <time in microseconds> <shard>:<sequence>:<hash>,... <signature>`.
    pub fn to_line(&self) -> String {
        let positions: Vec<String> = self
            .positions
            .iter()
            .map(|Position { shard, sequence, hash }| {
                format!("{shard}:{sequence}:{}", URL_SAFE_NO_PAD.encode(hash))
            })
            .collect();
        let Self { tenant, number, at_us, mac, .. } = self;
        let tenant = tenant.as_str();
        format!("{VERSION} {tenant} {number} {at_us} {} {mac}", positions.join(","))
    }

    /// Reads a line and checks its signature.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], [`CheckpointError::Signature`].
    pub fn from_line(line: &str, signer: &Signer) -> Result<Self, CheckpointError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let parts: Vec<&str> = line.trim_end().split(' ').collect();
        let [VERSION, tenant, number, at_us, positions, mac] = parts[..] else {
            return Err(malformed("it has not the six parts of version c1"));
        };
        let tenant = Tenant::new(tenant.to_owned()).map_err(|_| malformed("its tenant is none"))?;
        let number: i64 = number.parse().map_err(|_| malformed("its number is none"))?;
        let at_us: i64 = at_us.parse().map_err(|_| malformed("its time is none"))?;
        let positions: Vec<Position> = positions
            .split(',')
            .filter(|position| !position.is_empty())
            .map(|text| position(text).ok_or_else(|| malformed("one of its positions is none")))
            .collect::<Result<_, _>>()?;
        let mac = Mac::stored(mac.to_owned());
        signer
            .check(&signed(&tenant, number, at_us, &positions), &mac)
            .map_err(|source| CheckpointError::Signature { number, source })?;
        Ok(Self { tenant, number, at_us, positions, mac })
    }
}

fn position(text: &str) -> Option<Position> {
    let mut parts = text.split(':');
    let (shard, sequence, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let hash = URL_SAFE_NO_PAD.decode(hash).ok()?.try_into().ok()?;
    let position = Position { shard: shard.parse().ok()?, sequence: sequence.parse().ok()?, hash };
    parts.next().is_none().then_some(position)
}

fn signed(tenant: &Tenant, number: i64, at_us: i64, positions: &[Position]) -> Frame {
    let head = Frame::new("neurotriage.audit.checkpoint.v1")
        .text(tenant.as_str())
        .integer(number)
        .integer(at_us);
    positions.iter().fold(head, |frame, position| {
        let Position { shard, sequence, hash } = position;
        frame.integer((*shard).into()).integer(*sequence).bytes(hash)
    })
}
