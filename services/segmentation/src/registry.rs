//! The models that can mark tumours, and which of them serves.
//!
//! A model is imported (stored), loaded (checked, built, warm) and promoted (serves new studies).
//! Each step checks what it can; a model that fails is refused and the one that serves stays.
//! Knows neither tonic nor sea-orm.

mod change;
mod check;
mod error;
mod export;
mod memory;
mod store;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use neurotriage_blobs::BlobStore;
use neurotriage_network::DeviceChoice;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::memory::Memory;
pub use self::{
    change::Change,
    error::{Problem, RegistryError},
    export::Export,
    memory::Source,
    store::{ModelId, ModelStore, Promotion, PromotionKind, StoredModel, Verdict},
};
use crate::{engine::Engine, model::StartModel, resident::Resident};

/// Most bytes of a card.
pub const CARD_BYTES_MAX: usize = 1024 * 1024;

/// How long to wait before asking again while another change or import runs.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long to wait before asking again while old jobs keep their model in memory: about one study.
const MEMORY_RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long to wait before asking again while as many models as allowed are being sent.
const EXPORTS_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Imports at a time; each holds the whole weights in memory.
const IMPORTS_MAX: usize = 1;
/// Exports at a time; each holds the whole weights in memory.
const EXPORTS_MAX: usize = 2;

/// Limits of the registry.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Most models in memory, the one that serves and those of running jobs among them; at least 2.
    pub models_in_memory_max: usize,
    /// Most bytes of the weights of one model.
    pub weights_bytes_max: u64,
}

/// How far a model has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Stored; its network was never built.
    Imported,
    /// Stored; its network was built before.
    Verified,
    /// In memory and warm.
    Loaded,
    /// Serves new studies.
    Serving,
    /// Refused when it was loaded.
    Refused,
}

/// A model as callers see it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Name and version.
    pub model_id: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// Length of the weights in bytes.
    pub weights_size_bytes: u64,
    /// Its card in the blob store; `None` for the model of the program.
    pub card_digest: Option<String>,
    /// Its card.
    pub card_json: String,
    /// Terms under which the weights may be used.
    pub licence: String,
    /// When it was imported; `None` for the model of the program.
    pub created_at: Option<OffsetDateTime>,
    /// How far it has come.
    pub state: ModelState,
    /// Device, while it is in memory.
    pub device: Option<String>,
}

impl Listed {
    /// Returns whether it is the model that the program was started with.
    pub fn is_built_in(&self) -> bool {
        self.created_at.is_none()
    }
}

/// A page of models.
#[derive(Clone, Debug)]
pub struct Page {
    /// The model of the program first, then by id.
    pub models: Vec<Listed>,
    /// Last id of this page, if there are more.
    pub next: Option<ModelId>,
    /// Model that serves.
    pub serving_model_id: String,
}

/// Leave to send one model. Held while its bytes arrive.
#[derive(Debug)]
pub struct ImportPermit(
    #[expect(dead_code, reason = "counts while it lives")] OwnedSemaphorePermit,
);

/// The models of one service. Clones share them.
#[derive(Clone, Debug)]
pub struct Registry<S> {
    inner: Arc<Inner<S>>,
}

/// What a registry works with.
#[derive(Debug)]
struct Inner<S> {
    store: S,
    blobs: BlobStore,
    engine: Engine,
    start: StartModel,
    device: DeviceChoice,
    limits: RegistryLimits,
    memory: Memory,
    imports: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// One permit: changes of what is loaded or serves run one at a time.
    changes: Semaphore,
}

/// What a registry is opened with.
#[derive(Debug)]
pub struct Opening<S> {
    /// Keeps rows.
    pub store: S,
    /// Keeps weights and cards.
    pub blobs: BlobStore,
    /// The model that the program is started with.
    pub start: StartModel,
    /// Where networks run.
    pub device: DeviceChoice,
    /// Most studies that wait for the network.
    pub queue_max: usize,
    /// Limits.
    pub limits: RegistryLimits,
}

