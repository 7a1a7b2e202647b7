//! The four services as processes of their own, with a SQLite file or a database of PostgreSQL each.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use neurotriage_sealing::{KeyId, Keyring};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    programs::program,
    server::{Server, free_ports},
};

/// How long a program may take to refuse to start.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(60);

/// The services in the order of their ports, with the variable of their address.
pub const SERVICES: [(&str, &str, &str); 4] = [
    ("ingestion", "neurotriage-ingestion", "INGESTION_LISTEN"),
    ("segmentation", "neurotriage-segmentation", "SEGMENTATION_LISTEN"),
    ("records", "neurotriage-records", "RECORDS_LISTEN"),
    ("referral", "neurotriage-referral", "REFERRAL_LISTEN"),
];

/// Returns fresh keys for the services, as their setting takes them.
///
/// # Errors
/// If there are no random numbers.
pub fn keyring() -> anyhow::Result<String> {
    let id = KeyId::parse("test").context("name keys")?;
    Ok(Keyring::generate(&id).context("make keys")?.trim_end().replace('\n', ","))
}

/// Settings, databases and a folder for objects.
#[derive(Debug)]
pub struct Ground {
    folder: TempDir,
    endpoints: Vec<String>,
    environment: Vec<(&'static str, String)>,
    has_key_files: bool,
}

impl Ground {
    /// Makes a SQLite file for each service. `settings` are for every program.
    ///
    /// # Errors
    /// If a folder or a database can't be made.
    pub async fn new(settings: Vec<(&'static str, String)>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let urls = SERVICES.map(|(name, _, _)| {
            format!("sqlite://{}", folder.path().join(format!("{name}.sqlite")).display())
        });
        Self::with_databases(folder, settings, urls).await
    }

    /// As [`Ground::new`], with the databases of ingestion, segmentation, records and referral at `urls`.
    ///
    /// # Errors
    /// If a folder or the tables can't be made.
    pub async fn on_postgres(
        urls: [String; 4],
        settings: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        Self::with_databases(folder, settings, urls).await
    }

    async fn with_databases(
        folder: TempDir,
        settings: Vec<(&'static str, String)>,
        urls: [String; 4],
    ) -> anyhow::Result<Self> {
        let below = |name: &str| folder.path().join(name).display().to_string();
        let ports = free_ports(SERVICES.len())?;
        let endpoints: Vec<String> =
            ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let mut environment = settings;
        for ((_, _, listen), port) in SERVICES.into_iter().zip(&ports) {
            environment.push((listen, format!("127.0.0.1:{port}")));
        }
        let [ingestion, segmentation, records, referral] = urls;
        environment.extend([
            ("INGESTION_DATABASE_URL", ingestion),
            ("SEGMENTATION_DATABASE_URL", segmentation),
            ("RECORDS_DATABASE_URL", records),
            ("REFERRAL_DATABASE_URL", referral),
            ("KEYRING", keyring()?),
            ("BLOBS_URL", format!("file://{}", below("blobs"))),
            ("INGESTION_ENDPOINT", endpoints[0].clone()),
            ("SEGMENTATION_ENDPOINT", endpoints[1].clone()),
            ("RECORDS_ENDPOINT", endpoints[2].clone()),
            ("SEGMENTATION_DEVICE", "cpu".to_owned()),
        ]);
        let migrated = Command::new(program("neurotriage-migrate")?)
            .arg("up")
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .output()
            .await
            .context("run neurotriage-migrate")?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Ok(Self { folder, endpoints, environment, has_key_files: false })
    }

    /// Has each service read keys of its own, from the file of [`Ground::key_file`].
    pub fn use_key_files(&mut self) {
        self.environment.retain(|(key, _)| *key != "KEYRING");
        self.has_key_files = true;
    }

    /// Returns where the keys of the service of that name are, if [`Ground::use_key_files`] was called.
    pub fn key_file(&self, service: &str) -> PathBuf {
        self.folder.path().join(format!("{service}.keys"))
    }

    fn settings_of(&self, service: &str) -> Vec<(&'static str, String)> {
        let mut settings = self.environment.clone();
        if self.has_key_files {
            settings.push(("KEYRING_FILE", self.key_file(service).display().to_string()));
        }
        settings
    }

    /// Returns the folder that everything is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where the service of that name answers, such as `records`.
    ///
    /// # Errors
    /// If there is no such service.
    pub fn endpoint(&self, service: &str) -> anyhow::Result<&str> {
        let at = SERVICES.iter().position(|(name, _, _)| *name == service);
        Ok(&self.endpoints[at.with_context(|| format!("no service {service}"))?])
    }

    /// Starts the four and waits until they are healthy.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start(&self) -> anyhow::Result<Vec<Server>> {
        self.start_some(&SERVICES.map(|(name, _, _)| name)).await
    }

    /// As [`Ground::start`], with these services alone.
    ///
    /// # Errors
    /// As [`Server::start`], and if there is no such service.
    pub async fn start_some(&self, services: &[&str]) -> anyhow::Result<Vec<Server>> {
        let mut servers = Vec::with_capacity(services.len());
        for service in services {
            let of_name = SERVICES.into_iter().find(|(name, _, _)| name == service);
            let (_, program, _) = of_name.with_context(|| format!("no service {service}"))?;
            let (endpoint, settings) = (self.endpoint(service)?, self.settings_of(service));
            servers.push(Server::start(program, endpoint, &settings).await?);
        }
        Ok(servers)
    }

    /// As [`Ground::start`], with all that a service writes in the file of [`Ground::log`].
    ///
    /// # Errors
    /// As [`Server::start_logged`].
    pub async fn start_logged(&self) -> anyhow::Result<Vec<Server>> {
        let mut servers = Vec::with_capacity(SERVICES.len());
        for ((service, program, _), endpoint) in SERVICES.into_iter().zip(&self.endpoints) {
            let log = self.log(service);
            let settings = self.settings_of(service);
            servers.push(Server::start_logged(program, endpoint, &settings, &log).await?);
        }
        Ok(servers)
    }

    /// Returns the file with what the service of that name wrote.
    pub fn log(&self, service: &str) -> PathBuf {
        self.folder.path().join(format!("{service}.log"))
    }

    /// Runs a program that is to refuse to start, with these settings on top, and returns its end.
    ///
    /// # Errors
    /// If it is not built, or does not end in time.
    pub async fn refused(&self, name: &str, settings: &[(&str, String)]) -> anyhow::Result<Output> {
        let run = Command::new(program(name)?)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .envs(settings.iter().map(|(key, value)| (key, value)))
            .kill_on_drop(true)
            .output();
        let ended = timeout(REFUSAL_TIMEOUT, run).await;
        ended
            .with_context(|| format!("{name} runs instead of refusing to start"))?
            .with_context(|| format!("run {name}"))
    }
}
