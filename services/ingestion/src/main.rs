//! Entry point of the ingestion service.

use anyhow::Context as _;
use clap::Parser as _;
use neurotriage_blobs::BlobStore;
use neurotriage_ingestion::{Dependencies, config::Config};
use neurotriage_service_kit::{access, database, server, telemetry, tenant};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let guard = telemetry::init("neurotriage-ingestion", &config.telemetry)?;
    let keyring = config.keyring.read()?;
    let db = database::connect(&config.database_url, config.database_connections_max).await?;
    database::check_schema::<neurotriage_migrations::ingestion::Migrator>(&db).await?;
    let blobs = BlobStore::open(&config.blobs_url).context("open blob store")?;
    let listener = TcpListener::bind(config.listen).await.context("bind gRPC address")?;
    let access = access::open(&config.access, &listener).await?;
    tenant::check_role(&db, &access).await?;
    let dependencies = Dependencies { access, db, blobs, keyring, uploads_max: config.uploads_max };
    let served = neurotriage_ingestion::run(
        listener,
        dependencies,
        config.drain_timeout,
        server::shutdown_signal(),
    )
    .await;
    guard.shutdown()?;
    served
}
