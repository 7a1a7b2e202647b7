//! A value encrypted for one place.
//!
//! The stored form is `v1.<key id>.<base64url of nonce and ciphertext>`, without padding.
//! `v1` is XChaCha20-Poly1305 with a random 24-byte nonce. Associated data are the version, the
//! key id, the table, the column and the row id: a value copied to another place does not open.
//! What is encrypted is a frame: one byte for the kind, the length (`u32`, big-endian), the
//! content, and zeros up to a multiple of 32 bytes, so that the stored length tells little.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::AeadInOut as _};
use serde::{Serialize, de::DeserializeOwned};
use time::Date;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::keyring::{Key, KeyId, KeyUse, Keyring, KeyringError, Keys};
use crate::frame::Frame;

/// Longest content of a value.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Kind and length.
const FRAME_HEAD_BYTES: usize = 5;
/// Frames are multiples of this: names of up to 27 bytes and dates look alike.
const FRAME_STEP_BYTES: usize = 32;
const RAW_BYTES_MIN: usize = NONCE_BYTES + FRAME_STEP_BYTES + TAG_BYTES;
const RAW_BYTES_MAX: usize = RAW_BYTES_MIN + FRAME_HEAD_BYTES + CONTENT_BYTES_MAX;
/// Base64 of that, and the two parts before it.
const TEXT_BYTES_MAX: usize = RAW_BYTES_MAX / 3 * 4 + 64;

/// Where a value stands. It opens there only. An older value of the same place opens too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose row it is.
    pub tenant: &'a str,
    /// Table.
    pub table: &'static str,
    /// Column.
    pub column: &'static str,
    /// Row id.
    pub row: Uuid,
}

impl Place<'_> {
    fn associated_data(&self, key_id: &KeyId) -> Frame {
        Frame::new("neurotriage.seal")
            .text(VERSION)
            .text(key_id.as_str())
            .text(self.tenant)
            .text(self.table)
            .text(self.column)
            .bytes(self.row.as_bytes())
    }

    fn other_content(&self, expected: Content) -> SealError {
        let Self { table, column, row, .. } = *self;
        SealError::OtherContent { table, column, row, expected }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{} of row {}", self.table, self.column, self.row)
    }
}

/// What kind of content a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text,
    /// A calendar date.
    Date,
    /// JSON.
    Json,
}

impl Content {
    const ALL: [Self; 3] = [Self::Text, Self::Date, Self::Json];

    fn byte(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Date => 2,
            Self::Json => 3,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Date => "date",
            Self::Json => "json",
        })
    }
}

/// Why a value can't be sealed or opened. No variant holds content.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The stored text is no sealed value.
    #[error("sealed value is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The keyring lacks the key.
    #[error("keyring has no seal key {key_id}; put it back, retired, to read what it sealed")]
    UnknownKey {
        /// The key.
        key_id: KeyId,
    },
    /// The key does not open the value here.
    #[error(
        "{table}.{column} of row {row} does not open with seal key {key_id}: the value was altered \
         or moved here from another place, or another key had this id"
    )]
    Refused {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Row id.
        row: Uuid,
        /// The key.
        key_id: KeyId,
    },
    /// The value is whole and holds something else.
    #[error("{table}.{column} of row {row} holds no {expected}")]
    OtherContent {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Row id.
        row: Uuid,
        /// What was asked for.
        expected: Content,
    },
    /// The content is too long.
    #[error("content has {bytes} bytes; at most {CONTENT_BYTES_MAX} can be sealed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The content can't be written as JSON.
    #[error("content can't be written as json")]
    Unwritable,
    /// The system gives no random bytes.
    #[error("draw random bytes")]
    Random(#[source] getrandom::Error),
}

fn malformed(what: &'static str) -> SealError {
    SealError::Malformed { what }
}

/// A value as it is stored. Its form was checked, its content was not.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    text: String,
    key_id: KeyId,
}

impl Sealed {
    /// Returns `text` as a sealed value if it has the form of one.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn parse(text: String) -> Result<Self, SealError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let mut parts = text.split('.');
        let (Some(version), Some(key_id), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("it has not three parts"));
        };
        if version != VERSION {
            return Err(malformed("its version is not v1"));
        }
        let key_id =
            KeyId::parse(key_id).ok_or_else(|| malformed("its second part is no key id"))?;
        Ok(Self { text, key_id })
    }

    /// Returns the text to store.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text to store.
    pub fn into_string(self) -> String {
        self.text
    }

    /// Returns the key that it was sealed with.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealed({VERSION}.{})", self.key_id)
    }
}

/// Seals with the active key and opens with every key.
#[derive(Clone, Debug)]
pub struct Sealer {
    keys: Arc<Keys>,
}

