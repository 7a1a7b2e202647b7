//! Brain structures and sides: the vocabulary in which images and symptoms meet.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Side of the patient's body or brain (never of the picture).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
    /// An unpaired structure, such as the brain stem.
    Midline,
}

impl Side {
    /// Returns the name: `left`, `right` or `midline`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Midline => "midline",
        }
    }

    /// Returns the other side; the midline is its own.
    pub fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            Self::Midline => Self::Midline,
        }
    }

    /// Returns whether what is said of one does not touch the other: of left and right alone. What has no side is said
    /// of every side, and the midline is both sides alike.
    pub fn are_apart(one: Option<Self>, other: Option<Self>) -> bool {
        matches!(
            (one, other),
            (Some(Self::Left), Some(Self::Right)) | (Some(Self::Right), Some(Self::Left))
        )
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! structures {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $display:literal;)*) => {
        /// A brain structure that the localiser names or that symptoms point to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Structure {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Structure {
            /// Every structure.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the stable name in `snake_case`, such as `brain_stem`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the plain English name, such as `frontal lobe`.
            pub fn display_name(self) -> &'static str {
                match self { $(Self::$variant => $display,)* }
            }
        }
    };
}

structures! {
    /// Frontal lobe.
    Frontal = "frontal", "frontal lobe";
    /// Temporal lobe.
    Temporal = "temporal", "temporal lobe";
    /// Parietal lobe.
    Parietal = "parietal", "parietal lobe";
    /// Occipital lobe.
    Occipital = "occipital", "occipital lobe";
    /// Insula.
    Insula = "insula", "insula";
    /// Cerebellum.
    Cerebellum = "cerebellum", "cerebellum";
    /// Brain stem; unpaired.
    BrainStem = "brain_stem", "brain stem";
    /// Thalamus.
    Thalamus = "thalamus", "thalamus";
    /// Caudate nucleus.
    Caudate = "caudate", "caudate nucleus";
    /// Putamen.
    Putamen = "putamen", "putamen";
    /// Globus pallidus.
    GlobusPallidus = "globus_pallidus", "globus pallidus";
    /// Subthalamic nucleus.
    SubthalamicNucleus = "subthalamic_nucleus", "subthalamic nucleus";
    /// Fornix.
    Fornix = "fornix", "fornix";
    /// Corpus callosum; unpaired.
    CorpusCallosum = "corpus_callosum", "corpus callosum";
    /// Internal capsule.
    InternalCapsule = "internal_capsule", "internal capsule";
    /// Hypothalamus and pituitary area; unpaired.
    Hypothalamus = "hypothalamus", "hypothalamus and pituitary area";
    /// Cerebellopontine angle.
    CerebellopontineAngle = "cerebellopontine_angle", "cerebellopontine angle";
    /// Lateral ventricle.
    LateralVentricle = "lateral_ventricle", "lateral ventricle";
    /// Third ventricle; unpaired.
    ThirdVentricle = "3rd_ventricle", "third ventricle";
    /// Fourth ventricle; unpaired.
    FourthVentricle = "4th_ventricle", "fourth ventricle";
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Structure {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        Self::ALL
            .iter()
            .copied()
            .find(|structure| structure.as_str() == text)
            .ok_or_else(|| UnknownRegion { text: text.to_owned() })
    }
}

/// Text that names no region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a brain region")]
pub struct UnknownRegion {
    text: String,
}

/// A structure on a side: `frontal_left`, `brain_stem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegionName {
    /// Which structure.
    pub structure: Structure,
    /// On which side; [`Side::Midline`] for unpaired structures.
    pub side: Side,
}

impl RegionName {
    /// Returns the plain English name with the side first: `left frontal lobe`, `brain stem`.
    pub fn display_name(self) -> String {
        match self.side {
            Side::Midline => self.structure.display_name().to_owned(),
            Side::Left | Side::Right => format!("{} {}", self.side, self.structure.display_name()),
        }
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Midline => write!(f, "{}", self.structure),
            Side::Left | Side::Right => write!(f, "{}_{}", self.structure, self.side),
        }
    }
}

impl FromStr for RegionName {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        let (structure, side) = if let Some(structure) = text.strip_suffix("_left") {
            (structure, Side::Left)
        } else if let Some(structure) = text.strip_suffix("_right") {
            (structure, Side::Right)
        } else {
            (text, Side::Midline)
        };
        Ok(Self { structure: structure.parse()?, side })
    }
}

impl TryFrom<String> for RegionName {
    type Error = UnknownRegion;

    fn try_from(text: String) -> Result<Self, UnknownRegion> {
        text.parse()
    }
}

impl From<RegionName> for String {
    fn from(region: RegionName) -> Self {
        region.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text() {
        for &structure in Structure::ALL {
            for side in [Side::Left, Side::Right, Side::Midline] {
                let region = RegionName { structure, side };
                assert_eq!(region.to_string().parse(), Ok(region));
            }
        }
        assert!("elbow_left".parse::<RegionName>().is_err());
    }

    #[test]
    fn only_left_and_right_are_apart() {
        let sides = [None, Some(Side::Left), Some(Side::Right), Some(Side::Midline)];
        for one in sides {
            for other in sides {
                let apart = one.is_some() && other == one.map(Side::opposite) && one != other;
                assert_eq!(Side::are_apart(one, other), apart, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn display_puts_the_side_first() {
        let region: RegionName = "frontal_left".parse().unwrap();
        assert_eq!(region.display_name(), "left frontal lobe");
        let stem: RegionName = "brain_stem".parse().unwrap();
        assert_eq!(stem.display_name(), "brain stem");
    }
}
