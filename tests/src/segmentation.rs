//! The segmentation service alone: a process with a SQLite file and a folder of objects.

use std::path::Path;

use anyhow::{Context as _, ensure};
use neurotriage_domain::Modality;
use neurotriage_network::{DeviceChoice, Model, ModelCard, NetworkConfig};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    deployment::keyring,
    programs::program,
    server::{Server, free_ports},
};

/// The program.
const NAME: &str = "neurotriage-segmentation";

/// What outlives the process: its settings, rows and objects.
#[derive(Debug)]
pub struct SegmentationGround {
    folder: TempDir,
    endpoint: String,
    environment: Vec<(&'static str, String)>,
}

impl SegmentationGround {
    /// Makes a database and a folder; no model is in them.
    ///
    /// # Errors
    /// If a folder or the database can't be made.
    pub async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let below = |name: &str| folder.path().join(name).display().to_string();
        let port = free_ports(1)?.pop().context("no port is free")?;
        let environment = vec![
            ("SEGMENTATION_LISTEN", format!("127.0.0.1:{port}")),
            ("SEGMENTATION_DATABASE_URL", format!("sqlite://{}", below("rows.sqlite"))),
            ("KEYRING", keyring()?),
            ("SEGMENTATION_DEVICE", "cpu".to_owned()),
            ("BLOBS_URL", format!("file://{}", below("blobs"))),
            // Nobody listens there: no study is asked for.
            ("INGESTION_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ];
        let migrated = Command::new(program("neurotriage-migrate")?)
            .arg("up")
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .output()
            .await
            .context("run neurotriage-migrate")?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Ok(Self { folder, endpoint: format!("http://127.0.0.1:{port}"), environment })
    }

    /// Returns the folder that everything is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where the service answers while it runs.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds a setting for the next start.
    pub fn set(&mut self, key: &'static str, value: String) {
        self.environment.push((key, value));
    }

    /// Starts the service.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start(&self) -> anyhow::Result<Server> {
        Server::start(NAME, &self.endpoint, &self.environment).await
    }

    /// Starts the service with a limit on the size of its files.
    ///
    /// # Errors
    /// As [`Server::start_with_small_files`].
    pub async fn start_with_small_files(&self, file_kib_max: u32) -> anyhow::Result<Server> {
        let (endpoint, environment) = (&self.endpoint, &self.environment);
        Server::start_with_small_files(NAME, endpoint, environment, file_kib_max).await
    }
}

/// Writes a small model with weights drawn from `seed` into a folder, and returns its card.
///
/// # Errors
/// If the folder can't be written.
pub fn write_tiny_model(folder: &Path, name: &str, seed: u64) -> anyhow::Result<ModelCard> {
    write_model(folder, name, seed, &[4, 8])
}

/// As [`write_tiny_model`], with a network of these widths.
///
/// # Errors
/// If the folder can't be written.
pub fn write_model(
    folder: &Path,
    name: &str,
    seed: u64,
    widths: &[i64],
) -> anyhow::Result<ModelCard> {
    let network = NetworkConfig::residual(widths);
    let mut card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
    card.seed = seed;
    card.provenance.name = name.to_owned();
    card.provenance.licence = "CC0-1.0".to_owned();
    std::fs::create_dir_all(folder).context("make the folder of a model")?;
    Ok(Model::untrained(&card, DeviceChoice::Cpu)?.save(folder)?)
}
