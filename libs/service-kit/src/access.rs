//! Who may call a program, from its settings.

use anyhow::Context as _;
pub use neurotriage_access::{
    Access, AccessConfig, AccessError, Grant, Identity, PurposeOfUse, Reach,
    relay::{Caller, InCurrentCaller},
};
use tokio::net::TcpListener;

/// Returns how the calls that come to `listener` are checked.
///
/// # Errors
/// If settings are wrong or incomplete, or if there are none and other machines can reach `listener`.
pub async fn open(config: &AccessConfig, listener: &TcpListener) -> anyhow::Result<Access> {
    let listen = listener.local_addr().context("read bound address")?;
    Access::from_settings(config, listen, None).await.context("set up access")
}
