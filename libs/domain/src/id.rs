//! Identifiers. One type per kind of thing, so that a study can't be passed for a patient.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not the identifier it was taken for. It is not repeated: it may be a patient's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {kind} id; expected {expected}")]
pub struct InvalidId {
    kind: &'static str,
    expected: &'static str,
}

fn invalid(kind: &'static str, expected: &'static str) -> InvalidId {
    InvalidId { kind, expected }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        derived_id! {
            $(#[$doc])*
            ///
            /// A UUIDv7, so ids sort by creation time and index well in a database.
            $name, $kind
        }

        impl $name {
            /// Returns a fresh identifier.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }
    };
}

/// A UUID that is not made here: whoever uses the type says how.
macro_rules! derived_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Returns the identifier as a UUID, for storage.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match Uuid::try_parse(text) {
                    Ok(uuid) => Ok(Self(uuid)),
                    Err(_) => Err(invalid($kind, "a UUID")),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

uuid_id!(
    /// Identifies one patient.
    PatientId,
    "patient"
);
uuid_id!(
    /// Identifies one imaging study: every scan taken in one visit.
    StudyId,
    "study"
);
uuid_id!(
    /// Identifies one report of symptoms by or about a patient.
    SymptomReportId,
    "symptom report"
);
uuid_id!(
    /// Identifies one segmentation of a study by one model.
    SegmentationId,
    "segmentation"
);
uuid_id!(
    /// Identifies one assessment: image and symptoms compared, hospitals ranked.
    AssessmentId,
    "assessment"
);
uuid_id!(
    /// Identifies one diagnosis: one run of the whole path for a study.
    DiagnosisId,
    "diagnosis"
);
uuid_id!(
    /// Identifies one referral of one patient to one hospital.
    ReferralId,
    "referral"
);
derived_id!(
    /// Identifies one event of a referral.
    ///
    /// A UUIDv5 of the referral and the sequence number, so that an event that is made, sent or
    /// copied twice is known by its id to be one.
    EventId,
    "event"
);

/// Namespace of event ids: the UUIDv5 of `event.referral.neurotriage.example` among DNS names.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0xf7bae867_14155419_950f2501_8c5749b3);

impl EventId {
    /// Returns the id of event number `sequence` of a referral.
    ///
    /// # Source
    /// RFC 9562, section 5.5; the name is the 16 bytes of the referral id and the 8 bytes of the
    /// number, most significant first.
    pub fn of(referral_id: ReferralId, sequence: u64) -> Self {
        let mut name = [0_u8; 24];
        let (id, number) = name.split_at_mut(16);
        id.copy_from_slice(referral_id.as_uuid().as_bytes());
        number.copy_from_slice(&sequence.to_be_bytes());
        Self(Uuid::new_v5(&EVENT_NAMESPACE, &name))
    }
}

/// Longest hospital id, in bytes.
const HOSPITAL_ID_LENGTH_MAX: usize = 64;

/// Identifies one hospital of the directory: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HospitalId(String);

impl HospitalId {
    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HospitalId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > HOSPITAL_ID_LENGTH_MAX || !text.chars().all(plain) {
            return Err(invalid("hospital", "1 to 64 of a-z, 0-9 and -"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for HospitalId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<HospitalId> for String {
    fn from(id: HospitalId) -> Self {
        id.0
    }
}

impl fmt::Display for HospitalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a stored object: its name in the blob store. Shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobDigest([u8; 32]);

impl BlobDigest {
    /// Returns the digest made of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for BlobDigest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let refuse = || invalid("blob", "64 hexadecimal digits");
        // Looked at first: the number parser would take a sign for a digit.
        if text.len() != 64 || !text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for BlobDigest {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<BlobDigest> for String {
    fn from(digest: BlobDigest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobDigest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_refuse_what_they_are_not() {
        let study_id = StudyId::generate();
        assert_eq!(study_id.to_string().parse(), Ok(study_id));
        assert!("banana".parse::<StudyId>().unwrap_err().to_string().contains("study id"));
        let digest = BlobDigest::from_bytes([0xa5; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for (case, text) in
            [("short", "a5"), ("not hex", &"g".repeat(64)), ("sign", &"+1".repeat(32))]
        {
            assert!(text.parse::<BlobDigest>().is_err(), "case: {case}");
        }
        for (case, text, good) in
            [("plain", "sample-01", true), ("empty", "", false), ("upper", "A", false)]
        {
            assert_eq!(text.parse::<HospitalId>().is_ok(), good, "case: {case}");
        }
    }

    #[test]
    fn an_event_has_one_id_and_shares_it_with_none() {
        let name = b"event.referral.neurotriage.example";
        assert_eq!(EVENT_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, name));
        let referral_id: ReferralId = "01939c5e-7a00-7000-8000-000000000001".parse().unwrap();
        let other: ReferralId = "01939c5e-7a00-7000-8000-000000000002".parse().unwrap();
        // Computed by Python's hashlib and uuid over the same 24 bytes.
        let expected = "fa388e68-636f-59ed-b21d-b5334fc802e5";
        assert_eq!(EventId::of(referral_id, 3).to_string(), expected);
        let mut ids: Vec<EventId> = (1..=200).map(|n| EventId::of(referral_id, n)).collect();
        ids.push(EventId::of(other, 1));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 201);
    }

    #[test]
    fn a_refused_id_is_not_repeated() {
        let refused = "Han Garam".parse::<StudyId>().unwrap_err();
        assert_eq!(refused.to_string(), "no study id; expected a UUID");
        assert!(!format!("{refused:?}").contains("Garam"));
    }
}
