//! Decoded chunks of data files, kept while there is memory for them.
//!
//! A chunk is decoded once for all who want it. What stays is moka's choice: by how often it is asked for (TinyLFU), so that one
//! scan of a large table does not push out what others use. Files are immutable: nothing is ever invalidated.
//!
//! The memory is the queries', of whose limit the cache has a share while nobody needs it ([`SharedMemory`]): a query that asks
//! for more gets what has not been used for longest. Not counted are chunks that a scan reads while they are no longer, or
//! not yet, in the cache; a scan has those of one row group at a time.

use std::fmt::{Debug, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use futures::FutureExt;
use moka::future::Cache;

use crate::chunk::Chunk;
use crate::error::{Error, Result};

/// A chunk larger than this share of the cache would push out too much.
const LARGEST_SHARE: u64 = 8;

/// What is freed beyond what a query asks for, as a share of the cache: looking for victims takes its time.
const SLACK_SHARE: u64 = 16;

/// moka counts in 32 bits; so it is told of units of this size.
const UNIT_BYTES: u64 = 1 << 10;

/// What an entry costs besides its value: key, policy and map, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 400;

/// What a cache counts for a value, however small it is.
pub(crate) fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_add(ENTRY_OVERHEAD_BYTES)).unwrap_or(u32::MAX)
}

/// Names a chunk for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ChunkKey {
    /// The file and its version.
    pub(crate) file: Arc<str>,
    pub(crate) row_group: usize,
    /// The column's place in the file.
    pub(crate) column: usize,
    /// The type it is read as.
    pub(crate) data_type: DataType,
}

/// The cache of chunks of one [`crate::ParquetScan`].
pub(crate) struct ChunkCache {
    chunks: Cache<ChunkKey, Arc<Chunk>>,
    bytes_max: u64,
    /// Bytes of the chunks that are in it.
    held_bytes: Arc<AtomicU64>,
    /// The memory of queries, and how much that and the cache may have together; unless the cache is alone.
    queries: OnceLock<(Arc<dyn MemoryPool>, u64)>,
    /// Counts look-ups: the clock of [`Chunk::last_used`].
    lookups: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Bytes given back to queries so far.
    yielded_bytes: AtomicU64,
}

impl ChunkCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let weigh = |_: &ChunkKey, chunk: &Arc<Chunk>| {
            let bytes = (chunk.bytes() + ENTRY_OVERHEAD_BYTES) as u64;
            u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
        };
        let held_bytes = Arc::new(AtomicU64::new(0));
        let held = Arc::clone(&held_bytes);
        let removed = move |_, chunk: Arc<Chunk>, _| {
            held.fetch_sub(chunk.bytes() as u64, Ordering::Relaxed);
        };
        Self {
            chunks: Cache::builder()
                .max_capacity(bytes_max / UNIT_BYTES)
                .weigher(weigh)
                .eviction_listener(removed)
                .build(),
            bytes_max,
            held_bytes,
            queries: OnceLock::new(),
            lookups: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            yielded_bytes: AtomicU64::new(0),
        }
    }

    /// Whether it has memory at all.
    pub(crate) fn is_in_use(&self) -> bool {
        self.bytes_max > 0
    }

    /// The chunk, and whether it was there.
    pub(crate) async fn get(
        &self,
        key: ChunkKey,
        decode: impl Future<Output = Result<Chunk>>,
    ) -> Result<(Arc<Chunk>, bool)> {
        let now = self.lookups.fetch_add(1, Ordering::Relaxed);
        if let Some(chunk) = self.chunks.get(&key).await {
            self.hits.fetch_add(1, Ordering::Relaxed);
            chunk.touch(now);
            return Ok((chunk, true));
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let decode = async {
            let chunk = decode.await?;
            self.held_bytes.fetch_add(chunk.bytes() as u64, Ordering::Relaxed);
            Ok(Arc::new(chunk))
        };
        let decoded = self.chunks.try_get_with_by_ref(&key, decode).await;
        let chunk = decoded.map_err(|error: Arc<Error>| Error::clone(&error))?;
        chunk.touch(now);
        if chunk.bytes() as u64 > self.bytes_max / LARGEST_SHARE {
            self.chunks.invalidate(&key).await;
        }
        self.make_room(0);
        Ok((chunk, false))
    }

    pub(crate) fn contains(&self, key: &ChunkKey) -> bool {
        self.chunks.contains_key(key)
    }

    /// Makes room for so many more bytes of queries.
    fn make_room(&self, additional: usize) {
        let Some((queries, bytes_max)) = self.queries.get() else {
            return;
        };
        let wanted = queries.reserved().saturating_add(additional) as u64;
        let over = wanted.saturating_add(self.bytes()).saturating_sub(*bytes_max);
        if over > 0 && self.bytes() > 0 {
            self.shrink(over);
        }
    }

    /// Drops what was not used for longest, at least so many bytes if there are as many.
    pub(crate) fn shrink(&self, bytes: u64) {
        let mut chunks: Vec<_> = self.chunks.iter().collect();
        chunks.sort_unstable_by_key(|(_, chunk)| chunk.last_used());
        let mut freed = 0;
        for (key, chunk) in chunks {
            if freed >= bytes.saturating_add(self.bytes_max / SLACK_SHARE) {
                break;
            }
            freed += chunk.bytes() as u64;
            // Neither waits unless another thread does the same just now, which then does it for us.
            let _ = self.chunks.invalidate(key.as_ref()).now_or_never();
        }
        self.yielded_bytes.fetch_add(freed, Ordering::Relaxed);
        let _ = self.chunks.run_pending_tasks().now_or_never();
    }

    pub(crate) fn counters(&self) -> ChunkCounters {
        // moka counts its entries when it has the time.
        let _ = self.chunks.run_pending_tasks().now_or_never();
        ChunkCounters {
            chunks: self.chunks.entry_count(),
            bytes: self.bytes(),
            bytes_max: self.bytes_max,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            yielded_bytes: self.yielded_bytes.load(Ordering::Relaxed),
        }
    }

    fn bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

/// What the cache of decoded chunks holds and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkCounters {
    /// Chunks held now.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes it may hold.
    pub bytes_max: u64,
    /// Chunks found.
    pub hits: u64,
    /// Chunks decoded.
    pub misses: u64,
    /// Bytes given back to queries.
    pub yielded_bytes: u64,
}

/// The memory of queries, of which a cache holds what they leave.
pub(crate) struct SharedMemory {
    queries: Arc<dyn MemoryPool>,
    cache: Arc<ChunkCache>,
}

impl SharedMemory {
    /// `bytes_max` is what queries and cache may have together. A cache shares with one pool for ever, the first.
    pub(crate) fn new(queries: Arc<dyn MemoryPool>, cache: Arc<ChunkCache>, bytes_max: u64) -> Self {
        cache.queries.get_or_init(|| (Arc::clone(&queries), bytes_max));
        Self { queries, cache }
    }
}

impl Debug for SharedMemory {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(&self.queries, f)
    }
}

impl Display for SharedMemory {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.queries, f)
    }
}

impl MemoryPool for SharedMemory {
    fn name(&self) -> &str {
        self.queries.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.queries.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.queries.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.cache.make_room(additional);
        self.queries.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.queries.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        self.cache.make_room(additional);
        self.queries.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.queries.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.queries.memory_limit()
    }
}
