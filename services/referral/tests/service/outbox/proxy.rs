//! Stands between workers and NATS, notes what is published, and holds what it is told to hold.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::world::PATIENCE;

/// One event on its way, or in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// `Nats-Msg-Id`.
    pub(crate) id: String,
    pub(crate) body: String,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Publishes that may pass from now on.
    publishes: usize,
    acknowledgements: bool,
}

#[derive(Clone)]
struct Shared {
    rules: watch::Sender<Rules>,
    /// How many came, held ones too.
    publishes: watch::Sender<usize>,
    acknowledgements: watch::Sender<usize>,
    /// What was let through.
    published: Arc<Mutex<Vec<Published>>>,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(nats: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let rules = Rules { publishes: usize::MAX, acknowledgements: true };
        let shared = Shared {
            rules: watch::Sender::new(rules),
            publishes: watch::Sender::new(0),
            acknowledgements: watch::Sender::new(0),
            published: Arc::default(),
        };
        let state = shared.clone();
        let server = tokio::spawn(async move {
            while let Ok((worker, _)) = listener.accept().await {
                // Without a server the worker finds nobody, as it would without us.
                if let Ok(server) = TcpStream::connect(&nats).await {
                    tokio::spawn(join(worker, server, state.clone()));
                }
            }
        });
        Ok(Self { address, shared, server })
    }

    /// Lets only the next `count` publishes pass.
    pub(crate) fn allow_publishes(&self, count: usize) {
        self.shared.rules.send_modify(|rules| rules.publishes = count);
    }

    pub(crate) fn hold_acknowledgements(&self) {
        self.shared.rules.send_modify(|rules| rules.acknowledgements = false);
    }

    pub(crate) fn allow_all(&self) {
        self.shared.rules.send_replace(Rules { publishes: usize::MAX, acknowledgements: true });
    }

    /// Returns what was let through, in order.
    pub(crate) fn published(&self) -> Vec<Published> {
        self.shared.published.lock().unwrap().clone()
    }

    /// Returns how many acknowledgements came, held ones too.
    pub(crate) fn acknowledgements(&self) -> usize {
        *self.shared.acknowledgements.borrow()
    }

    pub(crate) async fn wait_for_publishes(&self, count: usize) -> anyhow::Result<()> {
        wait_for(&self.shared.publishes, count).await.context("wait for publishes")
    }

    pub(crate) async fn wait_for_acknowledgements(&self, count: usize) -> anyhow::Result<()> {
        wait_for(&self.shared.acknowledgements, count).await.context("wait for acknowledgements")
    }
}

async fn wait_for(counter: &watch::Sender<usize>, count: usize) -> anyhow::Result<()> {
    let mut counter = counter.subscribe();
    timeout(PATIENCE, counter.wait_for(|now| *now >= count)).await??;
    Ok(())
}

/// Either side that ends ends the other.
async fn join(worker: TcpStream, server: TcpStream, shared: Shared) {
    let (from_worker, to_worker) = worker.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = publishes(BufReader::new(from_worker), to_server, shared.clone()) => {}
        _ = answers(BufReader::new(from_server), to_worker, shared) => {}
    }
}

/// Returns one message of the protocol: its line, and what follows it. `None` at the end.
async fn frame(
    from: &mut BufReader<OwnedReadHalf>,
    with_payload: &[&str],
) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if from.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    if !words.next().is_some_and(|word| with_payload.contains(&word)) {
        return Ok(Some((line, Vec::new())));
    }
    let bytes: usize = words.last().context("a length")?.parse()?;
    let mut payload = vec![0; bytes + 2];
    from.read_exact(&mut payload).await?;
    Ok(Some((line, payload)))
}

async fn publishes(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    shared: Shared,
) -> anyhow::Result<()> {
    while let Some((line, payload)) = frame(&mut from, &["PUB", "HPUB"]).await? {
        if line.starts_with("HPUB neurotriage.referral.v1.") {
            shared.publishes.send_modify(|count| *count += 1);
            let mut rules = shared.rules.subscribe();
            rules.wait_for(|rules| rules.publishes > 0).await?;
            shared.rules.send_modify(|rules| rules.publishes = rules.publishes.saturating_sub(1));
            shared.published.lock().unwrap().push(parse(&payload)?);
        }
        to.write_all(line.as_bytes()).await?;
        to.write_all(&payload).await?;
    }
    Ok(())
}

fn parse(payload: &[u8]) -> anyhow::Result<Published> {
    let text = std::str::from_utf8(payload)?;
    let (headers, body) = text.split_once("\r\n\r\n").context("headers")?;
    let id =
        headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: ")).context("an id")?;
    Ok(Published { id: id.to_owned(), body: body.trim_end().to_owned() })
}

async fn answers(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    shared: Shared,
) -> anyhow::Result<()> {
    while let Some((line, payload)) = frame(&mut from, &["MSG", "HMSG"]).await? {
        let text = String::from_utf8_lossy(&payload);
        if text.contains("\"stream\"") && text.contains("\"seq\"") {
            shared.acknowledgements.send_modify(|count| *count += 1);
            shared.rules.subscribe().wait_for(|rules| rules.acknowledgements).await?;
        }
        to.write_all(line.as_bytes()).await?;
        to.write_all(&payload).await?;
    }
    Ok(())
}
