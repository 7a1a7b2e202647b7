//! The service on a socket of its own.

pub(crate) mod keys;
pub(crate) mod neighbours;

use std::time::Duration;

use neurotriage_referral::{
    Dependencies, Events, diagnosis::DiagnosisLimits, ranking::RankingRules,
};
use neurotriage_service_kit::{access::Access, client};
use sea_orm::DatabaseConnection;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;

/// How long running calls may go on at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running replica.
pub(crate) struct Served {
    /// Where it answers.
    pub(crate) endpoint: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

/// Returns what a replica works with, the defaults where a test does not care: `others` stands for the
/// other services; without it nobody answers there.
pub(crate) fn dependencies(
    db: DatabaseConnection,
    others: Option<Channel>,
) -> anyhow::Result<Dependencies> {
    let others = match others {
        Some(others) => others,
        None => client::channel("http://127.0.0.1:1")?,
    };
    Ok(Dependencies {
        access: Access::development(([127, 0, 0, 1], 0).into())?,
        db,
        keyring: keys::keyring(),
        records: others.clone(),
        segmentation: others.clone(),
        ingestion: others,
        ranking: RankingRules::builtin()?,
        diagnoses: DiagnosisLimits::default(),
        events: Events::default(),
    })
}

/// Starts a replica.
pub(crate) async fn serve(dependencies: Dependencies) -> anyhow::Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let run = neurotriage_referral::run(listener, dependencies, DRAIN_TIMEOUT, shutdown);
    Ok(Served { endpoint, stop, server: tokio::spawn(run) })
}

impl Served {
    /// Stops the replica as SIGTERM does.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.server.await?
    }
}
