//! From settings to the check of calls, or why the program must not start.
//!
//! With an issuer, its tokens are asked for. With nothing configured at all, a program that listens on a loopback
//! address takes every call as its developer's; on any other address it does not start. Half of a
//! configuration is an error, and never means "nothing".

use std::{net::SocketAddr, sync::Arc, time::Duration};

use neurotriage_domain::InvalidId;
use tonic::Status;

use crate::{
    config::AccessConfig,
    error::AccessError,
    identity::Identity,
    keys::{FetchDocument, KeySource, KeyTimes, Keys, ReadError},
    layer::{AccessLayer, Authenticator, Gate, NoteRefusal},
    rules::Rules,
    scope::Scopes,
    token::{TokenRules, Verifier},
};

/// Leeway, times of keys and names of claims that are not set.
const LEEWAY_DEFAULT: Duration = Duration::from_secs(30);
const REFRESH_DEFAULT: Duration = Duration::from_secs(300);
const STALE_DEFAULT: Duration = Duration::from_secs(3_600);
const HOSPITAL_CLAIM_DEFAULT: &str = "hospital_id";
const PATIENT_CLAIM_DEFAULT: &str = "patient";
/// Largest leeway: clocks that are further apart are broken.
const LEEWAY_MAX: Duration = Duration::from_secs(300);
/// Shortest age at which keys are read again.
const REFRESH_MIN: Duration = Duration::from_secs(10);
/// Longest time for which keys are used that could not be read again.
const STALE_MAX: Duration = Duration::from_secs(86_400);
/// Shortest time between two readings: what made-up key ids may cost the issuer, and how long a new key may wait.
const ATTEMPT_GAP: Duration = Duration::from_secs(10);
/// Longest time of one reading; calls with new keys wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Hospital of the development identity, and of what was stored before there were hospitals. No token may name it.
pub(crate) const DEVELOPMENT_HOSPITAL: &str = "development";
/// Everything; what all hospitals share must be named.
const DEVELOPMENT_SCOPES: &str =
    "system/*.cruds system/Model.cruds system/Training.cruds system/Hospital.cruds";

/// How the calls of a program are checked. Clones share keys.
#[derive(Clone, Debug)]
pub struct Access {
    authenticator: Arc<Authenticator>,
    rules: Arc<Rules>,
    refusals: Option<Arc<dyn NoteRefusal>>,
}

