//! Why a sample could not be made.

use std::path::PathBuf;

use neurotriage_imaging::ImagingError;
use neurotriage_phantom::PhantomError;

/// Why a sample could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is nothing to draw from.
    #[error("no training case given; name folders of cases or ask for phantoms")]
    Empty,
    /// A case is not fit for training.
    #[error("read training case")]
    Case(#[from] ImagingError),
    /// A case has no expert's mask.
    #[error("case {id} has no mask; add its _seg file or leave the case out")]
    NoTruth {
        /// Name of the case.
        id: String,
    },
    /// A case has no voxel that is not 0, or no four channels.
    #[error("case {id} {problem}; leave it out")]
    Unfit {
        /// Name of the case.
        id: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A phantom cannot be drawn.
    #[error("draw phantom")]
    Phantom(#[from] PhantomError),
    /// A setting is out of range.
    #[error("setting {name} is {value}; it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// A file of masks cannot be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of masks is not a .npz file with uint8 volumes.
    #[error("{path} holds no usable masks ({detail}); give a .npz file of uint8 volumes [x, y, z]")]
    Masks {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}
