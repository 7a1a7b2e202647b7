//! Records: patients and the symptoms they report, kept in a database, served over gRPC.
//!
//! `patient`, `entry`, `symptoms`, `search`, `change` and `records` hold the rules; `lexicon` and `coding` turn what
//! people write into coded findings. None of these knows tonic or sea-orm: `store` and `grpc` depend on
//! them, never the other way round, and never on each other.

pub mod change;
pub mod coding;
pub mod config;
pub mod entry;
pub mod error;
pub mod grpc;
pub mod lexicon;
pub mod patient;
pub mod records;
pub mod search;
pub mod store;
pub mod symptoms;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use neurotriage_proto::records::v1::records_service_server::{RecordsServiceServer, SERVICE_NAME};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    access::Access,
    server::{self, Serving, Shutdown},
    tenant,
};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    change::{Watchers, WatchersMax},
    grpc::RecordsGrpc,
    lexicon::Lexicon,
    records::Records,
    store::SqlRecordsStore,
};

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Dependencies {
    /// Who may call.
    pub access: Access,
    /// A migrated database.
    pub db: DatabaseConnection,
    /// Keys that seal what is written down about patients, and sign the audit.
    pub keyring: Keyring,
    /// Most callers that watch changes at a time. Each looks at the database every second.
    pub watchers_max: WatchersMax,
    /// Longest that a batch waits for its next create.
    pub batch_idle_max: Duration,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the built-in lexicon is malformed, a key is missing, or the database or the listener fails.
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
    let Dependencies { access, db, keyring, watchers_max, batch_idle_max } = dependencies;
    tenant::check_role(&db, &access).await.context("check database role")?;
    let lexicon = Arc::new(Lexicon::built_in().context("load lexicon")?);
    let store = SqlRecordsStore::new(db, &keyring).context("open keyring")?;
    let stop = CancellationToken::new();
    let watchers = Watchers::new(watchers_max, stop.clone());
    let access = access.noting(Arc::new(store.audit().clone()));
    let service = RecordsGrpc::new(Records::new(store, lexicon), watchers, batch_idle_max);
    let routes = Routes::new(RecordsServiceServer::new(service));
    let names = &[SERVICE_NAME];
    let shutdown = async move {
        shutdown.await;
        // Ends the streams of those who watch.
        stop.cancel();
    };
    server::serve("neurotriage-records", listener, routes, names, access, drain_timeout, shutdown)
        .await
}
