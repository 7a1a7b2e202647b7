//! The four services in this process, on loopback, with SQLite files and a folder of blobs.

use std::{future::Future, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, anyhow};
use neurotriage_blobs::BlobStore;
use neurotriage_network::DeviceChoice;
use neurotriage_referral::diagnosis::DiagnosisLimits;
use neurotriage_referral::ranking::RankingRules;
use neurotriage_sealing::Keyring;
use neurotriage_segmentation::{
    StartModel, placement::RegistrationRule, registry::RegistryLimits, training::TrainingSettings,
};
use neurotriage_service_kit::{access::Access, client, database};
use sea_orm::DatabaseConnection;
use sea_orm_migration::MigratorTrait;
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{keyring, services::Endpoints};

/// How long the services may take to answer after their start: a slow disk, not a slow network.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long running calls may go on when the suite stops; nobody else calls it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to each SQLite file: readers run beside one writer.
const DATABASE_CONNECTIONS_MAX: u32 = 4;
/// Uploads at a time.
const UPLOADS_MAX: usize = 2;
/// Studies that wait for the network.
const QUEUE_MAX: usize = 4;
/// Models in memory: one serves while another is loaded.
const MODELS_MAX: usize = 2;
/// Most bytes of the weights of an imported model.
const WEIGHTS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Which model serves in a suite, and where it runs.
#[derive(Clone, Debug)]
pub struct SuiteModel {
    /// The model that serves until another is promoted.
    pub start: StartModel,
    /// Device of the network.
    pub device: DeviceChoice,
    /// How models are trained; not at all if `None`.
    pub training: Option<TrainingSettings>,
}

/// Ports to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Whatever is free.
    Free,
    /// Four in a row from this one: ingestion, segmentation, records, referral.
    From(u16),
}

impl Ports {
    fn nth(self, offset: u16) -> anyhow::Result<u16> {
        match self {
            Self::Free => Ok(0),
            Self::From(base) => {
                base.checked_add(offset).context("port base leaves no room for four ports")
            }
        }
    }
}

/// The running services. Dropping it ends them at once; [`Suite::stop`] drains first.
#[derive(Debug)]
pub struct Suite {
    endpoints: Endpoints,
    stop: watch::Sender<bool>,
    services: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Suite {
    /// Starts the services; they keep what they store under `data`. Returns when all are healthy.
    ///
    /// # Errors
    /// If the folder can't be written, a port is taken, or a service does not become healthy.
    pub async fn start(data: &Path, ports: Ports, model: SuiteModel) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(data)
            .await
            .with_context(|| format!("create data folder {}", data.display()))?;
        let data =
            data.canonicalize().with_context(|| format!("open data folder {}", data.display()))?;
        let [ingestion, segmentation, records, referral] = [
            bind(ports, 0).await?,
            bind(ports, 1).await?,
            bind(ports, 2).await?,
            bind(ports, 3).await?,
        ];
        let endpoints = Endpoints {
            ingestion: endpoint(&ingestion)?,
            segmentation: endpoint(&segmentation)?,
            records: endpoint(&records)?,
            referral: endpoint(&referral)?,
        };
        let blobs = BlobStore::open(&format!("file://{}", data.join("blobs").display()))
            .context("open blob folder")?;
        let access = Access::development(records.local_addr()?)?;
        let (stop, _) = watch::channel(false);
        let mut services = JoinSet::new();
        let run = neurotriage_records::run(
            records,
            neurotriage_records::Dependencies {
                access: access.clone(),
                db: open::<neurotriage_migrations::records::Migrator>(&data, "records").await?,
                keyring: keys(&data, "records")?,
                watchers_max: neurotriage_records::change::WatchersMax::default(),
                batch_idle_max: neurotriage_records::grpc::BATCH_IDLE_MAX_DEFAULT,
            },
            DRAIN_TIMEOUT,
            stopped(&stop),
        );
        services.spawn(named("records", run));
        let run = neurotriage_ingestion::run(
            ingestion,
            neurotriage_ingestion::Dependencies {
                access: access.clone(),
                db: open::<neurotriage_migrations::ingestion::Migrator>(&data, "ingestion").await?,
                keyring: keys(&data, "ingestion")?,
                blobs: blobs.clone(),
                uploads_max: UPLOADS_MAX,
            },
            DRAIN_TIMEOUT,
            stopped(&stop),
        );
        services.spawn(named("ingestion", run));
        let run = neurotriage_segmentation::run(
            segmentation,
            neurotriage_segmentation::Dependencies {
                access: access.clone(),
                db: open::<neurotriage_migrations::segmentation::Migrator>(&data, "segmentation")
                    .await?,
                keyring: keys(&data, "segmentation")?,
                blobs,
                ingestion: client::channel(&endpoints.ingestion)?,
                model: model.start,
                device: model.device,
                queue_max: QUEUE_MAX,
                uploads_max: UPLOADS_MAX,
                limits: RegistryLimits {
                    models_in_memory_max: MODELS_MAX,
                    weights_bytes_max: WEIGHTS_BYTES_MAX,
                },
                training: model.training,
                mirroring: None,
                registration: RegistrationRule::default(),
            },
            DRAIN_TIMEOUT,
            stopped(&stop),
        );
        services.spawn(named("segmentation", run));
        let run = neurotriage_referral::run(
            referral,
            neurotriage_referral::Dependencies {
                access: access.clone(),
                db: open::<neurotriage_migrations::referral::Migrator>(&data, "referral").await?,
                keyring: keys(&data, "referral")?,
                records: client::channel(&endpoints.records)?,
                segmentation: client::channel(&endpoints.segmentation)?,
                ingestion: client::channel(&endpoints.ingestion)?,
                ranking: RankingRules::builtin()?,
                diagnoses: DiagnosisLimits::default(),
                events: neurotriage_referral::Events::default(),
            },
            DRAIN_TIMEOUT,
            stopped(&stop),
        );
        services.spawn(named("referral", run));
        let mut suite = Self { endpoints, stop, services };
        suite.wait_until_healthy().await?;
        Ok(suite)
    }

