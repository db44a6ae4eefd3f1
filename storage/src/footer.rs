//! Footers with their page indexes, parsed once. Data files are immutable, so a location (with the version of a user's own
//! file) names one footer for ever, and nothing asks the store whether it changed.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use moka::future::Cache;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::cache::weight;
use crate::decoding::{decoding, decoding_future};
use crate::error::{Error, Result};

/// Bytes read from the end of a file at first: most footers with their page index fit.
const FIRST_READ_BYTES: usize = 256 << 10;

/// Memory for footers at most. Omitted from their weight: what parquet-rs shares between footers of one schema, which is little.
const CACHE_BYTES: u64 = 256 << 20;

/// The cache of footers.
pub(crate) struct Footers {
    footers: Cache<Arc<str>, Arc<ParquetMetaData>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Footers {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let bytes_max = CACHE_BYTES.min(bytes_max);
        let weigh = |key: &Arc<str>, footer: &Arc<ParquetMetaData>| weight(footer.memory_size() + key.len());
        Self {
            footers: Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The footer of a file; `key` names the file and its version.
    ///
    /// # Errors
    /// [`crate::ErrorKind::CorruptFile`] when it is no Parquet file; I/O errors.
    pub(crate) async fn get(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        key: &Arc<str>,
        size_bytes: u64,
    ) -> Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.footers.get(key).await {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(footer);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let load = async { read_footer(store, path, size_bytes).await.map(Arc::new) };
        self.footers
            .try_get_with(Arc::clone(key), load)
            .await
            .map_err(|error: Arc<Error>| Error::clone(&error))
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}

/// The footer as it is stored, with what [`allow_nans`] makes of it.
pub(crate) async fn read_footer(store: &Arc<dyn ObjectStore>, path: &Path, size_bytes: u64) -> Result<ParquetMetaData> {
    let reader = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .with_prefetch_hint(Some(FIRST_READ_BYTES));
    let footer = decoding_future(reader.load_and_finish(StoreFetch { store, path }, size_bytes)).await??;
    check_places(&footer)?;
    decoding(|| allow_nans(footer))?
}

/// No part of a column may lie before the beginning of the file: parquet-rs panics at a place or length below zero.
fn check_places(footer: &ParquetMetaData) -> Result<()> {
    let mut chunks = footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let is_placed = |chunk: &ColumnChunkMetaData| {
        let begins = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        begins >= 0 && chunk.data_page_offset() >= 0 && chunk.compressed_size() >= 0
    };
    match chunks.all(is_placed) {
        true => Ok(()),
        false => Err(Error::corrupt(
            "the footer places a column before the beginning of the file",
        )),
    }
}

struct StoreFetch<'a> {
    store: &'a Arc<dyn ObjectStore>,
    path: &'a Path,
}

impl MetadataFetch for StoreFetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let read = async { self.store.get_range(self.path, range).await };
        read.map(|read| read.map_err(|e| ParquetError::External(Box::new(e))))
            .boxed()
    }
}

/// Makes statistics of float columns true under SQL's order, where NaN is above every number: Parquet's leave NaNs out, so
/// pruning `x > 5` by a maximum of 3 would lose a NaN. The maximum becomes NaN; page bounds, which cannot be edited, go.
fn allow_nans(footer: ParquetMetaData) -> Result<ParquetMetaData> {
    let columns = footer.file_metadata().schema_descr().columns();
    let is_float = |t: PhysicalType| matches!(t, PhysicalType::FLOAT | PhysicalType::DOUBLE);
    let floats: Vec<usize> = (0..columns.len())
        .filter(|i| is_float(columns[*i].physical_type()))
        .collect();
    if floats.is_empty() {
        return Ok(footer);
    }
    let mut builder = footer.into_builder();
    let mut groups = builder.take_row_groups();
    for group in &mut groups {
        widen_float_bounds(group, &floats)?;
    }
    if let Some(mut index) = builder.take_column_index() {
        for pages in &mut index {
            for column in &floats {
                if let Some(pages) = pages.get_mut(*column) {
                    *pages = ColumnIndexMetaData::NONE;
                }
            }
        }
        builder = builder.set_column_index(Some(index));
    }
    Ok(builder.set_row_groups(groups).build())
}

fn widen_float_bounds(group: &mut RowGroupMetaData, floats: &[usize]) -> Result<()> {
    for column in floats {
        let Some(chunk) = group.columns_mut().get_mut(*column) else {
            continue;
        };
        // A chunk of only NaNs has no minimum and keeps none.
        let widened = match chunk.statistics() {
            Some(Statistics::Float(known)) => known.min_opt().map(|min| {
                let (distinct, nulls) = (known.distinct_count(), known.null_count_opt());
                let widened = ValueStatistics::new(Some(*min), Some(f32::NAN), distinct, nulls, false);
                Statistics::Float(widened.with_max_is_exact(false))
            }),
            Some(Statistics::Double(known)) => known.min_opt().map(|min| {
                let (distinct, nulls) = (known.distinct_count(), known.null_count_opt());
                let widened = ValueStatistics::new(Some(*min), Some(f64::NAN), distinct, nulls, false);
                Statistics::Double(widened.with_max_is_exact(false))
            }),
            _ => None,
        };
        if let Some(widened) = widened {
            *chunk = chunk.clone().into_builder().set_statistics(widened).build()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn columns_lie_inside_their_file() {
        let rows = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1, 2])) as _)]).expect("rows");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
        writer.write(&rows).expect("they are written");
        let footer = writer.finish().expect("a footer");
        assert!(check_places(&footer).is_ok());
        let with = |change: &dyn Fn(ColumnChunkMetaData) -> ColumnChunkMetaData| {
            let mut builder = footer.clone().into_builder();
            let mut groups = builder.take_row_groups();
            for chunk in groups[0].columns_mut() {
                *chunk = change(chunk.clone());
            }
            check_places(&builder.set_row_groups(groups).build())
        };
        let changed = |built: parquet::errors::Result<ColumnChunkMetaData>| built.expect("a chunk");
        assert!(with(&|chunk| changed(chunk.into_builder().set_total_compressed_size(-1).build())).is_err());
        assert!(with(&|chunk| changed(chunk.into_builder().set_dictionary_page_offset(Some(-1)).build())).is_err());
        assert!(with(&|chunk| changed(chunk.into_builder().set_data_page_offset(-4).build())).is_err());
    }
}
