//! Why an operation on models failed.

use std::{error::Error, time::Duration};

use neurotriage_blobs::BlobError;
use neurotriage_domain::{DomainError, ErrorCode, FieldViolation};
use neurotriage_network::NetworkError;

use super::{BUSY_RETRY_AFTER, EXPORTS_RETRY_AFTER, MEMORY_RETRY_AFTER, ModelId};

/// How long to wait before asking again while the database is away.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// What is wrong with a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The card is no card.
    #[error("model card cannot be read: {detail}; send the card.json saved beside the weights")]
    CardUnreadable {
        /// What the parser said.
        detail: String,
    },
    /// The card is of a version that this program does not know.
    #[error("model card is of version {found}, this program reads {known}; update the program")]
    CardVersion {
        /// Version of the card.
        found: u32,
        /// Latest version known.
        known: u32,
    },
    /// The card's name is no id.
    #[error("model name `{name}` is no id; set provenance.name to 1 to 64 of a-z, A-Z, 0-9, . _ -")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// The card names no licence.
    #[error("model card names no licence; set provenance.licence")]
    NoLicence,
    /// The card names no intended use.
    #[error("model card names no intended use; set intended_use")]
    NoIntendedUse,
    /// The network needs other channels than studies have.
    #[error("model needs the channels {found}; studies have {given}, in this order")]
    Channels {
        /// Channels of the card.
        found: String,
        /// Channels of a study.
        given: String,
    },
    /// The network needs another preprocessing.
    #[error("model needs the preprocessing {found}; studies are prepared as {given}")]
    Profile {
        /// Profile of the card.
        found: String,
        /// Profile of studies.
        given: String,
    },
    /// The weights are not those of the card.
    #[error("weights have sha256 {got}, the card says {expected}; send both files again")]
    WeightsHash {
        /// Digest in the card.
        expected: String,
        /// Digest of the bytes.
        got: String,
    },
    /// The weights do not fit the architecture of the card.
    #[error("{detail}")]
    Architecture {
        /// Which tensor, and what is wrong with it.
        detail: String,
    },
    /// The stored weights are damaged or gone.
    #[error("stored weights are damaged or gone; import the model again")]
    Damaged,
}

impl Problem {
    /// Returns the stable machine-readable cause.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::CardUnreadable { .. } => "CARD_UNREADABLE",
            Self::CardVersion { .. } => "CARD_VERSION_UNKNOWN",
            Self::Name { .. } => "MODEL_NAME_INVALID",
            Self::NoLicence => "LICENCE_MISSING",
            Self::NoIntendedUse => "INTENDED_USE_MISSING",
            Self::Channels { .. } => "CHANNELS_UNAVAILABLE",
            Self::Profile { .. } => "PROFILE_UNAVAILABLE",
            Self::WeightsHash { .. } => "WEIGHTS_HASH_MISMATCH",
            Self::Architecture { .. } => "WEIGHTS_DO_NOT_FIT",
            Self::Damaged => "WEIGHTS_DAMAGED",
        }
    }
}

