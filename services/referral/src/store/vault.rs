//! What people wrote about patients, sealed.
//!
//! Findings hold pieces of symptom texts, and reasons of referrals are free text. The keys are the deployment's: both
//! hospitals of a referral read its reason.

use neurotriage_sealing::{Keyring, KeyringError, Place, SealError, Sealed, Sealer};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// A column of sealed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealedColumn {
    /// Findings of an assessment.
    Findings,
    /// Reason of a referral's event.
    Reason,
}

impl SealedColumn {
    fn place(self, owner: &str, row: Uuid) -> Place<'_> {
        let (tenant, table) = match self {
            Self::Findings => (owner, "assessment"),
            // Two hospitals' at once.
            Self::Reason => ("", "referral_reason"),
        };
        Place { tenant, table, column: "sealed", row }
    }
}

/// The keys of the store at work.
#[derive(Clone, Debug)]
pub struct Vault {
    sealer: Sealer,
}

impl Vault {
    /// Opens the vault with the keys of `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if none of them seals.
    pub fn new(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { sealer: Sealer::new(keyring)? })
    }

    pub(super) fn seal<C: Serialize>(
        &self,
        column: SealedColumn,
        owner: &str,
        row: Uuid,
        content: &C,
    ) -> Result<String, SealError> {
        self.sealer.seal_json(&column.place(owner, row), content).map(Sealed::into_string)
    }

    pub(super) fn open<C: DeserializeOwned>(
        &self,
        column: SealedColumn,
        owner: &str,
        row: Uuid,
        stored: &str,
    ) -> Result<C, SealError> {
        let sealed = Sealed::parse(stored.to_owned())?;
        self.sealer.open_json(&column.place(owner, row), &sealed)
    }

    /// Returns `stored` sealed with the active key; `None` if it is already.
    pub(super) fn renew(
        &self,
        column: SealedColumn,
        owner: &str,
        row: Uuid,
        stored: &str,
    ) -> Result<Option<String>, SealError> {
        let sealed = Sealed::parse(stored.to_owned())?;
        if !self.sealer.needs_rotation(&sealed) {
            return Ok(None);
        }
        self.sealer
            .reseal(&column.place(owner, row), &sealed)
            .map(|sealed| Some(sealed.into_string()))
    }
}
