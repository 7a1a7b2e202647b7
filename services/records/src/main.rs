//! Entry point of the records service.

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use neurotriage_records::{Dependencies, change::WatchersMax, config::Config};
use neurotriage_service_kit::{access, database, server, telemetry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let guard = telemetry::init("neurotriage-records", &config.telemetry)?;
    let keyring = config.keyring.read()?;
    let db = database::connect(&config.database_url, config.database_connections_max.get()).await?;
    database::check_schema::<neurotriage_migrations::records::Migrator>(&db).await?;
    let listener = TcpListener::bind(config.listen).await.context("bind gRPC address")?;
    let access = access::open(&config.access, &listener).await?;
    let served = neurotriage_records::run(
        listener,
        Dependencies {
            access,
            db,
            keyring,
            watchers_max: WatchersMax {
                together: config.watchers_max,
                per_hospital: config.watchers_per_hospital_max,
            },
            batch_idle_max: Duration::from_secs(config.batch_idle_max_s),
        },
        config.drain_timeout,
        server::shutdown_signal(),
    )
    .await;
    guard.shutdown()?;
    served
}
