//! What a model says of itself.

use neurotriage_domain::{BlobDigest, Modality};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{NetworkConfig, NetworkError};

/// Version of the card's format that this code writes and reads.
pub const CARD_VERSION: u32 = 1;

/// Most sets of weights of one model: each costs a pass through the network.
pub const MEMBERS_MAX: usize = 8;

fn one() -> usize {
    1
}

/// As serde asks for it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(members: &usize) -> bool {
    *members == 1
}

/// Dice of the three nested regions of one mask, each in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionDice {
    /// Whole tumour.
    pub wt: f64,
    /// Tumour core.
    pub tc: f64,
    /// Enhancing tumour.
    pub et: f64,
}

impl RegionDice {
    /// Returns the mean of the three.
    pub fn mean(&self) -> f64 {
        (self.wt + self.tc + self.et) / 3.0
    }
}

/// The scores that the original reports, of one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedScores {
    /// Mean over four classes of the smoothed intersection over union at probability > 0.5.
    pub iou: f64,
    /// Share of voxels whose most probable class is right, background included.
    pub accuracy: f64,
}

/// How a model did on one case that it did not train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseScores {
    /// Name of the case.
    pub name: String,
    /// Dice over the whole volume.
    pub dice: RegionDice,
    /// The original's scores; only for models of its architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<SeedScores>,
}

/// How a model did on every validation case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Steps trained before.
    pub step: u64,
    /// Mean over the cases.
    pub mean: RegionDice,
    /// Each case.
    pub cases: Vec<CaseScores>,
}

/// Where a model came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the model, such as `glioma-residual-2mm`.
    pub name: String,
    /// Training data: sources, counts, licences.
    pub data: String,
    /// Revision of the source code.
    pub git_revision: String,
    /// Terms under which the weights may be used.
    pub licence: String,
}

/// What a model says of itself; stored as `card.json` beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Version of this format.
    pub card_version: u32,
    /// Where it came from.
    pub provenance: Provenance,
    /// What may be done with it.
    pub intended_use: String,
    /// Shape of the network.
    pub network: NetworkConfig,
    /// Sets of weights of that shape, each from a run of its own, whose answers are averaged.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub members: usize,
    /// Modality of each input channel.
    pub channels: Vec<Modality>,
    /// Preprocessing that its input needs, with its version: `whole/1` or `seed/1`.
    pub profile: String,
    /// Sides of the training crops, `[x, y, z]`, in voxels of 1 mm.
    pub window: [usize; 3],
    /// Seed of weights and samples.
    pub seed: u64,
    /// Steps trained.
    pub steps: u64,
    /// Minutes trained.
    pub minutes: f64,
    /// Last validation, if any case was held out.
    pub validation: Option<ValidationReport>,
    /// SHA-256 of the weights file.
    pub weights_sha256: BlobDigest,
}

/// The statement on every card.
pub const INTENDED_USE: &str = "Research and development only. Decision support, not a medical \
     device; no output may be used for diagnosis or treatment without a qualified person's own \
     reading of the images.";

impl ModelCard {
    /// Returns the card of a network with weights as drawn, before any training and saving.
    pub fn untrained(network: NetworkConfig, channels: Vec<Modality>, window: [usize; 3]) -> Self {
        Self {
            card_version: CARD_VERSION,
            provenance: Provenance::default(),
            intended_use: INTENDED_USE.to_owned(),
            network,
            members: 1,
            channels,
            profile: "whole/1".to_owned(),
            window,
            seed: 0,
            steps: 0,
            minutes: 0.0,
            validation: None,
            weights_sha256: BlobDigest::from_bytes([0; 32]),
        }
    }

    /// Reads `card.json`.
    ///
    /// # Errors
    /// [`NetworkError::Json`] if it is no card; [`NetworkError::Config`] if its version is unknown
    /// or its network can't work.
    pub fn from_json(json: &[u8]) -> Result<Self, NetworkError> {
        let card: Self = serde_json::from_slice(json)
            .map_err(|source| NetworkError::Json { what: "model card", source })?;
        card.validate()?;
        Ok(card)
    }

    /// Writes `card.json`.
    ///
    /// # Errors
    /// [`NetworkError::Json`] if a number in it is not finite.
    pub fn to_json(&self) -> Result<Vec<u8>, NetworkError> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| NetworkError::Json { what: "model card", source })?;
        json.push(b'\n');
        Ok(json)
    }

    /// Checks that these are the weights of the card.
    ///
    /// # Errors
    /// [`NetworkError::WeightsHash`] if they are not.
    pub fn check_weights(&self, weights: &[u8]) -> Result<(), NetworkError> {
        let got = BlobDigest::from_bytes(Sha256::digest(weights).into());
        if got == self.weights_sha256 {
            return Ok(());
        }
        let expected = self.weights_sha256.to_string();
        Err(NetworkError::WeightsHash { expected, got: got.to_string() })
    }

    /// Checks what can be checked without the weights.
    pub(crate) fn validate(&self) -> Result<(), NetworkError> {
        if self.card_version != CARD_VERSION {
            return Err(NetworkError::Config {
                setting: "card_version",
                problem: format!("is {}, this program reads {CARD_VERSION}", self.card_version),
            });
        }
        self.network.validate()?;
        if !(1..=MEMBERS_MAX).contains(&self.members) {
            return Err(NetworkError::Config {
                setting: "members",
                problem: format!("is {}, must be 1 to {MEMBERS_MAX}", self.members),
            });
        }
        if i64::try_from(self.channels.len()) != Ok(self.network.in_channels) {
            return Err(NetworkError::Config {
                setting: "channels",
                problem: format!("must name {} modalities", self.network.in_channels),
            });
        }
        Ok(())
    }
}
