//! Whether there is a tumour, none, or an answer that should not be given.
//!
//! [`decide`] is pure: numbers in, answer out. The thresholds were set on six real studies, on real
//! brains with the tumour taken out, on phantoms without tumour, and on studies spoilt on purpose
//! (sequences in the wrong order, noise, shifted and cut volumes); the program
//! `examples/outcome_figures.rs` prints the numbers they rest on. They are set for the default model
//! and hold for no other without a look at its numbers.

use std::fmt;

use ndarray::{Array3, Axis};
use neurotriage_domain::{Modality, VoxelSpacing};
use neurotriage_imaging::{prepare::Prepared, smooth::gaussian};
use serde::{Deserialize, Serialize};

use crate::{Segmentation, uncertainty::mask_certainty};

/// Least volume marked, in millilitres, that counts as a finding: the smallest lesion that is
/// listed.
pub const MARKED_ML_MIN: f64 = 0.1;

/// Volume marked, in millilitres, below which the answer is not sure: a sphere of 10 mm. Gliomas of
/// BraTS are larger by far (the 366 of 2020 begin at 3 ml), so the model has learnt from none like it.
pub const SURE_ML_MIN: f64 = 0.5;

/// Highest smoothed probability of tumour that an image without tumour may show.
pub const QUIET_PEAK_MAX: f64 = 0.4;

/// Standard deviation of that smoothing, in millimetres: a tumour of 5 mm keeps half its height.
pub const SMOOTHING_MM: f64 = 2.0;

/// Least confidence in the whole mask; see [`crate::confidence`].
pub const CONFIDENCE_MIN: f64 = 0.75;

/// Largest mean spread over mirror images inside the mask.
pub const MIRROR_SPREAD_MAX: f64 = 0.12;

/// Probabilities of tumour that are neither yes nor no.
pub const UNDECIDED: [f32; 2] = [0.3, 0.7];

/// Largest share of the undecided volume in all that was marked or is undecided.
pub const UNDECIDED_SHARE_MAX: f64 = 0.35;

/// Least volume, in millilitres, that is undecided, for the share to count.
pub const UNDECIDED_ML_MIN: f64 = 1.0;

/// Largest share of the brain that a tumour takes: the largest of BraTS take a quarter.
pub const MARKED_SHARE_MAX: f64 = 0.4;

/// Least and largest volume of a whole brain, in millilitres: adults have 1,000 to 1,700, and a
/// mask of the brain adds or leaves out fluid.
pub const BRAIN_ML: [f64; 2] = [700.0, 2_200.0];

/// Coarsest voxel edge, in millimetres, that a study may have: thicker slices are smoothed beyond
/// what the model has learnt from.
pub const EDGE_MM_MAX: f64 = 2.5;

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

/// What is known of a study beside the network's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyCondition {
    /// Sequences that are missing or hold nothing.
    pub missing: Vec<Modality>,
    /// Whether the images lie in the space of the training data.
    pub space: StudySpace,
    /// Coarsest voxel edge of the files.
    pub edge_mm_max: f64,
    /// Volume of what is not air.
    pub brain_ml: f64,
}

/// Whether images lie in the space of the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudySpace {
    /// They do.
    Template,
    /// They do not, or it is not known.
    Foreign,
}

impl StudyCondition {
    /// Returns the condition of a prepared study; its space is for the localiser to say.
    pub fn of(prepared: &Prepared, space: StudySpace) -> Self {
        let channels = prepared.channels();
        let missing = Modality::ALL
            .into_iter()
            .zip(channels.outer_iter())
            .filter(|(_, channel)| channel.iter().all(|&value| value == 0.0))
            .map(|(modality, _)| modality)
            .collect();
        let occupied =
            channels.lanes(Axis(0)).into_iter().filter(|lane| lane.iter().any(|&v| v != 0.0));
        let voxel_mm3 = prepared.grid().affine.spacing().voxel_volume_mm3();
        let edges_mm = prepared.source().affine.spacing().as_mm();
        Self {
            missing,
            space,
            edge_mm_max: edges_mm.into_iter().fold(0.0, f64::max),
            brain_ml: occupied.count() as f64 * voxel_mm3 / 1_000.0,
        }
    }

    fn doubts(&self, marked_ml: f64) -> Vec<Doubt> {
        let mut doubts: Vec<Doubt> =
            self.missing.iter().copied().map(Doubt::SequenceMissing).collect();
        if self.space == StudySpace::Foreign {
            doubts.push(Doubt::ForeignSpace);
        }
        if self.edge_mm_max > EDGE_MM_MAX {
            doubts.push(Doubt::CoarseVoxels { edge_mm: self.edge_mm_max });
        }
        let [brain_ml_min, brain_ml_max] = BRAIN_ML;
        if !(brain_ml_min..=brain_ml_max).contains(&self.brain_ml) {
            doubts.push(Doubt::BrainVolume { brain_ml: self.brain_ml });
        }
        let share = if self.brain_ml > 0.0 { marked_ml / self.brain_ml } else { 0.0 };
        if share > MARKED_SHARE_MAX {
            doubts.push(Doubt::TooMuchMarked { share });
        }
        doubts
    }
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
