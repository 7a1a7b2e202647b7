//! Entry point of the referral service.

use anyhow::Context as _;
use clap::Parser as _;
use neurotriage_referral::{Dependencies, Events, config::Config};
use neurotriage_service_kit::{access, client, database, server, telemetry, tenant};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let guard = telemetry::init("neurotriage-referral", &config.telemetry)?;
    let keyring = config.keyring.read()?;
    let db = database::connect(&config.database_url, config.database_connections_max).await?;
    database::check_schema::<neurotriage_migrations::referral::Migrator>(&db).await?;
    let listener = TcpListener::bind(config.listen).await.context("bind gRPC address")?;
    let access = access::open(&config.access, &listener).await?;
    tenant::check_role(&db, &access).await?;
    let dependencies = Dependencies {
        access,
        db,
        keyring,
        records: client::channel(&config.records_endpoint)?,
        segmentation: client::channel(&config.segmentation_endpoint)?,
        ingestion: client::channel(&config.ingestion_endpoint)?,
        ranking: config.ranking_rules()?,
        diagnoses: config.diagnoses.limits(),
        events: Events {
            delivery: config.events.delivery().await?,
            watchers_max: config.events.watchers_max,
        },
    };
    let served = neurotriage_referral::run(
        listener,
        dependencies,
        config.drain_timeout,
        server::shutdown_signal(),
    )
    .await;
    guard.shutdown()?;
    served
}
