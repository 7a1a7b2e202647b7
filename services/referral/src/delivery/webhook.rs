//! Events to an HTTP endpoint, with a signed body.
//!
//! `POST` with the event's JSON. Header [`SIGNATURE_HEADER`] proves the body; `neurotriage-event-id`
//! and `neurotriage-hospital-id` only help to sort, and nothing proves them. An answer of 2xx means
//! that the receiver keeps the event; 410, or what the settings name, that it never will.
//! Everything else is tried again. Redirects are not followed.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use neurotriage_service_kit::status::chain;
use secrecy::{ExposeSecret as _, SecretString};

use super::SendError;
use crate::lifecycle::{
    now,
    outbox::Letter,
    signature::{SIGNATURE_HEADER, Secrets},
};

/// Longest wait for a connection, TLS aside; an attempt has a limit of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept: receivers often close theirs after a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most unused connections.
const IDLE_MAX: usize = 4;
/// Most bytes of an answer's body that are read, to use the connection again. Nobody looks at them.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long they may take: the answer is known before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Statuses that say "later" and never "never".
const LATER: [StatusCode; 3] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

/// Which endpoint, and what its answers mean.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `https://…`; or `http://…`, where something else encrypts. Its path may hold a token.
    pub url: SecretString,
    /// What signs.
    pub secrets: Secrets,
    /// Answers, 400 to 499, that mean that the receiver will never take the event.
    pub refused_statuses: Vec<u16>,
}

type Post = Request<Full<Bytes>>;

#[derive(Clone)]
enum HttpClient {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Encrypted(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// An HTTP endpoint. Clones share their connections. `Debug` does not show where it is.
#[derive(Clone)]
pub struct WebhookSink {
    client: HttpClient,
    uri: Uri,
    secrets: Secrets,
    refused: Vec<StatusCode>,
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink").field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl WebhookSink {
    /// Makes a client; connects at the first event.
    ///
    /// # Errors
    /// If a setting is wrong, or the system has no root certificates. The error does not repeat the
    /// URL.
    pub fn new(settings: WebhookSettings) -> anyhow::Result<Self> {
        let WebhookSettings { url, secrets, refused_statuses } = settings;
        let uri: Uri = url.expose_secret().parse().ok().context("webhook URL is malformed")?;
        let authority = uri.authority().context("webhook URL names no host")?;
        // They would not be sent.
        ensure!(!authority.as_str().contains('@'), "webhook URL must not hold user and password");
        let mut refused = Vec::with_capacity(refused_statuses.len());
        for status in refused_statuses {
            let code = StatusCode::from_u16(status)
                .ok()
                .filter(|code| code.is_client_error() && !LATER.contains(code))
                .with_context(|| {
                    format!("status {status} can't mean `never`; give 400 to 499 but 408, 425, 429")
                })?;
            refused.push(code);
        }
        let client = match uri.scheme_str() {
            Some("http") => HttpClient::Plain(pool().build(connector())),
            Some("https") => {
                let mut connector = connector();
                connector.enforce_http(false);
                let encrypted = HttpsConnectorBuilder::new()
                    .with_native_roots()
                    .context("read the system's root certificates")?
                    .https_only()
                    .enable_http1()
                    .wrap_connector(connector);
                HttpClient::Encrypted(pool().build(encrypted))
            }
            Some(_) | None => bail!("webhook URL must begin with https:// or http://"),
        };
        Ok(Self { client, uri, secrets, refused })
    }

    /// Posts one event and waits for the answer.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let request = self.request(letter).map_err(|_| SendError::failed("encode request"))?;
        let sent = match &self.client {
            HttpClient::Plain(client) => client.request(request).await,
            HttpClient::Encrypted(client) => client.request(request).await,
        };
        let answer =
            sent.map_err(|error| SendError::failed(format!("post to webhook: {}", chain(&error))))?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        // Read to its end, a connection can be used again; what is longer or breaks off closes it.
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, body).await;
        let what = format!("webhook answered {}", status.as_u16());
        if status.is_success() {
            Ok(())
        } else if self.refused.contains(&status) {
            Err(SendError::Refused { what })
        } else {
            Err(SendError::Failed { what, retry_after })
        }
    }

    fn request(&self, letter: &Letter) -> Result<Post, http::Error> {
        let body = Bytes::from(letter.body.clone());
        Request::post(self.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(USER_AGENT, concat!("neurotriage-referral/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE_HEADER, self.secrets.sign(&body, now()))
            .header("neurotriage-event-id", letter.row.event_id.to_string())
            .header("neurotriage-hospital-id", letter.hospital_id.as_str())
            .body(Full::new(body))
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector
}

fn pool() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_MAX);
    builder
}

/// Returns the wait that the receiver asks for, if it does so in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
