//! What every gRPC service of the suite shares: errors as statuses, telemetry, database
//! connections, tenants and their audit, serving with health, reflection and drain, and clients of other
//! services.
//!
//! Knows the transport and the database driver; knows no service and none of their messages.

pub mod access;
pub mod audit;
pub mod client;
pub mod database;
pub mod deadline;
pub mod grants;
mod https;
pub mod keyring;
pub mod malformed;
pub mod server;
pub mod status;
mod table;
pub mod telemetry;
pub mod tenant;
