//! A model in memory, shared by whoever still needs it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use neurotriage_network::{Model, ModelCard};

/// A model in memory. The last one to let go of it frees its memory.
pub struct Resident {
    card: ModelCard,
    device: String,
    model: Mutex<Model>,
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident").field("model", &self.model_id()).finish_non_exhaustive()
    }
}

impl Resident {
    /// Takes a loaded model.
    pub fn new(model: Model) -> Self {
        let (card, device) = (model.card().clone(), model.device_name());
        Self { card, device, model: Mutex::new(model) }
    }

    /// Returns the card of the model.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the name that stored results carry.
    pub fn model_id(&self) -> &str {
        &self.card.provenance.name
    }

    /// Returns the device of the model: `cpu` or `cuda:N`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Runs `work` on the model; one at a time.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Model) -> T) -> T {
        // Running a network changes nothing in it, so a panic leaves it as it was.
        work(&self.model.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
