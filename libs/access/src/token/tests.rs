use std::io::Write as _;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use neurotriage_domain::HospitalId;
use serde_json::json;

use super::*;
use crate::{
    keys::{KeySource, KeyTimes},
    scope::{Action, Context, Permission, Resource},
    testing::{HOSPITAL, PATIENT, Signer},
};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "neurotriage";
/// The clock of these tests.
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 30;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// Returns a verifier that knows `keys`, read from a file.
async fn verifier(keys: &[Value]) -> Verifier {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let times = KeyTimes {
        refresh_after: Duration::from_secs(300),
        stale_max: Duration::from_secs(3600),
        attempt_gap: Duration::from_secs(3600),
        fetch_timeout: Duration::from_secs(5),
    };
    let keys = Keys::new(KeySource::File(file.path().to_owned()), times);
    keys.read().await.unwrap();
    let rules = TokenRules {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        leeway: Duration::from_secs(LEEWAY),
        hospital_claim: "hospital_id".to_owned(),
        patient_claim: "patient".to_owned(),
    };
    Verifier::new(rules, keys)
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-7",
        "exp": NOW + 600,
        "scope": "openid user/Study.read",
        "hospital_id": HOSPITAL,
    })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn claim_refused(claim: &str) -> Result<(), AccessError> {
    Err(refused(claim))
}

