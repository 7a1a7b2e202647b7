//! What was measured of the tumour in one study, as the segmentation service says it.
//!
//! Values only; knows neither where they come from nor what is made of them.

use neurotriage_domain::{BlobDigest, SegmentationId, StudyId};
use serde::{Deserialize, Serialize};

/// Smallest diameter of a lesion that criteria of response measure, in millimetres.
///
/// # Source
/// Wen et al., "Updated response assessment criteria for high-grade gliomas", J Clin Oncol
/// 2010;28:1963, doi:10.1200/JCO.2009.26.3541: both diameters at least 10 mm. That the lesion is seen in
/// two slices is not asked for here: a mask's slices are thinner than those the criteria were written for.
pub const MEASURABLE_MM_MIN: f64 = 10.0;

/// Two diameters at right angles in one axial slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxialDiameters {
    /// The longest diameter of the slice, in millimetres.
    pub longest_mm: f64,
    /// The longest one at right angles to it, in millimetres.
    pub perpendicular_mm: f64,
    /// Product of the two, in square millimetres.
    pub product_mm2: f64,
}

impl AxialDiameters {
    /// Returns true if criteria of response measure a lesion of this size.
    pub fn is_measurable(&self) -> bool {
        self.longest_mm >= MEASURABLE_MM_MIN && self.perpendicular_mm >= MEASURABLE_MM_MIN
    }
}

/// Sizes of one lesion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LesionMeasurements {
    /// Whole lesion in millilitres.
    pub whole_ml: f64,
    /// Its core (necrotic and enhancing) in millilitres.
    pub core_ml: f64,
    /// Its enhancing part in millilitres.
    pub enhancing_ml: f64,
    /// Region that names the site; empty if the space is unknown.
    pub main_region: String,
    /// Centre of mass in the template's RAS+ millimetres; `None` if the space is unknown.
    pub centroid_template_mm: Option<[f64; 3]>,
    /// Largest pair of diameters of the whole lesion; `None` if the service did not tell.
    pub axial: Option<AxialDiameters>,
    /// The same of its enhancing part; `None` also if nothing enhances.
    pub enhancing_axial: Option<AxialDiameters>,
}

/// Whether a tumour was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not said: stored before this was judged.
    Unsaid,
    /// A tumour, as marked.
    Tumour,
    /// Nothing is marked, and no place looks like tumour.
    NoTumourFound,
    /// The marking may be wrong: a person must look.
    NotSure,
}

/// Template in whose space regions were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// SRI24.
    Sri24,
    /// MNI152.
    Mni152,
    /// None.
    Unknown,
}

/// Sizes of the tumour in one study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Whether a tumour was found.
    pub outcome: Outcome,
    /// Largest first.
    pub lesions: Vec<LesionMeasurements>,
}

impl Measurements {
    /// Returns true unless there is a lesion whose diameters were not told.
    pub fn tells_diameters(&self) -> bool {
        self.lesions.iter().all(|lesion| lesion.axial.is_some())
    }

    /// Returns the volume of all lesions together, in millilitres.
    pub fn whole_ml(&self) -> f64 {
        self.lesions.iter().map(|lesion| lesion.whole_ml).sum()
    }

    /// Returns the volume of their cores, in millilitres.
    pub fn core_ml(&self) -> f64 {
        self.lesions.iter().map(|lesion| lesion.core_ml).sum()
    }

    /// Returns the volume of their enhancing parts, in millilitres.
    pub fn enhancing_ml(&self) -> f64 {
        self.lesions.iter().map(|lesion| lesion.enhancing_ml).sum()
    }
}

/// A mask file in the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskReference {
    /// Its content.
    pub digest: BlobDigest,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// A study's mask: what made it and what it shows.
///
/// Stored as JSON: fields are added with a default, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marking {
    /// The segmentation.
    pub segmentation_id: SegmentationId,
    /// Study that was segmented.
    pub study_id: StudyId,
    /// Model that made the mask.
    pub model_id: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// The mask file.
    pub mask: MaskReference,
    /// Atlas that names the regions, with its version.
    pub atlas: String,
    /// Template in whose space they were looked up.
    pub space: Space,
    /// What was measured.
    pub measurements: Measurements,
}
