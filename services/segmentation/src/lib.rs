//! Segmentation: owns the model, marks the tumour in studies, names the regions it touches.
//!
//! `segmentation` holds the rules and knows neither tonic nor sea-orm; `registry` keeps the models
//! and chooses the one that serves; `engine` owns the one thread that runs the network; `store`,
//! `upstream` and `grpc` depend on them, never the other way round.

pub mod certainty;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod localise;
mod model;
pub mod placement;
pub mod registry;
pub mod resident;
pub mod segmentation;
pub mod store;
pub mod training;
pub mod upstream;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use neurotriage_blobs::BlobStore;
use neurotriage_network::{DeviceChoice, Mirroring};
use neurotriage_proto::segmentation::v1::{
    model_service_server::{self, ModelServiceServer},
    segmentation_service_server::{self, SegmentationServiceServer},
    training_service_server::{self, TrainingServiceServer},
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    access::Access,
    audit::AuditLog,
    server::{self, Serving, Shutdown},
};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Channel};

pub use crate::model::{StartModel, default_model};
use crate::{
    grpc::{SegmentationGrpc, models::ModelGrpc, training::TrainingGrpc},
    placement::RegistrationRule,
    registry::{Opening, Registry, RegistryLimits},
    segmentation::Segmenter,
    store::{SqlSegmentationStore, models::SqlModelStore, training::SqlTrainingStore},
    training::{Trainer, TrainingSettings},
    upstream::IngestionClient,
};

/// What the service works with.
#[derive(Debug)]
pub struct Dependencies {
    /// Who may call.
    pub access: Access,
    /// A migrated database.
    pub db: DatabaseConnection,
    /// Keys that sign the audit. None is sealed with: what patients are called or say is not kept here.
    pub keyring: Keyring,
    /// Where prepared studies are read, and masks and models are kept.
    pub blobs: BlobStore,
    /// The ingestion service.
    pub ingestion: Channel,
    /// The model that serves until another is promoted.
    pub model: StartModel,
    /// Where networks run.
    pub device: DeviceChoice,
    /// Most studies that wait for the network.
    pub queue_max: usize,
    /// Most calls of `Localise` at a time.
    pub uploads_max: usize,
    /// Limits of the registry of models.
    pub limits: RegistryLimits,
    /// How models are trained; not at all if `None`.
    pub training: Option<TrainingSettings>,
    /// Mirror images that are segmented too; those that suit the model if `None`.
    pub mirroring: Option<Mirroring>,
    /// Which studies are registered to a template.
    pub registration: RegistrationRule,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If there is no key for the audit, the model that serves cannot be loaded, the network's thread
/// cannot be started or the listener fails.
pub fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Serving {
    boxed(listener, dependencies, drain_timeout, Box::pin(shutdown))
}

/// Of one type whatever ends it, so that the service is compiled here and not again by whoever runs it.
#[inline(never)]
fn boxed(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: Shutdown,
) -> Serving {
    Box::pin(serve(listener, dependencies, drain_timeout, shutdown))
}

async fn serve(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Dependencies {
        access,
        db,
        keyring,
        blobs,
        ingestion,
        model,
        device,
        queue_max,
        uploads_max,
        limits,
        training,
        mirroring,
        registration,
    } = dependencies;
    let audit = AuditLog::new(db.clone(), &keyring).context("open keyring")?;
    let access = access.noting(Arc::new(audit.clone()));
    let opening = Opening {
        store: SqlModelStore::new(db.clone()),
        blobs: blobs.clone(),
        start: model,
        device,
        queue_max,
        limits,
    };
    let registry = Registry::open(opening).await.context("load the model that serves")?;
    let trainer = match training {
        Some(settings) => {
            let store = SqlTrainingStore::new(db);
            let trainer = Trainer::open(store, registry.clone(), settings).await;
            Some(trainer.context("open training")?)
        }
        None => None,
    };
    let segmenter = Segmenter {
        store: SqlSegmentationStore::new(audit),
        studies: IngestionClient::new(ingestion),
        blobs,
        engine: registry.engine().clone(),
        mirroring,
        registration,
    };
    let service = SegmentationGrpc::new(segmenter, uploads_max);
    let routes = Routes::new(SegmentationServiceServer::new(service))
        .add_service(ModelServiceServer::new(ModelGrpc::new(registry)))
        .add_service(TrainingServiceServer::new(TrainingGrpc::new(trainer.clone())));
    let names = &[
        segmentation_service_server::SERVICE_NAME,
        model_service_server::SERVICE_NAME,
        training_service_server::SERVICE_NAME,
    ];
    let ending = trainer.clone();
    let shutdown = async move {
        shutdown.await;
        // Runs end with a checkpoint, and with them the streams of those who watch.
        if let Some(trainer) = ending {
            trainer.begin_stop();
        }
    };
    let served = server::serve(
        "neurotriage-segmentation",
        listener,
        routes,
        names,
        access,
        drain_timeout,
        shutdown,
    )
    .await;
    if let Some(trainer) = trainer {
        trainer.stopped(drain_timeout).await;
    }
    served
}
