//! Sending a model away: whole and checked, or not at all.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{EXPORTS_MAX, ModelStore, Registry, RegistryError, Source, check, memory};

/// A model that is being sent. Counts among the exports while it lives.
#[derive(Debug)]
pub struct Export {
    card_json: String,
    weights: Bytes,
    #[expect(dead_code, reason = "counts while it lives")]
    permit: OwnedSemaphorePermit,
}

impl Export {
    /// Returns its card as it was sent; that of the program's model as this code writes it.
    pub fn card_json(&self) -> &str {
        &self.card_json
    }

    /// Returns its weights, whose digest is that on the card.
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }
}

impl<S: ModelStore> Registry<S> {
    /// Returns a model to send: an imported one, or that of the program.
    ///
    /// # Errors
    /// [`RegistryError::ExportsFull`], [`RegistryError::NotFound`], [`RegistryError::Refused`] if
    /// its weights are damaged or gone, or a failure of a store.
    pub async fn export(&self, model_id: &str) -> Result<Export, RegistryError> {
        let inner = &self.inner;
        let permit = Arc::clone(&inner.exports).try_acquire_owned();
        let permit = permit.map_err(|_| RegistryError::ExportsFull { exports_max: EXPORTS_MAX })?;
        let (card_json, weights) = match inner.source(model_id).await? {
            Source::Start(start) => (check::card_json(start.card())?, start.weights()),
            Source::Stored(model) => {
                let weights = memory::stored_weights(&model, &inner.blobs, inner.limits).await?;
                (model.card_json, weights)
            }
        };
        Ok(Export { card_json, weights, permit })
    }
}
