//! The commands `ingestion`, `segmentation`, `records` and `referral`: what an operator does with the database of a
//! service, past the service.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use neurotriage_domain::HospitalId;
use neurotriage_migrations::{ingestion, records, referral, segmentation};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{self, AuditReport},
    database,
    keyring::{CLASHES_MAX, Clash, KeyringConfig, Rotated},
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

/// What is said of a database without any audit.
const NO_AUDIT: &str = "no hospital has an audit in this database: either nobody ever called the service, or the audit was removed";

/// Whose database a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Studies.
    Ingestion,
    /// Masks and localisations.
    Segmentation,
    /// Patients and what is written down about them.
    Records,
    /// Assessments, diagnoses and referrals.
    Referral,
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ingestion => "ingestion",
            Self::Segmentation => "segmentation",
            Self::Records => "records",
            Self::Referral => "referral",
        })
    }
}

impl Service {
    async fn connect(self, store: &StoreArgs) -> anyhow::Result<DatabaseConnection> {
        let db = database::connect_existing(&store.database_url, CONNECTIONS_MAX).await?;
        let checked = match self {
            Self::Ingestion => database::check_schema::<ingestion::Migrator>(&db).await,
            Self::Segmentation => database::check_schema::<segmentation::Migrator>(&db).await,
            Self::Records => database::check_schema::<records::Migrator>(&db).await,
            Self::Referral => database::check_schema::<referral::Migrator>(&db).await,
        };
        checked.with_context(|| format!("not a database of the {self} service as it is now"))?;
        Ok(db)
    }

    async fn rotate_keys(
        self,
        db: &DatabaseConnection,
        keyring: &Keyring,
    ) -> anyhow::Result<Rotated> {
        Ok(match self {
            Self::Ingestion => {
                neurotriage_ingestion::store::admin::rotate_keys(db, keyring).await?
            }
            // Nothing is sealed there; the audit is signed.
            Self::Segmentation => {
                for hospital_id in audit::hospitals(db).await? {
                    audit::sign_again(db, keyring, &hospital_id).await?;
                }
                let mut rotated = Rotated::default();
                for hospital_id in audit::hospitals(db).await? {
                    rotated.left.heads += audit::heads_left(db, keyring, &hospital_id).await?;
                }
                rotated
            }
            Self::Records => neurotriage_records::store::admin::rotate_keys(db, keyring).await?,
            Self::Referral => neurotriage_referral::store::admin::rotate_keys(db, keyring).await?,
        })
    }
}

/// What the command of a service takes.
#[derive(Debug, Args)]
pub struct OperatorCommandArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Writes a file with fresh keys. Keep copies of it: without its keys nothing sealed can be read.
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
    /// Seals and signs with the active keys what is sealed and signed with retired ones, and says what is left; fails if
    /// something is. Every replica must write with the active keys before. May run beside the service, and be stopped and
    /// run again.
    RotateKeys {
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// Database of the service: `postgres://...` or `sqlite://...`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,

    #[command(flatten)]
    keyring: KeyringConfig,
}

/// Runs the command on the database of `service`.
///
/// # Errors
/// If the database or a file can't be read, or the audit is broken.
pub fn run(runtime: &Runtime, service: Service, args: OperatorCommandArgs) -> anyhow::Result<()> {
    match args.action {
        Action::NewKeyring { file } => {
            keyring::create_new(&file)?;
            print(&format!(
                "wrote {}; keep copies of it: without these keys nothing sealed with them can be read\n",
                file.display()
            ))
        }
        Action::VerifyAudit { store, checkpoints, hospitals } => {
            let lines = checkpoints.map(|file| read_checkpoints(&file)).transpose()?;
            let keyring = store.keyring.read()?;
            let report = runtime.block_on(async {
                let db = service.connect(&store).await?;
                let lines = lines.unwrap_or_default();
                audit::verify(&db, &keyring, &hospitals, &lines).await.context("verify audit")
            })?;
            ensure!(!report.chains.is_empty(), NO_AUDIT);
            print(&text(&report))?;
            let broken = report.broken().count();
            if broken > 0 {
                bail!(
                    "audit is broken in {broken} of {} chains, or these are not the keys of this database; keep the database \
                     as it is and find out who changed it",
                    report.chains.len()
                );
            }
            Ok(())
        }
        Action::CheckpointAudit { store } => {
            let keyring = store.keyring.read()?;
            let lines = runtime.block_on(async {
                let db = service.connect(&store).await?;
                audit::checkpoint(&db, &keyring).await.context("sign checkpoints")
            })?;
            ensure!(!lines.is_empty(), NO_AUDIT);
            print(&lines.into_iter().map(|line| line + "\n").collect::<String>())
        }
        Action::RotateKeys { store } => {
            let keyring = store.keyring.read()?;
            let rotated = runtime.block_on(async {
                let db = service.connect(&store).await?;
                service.rotate_keys(&db, &keyring).await.context("seal again")
            })?;
            print(&rotation(&rotated))?;
            if !rotated.left.is_nothing() {
                bail!(
                    "{} rows and {} heads of the audit need a retired key still, or are indexed by rules of before: see that \
                     every replica is of this version and writes with the active keys, and run this again",
                    rotated.left.rows,
                    rotated.left.heads
                );
            }
            Ok(())
        }
    }
}

/// Says what a rotation did, and what it could not do.
fn rotation(rotated: &Rotated) -> String {
    let mut text = format!(
        "sealed {} of {} rows and signed the audit again\n",
        rotated.resealed, rotated.seen
    );
    for clash in &rotated.clashes {
        text.push_str(&left_out(clash));
    }
    if rotated.clashes.len() == CLASHES_MAX {
        text.push_str("there may be more of these\n");
    }
    if rotated.left.is_nothing() {
        text.push_str(
            "a look after that found nothing under a retired key; if every replica writes with the active keys, the retired ones \
             are needed for backups, checkpoints and repeated requests only\n",
        );
    }
    text
}

/// Says which two rows stand in each other's way, and what to do.
fn left_out(clash: &Clash) -> String {
    let Clash { kind, patient_id, other_patient_id, record_id, other_record_id } = clash;
    let what = format!(
        "LEFT a {kind} is of patient {patient_id} and of patient {other_patient_id}, each under another key: "
    );
    if record_id == patient_id {
        let how = "merge the two (undelete one that is deleted first), or take it from one, and run this again\n";
        what + how
    } else {
        format!("{what}delete entry {record_id} or entry {other_record_id}, and run this again\n")
    }
}

fn read_checkpoints(file: &Path) -> anyhow::Result<String> {
    let read = || format!("read checkpoints {}", file.display());
    let size = fs::metadata(file).with_context(read)?.len();
    ensure!(
        size <= CHECKPOINTS_BYTES_MAX,
        "{} is too large; give the newest checkpoints only",
        file.display()
    );
    fs::read_to_string(file).with_context(read)
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
    for key_id in &report.retired_keys {
        text.push_str(&format!(
            "WARNING audit key {key_id} signed heads and is not the active one: run rotate-keys, then take it out\n"
        ));
    }
    text
}
