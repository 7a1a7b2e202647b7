//! FHIR over a real socket, with a real database and the other services in process.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on ends the test"
)]

#[path = "../support/neighbours.rs"]
mod neighbours;
#[path = "../support/mod.rs"]
mod support;

mod ehr;
mod export;
mod harness;
mod import;
