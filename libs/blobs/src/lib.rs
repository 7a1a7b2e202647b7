//! Objects named by their content: what is stored under a digest hashes to that digest.
//!
//! Knows nothing of what the objects are. Storing the same content twice stores it once; an object
//! is whole or absent, never half written.

mod error;

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use neurotriage_domain::BlobDigest;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path,
};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

pub use crate::error::BlobError;

/// Largest object that is stored, in bytes: 1 GiB, several times the largest volume.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

const FILE_PREFIX: &str = "file://";

/// Where objects are kept. Cloning it is cheap; clones share the store.
#[derive(Clone)]
pub struct BlobStore {
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStore").finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the store at `url`: `file:///folder`. The folder is created if it is missing; its
    /// path is taken as it stands, without percent-encoding.
    ///
    /// # Errors
    /// [`BlobError::UnknownUrl`] for any other kind of URL; [`BlobError::Folder`] if the folder
    /// can't be created or opened.
    pub fn open(url: &str) -> Result<Self, BlobError> {
        let folder = match url.strip_prefix(FILE_PREFIX) {
            Some(path) if path.starts_with('/') => PathBuf::from(path),
            Some(_) | None => return Err(BlobError::UnknownUrl),
        };
        std::fs::create_dir_all(&folder).map_err(|error| BlobError::Folder(Box::new(error)))?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| BlobError::Folder(Box::new(error)))?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Stores `content` and returns its digest. Does nothing if it is stored already.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] above [`BLOB_BYTES_MAX`]; [`BlobError::Full`] if there is no room, and
    /// nothing is stored then; [`BlobError::Store`] if the store fails.
    pub async fn put(&self, content: Bytes) -> Result<BlobDigest, BlobError> {
        let size_bytes = content.len() as u64;
        if size_bytes > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { size_bytes, size_bytes_max: BLOB_BYTES_MAX });
        }
        let digest = digest(content.clone()).await?;
        let stored = self.find_size(digest).await?;
        // Another length under the digest is damage, which the whole content repairs.
        if stored != Some(size_bytes) {
            self.store
                .put(&location(digest), content.into())
                .await
                .map_err(|error| BlobError::write(size_bytes, error))?;
        }
        Ok(digest)
    }

    /// Returns the content of `digest`, at most `size_bytes_max` bytes, checked against the digest.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::TooLarge`] before anything is read,
    /// [`BlobError::Corrupt`] if the content does not hash to the digest, [`BlobError::Store`].
    pub async fn get(&self, digest: BlobDigest, size_bytes_max: u64) -> Result<Bytes, BlobError> {
        let object = match self.store.get(&location(digest)).await {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => return Err(BlobError::NotFound { digest }),
            Err(error) => return Err(BlobError::store("open object", error)),
        };
        let size_bytes = object.meta.size;
        if size_bytes > size_bytes_max {
            return Err(BlobError::TooLarge { size_bytes, size_bytes_max });
        }
        let content =
            object.bytes().await.map_err(|error| BlobError::store("read object", error))?;
        if self::digest(content.clone()).await? != digest {
            return Err(BlobError::Corrupt { digest });
        }
        Ok(content)
    }

    /// Returns the length of the object in bytes.
    ///
    /// # Errors
    /// [`BlobError::NotFound`]; [`BlobError::Store`] if the store fails.
    pub async fn size(&self, digest: BlobDigest) -> Result<u64, BlobError> {
        self.find_size(digest).await?.ok_or(BlobError::NotFound { digest })
    }

    /// Returns whether the object is stored.
    ///
    /// # Errors
    /// [`BlobError::Store`] if the store fails.
    pub async fn exists(&self, digest: BlobDigest) -> Result<bool, BlobError> {
        Ok(self.find_size(digest).await?.is_some())
    }

    async fn find_size(&self, digest: BlobDigest) -> Result<Option<u64>, BlobError> {
        match self.store.head(&location(digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::store("look up object", error)),
        }
    }
}

/// Two digits make a folder, so that no folder grows too long to list.
fn location(digest: BlobDigest) -> Path {
    let name = digest.to_string();
    let folder = name.get(..2).unwrap_or_default();
    Path::from_iter(["sha256", folder, &name])
}

/// Hashing takes about 2 ms a megabyte: too long for the runtime's threads.
async fn digest(content: Bytes) -> Result<BlobDigest, BlobError> {
    spawn_blocking(move || BlobDigest::from_bytes(Sha256::digest(&content).into()))
        .await
        .map_err(|error| BlobError::store("hash object", error))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// SHA-256 of the three letters `abc`, from the standard (FIPS 180-2, appendix B.1).
    const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn open() -> (TempDir, BlobStore) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("not yet/here %20").display());
        let store = BlobStore::open(&url).unwrap();
        (folder, store)
    }

    fn files(folder: &std::path::Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[tokio::test]
    async fn what_is_put_comes_back_under_its_sha256() {
        let (_folder, store) = open();
        let digest = store.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(digest.to_string(), ABC_SHA256);
        assert_eq!(store.get(digest, 3).await.unwrap(), "abc");
        assert_eq!(store.size(digest).await.unwrap(), 3);
        assert!(store.exists(digest).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_same_content_is_stored_once_however_often_it_is_put() {
        let (folder, store) = open();
        let content = Bytes::from(vec![7_u8; 100_000]);
        let puts: Vec<_> = (0..8)
            .map(|_| {
                let (store, content) = (store.clone(), content.clone());
                tokio::spawn(async move { store.put(content).await })
            })
            .collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[tokio::test]
    async fn an_absent_object_is_not_found() {
        let (_folder, store) = open();
        let digest = BlobDigest::from_bytes([1; 32]);
        assert!(!store.exists(digest).await.unwrap());
        assert!(matches!(store.size(digest).await, Err(BlobError::NotFound { .. })));
        assert!(matches!(store.get(digest, 1).await, Err(BlobError::NotFound { .. })));
    }

    #[tokio::test]
    async fn an_object_above_the_limit_is_not_read() {
        let (_folder, store) = open();
        let digest = store.put(Bytes::from_static(b"abc")).await.unwrap();
        let error = store.get(digest, 2).await.unwrap_err();
        assert!(matches!(error, BlobError::TooLarge { size_bytes: 3, size_bytes_max: 2 }));
    }

    #[tokio::test]
    async fn damage_is_found_when_read_and_repaired_when_put_again() {
        let (folder, store) = open();
        let digest = store.put(Bytes::from_static(b"abc")).await.unwrap();
        let file = files(folder.path()).pop().unwrap();
        std::fs::write(&file, b"abd").unwrap();
        assert!(matches!(store.get(digest, 3).await, Err(BlobError::Corrupt { .. })));
        std::fs::write(&file, b"ab").unwrap();
        store.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(store.get(digest, 3).await.unwrap(), "abc");
    }

    #[test]
    fn a_url_that_is_no_folder_is_refused() {
        for url in ["s3://bucket", "/folder", "file://relative", ""] {
            assert!(matches!(BlobStore::open(url), Err(BlobError::UnknownUrl)), "url: {url}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let url = format!("file://{}/below", file.display());
        assert!(matches!(BlobStore::open(&url), Err(BlobError::Folder(_))));
    }
}
