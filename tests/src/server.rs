//! Servers as processes of their own.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use neurotriage_service_kit::client;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::programs::program;

/// How long a server may take to answer after its start; the network is loaded in that time.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns `count` ports that were free a moment ago.
///
/// # Errors
/// If none can be bound.
pub fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    // All are held before one is given away, so that no port comes twice.
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a free port")?);
    }
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// A server process; killed when dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    process: Child,
}

impl Server {
    /// Starts the program `name` with this environment on top of the test's own, and returns when
    /// it answers at `endpoint`.
    ///
    /// # Errors
    /// If it is not built, ends, or does not answer in time.
    pub async fn start(
        name: &'static str,
        endpoint: &str,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program(name)?);
        command.stdout(Stdio::null());
        Self::start_command(command, name, endpoint, environment).await
    }

    /// As [`Server::start`], with all that it writes in the file `log`.
    ///
    /// # Errors
    /// As [`Server::start`], and if the file can't be made.
    pub async fn start_logged(
        name: &'static str,
        endpoint: &str,
        environment: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let mut command = Command::new(program(name)?);
        command.stdout(file.try_clone().context("share the log")?).stderr(file);
        Self::start_command(command, name, endpoint, environment).await
    }

    /// As [`Server::start`], but no file of the server may grow beyond `file_kib_max`: writes
    /// beyond it fail as on a full disk.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_small_files(
        name: &'static str,
        endpoint: &str,
        environment: &[(&str, String)],
        file_kib_max: u32,
    ) -> anyhow::Result<Self> {
        // The signal that says so is ignored; POSIX counts in blocks of 512 bytes.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", file_kib_max * 2);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program(name)?).stdout(Stdio::null());
        Self::start_command(command, name, endpoint, environment).await
    }

    async fn start_command(
        mut command: Command,
        name: &'static str,
        endpoint: &str,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let process = command
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let mut server = Self { name, process };
        let began = Instant::now();
        loop {
            if let Some(status) = server.process.try_wait()? {
                bail!("{name} ended with {status} instead of serving");
            }
            let request = HealthCheckRequest { service: String::new() };
            let mut health = HealthClient::new(client::channel(endpoint)?);
            match timeout(START_TIMEOUT, health.check(request)).await {
                Ok(Ok(_)) => return Ok(server),
                Ok(Err(status)) if began.elapsed() > START_TIMEOUT => {
                    bail!("{name} does not answer at {endpoint}: {status}");
                }
                Ok(Err(_)) => sleep(PAUSE).await,
                Err(_) => bail!("{name} does not answer at {endpoint}"),
            }
        }
    }

    /// Returns the process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// If the process has ended already.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let id = self.process.id().with_context(|| format!("{} has ended already", self.name))?;
        let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        if !status.success() {
            bail!("kill of {} failed with {status}", self.name);
        }
        Ok(())
    }

    /// Ends it by SIGKILL, which it can't hear, and waits for that.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// Waits for the end and returns the exit code.
    ///
    /// # Errors
    /// If it does not end in time, or by a signal.
    pub async fn exit_code(mut self) -> anyhow::Result<i32> {
        let status = timeout(STOP_TIMEOUT, self.process.wait())
            .await
            .with_context(|| format!("{} does not end after SIGTERM", self.name))??;
        status.code().with_context(|| format!("{} ended by a signal: {status}", self.name))
    }
}
