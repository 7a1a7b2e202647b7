//! Signatures by a key that the database does not have.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use neurotriage_sealing::{Frame, Key, KeyId, KeyUse, Keyring, KeyringError, Keys};

const VERSION: &str = "h1";

/// A signature as it is stored: `h1.<key id>.<base64url of an HMAC-SHA-256>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mac(String);

impl Mac {
    /// Takes `text` for a signature; whether it is one shows when it is checked.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key that it names; none if it is no signature.
    pub fn key_id(&self) -> Option<KeyId> {
        let named = self.0.strip_prefix(VERSION)?.strip_prefix('.')?;
        KeyId::parse(named.split('.').next()?)
    }
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// It was not made by this key for this content.
    #[error("signature does not hold")]
    Wrong,
    /// The keyring lacks the key.
    #[error("keyring has no audit key {key_id}; put it back, retired, to check what it signed")]
    UnknownKey {
        /// The key.
        key_id: KeyId,
    },
}

/// Signs with the active key and checks with every key.
#[derive(Clone, Debug)]
pub struct Signer {
    keys: Arc<Keys>,
}

impl Signer {
    /// Signs with the keys for it in `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is none.
    pub fn new(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { keys: keyring.keys(KeyUse::Audit)? })
    }

    /// Returns whether `mac` names the active key. Whether it holds is not looked at.
    pub fn is_by_active(&self, mac: &Mac) -> bool {
        mac.key_id().as_ref() == Some(self.keys.active().id())
    }

    pub(super) fn sign(&self, content: &Frame) -> Mac {
        let key = self.keys.active();
        let bytes = hmac(key, content).finalize().into_bytes();
        Mac(format!("{VERSION}.{}.{}", key.id(), URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub(super) fn check(&self, content: &Frame, mac: &Mac) -> Result<(), MacError> {
        let mut parts = mac.0.split('.');
        let (Some(VERSION), Some(key_id), Some(bytes), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MacError::Wrong);
        };
        let key_id = KeyId::parse(key_id).ok_or(MacError::Wrong)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| MacError::Wrong)?;
        let Some(key) = self.keys.find(key_id.as_str()) else {
            return Err(MacError::UnknownKey { key_id });
        };
        hmac(key, content).verify_slice(&bytes).map_err(|_| MacError::Wrong)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
fn hmac(key: &Key, content: &Frame) -> Hmac<Sha256> {
    // The id is signed too: a key renamed is another key.
    let id = Frame::new("neurotriage.audit.key").text(key.id().as_str());
    Hmac::<Sha256>::new_from_slice(key.secret())
        .expect("any length")
        .chain_update(id.as_slice())
        .chain_update(content.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "audit:a:STATE:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    const NEW: &str = "audit:b:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";

    #[test]
    fn a_signature_holds_for_its_content_and_key() {
        let old = Keyring::parse(&OLD.replace("STATE", "active")).unwrap();
        let both = Keyring::parse(&format!("{}\n{NEW}", OLD.replace("STATE", "retired"))).unwrap();
        let (old, both) = (Signer::new(&old).unwrap(), Signer::new(&both).unwrap());
        let content = Frame::new("x").text("1");
        let mac = old.sign(&content);
        both.check(&content, &mac).unwrap();
        assert_eq!(both.check(&Frame::new("x").text("2"), &mac), Err(MacError::Wrong));
        let new = both.sign(&content);
        assert_eq!(new.key_id(), KeyId::parse("b"));
        assert!(both.is_by_active(&new) && !both.is_by_active(&mac));
        assert!(matches!(old.check(&content, &new), Err(MacError::UnknownKey { .. })));
        let renamed = Mac::stored(new.as_str().replace(".b.", ".a."));
        assert_eq!(both.check(&content, &renamed), Err(MacError::Wrong));
        for text in ["", "h1.a", "h1.a.", "h1.a.!", "h2.a.AAAA", "h1.a.AAAA", "h1.a.AAAA.A"] {
            let mac = Mac::stored(text.into());
            assert_eq!(old.check(&content, &mac), Err(MacError::Wrong));
            assert_eq!(old.is_by_active(&mac), text.starts_with("h1.a"), "{text}");
        }
    }
}
