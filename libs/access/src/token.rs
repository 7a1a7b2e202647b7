//! From a bearer token to who calls: JSON Web Tokens (RFC 7519) as RFC 8725 and RFC 9068 ask.
//!
//! The library checks structure, algorithm and signature. The claims are checked here: to the second by a
//! clock that is handed in, and more strictly, since a claim of a wrong form is refused and never passed over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, errors::ErrorKind};
use neurotriage_domain::{HospitalId, PatientId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::AccessError,
    identity::{Identity, PurposeOfUse},
    jwks::{SignatureAlgorithm, VerificationKey},
    keys::Keys,
    policy::DEVELOPMENT_HOSPITAL,
    scope::Scopes,
};

/// Longest token, in bytes; all metadata of a call are at most 16 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest `sub` and `client_id`, in bytes (OpenID Connect Core, section 2, for `sub`).
const NAME_BYTES_MAX: usize = 255;
/// End of the year 9999: no date of a token is later.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// What tokens must say, and where.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The one `iss` that is taken.
    pub issuer: String,
    /// What `aud` must name.
    pub audience: String,
    /// How far the issuer's clock may be off, either way.
    pub leeway: Duration,
    /// Claim that holds the hospital's id.
    pub hospital_claim: String,
    /// Claim that holds the id of the one patient of `patient/` scopes.
    pub patient_claim: String,
}

/// Checks tokens of one issuer.
#[derive(Clone, Debug)]
pub struct Verifier {
    rules: TokenRules,
    keys: Keys,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// Checks tokens by `rules`, with `keys`.
    pub fn new(rules: TokenRules, keys: Keys) -> Self {
        Self { rules, keys }
    }

    /// Returns who calls.
    ///
    /// # Errors
    /// Every [`AccessError`] whose reason begins with `TOKEN_`, but [`AccessError::TokenMissing`].
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, AccessError> {
        let header = header_of(token)?;
        let algorithm =
            SignatureAlgorithm::of_name(&header.alg).ok_or(AccessError::AlgorithmRefused)?;
        // A header that must be understood, and is not, makes the token invalid (RFC 7515, 4.1.11).
        if header.crit.is_some() || !is_access_token(header.typ.as_deref()) {
            return Err(AccessError::TokenMalformed);
        }
        let key = self.keys.find(header.kid.as_deref(), algorithm).await?;
        let claims = signed_claims(token, &key)?;
        self.identity(&Claims(&claims), now)
    }

    fn identity(&self, claims: &Claims<'_>, now: SystemTime) -> Result<Identity, AccessError> {
        if claims.text("iss")? != Some(self.rules.issuer.as_str()) {
            return Err(AccessError::IssuerRefused);
        }
        let audience = claims.texts("aud")?.unwrap_or_default();
        if !audience.contains(&self.rules.audience.as_str()) {
            return Err(AccessError::AudienceRefused);
        }
        let good_until = self.check_dates(claims, now)?;
        // Bound to a key of the caller's (RFC 8705, RFC 9449), which is not asked for here.
        if claims.0.contains_key("cnf") {
            return Err(refused("cnf"));
        }

        let subject = claims.name("sub")?.ok_or_else(|| refused("sub"))?;
        let client_id = match claims.name("client_id")? {
            Some(client_id) => Some(client_id),
            None => claims.name("azp")?,
        };
        let scopes = match claims.texts("scope")? {
            Some(scopes) => scopes,
            None => claims.texts("scp")?.unwrap_or_default(),
        };
        let hospital_id: Option<HospitalId> = claims.parsed(&self.rules.hospital_claim)?;
        if hospital_id.as_ref().is_some_and(|id| id.as_str() == DEVELOPMENT_HOSPITAL) {
            return Err(refused(&self.rules.hospital_claim));
        }
        let patient_id: Option<PatientId> = claims.parsed(&self.rules.patient_claim)?;
        let purpose_of_use: Option<PurposeOfUse> = claims.parsed("purpose_of_use")?;
        Ok(Identity {
            subject,
            client_id,
            hospital_id,
            patient_id,
            scopes: Scopes::parse(&scopes.join(" ")),
            purpose_of_use,
            good_until: Some(good_until),
        })
    }