    /// Returns where the services answer.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    async fn wait_until_healthy(&mut self) -> anyhow::Result<()> {
        let endpoints = self.endpoints.clone();
        let healthy = async {
            for endpoint in [
                &endpoints.ingestion,
                &endpoints.segmentation,
                &endpoints.records,
                &endpoints.referral,
            ] {
                healthy(client::channel(endpoint)?).await?;
            }
            Ok(())
        };
        tokio::select! {
            healthy = timeout(START_TIMEOUT, healthy) => healthy.context("services did not start in time")?,
            error = Self::ended(&mut self.services) => Err(error),
        }
    }

    /// Returns when a service has ended, which none does before [`Suite::stop`], with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        Self::ended(&mut self.services).await
    }

    async fn ended(services: &mut JoinSet<(&'static str, anyhow::Result<()>)>) -> anyhow::Error {
        match services.join_next().await {
            Some(Ok((name, Err(error)))) => error.context(format!("{name} service failed")),
            Some(Ok((name, Ok(())))) => anyhow!("{name} service ended"),
            Some(Err(error)) => anyhow!(error).context("service failed"),
            None => anyhow!("no service runs"),
        }
    }

    /// Drains the services and waits for their end.
    ///
    /// # Errors
    /// If a service failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let mut outcome = Ok(());
        while let Some(ended) = self.services.join_next().await {
            let ended = match ended {
                Ok((name, result)) => result.with_context(|| format!("{name} service failed")),
                Err(error) => Err(anyhow!(error).context("service failed")),
            };
            outcome = outcome.and(ended);
        }
        outcome
    }
}

async fn named(
    name: &'static str,
    run: impl Future<Output = anyhow::Result<()>>,
) -> (&'static str, anyhow::Result<()>) {
    (name, run.await)
}

fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stop = stop.subscribe();
    async move {
        // A dropped sender means that the suite is gone: stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

async fn bind(ports: Ports, offset: u16) -> anyhow::Result<TcpListener> {
    let port = ports.nth(offset)?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("listen on 127.0.0.1:{port}; choose another --port-base"))
}

fn endpoint(listener: &TcpListener) -> anyhow::Result<String> {
    Ok(format!("http://{}", listener.local_addr().context("read own address")?))
}

async fn open<M: MigratorTrait>(data: &Path, name: &str) -> anyhow::Result<DatabaseConnection> {
    let url = format!("sqlite://{}", data.join(format!("{name}.sqlite")).display());
    let db = database::connect(&SecretString::from(url), DATABASE_CONNECTIONS_MAX)
        .await
        .with_context(|| format!("open {name} database"))?;
    M::up(&db, None).await.with_context(|| format!("migrate {name} database"))?;
    Ok(db)
}

/// Keys of a service, beside its database. Whoever loses them loses what they seal.
fn keys(data: &Path, service: &str) -> anyhow::Result<Keyring> {
    keyring::open_or_create(&data.join(format!("{service}.keys")))
}

async fn healthy(channel: Channel) -> anyhow::Result<()> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.context("check health")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_four_in_a_row_or_free() {
        assert_eq!(Ports::Free.nth(3).unwrap(), 0);
        assert_eq!(Ports::From(50_051).nth(3).unwrap(), 50_054);
        assert!(Ports::From(u16::MAX).nth(1).is_err());
    }
}
