//! A PostgreSQL server for one test run: started empty, on loopback, removed at the end.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process;

/// Where Debian and its kin keep the server, one folder a major version.
const DEBIAN_SERVERS: &str = "/usr/lib/postgresql";
/// Users that may own the data when the tests run as root, which PostgreSQL refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
/// How long the server may take to answer. It takes a second or two on an idle machine.
const START_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// How often another port is tried when somebody else took the one found free.
const PORT_TRIES: u32 = 3;
/// Speed before safety: what is lost with the machine is a test's data. Many connections, because
/// every test has a database and a pool of its own.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "timezone=UTC",
];

/// A running server; dropping it stops the server and removes its data.
pub(crate) struct Cluster {
    server: Child,
    programs: Programs,
    port: u16,
    folder: TempDir,
}

impl Cluster {
    /// Starts a server that ends with this program, however that ends.
    pub(crate) fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let mut tries_left = PORT_TRIES;
        loop {
            tries_left -= 1;
            match Self::start_once(programs.clone()) {
                Err(error) if tries_left == 0 => return Err(error),
                Err(_) => process::check_stop()?,
                Ok(cluster) => return Ok(cluster),
            }
        }
    }

    /// Returns the URL without a database name, as the tests expect it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    fn start_once(programs: Programs) -> Result<Self> {
        let folder = programs.folder()?;
        let data = folder.path().join("data");
        let mut initdb = programs.command("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .current_dir(folder.path());
        process::output(&mut initdb)?;

        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("find a free port")?
            .port();
        let log = folder.path().join("log");
        let log_file = fs::File::create(&log).context("create the log of PostgreSQL")?;
        let mut server = programs.command("postgres");
        server
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().context("share the log of PostgreSQL")?)
            .stderr(log_file);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let server = server.spawn().context("start postgres")?;
        let mut cluster = Self { server, programs, port, folder };
        cluster.wait_until_ready(&log)?;
        Ok(cluster)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_WAIT;
        loop {
            process::check_stop()?;
            let ended = self.server.try_wait().context("look at postgres")?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("PostgreSQL did not start; its log:\n{}", log.trim());
            }
            let mut ready = Command::new(self.programs.bin.join("pg_isready"));
            ready.args(["--quiet", "--host=127.0.0.1", "--port", &self.port.to_string()]);
            if ready.status().context("run pg_isready")?.success() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.programs.command("pg_ctl");
        stop.args(["stop", "--silent", "--mode=immediate", "--pgdata"])
            .arg(self.folder.path().join("data"))
            .current_dir(self.folder.path())
            .stderr(Stdio::null());
        let stopped = stop.status().is_ok_and(|status| status.success());
        if !stopped {
            // It has ended already, or never wrote its process id.
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// A user that is not root.
#[derive(Clone)]
struct User {
    name: String,
    /// Main group; not always one of the user's name (`nobody` has `nogroup`).
    group_id: String,
}

/// The server's programs and the user they run as.
#[derive(Clone)]
struct Programs {
    bin: PathBuf,
    /// Set when this program runs as root.
    user: Option<User>,
}

impl Programs {
    fn find() -> Result<Self> {
        let Some(bin) = server_folder() else {
            bail!(
                "the tests need the PostgreSQL server (initdb, postgres): install the package \
                 `postgresql` (Debian: apt-get install postgresql)"
            );
        };
        Ok(Self { bin, user: unprivileged_user()? })
    }

    /// Returns a folder that the server's user owns and may enter.
    fn folder(&self) -> Result<TempDir> {
        // A temporary folder of root's own may be closed to the server's user.
        let parent = if self.user.is_some() { "/tmp".into() } else { env::temp_dir() };
        let folder = tempfile::Builder::new()
            .prefix("neurotriage-postgres-")
            .tempdir_in(parent)
            .context("create a folder for PostgreSQL")?;
        if let Some(user) = &self.user {
            process::output(Command::new("chown").arg(&user.name).arg(folder.path()))?;
        }
        Ok(folder)
    }

    /// Returns a command that runs `program` as the server's user and, on Linux, ends with us.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        if !cfg!(target_os = "linux") {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        if let Some(user) = &self.user {
            command.args(["--reuid", &user.name, "--regid", &user.group_id, "--clear-groups"]);
        }
        // SIGQUIT is PostgreSQL's immediate shutdown.
        command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
        command
    }
}

/// Returns the user to run the server as; none where this program's own will do.
fn unprivileged_user() -> Result<Option<User>> {
    if process::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Ok(None);
    }
    for name in UNPRIVILEGED {
        // An error means that there is no such user.
        if let Ok(group_id) = process::output(Command::new("id").args(["-g", name])) {
            let group_id = group_id.trim().to_owned();
            return Ok(Some(User { name: name.to_owned(), group_id }));
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is no user postgres or nobody");
}

/// Returns the folder of the newest server.
fn server_folder() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_SERVERS).into_iter().flatten().flatten();
    let mut folders: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| is_server(bin))
        .collect();
    folders.sort();
    if let Some((_, bin)) = folders.pop() {
        return Some(bin);
    }
    let bin = process::find("postgres")?.parent()?.to_owned();
    is_server(&bin).then_some(bin)
}

fn is_server(bin: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl", "pg_isready"].iter().all(|name| bin.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_cluster_leaves_nothing_behind() {
        if server_folder().is_none() {
            println!("skipped: the PostgreSQL server is not installed");
            return;
        }
        let cluster = Cluster::start().expect("start");
        let folder = cluster.folder.path().to_owned();
        let port = cluster.port;
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        drop(cluster);
        assert!(!folder.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
