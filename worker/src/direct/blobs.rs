//! Blobs of direct jobs: one file each, named by its hash, in a folder of bounded size.

use crate::outlet::{BlobError, verified};
use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::Blob;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

/// A blob younger than this is never removed to make room.
const KEEP: Duration = Duration::from_secs(3_600);

/// The folder.
#[derive(Debug)]
pub(crate) struct BlobStore {
    folder: PathBuf,
    max_blob: u64,
    max_store: u64,
    /// Bytes in the folder. Held while a blob is written, so that the bound holds.
    used: Mutex<u64>,
}

impl BlobStore {
    /// Opens the folder and counts what it holds.
    pub(crate) fn open(folder: PathBuf, max_blob: Quantity, max_store: Quantity) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        // They are the clients' own; the data folder may have been made by somebody who lets others in.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let mut used = 0u64;
        for (path, length, _) in files(&folder)? {
            if path.extension().is_some() {
                // Left behind by a write that a crash cut off.
                std::fs::remove_file(path)?;
            } else {
                used = used.saturating_add(length);
            }
        }
        Ok(Self { folder, max_blob: max_blob.get(), max_store: max_store.get(), used: Mutex::new(used) })
    }

    /// Whether a blob is there.
    pub(crate) fn has(&self, hash: B256) -> bool {
        self.path(hash).exists()
    }

    /// A blob of at most `limit` bytes.
    pub(crate) async fn get(&self, hash: B256, limit: u64) -> Result<Bytes, BlobError> {
        let path = self.path(hash);
        let length = match tokio::fs::metadata(&path).await {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BlobError::Missing(hash)),
            Err(error) => return Err(BlobError::Unreachable(error.to_string())),
        };
        if length > limit {
            return Err(BlobError::TooLarge { hash, limit });
        }
        let bytes = tokio::fs::read(path).await.map_err(|error| BlobError::Unreachable(error.to_string()))?;
        verified(hash, bytes.into())
    }

    /// Stores a blob of a client under the name it must have.
    pub(crate) async fn put(&self, hash: B256, bytes: Bytes) -> Result<Blob, BlobError> {
        if bytes.len() as u64 > self.max_blob {
            return Err(BlobError::TooLarge { hash, limit: self.max_blob });
        }
        self.write(hash, verified(hash, bytes)?).await
    }

    /// Stores an output, which may be larger than what clients may upload.
    pub(crate) async fn add(&self, bytes: Bytes) -> Result<Blob, BlobError> {
        self.write(keccak256(&bytes), bytes).await
    }

    async fn write(&self, hash: B256, bytes: Bytes) -> Result<Blob, BlobError> {
        let length = bytes.len() as u64;
        let blob = Blob { hash, length: Quantity(length) };
        let mut used = self.used.lock().await;
        if self.has(hash) {
            return Ok(blob);
        }
        let io_error = |error: io::Error| BlobError::Unreachable(error.to_string());
        let wanted = used.saturating_add(length);
        if wanted > self.max_store {
            let freed = make_room(&self.folder, wanted - self.max_store).map_err(io_error)?;
            *used = used.saturating_sub(freed);
        }
        if used.saturating_add(length) > self.max_store {
            let reason = "the store of this endpoint is full: try again in an hour".to_owned();
            return Err(BlobError::Refused { hash, reason });
        }
        self.write_file(hash, &bytes).await.map_err(io_error)?;
        *used = used.saturating_add(length);
        Ok(blob)
    }

    /// Whole or not at all: the name appears only when the bytes are on the disk.
    async fn write_file(&self, hash: B256, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(hash);
        let partial = path.with_extension("partial");
        let mut file = tokio::fs::File::create(&partial).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        tokio::fs::rename(partial, path).await
    }

    fn path(&self, hash: B256) -> PathBuf {
        self.folder.join(hex::encode(hash))
    }
}

fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        files.push((entry.path(), metadata.len(), metadata.modified()?));
    }
    Ok(files)
}

/// Removes the oldest blobs until `wanted` bytes are free or only young ones are left.
fn make_room(folder: &Path, wanted: u64) -> io::Result<u64> {
    let mut old = files(folder)?;
    old.retain(|(_, _, modified)| modified.elapsed().is_ok_and(|age| age > KEEP));
    old.sort_by_key(|(_, _, modified)| *modified);
    let mut freed = 0u64;
    for (path, length, _) in old {
        if freed >= wanted {
            break;
        }
        std::fs::remove_file(path)?;
        freed = freed.saturating_add(length);
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Folder;

    fn store(folder: &Folder) -> BlobStore {
        BlobStore::open(folder.0.join("blobs"), Quantity(8), Quantity(20)).unwrap()
    }

    #[tokio::test]
    async fn blobs_come_back_by_their_hash_only() {
        let folder = Folder::new();
        let blobs = store(&folder);
        let mode = std::fs::metadata(folder.0.join("blobs")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "another user of the machine could read what clients send");
        let hash = keccak256("12345678");
        assert_eq!(blobs.get(hash, 8).await, Err(BlobError::Missing(hash)));
        blobs.put(hash, Bytes::from_static(b"12345678")).await.unwrap();
        assert_eq!(blobs.get(hash, 8).await.unwrap(), "12345678");
        assert_eq!(blobs.get(hash, 7).await, Err(BlobError::TooLarge { hash, limit: 7 }));
        let wrong = blobs.put(hash, Bytes::from_static(b"other")).await;
        assert!(matches!(wrong, Err(BlobError::WrongHash { .. })));
        let large = blobs.put(keccak256("123456789"), Bytes::from_static(b"123456789")).await;
        assert!(matches!(large, Err(BlobError::TooLarge { limit: 8, .. })));
    }

    #[tokio::test]
    async fn the_folder_is_bounded_and_makes_room_from_the_old() {
        let folder = Folder::new();
        let blobs = store(&folder);
        let old = blobs.add(Bytes::from_static(b"0123456789")).await.unwrap();
        blobs.add(Bytes::from_static(b"abcdefghij")).await.unwrap();
        blobs.add(Bytes::from_static(b"abcdefghij")).await.unwrap();
        let full = blobs.add(Bytes::from_static(b"x")).await;
        assert!(matches!(full, Err(BlobError::Refused { .. })), "young blobs are kept");
        let file = std::fs::File::options().write(true).open(blobs.path(old.hash)).unwrap();
        file.set_modified(SystemTime::now() - KEEP * 2).unwrap();
        blobs.add(Bytes::from_static(b"x")).await.unwrap();
        assert!(!blobs.has(old.hash));
        assert_eq!(*BlobStore::open(blobs.folder.clone(), Quantity(8), Quantity(20)).unwrap().used.lock().await, 11);
    }
}
