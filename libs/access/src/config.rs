//! Settings, from flags or the environment. `--help` is their reference.

use std::{num::ParseIntError, path::PathBuf, time::Duration};

use clap::{Args, builder::NonEmptyStringValueParser};

/// Whose tokens open the service: issuer, audience and one source of keys together, or none of the three.
#[derive(Clone, Debug, Default, Args)]
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

    /// How far the issuer's clock may be off, in seconds; at most 300, and 30 if not set.
    #[arg(long = "access-leeway-seconds", env = "ACCESS_LEEWAY_SECONDS", value_parser = seconds)]
    pub leeway: Option<Duration>,

    /// Age from which keys are read again, in seconds; 10 or more, and 300 if not set. A key that its issuer takes back
    /// is good for at most twice as long.
    #[arg(
        long = "access-jwks-refresh-seconds", env = "ACCESS_JWKS_REFRESH_SECONDS", value_parser = seconds
    )]
    pub jwks_refresh: Option<Duration>,

    /// Age from which keys that could not be read again are no longer used, in seconds; from the one above to 86,400,
    /// and 3600 if not set.
    #[arg(
        long = "access-jwks-stale-seconds", env = "ACCESS_JWKS_STALE_SECONDS", value_parser = seconds
    )]
    pub jwks_stale: Option<Duration>,

    /// Claim that holds the id of the caller's hospital; `hospital_id` if not set.
    #[arg(
        long = "access-hospital-claim", env = "ACCESS_HOSPITAL_CLAIM",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub hospital_claim: Option<String>,

    /// Claim that holds the id of the one patient that `patient/` scopes are about; `patient` if not set.
    #[arg(
        long = "access-patient-claim", env = "ACCESS_PATIENT_CLAIM",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub patient_claim: Option<String>,
}

impl AccessConfig {
    /// Returns whether no setting is there at all.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            issuer,
            audience,
            jwks_file,
            jwks_url,
            leeway,
            jwks_refresh,
            jwks_stale,
            hospital_claim,
            patient_claim,
        } = self;
        let texts = [issuer, audience, jwks_url, hospital_claim, patient_claim];
        let times = [leeway, jwks_refresh, jwks_stale];
        jwks_file.is_none()
            && texts.iter().all(|text| text.is_none())
            && times.iter().all(|time| time.is_none())
    }
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}
