//! The service over a socket, in SQLite and PostgreSQL, beside the other services in process.
//!
//! One program: what tonic and sea-orm make of each call is compiled once for all of it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod assess;
mod audit;
mod diagnose;
mod directory;
mod fhir;
mod lifecycle;
mod outbox;
mod support;
