//! Reads a chain row by row and names the first thing wrong with it.
//!
//! What shows what:
//!
//! - a row altered, removed, inserted or moved shows in the hashes of the rows around it;
//! - rows removed at the end show in the head, which names the last sequence and hash;
//! - a chain rewritten from some row on, with its hashes, shows in the head, whose signature needs
//!   a key that the database does not have;
//! - a chain put back to an older state together with its older head shows in a checkpoint that
//!   was kept outside the database, and in nothing else.

use std::{collections::VecDeque, fmt, ops::ControlFlow};

use super::{
    Hash,
    chain::{ChainId, Head, Row},
    diagnosis::diagnose,
    sign::{MacError, Signer},
};

/// Rows read past the first wrong one, to tell what is wrong.
const LOOK_AHEAD_ROWS: usize = 64;

/// A row that a chain must hold, from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Number of the checkpoint.
    pub checkpoint: i64,
    /// Sequence of the row; 0 if the chain was empty.
    pub sequence: i64,
    /// Hash of the row.
    pub hash: Hash,
}

/// What knows of rows that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The head.
    Head,
    /// A checkpoint.
    Checkpoint {
        /// Its number.
        number: i64,
    },
}

impl fmt::Display for Witness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => formatter.write_str("the head"),
            Self::Checkpoint { number } => write!(formatter, "checkpoint {number}"),
        }
    }
}

/// What part of a row was altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it tells.
    Content,
    /// The hash of the row before.
    PreviousHash,
    /// Its own hash.
    Hash,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Content => "content",
            Self::PreviousHash => "hash of the row before",
            Self::Hash => "hash",
        })
    }
}

/// The first thing wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Rows are gone, and others come after them.
    #[error("rows {first} to {last} were removed")]
    Removed {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// Rows at the end are gone.
    #[error("rows {first} to {last} were removed from the end; {witness} knows of them")]
    TailRemoved {
        /// The first.
        first: i64,
        /// The last that is known of.
        last: i64,
        /// What knows of them.
        witness: Witness,
    },
    /// A row was altered.
    #[error("row {sequence} was altered: its {part}")]
    Altered {
        /// Which.
        sequence: i64,
        /// What part of it.
        part: Part,
    },
    /// A row was replaced by one with a right hash; rows before it may have been as well.
    #[error("row {sequence}, and perhaps rows before it, were replaced")]
    Replaced {
        /// The last of them.
        sequence: i64,
    },
    /// There are rows that were not written there.
    #[error("rows {first} to {last} were inserted")]
    Inserted {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// A row stands in the place of another, which comes later.
    #[error("rows were reordered: row {found} stands where row {sequence} belongs")]
    Reordered {
        /// The row that belongs there.
        sequence: i64,
        /// The row that stands there.
        found: i64,
    },
    /// All hashes are right, and are not those of a checkpoint.
    #[error("rows from {first} to {last} were rewritten; checkpoint {checkpoint} knows others")]
    Rewritten {
        /// The first that may have been.
        first: i64,
        /// The row of the checkpoint.
        last: i64,
        /// The checkpoint.
        checkpoint: i64,
    },
    /// The chain has no head.
    #[error("head is gone; the last row is {last}")]
    HeadMissing {
        /// The last row.
        last: i64,
    },
    /// The head's signature does not hold, or its key is missing.
    #[error("head: {source}; rows up to {last} agree with each other")]
    HeadSignature {
        /// The last row.
        last: i64,
        /// What is wrong.
        source: MacError,
    },
    /// There are rows after the one that the head names.
    #[error("rows after {head}, up to {last}, are beyond the head: inserted, or the head put back")]
    BeyondHead {
        /// The row that the head names.
        head: i64,
        /// The last row.
        last: i64,
    },
}

/// A chain with nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Rows read.
    pub rows: u64,
    /// Sequence of the last row.
    pub sequence: i64,
    /// Hash of the last row.
    pub hash: Hash,
    /// Checkpoints that the chain agrees with.
    pub checkpoints: u64,
}

/// Reads one chain. Rows and head must be of one snapshot of the database.
#[derive(Debug)]
pub struct Verifier {
    chain: ChainId,
    /// Sequence of the next row.
    expected: i64,
    hash: Hash,
    rows: u64,
    /// Those not yet reached, by sequence.
    anchors: VecDeque<Anchor>,
    /// Where the last checkpoint that agreed stood.
    agreed: i64,
    checkpoints: u64,
    rewritten: Option<Break>,
    /// The first wrong row and those after it.
    suspects: Vec<Row>,
}

