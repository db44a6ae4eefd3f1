//! Whole objects from one place to another, with what proves that they are the same.

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use super::Stores;
use crate::error::{Error, Result};

/// Larger objects are sent in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// Parts that are on their way at a time.
const PARTS_MAX: usize = 4;

/// What is the same of two objects only if all their bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDigest {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl ObjectDigest {
    /// Of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Hash::default();
        hash.add(bytes);
        hash.finish()
    }
}

#[derive(Default)]
struct Hash {
    sha256: Sha256,
    size_bytes: u64,
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    fn finish(self) -> ObjectDigest {
        let digits = self.sha256.finalize();
        ObjectDigest {
            size_bytes: self.size_bytes,
            sha256: digits.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Stores {
    /// Reads an object whole.
    ///
    /// # Errors
    /// As [`Stores::get`].
    pub async fn digest(&self, location: &str) -> Result<ObjectDigest> {
        let (_, store, path) = self.resolve(location)?;
        let read = async {
            let mut stream = store.get(&path).await?.into_stream();
            let mut hash = Hash::default();
            while let Some(bytes) = stream.try_next().await? {
                hash.add(&bytes);
            }
            Ok(hash.finish())
        };
        read.await
            .map_err(|error: object_store::Error| Error::from(error).at(location))
    }

    /// Stores an object of other stores here, replacing one of that name; what was read and written. Durable when it returns, and
    /// never visible in part.
    ///
    /// # Errors
    /// As [`Stores::get`] of the one and [`Stores::put`] of the other.
    pub async fn copy_from(&self, source: &Stores, from: &str, to: &str) -> Result<ObjectDigest> {
        let (_, source, source_path) = source.resolve(from)?;
        let (_, target, target_path) = self.resolve(to)?;
        let read_failed = |error: object_store::Error| Error::from(error).at(from);
        let write_failed = |error: object_store::Error| Error::from(error).at(to);
        let found = source.get(&source_path).await.map_err(read_failed)?;
        let mut hash = Hash::default();
        if found.meta.size <= PART_BYTES as u64 {
            let bytes = found.bytes().await.map_err(read_failed)?;
            hash.add(&bytes);
            let stored = target.put(&target_path, PutPayload::from_bytes(bytes)).await;
            stored.map_err(write_failed)?;
            return Ok(hash.finish());
        }
        let upload = target.put_multipart(&target_path).await.map_err(write_failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut stream = found.into_stream();
        loop {
            match stream.try_next().await.map_err(read_failed) {
                Ok(Some(bytes)) => {
                    hash.add(&bytes);
                    writer.wait_for_capacity(PARTS_MAX).await.map_err(write_failed)?;
                    writer.put(bytes);
                }
                Ok(None) => break,
                Err(error) => {
                    // The first error says more.
                    let _ = writer.abort().await;
                    return Err(error);
                }
            }
        }
        writer.finish().await.map_err(write_failed)?;
        Ok(hash.finish())
    }
}
