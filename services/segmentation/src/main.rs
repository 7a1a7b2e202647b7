//! Entry point of the segmentation service.

use anyhow::Context as _;
use clap::Parser as _;
use neurotriage_blobs::BlobStore;
use neurotriage_segmentation::{Dependencies, StartModel, config::Config};
use neurotriage_service_kit::{access, client, database, server, telemetry, tenant};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let guard = telemetry::init("neurotriage-segmentation", &config.telemetry)?;
    let keyring = config.keyring.read()?;
    let model = StartModel::named(config.model.as_deref())?;
    let db = database::connect(&config.database_url, config.database_connections_max).await?;
    database::check_schema::<neurotriage_migrations::segmentation::Migrator>(&db).await?;
    let blobs = BlobStore::open(&config.blobs_url).context("open blob store")?;
    let ingestion = client::channel(&config.ingestion_endpoint)?;
    let listener = TcpListener::bind(config.listen).await.context("bind gRPC address")?;
    let access = access::open(&config.access, &listener).await?;
    tenant::check_role(&db, &access).await?;
    let dependencies = Dependencies {
        access,
        db,
        keyring,
        blobs,
        ingestion,
        model,
        device: config.device,
        queue_max: config.queue_max,
        uploads_max: config.uploads_max,
        limits: config.registry.limits(),
        training: config.training.settings(),
        mirroring: config.mirroring,
        registration: config.registration,
    };
    let served = neurotriage_segmentation::run(
        listener,
        dependencies,
        config.drain_timeout,
        server::shutdown_signal(),
    )
    .await;
    guard.shutdown()?;
    served
}