impl Verifier {
    /// Reads `chain` from its first row. It must agree with `anchors`.
    pub fn new(chain: ChainId, anchors: Vec<Anchor>) -> Self {
        let hash = chain.genesis();
        Self::start(chain, 0, hash, anchors)
    }

    /// Reads `chain` from the row after that of `from`, a checkpoint that was verified before.
    pub fn after(chain: ChainId, from: Anchor, anchors: Vec<Anchor>) -> Self {
        let later = anchors.into_iter().filter(|anchor| anchor.sequence >= from.sequence).collect();
        Self::start(chain, from.sequence, from.hash, later)
    }

    fn start(chain: ChainId, sequence: i64, hash: Hash, mut anchors: Vec<Anchor>) -> Self {
        anchors.sort_by_key(|anchor| anchor.sequence);
        let mut verifier = Self {
            chain,
            expected: sequence.saturating_add(1),
            hash,
            rows: 0,
            anchors: anchors.into(),
            agreed: sequence,
            checkpoints: 0,
            rewritten: None,
            suspects: Vec::new(),
        };
        verifier.compare_anchors(sequence);
        verifier
    }

    /// Returns the sequence after which rows are wanted.
    pub fn reached(&self) -> i64 {
        self.suspects.last().map_or(self.expected - 1, |row| row.sequence)
    }

    /// Takes the next row, in the order of sequences. Breaks off when it has seen enough to say
    /// what is wrong.
    pub fn push(&mut self, row: Row) -> ControlFlow<()> {
        let follows = self.suspects.is_empty()
            && row.sequence == self.expected
            && row.tenant == self.chain.tenant.as_str()
            && row.shard == i64::from(self.chain.shard)
            && row.previous_hash == self.hash
            && row.is_whole();
        if !follows {
            self.suspects.push(row);
            return self.enough();
        }
        self.hash = row.hash_at(&self.hash, row.sequence);
        self.expected = self.expected.saturating_add(1);
        self.rows += 1;
        self.compare_anchors(row.sequence);
        self.enough()
    }

    fn enough(&self) -> ControlFlow<()> {
        if self.rewritten.is_some() || self.suspects.len() > LOOK_AHEAD_ROWS {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn compare_anchors(&mut self, sequence: i64) {
        while let Some(anchor) = self.anchors.pop_front_if(|anchor| anchor.sequence <= sequence) {
            let Anchor { checkpoint, sequence: last, hash } = anchor;
            if last == sequence && hash == self.hash {
                self.agreed = last;
                self.checkpoints += 1;
            } else if self.rewritten.is_none() {
                let first = self.agreed.saturating_add(1).min(last);
                self.rewritten = Some(Break::Rewritten { first, last, checkpoint });
            }
        }
    }

    /// Takes what ends the chain: `head` is what is stored, if anything is.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn finish(self, head: Option<&Head>, signer: &Signer) -> Result<Verified, Break> {
        if !self.suspects.is_empty() {
            return Err(diagnose(self.expected, &self.hash, &self.suspects, head));
        }
        if let Some(rewritten) = self.rewritten {
            return Err(rewritten);
        }
        let last = self.expected - 1;
        let Some(head) = head else { return Err(Break::HeadMissing { last }) };
        if head.chain != self.chain {
            return Err(Break::HeadSignature { last, source: MacError::Wrong });
        }
        head.check(signer).map_err(|source| Break::HeadSignature { last, source })?;
        if head.sequence > last {
            let (first, last, witness) = (self.expected, head.sequence, Witness::Head);
            return Err(Break::TailRemoved { first, last, witness });
        }
        if head.sequence < last {
            return Err(Break::BeyondHead { head: head.sequence, last });
        }
        if head.hash != self.hash {
            return Err(Break::Replaced { sequence: last });
        }
        if let Some(anchor) = self.anchors.front() {
            let witness = Witness::Checkpoint { number: anchor.checkpoint };
            let (first, last) = (self.expected, anchor.sequence);
            return Err(Break::TailRemoved { first, last, witness });
        }
        let Self { rows, hash, checkpoints, .. } = self;
        Ok(Verified { rows, sequence: last, hash, checkpoints })
    }
}
