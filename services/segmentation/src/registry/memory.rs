//! Which models are in memory, and how one gets there.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use bytes::Bytes;
use ndarray::Array4;
use neurotriage_blobs::{BlobError, BlobStore};
use neurotriage_network::{DeviceChoice, Mirroring, Model, NetworkError, SegmentOptions, segment};
use tokio::sync::oneshot;

use super::{ModelId, Problem, RegistryError, RegistryLimits, StoredModel, check};
use crate::{model::StartModel, resident::Resident};

/// Side of the image that a new network is tried on, in voxels.
const WARM_SIDE: usize = 32;

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The program was started with it.
    Start(Box<StartModel>),
    /// It was imported.
    Stored(StoredModel),
}

impl Source {
    /// Returns its id.
    pub fn model_id(&self) -> &str {
        match self {
            Self::Start(start) => start.model_id(),
            Self::Stored(model) => model.model_id.as_str(),
        }
    }

    /// Returns its id if it was imported.
    pub(super) fn stored_id(&self) -> Option<ModelId> {
        match self {
            Self::Start(_) => None,
            Self::Stored(model) => Some(model.model_id.clone()),
        }
    }
}

/// The models in memory. The lock is never held across an await.
#[derive(Debug)]
pub(super) struct Memory {
    residents_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Loaded, and kept until they are promoted or make room.
    loaded: Vec<Arc<Resident>>,
    /// Everything that was ever built; jobs may hold models that nobody else does.
    built: Vec<Weak<Resident>>,
}

impl Memory {
    pub(super) fn new(residents_max: usize) -> Self {
        Self { residents_max: residents_max.max(2), held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a model for as long as anyone holds it.
    pub(super) fn watch(&self, resident: &Arc<Resident>) {
        self.held().built.push(Arc::downgrade(resident));
    }

    /// Keeps a model that does not serve.
    pub(super) fn keep(&self, resident: &Arc<Resident>) {
        self.held().loaded.push(Arc::clone(resident));
    }

    /// Keeps a model no longer.
    pub(super) fn forget(&self, model_id: &str) {
        self.held().loaded.retain(|resident| resident.model_id() != model_id);
    }

    /// Returns a kept model.
    pub(super) fn loaded(&self, model_id: &str) -> Option<Arc<Resident>> {
        self.held().loaded.iter().find(|resident| resident.model_id() == model_id).cloned()
    }

    /// Drops kept models, oldest first, until there is room for one more.
    ///
    /// # Errors
    /// [`RegistryError::MemoryFull`] if jobs hold too many.
    pub(super) fn make_room(&self) -> Result<(), RegistryError> {
        let mut held = self.held();
        loop {
            held.built.retain(|resident| resident.strong_count() > 0);
            if held.built.len() < self.residents_max {
                return Ok(());
            }
            if held.loaded.is_empty() {
                return Err(RegistryError::MemoryFull);
            }
            let dropped = held.loaded.remove(0);
            tracing::info!(model_id = dropped.model_id(), "model makes room");
        }
    }
}

/// Reads a model, checks it, builds its network and runs it once.
///
/// # Errors
/// [`RegistryError::Refused`] if a check fails; a failure of the device or a store.
pub(super) async fn build(
    source: &Source,
    blobs: &BlobStore,
    device: DeviceChoice,
    limits: RegistryLimits,
) -> Result<Arc<Resident>, RegistryError> {
    let model_id = source.model_id().to_owned();
    let refused = |problem| RegistryError::Refused { model_id: model_id.clone(), problem };
    let (card, weights) = match source {
        Source::Start(start) => (start.card().clone(), start.weights()),
        Source::Stored(model) => {
            let card = check::card(model.card_json.as_bytes()).map_err(refused)?;
            (card, stored_weights(model, blobs, limits).await?)
        }
    };
    // A thread of its own: libtorch keeps memory for every thread that calls it, until it ends.
    let (reply, built) = oneshot::channel();
    let work = move || {
        let model = Model::load(&weights, &card, device)
            .and_then(|model| warm(&model).map(|()| Resident::new(model)));
        // Nobody waits if the service stops meanwhile.
        let _ = reply.send(model);
    };
    thread::Builder::new()
        .name("load-model".to_owned())
        .spawn(work)
        .map_err(|source| RegistryError::Thread { source })?;
    match built.await {
        Ok(Ok(resident)) => Ok(Arc::new(resident)),
        Ok(Err(error)) => Err(problem(&error).map_or(RegistryError::Network(error), refused)),
        Err(_) => Err(RegistryError::Store {
            operation: "build network",
            source: "the thread ended without an answer".into(),
        }),
    }
}

/// Returns the weights of a stored model, checked against their digest.
///
/// # Errors
/// [`RegistryError::Refused`] if they are damaged or gone; a failure of the blob store.
pub(super) async fn stored_weights(
    model: &StoredModel,
    blobs: &BlobStore,
    limits: RegistryLimits,
) -> Result<Bytes, RegistryError> {
    let weights = blobs.get(model.weights, limits.weights_bytes_max).await;
    weights.map_err(|error| {
        if matches!(error, BlobError::NotFound { .. } | BlobError::Corrupt { .. }) {
            let model_id = model.model_id.to_string();
            return RegistryError::Refused { model_id, problem: Problem::Damaged };
        }
        RegistryError::Blob(error)
    })
}

/// Returns what is wrong with the model, or nothing if the fault lies elsewhere.
fn problem(error: &NetworkError) -> Option<Problem> {
    if let NetworkError::WeightsHash { expected, got } = error {
        return Some(Problem::WeightsHash { expected: expected.clone(), got: got.clone() });
    }
    if let NetworkError::SafeTensors(source) = error {
        let detail = format!("weights are no safetensors: {source}; import the model again");
        return Some(Problem::Architecture { detail });
    }
    let unfit = matches!(
        error,
        NetworkError::Weights { .. } | NetworkError::Config { .. } | NetworkError::Shape { .. }
    );
    unfit.then(|| Problem::Architecture { detail: error.to_string() })
}

/// Runs the network once on a small image, so that its first study does not pay for that.
fn warm(model: &Model) -> Result<(), NetworkError> {
    let channels = model.card().channels.len();
    let image =
        Array4::from_shape_fn((channels, WARM_SIDE, WARM_SIDE, WARM_SIDE), |(channel, x, y, z)| {
            1.0 + (channel + x + y + z) as f32 / 100.0
        });
    let options =
        SegmentOptions { mirroring: Mirroring::Off, ..SegmentOptions::for_model(model.card()) };
    segment(model, image.view(), &options, &mut |_, _| (), &|| false).map(|_| ())
}
