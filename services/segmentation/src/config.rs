//! Settings, from flags or the environment. `--help` is their reference.

use std::{net::SocketAddr, num::ParseIntError, path::PathBuf, time::Duration};

use clap::{Args, Parser, builder::RangedU64ValueParser};
use neurotriage_network::{DeviceChoice, Mirroring};
use neurotriage_service_kit::{
    access::AccessConfig, keyring::KeyringConfig, telemetry::TelemetryConfig,
};
use secrecy::SecretString;

use crate::{placement::RegistrationRule, registry::RegistryLimits, training::TrainingSettings};

/// Settings of the segmentation service.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "neurotriage-segmentation",
    version,
    about = "Marks the tumour in MRI studies and names the brain regions it touches."
)]
pub struct Config {
    /// Address the gRPC server listens on.
    #[arg(long, env = "SEGMENTATION_LISTEN", default_value = "0.0.0.0:50052")]
    pub listen: SocketAddr,

    /// How long running calls may go on after a shutdown signal, in seconds. A study takes the
    /// longest: allow for one on a CPU.
    #[arg(long, env = "SEGMENTATION_DRAIN_SECONDS", default_value = "60", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Database: `postgres://...` or `sqlite://...`. Holds a password, so it is never shown.
    #[arg(long, env = "SEGMENTATION_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Most database connections held open.
    #[arg(long, env = "SEGMENTATION_DATABASE_CONNECTIONS_MAX", default_value = "8")]
    pub database_connections_max: u32,

    /// Keys that sign the audit: of the uses, `audit` is enough.
    #[command(flatten)]
    pub keyring: KeyringConfig,

    /// Where objects are kept: `file:///folder`. Shared with the ingestion service.
    #[arg(long, env = "BLOBS_URL")]
    pub blobs_url: String,

    /// Where the ingestion service answers, such as `http://ingestion:50051`.
    #[arg(long, env = "INGESTION_ENDPOINT")]
    pub ingestion_endpoint: String,

    /// Device of the network: `auto`, `cpu` or `cuda:N`.
    #[arg(long, env = "SEGMENTATION_DEVICE", default_value = "auto")]
    pub device: DeviceChoice,

    /// Folder with `model.safetensors` and `card.json` of the model that serves, whatever was
    /// promoted; if not given, the model last promoted, or the built-in one.
    #[arg(long, env = "SEGMENTATION_MODEL")]
    pub model: Option<PathBuf>,

    /// Registry of models.
    #[command(flatten)]
    pub registry: RegistryConfig,

    /// Training in the service.
    #[command(flatten)]
    pub training: TrainingConfig,

    /// Most studies that wait for the network; one more is refused with RESOURCE_EXHAUSTED. Each
    /// holds about 60 MB.
    #[arg(long, env = "SEGMENTATION_QUEUE_MAX", default_value = "8")]
    pub queue_max: usize,

    /// Most calls of `Localise` at a time; one more is refused with RESOURCE_EXHAUSTED. Each may send
    /// a mask and an image of 256 MiB each.
    #[arg(long, env = "SEGMENTATION_UPLOADS_MAX", default_value = "2", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub uploads_max: usize,

    /// Mirror images that are segmented too, to be surer and to know how sure: `off` (one pass),
    /// `left-right` (two) or `all` (eight). If not given, what suits the model: left-right for
    /// residual networks. A study that was segmented before keeps its result.
    #[arg(long, env = "SEGMENTATION_MIRRORING")]
    pub mirroring: Option<Mirroring>,

    /// Which studies are registered to a template before regions are named: `always`, `unknown` (those
    /// whose header names no template) or `never`. It takes some seconds.
    #[arg(long, env = "SEGMENTATION_REGISTRATION", default_value = "always")]
    pub registration: RegistrationRule,

    /// Who may call.
    #[command(flatten)]
    pub access: AccessConfig,

    /// Traces and logs.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// Settings of training in the service.
#[derive(Clone, Debug, Args)]
pub struct TrainingConfig {
    /// Folder in which training runs keep checkpoints, logs and models. Training is off if it is
    /// not given. Training takes cores and memory from the network that serves.
    #[arg(long = "training-folder", env = "TRAINING_FOLDER", value_name = "DIR")]
    pub folder: Option<PathBuf>,

    /// Most training runs at a time; one more is refused with RESOURCE_EXHAUSTED. Each takes
    /// several GiB.
    #[arg(long = "training-runs-max", env = "TRAINING_RUNS_MAX", default_value = "1", value_parser = runs_max)]
    pub runs_max: usize,

    /// Environment variables, parted by commas, whose folders training files may name.
    #[arg(
        long = "training-data-variables",
        env = "TRAINING_DATA_VARIABLES",
        default_value = "NEUROTRIAGE_CASES,NEUROTRIAGE_SHAPES",
        value_delimiter = ','
    )]
    pub data_variables: Vec<String>,

    /// Most threads that a training run computes with.
    #[arg(long = "training-threads-max", env = "TRAINING_THREADS_MAX", default_value = "2")]
    pub threads_max: usize,

    /// Longest training run, in minutes; a file without a limit is given this one.
    #[arg(long = "training-minutes-max", env = "TRAINING_MINUTES_MAX", default_value = "1440")]
    pub minutes_max: f64,
}

impl TrainingConfig {
    /// Returns the settings, or nothing if training is off.
    pub fn settings(&self) -> Option<TrainingSettings> {
        Some(TrainingSettings {
            folder: self.folder.clone()?,
            runs_max: self.runs_max,
            data_variables: self.data_variables.clone(),
            threads_max: self.threads_max,
            minutes_max: self.minutes_max,
        })
    }
}

fn runs_max(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=16) => Ok(count),
        _ => Err("1 to 16".to_owned()),
    }
}

/// Settings of the registry of models.
#[derive(Clone, Copy, Debug, Args)]
pub struct RegistryConfig {
    /// Most models in memory: the one that serves, one that is loaded beside it, those of running
    /// jobs. Each takes its weights twice or so, besides what a study takes.
    #[arg(long, env = "SEGMENTATION_MODELS_MAX", default_value = "2", value_parser = models_max)]
    pub models_max: usize,

    /// Most bytes of the weights of an imported model; held in memory while they arrive.
    #[arg(long, env = "SEGMENTATION_WEIGHTS_BYTES_MAX", default_value = "268435456")]
    pub weights_bytes_max: u64,
}

impl RegistryConfig {
    /// Returns the limits.
    pub fn limits(&self) -> RegistryLimits {
        RegistryLimits {
            models_in_memory_max: self.models_max,
            weights_bytes_max: self.weights_bytes_max,
        }
    }
}

fn models_max(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 2..=16) => Ok(count),
        _ => Err("2 to 16: one serves while another is loaded".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_for_the_audit_is_enough_and_no_secret_is_printed() {
        let given = [
            "segmentation",
            "--database-url",
            "postgres://app:hunter2@db/segmentation",
            "--blobs-url",
            "file:///blobs",
            "--ingestion-endpoint",
            "http://ingestion:50051",
        ];
        assert!(Config::try_parse_from(given).is_err(), "no keys");
        let keys = "audit:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let file = ["--keyring-file", "/nowhere"];
        let mut config = Config::try_parse_from(given.into_iter().chain(file)).unwrap();
        config.keyring = KeyringConfig { file: None, text: Some(SecretString::from(keys)) };
        let keyring = config.keyring.read().unwrap();
        let shown = format!("{config:?} {keyring:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AQIDBA"), "{shown}");
    }
}
