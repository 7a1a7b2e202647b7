//! What every call leaves in the audit, and what lies in the tables, in SQLite and PostgreSQL.

mod chains;
mod diagnoses;
mod harness;
mod keys;
mod referrals;
mod sealed;
mod stored;
mod stories;