/// Returns a token from its parts as text, without a look at them.
fn assemble(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_are_taken() {
    let signers = [("r", Signer::rsa()), ("e", Signer::p256()), ("d", Signer::ed25519())];
    let keys: Vec<Value> = signers.iter().map(|(id, signer)| signer.jwk(id)).collect();
    let verifier = verifier(&keys).await;
    for (id, signer) in &signers {
        let token = signer.sign(id, &claims());
        let identity = verifier.verify(&token, now()).await.unwrap();
        assert_eq!(identity.subject, "user-7", "{:?}", signer.algorithm);

        // One character of the claims changed, signed by nobody.
        let mut parts: Vec<&str> = token.split('.').collect();
        let other = with("sub", json!("user-8")).to_string();
        let other = URL_SAFE_NO_PAD.encode(other);
        parts[1] = &other;
        let error = verifier.verify(&parts.join("."), now()).await.unwrap_err();
        assert_eq!(error, AccessError::SignatureWrong, "{:?}", signer.algorithm);
    }
    // A key of the same kind that is not the issuer's, under its id.
    let forged = Signer::ed25519().sign("d", &claims());
    assert_eq!(verifier.verify(&forged, now()).await, Err(AccessError::SignatureWrong));
}

#[tokio::test]
async fn an_algorithm_is_never_the_tokens_choice() {
    let (ed, p256) = (Signer::ed25519(), Signer::p256());
    let verifier = verifier(&[ed.jwk("d"), p256.jwk("e")]).await;
    let public = URL_SAFE_NO_PAD.decode(ed.jwk["x"].as_str().unwrap()).unwrap();
    let hmac = |algorithm| {
        let header = Header { kid: Some("d".to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&public)).unwrap()
    };
    let named = |alg: &str| assemble(&json!({"alg": alg, "kid": "d"}), &claims(), b"");
    // (what the row is for, token)
    let table = [
        ("unsigned", named("none")),
        ("unsigned, in capitals", named("NONE")),
        ("unsigned, mixed", named("nOnE")),
        ("public key as HMAC secret", hmac(Algorithm::HS256)),
        ("the same, longer", hmac(Algorithm::HS512)),
        ("not taken", named("RS384")),
        ("not taken", named("PS256")),
        ("not taken", named("ES384")),
        ("made up", named("XX256")),
        ("small letters", named("eddsa")),
        ("taken, but not for this key", named("ES256")),
        ("taken, but not for this key", named("RS256")),
        ("signed by one key, named as another", {
            let header = Header { kid: Some("e".to_owned()), ..Header::new(Algorithm::EdDSA) };
            ed.sign_under(&header, &claims())
        }),
    ];
    for (case, token) in table {
        let error = verifier.verify(&token, now()).await.unwrap_err();
        assert_eq!(error, AccessError::AlgorithmRefused, "case: {case}");
    }
}

#[tokio::test]
async fn a_key_is_the_issuers_own_by_its_id() {
    let (first, second) = (Signer::ed25519(), Signer::ed25519());
    let both = verifier(&[first.jwk("a"), second.jwk("b")]).await;
    let alone = verifier(&[first.jwk("a")]).await;
    let nameless = Header::new(Algorithm::EdDSA);
    // A header may offer a key of its own, which nobody looks at.
    let mut offered: Header = Header::new(Algorithm::EdDSA);
    offered.kid = Some("c".to_owned());
    offered.jwk = Some(serde_json::from_value(second.jwk.clone()).unwrap());
    offered.jku = Some("https://attacker.example/keys".to_owned());
    let unknown = Err(AccessError::KeyUnknown);
    // (what the row is for, verifier, token, what comes of it)
    let table = [
        ("first", &both, first.sign("a", &claims()), Ok(())),
        ("second", &both, second.sign("b", &claims()), Ok(())),
        ("exchanged", &both, second.sign("a", &claims()), Err(AccessError::SignatureWrong)),
        ("unknown id", &both, first.sign("z", &claims()), unknown.clone()),
        ("no id, two keys", &both, first.sign_under(&nameless, &claims()), unknown.clone()),
        ("no id, one key", &alone, first.sign_under(&nameless, &claims()), Ok(())),
        ("its own key in the header", &both, second.sign_under(&offered, &claims()), unknown),
    ];
    for (case, verifier, token, expected) in table {
        assert_eq!(verifier.verify(&token, now()).await.map(drop), expected, "case: {case}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let signer = Signer::ed25519();
    let verifier = verifier(&[signer.jwk("d")]).await;
    let good = signer.sign("d", &claims());
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts: {good}");
    };
    let header_with = |field: &str, value: Value| {
        let mut header = json!({"alg": "EdDSA", "kid": "d"});
        header[field] = value;
        assemble(&header, &claims(), b"")
    };
    let long = "a".repeat(TOKEN_BYTES_MAX);
    // (what the row is for, token)
    let table = [
        ("empty", String::new()),
        ("no dots", "token".to_owned()),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as if encrypted", format!("{good}.a.b")),
        ("header no base64", format!("!.{body}.{signature}")),
        ("header no JSON", format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode("alg"))),
        ("header without algorithm", assemble(&json!({"kid": "d"}), &claims(), b"")),
        ("key id no text", header_with("kid", json!(7))),
        ("header twice", {
            let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","alg":"none","kid":"d"}"#);
            format!("{twice}.{body}.{signature}")
        }),
        ("must be understood", header_with("crit", json!(["exp"]))),
        ("logout token", header_with("typ", json!("logout+jwt"))),
        ("too long", format!("{header}.{body}.{signature}{long}")),
    ];
    for (case, token) in table {
        let error = verifier.verify(&token, now()).await.unwrap_err();
        assert_eq!(error, AccessError::TokenMalformed, "case: {case}");
    }
    let no_signature = format!("{header}.{body}.");
    assert_eq!(verifier.verify(&no_signature, now()).await, Err(AccessError::SignatureWrong));
    let not_claims = signer.sign("d", &json!("text"));
    assert_eq!(verifier.verify(&not_claims, now()).await, Err(AccessError::TokenMalformed));
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = Header {
            typ: Some(kind.to_owned()),
            kid: Some("d".to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token = signer.sign_under(&header, &claims());
        assert!(verifier.verify(&token, now()).await.is_ok(), "kind: {kind}");
    }
}

#[tokio::test]
async fn dates_count_to_the_second_of_the_leeway() {
    let signer = Signer::ed25519();
    let verifier = verifier(&[signer.jwk("d")]).await;
    let expired = Err(AccessError::TokenExpired);
    let early = Err(AccessError::TokenNotYetValid);
    // (what the row is for, claims, what comes of it)
    let table = [
        ("ends later", with("exp", json!(NOW + 1)), Ok(())),
        ("ends now", with("exp", json!(NOW)), Ok(())),
        ("last second of the leeway", with("exp", json!(NOW - LEEWAY + 1)), Ok(())),
        ("end of the leeway", with("exp", json!(NOW - LEEWAY)), expired.clone()),
        ("long past", with("exp", json!(1)), expired.clone()),
        ("fraction inside", with("exp", json!((NOW - LEEWAY) as f64 + 0.5)), Ok(())),
        ("fraction outside", with("exp", json!((NOW - LEEWAY) as f64 - 0.5)), expired),
        ("never ends", without("exp"), claim_refused("exp")),
        ("ends at null", with("exp", Value::Null), claim_refused("exp")),
        ("end as text", with("exp", json!((NOW + 600).to_string())), claim_refused("exp")),
        ("end below zero", with("exp", json!(-1)), claim_refused("exp")),
        ("end too far", with("exp", json!(1e300)), claim_refused("exp")),
        ("starts now", with("nbf", json!(NOW)), Ok(())),
        ("starts within the leeway", with("nbf", json!(NOW + LEEWAY)), Ok(())),
        ("starts after the leeway", with("nbf", json!(NOW + LEEWAY + 1)), early.clone()),
        ("start as text", with("nbf", json!("0")), claim_refused("nbf")),
        ("made within the leeway", with("iat", json!(NOW + LEEWAY)), Ok(())),
        ("made after the leeway", with("iat", json!(NOW + LEEWAY + 1)), early),
        ("made as a list", with("iat", json!([0])), claim_refused("iat")),
    ];
    for (case, claims, expected) in table {
        let outcome = verifier.verify(&signer.sign("d", &claims), now()).await.map(drop);
        assert_eq!(outcome, expected, "case: {case}");
    }
    let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
    let outcome = verifier.verify(&signer.sign("d", &claims()), before_1970).await;
    assert_eq!(outcome, Err(AccessError::TokenNotYetValid));
}

#[tokio::test]
async fn claims_are_as_they_must_be_or_the_token_is_refused() {
    let signer = Signer::ed25519();
    let verifier = verifier(&[signer.jwk("d")]).await;
    let issuer = Err(AccessError::IssuerRefused);
    let audience = Err(AccessError::AudienceRefused);
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    // (what the row is for, claims, what comes of it)
    let table = [
        ("another issuer", with("iss", json!("https://other.example")), issuer.clone()),
        ("issuer with a slash", with("iss", json!(format!("{ISSUER}/"))), issuer.clone()),
        ("no issuer", without("iss"), issuer),
        ("issuers", with("iss", json!([ISSUER])), claim_refused("iss")),
        ("another audience", with("aud", json!("billing")), audience.clone()),
        ("part of the audience", with("aud", json!("neuro")), audience.clone()),
        ("no audience", without("aud"), audience.clone()),
        ("no audiences", with("aud", json!([])), audience),
        ("one of the audiences", with("aud", json!(["billing", AUDIENCE])), Ok(())),
        ("audiences not all text", with("aud", json!([AUDIENCE, 7])), claim_refused("aud")),
        ("no subject", without("sub"), claim_refused("sub")),
        ("empty subject", with("sub", json!("")), claim_refused("sub")),
        ("long subject", with("sub", json!(long)), claim_refused("sub")),
        ("subject a number", with("sub", json!(7)), claim_refused("sub")),
        ("client a list", with("client_id", json!(["a"])), claim_refused("client_id")),
        ("scope a number", with("scope", json!(7)), claim_refused("scope")),
        (
            "hospital malformed",
            with("hospital_id", json!("North Lake")),
            claim_refused("hospital_id"),
        ),
        (
            "hospital of no tokens",
            with("hospital_id", json!("development")),
            claim_refused("hospital_id"),
        ),
        ("hospital empty", with("hospital_id", json!("")), claim_refused("hospital_id")),
        ("hospitals", with("hospital_id", json!([HOSPITAL])), claim_refused("hospital_id")),
        ("patient malformed", with("patient", json!("7")), claim_refused("patient")),
        (
            "purpose free text",
            with("purpose_of_use", json!("for him")),
            claim_refused("purpose_of_use"),
        ),
        ("bound to a key", with("cnf", json!({"jkt": "x"})), claim_refused("cnf")),
    ];
    for (case, claims, expected) in table {
        let outcome = verifier.verify(&signer.sign("d", &claims), now()).await.map(drop);
        assert_eq!(outcome, expected, "case: {case}");
    }
}

#[tokio::test]
async fn an_identity_holds_what_the_token_says() {
    let signer = Signer::ed25519();
    let verifier = verifier(&[signer.jwk("d")]).await;
    let verify =
        async |claims: Value| verifier.verify(&signer.sign("d", &claims), now()).await.unwrap();
    let mut full = claims();
    full["client_id"] = json!("viewer");
    full["azp"] = json!("other");
    full["patient"] = json!(PATIENT);
    full["purpose_of_use"] = json!("TREAT");
    let identity = verify(full).await;
    assert_eq!(identity.client_id.as_deref(), Some("viewer"));
    assert_eq!(identity.hospital_id, Some(HOSPITAL.parse::<HospitalId>().unwrap()));
    assert_eq!(identity.patient_id, Some(PATIENT.parse().unwrap()));
    assert_eq!(identity.purpose_of_use.unwrap().as_str(), "TREAT");

    let bare = verify(without("hospital_id")).await;
    assert_eq!((bare.client_id, bare.hospital_id, bare.patient_id), (None, None, None));
    assert_eq!(verify(with("azp", json!("app"))).await.client_id.as_deref(), Some("app"));

    let read_study = Permission { resource: Resource::Study, action: Action::Read };
    let user = [Context::User];
    // (what the row is for, claims, whether studies may be read)
    let mut listed = without("scope");
    listed["scp"] = json!(["openid", "user/Study.read"]);
    let mut both = with("scope", json!("openid"));
    both["scp"] = json!("user/Study.read");
    let table = [
        ("text", claims(), true),
        ("list", with("scope", json!(["user/Study.r"])), true),
        ("under the other name", listed, true),
        ("the first name counts", both, false),
        ("none", without("scope"), false),
    ];
    for (case, claims, allowed) in table {
        assert_eq!(verify(claims).await.scopes.allows(&user, read_study), allowed, "case: {case}");
    }
}

#[test]
fn a_bearer_token_comes_once_and_alone() {
    let headers = |values: &[&'static str]| {
        let mut headers = http::HeaderMap::new();
        for value in values {
            headers.append("authorization", http::HeaderValue::from_static(value));
        }
        headers
    };
    let malformed = Err(AccessError::TokenMalformed);
    // (what the row is for, values, what comes of it)
    let table: [(_, &[&str], _); 8] = [
        ("as usual", &["Bearer a.b.c"], Ok("a.b.c")),
        ("in small letters", &["bearer a.b.c"], Ok("a.b.c")),
        ("two spaces", &["Bearer  a.b.c"], Ok("a.b.c")),
        ("none", &[], Err(AccessError::TokenMissing)),
        ("twice", &["Bearer a.b.c", "Bearer d.e.f"], malformed.clone()),
        ("password", &["Basic dTpw"], malformed.clone()),
        ("no scheme", &["a.b.c"], malformed.clone()),
        ("empty", &[""], malformed),
    ];
    for (case, values, expected) in table {
        let headers = headers(values);
        assert_eq!(bearer(&headers), expected, "case: {case}");
    }
}
