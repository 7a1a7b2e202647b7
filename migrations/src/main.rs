//! Brings the databases of the suite to the schema that the services need, or shows where they are.

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use neurotriage_migrations::{ingestion, records, referral, segmentation};
use neurotriage_service_kit::{
    database,
    grants::{self, Role},
};
use sea_orm_migration::MigratorTrait;
use secrecy::SecretString;

/// One connection: steps run one after another.
const CONNECTIONS_MAX: u32 = 1;

/// Applies the migrations of every database whose URL is given.
#[derive(Debug, Parser)]
#[command(name = "neurotriage-migrate", version)]
struct Config {
    #[command(subcommand)]
    command: Command,

    /// Database of ingestion: `postgres://...` or `sqlite://...`.
    #[arg(long, global = true, env = "INGESTION_DATABASE_URL", hide_env_values = true)]
    ingestion_database_url: Option<SecretString>,

    /// Role of the ingestion service, to which `up` grants what a service needs and no more. It must not be the owner of the
    /// tables, whom this program connects as. PostgreSQL only.
    #[arg(long, global = true, env = "INGESTION_GRANT_TO")]
    ingestion_grant_to: Option<Role>,

    /// Database of segmentation.
    #[arg(long, global = true, env = "SEGMENTATION_DATABASE_URL", hide_env_values = true)]
    segmentation_database_url: Option<SecretString>,

    /// Role of the segmentation service, to which `up` grants what a service needs and no more. It must not be the owner of the
    /// tables, whom this program connects as. PostgreSQL only.
    #[arg(long, global = true, env = "SEGMENTATION_GRANT_TO")]
    segmentation_grant_to: Option<Role>,

    /// Database of records.
    #[arg(long, global = true, env = "RECORDS_DATABASE_URL", hide_env_values = true)]
    records_database_url: Option<SecretString>,

    /// Role of the records service, to which `up` grants what a service needs and no more. It must not be the owner of the
    /// tables, whom this program connects as. PostgreSQL only.
    #[arg(long, global = true, env = "RECORDS_GRANT_TO")]
    records_grant_to: Option<Role>,

    /// Database of referral.
    #[arg(long, global = true, env = "REFERRAL_DATABASE_URL", hide_env_values = true)]
    referral_database_url: Option<SecretString>,

    /// Role of the referral service, to which `up` grants what a service needs and no more. It must not be the owner of the
    /// tables, whom this program connects as. PostgreSQL only.
    #[arg(long, global = true, env = "REFERRAL_GRANT_TO")]
    referral_grant_to: Option<Role>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Applies what is missing. Does nothing where nothing is.
    Up,
    /// Takes back the last steps, with the data in what they made.
    Down {
        /// How many steps, in each database.
        #[arg(long, default_value = "1")]
        steps: u32,
    },
    /// Lists every step and whether it is applied. Changes nothing.
    Status,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let command = config.command;
    let given = [
        run::<ingestion::Migrator>(
            "ingestion",
            config.ingestion_database_url,
            config.ingestion_grant_to,
            command,
        )
        .await?,
        run::<segmentation::Migrator>(
            "segmentation",
            config.segmentation_database_url,
            config.segmentation_grant_to,
            command,
        )
        .await?,
        run::<records::Migrator>(
            "records",
            config.records_database_url,
            config.records_grant_to,
            command,
        )
        .await?,
        run::<referral::Migrator>(
            "referral",
            config.referral_database_url,
            config.referral_grant_to,
            command,
        )
        .await?,
    ];
    if !given.contains(&true) {
        bail!("no database url is given; set at least one, such as RECORDS_DATABASE_URL");
    }
    Ok(())
}

async fn run<M: MigratorTrait>(
    name: &'static str,
    url: Option<SecretString>,
    grant_to: Option<Role>,
    command: Command,
) -> anyhow::Result<bool> {
    let Some(url) = url else { return Ok(false) };
    let db = database::connect_without_limits(&url, CONNECTIONS_MAX)
        .await
        .with_context(|| format!("open {name} database"))?;
    match command {
        Command::Up => M::up(&db, None).await,
        Command::Down { steps } => M::down(&db, Some(steps)).await,
        Command::Status => Ok(()),
    }
    .with_context(|| format!("migrate {name} database"))?;
    let steps = M::get_migration_with_status_read_only(&db)
        .await
        .with_context(|| format!("read schema version of {name} database"))?;
    let mut out = io::stdout().lock();
    for step in steps {
        writeln!(out, "{name}\t{}\t{}", step.name(), step.status()).context("write status")?;
    }
    if let (Command::Up, Some(role)) = (command, grant_to) {
        grants::grant(&db, &role).await.with_context(|| format!("grant in {name} database"))?;
        writeln!(out, "{name}\tgranted to {role}").context("write status")?;
    }
    drop(out);
    db.close().await.with_context(|| format!("close {name} database"))?;
    Ok(true)
}
