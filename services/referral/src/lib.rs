//! Referral: compares where the image shows a tumour with where the symptoms point, and ranks the
//! hospitals that can treat it. Decision support for research use; not a medical device.
//!
//! `evidence`, `crosscheck`, `hospital` and `ranking` are pure; `assessment` and `directory` hold the
//! flows and know neither tonic nor sea-orm. `store`, `upstream` and `grpc` depend on them, never the
//! other way round, and never on each other.

pub mod assessment;
pub mod config;
pub mod crosscheck;
pub mod directory;
pub mod evidence;
pub mod grpc;
pub mod hospital;
pub mod ranking;
pub mod store;
pub mod upstream;

use std::{future::Future, time::Duration};

use anyhow::Context as _;
use neurotriage_proto::referral::v1::{
    hospital_directory_service_server::{
        HospitalDirectoryServiceServer, SERVICE_NAME as DIRECTORY_SERVICE_NAME,
    },
    referral_service_server::{ReferralServiceServer, SERVICE_NAME},
};
use neurotriage_service_kit::server;
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Channel};

use crate::{
    assessment::Knowledge,
    evidence::EvidenceTable,
    grpc::{DirectoryGrpc, ReferralGrpc},
    ranking::RankingRules,
    store::SqlReferralStore,
    upstream::GrpcSources,
};

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Dependencies {
    /// A migrated database. An empty directory of hospitals is filled with invented ones.
    pub db: DatabaseConnection,
    /// To the records service.
    pub records: Channel,
    /// To the segmentation service.
    pub segmentation: Channel,
    /// To the ingestion service.
    pub ingestion: Channel,
    /// How hospitals are ranked.
    pub ranking: RankingRules,
}

/// Serves on `listener` until `shutdown` completes, then drains for at most `drain_timeout`.
///
/// The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the evidence table or the sample directory is wrong, or the database or the listener fails.
pub async fn run(
    listener: TcpListener,
    dependencies: Dependencies,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Dependencies { db, records, segmentation, ingestion, ranking } = dependencies;
    let evidence = EvidenceTable::builtin().context("read evidence table")?;
    let knowledge = Knowledge { evidence, ranking };
    let store = SqlReferralStore::new(db);
    let sample = hospital::sample().context("read sample hospitals")?;
    let written = store.fill_empty_directory(&sample).await.context("fill hospital directory")?;
    if written > 0 {
        tracing::warn!(
            hospitals = written,
            "the directory was empty; it now holds invented hospitals"
        );
    }
    let sources = GrpcSources::new(records, segmentation, ingestion);
    let directory = DirectoryGrpc::new(store.clone());
    let referral = ReferralGrpc::new(store, sources, knowledge);
    let routes = Routes::new(ReferralServiceServer::new(referral))
        .add_service(HospitalDirectoryServiceServer::new(directory));
    server::serve(
        "neurotriage-referral",
        listener,
        routes,
        &[SERVICE_NAME, DIRECTORY_SERVICE_NAME],
        drain_timeout,
        shutdown,
    )
    .await
}
