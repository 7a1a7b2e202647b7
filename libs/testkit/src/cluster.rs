//! A PostgreSQL server of one test, which the test may stop and start again.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// Where Debian and its kin keep the server, one folder a major version.
const DEBIAN_SERVERS: &str = "/usr/lib/postgresql";
/// Whom the server runs as when the test runs as root, which PostgreSQL refuses.
const UNPRIVILEGED: &str = "postgres";
/// Speed before safety: what is lost with the machine is a test's data.
const SETTINGS: &str = "-c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off \
                        -c full_page_writes=off -c shared_buffers=16MB";

/// A server; dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
    is_root: bool,
}

impl Cluster {
    /// Starts an empty server on loopback, or returns `None` and says so where PostgreSQL is not installed.
    ///
    /// # Errors
    /// If the server does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(bin) = server_folder() else {
            eprintln!("SKIPPED: the PostgreSQL server (initdb, pg_ctl) is not installed");
            return Ok(None);
        };
        let folder = tempfile::Builder::new()
            .prefix("neurotriage-postgres-")
            .tempdir()
            .context("create a folder for PostgreSQL")?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("find a free port")?
            .port();
        let id = Command::new("id").arg("-u").output().context("run id")?;
        let is_root = id.stdout.trim_ascii() == b"0";
        let cluster = Self { bin, folder, port, is_root };
        if is_root {
            let folder = cluster.folder.path();
            let chown = Command::new("chown").arg(UNPRIVILEGED).arg(folder).output();
            check(chown.context("run chown")?)?;
        }
        cluster
            .run("initdb", &["--username=postgres", "--auth=trust", "--no-sync", "-E", "UTF8"])?;
        cluster.go_on()?;
        Ok(Some(cluster))
    }

    /// Returns the URL without a database name, as [`TestDb::postgres_at`](crate::TestDb::postgres_at) takes it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Stops the server as an administrator does, without waiting for those who are connected.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run("pg_ctl", &["stop", "--wait", "--mode=fast"])
    }

    /// Starts it again, with its data, and waits until it answers.
    ///
    /// # Errors
    /// If it does not start.
    pub fn go_on(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let log = format!("--log={}", folder.join("log").display());
        let socket = folder.display();
        let options =
            format!("--options=-p {} -c unix_socket_directories={socket} {SETTINGS}", self.port);
        self.run("pg_ctl", &["start", "--wait", &log, &options])
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let program = self.bin.join(program);
        let mut command = if self.is_root {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid",
                UNPRIVILEGED,
                "--regid",
                UNPRIVILEGED,
                "--clear-groups",
                "--",
            ]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .arg("--pgdata")
            .arg(self.folder.path().join("data"))
            .current_dir(self.folder.path())
            // A server that inherits a pipe would keep it open.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().with_context(|| format!("run {command:?}"))?;
        if !status.success() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            bail!("{command:?} failed: {status}; the server's log: {}", log.trim());
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Fails if the test has stopped it.
        let _ = self.run("pg_ctl", &["stop", "--wait", "--mode=immediate"]);
    }
}

fn check(output: Output) -> anyhow::Result<()> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Returns the folder of the newest server.
fn server_folder() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_SERVERS).into_iter().flatten().flatten();
    let debian = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let newest = debian.filter(|(_, bin)| is_server(bin)).max();
    let elsewhere = ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"];
    let elsewhere = elsewhere.map(PathBuf::from).into_iter().find(|bin| is_server(bin));
    newest.map(|(_, bin)| bin).or(elsewhere)
}

fn is_server(bin: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"].iter().all(|name| bin.join(name).is_file())
}
