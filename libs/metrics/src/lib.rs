//! How well a predicted tumour mask agrees with the truth.
//!
//! [`score_case`] compares two label arrays and returns every number at once, as [`CaseScores`];
//! the modules hold the parts. Arrays are `[x, y, z]`; lengths are millimetres, taken from the
//! voxel spacing, so that thick slices are measured as they are.
//!
//! # What happens to a region that is absent
//!
//! - absent from truth and prediction: every ratio is 1, every distance 0 mm, the volume error 0;
//! - absent from the truth alone: Dice, `IoU` and precision are 0, sensitivity is 1 (there was
//!   nothing to find), distances are [`ABSENT_DISTANCE_MM`], the relative volume error is 1;
//! - absent from the prediction alone: Dice, `IoU` and sensitivity are 0, precision is 1 (nothing
//!   was claimed), distances are [`ABSENT_DISTANCE_MM`], the relative volume error is -1.
//!
//! So every score of every case is a finite number, and a mean leaves no case out: one region
//! missed altogether weighs in the mean of HD95 as 374 mm, as in `BraTS` 2023.
//!
//! No I/O and no networks here: numbers in, numbers out.

mod bounds;
mod case;
pub mod components;
pub mod distance;
pub mod lesion_wise;
pub mod original;
pub mod overlap;
mod region;
pub mod summary;
pub mod surface;

pub use case::{CaseScores, LesionWiseScores, score_case};
pub use region::PerRegion;
pub use summary::{Bootstrap, Interval, bootstrap_interval, mean_scores};

/// Distance reported when a region is present in only one of truth and prediction, in millimetres.
///
/// The diagonal of the 240x240x155 grid at 1 mm, rounded up: the value that `BraTS` 2023 uses.
pub const ABSENT_DISTANCE_MM: f64 = 374.0;

/// Why two masks could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The arrays cover different grids.
    #[error("truth is {truth:?} voxels and prediction {predicted:?}; bring both to one grid first")]
    Shape {
        /// Voxels of the truth, `[x, y, z]`.
        truth: [usize; 3],
        /// Voxels of the prediction, `[x, y, z]`.
        predicted: [usize; 3],
    },
    /// The arrays hold no voxel.
    #[error("the masks hold no voxel; give masks of at least one voxel")]
    Empty,
    /// A label that no mask of this project uses.
    #[error("label {value} is not a tumour class; relabel to 0, 1, 2 and 4 (or 3) first")]
    Label {
        /// The value found.
        value: u8,
    },
    /// A channel count other than the four classes.
    #[error("probabilities have {found} classes; give {expected}")]
    Classes {
        /// Channels found.
        found: usize,
        /// Channels needed.
        expected: usize,
    },
}
