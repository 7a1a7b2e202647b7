//! What a network looks like.

use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// Most levels of a network.
const LEVELS_MAX: usize = 7;

/// Most channels of one level.
const WIDTH_MAX: i64 = 1024;

/// Family of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// The original 3D U-Net: no normalisation, softmax over background and three classes.
    Seed,
    /// Residual encoder and decoder with instance normalisation and one sigmoid per region.
    Residual,
}

/// What a network looks like; stored in every model card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Family.
    pub architecture: Architecture,
    /// Input channels: one per modality.
    pub in_channels: i64,
    /// Output channels: 4 classes for [`Architecture::Seed`], 3 regions for
    /// [`Architecture::Residual`].
    pub out_channels: i64,
    /// Channels of each level, finest first.
    pub widths: Vec<i64>,
    /// 1: the finest level has the grid of the input. 2: the finest level has half its resolution;
    /// blocks of 2x2x2 voxels become channels on entry and voxels again at the end, so that the
    /// output has the grid of the input all the same.
    pub stem_stride: i64,
    /// Channels at the resolution of the input that correct the output where `stem_stride` is 2:
    /// two convolutions over the image and the unfolded features. 0: none.
    #[serde(default)]
    pub detail_width: i64,
    /// Whether coarser levels of the decoder are trained on coarser targets too.
    pub deep_supervision: bool,
    /// Dropout probability: for `seed` one per level down and up again (`2 * levels - 1`); for
    /// `residual` one per level. Empty: none.
    pub dropout: Vec<f64>,
}

impl NetworkConfig {
    /// Returns the original network for `in_channels` modalities: 16 to 256 channels, four classes.
    pub fn seed(in_channels: i64) -> Self {
        Self {
            architecture: Architecture::Seed,
            in_channels,
            out_channels: 4,
            widths: vec![16, 32, 64, 128, 256],
            stem_stride: 1,
            detail_width: 0,
            deep_supervision: false,
            dropout: vec![0.1, 0.1, 0.2, 0.2, 0.3, 0.2, 0.2, 0.1, 0.1],
        }
    }

    /// Returns the residual network of the default model: four modalities, three regions, computed
    /// at half the resolution of its input.
    pub fn residual(widths: &[i64]) -> Self {
        Self {
            architecture: Architecture::Residual,
            in_channels: 4,
            out_channels: 3,
            widths: widths.to_vec(),
            stem_stride: 2,
            detail_width: 0,
            deep_supervision: true,
            dropout: Vec::new(),
        }
    }

    /// Returns true if the eight voxels of a block are answered through eight channels.
    pub(crate) fn answers_by_blocks(&self) -> bool {
        self.stem_stride == 2
    }

    /// Returns the number that each side of an input must be a multiple of, in voxels.
    pub fn stride(&self) -> usize {
        let stem = if self.stem_stride == 2 { 2 } else { 1 };
        stem << self.widths.len().saturating_sub(1)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`NetworkError::Config`] names the first field that can't work.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let refuse = |setting, problem: &str| {
            Err(NetworkError::Config { setting, problem: problem.to_owned() })
        };
        let levels = self.widths.len();
        if !(1..=16).contains(&self.in_channels) {
            return refuse("in_channels", "must be 1 to 16");
        }
        if !(2..=LEVELS_MAX).contains(&levels) {
            return refuse("widths", "must name 2 to 7 levels");
        }
        if self.widths.iter().any(|width| !(1..=WIDTH_MAX).contains(width)) {
            return refuse("widths", "each must be 1 to 1024 channels");
        }
        if self.dropout.iter().any(|p| !(0.0..1.0).contains(p)) {
            return refuse("dropout", "each must be at least 0 and below 1");
        }
        let (out_channels, dropouts) = match self.architecture {
            Architecture::Seed => (4, 2 * levels - 1),
            Architecture::Residual => (3, levels),
        };
        if self.out_channels != out_channels {
            return refuse("out_channels", "must be 4 for seed and 3 for residual");
        }
        if !self.dropout.is_empty() && self.dropout.len() != dropouts {
            return refuse("dropout", "must be empty, or one per level (seed: down and up again)");
        }
        match (self.architecture, self.stem_stride) {
            (Architecture::Seed, 1) | (Architecture::Residual, 1 | 2) => {}
            (Architecture::Seed | Architecture::Residual, _) => {
                return refuse("stem_stride", "must be 1, or for residual 1 or 2");
            }
        }
        if self.detail_width != 0
            && (self.stem_stride != 2 || !(1..=WIDTH_MAX).contains(&self.detail_width))
        {
            return refuse("detail_width", "must be 0, or with stem_stride 2 1 to 1024");
        }
        if self.architecture == Architecture::Seed && self.deep_supervision {
            return refuse("deep_supervision", "must be false for seed");
        }
        Ok(())
    }

    /// Returns whether anything is left out at random in training.
    pub(crate) fn drops_out(&self) -> bool {
        self.dropout.iter().any(|&probability| probability > 0.0)
    }

    /// Returns the dropout probability at place `index`, 0 where none is given.
    pub(crate) fn dropout_at(&self, index: usize) -> f64 {
        self.dropout.get(index).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_that_cannot_work_are_refused() {
        let good = NetworkConfig::residual(&[8, 16]);
        assert!(good.validate().is_ok());
        assert!(NetworkConfig::seed(3).validate().is_ok());
        let table: [(&str, NetworkConfig); 8] = [
            ("in_channels", NetworkConfig { in_channels: 0, ..good.clone() }),
            ("widths", NetworkConfig { widths: vec![8], ..good.clone() }),
            ("out_channels", NetworkConfig { out_channels: 4, ..good.clone() }),
            ("dropout", NetworkConfig { dropout: vec![0.5], ..good.clone() }),
            ("stem_stride", NetworkConfig { stem_stride: 3, ..good.clone() }),
            ("detail_width", NetworkConfig { detail_width: -1, ..good.clone() }),
            ("detail_width", NetworkConfig { detail_width: 8, stem_stride: 1, ..good.clone() }),
            ("stem_stride", NetworkConfig { stem_stride: 2, ..NetworkConfig::seed(3) }),
        ];
        for (expected, config) in table {
            let error = config.validate().unwrap_err();
            assert!(matches!(error, NetworkError::Config { setting, .. } if setting == expected));
        }
    }

    #[test]
    fn the_stride_counts_the_stem() {
        assert_eq!(NetworkConfig::seed(3).stride(), 16);
        assert_eq!(NetworkConfig::residual(&[8, 16, 32, 64]).stride(), 16);
    }
}
