//! What is written down about patients, sealed; and the keyed hashes it is found by.

use neurotriage_sealing::{
    FoldedName, IndexColumn, IndexError, Indexer, Keyring, KeyringError, Normal, Place,
    PrefixColumn, Sealed, Sealer, Token,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    error::RecordsError,
    search::{NAME_PREFIX_CHARS_MIN, SearchKey},
};

/// Unique in a hospital, so long enough never to be shared by chance.
const NUMBER: IndexColumn = IndexColumn {
    table: "patient",
    column: "medical_record_number",
    normal: Normal::Text,
    token_bytes: 16,
};
const NAME: PrefixColumn = PrefixColumn {
    table: "patient",
    column: "name",
    token_bytes: 6,
    chars_min: NAME_PREFIX_CHARS_MIN,
    chars_max: 5,
};
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
/// Parts a number from its issuer: in neither, since control characters are refused in both, and no spelling is brought
/// to one that has them.
const PART: char = '\u{1f}';

/// Kinds of which a hospital has each value once; each has a unique index in the database.
pub(super) const UNIQUE_KINDS: [&str; 2] = ["medical_record_number", "study"];

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

    /// Returns the tokens to store for `key` in the hospital `scope`. A value that can't be searched for has none.
    ///
    /// One that is unique in its hospital has a token of each key of the ring: replicas that write with different keys,
    /// while keys change, meet in the unique index by the keys that both have.
    pub(super) fn tokens(&self, scope: &str, key: &SearchKey) -> Result<Vec<String>, RecordsError> {
        if !UNIQUE_KINDS.contains(&kind(key)) {
            return self.active_tokens(scope, key);
        }
        let (column, value) = exact_value(key);
        texts(self.indexer.candidates(&column, scope, &value))
    }

    /// As [`Vault::tokens`], of the active key alone: what is left when keys were changed.
    pub(super) fn active_tokens(
        &self,
        scope: &str,
        key: &SearchKey,
    ) -> Result<Vec<String>, RecordsError> {
        texts(if let SearchKey::Name(name) = key {
            self.indexer.prefix_tokens(&NAME, scope, name)
        } else {
            let (column, value) = exact_value(key);
            self.indexer.token(&column, scope, &value).map(|token| vec![token])
        })
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
        let texts = |tokens: Vec<Token>| tokens.into_iter().map(Token::into_string).collect();
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

fn texts(tokens: Result<Vec<Token>, IndexError>) -> Result<Vec<String>, RecordsError> {
    match tokens {
        Ok(tokens) => Ok(tokens.into_iter().map(Token::into_string).collect()),
        Err(IndexError::Nothing) => Ok(Vec::new()),
        Err(error) => Err(RecordsError::store("make search token", error)),
    }
}

fn exact_value(key: &SearchKey) -> (IndexColumn, String) {
    match key {
        SearchKey::MedicalRecordNumber { issuer, number } => {
            // Each by itself: white space beside the part would make another number of the same one.
            let (issuer, number) = (Normal::Text.apply(issuer), Normal::Text.apply(number));
            (NUMBER, format!("{}{PART}{}", *issuer, *number))
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
    FoldedName::read(name).begins_like(&FoldedName::read(typed))
}

/// Returns whether both are one number of one issuer, as the index sees them.
pub(super) fn same_text(one: &str, other: &str) -> bool {
    *Normal::Text.apply(one) == *Normal::Text.apply(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "seal:s:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n\
        index:a:STATE:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";
    const NEW: &str = "index:b:STATE:gYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6A=";

    fn vault(old: &str, new: &str) -> Vault {
        let text = format!("{}\n{}", OLD.replace("STATE", old), NEW.replace("STATE", new));
        Vault::new(&Keyring::parse(&text).unwrap()).unwrap()
    }

    fn number(issuer: &str, number: &str) -> SearchKey {
        SearchKey::MedicalRecordNumber { issuer: issuer.to_owned(), number: number.to_owned() }
    }

    #[test]
    fn issuer_and_number_do_not_run_into_each_other() {
        let vault = vault("active", "retired");
        let token = |key: SearchKey| vault.active_tokens("h", &key).unwrap();
        let same = [
            ("case", number("Issuer", "M-1"), number("ISSUER", "m-1")),
            ("white space beside the part", number("Issuer ", " M-1"), number("Issuer", "M-1")),
            ("what shows nothing there", number("Issuer \u{200b}", "M-1"), number("Issuer", "M-1")),
        ];
        for (case, one, other) in same {
            assert_eq!(token(one), token(other), "case: {case}");
        }
        let different = [
            ("a bar", number("a|b", "c"), number("a", "b|c")),
            ("moved over", number("ab", "c"), number("a", "bc")),
            ("a space", number("a b", "c"), number("a", "b c")),
            ("turned round", number("a", "b"), number("b", "a")),
            ("all in the issuer", number("ab", ""), number("a", "b")),
        ];
        for (case, one, other) in different {
            assert_ne!(token(one), token(other), "case: {case}");
        }
        // No spelling becomes the part: every character, as it is and beside letters.
        let made = ('\0'..=char::MAX).filter(|&letter| !letter.is_control());
        let part = |letter: char| Normal::Text.apply(&format!("a{letter}b")).contains(PART);
        assert_eq!(made.filter(|&letter| part(letter)).count(), 0);
    }

    #[test]
    fn what_is_unique_has_a_token_of_each_key() {
        let (before, after) = (vault("active", "retired"), vault("retired", "active"));
        let study = SearchKey::Study(Uuid::nil().into());
        for key in [number("Issuer", "M-1"), study] {
            let (mut one, mut other) =
                (before.tokens("h", &key).unwrap(), after.tokens("h", &key).unwrap());
            one.sort_unstable();
            other.sort_unstable();
            assert_eq!((one.len(), &one), (2, &other));
            assert_ne!(
                before.active_tokens("h", &key).unwrap(),
                after.active_tokens("h", &key).unwrap()
            );
        }
        let name = SearchKey::Name("Kim".to_owned());
        assert_eq!(before.tokens("h", &name).unwrap(), before.active_tokens("h", &name).unwrap());
    }
}