impl Sealer {
    /// Seals with the keys for it in `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is none.
    pub fn new(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { keys: keyring.keys(KeyUse::Seal)? })
    }

    /// Returns the key that new values are sealed with.
    pub fn active(&self) -> &KeyId {
        self.keys.active().id()
    }

    /// Seals a text.
    ///
    /// # Errors
    /// [`SealError::TooLong`], [`SealError::Random`].
    pub fn seal_text(&self, place: &Place<'_>, text: &str) -> Result<Sealed, SealError> {
        self.seal(place, &frame(Content::Text, text.as_bytes())?)
    }

    /// Seals a date.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal_date(&self, place: &Place<'_>, date: Date) -> Result<Sealed, SealError> {
        self.seal(place, &frame(Content::Date, &date.to_julian_day().to_be_bytes())?)
    }

    /// Seals what serde writes as JSON.
    ///
    /// # Errors
    /// [`SealError::Unwritable`], [`SealError::TooLong`], [`SealError::Random`].
    pub fn seal_json<T: Serialize>(
        &self,
        place: &Place<'_>,
        value: &T,
    ) -> Result<Sealed, SealError> {
        // The error may repeat content; it goes no further.
        let json = serde_json::to_vec(value).map_err(|_| SealError::Unwritable)?;
        self.seal(place, &frame(Content::Json, &Zeroizing::new(json))?)
    }

    /// Opens a text.
    ///
    /// # Errors
    /// If the value is malformed, its key is missing, it does not open here, or it is no text.
    pub fn open_text(&self, place: &Place<'_>, sealed: &Sealed) -> Result<String, SealError> {
        let frame = self.open(place, sealed)?;
        let text = content(place, &frame, Content::Text)?;
        let other = place.other_content(Content::Text);
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| other)
    }

    /// Opens a date.
    ///
    /// # Errors
    /// As [`Sealer::open_text`].
    pub fn open_date(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Date, SealError> {
        let frame = self.open(place, sealed)?;
        let day = content(place, &frame, Content::Date)?;
        let day: Option<[u8; 4]> = day.try_into().ok();
        day.and_then(|day| Date::from_julian_day(i32::from_be_bytes(day)).ok())
            .ok_or(place.other_content(Content::Date))
    }

    /// Opens JSON.
    ///
    /// # Errors
    /// As [`Sealer::open_text`]; also if the JSON is of another type.
    pub fn open_json<T: DeserializeOwned>(
        &self,
        place: &Place<'_>,
        sealed: &Sealed,
    ) -> Result<T, SealError> {
        let frame = self.open(place, sealed)?;
        let json = content(place, &frame, Content::Json)?;
        // The error may repeat content; it goes no further.
        serde_json::from_slice(json).map_err(|_| place.other_content(Content::Json))
    }

    /// Returns whether the value was sealed with another key than the active one.
    pub fn needs_rotation(&self, sealed: &Sealed) -> bool {
        sealed.key_id != *self.active()
    }

    /// Seals again, with the active key, whatever the content.
    ///
    /// # Errors
    /// If the value is malformed, its key is missing or it does not open here.
    pub fn reseal(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Sealed, SealError> {
        let frame = self.open(place, sealed)?;
        self.seal(place, &frame)
    }

    fn seal(&self, place: &Place<'_>, frame: &[u8]) -> Result<Sealed, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        seal_with(self.keys.active(), place, frame, nonce)
    }

    fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key_id = &sealed.key_id;
        let key = self
            .keys
            .find(key_id.as_str())
            .ok_or_else(|| SealError::UnknownKey { key_id: key_id.clone() })?;
        let raw = sealed.text.rsplit('.').next().unwrap_or_default();
        let raw = URL_SAFE_NO_PAD.decode(raw).map_err(|_| malformed("it is not base64"))?;
        if !(RAW_BYTES_MIN..=RAW_BYTES_MAX).contains(&raw.len()) {
            return Err(malformed("its length is that of no sealed value"));
        }
        let (nonce, ciphertext) = raw.split_at(NONCE_BYTES);
        let nonce = XNonce::try_from(nonce).map_err(|_| malformed("its nonce is cut off"))?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        cipher(key)
            .decrypt_in_place(&nonce, place.associated_data(key_id).as_slice(), &mut *buffer)
            .map_err(|_| SealError::Refused {
                table: place.table,
                column: place.column,
                row: place.row,
                key_id: key_id.clone(),
            })?;
        Ok(buffer)
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.secret().into())
}

/// Seals `frame`. Two values must not have one nonce: with the same key that shows both.
fn seal_with(
    key: &Key,
    place: &Place<'_>,
    frame: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Result<Sealed, SealError> {
    let key_id = key.id().clone();
    // Large enough for the tag: growing would leave a copy of the content behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(frame.len() + TAG_BYTES));
    buffer.extend_from_slice(frame);
    cipher(key)
        .encrypt_in_place(
            &XNonce::from(nonce),
            place.associated_data(&key_id).as_slice(),
            &mut *buffer,
        )
        .map_err(|_| SealError::TooLong { bytes: frame.len() })?;
    let raw = [nonce.as_slice(), &buffer].concat();
    let text = format!("{VERSION}.{key_id}.{}", URL_SAFE_NO_PAD.encode(raw));
    Ok(Sealed { text, key_id })
}

fn frame(kind: Content, content: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let too_long = SealError::TooLong { bytes: content.len() };
    if content.len() > CONTENT_BYTES_MAX {
        return Err(too_long);
    }
    let length = u32::try_from(content.len()).map_err(|_| too_long)?;
    let whole = (FRAME_HEAD_BYTES + content.len()).next_multiple_of(FRAME_STEP_BYTES);
    let mut frame = Zeroizing::new(Vec::with_capacity(whole));
    frame.push(kind.byte());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(content);
    frame.resize(whole, 0);
    Ok(frame)
}

fn content<'a>(
    place: &Place<'_>,
    frame: &'a [u8],
    expected: Content,
) -> Result<&'a [u8], SealError> {
    let other = || place.other_content(expected);
    let (head, rest) = frame.split_at_checked(FRAME_HEAD_BYTES).ok_or_else(other)?;
    let (kind, length) = head.split_first().ok_or_else(other)?;
    let kind = Content::ALL.into_iter().find(|known| known.byte() == *kind);
    if kind != Some(expected) {
        return Err(other());
    }
    let length: [u8; 4] = length.try_into().map_err(|_| other())?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| other())?;
    rest.get(..length).ok_or_else(other)
}

#[cfg(test)]
mod tests;
