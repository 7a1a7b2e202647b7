//! Settings, from flags or the environment. `--help` is their reference.

use std::{fs, net::SocketAddr, num::ParseIntError, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, builder::RangedU64ValueParser};
use neurotriage_service_kit::{
    access::AccessConfig, keyring::KeyringConfig, telemetry::TelemetryConfig,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    WATCHERS_MAX_DEFAULT,
    delivery::{
        Delivery, Sink,
        nats::{MissingStream, NatsSettings, NatsSink},
        webhook::{WebhookSettings, WebhookSink},
    },
    diagnosis::DiagnosisLimits,
    lifecycle::{
        outbox::{Policy, PolicySettings},
        signature::Secrets,
    },
    ranking::RankingRules,
};

/// How long a replica holds an event, in attempts: longer than one by what the clocks of two
/// replicas may differ.
const LEASE_ATTEMPTS: u32 = 4;

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

    /// Keys of what people wrote about patients, and of the audit.
    #[command(flatten)]
    pub keyring: KeyringConfig,

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

    /// Diagnoses.
    #[command(flatten)]
    pub diagnoses: DiagnosisConfig,

    /// Where events of referrals go.
    #[command(flatten)]
    pub events: EventsConfig,

    /// Who may call.
    #[command(flatten)]
    pub access: AccessConfig,

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

/// Settings of `Diagnose`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DiagnosisConfig {
    /// Most calls of `Diagnose` that work or watch at a time; one more is refused with
    /// RESOURCE_EXHAUSTED. Each holds a stream to its caller and at most one to the segmentation
    /// service.
    #[arg(long = "diagnoses-max", env = "REFERRAL_DIAGNOSES_MAX", default_value = "32", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub running_max: usize,

    /// Longest time of one call of `Diagnose`, whatever its caller allows, in seconds: a study waits for
    /// those before it, and takes minutes on a slow CPU.
    #[arg(long = "diagnosis-seconds-max", env = "REFERRAL_DIAGNOSIS_SECONDS_MAX", default_value = "3600", value_parser = seconds)]
    pub time_max: Duration,
}

impl DiagnosisConfig {
    /// Returns the settings as limits.
    pub fn limits(self) -> DiagnosisLimits {
        DiagnosisLimits { running_max: self.running_max, time_max: self.time_max }
    }
}

/// Where events of referrals go: to NATS, to a webhook, or only to those who list and watch them.
#[derive(Clone, Debug, Args)]
pub struct EventsConfig {
    /// NATS server with JetStream that events are published to, such as `nats://nats:4222`; several
    /// with commas between them. May hold a password, so it is never shown.
    #[arg(long = "events-nats-url", env = "REFERRAL_EVENTS_NATS_URL", hide_env_values = true)]
    pub nats_url: Option<SecretString>,

