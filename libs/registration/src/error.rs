//! Why a study could not be registered.

use neurotriage_device::MissingDevice;
use tch::TchError;

/// Why a study could not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Nothing to see.
    #[error("the image is the same everywhere; give an image of a head")]
    Flat,
    /// Too thin.
    #[error("along axis {axis} the image covers {length_mm:.0} mm; a head needs {needed_mm:.0} mm")]
    TooSmall {
        /// Index axis, `x`, `y` or `z`.
        axis: char,
        /// What it covers, in millimetres.
        length_mm: f64,
        /// What it should cover, in millimetres.
        needed_mm: f64,
    },
    /// The template is not one.
    #[error("the template cannot be used ({reason}); restore its file")]
    Target {
        /// What is wrong with it.
        reason: String,
    },
    /// A CUDA device was asked for and is not there.
    #[error(transparent)]
    Device(#[from] MissingDevice),
    /// libtorch failed.
    #[error("libtorch failed")]
    Torch(#[from] TchError),
}