    /// A token is good from `nbf` and `iat` on and before `exp`, each moved by the leeway. Returns until when.
    fn check_dates(&self, claims: &Claims<'_>, now: SystemTime) -> Result<SystemTime, AccessError> {
        // A clock before 1970 would make every token good.
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| AccessError::TokenNotYetValid)?;
        let (now, leeway) = (now.as_secs_f64(), self.rules.leeway.as_secs_f64());
        let expires = claims.seconds("exp")?.ok_or_else(|| refused("exp"))?;
        if now >= expires + leeway {
            return Err(AccessError::TokenExpired);
        }
        for claim in ["nbf", "iat"] {
            if claims.seconds(claim)?.is_some_and(|from| now + leeway < from) {
                return Err(AccessError::TokenNotYetValid);
            }
        }
        // At most the year 9999, so that it can be told.
        Ok(UNIX_EPOCH + Duration::from_secs_f64(expires + leeway))
    }
}

fn header_of(token: &str) -> Result<Header, AccessError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AccessError::TokenMalformed);
    }
    let (header, _) = token.split_once('.').ok_or(AccessError::TokenMalformed)?;
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| AccessError::TokenMalformed)?;
    serde_json::from_slice(&header).map_err(|_| AccessError::TokenMalformed)
}

/// Tells access tokens from those that a caller may hold for other ends, such as a logout.
fn is_access_token(kind: Option<&str>) -> bool {
    let Some(kind) = kind else {
        return true;
    };
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library adds kinds of errors")]
fn signed_claims(token: &str, key: &VerificationKey) -> Result<Map<String, Value>, AccessError> {
    let mut validation = Validation::new(key.algorithm().of_library());
    // What the library leaves to the caller here is checked by `Verifier::identity`.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode(token, key.decoding_key(), &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => {
                AccessError::AlgorithmRefused
            }
            ErrorKind::InvalidToken
            | ErrorKind::Base64(_)
            | ErrorKind::Json(_)
            | ErrorKind::Utf8(_) => AccessError::TokenMalformed,
            // A signature of a wrong length, or a key that is no point of its curve.
            _ => AccessError::SignatureWrong,
        }),
    }
}

fn refused(claim: &str) -> AccessError {
    AccessError::ClaimRefused { claim: claim.to_owned() }
}

/// The claims of a token whose signature was checked. A claim that is `null` is absent.
struct Claims<'a>(&'a Map<String, Value>);

impl<'a> Claims<'a> {
    fn get(&self, claim: &str) -> Option<&'a Value> {
        self.0.get(claim).filter(|value| !value.is_null())
    }

    fn text(&self, claim: &str) -> Result<Option<&'a str>, AccessError> {
        match self.get(claim) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| refused(claim)),
        }
    }

    /// A text, or a list of texts.
    fn texts(&self, claim: &str) -> Result<Option<Vec<&'a str>>, AccessError> {
        let Some(Value::Array(list)) = self.get(claim) else {
            return Ok(self.text(claim)?.map(|text| vec![text]));
        };
        let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        texts.map(Some).ok_or_else(|| refused(claim))
    }

    /// A text that is not empty and not long.
    fn name(&self, claim: &str) -> Result<Option<String>, AccessError> {
        match self.text(claim)? {
            Some(text) if text.is_empty() || text.len() > NAME_BYTES_MAX => Err(refused(claim)),
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, claim: &str) -> Result<Option<T>, AccessError> {
        match self.text(claim)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| refused(claim)),
        }
    }

    /// Seconds since 1970, which may have a fraction.
    fn seconds(&self, claim: &str) -> Result<Option<f64>, AccessError> {
        match self
            .get(claim)
            .map(|value| value.as_f64().filter(|at| (0.0..=SECONDS_MAX).contains(at)))
        {
            None => Ok(None),
            Some(Some(seconds)) => Ok(Some(seconds)),
            Some(None) => Err(refused(claim)),
        }
    }
}

/// Returns the token of a call's `authorization`, as RFC 6750, 2.1, writes it.
///
/// # Errors
/// [`AccessError::TokenMissing`], and [`AccessError::TokenMalformed`] for another scheme or several tokens.
pub fn bearer(headers: &http::HeaderMap) -> Result<&str, AccessError> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AccessError::TokenMissing)?;
    if values.next().is_some() {
        return Err(AccessError::TokenMalformed);
    }
    let value = value.to_str().map_err(|_| AccessError::TokenMalformed)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(token.trim_start_matches(' '))
        }
        _ => Err(AccessError::TokenMalformed),
    }
}

#[cfg(test)]
mod tests;
