//! Reading ahead: while columns are decoded, the bytes of those that come next are on their way.
//!
//! A scan that meets a file which is not in the cache asks for the columns it is sure to want of its next row group, and of the first
//! row group of the next files. What is asked for and then not wanted costs reading, nothing else: whoever decodes a column that
//! nobody asked for fetches it, and an error is reported by whoever wants the column.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
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

/// The files of a scan in the order in which its tasks will come to them, and how far they are in one run.
#[derive(Default)]
pub(super) struct Upcoming {
    /// The same in every run.
    files: Arc<OnceLock<Files>>,
    places: Mutex<Places>,
    /// Whether the last row group that was begun had a row to give, so that the next ones may.
    gives_rows: AtomicBool,
}

struct Files {
    files: Vec<PartitionedFile>,
    tasks: usize,
}

#[derive(Default)]
struct Places {
    opened: usize,
    /// Files that were opened or begun ahead.
    begun: usize,
}

impl Upcoming {
    /// For another run of the same scan.
    pub(super) fn anew(&self) -> Self {
        Self {
            files: Arc::clone(&self.files),
            ..Self::default()
        }
    }

    /// The scan as it is run.
    pub(super) fn of(&self, scan: &FileScanConfig) {
        self.files.get_or_init(|| {
            let groups = scan.file_groups.iter();
            let largest = groups.clone().map(FileGroup::len).max().unwrap_or(0);
            // Tasks either share their files, or each reads its own at its pace.
            let files = match scan.preserve_order || scan.output_partitioning.is_some() {
                false => groups.flat_map(FileGroup::iter).cloned().collect(),
                true => (0..largest)
                    .flat_map(|place| groups.clone().filter_map(move |group| group.files().get(place)))
                    .cloned()
                    .collect(),
            };
            Files {
                files: scan.file_source.reorder_files(files),
                tasks: scan.file_groups.len(),
            }
        });
    }

    /// A file is opened.
    pub(super) fn open(&self) {
        let mut places = self.places.lock();
        places.opened += 1;
        places.begun = places.begun.max(places.opened);
    }

    /// The next file to begin ahead of its turn, if any is to be.
    pub(super) fn next(&self) -> Option<PartitionedFile> {
        let Files { files, tasks } = self.files.get()?;
        let mut places = self.places.lock();
        if places.begun >= places.opened + FILES_AHEAD * tasks {
            return None;
        }
        let file = files.get(places.begun)?;
        places.begun += 1;
        Some(file.clone())
    }

    pub(super) fn gives_rows(&self) -> bool {
        self.gives_rows.load(Ordering::Relaxed)
    }

    pub(super) fn set_gives_rows(&self, gives_rows: bool) {
        self.gives_rows.store(gives_rows, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::error::Error;

    fn key(column: usize) -> ChunkKey {
        ChunkKey {
            file: "f".into(),
            row_group: 0,
            column,
            data_type: DataType::Int64,
        }
    }

    #[tokio::test]
    async fn a_column_is_asked_for_once_while_there_is_room() {
        let ahead = Ahead::new(100 * SHARE_OF_CACHE);
        let fetch = || async { Err(Error::internal("fetched")) };
        assert!(ahead.ask(key(1), 60, fetch()));
        assert!(!ahead.ask(key(1), 10, fetch()), "it is on its way");
        assert!(!ahead.ask(key(2), 60, fetch()), "there is no room");
        assert!(ahead.ask(key(3), 40, fetch()));

        let fetched = ahead.take(&key(1)).expect("it was asked for").join().await;
        assert!(fetched.expect("it ended").is_err());
        assert!(ahead.take(&key(1)).is_none());
        ahead.give_up(&[key(1), key(3)]);
        assert!(ahead.take(&key(3)).is_none());
        assert!(ahead.ask(key(2), 100, fetch()), "all room is there again");
    }
}
