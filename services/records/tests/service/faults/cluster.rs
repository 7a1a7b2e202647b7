//! A PostgreSQL server that can be killed and stopped: data of its own, on loopback, removed at the end.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Where Debian and its kin keep the server, one folder a major version.
const DEBIAN_SERVERS: &str = "/usr/lib/postgresql";
/// Users that may own the data when the tests run as root, which PostgreSQL refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
/// How long the server may take to answer; after a crash it repairs first.
const START_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A server, running or killed; dropped, it is gone.
pub(crate) struct Cluster {
    programs: Programs,
    settings: Vec<String>,
    port: u16,
    folder: TempDir,
    server: Child,
}

impl Cluster {
    /// Starts an empty server with `settings` beside its defaults, or returns `None` and says so if PostgreSQL
    /// is not installed.
    pub(crate) async fn start(settings: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(bin) = server_folder() else {
            eprintln!("skipped postgres: install the PostgreSQL server (initdb, postgres)");
            return Ok(None);
        };
        let programs = Programs { bin, user: unprivileged_user()? };
        let folder = programs.folder()?;
        let mut initdb = programs.command("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .current_dir(folder.path());
        output(&mut initdb)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let server = spawn(&programs, &settings, port, folder.path())?;
        let mut cluster = Self { programs, settings, port, folder, server };
        cluster.wait_until_ready().await?;
        Ok(Some(cluster))
    }

    /// Returns the URL of its administrator, without a database name.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Ends every process of the server at once, without a word to anyone, as a crash of the machine would.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.server.try_wait()? {
            bail!("PostgreSQL had ended by itself: {status}; its log: {}", self.log());
        }
        // Still, it starts no other process while it is looked at.
        self.pause()?;
        self.signal("KILL")?;
        self.server.wait().context("wait for PostgreSQL to be gone")?;
        // What it started goes to init, which takes a moment to see it off.
        let deadline = Instant::now() + START_WAIT;
        while self.is_anyone_left() {
            ensure!(Instant::now() < deadline, "processes of PostgreSQL do not end");
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts it again with what it wrote; returns when it answers.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.server = spawn(&self.programs, &self.settings, self.port, self.folder.path())?;
        self.wait_until_ready().await
    }

    /// Stops every process of the server in its tracks: connections stay open and nothing answers.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        // Twice: one may have begun between the look and the signal.
        self.signal("STOP")?;
        self.signal("STOP")
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let parent = self.server.id();
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(parent.to_string());
        kill.args(children(parent).iter().map(ToString::to_string));
        // One that ended meanwhile makes kill complain.
        let status = kill.stderr(Stdio::null()).status();
        status.map(drop).with_context(|| format!("send {name} to PostgreSQL"))
    }

    fn is_anyone_left(&self) -> bool {
        let data = self.folder.path().join("data");
        processes()
            .any(|process| fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == data))
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WAIT;
        loop {
            if let Some(status) = self.server.try_wait()? {
                bail!("PostgreSQL ended: {status}; its log: {}", self.log());
            }
            let mut ready = Command::new(self.programs.bin.join("pg_isready"));
            ready.args(["--quiet", "--host=127.0.0.1", "--port", &self.port.to_string()]);
            if ready.status().context("run pg_isready")?.success() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "PostgreSQL does not answer: {}", self.log());
            sleep(POLL).await;
        }
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns where a program of this PostgreSQL lies.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.bin.join(name)
    }

    /// Returns all that the server said.
    pub(crate) fn whole_log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Returns the last of it.
    fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) {
            let _ = self.pause();
            let _ = self.signal("KILL");
        }
        let _ = self.server.wait();
    }
}

fn spawn(
    programs: &Programs,
    settings: &[String],
    port: u16,
    folder: &Path,
) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let mut server = programs.command("postgres");
    server
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()])
        .args(["-c", "unix_socket_directories="])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.spawn().context("start postgres")
}

/// Returns the processes that `parent` started.
fn children(parent: u32) -> Vec<u32> {
    let child = |process: PathBuf| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let of = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        let id = process.file_name()?.to_str()?.parse().ok()?;
        (of.trim().parse() == Ok(parent)).then_some(id)
    };
    processes().filter_map(child).collect()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path())
}

/// A user that is not root.
struct User {
    name: String,
    /// Main group; not always one of the user's name (`nobody` has `nogroup`).
    group_id: String,
}

/// The server's programs and the user they run as.
struct Programs {
    bin: PathBuf,
    /// Set when this program runs as root.
    user: Option<User>,
}

impl Programs {
    /// Returns a folder that the server's user owns and may enter.
    fn folder(&self) -> anyhow::Result<TempDir> {
        // A temporary folder of root's own may be closed to the server's user.
        let parent = if self.user.is_some() { "/tmp".into() } else { env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("neurotriage-faults-").tempdir_in(parent)?;
        if let Some(user) = &self.user {
            output(Command::new("chown").arg(&user.name).arg(folder.path()))?;
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
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }
}

fn unprivileged_user() -> anyhow::Result<Option<User>> {
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Ok(None);
    }
    for name in UNPRIVILEGED {
        // An error means that there is no such user.
        if let Ok(group_id) = output(Command::new("id").args(["-g", name])) {
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
        .collect();
    folders.sort();
    let on_path = env::var_os("PATH").unwrap_or_default();
    let debian = folders.into_iter().rev().map(|(_, bin)| bin);
    debian.chain(env::split_paths(&on_path)).find(|bin| {
        ["initdb", "postgres", "pg_isready"].iter().all(|name| bin.join(name).is_file())
    })
}

/// Runs a program and returns what it printed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start a program")?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        bail!("{:?} failed: {}\n{}", command.get_program(), output.status, problem.trim());
    }
    String::from_utf8(output.stdout).context("read what a program printed")
}
