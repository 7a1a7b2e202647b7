//! Why a phantom could not be made.

use std::path::PathBuf;

use neurotriage_imaging::ImagingError;

/// Why a phantom could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A template that is built in does not read; the program was built from damaged files.
    #[error("template {name} is damaged ({detail}); build again from unchanged files")]
    Template {
        /// Name of the template.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The size asked for is no size of a tumour.
    #[error("tumour of {size_ml} ml asked for; ask for {size_ml_min} to {size_ml_max} ml")]
    Size {
        /// What was asked for.
        size_ml: f32,
        /// Smallest that is made.
        size_ml_min: f32,
        /// Largest that is made.
        size_ml_max: f32,
    },
    /// The place asked for is not in the brain.
    #[error("place {centre_mm:?} mm (RAS) is outside the template's brain; name one inside")]
    Outside {
        /// What was asked for.
        centre_mm: [f32; 3],
    },
    /// The case has no plain name for its files.
    #[error("case name {id:?} cannot be used in file names; use letters, digits, _ and -")]
    Name {
        /// The name given.
        id: String,
    },
    /// The folder for the case cannot be made.
    #[error("create folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The files of the case cannot be written.
    #[error("write phantom case")]
    Write(#[from] ImagingError),
}