    /// Stream that must take the subjects `neurotriage.referral.v1.*`.
    #[arg(
        long = "events-nats-stream",
        env = "REFERRAL_EVENTS_NATS_STREAM",
        default_value = "neurotriage-referral"
    )]
    pub nats_stream: String,

    /// Make the stream if it is missing: 30 days, 1 GiB, full refuses.
    #[arg(long = "events-nats-create-stream", env = "REFERRAL_EVENTS_NATS_CREATE_STREAM")]
    pub nats_create_stream: bool,

    /// Endpoint that events are posted to, such as `https://hospital.example/neurotriage`. May hold a
    /// token, so it is never shown.
    #[arg(
        long = "events-webhook-url",
        env = "REFERRAL_EVENTS_WEBHOOK_URL",
        hide_env_values = true
    )]
    pub webhook_url: Option<SecretString>,

    /// One to three secrets, blanks between them, that sign what is posted; 32 bytes or more each.
    #[arg(
        long = "events-webhook-secret",
        env = "REFERRAL_EVENTS_WEBHOOK_SECRET",
        hide_env_values = true,
        conflicts_with = "webhook_secret_file"
    )]
    pub webhook_secret: Option<SecretString>,

    /// File that holds those secrets instead.
    #[arg(long = "events-webhook-secret-file", env = "REFERRAL_EVENTS_WEBHOOK_SECRET_FILE")]
    pub webhook_secret_file: Option<PathBuf>,

    /// Answers of the endpoint, 400 to 499, that mean `never`; what others refuse is tried again.
    #[arg(
        long = "events-webhook-refused-statuses",
        env = "REFERRAL_EVENTS_WEBHOOK_REFUSED_STATUSES",
        value_delimiter = ',',
        default_value = "410"
    )]
    pub webhook_refused_statuses: Vec<u16>,

    /// Longest time that one attempt may take, in seconds. A replica that died while it sent is
    /// followed after four times as much.
    #[arg(
        long = "events-attempt-seconds",
        env = "REFERRAL_EVENTS_ATTEMPT_SECONDS",
        default_value = "15",
        value_parser = seconds
    )]
    pub attempt_timeout: Duration,

    /// Longest wait after the first failed attempt, in seconds; doubled after each, up to six hours.
    #[arg(
        long = "events-backoff-seconds",
        env = "REFERRAL_EVENTS_BACKOFF_SECONDS",
        default_value = "5",
        value_parser = seconds
    )]
    pub backoff_first: Duration,

    /// Attempts after which an event is given up.
    #[arg(
        long = "events-attempts-max",
        env = "REFERRAL_EVENTS_ATTEMPTS_MAX",
        default_value = "24"
    )]
    pub attempts_max: u32,

    /// Hours after which an event that was tried is given up.
    #[arg(
        long = "events-age-hours-max",
        env = "REFERRAL_EVENTS_AGE_HOURS_MAX",
        default_value = "72",
        value_parser = hours
    )]
    pub age_max: Duration,

    /// Most callers that may watch events at a time.
    #[arg(
        long = "events-watchers-max",
        env = "REFERRAL_EVENTS_WATCHERS_MAX",
        default_value_t = WATCHERS_MAX_DEFAULT
    )]
    pub watchers_max: usize,
}

impl EventsConfig {
    /// Connects to where events go; `None` if nothing is named.
    ///
    /// # Errors
    /// If settings contradict each other or one is wrong. The error repeats no URL and no secret.
    pub async fn delivery(&self) -> anyhow::Result<Option<Delivery>> {
        let policy = self.policy()?;
        let sink = match (&self.nats_url, &self.webhook_url) {
            (Some(_), Some(_)) => bail!(
                "events go to one place: set REFERRAL_EVENTS_NATS_URL or \
                 REFERRAL_EVENTS_WEBHOOK_URL, not both"
            ),
            (Some(url), None) => {
                let missing_stream = match self.nats_create_stream {
                    true => MissingStream::Create,
                    false => MissingStream::Wait,
                };
                let (url, stream) = (url.clone(), self.nats_stream.clone());
                let settings = NatsSettings { url, stream, missing_stream };
                Sink::Nats(NatsSink::connect(settings, self.attempt_timeout).await?)
            }
            (None, Some(url)) => {
                let refused_statuses = self.webhook_refused_statuses.clone();
                let (url, secrets) = (url.clone(), self.secrets()?);
                Sink::Webhook(WebhookSink::new(WebhookSettings { url, secrets, refused_statuses })?)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Delivery { sink, policy }))
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let settings = PolicySettings {
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_first.max(Policy::default().settings().backoff_max),
            attempts_max: self.attempts_max,
            age_max: self.age_max,
            attempt_timeout: self.attempt_timeout,
            lease: self.attempt_timeout.saturating_mul(LEASE_ATTEMPTS),
        };
        Policy::new(settings).context("read settings of the delivery of events")
    }

