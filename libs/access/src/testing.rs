//! What several unit tests need: names, callers, and an issuer with keys of every kind.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use rsa::{
    pkcs1::EncodeRsaPrivateKey as _, pkcs8::EncodePrivateKey as _, traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

use crate::{identity::Identity, scope::Scopes};

pub(crate) const HOSPITAL: &str = "north-lake";
pub(crate) const PATIENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns a caller of the hospital, who may be kept to the patient, with `scopes`.
pub(crate) fn identity(scopes: &str) -> Identity {
    Identity {
        subject: "caller".to_owned(),
        client_id: None,
        hospital_id: Some(HOSPITAL.parse().unwrap()),
        patient_id: Some(PATIENT.parse().unwrap()),
        scopes: Scopes::parse(scopes),
        purpose_of_use: None,
        good_until: None,
    }
}

/// A key pair of an issuer.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    /// The public half, without `kid`.
    pub(crate) jwk: Value,
}

impl Signer {
    /// Returns a fresh RSA key; takes a second or more.
    pub(crate) fn rsa() -> Self {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let text = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        Self {
            algorithm: Algorithm::RS256,
            jwk: json!({"kty": "RSA", "n": text(key.n()), "e": text(key.e())}),
            key: EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes()),
        }
    }

    /// Returns a fresh key on P-256.
    pub(crate) fn p256() -> Self {
        let key = p256::SecretKey::random(&mut rsa::rand_core::OsRng);
        let point = key.public_key().to_encoded_point(false);
        let text = |bytes: Option<&p256::FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.unwrap());
        Self {
            algorithm: Algorithm::ES256,
            jwk: json!({"kty": "EC", "crv": "P-256", "x": text(point.x()), "y": text(point.y())}),
            key: EncodingKey::from_ec_der(key.to_pkcs8_der().unwrap().as_bytes()),
        }
    }

    /// Returns a fresh Ed25519 key.
    pub(crate) fn ed25519() -> Self {
        let key = ed25519_dalek::SigningKey::generate(&mut rsa::rand_core::OsRng);
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        Self {
            algorithm: Algorithm::EdDSA,
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            key: EncodingKey::from_ed_der(key.to_pkcs8_der().unwrap().as_bytes()),
        }
    }

    /// Returns the public half under a name.
    pub(crate) fn jwk(&self, key_id: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(key_id);
        jwk
    }

    /// Returns a token of `claims`.
    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(self.algorithm) };
        self.sign_under(&header, claims)
    }

    /// Returns a token of `claims` under any header.
    pub(crate) fn sign_under(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}
