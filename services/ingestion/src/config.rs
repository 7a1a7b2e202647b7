//! Settings, from flags or the environment. `--help` is their reference.

use std::{net::SocketAddr, num::ParseIntError, time::Duration};

use clap::{Parser, builder::RangedU64ValueParser};
use neurotriage_service_kit::{
    access::AccessConfig, keyring::KeyringConfig, telemetry::TelemetryConfig,
};
use secrecy::SecretString;

/// Settings of the ingestion service.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "neurotriage-ingestion",
    version,
    about = "Receives, checks and prepares MRI studies."
)]
pub struct Config {
    /// Address the gRPC server listens on.
    #[arg(long, env = "INGESTION_LISTEN", default_value = "0.0.0.0:50051")]
    pub listen: SocketAddr,

    /// How long running calls may go on after a shutdown signal, in seconds.
    #[arg(long, env = "INGESTION_DRAIN_SECONDS", default_value = "20", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Database: `postgres://...` or `sqlite://...`. Holds a password, so it is never shown.
    #[arg(long, env = "INGESTION_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Most database connections held open.
    #[arg(long, env = "INGESTION_DATABASE_CONNECTIONS_MAX", default_value = "8")]
    pub database_connections_max: u32,

    /// Keys of what callers name studies and files, and of the audit.
    #[command(flatten)]
    pub keyring: KeyringConfig,

    /// Where objects are kept: `file:///folder`. Shared with the segmentation service.
    #[arg(long, env = "BLOBS_URL")]
    pub blobs_url: String,

    /// Most uploads at a time; each may hold about 1 GiB of memory while it is checked.
    #[arg(long, env = "INGESTION_UPLOADS_MAX", default_value = "4", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub uploads_max: usize,

    /// Who may call.
    #[command(flatten)]
    pub access: AccessConfig,

    /// Traces and logs.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_needed_and_never_printed() {
        let given = ["ingestion", "--database-url", "sqlite:///x", "--blobs-url", "file:///x"];
        assert!(Config::try_parse_from(given).is_err());
        let keys = "seal:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let file = ["--keyring-file", "/nowhere"];
        let mut config = Config::parse_from(given.into_iter().chain(file));
        config.keyring = KeyringConfig { file: None, text: Some(SecretString::from(keys)) };
        let shown = format!("{config:?}");
        assert!(!shown.contains("AQIDBA"), "{shown}");
        assert!(config.keyring.read().is_ok());
    }
}
