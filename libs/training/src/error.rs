//! Why a training job could not be done.

use std::path::PathBuf;

use neurotriage_dataset::DatasetError;
use neurotriage_domain::{DomainError, ErrorCode};
use neurotriage_imaging::ImagingError;
use neurotriage_network::NetworkError;

/// Why a training job could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A file or folder can't be read or written.
    #[error("access {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A training file is far too large to be one.
    #[error("the training file is larger than {bytes_max} bytes; name a TOML file")]
    TooLarge {
        /// Most bytes accepted.
        bytes_max: u64,
    },
    /// A training file is no TOML or says something that is no setting.
    #[error("parse the training file")]
    Parse(#[from] toml::de::Error),
    /// A setting that can't work.
    #[error("{name}: {problem}")]
    Setting {
        /// The setting, as in the file.
        name: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An environment variable that the file names is of no use.
    #[error("{name} {problem}; set it to a path")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A case can't be used.
    #[error("read case {folder}", folder = folder.display())]
    Case {
        /// Its folder.
        folder: PathBuf,
        /// Why not.
        source: Box<DatasetError>,
    },
    /// Samples can't be drawn.
    #[error("make training samples")]
    Samples(#[from] DatasetError),
    /// The curves can't be drawn.
    #[error("draw the curves of the run")]
    Picture(#[from] ImagingError),
    /// The run failed.
    #[error("train")]
    Network(#[from] NetworkError),
}

impl DomainError for TrainingError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::Parse(_) | Self::Setting { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Variable { .. } | Self::Case { .. } | Self::Samples(_) => {
                ErrorCode::FailedPrecondition
            }
            Self::Io { .. } | Self::Picture(_) => ErrorCode::Internal,
            Self::Network(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "FILE_ACCESS",
            Self::TooLarge { .. } => "TRAINING_FILE_TOO_LARGE",
            Self::Parse(_) => "BAD_TRAINING_FILE",
            Self::Setting { .. } => "INVALID_TRAINING_SETTING",
            Self::Variable { .. } => "DATA_PATH_NOT_SET",
            Self::Case { .. } => "BAD_TRAINING_CASE",
            Self::Samples(_) => "SAMPLE_FAILED",
            Self::Picture(_) => "CURVES_NOT_DRAWN",
            Self::Network(error) => error.reason(),
        }
    }
}
