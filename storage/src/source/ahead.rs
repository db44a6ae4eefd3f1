//! Reading ahead: while columns are decoded, the bytes of those that come next are on their way.
//!
//! A scan that meets a file which is not in the cache asks for the columns it is sure to want of its next row group, and of the first
//! row group of the next files. What is asked for and then not wanted costs reading, nothing else: whoever decodes a column that
//! nobody asked for fetches it, and an error is reported by whoever wants the column.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileScanConfig;
use parking_lot::Mutex;

use super::decode::Fetched;
use crate::cache::ChunkKey;
use crate::error::Result;

/// Files of each task of a scan that are begun ahead.
const FILES_AHEAD: usize = 2;

/// Bytes on their way, or there and not decoded yet, of all scans.
const BYTES_MAX: u64 = 256 << 20;

/// The same as a share of the cache.
const SHARE_OF_CACHE: u64 = 8;

/// Columns that were asked for and are not decoded yet.
pub(super) struct Ahead {
    bytes_max: u64,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    columns: HashMap<ChunkKey, (SpawnedTask<Result<Fetched>>, u64)>,
    bytes: u64,
}

impl Asked {
    fn take(&mut self, key: &ChunkKey) -> Option<SpawnedTask<Result<Fetched>>> {
        let (fetching, bytes) = self.columns.remove(key)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(fetching)
    }
}

impl Ahead {
    pub(super) fn new(cache_bytes: u64) -> Self {
        Self {
            bytes_max: BYTES_MAX.min(cache_bytes / SHARE_OF_CACHE),
            asked: Mutex::default(),
        }
    }

    /// Begins to fetch a column of so many bytes, unless somebody has, or there is no room. Whether it did.
    pub(super) fn ask(
        &self,
        key: ChunkKey,
        bytes: u64,
        fetch: impl Future<Output = Result<Fetched>> + Send + 'static,
    ) -> bool {
        let mut asked = self.asked.lock();
        let room = self.bytes_max.saturating_sub(asked.bytes);
        match asked.columns.entry(key) {
            Entry::Vacant(column) if bytes <= room => {
                column.insert((SpawnedTask::spawn(fetch), bytes));
                asked.bytes += bytes;
                true
            }
            _ => false,
        }
    }

    /// What was asked for of a column; the caller has it alone.
    pub(super) fn take(&self, key: &ChunkKey) -> Option<SpawnedTask<Result<Fetched>>> {
        self.asked.lock().take(key)
    }

    /// Nobody wants these any more.
    pub(super) fn give_up(&self, keys: &[ChunkKey]) {
        let mut asked = self.asked.lock();
        let given_up: Vec<_> = keys.iter().filter_map(|key| asked.take(key)).collect();
        drop(asked);
        // They end outside of the lock.
        drop(given_up);
    }
}

/// The files of one run of a scan in the order in which its tasks will come to them, and how far they are.
#[derive(Default)]
pub(super) struct Upcoming {
    files: OnceLock<Mutex<Queue>>,
    /// Whether the last row group had a row to give, so that the next ones may.
    gives_rows: AtomicBool,
}

struct Queue {
    files: Vec<Option<PartitionedFile>>,
    /// The place of each, by what it names.
    places: HashMap<Named, usize>,
    /// Where to look for the next that nobody asked for.
    next: usize,
    /// Files that were opened, or have been asked for and are not open yet.
    opened: usize,
    begun: usize,
    tasks: usize,
}

/// A file, or a part of one.
#[derive(PartialEq, Eq, Hash)]
struct Named(object_store::path::Path, Option<(i64, i64)>);

impl Named {
    fn of(file: &PartitionedFile) -> Self {
        let range = file.range.as_ref().map(|range| (range.start, range.end));
        Self(file.object_meta.location.clone(), range)
    }
}
