//! Why the network could not be built, trained, stored or run.

use std::path::PathBuf;

use neurotriage_dataset::DatasetError;
use neurotriage_device::MissingDevice;
use neurotriage_domain::{DomainError, ErrorCode};
use tch::TchError;

/// Why a network could not be built, trained, stored or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A tensor or array of another shape was needed.
    #[error("{name}: expected {expected}, got {got:?}")]
    Shape {
        /// Which tensor or array.
        name: &'static str,
        /// What would be right.
        expected: String,
        /// The shape found.
        got: Vec<i64>,
    },
    /// A voxel of an image is infinite or not a number.
    #[error("the image holds values that are not finite; normalise it again")]
    NotFinite,
    /// A setting that can't work.
    #[error("{setting}: {problem}")]
    Config {
        /// Name of the setting, as in the file.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The weights are not those that the card describes.
    #[error("weights have sha256 {got}, the model card says {expected}; fetch both files again")]
    WeightsHash {
        /// Digest in the card.
        expected: String,
        /// Digest of the bytes.
        got: String,
    },
    /// The weights do not fit the architecture of the card.
    #[error("weights do not fit the architecture: {problem}; use the card saved beside them")]
    Weights {
        /// Which tensor, and what is wrong with it.
        problem: String,
    },
    /// The file is no safetensors file.
    #[error("read or write tensors as safetensors")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// Models can't become one.
    #[error("cannot combine these models: {problem}; name finished runs of one training file")]
    Combine {
        /// Why not.
        problem: &'static str,
    },
    /// A model card, checkpoint or log is not the JSON it should be.
    #[error("read or write {what} as json")]
    Json {
        /// Which document.
        what: &'static str,
        /// What serde said.
        source: serde_json::Error,
    },
    /// A file could not be read or written.
    #[error("access {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A CUDA device was asked for and is not there.
    #[error(transparent)]
    Device(#[from] MissingDevice),
    /// A training sample could not be made.
    #[error("draw training sample {index}")]
    Sample {
        /// Index of the sample.
        index: u64,
        /// What the source said.
        source: DatasetError,
    },
    /// The threads that draw samples ended early.
    #[error("the sample loader stopped; a sample source panicked")]
    LoaderStopped,
    /// Too many steps in a row gave no finite loss or gradient.
    #[error("{steps} steps in a row had no finite loss; lower the learning rate")]
    Diverged {
        /// How many steps in a row.
        steps: u32,
    },
    /// A mask could not be compared with the truth.
    #[error("score a validation case")]
    Scores(#[from] neurotriage_metrics::MetricsError),
    /// There is no checkpoint, or it belongs to another configuration.
    #[error("can't resume: {problem}; start afresh or restore the configuration")]
    Resume {
        /// What is missing or differs.
        problem: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// libtorch refused.
    #[error("libtorch")]
    Torch(#[from] TchError),
}

impl DomainError for NetworkError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Shape { .. } | Self::Config { .. } | Self::NotFinite | Self::Scores(_) => {
                ErrorCode::InvalidArgument
            }
            Self::WeightsHash { .. }
            | Self::Weights { .. }
            | Self::Combine { .. }
            | Self::Resume { .. }
            | Self::Diverged { .. }
            | Self::Device(_) => ErrorCode::FailedPrecondition,
            Self::Cancelled => ErrorCode::Unavailable,
            Self::SafeTensors(_)
            | Self::Json { .. }
            | Self::Io { .. }
            | Self::Sample { .. }
            | Self::LoaderStopped
            | Self::Torch(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Shape { .. } => "SHAPE_MISMATCH",
            Self::NotFinite => "IMAGE_NOT_FINITE",
            Self::Config { .. } => "INVALID_NETWORK_CONFIG",
            Self::WeightsHash { .. } => "WEIGHTS_HASH_MISMATCH",
            Self::Weights { .. } => "WEIGHTS_DO_NOT_FIT",
            Self::Combine { .. } => "CANNOT_COMBINE",
            Self::SafeTensors(_) => "BAD_SAFETENSORS",
            Self::Json { .. } => "BAD_JSON",
            Self::Io { .. } => "FILE_ACCESS",
            Self::Device(_) => "DEVICE_UNAVAILABLE",
            Self::Sample { .. } => "SAMPLE_FAILED",
            Self::LoaderStopped => "LOADER_STOPPED",
            Self::Scores(_) => "MASKS_DO_NOT_COMPARE",
            Self::Diverged { .. } => "TRAINING_DIVERGED",
            Self::Resume { .. } => "CANNOT_RESUME",
            Self::Cancelled => "CANCELLED",
            Self::Torch(_) => "LIBTORCH",
        }
    }
}
