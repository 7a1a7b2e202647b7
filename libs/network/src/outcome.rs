//! Whether there is a tumour, none, or an answer that should not be given.
//!
//! [`decide`] is pure: numbers in, answer out. The thresholds were set on six real studies, on real
//! brains with the tumour taken out, on phantoms without tumour, and on studies spoilt on purpose
//! (sequences in the wrong order, noise, shifted and cut volumes); the program
//! `examples/outcome_figures.rs` prints the numbers they rest on. They are set for the default model
//! and hold for no other without a look at its numbers.

mod condition;

use std::fmt;

use ndarray::{Array3, Axis};
use neurotriage_domain::{Modality, VoxelSpacing};
use neurotriage_imaging::smooth::gaussian;
use serde::{Deserialize, Serialize};

pub use self::condition::{
    ALIKE_CORRELATION_MIN, BRAIN_CENTRE_MM, BRAIN_CENTRE_TOLERANCE_MM, BRAIN_ML, EDGE_MM_MAX,
    SKEWNESS_GAP_MIN, StudyCondition, StudySpace,
};
use crate::{Segmentation, uncertainty::mask_certainty};

/// Least volume marked, in millilitres, that counts as a finding: the smallest lesion that is
/// listed.
pub const MARKED_ML_MIN: f64 = 0.1;

/// Volume marked, in millilitres, below which the answer is not sure: a sphere of 10 mm. Gliomas of
/// BraTS are larger by far (the 366 of 2020 begin at 3 ml), so the model has learnt from none like it.
pub const SURE_ML_MIN: f64 = 0.5;

/// Highest smoothed probability of tumour that an image without tumour may show. Healthy brains in
/// which nothing is marked have 0.00 to 0.39, three of twelve 0.47 to 0.50, studies with tumour 0.98
/// and more.
pub const QUIET_PEAK_MAX: f64 = 0.4;

/// Standard deviation of that smoothing, in millimetres: a tumour of 5 mm keeps half its height.
pub const SMOOTHING_MM: f64 = 2.0;

/// Least confidence in the whole mask; see [`crate::confidence`]. Real studies have 0.86 to 0.94,
/// phantoms 0.82 to 0.92, healthy brains in which something is marked 0.03 to 0.47.
pub const CONFIDENCE_MIN: f64 = 0.75;

/// Largest mean spread over mirror images and members inside the mask. Real studies have 0.012 to
/// 0.023 and the faintest of them 0.035 (0.034 from a model that never saw it, which marks half of
/// it), phantoms 0.013 to 0.067, healthy brains in which something is marked 0.34 to 0.50, studies
/// with FLAIR and T1 exchanged 0.075 and 0.178.
pub const MIRROR_SPREAD_MAX: f64 = 0.045;

/// Probabilities of tumour that are neither yes nor no.
pub const UNDECIDED: [f32; 2] = [0.3, 0.7];

/// Largest share of the undecided volume in all that was marked or is undecided. Real studies have
/// 0.11 to 0.19, phantoms to 0.23 but for one, healthy brains in which something is marked 0.65 to
/// 0.98.
pub const UNDECIDED_SHARE_MAX: f64 = 0.28;

/// Least volume, in millilitres, that is undecided, for the share to count.
pub const UNDECIDED_ML_MIN: f64 = 1.0;

/// Largest share of the brain that a tumour takes: the largest of BraTS take a quarter.
pub const MARKED_SHARE_MAX: f64 = 0.4;

/// What is said of a study's tumour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Outcome {
    /// There is one, as marked.
    Tumour,
    /// The mask may be wrong; a person must look.
    NotSure {
        /// Why, at least one.
        reasons: Vec<Doubt>,
    },
    /// Nothing was marked, and no place looks like tumour.
    NoTumourFound,
}

/// Why an answer is not sure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// A sequence is missing or empty.
    SequenceMissing(Modality),
    /// The images are not in the space the model was trained in.
    ForeignSpace,
    /// The slices are thicker than those the model was trained on.
    CoarseVoxels {
        /// Coarsest edge.
        edge_mm: f64,
    },
    /// What is not air has not the size of a brain.
    BrainVolume {
        /// Its volume.
        brain_ml: f64,
    },
    /// More of the brain is marked than a tumour takes.
    TooMuchMarked {
        /// Share of the brain.
        share: f64,
    },
    /// Two sequences are the same image.
    SequencesAlike(Modality, Modality),
    /// T1 and T2 do not look like T1 and T2.
    SequencesMixedUp,
    /// The brain does not lie where the template's brain lies.
    BrainOffCentre {
        /// Distance of the centres.
        distance_mm: f64,
    },
    /// What is marked is tiny.
    TinyMarking {
        /// Its volume.
        marked_ml: f64,
    },
    /// Nothing is marked, yet some place looks like tumour.
    UnmarkedPeak {
        /// Highest smoothed probability.
        peak: f64,
    },
    /// The network doubts what it marked.
    LowConfidence {
        /// Confidence in the mask.
        confidence: f64,
    },
    /// The answers on mirror images differ.
    MirrorsDisagree {
        /// Mean standard deviation inside the mask.
        spread: f64,
    },
    /// A large part is neither tumour nor not.
    Undecided {
        /// Volume with a probability in [`UNDECIDED`].
        undecided_ml: f64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SequenceMissing(modality) => {
                write!(f, "the {modality} sequence is missing or empty")
            }
            Self::ForeignSpace => f.write_str(
                "the images are not in the space of the template that the model was trained in",
            ),
            Self::CoarseVoxels { edge_mm } => write!(
                f,
                "voxels are up to {edge_mm:.1} mm long, beyond the {EDGE_MM_MAX} mm that the model \
                 can work from"
            ),
            Self::BrainVolume { brain_ml } => write!(
                f,
                "{brain_ml:.0} ml of the image are not air, which is not the size of a brain \
                 without skull"
            ),
            Self::TooMuchMarked { share } => {
                write!(
                    f,
                    "{:.0} % of the brain are marked, more than a tumour takes",
                    100.0 * share
                )
            }
            Self::SequencesAlike(first, second) => {
                write!(f, "the {first} and the {second} sequence are the same image")
            }
            Self::SequencesMixedUp => f.write_str(
                "fluid is not dark in T1 and bright in T2, as if the sequences were mixed up",
            ),
            Self::BrainOffCentre { distance_mm } => write!(
                f,
                "the brain lies {distance_mm:.0} mm from where the template has it: shifted, cut off \
                 or not registered"
            ),
            Self::TinyMarking { marked_ml } => write!(
                f,
                "only {marked_ml:.2} ml are marked, smaller than any tumour that the model has \
                 learnt from"
            ),
            Self::UnmarkedPeak { peak } => write!(
                f,
                "nothing is marked, but one place looks like tumour with a probability of {peak:.2}"
            ),
            Self::LowConfidence { confidence } => {
                write!(f, "confidence in the marking is low ({confidence:.2} of 1)")
            }
            Self::MirrorsDisagree { spread } => write!(
                f,
                "the marking changes when the images are mirrored (standard deviation {spread:.2})"
            ),
            Self::Undecided { undecided_ml } => {
                write!(f, "{undecided_ml:.1} ml are neither clearly tumour nor clearly not")
            }
        }
    }
}

