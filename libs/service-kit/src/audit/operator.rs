//! What operators do with the audit, past the service: verify it, note where it stands, and sign with new keys.

use std::collections::BTreeSet;

use neurotriage_audit::{Anchor, Break, ChainId, Checkpoint, CheckpointError, Signer};
use neurotriage_domain::HospitalId;
use neurotriage_sealing::{KeyId, Keyring, KeyringError};
use sea_orm::DatabaseConnection;
use time::OffsetDateTime;

use super::{AuditError, SHARDS, chains, owner};

/// Why the audit can't be verified; a broken chain is an answer and not among it.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The keys don't serve.
    #[error("keyring does not serve")]
    Keyring(#[from] KeyringError),
    /// The database failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A line of checkpoints is none, or not ours.
    #[error("line {line} of the checkpoints can't be used")]
    Checkpoint {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: CheckpointError,
    },
}

/// One chain that was verified, or is broken.
#[derive(Clone, Debug)]
pub struct ChainReport {
    /// Whose.
    pub hospital_id: HospitalId,
    /// Which of the hospital's chains; entries that stand in none name one that there is not.
    pub shard: i32,
    /// Entries that were verified, or what is wrong.
    pub outcome: Result<u64, Break>,
}

/// The audit of every hospital, verified.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// Checkpoints that were compared with.
    pub checkpoints: usize,
    /// Keys that signed heads and are not the active one. After a rotation there should be none: whoever has a key
    /// that was given up could sign with it.
    pub retired_keys: BTreeSet<KeyId>,
}

impl AuditReport {
    /// Returns how many entries were verified.
    pub fn entries(&self) -> u64 {
        self.chains.iter().filter_map(|chain| chain.outcome.as_ref().ok()).sum()
    }

    /// Returns the chains that are broken.
    pub fn broken(&self) -> impl Iterator<Item = (&ChainReport, &Break)> {
        self.chains.iter().filter_map(|chain| chain.outcome.as_ref().err().map(|why| (chain, why)))
    }
}

/// Verifies every chain of every hospital that has some or a part of some, or that `checkpoints` (one a line) or
/// `hospitals` name. A hospital whose audit was removed as a whole is known by those two alone.
///
/// # Errors
/// [`OperatorError`]; a broken chain is an answer.
pub async fn verify(
    db: &DatabaseConnection,
    keyring: &Keyring,
    hospitals: &[HospitalId],
    checkpoints: &str,
) -> Result<AuditReport, OperatorError> {
    let signer = Signer::new(keyring)?;
    let checkpoints = read_checkpoints(checkpoints, &signer)?;
    let mut ids: BTreeSet<HospitalId> = chains::hospitals(db).await?.into_iter().collect();
    ids.extend(hospitals.iter().cloned());
    for checkpoint in &checkpoints {
        ids.extend(checkpoint.tenant().as_str().parse::<HospitalId>().ok());
    }
    let mut report = AuditReport { checkpoints: checkpoints.len(), ..AuditReport::default() };
    for hospital_id in ids {
        let owner = owner(&hospital_id)?;
        for shard in 0..SHARDS {
            let of_hospital = checkpoints.iter().filter(|checkpoint| *checkpoint.tenant() == owner);
            let anchors: Vec<Anchor> =
                of_hospital.filter_map(|checkpoint| checkpoint.anchor(shard)).collect();
            let chain = ChainId { tenant: owner.clone(), shard };
            let (outcome, retired) =
                chains::verify(db, &signer, &hospital_id, chain, anchors).await?;
            report.retired_keys.extend(retired);
            let outcome = outcome.map(|verified| verified.rows);
            let shard = shard.into();
            report.chains.push(ChainReport { hospital_id: hospital_id.clone(), shard, outcome });
        }
        for chains::Stray { shard, first, last } in chains::strays(db, &hospital_id).await? {
            let outcome = Err(Break::Inserted { first, last });
            report.chains.push(ChainReport { hospital_id: hospital_id.clone(), shard, outcome });
        }
    }
    Ok(report)
}

fn read_checkpoints(lines: &str, signer: &Signer) -> Result<Vec<Checkpoint>, OperatorError> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let line_number = at + 1;
            Checkpoint::from_line(line.trim(), signer)
                .map_err(|source| OperatorError::Checkpoint { line: line_number, source })
        })
        .collect()
}

/// Returns a line for each hospital that says, signed, where its chains stand. To be kept where the owner of the
/// database can't change it.
///
/// # Errors
/// [`OperatorError`], if a head is forged too.
pub async fn checkpoint(
    db: &DatabaseConnection,
    keyring: &Keyring,
) -> Result<Vec<String>, OperatorError> {
    let signer = Signer::new(keyring)?;
    // Seconds since 1970: later ones are greater, whoever writes them.
    let number = OffsetDateTime::now_utc().unix_timestamp();
    let mut lines = Vec::new();
    for hospital_id in chains::hospitals(db).await? {
        let owner = owner(&hospital_id)?;
        let checkpoint = chains::checkpoint(db, &signer, &hospital_id, &owner, number).await?;
        lines.push(checkpoint.to_line());
    }
    Ok(lines)
}

/// Returns the hospitals that have an audit or a part of one: those that ever called.
///
/// # Errors
/// [`OperatorError::Audit`].
pub async fn hospitals(db: &DatabaseConnection) -> Result<Vec<HospitalId>, OperatorError> {
    Ok(chains::hospitals(db).await?)
}

/// Signs the heads of a hospital's chains with the active key: those that nothing was appended to since are signed
/// with an old one.
///
/// # Errors
/// [`OperatorError`], if a head is forged too.
pub async fn sign_again(
    db: &DatabaseConnection,
    keyring: &Keyring,
    hospital_id: &HospitalId,
) -> Result<(), OperatorError> {
    let signer = Signer::new(keyring)?;
    for shard in 0..SHARDS {
        let chain = ChainId { tenant: owner(hospital_id)?, shard };
        chains::sign_again(db, &signer, hospital_id, chain).await?;
    }
    Ok(())
}

/// Returns how many heads of a hospital's chains are signed with another key than the active one.
///
/// # Errors
/// [`OperatorError`].
pub async fn heads_left(
    db: &DatabaseConnection,
    keyring: &Keyring,
    hospital_id: &HospitalId,
) -> Result<u64, OperatorError> {
    let signer = Signer::new(keyring)?;
    Ok(chains::heads_left(db, &signer, hospital_id).await?)
}
