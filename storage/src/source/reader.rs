//! How readers of Parquet get bytes and footers: through our caches.

use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;

use super::ahead::Ahead;
use crate::cache::ChunkCache;
use crate::error::{Error, Result};
use crate::fetch::RangeCache;
use crate::footer::Footers;

/// What errors call a file.
pub(super) fn location_of(file: &PartitionedFile) -> Arc<str> {
    match file.extension::<Placed>() {
        Some(placed) => Arc::clone(&placed.location),
        None => file.object_meta.location.as_ref().into(),
    }
}

/// What scans of one warehouse share.
pub(super) struct Caches {
    pub(super) footers: Footers,
    /// `None` when no memory was given to it.
    pub(super) ranges: Option<RangeCache>,
    /// Decoded columns.
    pub(super) chunks: Arc<ChunkCache>,
    pub(super) ahead: Ahead,
}

impl Caches {
    pub(super) async fn footer(&self, placed: &Placed, size_bytes: u64) -> Result<Arc<ParquetMetaData>> {
        let Placed {
            store,
            path,
            key,
            location,
            ..
        } = placed;
        let footer = self.footers.get(store, path, key, size_bytes).await;
        footer.map_err(|e| e.at(location.as_ref()))
    }

    pub(super) fn reader(self: &Arc<Self>, placed: Placed, size_bytes: u64, metrics: ReadMetrics) -> Reader {
        Reader {
            metrics,
            caches: Arc::clone(self),
            size_bytes,
            placed,
        }
    }
}

/// What reading counts: for one file, or for all of a task.
#[derive(Clone)]
pub(super) struct ReadMetrics {
    pub(super) files: ParquetFileMetrics,
    /// Of the scanned bytes, those that no request was made for.
    cached_bytes: Count,
}

impl ReadMetrics {
    pub(super) fn new(partition: usize, file: &str, metrics: &ExecutionPlanMetricsSet) -> Self {
        Self {
            files: ParquetFileMetrics::new(partition, file, metrics),
            cached_bytes: MetricBuilder::new(metrics).counter("bytes_from_cache", partition),
        }
    }
}

/// Where a file is; travels with it through DataFusion.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    /// Names the file and its version in the caches.
    pub(super) key: Arc<str>,
    /// For people.
    pub(super) location: Arc<str>,
    /// On this machine's disk: its ranges are not cached.
    pub(super) local: bool,
}

pub(super) struct ReaderFactory {
    caches: Arc<Caches>,
}

impl ReaderFactory {
    pub(super) fn new(caches: Arc<Caches>) -> Self {
        Self { caches }
    }
}

impl Debug for ReaderFactory {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReaderFactory")
    }
}

impl ParquetFileReaderFactory for ReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        let placed = file.extension::<Placed>().cloned();
        let placed = placed.ok_or_else(|| Error::internal("a file of the scan has no store"))?;
        let metrics = ReadMetrics::new(partition_index, placed.path.as_ref(), metrics);
        Ok(Box::new(self.caches.reader(placed, file.object_meta.size, metrics)))
    }
}

/// Reads one file.
pub(super) struct Reader {
    metrics: ReadMetrics,
    caches: Arc<Caches>,
    size_bytes: u64,
    placed: Placed,
}

impl Reader {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn location(&self) -> &str {
        &self.placed.location
    }

    pub(super) async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.metrics.files.bytes_scanned.add(bytes as usize);
        let Placed {
            store,
            path,
            key,
            location,
            local,
        } = &self.placed;
        if let Some(range) = ranges
            .iter()
            .find(|range| range.end > self.size_bytes || range.start > range.end)
        {
            let message = format!(
                "invalid parquet file (bytes {} to {} do not exist)",
                range.start, range.end
            );
            return Err(Error::corrupt(message).at(location.as_ref()));
        }
        let read = match &self.caches.ranges {
            Some(cache) if !local => cache.get(store, path, key, ranges, &self.metrics.cached_bytes).await,
            _ => store.get_ranges(path, ranges).await.map_err(Error::from),
        };
        read.map_err(|e| e.at(location.as_ref()))
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let bytes = self.read(std::slice::from_ref(&range)).await?;
            Ok(bytes
                .into_iter()
                .next()
                .ok_or_else(|| Error::internal("a store gave no bytes for a range"))?)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { Ok(self.read(&ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move { Ok(self.caches.footer(&self.placed, self.size_bytes).await?) }.boxed()
    }
}