/// Why a program must not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Everybody could call it.
    #[error(
        "no token issuer is configured, and {listen} can be reached from other machines; set ACCESS_ISSUER, \
         ACCESS_AUDIENCE and ACCESS_JWKS_FILE or ACCESS_JWKS_URL, or listen on 127.0.0.1"
    )]
    Unprotected {
        /// Where it would listen.
        listen: SocketAddr,
    },
    /// Some settings are there, others are not.
    #[error("{missing} is not set, though other ACCESS_ settings are; set it, or none of them")]
    Incomplete {
        /// The first that is missing.
        missing: &'static str,
    },
    /// Two sources of keys.
    #[error("ACCESS_JWKS_FILE and ACCESS_JWKS_URL are both set; set one")]
    TwoSources,
    /// Keys would come over an open line, or from an address with a password.
    #[error(
        "ACCESS_JWKS_URL is not https://host/path; give such an address, without user or password"
    )]
    Url,
    /// The program brings no HTTP client.
    #[error("this program cannot fetch keys from an address; set ACCESS_JWKS_FILE")]
    NoFetcher,
    /// A time is outside its limits.
    #[error("{name} is out of range; {range}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What would be right.
        range: &'static str,
    },
    /// The key file gives no keys.
    #[error("ACCESS_JWKS_FILE gives no keys")]
    Keys(#[source] ReadError),
    /// A built-in name is wrong. A bug.
    #[error("hospital of the development identity is wrong")]
    Development(#[from] InvalidId),
}

impl Access {
    /// Returns how calls are checked that come to `listen`, the address that was bound.
    ///
    /// `fetcher` is the program's HTTP client, if it has one. A key file must be there; an address may be away for
    /// now: calls are UNAVAILABLE until it answers.
    ///
    /// # Errors
    /// Every [`SetupError`].
    pub async fn from_settings(
        config: &AccessConfig,
        listen: SocketAddr,
        fetcher: Option<Arc<dyn FetchDocument>>,
    ) -> Result<Self, SetupError> {
        let authenticator = match token_settings(config, fetcher)? {
            None => Authenticator::Development(Box::new(development(listen)?)),
            Some((rules, source)) => {
                let is_file = matches!(source, KeySource::File(_));
                let keys = Keys::new(source, key_times(config)?);
                match keys.read().await {
                    Ok(()) => {}
                    Err(error) if is_file => return Err(SetupError::Keys(error)),
                    Err(error) => {
                        tracing::warn!(%error, "keys of the token issuer are not there yet");
                    }
                }
                Authenticator::Tokens(Verifier::new(rules, keys))
            }
        };
        Ok(Self::new(authenticator))
    }

    /// Returns the check of what is served to this machine alone: every call is its developer's.
    ///
    /// # Errors
    /// [`SetupError::Unprotected`] if `listen` is not a loopback address.
    pub fn development(listen: SocketAddr) -> Result<Self, SetupError> {
        Ok(Self::new(Authenticator::Development(Box::new(development(listen)?))))
    }

    fn new(authenticator: Authenticator) -> Self {
        Self {
            authenticator: Arc::new(authenticator),
            rules: Arc::new(Rules::neurotriage()),
            refusals: None,
        }
    }

    /// Returns whether every call is the developer's of this machine, as no tokens are asked for.
    pub fn is_development(&self) -> bool {
        matches!(*self.authenticator, Authenticator::Development(_))
    }

    /// Returns the check that has what it refuses to known callers kept by `refusals`.
    #[must_use]
    pub fn noting(self, refusals: Arc<dyn NoteRefusal>) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// Returns the layer that checks the calls of a server.
    ///
    /// `to_status` makes the status of a refusal: with its class, reason, metadata and retry delay.
    pub fn into_layer(
        self,
        to_status: impl Fn(AccessError) -> Status + Send + Sync + 'static,
    ) -> AccessLayer {
        AccessLayer::new(Gate {
            authenticator: self.authenticator,
            rules: self.rules,
            refusals: self.refusals,
            to_status: Box::new(to_status),
        })
    }
}

/// Returns what tokens must be and where their keys are; nothing if nothing is configured.
fn token_settings(
    config: &AccessConfig,
    fetcher: Option<Arc<dyn FetchDocument>>,
) -> Result<Option<(TokenRules, KeySource)>, SetupError> {
    if config.is_empty() {
        return Ok(None);
    }
    let missing = |missing| SetupError::Incomplete { missing };
    let source = match (&config.jwks_file, &config.jwks_url) {
        (None, None) => return Err(missing("ACCESS_JWKS_FILE or ACCESS_JWKS_URL")),
        (Some(_), Some(_)) => return Err(SetupError::TwoSources),
        (Some(file), None) => KeySource::File(file.clone()),
        (None, Some(url)) => {
            check_url(url)?;
            KeySource::Url(url.clone(), fetcher.ok_or(SetupError::NoFetcher)?)
        }
    };
    let issuer = config.issuer.clone().ok_or_else(|| missing("ACCESS_ISSUER"))?;
    let audience = config.audience.clone().ok_or_else(|| missing("ACCESS_AUDIENCE"))?;
    let leeway = config.leeway.unwrap_or(LEEWAY_DEFAULT);
    if leeway > LEEWAY_MAX {
        let range = "give 0 to 300 seconds";
        return Err(SetupError::Range { name: "ACCESS_LEEWAY_SECONDS", range });
    }
    let rules = TokenRules {
        issuer,
        audience,
        leeway,
        hospital_claim: config.hospital_claim.clone().unwrap_or(HOSPITAL_CLAIM_DEFAULT.to_owned()),
        patient_claim: config.patient_claim.clone().unwrap_or(PATIENT_CLAIM_DEFAULT.to_owned()),
    };
    Ok(Some((rules, source)))
}

fn key_times(config: &AccessConfig) -> Result<KeyTimes, SetupError> {
    let refresh_after = config.jwks_refresh.unwrap_or(REFRESH_DEFAULT);
    if !(REFRESH_MIN..=STALE_MAX).contains(&refresh_after) {
        let range = "give 10 to 86400 seconds";
        return Err(SetupError::Range { name: "ACCESS_JWKS_REFRESH_SECONDS", range });
    }
    let stale_max = config.jwks_stale.unwrap_or(STALE_DEFAULT);
    if !(refresh_after..=STALE_MAX).contains(&stale_max) {
        let range = "give ACCESS_JWKS_REFRESH_SECONDS to 86400 seconds";
        return Err(SetupError::Range { name: "ACCESS_JWKS_STALE_SECONDS", range });
    }
    Ok(KeyTimes {
        refresh_after,
        stale_max,
        attempt_gap: ATTEMPT_GAP,
        fetch_timeout: FETCH_TIMEOUT,
    })
}

fn check_url(url: &str) -> Result<(), SetupError> {
    let parsed: http::Uri = url.parse().map_err(|_| SetupError::Url)?;
    let authority = parsed.authority().ok_or(SetupError::Url)?;
    let is_https = parsed.scheme() == Some(&http::uri::Scheme::HTTPS);
    if !is_https || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(SetupError::Url);
    }
    Ok(())
}

