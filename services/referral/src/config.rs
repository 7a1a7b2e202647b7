//! Settings, from flags or the environment. `--help` is their reference.

use std::{fs, net::SocketAddr, num::ParseIntError, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use neurotriage_service_kit::telemetry::TelemetryConfig;
use secrecy::SecretString;

use crate::ranking::RankingRules;

/// Settings of the referral service.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "neurotriage-referral",
    version,
    about = "Compares image and symptoms, and ranks hospitals. Decision support for research use."
)]
pub struct Config {
    /// Address the gRPC server listens on.
    #[arg(long, env = "REFERRAL_LISTEN", default_value = "0.0.0.0:50054")]
    pub listen: SocketAddr,

    /// How long running calls may go on after a shutdown signal, in seconds.
    #[arg(long, env = "REFERRAL_DRAIN_SECONDS", default_value = "20", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Database: `postgres://...` or `sqlite://...`. Holds a password, so it is never shown.
    #[arg(long, env = "REFERRAL_DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,

    /// Most database connections held open.
    #[arg(long, env = "REFERRAL_DATABASE_CONNECTIONS_MAX", default_value = "8")]
    pub database_connections_max: u32,

    /// Where the records service answers, such as `http://records:50053`.
    #[arg(long, env = "RECORDS_ENDPOINT")]
    pub records_endpoint: String,

    /// Where the segmentation service answers, such as `http://segmentation:50052`.
    #[arg(long, env = "SEGMENTATION_ENDPOINT")]
    pub segmentation_endpoint: String,

    /// Where the ingestion service answers, such as `http://ingestion:50051`.
    #[arg(long, env = "INGESTION_ENDPOINT")]
    pub ingestion_endpoint: String,

    /// File with the weights by which hospitals are ranked, in the form of
    /// `assets/ranking/ranking.toml`; that one, which is compiled in, if not given.
    #[arg(long, env = "REFERRAL_RANKING", value_name = "FILE")]
    pub ranking: Option<PathBuf>,

    /// Traces and logs.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Returns the rules by which hospitals are ranked.
    ///
    /// # Errors
    /// If the file cannot be read or a value in it is wrong.
    pub fn ranking_rules(&self) -> anyhow::Result<RankingRules> {
        let Some(path) = &self.ranking else {
            return RankingRules::builtin().context("read the ranking rules compiled in");
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("read the ranking rules in {}", path.display()))?;
        RankingRules::read(&text).with_context(|| format!("ranking rules in {}", path.display()))
    }
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}
