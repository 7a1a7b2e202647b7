//! Who may call what: bearer tokens, SMART scopes and a rule for every RPC, checked in one layer before
//! a request's body is read.
//!
//! Fails closed: an RPC without a rule is refused, and so is a token with anything about it that cannot
//! be checked. Knows the transport; knows no messages of any service, no database and no HTTP client,
//! and makes no gRPC status: it is given a function for that.
//!
//! - [`config`]: the settings
//! - [`policy`]: from settings to an [`Access`], or why the program must not start
//! - [`token`]: from a bearer token to an [`Identity`], by [`keys`] that are read from [`jwks`] documents
//! - [`scope`]: what a token allows, in SMART syntax
//! - [`rules`]: what an RPC needs
//! - [`layer`]: the check of every call
//! - [`grant`]: how far an allowed call reaches, for handlers
//! - [`relay`]: passing the caller's token on to other services

pub mod config;
mod error;
pub mod grant;
mod identity;
pub mod jwks;
pub mod keys;
pub mod layer;
pub mod policy;
pub mod relay;
pub mod rules;
pub mod scope;
#[cfg(test)]
mod testing;
pub mod token;

pub use config::AccessConfig;
pub use error::AccessError;
pub use grant::{Grant, Reach};
pub use identity::{Identity, InvalidPurposeOfUse, PurposeOfUse};
pub use layer::{AccessLayer, NoteRefusal, Refusal};
pub use policy::{Access, SetupError};
pub use rules::Rules;

/// PostgreSQL setting that row-level security compares the hospital of a row with.
///
/// Set for one transaction at a time, as its first statement: `SELECT set_config('app.tenant', $1, true)`,
/// which is `SET LOCAL` with a bound value.
pub const TENANT_SETTING: &str = "app.tenant";
