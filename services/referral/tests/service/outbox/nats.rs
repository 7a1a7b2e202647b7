//! A `nats-server` with JetStream on loopback.

use std::{
    env,
    net::TcpListener as StdListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::world::PATIENCE;

/// Returns where `nats-server` is installed, if it is. Debian keeps it off a user's search path.
pub(crate) fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/bin")])
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file())
}

pub(crate) struct NatsServer {
    program: PathBuf,
    port: u16,
    folder: TempDir,
    child: Child,
}

impl NatsServer {
    pub(crate) async fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = StdListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = spawn(program, port, folder.path())?;
        let mut server = Self { program: program.to_owned(), port, folder, child };
        server.wait_until_ready().await?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the server without a word to anyone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill nats-server")
    }

    /// Starts it again with what it wrote.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, self.port, self.folder.path())?;
        self.wait_until_ready().await
    }

    /// Waits for its greeting.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = TcpStream::connect(self.address()).await {
                let mut line = String::new();
                let _ = BufReader::new(stream).read_line(&mut line).await;
                if line.starts_with("INFO") {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("nats-server ended: {status}");
            }
            anyhow::ensure!(Instant::now() < deadline, "nats-server does not answer");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(program: &Path, port: u16, folder: &Path) -> anyhow::Result<Child> {
    Command::new(program)
        .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream"])
        .arg("--store_dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start nats-server")
}
