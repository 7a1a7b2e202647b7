//! Documents of public keys (JWK Set, RFC 7517), and which of their keys check signatures here.
//!
//! Keys for other uses and of other kinds are passed over; symmetric ones always are, so that no document
//! makes a public key a shared secret.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most bytes of a document: far above the largest of public providers.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a document.
const KEYS_MAX: usize = 64;
/// Bytes of a modulus: from 2048 bits (RFC 7518, 3.3) to 4096, whose check takes 0.8 ms unoptimised; it grows
/// with the square.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Most bytes of a public exponent; 65537 has three.
const RSA_EXPONENT_BYTES_MAX: usize = 4;
/// Bytes of a coordinate of P-256 and of a key of Ed25519.
const COORDINATE_BYTES: usize = 32;

/// An algorithm that signatures may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// Returns the algorithm of a name in a token's header; `none`, HMAC and all others have none.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::EdDsa].into_iter().find(|one| one.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn of_library(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A public key for one algorithm.
#[derive(Clone)]
pub struct VerificationKey {
    key_id: Option<String>,
    algorithm: SignatureAlgorithm,
    key: DecodingKey,
}

impl VerificationKey {
    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.key
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("key_id", &self.key_id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The keys of one document that check signatures here.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<VerificationKey>);

/// What a set knows of the key that a token names.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// This is it.
    Found(Box<VerificationKey>),
    /// It is there, for another algorithm.
    OtherAlgorithm,
    /// It is not there, or the token names none and several would fit.
    Unknown,
}

/// Why a document is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than the limit.
    #[error("key document is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// No JWK Set.
    #[error("key document is no JWK Set; give JSON with a list `keys`")]
    Form(#[source] serde_json::Error),
    /// More keys than the limit.
    #[error("key document has more than {KEYS_MAX} keys")]
    TooMany,
    /// Two keys by which the same token could be checked.
    #[error("key document has two keys of one id and algorithm")]
    Ambiguous,
}

#[derive(Deserialize)]
struct Document {
    // Each is read on its own: one of a kind that is not known here must not spoil the rest.
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde_json::Value>,
}

impl KeySet {
    /// Returns the keys of a document.
    ///
    /// # Errors
    /// Every [`DocumentError`]. A document without any key for use here is none: its issuer has taken all back.
    pub fn parse(document: &[u8]) -> Result<Self, DocumentError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge);
        }
        let document: Document = serde_json::from_slice(document).map_err(DocumentError::Form)?;
        if document.keys.len() > KEYS_MAX {
            return Err(DocumentError::TooMany);
        }
        let mut keys: Vec<VerificationKey> = Vec::new();
        for key in document.keys {
            let Some(key) = serde_json::from_value(key).ok().and_then(verification_key) else {
                continue;
            };
            // Keys without an id are told apart when a token is checked.
            let is_same = |other: &VerificationKey| {
                other.key_id == key.key_id && other.algorithm == key.algorithm
            };
            if key.key_id.is_some() && keys.iter().any(is_same) {
                return Err(DocumentError::Ambiguous);
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Returns whether no token can be checked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key for a token's header. A token without a key id has a key only where one alone fits.
    pub fn find(&self, key_id: Option<&str>, algorithm: SignatureAlgorithm) -> Lookup {
        let Some(key_id) = key_id else {
            let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Lookup::Found(Box::new(key.clone())),
                _ => Lookup::Unknown,
            };
        };
        let mut named =
            self.0.iter().filter(|key| key.key_id.as_deref() == Some(key_id)).peekable();
        if named.peek().is_none() {
            return Lookup::Unknown;
        }
        match named.find(|key| key.algorithm == algorithm) {
            Some(key) => Lookup::Found(Box::new(key.clone())),
            None => Lookup::OtherAlgorithm,
        }
    }
}

/// Returns the key, or nothing if it is not for checking signatures here.
fn verification_key(jwk: Jwk) -> Option<VerificationKey> {
    let is_for_signatures = jwk.key_use.as_deref().is_none_or(|key_use| key_use == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|one| one == "verify"));
    // A private key that was published is everybody's.
    if !is_for_signatures || jwk.d.is_some() {
        return None;
    }
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => {
            let (modulus, exponent) = (decode(jwk.n.as_deref())?, decode(jwk.e.as_deref())?);
            let is_usable = RSA_MODULUS_BYTES.contains(&modulus.len())
                && modulus.first().is_some_and(|byte| *byte & 0x80 != 0)
                && exponent.len() <= RSA_EXPONENT_BYTES_MAX;
            let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
            (SignatureAlgorithm::Rs256, is_usable.then_some(key)?)
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (jwk.x.as_deref()?, jwk.y.as_deref()?);
            is_coordinate(x).then_some(())?;
            is_coordinate(y).then_some(())?;
            (SignatureAlgorithm::Es256, DecodingKey::from_ec_components(x, y).ok()?)
        }
        ("OKP", Some("Ed25519")) => {
            let x = jwk.x.as_deref()?;
            is_coordinate(x).then_some(())?;
            (SignatureAlgorithm::EdDsa, DecodingKey::from_ed_components(x).ok()?)
        }
        _ => return None,
    };
    let is_its_own = jwk.alg.as_deref().is_none_or(|name| name == algorithm.name());
    is_its_own.then_some(VerificationKey { key_id: jwk.kid, algorithm, key })
}

