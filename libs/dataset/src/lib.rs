//! Training samples: real and synthetic cases, cropped, mixed and augmented by pure functions of a
//! seed and an index. Knows arrays; knows nothing of tensors or networks.
//!
//! A sample of [`MixSource`] is a real case, a real brain with another tumour in it (drawn, or copied
//! from a second case), or a phantom; see [`MixConfig`]. Samples are for training in research, not
//! for any use on patients.

pub mod augment;
mod case;
mod config;
mod error;
mod heal;
mod mix;
mod npz;
pub mod original;
mod scene;
mod shapes;

use ndarray::{Array3, Array4};

pub use case::CachedCase;
pub use config::{AugmentConfig, MixConfig, Range, Shares};
pub use error::DatasetError;
pub use mix::MixSource;
pub use original::{OriginalCase, OriginalSource, original_split};
pub use shapes::{MaskShapes, SAME_TUMOUR_DICE};

/// One training sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Normalised intensities, `[channel, x, y, z]`, standard layout, channels in the order of
    /// `neurotriage_domain::Modality::ALL`; a missing modality is all 0.
    pub image: Array4<f32>,
    /// Mask labels 0, 1, 2 or 4 (in samples of [`OriginalSource`] 3 in its place), `[x, y, z]`,
    /// standard layout, same grid as `image`.
    pub labels: Array3<u8>,
    /// Where it came from, for logs: such as `real`, `phantom`.
    pub origin: &'static str,
}

/// Draws training samples.
///
/// The same source, seed and index give the same sample, whatever the thread and the order, so that
/// a resumed run sees what an unbroken one would have.
pub trait SampleSource: Send + Sync {
    /// Returns sample `index` of the run.
    ///
    /// # Errors
    /// [`DatasetError`] if it cannot be made.
    fn sample(&self, index: u64) -> Result<Sample, DatasetError>;
}
