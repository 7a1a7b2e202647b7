//! Why a call is refused.

use std::time::Duration;

use neurotriage_domain::{DomainError, ErrorCode};

/// Why a call is refused. Says nothing of what the token holds but the names of its claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No token came with the call.
    #[error("bearer token is missing; send metadata `authorization: Bearer <token>`")]
    TokenMissing,
    /// What came is no JSON Web Token that this service reads.
    #[error("bearer token cannot be read; send one signed JWT of at most 8 KiB")]
    TokenMalformed,
    /// The token is signed by an algorithm that is not taken, or by another than its key is for.
    #[error("algorithm of the bearer token is refused; sign with RS256, ES256 or EdDSA")]
    AlgorithmRefused,
    /// The issuer publishes no such key.
    #[error("bearer token is signed with a key that its issuer does not publish")]
    KeyUnknown,
    /// The signature is not of this token and key.
    #[error("signature of the bearer token is wrong")]
    SignatureWrong,
    /// The token is too old.
    #[error("bearer token has expired; fetch a new one")]
    TokenExpired,
    /// The token is of the future.
    #[error("bearer token is not valid yet; check the clocks")]
    TokenNotYetValid,
    /// Another issuer made the token.
    #[error("bearer token is of another issuer")]
    IssuerRefused,
    /// The token is for another service.
    #[error("bearer token is for another audience")]
    AudienceRefused,
    /// A claim is absent, of the wrong form, or one that cannot be honoured.
    #[error("claim `{claim}` of the bearer token is absent, malformed or not supported")]
    ClaimRefused {
        /// Name of the claim.
        claim: String,
    },
    /// The issuer's keys could not be had for too long.
    #[error("keys of the token issuer are not available; try again")]
    KeysUnavailable,
    /// Nobody said who may call this.
    #[error("no rule allows this call")]
    RpcWithoutRule,
    /// The token does not allow it.
    #[error("bearer token lacks a scope for this call; it needs {needed}")]
    ScopeMissing {
        /// A scope that would do, such as `user/Patient.r`; several are joined by `and`.
        needed: String,
    },
    /// The token is bound to no hospital, and the call is about a hospital's data.
    #[error("bearer token names no hospital, and this call is about the data of one")]
    HospitalMissing,
    /// The token allows one patient, and the call is about another.
    #[error("bearer token is for another patient")]
    OtherPatient,
    /// A call that came through a proxy reached a program that knows no tokens.
    #[error("without a token issuer only direct calls are taken; this one came through a proxy")]
    ProxiedWithoutTokens,
    /// A handler answered without looking whose data it gave out. A bug.
    #[error("call for one patient was answered without a check of the patient")]
    PatientNotChecked,
    /// A handler was reached past the layer. A bug.
    #[error("call was not checked for access")]
    CallNotChecked,
}

/// How long to wait before asking again while keys are away.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(5);

impl DomainError for AccessError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TokenMissing
            | Self::TokenMalformed
            | Self::AlgorithmRefused
            | Self::KeyUnknown
            | Self::SignatureWrong
            | Self::TokenExpired
            | Self::TokenNotYetValid
            | Self::IssuerRefused
            | Self::AudienceRefused
            | Self::ClaimRefused { .. } => ErrorCode::Unauthenticated,
            Self::KeysUnavailable => ErrorCode::Unavailable,
            Self::RpcWithoutRule
            | Self::ScopeMissing { .. }
            | Self::HospitalMissing
            | Self::OtherPatient
            | Self::ProxiedWithoutTokens => ErrorCode::PermissionDenied,
            Self::PatientNotChecked | Self::CallNotChecked => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenMalformed => "TOKEN_MALFORMED",
            Self::AlgorithmRefused => "TOKEN_ALGORITHM_REFUSED",
            Self::KeyUnknown => "TOKEN_KEY_UNKNOWN",
            Self::SignatureWrong => "TOKEN_SIGNATURE_WRONG",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenNotYetValid => "TOKEN_NOT_YET_VALID",
            Self::IssuerRefused => "TOKEN_ISSUER_REFUSED",
            Self::AudienceRefused => "TOKEN_AUDIENCE_REFUSED",
            Self::ClaimRefused { .. } => "TOKEN_CLAIM_REFUSED",
            Self::KeysUnavailable => "TOKEN_KEYS_UNAVAILABLE",
            Self::RpcWithoutRule => "RPC_WITHOUT_RULE",
            Self::ScopeMissing { .. } => "SCOPE_MISSING",
            Self::HospitalMissing => "HOSPITAL_MISSING",
            Self::OtherPatient => "OTHER_PATIENT",
            Self::ProxiedWithoutTokens => "PROXIED_WITHOUT_TOKENS",
            Self::PatientNotChecked => "PATIENT_NOT_CHECKED",
            Self::CallNotChecked => "CALL_NOT_CHECKED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::ClaimRefused { claim } => vec![("claim", claim.clone())],
            Self::ScopeMissing { needed } => vec![("neededScope", needed.clone())],
            Self::TokenMissing
            | Self::TokenMalformed
            | Self::AlgorithmRefused
            | Self::KeyUnknown
            | Self::SignatureWrong
            | Self::TokenExpired
            | Self::TokenNotYetValid
            | Self::IssuerRefused
            | Self::AudienceRefused
            | Self::KeysUnavailable
            | Self::RpcWithoutRule
            | Self::HospitalMissing
            | Self::OtherPatient
            | Self::ProxiedWithoutTokens
            | Self::PatientNotChecked
            | Self::CallNotChecked => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        (*self == Self::KeysUnavailable).then_some(KEYS_RETRY_AFTER)
    }
}
