//! The four MRI sequences of a study.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One MRI sequence. [`Modality::ALL`] is the channel order used everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// T2-weighted, fluid-attenuated inversion recovery.
    Flair,
    /// T1-weighted, native.
    T1,
    /// T1-weighted after contrast agent.
    T1ce,
    /// T2-weighted.
    T2,
}

/// Text that names no MRI sequence of a study.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown modality; expected flair, t1, t1ce or t2")]
pub struct UnknownModality;

impl Modality {
    /// Every modality, in channel order.
    pub const ALL: [Self; 4] = [Self::Flair, Self::T1, Self::T1ce, Self::T2];

    /// Returns the name used in file names: `flair`, `t1`, `t1ce` or `t2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flair => "flair",
            Self::T1 => "t1",
            Self::T1ce => "t1ce",
            Self::T2 => "t2",
        }
    }

    /// Returns the channel that holds this modality, `0..4`.
    pub fn channel(self) -> usize {
        match self {
            Self::Flair => 0,
            Self::T1 => 1,
            Self::T1ce => 2,
            Self::T2 => 3,
        }
    }
}

impl FromStr for Modality {
    type Err = UnknownModality;

    fn from_str(text: &str) -> Result<Self, UnknownModality> {
        Self::ALL.into_iter().find(|modality| modality.as_str() == text).ok_or(UnknownModality)
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_channels_agree_with_the_order() {
        for (channel, modality) in Modality::ALL.into_iter().enumerate() {
            assert_eq!(modality.channel(), channel);
            assert_eq!(modality.as_str().parse(), Ok(modality));
        }
        assert_eq!("FLAIR".parse::<Modality>(), Err(UnknownModality));
    }
}
