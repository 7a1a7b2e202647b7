//! Events into a JetStream stream of NATS.
//!
//! Subject `neurotriage.referral.v1.<hospital_id>`, body the event's JSON, header `Nats-Msg-Id` the
//! event id, by which JetStream drops what it was sent twice within its duplicate window. An event
//! counts as delivered when the stream has acknowledged that it keeps it.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use async_nats::{
    Client, ConnectOptions, ServerAddr,
    connection::State,
    jetstream::{
        Context,
        context::{ContextBuilder, PublishError, PublishErrorKind},
        message::PublishMessage,
        stream::{Config, DiscardPolicy, StorageType},
    },
};
use secrecy::{ExposeSecret as _, SecretString};

use super::SendError;
use crate::lifecycle::outbox::Letter;

/// What every subject begins with; the hospital id follows.
pub const SUBJECT_PREFIX: &str = "neurotriage.referral.v1";

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is checked, so that a dead server is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a stream made here keeps an event: time to notice that nobody reads it.
const STREAM_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// Most bytes that a stream made here keeps: over a million events. A full one refuses, and events
/// wait in the outbox.
const STREAM_BYTES_MAX: i64 = 1024 * 1024 * 1024;
/// How long a stream made here remembers ids: longer than the pause between the first attempts, so
/// that most duplicates end here.
const STREAM_DUPLICATE_WINDOW: Duration = Duration::from_mins(10);

/// Which server and stream.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// Such as `nats://user:password@nats:4222` or `tls://…`; several with commas between them.
    pub url: SecretString,
    /// Name of the stream, which takes [`SUBJECT_PREFIX`]`.*`.
    pub stream: String,
    /// Whether the stream is made if it is missing.
    pub missing_stream: MissingStream,
}

/// What to do without the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingStream {
    /// Wait until somebody has made it.
    Wait,
    /// Make it.
    Create,
}

/// A connection to NATS. Clones share it. `Debug` does not show where it leads.
#[derive(Clone)]
pub struct NatsSink {
    client: Client,
    context: Context,
    stream: String,
    missing_stream: MissingStream,
}

impl fmt::Debug for NatsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSink").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl NatsSink {
    /// Connects in the background, again whenever the connection is lost; the server may be away.
    /// An answer is waited for at most `ack_timeout`.
    ///
    /// # Errors
    /// If the URL or the name of the stream is wrong. The error does not repeat the URL.
    pub async fn connect(settings: NatsSettings, ack_timeout: Duration) -> anyhow::Result<Self> {
        let NatsSettings { url, stream, missing_stream } = settings;
        let named = !stream.is_empty()
            && stream.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        anyhow::ensure!(named, "name of the NATS stream must be of a-z, A-Z, 0-9, - and _");
        let mut servers = Vec::new();
        for server in url.expose_secret().split(',') {
            let server: ServerAddr =
                server.trim().parse().context("read URL of NATS; give nats://host:port")?;
            servers.push(server);
        }
        let client = ConnectOptions::new()
            .name("neurotriage-referral")
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .retry_on_initial_connect()
            .event_callback(|event| async move { tracing::info!(%event, "connection to NATS") })
            .connect(servers)
            .await
            .context("begin to connect to NATS")?;
        let context = ContextBuilder::new()
            .timeout(ack_timeout)
            .ack_timeout(ack_timeout)
            .build(client.clone());
        Ok(Self { client, context, stream, missing_stream })
    }

    /// Returns whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Publishes one event and waits until the stream keeps it.
    ///
    /// # Errors
    /// [`SendError::Failed`].
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        // What is handed over without a connection would be sent much later, and again.
        if !self.is_connected() {
            return Err(SendError::failed("no connection to NATS"));
        }
        let mut published = self.publish(letter).await;
        if self.missing_stream == MissingStream::Create
            && published
                .as_ref()
                .is_err_and(|error| error.kind() == PublishErrorKind::StreamNotFound)
        {
            self.create_stream().await?;
            published = self.publish(letter).await;
        }
        published.map_err(|error| SendError::failed(format!("publish to NATS: {error}")))
    }

    async fn publish(&self, letter: &Letter) -> Result<(), PublishError> {
        let message = PublishMessage::build()
            .message_id(letter.row.event_id.to_string())
            // Another stream may take the subject as well; its word does not count.
            .expected_stream(&self.stream)
            .payload(letter.body.clone().into());
        let subject = format!("{SUBJECT_PREFIX}.{}", letter.hospital_id);
        self.context.send_publish(subject, message).await?.await?;
        Ok(())
    }

    async fn create_stream(&self) -> Result<(), SendError> {
        let config = Config {
            name: self.stream.clone(),
            subjects: vec![format!("{SUBJECT_PREFIX}.*")],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_age: STREAM_AGE_MAX,
            max_bytes: STREAM_BYTES_MAX,
            duplicate_window: STREAM_DUPLICATE_WINDOW,
            ..Default::default()
        };
        self.context
            .get_or_create_stream(config)
            .await
            .map_err(|error| SendError::failed(format!("create stream of NATS: {error}")))?;
        tracing::info!(stream = self.stream, "created stream of NATS");
        Ok(())
    }
}
