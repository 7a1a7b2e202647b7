//! The life cycle of referrals over a real socket, on SQLite and PostgreSQL.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod away;
mod dead_letters;
mod harness;
mod lists;
mod moves;
mod receiver;
mod served;
#[path = "../support/mod.rs"]
mod support;
mod tenants;
mod watch;
mod webhook;
