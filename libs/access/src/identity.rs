//! Who calls, as a token says it.

use std::{fmt, str::FromStr, time::SystemTime};

use neurotriage_domain::{HospitalId, PatientId};

use crate::scope::Scopes;

/// Longest code of a purpose, in bytes.
const PURPOSE_BYTES_MAX: usize = 32;

/// Why data is asked for: a code of HL7 v3 PurposeOfUse, such as `TREAT` or `ETREAT`.
///
/// Invariant: 1 to 32 of `A-Z`, `0-9`, `-` and `_`. Any such code is taken: it is kept for the audit and
/// grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PurposeOfUse(String);

/// Text that is no code of a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("purpose of use is not 1 to 32 of A-Z, 0-9, - and _")]
pub struct InvalidPurposeOfUse;

impl PurposeOfUse {
    /// Returns the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PurposeOfUse {
    type Err = InvalidPurposeOfUse;

    fn from_str(text: &str) -> Result<Self, InvalidPurposeOfUse> {
        let is_code = |byte: u8| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        if text.is_empty() || text.len() > PURPOSE_BYTES_MAX || !text.bytes().all(is_code) {
            return Err(InvalidPurposeOfUse);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The caller of one RPC. In the extensions of every request that the layer let through.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who calls: the token's `sub`.
    pub subject: String,
    /// Program through which the call is made: `client_id`, or else `azp`.
    pub client_id: Option<String>,
    /// Hospital the caller belongs to: the tenant.
    pub hospital_id: Option<HospitalId>,
    /// The one patient that `patient/` scopes are about.
    pub patient_id: Option<PatientId>,
    /// What the token allows.
    pub scopes: Scopes,
    /// Why the data is asked for.
    pub purpose_of_use: Option<PurposeOfUse>,
    /// Until when the token is good, leeway included; nothing without a token. Streams without an end stop then.
    pub good_until: Option<SystemTime>,
}

/// Leaves the subject out: it may be a person's e-mail address.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("client_id", &self.client_id)
            .field("hospital_id", &self.hospital_id)
            .field("patient_id", &self.patient_id)
            .field("purpose_of_use", &self.purpose_of_use)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_a_short_code() {
        // (what the row is for, text, whether it is one)
        let longest = "A".repeat(PURPOSE_BYTES_MAX);
        let too_long = "A".repeat(PURPOSE_BYTES_MAX + 1);
        let table = [
            ("treatment", "TREAT", true),
            ("longest", &longest, true),
            ("too long", &too_long, false),
            ("empty", "", false),
            ("small letters", "treat", false),
            ("free text", "CALL MRS", false),
        ];
        for (case, text, valid) in table {
            assert_eq!(text.parse::<PurposeOfUse>().is_ok(), valid, "case: {case}");
        }
    }

    #[test]
    fn the_subject_is_never_printed() {
        let identity = Identity {
            subject: "someone@hospital.example".to_owned(),
            client_id: Some("viewer".to_owned()),
            hospital_id: None,
            patient_id: None,
            scopes: Scopes::default(),
            purpose_of_use: None,
            good_until: None,
        };
        let text = format!("{identity:?}");
        assert!(text.contains("viewer") && !text.contains("someone"), "{text}");
    }
}
