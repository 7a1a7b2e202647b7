//! Settings, from flags or the environment. `--help` is their reference.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, ParseIntError},
    time::Duration,
};

use clap::Parser;
use neurotriage_service_kit::{
    access::AccessConfig, keyring::KeyringConfig, telemetry::TelemetryConfig,
};
use secrecy::SecretString;

use crate::change::WATCHERS_MAX_DEFAULT;

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
        let config = Config::parse_from(["records", "--database-url", url, "--keyring", keys]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AQIDBA"), "{shown}");
        assert_eq!(config.drain_timeout, Duration::from_secs(20));
        assert!(config.keyring.read().is_ok());
    }

    #[test]
    fn keys_are_given_in_one_way() {
        let url = ["records", "--database-url", "sqlite:///x"];
        let parse = |more: &[&str]| Config::try_parse_from(url.iter().chain(more));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--keyring", "x", "--keyring-file", "y"]).is_err());
        let missing = parse(&["--keyring-file", "/nowhere/keys"]).unwrap().keyring.read();
        assert!(format!("{:#}", missing.unwrap_err()).contains("/nowhere/keys"));
    }
}
