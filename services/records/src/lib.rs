//! Records: patients and the symptoms they report, kept in a database, served over gRPC.
//!
//! `patient`, `symptoms` and `records` hold the rules; `lexicon` and `coding` turn what people
//! write into coded findings. None of these knows tonic or sea-orm: `store` and `grpc` depend on
//! them, never the other way round, and never on each other.

pub mod coding;
pub mod config;
pub mod error;
pub mod grpc;
pub mod lexicon;
pub mod patient;
pub mod records;
pub mod store;
pub mod symptoms;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use neurotriage_proto::records::v1::records_service_server::{RecordsServiceServer, SERVICE_NAME};
use neurotriage_service_kit::{access::Access, server};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{grpc::RecordsGrpc, lexicon::Lexicon, store::SqlRecordsStore};

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Dependencies {
    /// Who may call.
    pub access: Access,
    /// A migrated database.
    pub db: DatabaseConnection,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the built-in lexicon is malformed or the listener fails.
pub async fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Dependencies { access, db } = dependencies;
    let lexicon = Arc::new(Lexicon::built_in().context("load lexicon")?);
    let service = RecordsGrpc::new(SqlRecordsStore::new(db), lexicon);
    let routes = Routes::new(RecordsServiceServer::new(service));
    server::serve(
        "neurotriage-records",
        listener,
        routes,
        &[SERVICE_NAME],
        access,
        drain_timeout,
        shutdown,
    )
    .await
}
