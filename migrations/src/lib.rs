//! Schema of every database of the suite: one module and one `Migrator` per service.
//!
//! Each service has a database of its own. A step is never edited once it is released: a change is
//! another step. The same steps serve PostgreSQL and SQLite.

#![allow(elided_lifetimes_in_paths, reason = "async_trait rejects `SchemaManager<'_>` here: E0195")]

mod audit;
mod constraint;
pub mod ingestion;
pub mod records;
pub mod referral;
pub mod segmentation;
pub mod tenancy;
