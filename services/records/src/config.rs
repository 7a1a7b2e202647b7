//! Settings, from flags or the environment. `--help` is their reference.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, ParseIntError},
    time::Duration,
};

use clap::Parser;
use neurotriage_service_kit::{access::AccessConfig, telemetry::TelemetryConfig};
use secrecy::SecretString;

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
    fn the_database_password_is_never_printed() {
        let url = "postgres://app:hunter2@db/records";
        let config = Config::parse_from(["records", "--database-url", url]);
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.drain_timeout, Duration::from_secs(20));
    }
}
