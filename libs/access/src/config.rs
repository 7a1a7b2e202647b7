//! Settings, from flags or the environment. `--help` is their reference.

use std::{num::ParseIntError, path::PathBuf, time::Duration};

use clap::{Args, builder::NonEmptyStringValueParser};

/// Whose tokens open the service: issuer, audience and one source of keys together, or none of the three.
#[derive(Clone, Debug, Args)]
pub struct AccessConfig {
    /// Issuer of bearer tokens: their `iss`, letter by letter. Without issuer, audience and keys, a service on a
    /// loopback address takes every call as one from its developer, and does not start on another address.
    #[arg(long = "access-issuer", env = "ACCESS_ISSUER", value_parser = NonEmptyStringValueParser::new())]
    pub issuer: Option<String>,

    /// What the `aud` of tokens must name. The same for every service of a deployment: they pass tokens on.
    #[arg(long = "access-audience", env = "ACCESS_AUDIENCE", value_parser = NonEmptyStringValueParser::new())]
    pub audience: Option<String>,

    /// File of the issuer's public keys, a JWK Set. Read again when it is exchanged.
    #[arg(long = "access-jwks-file", env = "ACCESS_JWKS_FILE")]
    pub jwks_file: Option<PathBuf>,

    /// The same as an `https` address. Give the one or the other.
    #[arg(long = "access-jwks-url", env = "ACCESS_JWKS_URL", value_parser = NonEmptyStringValueParser::new())]
    pub jwks_url: Option<String>,

    /// How far the issuer's clock may be off, in seconds; at most 300.
    #[arg(
        long = "access-leeway-seconds", env = "ACCESS_LEEWAY_SECONDS", default_value = "30",
        value_parser = seconds
    )]
    pub leeway: Duration,

    /// Age from which keys are read again, in seconds; 10 or more. A key that its issuer takes back is good for
    /// at most twice as long.
    #[arg(
        long = "access-jwks-refresh-seconds", env = "ACCESS_JWKS_REFRESH_SECONDS", default_value = "300",
        value_parser = seconds
    )]
    pub jwks_refresh: Duration,

    /// Age from which keys that could not be read again are no longer used, in seconds; from the one above to
    /// 86,400.
    #[arg(
        long = "access-jwks-stale-seconds", env = "ACCESS_JWKS_STALE_SECONDS", default_value = "3600",
        value_parser = seconds
    )]
    pub jwks_stale: Duration,

    /// Claim that holds the id of the caller's hospital.
    #[arg(
        long = "access-hospital-claim", env = "ACCESS_HOSPITAL_CLAIM", default_value = "hospital_id",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub hospital_claim: String,

    /// Claim that holds the id of the one patient that `patient/` scopes are about.
    #[arg(
        long = "access-patient-claim", env = "ACCESS_PATIENT_CLAIM", default_value = "patient",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub patient_claim: String,
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}
