//! A webhook receiver that answers as it is told.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use neurotriage_referral::{
    Events, WATCHERS_MAX_DEFAULT,
    delivery::{
        Delivery, Sink,
        webhook::{WebhookSettings, WebhookSink},
    },
    lifecycle::{
        event::EventEnvelope,
        outbox::{Policy, PolicySettings},
        signature::{SIGNATURE_HEADER, Secrets, TOLERANCE_DEFAULT},
    },
};
use secrecy::SecretString;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::harness::PATIENCE;

const SECRET: &str = "a secret of a test, long enough to be one";

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answer with this status line and these header lines.
    Status(&'static str, &'static str),
    /// Read the request and close the connection.
    Drop,
    /// Read the request and say nothing.
    Hang,
    /// Begin a body that never ends.
    EndlessBody,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    /// Returns the event, once the signature is found to be right.
    pub(crate) fn event(&self) -> EventEnvelope {
        let secrets = Secrets::new(&[SecretString::from(SECRET.to_owned())]).unwrap();
        let header = &self.headers[SIGNATURE_HEADER];
        let now = OffsetDateTime::now_utc();
        secrets.verify(header, self.body.as_bytes(), TOLERANCE_DEFAULT, now).unwrap();
        EventEnvelope::from_json(self.body.as_bytes()).unwrap()
    }
}

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<Answer>,
    received: Vec<Received>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    count: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Starts a receiver that answers with `answers` and then takes everything.
    pub(crate) async fn start(answers: Vec<Answer>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { answers: answers.into(), received: Vec::new() }));
        let (told, count) = watch::channel(0);
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, told) = (Arc::clone(&shared), told.clone());
                tokio::spawn(async move {
                    // A connection that breaks off is part of the test.
                    let _ = serve(stream, &state, &told).await;
                });
            }
        });
        Ok(Self { address, state, count, server })
    }

    /// Returns a place for events: this one, tried often and quickly.
    pub(crate) fn events(&self, attempts_max: u32) -> anyhow::Result<Events> {
        let settings = WebhookSettings {
            url: format!("http://{}/events?from=neurotriage", self.address).into(),
            secrets: Secrets::new(&[SecretString::from(SECRET.to_owned())])?,
            refused_statuses: vec![410, 422],
        };
        let policy = Policy::new(PolicySettings {
            backoff_first: Duration::from_millis(20),
            backoff_max: Duration::from_millis(200),
            attempts_max,
            attempt_timeout: Duration::from_secs(2),
            lease: Duration::from_secs(8),
            ..*Policy::default().settings()
        })?;
        let delivery = Some(Delivery { sink: Sink::Webhook(WebhookSink::new(settings)?), policy });
        Ok(Events { delivery, watchers_max: WATCHERS_MAX_DEFAULT })
    }

    /// Returns what came, once `count` requests have.
    pub(crate) async fn received(&self, count: usize) -> anyhow::Result<Vec<Received>> {
        let mut counted = self.count.clone();
        let enough = timeout(PATIENCE, counted.wait_for(|now| *now >= count)).await;
        let received = self.state.lock().unwrap().received.clone();
        enough.with_context(|| format!("{} of {count} requests came", received.len()))??;
        Ok(received)
    }
}

async fn serve(
    stream: TcpStream,
    state: &Mutex<State>,
    told: &watch::Sender<usize>,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        assert_eq!(line.trim_end(), "POST /events?from=neurotriage HTTP/1.1");
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").context("a length")?.parse()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = {
            let mut state = state.lock().unwrap();
            state.received.push(Received { headers, body: String::from_utf8(body)? });
            told.send_replace(state.received.len());
            state.answers.pop_front()
        };
        match answer.unwrap_or(Answer::Status("204 No Content", "")) {
            Answer::Status(status, headers) => {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{headers}\r\n");
                stream.write_all(head.as_bytes()).await?;
            }
            Answer::Drop => return Ok(()),
            Answer::Hang => std::future::pending().await,
            Answer::EndlessBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    stream.write_all(b"1000\r\n").await?;
                    stream.write_all(&[b'x'; 0x1000]).await?;
                    stream.write_all(b"\r\n").await?;
                }
            }
        }
    }
}
