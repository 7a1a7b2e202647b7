//! What is written down about patients, sealed; and the keyed hashes it is found by.

use neurotriage_sealing::{
    IndexColumn, IndexError, Indexer, Keyring, KeyringError, Normal, Place, PrefixColumn, Sealed,
    Sealer,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{error::RecordsError, search::SearchKey};

/// Unique in a hospital, so long enough never to be shared by chance.
const NUMBER: IndexColumn = IndexColumn {
    table: "patient",
    column: "medical_record_number",
    normal: Normal::Text,
    token_bytes: 16,
};
/// Two characters are a family name and the first of a given name in Hangul.
const NAME: PrefixColumn =
    PrefixColumn { table: "patient", column: "name", token_bytes: 6, chars_min: 2, chars_max: 5 };
const BIRTH_DATE: IndexColumn = IndexColumn {
    table: "patient",
    column: "birth_date",
    normal: Normal::Verbatim,
    token_bytes: 8,
};
const FINDING: IndexColumn =
    IndexColumn { table: "entry", column: "finding", normal: Normal::Verbatim, token_bytes: 8 };
const STUDY: IndexColumn =
    IndexColumn { table: "entry", column: "study", normal: Normal::Verbatim, token_bytes: 16 };
/// Tells a repeated request from another one.
const REQUEST: IndexColumn =
    IndexColumn { table: "records", column: "request", normal: Normal::Verbatim, token_bytes: 32 };
/// Parts a number from its issuer: in neither, since both are of one line.
const PART: char = '\u{1f}';

/// Why a vault can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("keyring does not serve")]
pub struct VaultError(#[from] KeyringError);

/// A table with sealed content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealedTable {
    Patient,
    Entry,
}

impl SealedTable {
    fn place(self, hospital: &str, row: Uuid) -> Place<'_> {
        let table = match self {
            Self::Patient => "patient",
            Self::Entry => "entry",
        };
        Place { tenant: hospital, table, column: "content", row }
    }
}

/// The keys of the store at work.
#[derive(Clone, Debug)]
pub struct Vault {
    sealer: Sealer,
    indexer: Indexer,
}

/// The stored word of a key's kind.
pub(super) fn kind(key: &SearchKey) -> &'static str {
    match key {
        SearchKey::MedicalRecordNumber { .. } => "medical_record_number",
        SearchKey::Name(_) => "name",
        SearchKey::BirthDate(_) => "birth_date",
        SearchKey::Finding(_) => "finding",
        SearchKey::Study(_) => "study",
    }
}

impl Vault {
    /// Opens the vault with the keys of `keyring`.
    ///
    /// # Errors
    /// If a use of keys has no active one.
    pub fn new(keyring: &Keyring) -> Result<Self, VaultError> {
        Ok(Self { sealer: Sealer::new(keyring)?, indexer: Indexer::new(keyring)? })
    }

    pub(super) fn seal<C: Serialize>(
        &self,
        table: SealedTable,
        hospital: &str,
        row: Uuid,
        content: &C,
    ) -> Result<String, RecordsError> {
        let sealed = self.sealer.seal_json(&table.place(hospital, row), content);
        sealed.map(Sealed::into_string).map_err(|error| RecordsError::store("seal content", error))
    }

    pub(super) fn open<C: DeserializeOwned>(
        &self,
        table: SealedTable,
        hospital: &str,
        row: Uuid,
        stored: &str,
    ) -> Result<C, RecordsError> {
        let sealed = Sealed::parse(stored.to_owned());
        sealed
            .and_then(|sealed| self.sealer.open_json(&table.place(hospital, row), &sealed))
            .map_err(|error| RecordsError::store("open content", error))
    }

    /// Returns whether `stored` is sealed with a key that is no longer the active one.
    pub(super) fn is_old(&self, stored: &str) -> Result<bool, RecordsError> {
        let sealed = Sealed::parse(stored.to_owned())
            .map_err(|error| RecordsError::store("read sealed content", error))?;
        Ok(self.sealer.needs_rotation(&sealed))
    }

