//! Why an object could not be stored or read.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

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

    /// The disk has no room for the object, or a quota or limit for it is reached.
    #[error("no room for an object of {size_bytes} bytes; make room where objects are kept")]
    Full {
        /// Its length.
        size_bytes: u64,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
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
    /// Returns why an object of `size_bytes` was not written.
    pub(crate) fn write(size_bytes: u64, source: impl Error + Send + Sync + 'static) -> Self {
        if says_full(&source) {
            return Self::Full { size_bytes, source: Box::new(source) };
        }
        Self::store("write object", source)
    }

    pub(crate) fn store(
        operation: &'static str,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::Store { operation, source: Box::new(source) }
    }
}

/// Returns whether the system said anywhere below `error` that there is no room.
fn says_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        if kind.is_some_and(|kind| full.contains(&kind)) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl DomainError for BlobError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::TooLarge { .. } | Self::Full { .. } => ErrorCode::ResourceExhausted,
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
            Self::Full { .. } => "BLOB_STORE_FULL",
            Self::Corrupt { .. } => "BLOB_CORRUPT",
            Self::Store { .. } => "BLOB_STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { digest } | Self::Corrupt { digest } => {
                vec![("digest", digest.to_string())]
            }
            Self::UnknownUrl
            | Self::Folder(_)
            | Self::TooLarge { .. }
            | Self::Full { .. }
            | Self::Store { .. } => Vec::new(),
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
            (BlobError::Full { size_bytes: 1, source: source() }, ErrorCode::ResourceExhausted),
            (BlobError::Corrupt { digest }, ErrorCode::Internal),
            (BlobError::Store { operation: "read", source: source() }, ErrorCode::Internal),
        ];
        for (error, code) in table {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.reason().starts_with("BLOB_"));
        }
    }

    #[test]
    fn a_full_disk_is_told_from_another_failure() {
        let wrapped = |kind: ErrorKind| {
            let source = Box::new(io::Error::from(kind));
            object_store::Error::Generic { store: "LocalFileSystem", source }
        };
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
            let error = BlobError::write(1, wrapped(kind));
            assert!(matches!(error, BlobError::Full { size_bytes: 1, .. }), "{kind:?}");
        }
        let denied = BlobError::write(1, wrapped(ErrorKind::PermissionDenied));
        assert_eq!(denied.reason(), "BLOB_STORE_FAILED");
    }
}
