//! The life cycle of referrals over a real socket, on SQLite and PostgreSQL.

mod away;
mod dead_letters;
mod harness;
mod lists;
mod moves;
pub(crate) mod receiver;
mod served;
mod tenants;
mod watch;
mod webhook;