impl<S: ModelStore> Registry<S> {
    /// Loads the model that serves: the last one promoted, or that of the program if nothing was
    /// promoted or a setting names it; and starts the engine with it.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] if the promoted model is damaged: another one in its place would
    /// go unnoticed. [`RegistryError::Thread`] if a thread can't be started, or a failure of a
    /// store or the device.
    pub async fn open(opening: Opening<S>) -> Result<Self, RegistryError> {
        let Opening { store, blobs, start, device, queue_max, limits } = opening;
        let promoted = if start.is_pinned() { None } else { store.last_promotion().await? };
        let source = match promoted.and_then(|promotion| promotion.model_id) {
            Some(model_id) => Source::Stored(find(&store, &model_id).await?),
            None => Source::Start(Box::new(start.clone())),
        };
        let serving = memory::build(&source, &blobs, device, limits).await?;
        tracing::info!(model_id = serving.model_id(), device = serving.device(), "model serves");
        let engine = Engine::start_with(Arc::clone(&serving), queue_max)
            .map_err(|source| RegistryError::Thread { source })?;
        let memory = Memory::new(limits.models_in_memory_max);
        memory.watch(&serving);
        let imports = Arc::new(Semaphore::new(IMPORTS_MAX));
        let exports = Arc::new(Semaphore::new(EXPORTS_MAX));
        let changes = Semaphore::new(1);
        let inner = Inner {
            store,
            blobs,
            engine,
            start,
            device,
            limits,
            memory,
            imports,
            exports,
            changes,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the engine that runs what serves.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Returns the limits.
    pub fn limits(&self) -> RegistryLimits {
        self.inner.limits
    }

    /// Returns at most `limit` models with ids above `after`, the model of the program first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self, after: Option<&ModelId>, limit: u32) -> Result<Page, RegistryError> {
        let inner = &self.inner;
        let mut models = Vec::new();
        if after.is_none() {
            models.push(inner.listed_start()?);
        }
        let room = limit.saturating_sub(u32::try_from(models.len()).unwrap_or(u32::MAX));
        let mut stored = inner.store.list_models(after, room.saturating_add(1)).await?;
        let more = stored.len() > room as usize;
        stored.truncate(room as usize);
        // A page of one that holds the model of the program goes on from the lowest id there is.
        let last = stored.last().map_or_else(ModelId::lowest, |model| model.model_id.clone());
        models.extend(stored.into_iter().map(|model| inner.listed(model)));
        Ok(Page {
            models,
            next: more.then_some(last),
            serving_model_id: inner.engine.serving().model_id().to_owned(),
        })
    }

    /// Returns one model.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if there is none.
    pub async fn describe(&self, model_id: &str) -> Result<Listed, RegistryError> {
        self.inner.describe(model_id).await
    }

    /// Returns at most `limit` changes of the model that serves, with numbers below `before`,
    /// newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn promotions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Promotion>, RegistryError> {
        self.inner.store.list_promotions(before, limit).await
    }

    /// Returns leave to send a model.
    ///
    /// # Errors
    /// [`RegistryError::Busy`] while another one is sent.
    pub fn begin_import(&self) -> Result<ImportPermit, RegistryError> {
        let permit = Arc::clone(&self.inner.imports).try_acquire_owned();
        permit.map(ImportPermit).map_err(|_| RegistryError::Busy)
    }

    /// Returns leave to import a model once no other one is sent, at most `limit` later.
    ///
    /// # Errors
    /// [`RegistryError::Busy`] if that takes too long.
    pub async fn wait_import(&self, limit: Duration) -> Result<ImportPermit, RegistryError> {
        let permit = Arc::clone(&self.inner.imports).acquire_owned();
        match tokio::time::timeout(limit, permit).await {
            Ok(Ok(permit)) => Ok(ImportPermit(permit)),
            Ok(Err(_)) | Err(_) => Err(RegistryError::Busy),
        }
    }

