//! Why an object could not be stored or read.

use std::error::Error;

use neurotriage_domain::{BlobDigest, DomainError, ErrorCode};

/// Why an object could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The URL is of a kind that is not supported.
    #[error("blob url is of an unknown kind; give file:///folder")]
    UnknownUrl,

    /// The folder can't be created or opened.
    #[error("open blob folder")]
    Folder(#[source] Box<dyn Error + Send + Sync>),

    /// No such object.
    #[error("object {digest} not found")]
    NotFound {
        /// The object asked for.
        digest: BlobDigest,
    },

    /// The object is larger than allowed.
    #[error("object of {size_bytes} bytes exceeds the limit of {size_bytes_max}")]
    TooLarge {
        /// Its length.
        size_bytes: u64,
        /// The limit.
        size_bytes_max: u64,
    },

    /// The stored content does not hash to its digest.
    #[error("object {digest} is damaged")]
    Corrupt {
        /// The object asked for.
        digest: BlobDigest,
    },

    /// The store failed; `operation` says what was tried.
    #[error("{operation}")]
    Store {
        /// What was tried, such as `read object`.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl BlobError {
    pub(crate) fn store(
        operation: &'static str,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Store { operation, source: Box::new(source) }
    }
}

impl DomainError for BlobError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::TooLarge { .. } => ErrorCode::ResourceExhausted,
            Self::UnknownUrl | Self::Folder(_) | Self::Corrupt { .. } | Self::Store { .. } => {
                ErrorCode::Internal
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownUrl => "BLOB_URL_UNKNOWN",
            Self::Folder(_) => "BLOB_FOLDER_FAILED",
            Self::NotFound { .. } => "BLOB_NOT_FOUND",
            Self::TooLarge { .. } => "BLOB_TOO_LARGE",
            Self::Corrupt { .. } => "BLOB_CORRUPT",
            Self::Store { .. } => "BLOB_STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { digest } | Self::Corrupt { digest } => {
                vec![("digest", digest.to_string())]
            }
            Self::UnknownUrl | Self::Folder(_) | Self::TooLarge { .. } | Self::Store { .. } => {
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_class() {
        let digest = BlobDigest::from_bytes([0; 32]);
        let source = || Box::new(std::io::Error::other("disk"));
        let table = [
            (BlobError::UnknownUrl, ErrorCode::Internal),
            (BlobError::Folder(source()), ErrorCode::Internal),
            (BlobError::NotFound { digest }, ErrorCode::NotFound),
            (
                BlobError::TooLarge { size_bytes: 2, size_bytes_max: 1 },
                ErrorCode::ResourceExhausted,
            ),
            (BlobError::Corrupt { digest }, ErrorCode::Internal),
            (BlobError::Store { operation: "read", source: source() }, ErrorCode::Internal),
        ];
        for (error, code) in table {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.reason().starts_with("BLOB_"));
        }
    }
}
