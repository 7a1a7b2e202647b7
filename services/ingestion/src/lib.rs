//! Ingestion: receives MRI studies, checks them, prepares them for segmentation, keeps them.
//!
//! `study` holds the rules and knows neither tonic nor sea-orm. `store` and `grpc` depend on it,
//! never the other way round, and never on each other.

pub mod config;
pub mod error;
pub mod grpc;
pub mod store;
pub mod study;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use neurotriage_blobs::BlobStore;
use neurotriage_proto::ingestion::v1::ingestion_service_server::{
    IngestionServiceServer, SERVICE_NAME,
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    access::Access,
    server::{self, Serving, Shutdown},
};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{grpc::IngestionGrpc, store::SqlStudyStore};

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Dependencies {
    /// Who may call.
    pub access: Access,
    /// A migrated database.
    pub db: DatabaseConnection,
    /// Where files and prepared studies are kept.
    pub blobs: BlobStore,
    /// Keys that seal what callers name studies and files, and sign the audit.
    pub keyring: Keyring,
    /// Most uploads at a time; one more is refused with RESOURCE_EXHAUSTED.
    pub uploads_max: usize,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If a key is missing or the listener fails.
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
    let Dependencies { access, db, blobs, keyring, uploads_max } = dependencies;
    let store = SqlStudyStore::new(db, &keyring).context("open keyring")?;
    let access = access.noting(Arc::new(store.audit().clone()));
    let service = IngestionGrpc::new(store, blobs, uploads_max);
    let routes = Routes::new(IngestionServiceServer::new(service));
    server::serve(
        "neurotriage-ingestion",
        listener,
        routes,
        &[SERVICE_NAME],
        access,
        drain_timeout,
        shutdown,
    )
    .await
}
