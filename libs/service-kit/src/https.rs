//! Documents over HTTPS, for the keys of a token issuer.
//!
//! What answers with anything but status 200 gave no document: redirects are not followed, so that nobody but the
//! configured host, by its certificate, says which keys count.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use neurotriage_access::keys::{BoxFuture, FetchDocument, FetchError};
use tokio::time::timeout;

/// Longest wait for a connection, TLS aside.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one document as a whole, should the caller set no limit of its own.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Why there is no document. Does not repeat the address, whose query may hold a secret.
#[derive(Debug, thiserror::Error)]
enum HttpsError {
    /// No address that can be asked.
    #[error("address is malformed; give https://host/path")]
    Address(#[source] http::Error),
    /// No answer: no connection, a wrong certificate, no HTTP.
    #[error("ask for document")]
    Ask(#[source] hyper_util::client::legacy::Error),
    /// The answer is something else than the document.
    #[error("server answered {}, and only 200 counts", .0.as_u16())]
    Status(StatusCode),
    /// The document is larger than the limit.
    #[error("document is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The document broke off.
    #[error("read document")]
    Read(#[source] FetchError),
    /// It took too long.
    #[error("document did not arrive in {} s", .0.as_secs_f64())]
    TooSlow(Duration),
}

/// Fetches documents over HTTPS, one connection each.
#[derive(Clone, Debug)]
pub(crate) struct HttpsFetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    time_max: Duration,
}

impl HttpsFetcher {
    /// Trusts the system's root certificates.
    ///
    /// # Errors
    /// If the system has none.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let builder = HttpsConnectorBuilder::new().with_native_roots().context(
            "read the system's root certificates; the keys of ACCESS_JWKS_URL need them",
        )?;
        Ok(Self::over(builder.https_only().enable_http1().wrap_connector(connector()), TIME_MAX))
    }

    fn over(connector: HttpsConnector<HttpConnector>, time_max: Duration) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        // The next document is minutes away.
        builder.pool_max_idle_per_host(0);
        Self { client: builder.build(connector), time_max }
    }

    async fn get(&self, url: &str, bytes_max: usize) -> Result<Vec<u8>, HttpsError> {
        let request = Request::get(url)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("neurotriage/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(HttpsError::Address)?;
        let answer = self.client.request(request).await.map_err(HttpsError::Ask)?;
        if answer.status() != StatusCode::OK {
            return Err(HttpsError::Status(answer.status()));
        }
        let read = Limited::new(answer.into_body(), bytes_max).collect().await;
        let document = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return HttpsError::TooLarge { bytes_max };
            }
            HttpsError::Read(error)
        })?;
        Ok(document.to_bytes().to_vec())
    }
}

impl FetchDocument for HttpsFetcher {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            let got = timeout(self.time_max, self.get(url, bytes_max)).await;
            Ok(got.map_err(|_| HttpsError::TooSlow(self.time_max))??)
        })
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // Which addresses are taken the TLS around it decides: https alone.
    connector.enforce_http(false);
    connector
}

#[cfg(test)]
mod tests;
