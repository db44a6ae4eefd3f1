//! What the catalog needs of object storage. The engine implements it over durable stores; tests use [`MemoryObjects`].

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use crate::error::{Error, ErrorKind, Result};
use crate::file::DeleteContent;

/// Whole, immutable objects known by their full location (`file:///…`, `s3://…`).
#[async_trait]
pub trait Objects: Send + Sync + fmt::Debug {
    /// The object's bytes; an absent object is an error of kind `MissingObject`.
    async fn get(&self, location: &str) -> Result<Bytes>;

    /// Stores an object; it is durable when this returns.
    async fn put(&self, location: &str, bytes: Bytes) -> Result<()>;

    /// Removes an object; one that is absent is fine.
    async fn delete(&self, location: &str) -> Result<()>;

    /// The locations of all objects below `prefix`, a directory, recursively; an absent directory is empty.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// A file that names these rows of one data file: a deletion vector, or a file of position deletes.
    fn encode_deletes(&self, data_file: &str, rows: &RoaringTreemap, vector: bool) -> Result<(Bytes, DeleteContent)>;

    /// The rows of one data file that a delete file names; no equality deletes.
    async fn decode_deletes(&self, bytes: Bytes, content: &DeleteContent, data_file: &str) -> Result<RoaringTreemap>;
}

/// Whether an object or directory is below a directory, by plain names: one spelling, no steps up.
pub(crate) fn is_inside(directory: &str, location: &str) -> bool {
    let rest = location.strip_prefix(directory);
    rest.and_then(|rest| rest.strip_prefix('/')).is_some_and(is_plain_path)
}

/// Whether a location is a directory or something below it, however it is spelled from there.
pub(crate) fn is_same_or_below(directory: &str, location: &str) -> bool {
    let rest = location.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directory of the table or view whose metadata is in this file.
pub(crate) fn directory_of(metadata_location: &str) -> &str {
    let place = metadata_location.rsplit_once("/metadata/");
    place.map_or(metadata_location, |(place, _)| place)
}

/// Names, one after the other: none is empty or a step up.
pub(crate) fn is_plain_path(path: &str) -> bool {
    !path.chars().any(char::is_control) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Objects in memory: the test double, held to the same trait text.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryObjects {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryObjects")
            .field("count", &self.objects.lock().len())
            .finish()
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn get(&self, location: &str) -> Result<Bytes> {
        self.objects.lock().get(location).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::MissingObject,
                format!("object \"{location}\" does not exist"),
            )
        })
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.objects.lock().insert(location.to_owned(), bytes);
        Ok(())
    }

    async fn delete(&self, location: &str) -> Result<()> {
        self.objects.lock().remove(location);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let directory = format!("{}/", prefix.trim_end_matches('/'));
        Ok(self
            .objects
            .lock()
            .keys()
            .filter(|location| location.starts_with(&directory))
            .cloned()
            .collect())
    }

    /// Neither Parquet nor Puffin: the location, a line feed, and the rows as roaring-rs writes them.
    fn encode_deletes(&self, data_file: &str, rows: &RoaringTreemap, vector: bool) -> Result<(Bytes, DeleteContent)> {
        let mut bytes = format!("{data_file}\n").into_bytes();
        rows.serialize_into(&mut bytes)
            .map_err(|error| Error::internal("cannot encode rows").with_source(error))?;
        let content = match vector {
            true => DeleteContent::Vector {
                data_file: data_file.to_owned(),
                offset: 0,
                length: bytes.len() as u64,
            },
            false => DeleteContent::Positions {
                data_file: Some(data_file.to_owned()),
            },
        };
        Ok((bytes.into(), content))
    }

    async fn decode_deletes(&self, bytes: Bytes, content: &DeleteContent, data_file: &str) -> Result<RoaringTreemap> {
        let header = format!("{data_file}\n");
        let start = match content {
            DeleteContent::Vector { offset, .. } => usize::try_from(*offset).unwrap_or(usize::MAX),
            DeleteContent::Positions { .. } | DeleteContent::Equality { .. } => 0,
        };
        let part = bytes.get(start..).unwrap_or_default();
        match part.strip_prefix(header.as_bytes()) {
            None => Ok(RoaringTreemap::new()),
            Some(rows) => RoaringTreemap::deserialize_from(rows)
                .map_err(|error| Error::new(ErrorKind::Corrupt, "rows cannot be read").with_source(error)),
        }
    }
}
