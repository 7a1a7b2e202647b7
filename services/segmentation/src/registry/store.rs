//! What the registry keeps, and where.

use std::{fmt, future::Future, str::FromStr};

use neurotriage_domain::BlobDigest;
use time::OffsetDateTime;

use super::RegistryError;

/// Longest id, in bytes.
const MODEL_ID_LENGTH_MAX: usize = 64;
/// Before every id, since ids begin with a letter or digit.
const LOWEST: &str = "-";
/// Of the token of a page of models.
const TOKEN_PREFIX: &str = "m";

/// Identifies a model by name and version: 1 to 64 letters, digits, `.`, `_`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(String);

/// Text that is no model id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a model id; expected 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`")]
pub struct InvalidModelId;

impl ModelId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what sorts before every id; no model bears it.
    pub(super) fn lowest() -> Self {
        Self(LOWEST.to_owned())
    }

    /// Returns the place after this id in a list, for a caller to hand back.
    pub fn to_token(&self) -> String {
        format!("{TOKEN_PREFIX}{}", self.0)
    }

    /// Reads [`ModelId::to_token`].
    pub fn from_token(token: &str) -> Option<Self> {
        match token.strip_prefix(TOKEN_PREFIX)? {
            LOWEST => Some(Self::lowest()),
            id => id.parse().ok(),
        }
    }
}

impl FromStr for ModelId {
    type Err = InvalidModelId;

    fn from_str(text: &str) -> Result<Self, InvalidModelId> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins_well || text.len() > MODEL_ID_LENGTH_MAX || !text.chars().all(plain) {
            return Err(InvalidModelId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came of the checks of a stored model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its network was never built.
    Imported,
    /// Its network was built and run.
    Verified,
    /// It was refused when it was loaded.
    Refused,
}

/// A stored model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// Its id: the name on its card.
    pub model_id: ModelId,
    /// Its weights in the blob store; the same as the hash on its card.
    pub weights: BlobDigest,
    /// Length of the weights.
    pub weights_size_bytes: u64,
    /// Its card in the blob store, byte for byte.
    pub card_digest: BlobDigest,
    /// Its card.
    pub card_json: String,
    /// Terms under which the weights may be used.
    pub licence: String,
    /// When it was imported.
    pub created_at: OffsetDateTime,
    /// What came of its checks.
    pub verdict: Verdict,
}

/// Why a promotion was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotionKind {
    /// Another model was chosen.
    Promote,
    /// The one before was chosen again.
    Rollback,
}

/// A change of the model that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// Counts from 1.
    pub sequence: u64,
    /// Why.
    pub kind: PromotionKind,
    /// Model that served from then on; `None` for the model of the program.
    pub model_id: Option<ModelId>,
    /// Promotion that a rollback goes back to; `None` for the model of the program.
    pub below: Option<u64>,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Keeps models and promotions.
pub trait ModelStore: Clone + fmt::Debug + Send + Sync + 'static {
    /// Returns one model.
    fn find_model(
        &self,
        model_id: &ModelId,
    ) -> impl Future<Output = Result<Option<StoredModel>, RegistryError>> + Send;

    /// Keeps a model; false if its id is taken.
    fn insert_model(
        &self,
        model: &StoredModel,
    ) -> impl Future<Output = Result<bool, RegistryError>> + Send;

    /// Returns at most `limit` models with ids above `after`, by id.
    fn list_models(
        &self,
        after: Option<&ModelId>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredModel>, RegistryError>> + Send;

    /// Notes what came of the checks of a model.
    fn set_verdict(
        &self,
        model_id: &ModelId,
        verdict: Verdict,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Returns the promotion that counts.
    fn last_promotion(
        &self,
    ) -> impl Future<Output = Result<Option<Promotion>, RegistryError>> + Send;

    /// Returns one promotion.
    fn find_promotion(
        &self,
        sequence: u64,
    ) -> impl Future<Output = Result<Option<Promotion>, RegistryError>> + Send;

    /// Keeps a promotion; false if its number is taken.
    fn insert_promotion(
        &self,
        promotion: &Promotion,
    ) -> impl Future<Output = Result<bool, RegistryError>> + Send;

    /// Returns at most `limit` promotions with numbers below `before`, newest first.
    fn list_promotions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Promotion>, RegistryError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_come_back_from_tokens() {
        for good in ["a", "glioma-residual-2026-11", "A_1.2", &"x".repeat(64)] {
            let id: ModelId = good.parse().unwrap();
            assert_eq!(ModelId::from_token(&id.to_token()), Some(id));
        }
        for bad in ["", "-a", ".a", "../a", "a/b", "a b", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ModelId>(), Err(InvalidModelId), "{bad}");
            assert_eq!(ModelId::from_token(bad), None, "{bad}");
        }
        let lowest = ModelId::lowest();
        assert_eq!(ModelId::from_token(&lowest.to_token()), Some(lowest));
    }
}