    /// Returns whether `token` is of a key that is no longer the active one.
    pub(super) fn is_old_token(&self, token: &str) -> bool {
        self.indexer.needs_rotation(token)
    }

    /// Returns whether rows may hold tokens of several keys.
    pub(super) fn is_rotating(&self) -> bool {
        self.indexer.is_rotating()
    }

    /// Returns the tokens to store for `key` in the hospital `scope`, sorted. A value that can't be searched
    /// for has none.
    pub(super) fn tokens(&self, scope: &str, key: &SearchKey) -> Result<Vec<String>, RecordsError> {
        let tokens = if let SearchKey::Name(name) = key {
            self.indexer.prefix_tokens(&NAME, scope, name)
        } else {
            let (column, value) = exact_value(key);
            self.indexer.token(&column, scope, &value).map(|token| vec![token])
        };
        match tokens {
            Ok(tokens) => Ok(tokens.into_iter().map(|token| token.into_string()).collect()),
            Err(IndexError::Nothing) => Ok(Vec::new()),
            Err(error) => Err(RecordsError::store("make search token", error)),
        }
    }

    /// Returns, for each part of `key`, the tokens of which a row must have one.
    ///
    /// # Errors
    /// [`IndexError`] if it can't be searched for.
    pub(super) fn candidates(
        &self,
        scope: &str,
        key: &SearchKey,
    ) -> Result<Vec<Vec<String>>, IndexError> {
        let parts = if let SearchKey::Name(typed) = key {
            self.indexer.prefix_candidates(&NAME, scope, typed)?
        } else {
            let (column, value) = exact_value(key);
            vec![self.indexer.candidates(&column, scope, &value)?]
        };
        let texts = |tokens: Vec<neurotriage_sealing::Token>| {
            tokens.into_iter().map(|token| token.into_string()).collect()
        };
        Ok(parts.into_iter().map(texts).collect())
    }

    /// Returns a keyed hash of a request.
    pub(super) fn request_mac(&self, scope: &str, request: &[u8]) -> Result<String, RecordsError> {
        let request = String::from_utf8_lossy(request);
        let mac = self.indexer.token(&REQUEST, scope, &request);
        mac.map(|token| token.into_string())
            .map_err(|error| RecordsError::store("hash request", error))
    }

    /// Returns whether `stored` is the hash of `request`.
    pub(super) fn is_same_request(
        &self,
        scope: &str,
        request: &[u8],
        stored: &str,
    ) -> Result<bool, RecordsError> {
        let request = String::from_utf8_lossy(request);
        let macs = self.indexer.candidates(&REQUEST, scope, &request);
        let macs = macs.map_err(|error| RecordsError::store("hash request", error))?;
        Ok(macs.iter().any(|mac| mac.as_str() == stored))
    }
}

fn exact_value(key: &SearchKey) -> (IndexColumn, String) {
    match key {
        SearchKey::MedicalRecordNumber { issuer, number } => {
            (NUMBER, format!("{issuer}{PART}{number}"))
        }
        SearchKey::BirthDate(date) => (BIRTH_DATE, date.to_string()),
        SearchKey::Finding(code) => (FINDING, code.clone()),
        SearchKey::Study(study_id) => (STUDY, study_id.to_string()),
        // Names are searched for by their beginnings; whole, they are their own value.
        SearchKey::Name(name) => (IndexColumn { column: "whole_name", ..NUMBER }, name.clone()),
    }
}

/// Returns whether each word of `typed` begins a word of `name`.
pub(super) fn begins_like(name: &str, typed: &str) -> bool {
    let (name, typed) = (Normal::Text.apply(name), Normal::Text.apply(typed));
    typed.split(' ').all(|typed| name.split(' ').any(|word| word.starts_with(typed)))
}

/// Returns whether both are one number of one issuer, as the index sees them.
pub(super) fn same_text(one: &str, other: &str) -> bool {
    *Normal::Text.apply(one) == *Normal::Text.apply(other)
}
