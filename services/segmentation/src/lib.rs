//! Segmentation: owns the model, marks the tumour in studies, names the regions it touches.
//!
//! `segmentation` holds the rules and knows neither tonic nor sea-orm; `engine` owns the one thread
//! that runs the network; `store`, `upstream` and `grpc` depend on them, never the other way round.

pub mod config;
pub mod engine;
pub mod grpc;
mod model;
pub mod resident;
pub mod segmentation;
pub mod store;
pub mod upstream;

use std::{future::Future, time::Duration};

use anyhow::Context as _;
use neurotriage_blobs::BlobStore;
use neurotriage_network::Model;
use neurotriage_proto::segmentation::v1::segmentation_service_server::{
    SERVICE_NAME, SegmentationServiceServer,
};
use neurotriage_service_kit::server;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Channel};

pub use crate::model::default_model;
use crate::{
    engine::Engine, grpc::SegmentationGrpc, segmentation::Segmenter, store::SqlSegmentationStore,
    upstream::IngestionClient,
};

/// What the service works with.
#[derive(Debug)]
pub struct Dependencies {
    /// A migrated database.
    pub db: DatabaseConnection,
    /// Where prepared studies are read and masks are kept.
    pub blobs: BlobStore,
    /// The ingestion service.
    pub ingestion: Channel,
    /// The network; see [`default_model`].
    pub model: Model,
    /// Most studies that wait for the network.
    pub queue_max: usize,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the network's thread cannot be started or the listener fails.
pub async fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Dependencies { db, blobs, ingestion, model, queue_max } = dependencies;
    let engine = Engine::start(model, queue_max).context("start network thread")?;
    let segmenter = Segmenter {
        store: SqlSegmentationStore::new(db),
        studies: IngestionClient::new(ingestion),
        blobs,
        engine,
    };
    let routes = Routes::new(SegmentationServiceServer::new(SegmentationGrpc::new(segmenter)));
    let names = &[SERVICE_NAME];
    server::serve("neurotriage-segmentation", listener, routes, names, drain_timeout, shutdown)
        .await
}
