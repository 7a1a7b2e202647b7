//! Columns that only key holders read, and keyed hashes to find them by.
//!
//! [`Keyring`] holds the keys of one deployment. [`Sealer`] encrypts a value for one place (table,
//! column, row) and opens it there and nowhere else. [`Indexer`] makes the keyed hashes that an
//! equality or prefix search compares. None of these knows a database or the environment.

mod frame;
mod index;
mod keyring;
mod name;
mod normal;
mod value;

pub use self::{
    frame::Frame,
    index::{
        IndexColumn, IndexError, Indexer, PREFIX_CHARS_MAX, PREFIX_STARTS_MAX, PREFIX_WORDS_MAX,
        PrefixColumn, TOKEN_BYTES_MAX, TOKEN_BYTES_MIN, Token, check_prefix,
    },
    keyring::{
        KEY_BYTES, KEYRING_BYTES_MAX, KEYS_MAX, Key, KeyId, KeyUse, Keyring, KeyringError, Keys,
        Problem, Warning,
    },
    name::{FoldedName, fold_letters, is_apostrophe},
    normal::Normal,
    value::{CONTENT_BYTES_MAX, Content, Place, SealError, Sealed, Sealer},
};