fn decode(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

fn is_coordinate(text: &str) -> bool {
    decode(Some(text)).is_some_and(|bytes| bytes.len() == COORDINATE_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn zeros(count: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0; count])
    }

    fn modulus(count: usize) -> String {
        let mut bytes = vec![0xff; count];
        bytes[0] = 0x80;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa(kid: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "n": modulus(256), "e": "AQAB"})
    }

    fn parse(keys: &Value) -> Result<KeySet, DocumentError> {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
    }

    fn with(mut key: Value, field: &str, value: Value) -> Value {
        key[field] = value;
        key
    }

    #[test]
    fn keys_for_other_uses_are_passed_over() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": zeros(32), "y": zeros(32)});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": zeros(32)});
        // (what the row is for, key, whether it is used)
        let table = [
            ("RSA", rsa("a"), true),
            ("RSA of 4096 bits", with(rsa("a"), "n", json!(modulus(512))), true),
            ("RSA with its use", with(rsa("a"), "use", json!("sig")), true),
            ("RSA with its algorithm", with(rsa("a"), "alg", json!("RS256")), true),
            ("RSA to verify", with(rsa("a"), "key_ops", json!(["verify"])), true),
            ("RSA to encrypt", with(rsa("a"), "use", json!("enc")), false),
            ("RSA to sign only", with(rsa("a"), "key_ops", json!(["sign"])), false),
            ("RSA for PSS", with(rsa("a"), "alg", json!("PS256")), false),
            ("RSA for RS512", with(rsa("a"), "alg", json!("RS512")), false),
            ("RSA as HMAC", with(rsa("a"), "alg", json!("HS256")), false),
            ("RSA of 1024 bits", with(rsa("a"), "n", json!(modulus(128))), false),
            ("RSA padded to 2048 bits", with(rsa("a"), "n", json!(zeros(256))), false),
            ("RSA of 8192 bits", with(rsa("a"), "n", json!(modulus(1024))), false),
            ("RSA with a huge exponent", with(rsa("a"), "e", json!(modulus(256))), false),
            ("RSA without modulus", json!({"kty": "RSA", "e": "AQAB"}), false),
            ("RSA with its private part", with(rsa("a"), "d", json!("AQAB")), false),
            ("RSA in padded base64", with(rsa("a"), "e", json!("AQAB====")), false),
            ("P-256", ec.clone(), true),
            ("P-256, short coordinate", with(ec.clone(), "x", json!(zeros(31))), false),
            ("P-256, no coordinate", with(ec.clone(), "y", Value::Null), false),
            ("P-384", with(ec.clone(), "crv", json!("P-384")), false),
            ("P-256 for ES384", with(ec, "alg", json!("ES384")), false),
            ("Ed25519", ed.clone(), true),
            ("Ed25519, short", with(ed.clone(), "x", json!(zeros(8))), false),
            ("Ed25519, long", with(ed.clone(), "x", json!(zeros(33))), false),
            ("X25519", with(ed, "crv", json!("X25519")), false),
            ("symmetric", json!({"kty": "oct", "k": zeros(32)}), false),
            ("unknown kind", json!({"kty": "AKP", "pub": zeros(32)}), false),
            ("no object", json!(7), false),
        ];
        for (case, key, used) in table {
            assert_eq!(!parse(&json!([key])).expect(case).is_empty(), used, "case: {case}");
            // It spoils nothing beside it.
            let set = parse(&json!([key, rsa("other")])).expect(case);
            let other = set.find(Some("other"), SignatureAlgorithm::Rs256);
            assert!(matches!(other, Lookup::Found(_)), "case: {case}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_trusted_as_a_whole_is_refused() {
        let many: Vec<Value> = (0..=KEYS_MAX).map(|index| rsa(&index.to_string())).collect();
        assert!(matches!(parse(&json!(many)), Err(DocumentError::TooMany)));
        let same = json!([rsa("a"), rsa("a")]);
        assert!(matches!(parse(&same), Err(DocumentError::Ambiguous)));
        assert!(matches!(KeySet::parse(b"<html>"), Err(DocumentError::Form(_))));
        assert!(matches!(KeySet::parse(b"{}"), Err(DocumentError::Form(_))));
        let large = vec![b' '; DOCUMENT_BYTES_MAX + 1];
        assert!(matches!(KeySet::parse(&large), Err(DocumentError::TooLarge)));
        assert!(parse(&json!([])).unwrap().is_empty());
    }

    #[test]
    fn a_key_is_found_by_id_and_algorithm() {
        let ed = json!({"kty": "OKP", "kid": "c", "crv": "Ed25519", "x": zeros(32)});
        let set = parse(&json!([rsa("a"), rsa("b"), ed])).unwrap();
        use SignatureAlgorithm::{EdDsa, Es256, Rs256};
        // (what the row is for, key id, algorithm, what is found)
        let table = [
            ("named", Some("a"), Rs256, "a"),
            ("another algorithm", Some("a"), Es256, "other algorithm"),
            ("unknown", Some("z"), Rs256, "unknown"),
            ("empty", Some(""), Rs256, "unknown"),
            ("not named, one fits", None, EdDsa, "c"),
            ("not named, two fit", None, Rs256, "unknown"),
            ("not named, none fits", None, Es256, "unknown"),
        ];
        for (case, key_id, algorithm, expected) in table {
            let found = match set.find(key_id, algorithm) {
                Lookup::Found(key) => key.key_id.expect(case),
                Lookup::OtherAlgorithm => "other algorithm".to_owned(),
                Lookup::Unknown => "unknown".to_owned(),
            };
            assert_eq!(found, expected, "case: {case}");
        }
    }

    #[test]
    fn only_three_algorithms_have_a_name() {
        for name in ["RS256", "ES256", "EdDSA"] {
            assert_eq!(SignatureAlgorithm::of_name(name).map(SignatureAlgorithm::name), Some(name));
        }
        for name in ["none", "None", "HS256", "HS512", "RS384", "PS256", "ES384", "rs256", ""] {
            assert_eq!(SignatureAlgorithm::of_name(name), None, "name: {name}");
        }
    }
}
