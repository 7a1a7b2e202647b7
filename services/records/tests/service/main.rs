//! The service over a socket, in SQLite and PostgreSQL.
//!
//! One program: what tonic and sea-orm make of each call is compiled once for all of it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod audit;
mod bad_input;
mod batch_watch;
mod changes;
mod errors;
mod faults;
mod harness;
mod keys;
mod limits;
mod merges;
mod paging;
mod plans;
mod records;
mod role;
mod schema;
mod search;
mod tampering;
