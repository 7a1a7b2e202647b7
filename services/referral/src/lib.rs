//! Referral: compares where the image shows a tumour with where the symptoms point, and ranks the
//! hospitals that can treat it. Decision support for research use; not a medical device.
//!
//! `evidence`, `crosscheck`, `hospital`, `ranking`, `measurement` and `growth` are pure; `assessment`,
//! `diagnosis` and `directory` hold the flows and know neither tonic nor sea-orm. `store`, `upstream`
//! and `grpc` depend on them, never the other way round, and never on each other. `lifecycle` is the
//! same for what becomes of a referral, and `delivery` sends its events.

pub mod assessment;
pub mod config;
pub mod crosscheck;
pub mod delivery;
pub mod diagnosis;
pub mod directory;
pub mod evidence;
pub mod fhir;
pub mod growth;
pub mod grpc;
pub mod hospital;
pub mod lifecycle;
pub mod measurement;
pub mod ranking;
pub mod store;
pub mod upstream;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use neurotriage_proto::fhir::v1::fhir_service_server::{self, FhirServiceServer};
use neurotriage_proto::referral::v1::{
    diagnosis_service_server::{self, DiagnosisServiceServer},
    hospital_directory_service_server::{self, HospitalDirectoryServiceServer},
    referral_lifecycle_service_server::{self, ReferralLifecycleServiceServer},
    referral_service_server::{self, ReferralServiceServer},
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    access::Access,
    server::{self, Serving, Shutdown},
};
use sea_orm::DatabaseConnection;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Channel};

use crate::{
    assessment::Knowledge,
    delivery::Delivery,
    diagnosis::{Diagnoser, DiagnosisLimits},
    evidence::EvidenceTable,
    fhir::export::Exporter,
    grpc::{
        DirectoryGrpc, ReferralGrpc, diagnosis::DiagnosisGrpc, fhir::FhirGrpc,
        lifecycle::LifecycleGrpc,
    },
    lifecycle::{Lifecycle, Posting, expiry},
    ranking::RankingRules,
    store::{Ledger, SqlReferralStore, lifecycle::SqlLifecycleStore},
    upstream::GrpcSources,
};

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Dependencies {
    /// Who may call.
    pub access: Access,
    /// A migrated database. An empty directory of hospitals is filled with invented ones.
    pub db: DatabaseConnection,
    /// Keys that seal what people wrote about patients, and sign the audit.
    pub keyring: Keyring,
    /// To the records service.
    pub records: Channel,
    /// To the segmentation service.
    pub segmentation: Channel,
    /// To the ingestion service.
    pub ingestion: Channel,
    /// How hospitals are ranked.
    pub ranking: RankingRules,
    /// How many diagnoses run at a time, and how long.
    pub diagnoses: DiagnosisLimits,
    /// What becomes of referrals and their events.
    pub events: Events,
}

/// Where events of referrals go, and how many may watch them.
#[derive(Clone, Debug)]
pub struct Events {
    /// Where they are delivered; without it they are listed and watched only.
    pub delivery: Option<Delivery>,
    /// Most callers that watch at a time. Each looks at the database every other second.
    pub watchers_max: usize,
}

/// Callers that may watch if nobody says: with two replicas 64 looks a second at most.
pub const WATCHERS_MAX_DEFAULT: usize = 64;

impl Default for Events {
    fn default() -> Self {
        Self { delivery: None, watchers_max: WATCHERS_MAX_DEFAULT }
    }
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the evidence table or the sample directory is wrong, a key is missing, or the database or the listener fails.
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
    let Dependencies { access, db, keyring, ranking, diagnoses, events, .. } = dependencies;
    let Dependencies { records, segmentation, ingestion, .. } = dependencies;
    let evidence = EvidenceTable::builtin().context("read evidence table")?;
    let knowledge = Knowledge { evidence, ranking };
    let ledger = Ledger::new(db, &keyring).context("open keyring")?;
    let access = access.noting(Arc::new(ledger.audit().clone()));
    let store = SqlReferralStore::new(ledger.clone());
    let sample = hospital::sample().context("read sample hospitals")?;
    let written = store.fill_empty_directory(&sample).await.context("fill hospital directory")?;
    if written > 0 {
        tracing::warn!(
            hospitals = written,
            "the directory was empty; it now holds invented hospitals"
        );
    }
    let sources = GrpcSources::new(records, segmentation, ingestion);
    let exporter = Exporter {
        store: store.clone(),
        lifecycle: SqlLifecycleStore::new(ledger.clone()),
        sources: sources.clone(),
    };
    let (lifecycle, stop, workers) = start_lifecycle(ledger, events);
    let directory = DirectoryGrpc::new(store.clone());
    let diagnoser = Diagnoser::new(store.clone(), sources.clone(), knowledge.clone(), diagnoses);
    let referral = ReferralGrpc::new(store, sources, knowledge);
    let routes = Routes::new(ReferralServiceServer::new(referral))
        .add_service(HospitalDirectoryServiceServer::new(directory))
        .add_service(DiagnosisServiceServer::new(DiagnosisGrpc::new(diagnoser)))
        .add_service(ReferralLifecycleServiceServer::new(LifecycleGrpc::new(lifecycle)))
        .add_service(FhirServiceServer::new(FhirGrpc::new(exporter)));
    let names = &[
        referral_service_server::SERVICE_NAME,
        hospital_directory_service_server::SERVICE_NAME,
        diagnosis_service_server::SERVICE_NAME,
        referral_lifecycle_service_server::SERVICE_NAME,
        fhir_service_server::SERVICE_NAME,
    ];
    let ending = stop.clone();
    let shutdown = async move {
        shutdown.await;
        // Ends the streams of those who watch, and lets the workers finish.
        ending.cancel();
    };
    let serving = async {
        let served = server::serve(
            "neurotriage-referral",
            listener,
            routes,
            names,
            access,
            drain_timeout,
            shutdown,
        )
        .await;
        stop.cancel();
        served
    };
    let finishing = async {
        stop.cancelled().await;
        if timeout(drain_timeout, workers.join_all()).await.is_err() {
            tracing::warn!("events were still being sent after the drain; they are sent again");
        }
    };
    let (served, ()) = tokio::join!(serving, finishing);
    served
}

/// Starts what runs beside the calls: the expiry of referrals and the delivery of events.
fn start_lifecycle(
    ledger: Ledger,
    events: Events,
) -> (Lifecycle<SqlLifecycleStore>, CancellationToken, JoinSet<()>) {
    let Events { delivery, watchers_max } = events;
    let store = SqlLifecycleStore::new(ledger);
    let stop = CancellationToken::new();
    let posting = if delivery.is_some() { Posting::On } else { Posting::Off };
    let lifecycle = Lifecycle::new(store.clone(), posting, watchers_max, stop.clone());
    let mut workers = JoinSet::new();
    workers.spawn(expiry::run(lifecycle.clone(), stop.clone()));
    if let Some(delivery) = delivery {
        let listener = lifecycle.changes().listen();
        workers.spawn(delivery::run(store, delivery, listener, stop.clone()));
    }
    (lifecycle, stop, workers)
}
