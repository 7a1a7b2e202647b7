//! Synthetic glioma studies with known truth: tumour shapes, appearances, and whole cases drawn from
//! the tissues of two templates.
//!
//! Everything is a pure function of a seed. Knows volumes and patches of voxels; knows nothing of
//! training, networks or services. Phantoms exercise software: they are no stand-in for patients.
//!
//! The crate builds in the SRI24 atlas (CC BY-SA 3.0) and the ICBM 2009a templates, both resampled to
//! the BraTS grid; their notices lie beside them in `assets/atlas`.

pub mod appearance;
mod case;
mod error;
pub mod field;
pub mod patch;
pub mod template;
pub mod tumour;
pub mod warp;

pub use case::{Phantom, PhantomCase, PhantomSpec, grow, random_centre, random_size_ml};
pub use error::PhantomError;