fn development(listen: SocketAddr) -> Result<Identity, SetupError> {
    // An IPv4 address in an IPv6 one is that address.
    if !listen.ip().to_canonical().is_loopback() {
        return Err(SetupError::Unprotected { listen });
    }
    tracing::warn!(%listen, "no token issuer is configured: every call from this machine may do everything");
    Ok(Identity {
        subject: "developer".to_owned(),
        client_id: None,
        hospital_id: Some(DEVELOPMENT_HOSPITAL.parse()?),
        patient_id: None,
        scopes: Scopes::parse(DEVELOPMENT_SCOPES),
        purpose_of_use: None,
        good_until: None,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::{
        jwks::DOCUMENT_BYTES_MAX,
        keys::{BoxFuture, FetchError},
        rules::Decision,
        testing::Signer,
    };

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        access: AccessConfig,
    }

    fn config(arguments: &[&str]) -> AccessConfig {
        let arguments = ["program"].iter().chain(arguments);
        Program::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).access
    }

    #[derive(Debug)]
    struct Away;

    impl FetchDocument for Away {
        fn fetch<'a>(
            &'a self,
            _url: &'a str,
            bytes_max: usize,
        ) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
            assert_eq!(bytes_max, DOCUMENT_BYTES_MAX);
            Box::pin(async { Err("issuer is away".into()) })
        }
    }

    async fn set_up(
        arguments: &[&str],
        listen: &str,
        fetcher: Option<Arc<dyn FetchDocument>>,
    ) -> Result<Access, SetupError> {
        Access::from_settings(&config(arguments), listen.parse().unwrap(), fetcher).await
    }

    #[tokio::test]
    async fn without_settings_only_loopback_is_served() {
        // (what the row is for, address, whether it may be served)
        let table = [
            ("IPv4", "127.0.0.1:50053", true),
            ("all of 127", "127.8.8.8:0", true),
            ("IPv6", "[::1]:50053", true),
            ("IPv4 in IPv6", "[::ffff:127.0.0.1]:50053", true),
            ("every address", "0.0.0.0:50053", false),
            ("every address, IPv6", "[::]:50053", false),
            ("private", "10.0.0.7:50053", false),
            ("private in IPv6", "[::ffff:10.0.0.7]:50053", false),
            ("link-local", "169.254.1.1:50053", false),
            ("public", "203.0.113.7:50053", false),
        ];
        for (case, listen, served) in table {
            let access = set_up(&[], listen, None).await;
            assert_eq!(access.is_ok(), served, "case: {case}");
            if let Err(error) = access {
                let text = error.to_string();
                assert!(text.contains("ACCESS_ISSUER") && text.contains(listen), "{text}");
            }
        }
    }

    #[test]
    fn the_developer_may_call_every_rpc() {
        let identity = development("127.0.0.1:0".parse().unwrap()).unwrap();
        let rules = Rules::neurotriage();
        let set = neurotriage_proto::FILE_DESCRIPTOR_SET;
        let set: prost_types::FileDescriptorSet = prost::Message::decode(set).unwrap();
        let mut count = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let Decision::Ruled(rule) = rules.decide(&path) else {
                        panic!("no rule: {path}");
                    };
                    rule.admit(&identity).unwrap_or_else(|error| panic!("{path}: {error}"));
                    count += 1;
                }
            }
        }
        assert!(count > 30, "{count} RPCs");
    }

    #[tokio::test]
    async fn half_a_configuration_is_an_error_on_any_address() {
        const ISSUER: [&str; 2] = ["--access-issuer", "https://login.example"];
        const AUDIENCE: [&str; 2] = ["--access-audience", "neurotriage"];
        const FILE: [&str; 2] = ["--access-jwks-file", "/nowhere/keys.json"];
        const URL: [&str; 2] = ["--access-jwks-url", "https://login.example/keys"];
        // (settings, what the error names)
        let table: [(&[[&str; 2]], _); 14] = [
            // What only tunes means that an issuer was meant.
            (&[["--access-leeway-seconds", "30"]], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[["--access-jwks-refresh-seconds", "300"]], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[["--access-jwks-stale-seconds", "9999"]], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[["--access-hospital-claim", "site"]], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[["--access-patient-claim", "patient"]], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[ISSUER], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[AUDIENCE], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[ISSUER, AUDIENCE], "ACCESS_JWKS_FILE or ACCESS_JWKS_URL"),
            (&[FILE], "ACCESS_ISSUER"),
            (&[ISSUER, FILE], "ACCESS_AUDIENCE"),
            (&[AUDIENCE, URL], "ACCESS_ISSUER"),
            (&[ISSUER, AUDIENCE, FILE, URL], "both set"),
            (&[ISSUER, AUDIENCE, FILE], "ACCESS_JWKS_FILE gives no keys"),
            (&[ISSUER, AUDIENCE, ["--access-jwks-url", "http://login.example/keys"]], "https://"),
        ];
        for (settings, named) in table {
            let error = set_up(settings.as_flattened(), "127.0.0.1:1", Some(Arc::new(Away))).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains(named), "{settings:?}: {error}");
        }
    }

    #[tokio::test]
    async fn settings_out_of_range_are_refused() {
        let base = [
            "--access-issuer",
            "https://login.example",
            "--access-audience",
            "neurotriage",
            "--access-jwks-url",
            "https://login.example/keys",
        ];
        let table: [(&[&str], _); 5] = [
            (&["--access-leeway-seconds", "301"], "ACCESS_LEEWAY_SECONDS"),
            (&["--access-jwks-refresh-seconds", "9"], "ACCESS_JWKS_REFRESH_SECONDS"),
            (&["--access-jwks-refresh-seconds", "86401"], "ACCESS_JWKS_REFRESH_SECONDS"),
            (&["--access-jwks-stale-seconds", "299"], "ACCESS_JWKS_STALE_SECONDS"),
            (&["--access-jwks-stale-seconds", "86401"], "ACCESS_JWKS_STALE_SECONDS"),
        ];
        for (more, named) in table {
            let settings = [&base, more].concat();
            let error = set_up(&settings, "0.0.0.0:1", Some(Arc::new(Away))).await.unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
        let without_client = set_up(&base, "0.0.0.0:1", None).await.unwrap_err();
        assert!(matches!(without_client, SetupError::NoFetcher));
        // An issuer that is away for now is no reason not to start.
        set_up(&base, "0.0.0.0:1", Some(Arc::new(Away))).await.unwrap();
        assert!(Program::try_parse_from(["program", "--access-issuer", ""]).is_err());
    }

    #[test]
    fn keys_come_over_https_only() {
        let table = [
            ("https://login.example/keys", true),
            ("https://login.example:8443/realms/a/certs?v=1", true),
            ("http://login.example/keys", false),
            ("http://127.0.0.1/keys", false),
            ("file:///etc/keys.json", false),
            ("https://user:secret@login.example/keys", false),
            ("https:///keys", false),
            ("login.example/keys", false),
            ("/keys", false),
            ("", false),
        ];
        for (url, taken) in table {
            assert_eq!(check_url(url).is_ok(), taken, "url: {url}");
        }
    }

    #[tokio::test]
    async fn a_key_file_must_hold_a_key_for_use_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let settings = [
            "--access-issuer",
            "https://login.example",
            "--access-audience",
            "neurotriage",
            "--access-jwks-file",
            file.to_str().unwrap(),
        ];
        std::fs::write(&file, json!({"keys": []}).to_string()).unwrap();
        let error = set_up(&settings, "0.0.0.0:1", None).await.unwrap_err();
        assert!(matches!(error, SetupError::Keys(ReadError::Empty)));
        let key = Signer::ed25519().jwk("a");
        std::fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();
        let access = set_up(&settings, "0.0.0.0:1", None).await.unwrap();
        assert!(matches!(*access.authenticator, Authenticator::Tokens(_)));
    }
}
