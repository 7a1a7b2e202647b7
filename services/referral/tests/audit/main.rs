//! What every call leaves in the audit, and what lies in the tables, in SQLite and PostgreSQL.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on ends the test"
)]

mod chains;
mod diagnoses;
mod harness;
mod keys;
#[path = "../support/neighbours.rs"]
mod neighbours;
#[path = "../lifecycle/receiver.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod receiver;
mod referrals;
mod sealed;
mod stored;
mod stories;
#[path = "../support/mod.rs"]
mod support;
