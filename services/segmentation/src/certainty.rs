//! How far a marking may be trusted: by lesion, and whether it is an answer at all.
//!
//! The localiser says what a lesion is, the network how sure it was of its voxels.

use ndarray::Array3;
use neurotriage_anatomy::{Localisation, LocaliseOptions, Space, lesion_numbers};
use neurotriage_imaging::{prepare::Prepared, resample::nearest};
use neurotriage_network::{
    LesionCertainty, Outcome as Decision, OutcomeEvidence, Segmentation, StudyCondition,
    StudySpace, decide_outcome, lesion_certainties,
};
use serde::{Deserialize, Serialize};

use crate::segmentation::SegmentationError;

/// Whether a tumour was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A tumour, as marked.
    Tumour,
    /// Nothing is marked, and no place looks like tumour.
    NoTumourFound,
    /// The marking may be wrong: a person must look.
    NotSure,
}

/// How far a marking may be trusted. Stored as JSON: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certainty {
    /// Whether a tumour was found.
    pub outcome: Outcome,
    /// Why that is not sure; empty otherwise.
    pub reasons: Vec<String>,
    /// Certainty of each lesion of the localisation, in its order.
    pub lesions: Vec<Option<LesionCertainty>>,
}

impl Certainty {
    /// Returns the certainty of lesion `index` of the localisation.
    pub fn lesion(&self, index: usize) -> Option<&LesionCertainty> {
        self.lesions.get(index).and_then(Option::as_ref)
    }
}

/// Returns how far the marking of a study may be trusted.
///
/// # Errors
/// [`SegmentationError::Image`] or [`SegmentationError::Anatomy`] if the mask is not on the crop of
/// `prepared`; [`SegmentationError::Engine`] if the arrays do not belong together.
pub fn judge(
    prepared: &Prepared,
    segmentation: &Segmentation,
    localisation: &Localisation,
    options: &LocaliseOptions,
) -> Result<Certainty, SegmentationError> {
    let numbers = numbers_of_crop(prepared, segmentation, options)?;
    let mut lesions = lesion_certainties(numbers.view(), segmentation)?;
    lesions.resize(localisation.lesions.len(), None);
    let space = match localisation.space {
        Space::Sri24 | Space::Mni152 => StudySpace::Template,
        Space::Unknown => StudySpace::Foreign,
    };
    let evidence = OutcomeEvidence::of(segmentation, prepared.grid().affine.spacing());
    let decision = decide_outcome(&evidence, &StudyCondition::of(prepared, space));
    let (outcome, reasons) = match decision {
        Decision::Tumour => (Outcome::Tumour, Vec::new()),
        Decision::NoTumourFound => (Outcome::NoTumourFound, Vec::new()),
        Decision::NotSure { reasons } => {
            (Outcome::NotSure, reasons.iter().map(ToString::to_string).collect())
        }
    };
    Ok(Certainty { outcome, reasons, lesions })
}

/// Returns the number of the localiser's lesion that each voxel of the crop belongs to; 0 for none.
fn numbers_of_crop(
    prepared: &Prepared,
    segmentation: &Segmentation,
    options: &LocaliseOptions,
) -> Result<Array3<u32>, SegmentationError> {
    let mask = prepared.canonical_mask(&segmentation.labels)?;
    let mut numbers = lesion_numbers(&mask, options)?;
    let (canonical, grid) = (prepared.canonical(), prepared.grid());
    if canonical != grid {
        numbers = nearest(&numbers, &canonical, &grid)?.voxels;
    }
    let crop = prepared.crop().view(&numbers).map(|crop| crop.mapv(u32::from));
    Ok(crop.unwrap_or_else(|| Array3::zeros(segmentation.labels.dim())))
}
