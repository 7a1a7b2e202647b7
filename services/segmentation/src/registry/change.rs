//! Loading, promoting, going back: one change at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Inner, Listed, ModelState, ModelStore, Promotion, PromotionKind, Registry, RegistryError,
    Source, Verdict, find, memory, now,
};
use crate::resident::Resident;

/// A change of the model that serves.
#[derive(Clone, Debug)]
pub struct Change {
    /// The model that serves now.
    pub model: Listed,
    /// The one that served before.
    pub previous_model_id: String,
}

impl<S: ModelStore> Registry<S> {
    /// Checks a model, builds its network and keeps it warm; returns how long that took, zero if
    /// it was in memory. Goes on to its end even if the caller goes away.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Busy`] while another change runs,
    /// [`RegistryError::MemoryFull`], [`RegistryError::Refused`] if a check fails, or a failure of
    /// the device or a store.
    pub async fn load(&self, model_id: String) -> Result<(Listed, Duration), RegistryError> {
        self.change(move |inner| async move { inner.load(&model_id).await }).await
    }

    /// Lets a loaded model serve new studies. `expected` is the model that the caller knows to
    /// serve. Jobs that run or wait end on the model they were given.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Busy`], [`RegistryError::Pinned`],
    /// [`RegistryError::Changed`] if another model serves, [`RegistryError::NotLoaded`], or a
    /// failure of the store.
    pub async fn promote(
        &self,
        model_id: String,
        expected: String,
    ) -> Result<Change, RegistryError> {
        self.change(move |inner| async move { inner.promote(&model_id, &expected).await }).await
    }

    /// Lets the model serve that served before the last promotion; loads it if need be.
    ///
    /// # Errors
    /// As [`Registry::promote`] and [`Registry::load`];
    /// [`RegistryError::NothingToRollBack`] if nothing was promoted.
    pub async fn roll_back(&self, expected: String) -> Result<Change, RegistryError> {
        self.change(move |inner| async move { inner.roll_back(&expected).await }).await
    }

    /// Runs one change in a task of its own: a caller that goes away must not leave a promotion
    /// that is stored and does not serve.
    async fn change<T, F>(
        &self,
        work: impl FnOnce(Arc<Inner<S>>) -> F + Send + 'static,
    ) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RegistryError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            let owner = Arc::clone(&inner);
            let _permit = owner.changes.try_acquire().map_err(|_| RegistryError::Busy)?;
            work(inner).await
        });
        task.await.map_err(|source| RegistryError::Store {
            operation: "change models",
            source: source.into(),
        })?
    }
}

impl<S: ModelStore> Inner<S> {
    async fn load(&self, model_id: &str) -> Result<(Listed, Duration), RegistryError> {
        let source = self.source(model_id).await?;
        let start = Instant::now();
        let known = self.resident(model_id).is_some();
        if !known {
            let resident = self.build(&source).await?;
            self.memory.keep(&resident);
        }
        let elapsed = if known { Duration::ZERO } else { start.elapsed() };
        Ok((self.describe(model_id).await?, elapsed))
    }

    async fn promote(&self, model_id: &str, expected: &str) -> Result<Change, RegistryError> {
        self.check_serving(expected)?;
        let source = self.source(model_id).await?;
        let (resident, state) = self
            .resident(model_id)
            .ok_or_else(|| RegistryError::NotLoaded { model_id: model_id.to_owned() })?;
        if state == ModelState::Serving {
            let model = self.describe(model_id).await?;
            return Ok(Change { model, previous_model_id: expected.to_owned() });
        }
        let last = self.store.last_promotion().await?;
        let promotion = Promotion {
            sequence: following(last.as_ref()),
            kind: PromotionKind::Promote,
            model_id: source.stored_id(),
            below: last.map(|last| last.sequence),
            created_at: now(),
        };
        self.serve(promotion, resident).await
    }

    async fn roll_back(&self, expected: &str) -> Result<Change, RegistryError> {
        self.check_serving(expected)?;
        let last = self.store.last_promotion().await?.ok_or(RegistryError::NothingToRollBack)?;
        let target = match last.below {
            Some(sequence) => self.store.find_promotion(sequence).await?,
            None if last.model_id.is_none() => return Err(RegistryError::NothingToRollBack),
            None => None,
        };
        let (model_id, below) =
            target.map_or((None, None), |target| (target.model_id, target.below));
        let source = match &model_id {
            Some(model_id) => Source::Stored(find(&self.store, model_id).await?),
            None => Source::Start(Box::new(self.start.clone())),
        };
        let resident = match self.resident(source.model_id()) {
            Some((resident, _)) => resident,
            None => self.build(&source).await?,
        };
        let promotion = Promotion {
            sequence: following(Some(&last)),
            kind: PromotionKind::Rollback,
            model_id,
            below,
            created_at: now(),
        };
        self.serve(promotion, resident).await
    }

    fn check_serving(&self, expected: &str) -> Result<(), RegistryError> {
        if self.start.is_pinned() {
            return Err(RegistryError::Pinned { model_id: self.start.model_id().to_owned() });
        }
        let serving = self.engine.serving();
        if serving.model_id() == expected {
            return Ok(());
        }
        Err(RegistryError::Changed { serving_model_id: serving.model_id().to_owned() })
    }

    /// Stores the promotion first: what serves after it serves after a restart too.
    async fn serve(
        &self,
        promotion: Promotion,
        resident: Arc<Resident>,
    ) -> Result<Change, RegistryError> {
        if !self.store.insert_promotion(&promotion).await? {
            // Another process took the number; what this one serves may be out of date.
            let serving_model_id = self.engine.serving().model_id().to_owned();
            return Err(RegistryError::Changed { serving_model_id });
        }
        let model_id = resident.model_id().to_owned();
        self.memory.forget(&model_id);
        let previous_model_id = self.engine.serve(resident).model_id().to_owned();
        tracing::info!(model_id, previous_model_id, kind = ?promotion.kind, "model serves");
        Ok(Change { model: self.describe(&model_id).await?, previous_model_id })
    }

    /// Builds a model within the limit of memory, and notes what came of the checks.
    async fn build(&self, source: &Source) -> Result<Arc<Resident>, RegistryError> {
        self.memory.make_room()?;
        let built = memory::build(source, &self.blobs, self.device, self.limits).await;
        if let Source::Stored(model) = source {
            let verdict = match &built {
                Ok(_) => Some(Verdict::Verified),
                Err(RegistryError::Refused { .. }) => Some(Verdict::Refused),
                Err(_) => None,
            };
            if let Some(verdict) = verdict.filter(|verdict| *verdict != model.verdict) {
                self.store.set_verdict(&model.model_id, verdict).await?;
            }
        }
        let resident = built?;
        self.memory.watch(&resident);
        Ok(resident)
    }
}

fn following(last: Option<&Promotion>) -> u64 {
    last.map_or(1, |last| last.sequence + 1)
}
