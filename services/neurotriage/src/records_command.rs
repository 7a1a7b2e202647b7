//! The command `records`: what an operator does with the records database, past the service.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use neurotriage_domain::HospitalId;
use neurotriage_records::store::admin;
use neurotriage_service_kit::{
    audit::{self, AuditReport},
    database,
    keyring::KeyringConfig,
};
use sea_orm::DatabaseConnection;
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::{keyring, output::print};

/// Connections of the command: it works through one transaction at a time.
const CONNECTIONS_MAX: u32 = 2;
/// Largest file of checkpoints: some 8 years of one hospital's, one an hour.
const CHECKPOINTS_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Broken chains that are shown before the rest is counted.
const SHOWN_MAX: usize = 20;

/// What `records` takes.
#[derive(Debug, Args)]
pub struct RecordsCommandArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Writes a file with fresh keys. Keep copies of it: without its keys no record can be read.
    NewKeyring {
        /// The file; must not be there yet.
        file: PathBuf,
    },
    /// Checks that no entry of the audit was altered or removed. Changes nothing.
    VerifyAudit {
        #[command(flatten)]
        store: StoreArgs,
        /// File of checkpoints to compare with, one a line, as `checkpoint-audit` writes them.
        #[arg(long)]
        checkpoints: Option<PathBuf>,
        /// Hospital that must have an audit; others are found by themselves. May be repeated.
        #[arg(long = "hospital")]
        hospitals: Vec<HospitalId>,
    },
    /// Prints a signed line for each hospital that says where its audit stands. Keep the lines where the
    /// owner of the database can't change them.
    CheckpointAudit {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Seals with the active keys what is sealed with retired ones. May run beside the service, and be
    /// stopped and run again.
    RotateKeys {
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// Database of the records: `postgres://...` or `sqlite://...`.
    #[arg(long, env = "RECORDS_DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,

    #[command(flatten)]
    keyring: KeyringConfig,
}

impl StoreArgs {
    async fn connect(&self) -> anyhow::Result<DatabaseConnection> {
        let db = database::connect(&self.database_url, CONNECTIONS_MAX).await?;
        database::check_schema::<neurotriage_migrations::records::Migrator>(&db).await?;
        Ok(db)
    }
}

/// Runs the command.
///
/// # Errors
/// If the database or a file can't be read, or the audit is broken.
pub fn run(runtime: &Runtime, args: RecordsCommandArgs) -> anyhow::Result<()> {
    match args.action {
        Action::NewKeyring { file } => {
            keyring::create_new(&file)?;
            print(&format!(
                "wrote {}; keep copies of it: without these keys no record can be read\n",
                file.display()
            ))
        }
        Action::VerifyAudit { store, checkpoints, hospitals } => {
            let lines = match &checkpoints {
                Some(file) => {
                    let size = fs::metadata(file)
                        .with_context(|| format!("read checkpoints {}", file.display()))?
                        .len();
                    ensure!(
                        size <= CHECKPOINTS_BYTES_MAX,
                        "{} is too large; give the newest checkpoints only",
                        file.display()
                    );
                    fs::read_to_string(file)
                        .with_context(|| format!("read checkpoints {}", file.display()))?
                }
                None => String::new(),
            };
            let keyring = store.keyring.read()?;
            let report = runtime.block_on(async {
                let db = store.connect().await?;
                let verified = audit::verify(&db, &keyring, &hospitals, &lines).await;
                verified.context("verify audit")
            })?;
            print(&text(&report))?;
            let broken = report.broken().count();
            if broken > 0 {
                bail!(
                    "audit is broken in {broken} chains; keep the database as it is and find out who changed it"
                );
            }
            Ok(())
        }
        Action::CheckpointAudit { store } => {
            let keyring = store.keyring.read()?;
            let lines = runtime.block_on(async {
                let db = store.connect().await?;
                audit::checkpoint(&db, &keyring).await.context("sign checkpoints")
            })?;
            print(&lines.into_iter().map(|line| line + "\n").collect::<String>())
        }
        Action::RotateKeys { store } => {
            let keyring = store.keyring.read()?;
            let rotated = runtime.block_on(async {
                let db = store.connect().await?;
                admin::rotate_keys(&db, &keyring).await.context("seal again")
            })?;
            print(&format!(
                "sealed {} of {} rows again; the retired keys are no longer needed for rows, only for backups, \
                 checkpoints and repeated requests\n",
                rotated.resealed, rotated.seen
            ))
        }
    }
}

fn text(report: &AuditReport) -> String {
    let mut text = format!(
        "{} entries in {} chains verified, {} checkpoints compared\n",
        report.entries(),
        report.chains.len(),
        report.checkpoints
    );
    for (chain, why) in report.broken().take(SHOWN_MAX) {
        text.push_str(&format!("BROKEN {} chain {}: {why}\n", chain.hospital_id, chain.shard));
    }
    let more = report.broken().count().saturating_sub(SHOWN_MAX);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}
