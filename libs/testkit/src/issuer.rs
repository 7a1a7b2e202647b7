//! An issuer of bearer tokens: a key of its own, whose public half is in a file.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use neurotriage_service_kit::access::{self, Access, AccessConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// `iss` of the tokens.
pub const ISSUER: &str = "https://login.example";
/// `aud` of the tokens.
pub const AUDIENCE: &str = "neurotriage";
/// Name of the key.
pub const KEY_ID: &str = "one";
/// Hospital of the callers.
pub const HOSPITAL: &str = "north-lake";
/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(600);

/// Signs tokens with Ed25519. Its file is gone when it is dropped.
#[derive(Debug)]
pub struct Issuer {
    key: SigningKey,
    folder: TempDir,
}

impl Issuer {
    /// Makes a key and publishes it.
    ///
    /// # Errors
    /// If there are no random numbers or the file can't be written.
    pub fn start() -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("draw a key")?;
        let folder = tempfile::tempdir().context("create folder of keys")?;
        let issuer = Self { key: SigningKey::from_bytes(&seed), folder };
        let x = URL_SAFE_NO_PAD.encode(issuer.public_key());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "x": x});
        let document = json!({"keys": [key]}).to_string();
        std::fs::write(issuer.jwks_file(), document).context("publish the key")?;
        Ok(issuer)
    }

    /// Returns the file with the public key.
    pub fn jwks_file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// Returns the public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Returns the settings of a program that takes its tokens.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ACCESS_ISSUER", ISSUER.to_owned()),
            ("ACCESS_AUDIENCE", AUDIENCE.to_owned()),
            ("ACCESS_JWKS_FILE", self.jwks_file().display().to_string()),
        ]
    }

    /// Returns the check of its tokens, for a server in the test's process.
    ///
    /// # Errors
    /// If the file is gone, or no socket can be bound.
    pub async fn access(&self) -> anyhow::Result<Access> {
        let config = AccessConfig {
            issuer: Some(ISSUER.to_owned()),
            audience: Some(AUDIENCE.to_owned()),
            jwks_file: Some(self.jwks_file()),
            ..AccessConfig::default()
        };
        // With an issuer the address does not matter.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        access::open(&config, &listener).await
    }

    /// Returns a token of [`HOSPITAL`] with `scopes`.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn token(&self, scopes: &str) -> anyhow::Result<String> {
        self.sign(&claims(scopes)?)
    }

    /// Returns a caller of `hospital_id`, with `scopes` such as `user/*.cruds`.
    ///
    /// # Errors
    /// If the token can't be signed.
    pub fn caller(&self, hospital_id: &str, scopes: &str) -> anyhow::Result<Bearer> {
        let mut claims = claims(scopes)?;
        claims["hospital_id"] = json!(hospital_id);
        Bearer::new(&self.sign(&claims)?)
    }

    /// Returns a caller as [`Issuer::caller`] does, named `subject`, who asks for `purpose`, such as `TREAT`.
    ///
    /// # Errors
    /// If the token can't be signed.
    pub fn caller_for(
        &self,
        hospital_id: &str,
        scopes: &str,
        (subject, purpose): (&str, &str),
    ) -> anyhow::Result<Bearer> {
        let mut claims = claims(scopes)?;
        claims["hospital_id"] = json!(hospital_id);
        claims["sub"] = json!(subject);
        claims["purpose_of_use"] = json!(purpose);
        Bearer::new(&self.sign(&claims)?)
    }

    /// Returns a caller who is kept to one patient of `hospital_id`, with every `patient/` scope.
    ///
    /// # Errors
    /// If the token can't be signed.
    pub fn patient(&self, hospital_id: &str, patient_id: &str) -> anyhow::Result<Bearer> {
        let mut claims = claims("patient/*.cruds")?;
        claims["hospital_id"] = json!(hospital_id);
        claims["patient"] = json!(patient_id);
        Bearer::new(&self.sign(&claims)?)
    }

    /// Returns a token of any claims.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let key = self.key.to_pkcs8_der().context("encode the key")?;
        let key = EncodingKey::from_ed_der(key.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).context("sign token")
    }
}

/// Adds a token to calls, as `Client::with_interceptor` takes it.
#[derive(Clone, Debug)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Returns what adds `token`.
    ///
    /// # Errors
    /// If it is no text for metadata.
    pub fn new(token: &str) -> anyhow::Result<Self> {
        Ok(Self(format!("Bearer {token}").parse().context("encode token")?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Returns the claims of a caller of [`HOSPITAL`] with `scopes`, good for ten minutes.
///
/// # Errors
/// If the clock is before 1970.
pub fn claims(scopes: &str) -> anyhow::Result<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    Ok(json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-7",
        "exp": (now + LIFETIME).as_secs(),
        "scope": scopes,
        "hospital_id": HOSPITAL,
    }))
}