    fn secrets(&self) -> anyhow::Result<Secrets> {
        let text = match (&self.webhook_secret, &self.webhook_secret_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => fs::read_to_string(file)
                .map(SecretString::from)
                .with_context(|| format!("read webhook secrets from {}", file.display()))?,
            (None, None) => bail!(
                "a webhook needs a secret: set REFERRAL_EVENTS_WEBHOOK_SECRET or \
                 REFERRAL_EVENTS_WEBHOOK_SECRET_FILE"
            ),
        };
        let secrets: Vec<SecretString> =
            text.expose_secret().split_whitespace().map(SecretString::from).collect();
        Secrets::new(&secrets).context("read webhook secrets")
    }
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

fn hours(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(|hours: u64| Duration::from_secs(hours.saturating_mul(3_600)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        events: EventsConfig,
    }

    fn events(arguments: &[&str]) -> EventsConfig {
        let arguments = ["program"].iter().chain(arguments);
        Program::parse_from(arguments).events
    }

    #[test]
    fn keys_are_asked_for_and_never_printed() {
        let rest = [
            ("--database-url", "postgres://app:hunter2@db/referral"),
            ("--records-endpoint", "http://records:1"),
            ("--segmentation-endpoint", "http://segmentation:1"),
            ("--ingestion-endpoint", "http://ingestion:1"),
        ];
        let rest = rest.iter().flat_map(|(name, value)| [*name, *value]);
        let bare: Vec<&str> = ["referral"].into_iter().chain(rest).collect();
        assert!(Config::try_parse_from(&bare).is_err());
        let keys = "seal:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let file = ["--keyring-file", "/nowhere"];
        let mut config = Config::parse_from([&bare[..], &file].concat());
        config.keyring = KeyringConfig { file: None, text: Some(SecretString::from(keys)) };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AQIDBA"), "{shown}");
        assert!(config.keyring.read().is_ok());
    }

    const NATS: [&str; 2] = ["--events-nats-url", "nats://user:hunter2@127.0.0.1:1"];
    const WEBHOOK: [&str; 2] = ["--events-webhook-url", "http://hospital.example/hunter2"];

    #[tokio::test]
    async fn without_a_place_nothing_is_delivered() {
        assert!(events(&[]).delivery().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nats_may_be_away_when_the_service_starts() {
        let delivery = events(&NATS).delivery().await.unwrap().unwrap();
        assert!(matches!(delivery.sink, Sink::Nats(_)));
        assert!(!delivery.sink.is_ready());
        assert!(!format!("{delivery:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_file_holds_the_old_secret_and_the_new() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}\n{}", "a".repeat(32), "b".repeat(32)).unwrap();
        let path = file.path().to_str().unwrap();
        let events = events(&[&WEBHOOK[..], &["--events-webhook-secret-file", path]].concat());
        assert_eq!(format!("{:?}", events.secrets().unwrap()), "Secrets(2)");
        let delivery = events.delivery().await.unwrap().unwrap();
        assert!(matches!(delivery.sink, Sink::Webhook(_)));
        assert!(!format!("{events:?} {delivery:?}").contains("hunter2"));
        assert_eq!(delivery.policy, Policy::default());
    }

    #[tokio::test]
    async fn settings_that_do_not_fit_are_named_and_never_shown() {
        let secret = ["--events-webhook-secret", "hunter2"];
        // (what the row is for, arguments, part of the message)
        let table = [
            ("two places", [&NATS[..], &WEBHOOK[..]].concat(), "not both"),
            ("no secret", WEBHOOK.to_vec(), "needs a secret"),
            ("short secret", [&WEBHOOK[..], &secret[..]].concat(), "read webhook secrets"),
            ("stream", [&NATS[..], &["--events-nats-stream", "a.b"]].concat(), "NATS stream"),
            ("URL", vec!["--events-nats-url", "nats://hunter2:x:y"], "read URL of NATS"),
            ("attempts", vec!["--events-attempts-max", "0"], "delivery of events"),
        ];
        for (case, arguments, message) in table {
            let error = events(&arguments).delivery().await.unwrap_err();
            assert!(error.to_string().contains(message), "case: {case}: {error}");
            assert!(!format!("{error:#}").contains("hunter2"), "case: {case}: {error:#}");
        }
    }
}
