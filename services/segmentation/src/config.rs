//! Settings, from flags or the environment. `--help` is their reference.

use std::{net::SocketAddr, num::ParseIntError, path::PathBuf, time::Duration};

use clap::Parser;
use neurotriage_network::DeviceChoice;
use neurotriage_service_kit::telemetry::TelemetryConfig;
use secrecy::SecretString;

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

    /// Where objects are kept: `file:///folder`. Shared with the ingestion service.
    #[arg(long, env = "BLOBS_URL")]
    pub blobs_url: String,

    /// Where the ingestion service answers, such as `http://ingestion:50051`.
    #[arg(long, env = "INGESTION_ENDPOINT")]
    pub ingestion_endpoint: String,

    /// Device of the network: `auto`, `cpu` or `cuda:N`.
    #[arg(long, env = "SEGMENTATION_DEVICE", default_value = "auto")]
    pub device: DeviceChoice,

    /// Folder with `model.safetensors` and `card.json`; the built-in model if not given.
    #[arg(long, env = "SEGMENTATION_MODEL")]
    pub model: Option<PathBuf>,

    /// Most studies that wait for the network; one more is refused with RESOURCE_EXHAUSTED. Each
    /// holds about 60 MB.
    #[arg(long, env = "SEGMENTATION_QUEUE_MAX", default_value = "8")]
    pub queue_max: usize,

    /// Traces and logs.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}
