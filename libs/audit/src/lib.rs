//! Who touched which patient data, when, why and from which trace; chained so that it shows when
//! somebody removes or alters an entry.
//!
//! [`Event`] is what happened. [`append`] gives events their place in a chain and moves its
//! [`Head`]. [`Verifier`] reads a chain and names the first thing wrong with it. [`Checkpoint`] is
//! a signed note of where all chains of a tenant stood, to be kept elsewhere. None of these knows
//! a database.

mod chain;
mod checkpoint;
mod diagnosis;
mod event;
mod sign;
mod verify;

pub use self::{
    chain::{AuditError, ChainId, EVENTS_MAX, Head, Row, append, shard_of},
    checkpoint::{Checkpoint, CheckpointError, Position},
    event::{
        Action, Detail, Event, EventError, Outcome, Purpose, Resource, Subject, Tenant, TraceId,
    },
    sign::{Mac, MacError, Signer},
    verify::{Anchor, Break, Part, Verified, Verifier, Witness},
};

/// A SHA-256.
pub type Hash = [u8; 32];