/// Why an operation on models failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields")]
    Invalid(Vec<FieldViolation>),
    /// No such model.
    #[error("model {model_id} not found")]
    NotFound {
        /// The model asked for, shortened.
        model_id: String,
    },
    /// Another model has the id.
    #[error("another model is named {model_id}; change provenance.name in the card")]
    AlreadyExists {
        /// The id.
        model_id: ModelId,
    },
    /// The model that was sent is not kept.
    #[error("{problem}")]
    Unfit {
        /// Why.
        problem: Problem,
    },
    /// The stored model is not loaded.
    #[error("model {model_id} refused: {problem}")]
    Refused {
        /// The model.
        model_id: String,
        /// Why.
        problem: Problem,
    },
    /// The model is not in memory.
    #[error("model {model_id} is not loaded; load it first")]
    NotLoaded {
        /// The model.
        model_id: String,
    },
    /// Another model serves than the caller expects.
    #[error("model {serving_model_id} serves; read the list again and expect that one")]
    Changed {
        /// The model that serves.
        serving_model_id: String,
    },
    /// A setting names the model that serves.
    #[error("a setting of the service names the model {model_id}; remove SEGMENTATION_MODEL first")]
    Pinned {
        /// The model of the setting.
        model_id: String,
    },
    /// Nothing was promoted, or everything was taken back.
    #[error("no promotion is left to take back")]
    NothingToRollBack,
    /// Another change or import runs.
    #[error("another change of models runs; try again later")]
    Busy,
    /// As many models as allowed are being sent.
    #[error("{exports_max} models are being sent, as many as may be; try again later")]
    ExportsFull {
        /// The limit.
        exports_max: usize,
    },
    /// The caller does not read what it asked for.
    #[error("nothing of the model was read for {} s; ask for it again", idle.as_secs())]
    ReadTooSlowly {
        /// How long.
        idle: Duration,
    },
    /// Models of running jobs take the room.
    #[error("no room for another model while studies run on old ones; try again later")]
    MemoryFull,
    /// libtorch or the device failed.
    #[error("build network")]
    Network(#[source] NetworkError),
    /// A thread can't be started.
    #[error("start thread")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
    /// The database does not answer; `operation` says what was tried.
    #[error("database does not answer; try again")]
    Unavailable {
        /// What was tried, such as `read model`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read model`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl RegistryError {
    /// Returns the error of one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }
}

impl DomainError for RegistryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Unfit { .. } => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::AlreadyExists { .. } => ErrorCode::AlreadyExists,
            Self::Refused { .. }
            | Self::NotLoaded { .. }
            | Self::Changed { .. }
            | Self::Pinned { .. }
            | Self::NothingToRollBack => ErrorCode::FailedPrecondition,
            Self::Busy | Self::ExportsFull { .. } | Self::MemoryFull => {
                ErrorCode::ResourceExhausted
            }
            Self::ReadTooSlowly { .. } | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Network(NetworkError::Device(_)) => ErrorCode::FailedPrecondition,
            Self::Network(_) | Self::Thread { .. } | Self::Store { .. } => ErrorCode::Internal,
            Self::Blob(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound { .. } => "MODEL_NOT_FOUND",
            Self::AlreadyExists { .. } => "MODEL_ALREADY_EXISTS",
            Self::Unfit { problem } | Self::Refused { problem, .. } => problem.reason(),
            Self::NotLoaded { .. } => "MODEL_NOT_LOADED",
            Self::Changed { .. } => "SERVING_MODEL_CHANGED",
            Self::Pinned { .. } => "MODEL_PINNED",
            Self::NothingToRollBack => "NOTHING_TO_ROLL_BACK",
            Self::Busy => "REGISTRY_BUSY",
            Self::ExportsFull { .. } => "EXPORTS_MAX",
            Self::ReadTooSlowly { .. } => "READ_TOO_SLOWLY",
            Self::MemoryFull => "MODEL_MEMORY_FULL",
            Self::Network(_) => "NETWORK_FAILED",
            Self::Thread { .. } => "THREAD_FAILED",
            Self::Unavailable { .. } => "DATABASE_UNAVAILABLE",
            Self::Store { .. } => "STORE_FAILED",
            Self::Blob(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Changed { serving_model_id } => {
                vec![("servingModelId", serving_model_id.clone())]
            }
            Self::NotFound { model_id }
            | Self::Refused { model_id, .. }
            | Self::NotLoaded { model_id }
            | Self::Pinned { model_id } => vec![("modelId", model_id.clone())],
            Self::AlreadyExists { model_id } => vec![("modelId", model_id.to_string())],
            Self::Invalid(_)
            | Self::Unfit { .. }
            | Self::NothingToRollBack
            | Self::Busy
            | Self::ExportsFull { .. }
            | Self::ReadTooSlowly { .. }
            | Self::MemoryFull
            | Self::Network(_)
            | Self::Thread { .. }
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Blob(_) => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        if let Self::Invalid(violations) = self { violations } else { &[] }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(BUSY_RETRY_AFTER),
            Self::ExportsFull { .. } => Some(EXPORTS_RETRY_AFTER),
            Self::MemoryFull => Some(MEMORY_RETRY_AFTER),
            Self::Unavailable { .. } => Some(DATABASE_RETRY_AFTER),
            Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Unfit { .. }
            | Self::Refused { .. }
            | Self::NotLoaded { .. }
            | Self::Changed { .. }
            | Self::Pinned { .. }
            | Self::NothingToRollBack
            | Self::ReadTooSlowly { .. }
            | Self::Network(_)
            | Self::Thread { .. }
            | Self::Store { .. }
            | Self::Blob(_) => None,
        }
    }
}
