//! The service as the program that is shipped, in a process of its own.

use std::{fs, net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, bail, ensure};
use neurotriage_proto::records::v1::records_service_client::RecordsServiceClient;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};
use tonic::transport::{Channel, Endpoint};

/// How long the program may take to listen. It waits for its database.
const START_WAIT: Duration = Duration::from_secs(60);

/// Keys that only tests have.
pub(crate) const KEYS: &str = "seal:s1:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=,\
    index:i1:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=,\
    audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";

/// A service, running or killed; dropped, it is gone.
pub(crate) struct Service {
    url: SecretString,
    connections: u32,
    port: u16,
    folder: TempDir,
    child: Child,
}

impl Service {
    /// Starts it on the database at `url`, with a pool of `connections`; returns when it listens.
    pub(crate) async fn start(url: &SecretString, connections: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = url.clone();
        let child = spawn(&url, connections, port, folder.path().join("log"))?;
        let mut service = Self { url, connections, port, folder, child };
        service.wait_until_it_listens().await?;
        Ok(service)
    }

    /// Returns a connection to it, which is made at the first call and again whenever it broke.
    pub(crate) fn client(&self) -> anyhow::Result<RecordsServiceClient<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port))?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
        Ok(RecordsServiceClient::new(endpoint.connect_lazy()))
    }

    /// Returns which process it is.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Fails if it ended by itself.
    pub(crate) fn check_runs(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the service had ended by itself: {status}; its log: {}", self.log());
        }
        Ok(())
    }

    /// Kills it with SIGKILL; returns when it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.check_runs()?;
        self.child.kill().await.context("kill the service")
    }

    /// Starts it again on the same port; returns when it listens.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.url, self.connections, self.port, self.log_file())?;
        self.wait_until_it_listens().await
    }

    /// Returns the last of what it logged.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WAIT;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            self.check_runs()?;
            ensure!(Instant::now() < deadline, "the service does not listen: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn spawn(url: &SecretString, connections: u32, port: u16, log: PathBuf) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(env!("CARGO_BIN_EXE_neurotriage-records"))
        .env_clear()
        .env("RECORDS_LISTEN", format!("127.0.0.1:{port}"))
        .env("RECORDS_DATABASE_URL", url.expose_secret())
        .env("RECORDS_DATABASE_CONNECTIONS_MAX", connections.to_string())
        .env("KEYRING", KEYS)
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .context("start the service")
}