    /// Stores a model. The same model may be stored again, which also mends damaged objects.
    ///
    /// # Errors
    /// [`RegistryError::Unfit`] if card or weights fail a check;
    /// [`RegistryError::AlreadyExists`] if another model has its id; a failure of a store.
    pub async fn import(
        &self,
        _permit: ImportPermit,
        card_json: Bytes,
        weights: Bytes,
    ) -> Result<Listed, RegistryError> {
        let inner = &self.inner;
        if weights.len() as u64 > inner.limits.weights_bytes_max {
            let text = format!("at most {} bytes in all", inner.limits.weights_bytes_max);
            return Err(RegistryError::field("weights", text));
        }
        let checked = check::sent(&card_json, &weights)
            .map_err(|problem| RegistryError::Unfit { problem })?;
        let model_id = checked.model_id;
        if model_id.as_str() == inner.start.model_id() {
            if inner.start.card() == &checked.card {
                return inner.listed_start();
            }
            return Err(RegistryError::AlreadyExists { model_id });
        }
        let weights_size_bytes = weights.len() as u64;
        let digest = inner.blobs.put(weights).await?;
        if digest != checked.card.weights_sha256 {
            let problem = Problem::WeightsHash {
                expected: checked.card.weights_sha256.to_string(),
                got: digest.to_string(),
            };
            return Err(RegistryError::Unfit { problem });
        }
        let card_digest = inner.blobs.put(card_json).await?;
        let model = StoredModel {
            model_id,
            weights: digest,
            weights_size_bytes,
            card_digest,
            card_json: checked.card_json,
            licence: checked.card.provenance.licence,
            created_at: now(),
            verdict: Verdict::Imported,
        };
        if inner.store.insert_model(&model).await? {
            tracing::info!(model_id = %model.model_id, "model imported");
            return Ok(inner.listed(model));
        }
        let known = find(&inner.store, &model.model_id).await?;
        if (known.weights, known.card_digest) != (model.weights, model.card_digest) {
            return Err(RegistryError::AlreadyExists { model_id: model.model_id });
        }
        if known.verdict == Verdict::Refused {
            // Its objects are whole again.
            inner.store.set_verdict(&known.model_id, Verdict::Imported).await?;
        }
        inner.describe(model.model_id.as_str()).await
    }
}

impl<S: ModelStore> Inner<S> {
    async fn describe(&self, model_id: &str) -> Result<Listed, RegistryError> {
        match self.source(model_id).await? {
            Source::Start(_) => self.listed_start(),
            Source::Stored(model) => Ok(self.listed(model)),
        }
    }

    /// Returns what the id stands for: the model of the program, or a stored one.
    async fn source(&self, model_id: &str) -> Result<Source, RegistryError> {
        if model_id == self.start.model_id() {
            return Ok(Source::Start(Box::new(self.start.clone())));
        }
        let model_id = model_id
            .parse()
            .map_err(|_| RegistryError::NotFound { model_id: check::echo(model_id) })?;
        Ok(Source::Stored(find(&self.store, &model_id).await?))
    }

    /// Returns the model with this id if it is in memory, with what it does there.
    fn resident(&self, model_id: &str) -> Option<(Arc<Resident>, ModelState)> {
        let serving = self.engine.serving();
        if serving.model_id() == model_id {
            return Some((serving, ModelState::Serving));
        }
        self.memory.loaded(model_id).map(|resident| (resident, ModelState::Loaded))
    }

    fn listed_start(&self) -> Result<Listed, RegistryError> {
        let card = self.start.card();
        let (state, device) = match self.resident(self.start.model_id()) {
            Some((resident, state)) => (state, Some(resident.device().to_owned())),
            None => (ModelState::Verified, None),
        };
        Ok(Listed {
            model_id: self.start.model_id().to_owned(),
            weights_sha256: card.weights_sha256.to_string(),
            weights_size_bytes: self.start.weights_size_bytes(),
            card_digest: None,
            card_json: check::card_json(card)?,
            licence: card.provenance.licence.clone(),
            created_at: None,
            state,
            device,
        })
    }

    fn listed(&self, model: StoredModel) -> Listed {
        let (state, device) = match self.resident(model.model_id.as_str()) {
            Some((resident, state)) => (state, Some(resident.device().to_owned())),
            None => {
                let state = match model.verdict {
                    Verdict::Imported => ModelState::Imported,
                    Verdict::Verified => ModelState::Verified,
                    Verdict::Refused => ModelState::Refused,
                };
                (state, None)
            }
        };
        Listed {
            model_id: model.model_id.to_string(),
            weights_sha256: model.weights.to_string(),
            weights_size_bytes: model.weights_size_bytes,
            card_digest: Some(model.card_digest.to_string()),
            card_json: model.card_json,
            licence: model.licence,
            created_at: Some(model.created_at),
            state,
            device,
        }
    }
}

/// Returns the time in microseconds, which is what a database keeps.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now)
}

async fn find<S: ModelStore>(store: &S, model_id: &ModelId) -> Result<StoredModel, RegistryError> {
    store
        .find_model(model_id)
        .await?
        .ok_or_else(|| RegistryError::NotFound { model_id: model_id.to_string() })
}