/// What the answer rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeEvidence {
    /// Volume of the mask.
    pub marked_ml: f64,
    /// Highest probability of tumour after smoothing, `[0, 1]`.
    pub peak_smoothed: f64,
    /// Volume with a probability of tumour in [`UNDECIDED`].
    pub undecided_ml: f64,
    /// Confidence in the whole mask, `[0, 1]`; see [`crate::confidence`]. 0 for an empty mask.
    pub confidence: f64,
    /// Mean spread over mirror images inside the mask, `[0, 0.5]`.
    pub mirror_spread: f64,
}

impl OutcomeEvidence {
    /// Gathers the numbers of a segmentation whose voxels have this spacing along `[x, y, z]`.
    pub fn of(segmentation: &Segmentation, spacing: VoxelSpacing) -> Self {
        let voxel_ml = spacing.voxel_volume_mm3() / 1_000.0;
        let whole = segmentation.probabilities.index_axis(Axis(0), 0);
        let [low, high] = UNDECIDED;
        let undecided = whole.iter().filter(|&&p| (low..=high).contains(&p)).count();
        let mask = mask_certainty(segmentation);
        Self {
            marked_ml: mask.map_or(0.0, |mask| mask.voxels as f64 * voxel_ml),
            peak_smoothed: peak(&whole.to_owned(), spacing),
            undecided_ml: undecided as f64 * voxel_ml,
            confidence: mask.map_or(0.0, |mask| mask.confidence),
            mirror_spread: mask.map_or(0.0, |mask| mask.mirror_spread_mean),
        }
    }

    /// Returns the share of the undecided volume in all that was marked or is undecided, an upper
    /// bound of the share of the tumour that is in doubt, `[0, 1]`.
    pub fn undecided_share(&self) -> f64 {
        let all = self.marked_ml + self.undecided_ml;
        if all > 0.0 { self.undecided_ml / all } else { 0.0 }
    }
}

/// Returns the highest probability after smoothing by [`SMOOTHING_MM`].
fn peak(probability: &Array3<f32>, spacing: VoxelSpacing) -> f64 {
    let sigma_voxels = spacing.as_mm().map(|edge_mm| SMOOTHING_MM / edge_mm);
    let smoothed = gaussian(probability, sigma_voxels);
    f64::from(smoothed.iter().copied().fold(0.0, f32::max))
}

/// Returns what is said of the study's tumour.
///
/// With a degraded study the answer is never more than "not sure". Then: less than
/// [`MARKED_ML_MIN`] marked and a highest smoothed probability of at most [`QUIET_PEAK_MAX`] is "no
/// tumour"; a marking that is tiny, or that the network doubts in one of the ways of [`Doubt`], is
/// "not sure"; anything else is "tumour".
pub fn decide(evidence: &OutcomeEvidence, condition: &StudyCondition) -> Outcome {
    let mut reasons = condition.doubts(evidence.marked_ml);
    if evidence.marked_ml < MARKED_ML_MIN {
        if evidence.peak_smoothed > QUIET_PEAK_MAX {
            reasons.push(Doubt::UnmarkedPeak { peak: evidence.peak_smoothed });
        }
        return if reasons.is_empty() {
            Outcome::NoTumourFound
        } else {
            Outcome::NotSure { reasons }
        };
    }
    if evidence.marked_ml < SURE_ML_MIN {
        reasons.push(Doubt::TinyMarking { marked_ml: evidence.marked_ml });
    }
    if evidence.confidence < CONFIDENCE_MIN {
        reasons.push(Doubt::LowConfidence { confidence: evidence.confidence });
    }
    if evidence.mirror_spread > MIRROR_SPREAD_MAX {
        reasons.push(Doubt::MirrorsDisagree { spread: evidence.mirror_spread });
    }
    if evidence.undecided_ml >= UNDECIDED_ML_MIN && evidence.undecided_share() > UNDECIDED_SHARE_MAX
    {
        reasons.push(Doubt::Undecided { undecided_ml: evidence.undecided_ml });
    }
    if reasons.is_empty() { Outcome::Tumour } else { Outcome::NotSure { reasons } }
}

#[cfg(test)]
mod tests;
