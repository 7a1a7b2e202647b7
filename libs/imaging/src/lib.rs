//! MRI volumes: NIfTI files, orientation, preparation for the network, and pictures.
//!
//! Axis order is `[x, y, z]` everywhere, in standard (C) layout. The canonical index order is LPS:
//! the first index grows to the patient's left, the second to posterior, the third to superior, so
//! **a low first index is the patient's right**. Affines map voxel indices to RAS+ millimetres, as
//! NIfTI does.
//!
//! | step | module |
//! |---|---|
//! | read and write files | [`nifti`] |
//! | bring to LPS and back | [`orientation`] |
//! | find and check the files of a study | [`case`] |
//! | resample, crop, normalise, store | [`mod@prepare`], [`seed`] |
//! | draw | [`overlay`], [`chart`] |
//! | filter | [`smooth`], [`components`], [`holes`], [`resample`] |
//!
//! Everything here is decision support for research use, not a medical device.

#[expect(clippy::needless_range_loop, reason = "rows and columns of matrices")]
mod affine;
mod affine_map;
pub mod case;
pub mod chart;
pub mod components;
mod error;
pub mod holes;
pub mod nifti;
pub mod orientation;
pub mod overlay;
pub mod prepare;
pub mod resample;
pub mod seed;
pub mod smooth;
mod study;
mod volume;

pub use affine::{Affine, InvalidAffine, Orientation, UnknownOrientation};
pub use affine_map::AffineMap;
pub use case::CaseFiles;
pub use error::{FileProblem, ImagingError};
pub use orientation::{Reorientation, canonicalise};
pub use prepare::{Prepared, prepare};
pub use seed::{SEED_CROP, seed_labels, seed_volume};
pub use study::{AFFINE_TOLERANCE, NamedImage, SIDE_MIN, Study};
pub use volume::{CropBox, Grid, Image, Mask, Volume};
