//! Byte ranges of remote files, kept in memory. Local files never come here: the kernel's page cache does it better.
//!
//! One reader fetches a range for all who wait for it. Risk accepted: two readers whose sets of missing ranges overlap in
//! part may fetch the overlap twice, because each asks the store for its set in one go. A cache that fails or is too
//! small makes a query slower, never wrong: files are immutable, and a key holds location, version and range.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::physical_plan::metrics::Count;
use futures::FutureExt;
use futures::future::try_join_all;
use moka::future::Cache;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::cache::weight;
use crate::error::{Error, Result};

/// A range larger than this share of the cache would push out too much.
const LARGEST_SHARE: u64 = 8;

type Key = (Arc<str>, u64, u64);

/// The cache of ranges of one [`crate::Stores`].
pub(crate) struct RangeCache {
    ranges: Cache<Key, Bytes>,
    bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl RangeCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let weigh = |_: &Key, bytes: &Bytes| weight(bytes.len());
        Self {
            ranges: Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
            bytes_max,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The bytes of the ranges, in order. `key` names the file and its version; `cached_bytes` is told how many were there.
    pub(crate) async fn get(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        key: &Arc<str>,
        ranges: &[Range<u64>],
        cached_bytes: &Count,
    ) -> Result<Vec<Bytes>> {
        let key_of = |range: &Range<u64>| (Arc::clone(key), range.start, range.end);
        let mut found = Vec::with_capacity(ranges.len());
        for range in ranges {
            found.push(self.ranges.get(&key_of(range)).await);
        }
        let missing: Arc<[Range<u64>]> = ranges
            .iter()
            .zip(&found)
            .filter(|(_, bytes)| bytes.is_none())
            .map(|(range, _)| range.clone())
            .collect();
        self.hits
            .fetch_add((ranges.len() - missing.len()) as u64, Ordering::Relaxed);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        cached_bytes.add(found.iter().flatten().map(Bytes::len).sum());
        if missing.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }

        // One request for all that is missing, started by the first range nobody else is fetching already.
        let (store, path, wanted) = (Arc::clone(store), path.clone(), Arc::clone(&missing));
        let fetch = async move { store.get_ranges(&path, &wanted).await.map_err(Error::from) }
            .boxed()
            .shared();
        let each = missing.iter().enumerate().map(|(index, range)| {
            let fetch = fetch.clone();
            async move {
                let one = async move { Ok(fetch.await?[index].clone()) };
                if range.end - range.start > self.bytes_max / LARGEST_SHARE {
                    return one.await;
                }
                // A coalesced answer is one buffer for many ranges: copied, or an entry would hold more than it weighs.
                let one = async move { one.await.map(|bytes: Bytes| Bytes::copy_from_slice(&bytes)) };
                self.ranges
                    .try_get_with(key_of(range), one)
                    .await
                    .map_err(|error: Arc<Error>| Error::clone(&error))
            }
        });
        let mut fetched = try_join_all(each).await?.into_iter();
        Ok(found
            .into_iter()
            .filter_map(|bytes| bytes.or_else(|| fetched.next()))
            .collect())
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.weighted_size()
    }
}

#[cfg(test)]
mod tests;
