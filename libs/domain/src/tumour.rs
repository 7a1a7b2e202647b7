//! What a voxel of a tumour mask may be, and the nested regions that are scored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tissue class of one voxel in a tumour mask, with the label values of BraTS 2020 and 2021.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TumourClass {
    /// Necrotic and non-enhancing core, label 1.
    NecroticCore,
    /// Peritumoural oedema and infiltrated tissue, label 2.
    Oedema,
    /// Enhancing tumour, label 4 (3 in BraTS 2023).
    Enhancing,
}

/// A label value that no BraTS mask uses.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("label {value} is not a tumour class; expected 0, 1, 2, 3 or 4")]
pub struct UnknownLabel {
    /// The value found.
    pub value: f32,
}

impl TumourClass {
    /// Every class, in label order.
    pub const ALL: [Self; 3] = [Self::NecroticCore, Self::Oedema, Self::Enhancing];

    /// Returns the value written into masks: 1, 2 or 4.
    pub fn label(self) -> u8 {
        match self {
            Self::NecroticCore => 1,
            Self::Oedema => 2,
            Self::Enhancing => 4,
        }
    }

    /// Returns the class of a label value; `None` is background.
    ///
    /// 3 and 4 both mean enhancing, so that masks of BraTS 2020, 2021 and 2023 all read.
    ///
    /// # Errors
    /// [`UnknownLabel`] for any value but 0, 1, 2, 3 and 4.
    pub fn from_label(value: f32) -> Result<Option<Self>, UnknownLabel> {
        match value {
            0.0 => Ok(None),
            1.0 => Ok(Some(Self::NecroticCore)),
            2.0 => Ok(Some(Self::Oedema)),
            3.0 | 4.0 => Ok(Some(Self::Enhancing)),
            _ => Err(UnknownLabel { value }),
        }
    }
}

/// Nested regions that BraTS scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TumourRegion {
    /// Whole tumour: labels 1, 2 and 4.
    #[serde(rename = "wt")]
    Whole,
    /// Tumour core: labels 1 and 4.
    #[serde(rename = "tc")]
    Core,
    /// Enhancing tumour: label 4.
    #[serde(rename = "et")]
    Enhancing,
}

impl TumourRegion {
    /// Every region, outermost first: the channel order of the network's sigmoid heads.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Core, Self::Enhancing];

    /// Returns true if a voxel with this mask label (0, 1, 2, 3 or 4) lies in the region.
    pub fn contains(self, label: u8) -> bool {
        match self {
            Self::Whole => label != 0,
            Self::Core => matches!(label, 1 | 3 | 4),
            Self::Enhancing => matches!(label, 3 | 4),
        }
    }

    /// Returns the short name: `wt`, `tc` or `et`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "wt",
            Self::Core => "tc",
            Self::Enhancing => "et",
        }
    }
}

impl fmt::Display for TumourRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_every_challenge_year_read() {
        let table = [(0.0, None), (1.0, Some(1)), (2.0, Some(2)), (3.0, Some(4)), (4.0, Some(4))];
        for (value, label) in table {
            assert_eq!(TumourClass::from_label(value).unwrap().map(TumourClass::label), label);
        }
        for value in [5.0, 1.5, -1.0, f32::NAN] {
            assert!(TumourClass::from_label(value).is_err(), "value {value}");
        }
    }

    #[test]
    fn regions_are_nested() {
        for label in [0, 1, 2, 4] {
            let [whole, core, enhancing] = TumourRegion::ALL.map(|region| region.contains(label));
            assert!(whole >= core && core >= enhancing);
        }
    }
}
