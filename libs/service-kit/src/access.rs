//! Who may call a program, from its settings.

use std::sync::Arc;

use anyhow::Context as _;
use neurotriage_access::keys::FetchDocument;
pub use neurotriage_access::scope;
pub use neurotriage_access::{
    Access, AccessConfig, AccessError, Grant, Identity, PurposeOfUse, Reach,
    relay::{Caller, InCurrentCaller},
};
use tokio::net::TcpListener;

use crate::https::HttpsFetcher;

/// Returns how the calls that come to `listener` are checked.
///
/// # Errors
/// If settings are wrong or incomplete, or if there are none and other machines can reach `listener`.
pub async fn open(config: &AccessConfig, listener: &TcpListener) -> anyhow::Result<Access> {
    let listen = listener.local_addr().context("read bound address")?;
    let fetcher = match &config.jwks_url {
        Some(_) => Some(Arc::new(HttpsFetcher::new()?) as Arc<dyn FetchDocument>),
        None => None,
    };
    Access::from_settings(config, listen, fetcher).await.context("set up access")
}
