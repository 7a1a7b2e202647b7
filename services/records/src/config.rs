//! Settings, from flags or the environment. `--help` is their reference.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, ParseIntError},
    time::Duration,
};

use clap::{Parser, builder::RangedU64ValueParser};
use neurotriage_service_kit::{
    access::AccessConfig, keyring::KeyringConfig, telemetry::TelemetryConfig,
};
use secrecy::SecretString;

use crate::{
    change::{WATCHERS_MAX_DEFAULT, WATCHERS_PER_HOSPITAL_MAX_DEFAULT},
    grpc::BATCH_IDLE_MAX_DEFAULT,
};

/// Settings of the records service.
#[derive(Clone, Debug, Parser)]
#[command(name = "neurotriage-records", version, about = "Keeps patients and their symptoms.")]
pub struct Config {
    /// Address the gRPC server listens on.
    #[arg(long, env = "RECORDS_LISTEN", default_value = "0.0.0.0:50053")]
    pub listen: SocketAddr,

    /// How long running calls may go on after a shutdown signal, in seconds.
    #[arg(long, env = "RECORDS_DRAIN_SECONDS", default_value = "20", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Database: `postgres://...` or `sqlite://...`. Holds a password, so it is never shown.
    #[arg(long, env = "RECORDS_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Most database connections held open. Summed over replicas, stay under the server's limit.
    #[arg(long, env = "RECORDS_DATABASE_CONNECTIONS_MAX", default_value = "8")]
    pub database_connections_max: NonZeroU32,

    /// Keys of what is written down about patients.
    #[command(flatten)]
    pub keyring: KeyringConfig,

    /// Most callers that watch changes at a time; one more is refused with RESOURCE_EXHAUSTED. Each
    /// looks at the database every second.
    #[arg(long, env = "RECORDS_WATCHERS_MAX", default_value_t = WATCHERS_MAX_DEFAULT)]
    pub watchers_max: usize,

    /// Most callers of one hospital that watch changes at a time; one more is refused with RESOURCE_EXHAUSTED, so that
    /// no hospital takes every place.
    #[arg(
        long,
        env = "RECORDS_WATCHERS_PER_HOSPITAL_MAX",
        default_value_t = WATCHERS_PER_HOSPITAL_MAX_DEFAULT,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..)
    )]
    pub watchers_per_hospital_max: usize,

    /// Longest that a batch waits for its next create, in seconds; then the call ends with ABORTED.
    #[arg(
        long,
        env = "RECORDS_BATCH_IDLE_SECONDS_MAX",
        default_value_t = BATCH_IDLE_MAX_DEFAULT.as_secs(),
        value_parser = RangedU64ValueParser::<u64>::new().range(1..)
    )]
    pub batch_idle_max_s: u64,

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
    fn secrets_are_never_printed() {
        let url = "postgres://app:hunter2@db/records";
        let keys = "seal:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let given = ["records", "--database-url", url, "--keyring-file", "/nowhere"];
        let mut config = Config::parse_from(given);
        config.keyring = KeyringConfig { file: None, text: Some(SecretString::from(keys)) };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AQIDBA"), "{shown}");
        assert_eq!(config.drain_timeout, Duration::from_secs(20));
        assert!(config.keyring.read().is_ok());
    }

    #[test]
    fn keys_are_given_by_a_file_and_not_as_an_argument() {
        let url = ["records", "--database-url", "sqlite:///x"];
        let parse = |more: &[&str]| Config::try_parse_from(url.iter().chain(more));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--keyring", "x"]).is_err());
        for of_none in ["--watchers-per-hospital-max", "--batch-idle-max-s"] {
            assert!(parse(&["--keyring-file", "x", of_none, "1"]).is_ok());
            assert!(parse(&["--keyring-file", "x", of_none, "0"]).is_err());
        }
        let missing = parse(&["--keyring-file", "/nowhere/keys"]).unwrap().keyring.read();
        assert!(format!("{:#}", missing.unwrap_err()).contains("/nowhere/keys"));
    }
}
