//! Blobs: envelopes, programs, inputs, outputs and lines files, each named by the keccak256 of its bytes.

use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a blob was not stored or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The bytes hash to something else than their name.
    #[error("the bytes hash to {found}, not to {expected}: name a blob by the keccak256 of its bytes")]
    WrongHash {
        /// The name.
        expected: B256,
        /// The hash.
        found: B256,
    },
    /// All blobs together reached their limit.
    #[error("this keeper stores {limit} bytes of blobs at most, and there is no room for {length} more")]
    Full {
        /// Bytes of the blob.
        length: u64,
        /// Bytes of all blobs.
        limit: u64,
    },
    /// The storage failed; the same request may succeed later.
    #[error("the blob storage failed: {0}")]
    Storage(#[source] object_store::Error),
}

/// A blob that is read while it is sent.
pub type Pieces = BoxStream<'static, Result<Bytes, BlobError>>;

/// The blobs of a keeper.
#[derive(Debug, Clone)]
pub struct Blobs {
    storage: Arc<dyn ObjectStore>,
    stored: Arc<AtomicU64>,
    limit: u64,
}

impl Blobs {
    /// Blobs in a folder, which is created where it is missing; at most `limit` bytes of them.
    pub async fn in_folder(folder: &Path, limit: u64) -> Result<Self, BlobError> {
        std::fs::create_dir_all(folder).map_err(|error| {
            BlobError::Storage(object_store::Error::Generic { store: "folder", source: Box::new(error) })
        })?;
        let storage = LocalFileSystem::new_with_prefix(folder).map_err(BlobError::Storage)?;
        let stored: u64 = storage
            .list(None)
            .try_fold(0u64, |sum, blob| async move { Ok(sum.saturating_add(blob.size)) })
            .await
            .map_err(BlobError::Storage)?;
        Ok(Self { storage: Arc::new(storage), stored: Arc::new(AtomicU64::new(stored)), limit })
    }

    /// Stores bytes that somebody uploaded, under the hash that they are known by.
    pub async fn put(&self, expected: B256, bytes: Bytes) -> Result<(), BlobError> {
        let found = keccak256(&bytes);
        if found != expected {
            return Err(BlobError::WrongHash { expected, found });
        }
        if self.length(expected).await?.is_some() {
            return Ok(());
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.stored.fetch_add(length, Ordering::Relaxed).saturating_add(length) > self.limit {
            self.stored.fetch_sub(length, Ordering::Relaxed);
            return Err(BlobError::Full { length, limit: self.limit });
        }
        let written = self.write(expected, bytes).await;
        if written.is_err() {
            self.stored.fetch_sub(length, Ordering::Relaxed);
        }
        written
    }

    /// Stores the keeper's own bytes. The limit does not hold for them: whoever fills it up must not stop settlement.
    pub async fn put_own(&self, bytes: Bytes) -> Result<(), BlobError> {
        self.write(keccak256(&bytes), bytes).await
    }

    async fn write(&self, hash: B256, bytes: Bytes) -> Result<(), BlobError> {
        self.storage.put(&key(hash), bytes.into()).await.map_err(BlobError::Storage)?;
        Ok(())
    }

    /// The bytes of a blob.
    pub async fn get(&self, hash: B256) -> Result<Option<Bytes>, BlobError> {
        match self.storage.get(&key(hash)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(BlobError::Storage)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::Storage(error)),
        }
    }

    /// The length of a blob and its bytes, piece by piece.
    pub async fn open(&self, hash: B256) -> Result<Option<(u64, Pieces)>, BlobError> {
        match self.storage.get(&key(hash)).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream().map_err(BlobError::Storage).boxed()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::Storage(error)),
        }
    }

    /// The length of a blob.
    pub async fn length(&self, hash: B256) -> Result<Option<u64>, BlobError> {
        match self.storage.head(&key(hash)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::Storage(error)),
        }
    }
}

/// Two levels, so that no folder holds them all.
fn key(hash: B256) -> Key {
    let name = hex::encode(hash);
    Key::from(format!("{}/{name}", &name[..2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_bytes_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), 10).await.unwrap();
        let hash = keccak256("right");
        assert!(matches!(
            blobs.put(hash, Bytes::from_static(b"wrong")).await,
            Err(BlobError::WrongHash { expected, .. }) if expected == hash
        ));
        assert_eq!(blobs.get(hash).await.unwrap(), None);
        assert_eq!(blobs.length(hash).await.unwrap(), None);
        blobs.put(hash, Bytes::from_static(b"right")).await.unwrap();
        blobs.put(hash, Bytes::from_static(b"right")).await.unwrap();
        assert_eq!(blobs.get(hash).await.unwrap().unwrap(), "right");
        assert_eq!(blobs.length(hash).await.unwrap(), Some(5));
    }

    #[tokio::test]
    async fn the_limit_counts_every_blob_once_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), 10).await.unwrap();
        let put = async |blobs: &Blobs, text: &'static str| {
            blobs.put(keccak256(text), Bytes::from_static(text.as_bytes())).await
        };
        put(&blobs, "12345").await.unwrap();
        put(&blobs, "12345").await.unwrap();
        assert!(matches!(put(&blobs, "123456").await, Err(BlobError::Full { length: 6, limit: 10 })));
        put(&blobs, "54321").await.unwrap();
        let blobs = Blobs::in_folder(folder.path(), 10).await.unwrap();
        assert!(matches!(put(&blobs, "x").await, Err(BlobError::Full { .. })));
        put(&blobs, "12345").await.unwrap();
        blobs.put_own(Bytes::from_static(b"the keeper's own")).await.unwrap();
        assert_eq!(blobs.length(keccak256("the keeper's own")).await.unwrap(), Some(16));
    }
}
