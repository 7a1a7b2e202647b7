//! An issuer of tokens, and settings that trust it.

use std::{net::SocketAddr, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use neurotriage_access::{Access, AccessConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const HOSPITAL: &str = "north-lake";
pub(crate) const PATIENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Signs tokens, and publishes its key in a file.
pub(crate) struct Issuer {
    key: SigningKey,
    folder: TempDir,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let key = SigningKey::generate(&mut rsa::rand_core::OsRng);
        let issuer = Self { key, folder: tempfile::tempdir().unwrap() };
        let x = URL_SAFE_NO_PAD.encode(issuer.key.verifying_key().as_bytes());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x});
        std::fs::write(issuer.file(), json!({"keys": [key]}).to_string()).unwrap();
        issuer
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// Returns a token of the hospital with `scopes`, good for ten minutes.
    pub(crate) fn token(&self, scopes: &str) -> String {
        self.sign(&claims(scopes))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let key = self.key.to_pkcs8_der().unwrap();
        let key = EncodingKey::from_ed_der(key.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    /// Returns the check of its tokens.
    pub(crate) async fn access(&self) -> Access {
        let config = AccessConfig {
            issuer: Some("https://login.example".to_owned()),
            audience: Some("neurotriage".to_owned()),
            jwks_file: Some(self.file()),
            ..AccessConfig::default()
        };
        Access::from_settings(&config, SocketAddr::from(([0, 0, 0, 0], 1)), None).await.unwrap()
    }
}

pub(crate) fn claims(scopes: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!({
        "iss": "https://login.example",
        "aud": "neurotriage",
        "sub": "user-7",
        "exp": now.as_secs() + 600,
        "scope": scopes,
        "hospital_id": HOSPITAL,
        "patient": PATIENT,
    })
}

pub(crate) fn with(mut claims: Value, claim: &str, value: Value) -> Value {
    claims[claim] = value;
    claims
}
