//! The scan: a list of files -> one operator for DataFusion. Files are shared out by bytes, footers and remote ranges come
//! from caches (`source/reader.rs`), columns are matched by field id (`source/adapt.rs`), and decoded ones come from a cache, too
//! (`source/chunks.rs`).

mod adapt;
mod ahead;
mod bounds;
mod chunks;
mod condition;
mod decode;
mod open;
mod output;
mod prune;
mod reader;

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::DateTime;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{
    FileGroup, FileGroupPartitioner, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringTreemap;

use crate::cache::{ChunkCache, ChunkCounters, SharedMemory};
use crate::deletes::{DeleteCache, live_rows};
use crate::error::{Error, Result};
use crate::fetch::RangeCache;
use crate::field_ids::{field_id, without_field_ids};
use crate::footer::Footers;
use crate::object::Stores;
use crate::sample::{SampleRequest, SampledTable, Samples};
use crate::summary::Summaries;
use adapt::FieldIdAdapterFactory;
use ahead::Ahead;
use chunks::ChunkSource;
use reader::{Caches, Placed, ReaderFactory};

/// A file smaller than this is read by one task; larger ones may be split between tasks at row groups.
const SPLIT_BYTES_MIN: usize = 16 << 20;

/// A file to scan.
#[derive(Debug, Clone)]
pub struct ScanFile {
    /// Where it is. Its content never changes.
    pub location: String,
    /// Its exact size in bytes.
    pub size_bytes: u64,
    /// Its rows.
    pub row_count: u64,
    /// Bounds and counts of every column of the table, in its order. Exact bounds are values of the column under SQL's
    /// order: a float column that may hold NaN must not have an exact or inexact maximum below NaN.
    pub statistics: Option<Arc<Statistics>>,
    /// By field id: the one value a column has in this file, whether stored in it or not (identity partition values).
    pub constants: HashMap<i32, ScalarValue>,
    /// Positions of rows that are not to be given.
    pub deleted: Option<Arc<RoaringTreemap>>,
    /// The number of the file in the rows' addresses.
    pub number: i32,
}

impl ScanFile {
    /// The rows a scan gives.
    pub fn live_count(&self) -> u64 {
        // Foreign delete files may name rows that the data file never had.
        let deleted = self
            .deleted
            .as_ref()
            .map_or(0, |rows| match self.row_count.checked_sub(1) {
                Some(last) => rows.rank(last),
                None => 0,
            });
        self.row_count - deleted
    }
}

/// Names of two columns that say where a row lies. No column of the table has one of these names.
#[derive(Debug, Clone)]
pub struct RowAddress {
    /// `Int32`: [`ScanFile::number`].
    pub file: String,
    /// `Int64`: the position of the row in the file, from 0.
    pub position: String,
}

/// How a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanOptions {
    /// Evaluate filters while decoding, skipping the other columns of rows that fail.
    pub pushdown_filters: bool,
    /// With `pushdown_filters`: evaluate the cheap ones first.
    pub reorder_filters: bool,
}

/// What to scan.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// The table's columns, with field ids in [`crate::FIELD_ID_KEY`] at every level, by which they are found in the files;
    /// what the scan gives has none. Timestamps with time zone may be in the session's zone.
    pub table_schema: SchemaRef,
    /// The files to read.
    pub files: Vec<ScanFile>,
    /// Indexes of the columns to give, in that order; `None` gives all.
    pub projection: Option<Vec<usize>>,
    /// Over `table_schema`: rows that fail it may be left out, files and row groups that cannot pass are.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Rows beyond this many need not be given.
    pub limit: Option<usize>,
    /// Two more columns, after those of the table.
    pub address: Option<RowAddress>,
    /// Tasks to share the files between.
    pub target_partitions: usize,
    /// Orders that the rows of every file follow. Kept for the output only where the files' bounds allow it.
    pub output_ordering: Vec<LexOrdering>,
    /// How to read.
    pub options: ScanOptions,
    /// Rows of the table, for estimates.
    pub sample: Option<SampledTable>,
}

/// What the caches did since the scan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounters {
    /// Footers found in memory.
    pub footer_hits: u64,
    /// Footers read.
    pub footer_misses: u64,
    /// Ranges of remote files found in memory.
    pub range_hits: u64,
    /// Ranges of remote files fetched.
    pub range_misses: u64,
    /// Bytes of ranges held now.
    pub range_bytes: u64,
    /// Bytes of ranges that may be held.
    pub range_bytes_max: u64,
}

/// Makes scans over the stores of one warehouse and keeps their caches.
pub struct ParquetScan {
    stores: Stores,
    caches: Arc<Caches>,
    deletes: DeleteCache,
    samples: Samples,
    summaries: Summaries,
}

impl Debug for ParquetScan {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetScan")
            .field("counters", &self.counters())
            .finish()
    }
}

impl ParquetScan {
    /// A scan with empty caches.
    pub fn new(stores: Stores) -> Self {
        let range_bytes = stores.options().range_cache_bytes;
        let ranges = (range_bytes > 0).then(|| RangeCache::new(range_bytes));
        let chunk_bytes = stores.options().chunk_cache_bytes;
        let bytes_max = stores.options().metadata_cache_bytes.unwrap_or(u64::MAX);
        Self {
            stores,
            caches: Arc::new(Caches {
                footers: Footers::new(bytes_max),
                ranges,
                chunks: Arc::new(ChunkCache::new(chunk_bytes)),
                ahead: Ahead::new(chunk_bytes),
            }),
            deletes: DeleteCache::new(bytes_max),
            samples: Samples::new(bytes_max),
            summaries: Summaries::new(bytes_max),
        }
    }

    /// The operator that reads the files. Opens nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Forbidden`] for a file outside the allow-list, whoever wrote its name into the table.
    pub fn plan(&self, request: ScanRequest) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan_version(request, None)
    }

    /// The memory that queries ask for, of which the cache of decoded columns may have what they leave; `bytes_max` is for both
    /// together.
    pub fn share_memory(&self, queries: Arc<dyn MemoryPool>, bytes_max: u64) -> Arc<dyn MemoryPool> {
        Arc::new(SharedMemory::new(queries, Arc::clone(&self.caches.chunks), bytes_max))
    }

    /// Drops so many bytes of decoded columns, those first that were not used for longest.
    pub fn release_memory(&self, bytes: u64) {
        self.caches.chunks.shrink(bytes);
    }

    /// What the cache of decoded columns holds and did.
    pub fn chunk_counters(&self) -> ChunkCounters {
        self.caches.chunks.counters()
    }

    /// What the caches did.
    pub fn counters(&self) -> CacheCounters {
        let (footers, ranges) = (&self.caches.footers, self.caches.ranges.as_ref());
        CacheCounters {
            footer_hits: footers.hits(),
            footer_misses: footers.misses(),
            range_hits: ranges.map_or(0, RangeCache::hits),
            range_misses: ranges.map_or(0, RangeCache::misses),
            range_bytes: ranges.map_or(0, RangeCache::bytes),
            range_bytes_max: self.stores.options().range_cache_bytes,
        }
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    pub(crate) fn footers(&self) -> &Footers {
        &self.caches.footers
    }

    pub(crate) fn deletes(&self) -> &DeleteCache {
        &self.deletes
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    pub(crate) fn summaries(&self) -> &Summaries {
        &self.summaries
    }

    /// The operator that reads the rows of a sample: by Parquet's reader, which need not decode what lies between.
    pub(crate) fn plan_sample(&self, request: &SampleRequest) -> Result<Arc<dyn ExecutionPlan>> {
        let table = TableSchema::from(without_field_ids(&request.table_schema));
        let place = |(file, ranges): &(ScanFile, Vec<Range<u64>>)| {
            let statistics = file_statistics(file, &request.table_schema, request.table_schema.fields().len());
            let placed = self.place(file, statistics, None, false)?;
            let rows = rows_of_ranges(ranges, file.row_count);
            let rows = match &file.deleted {
                Some(deleted) => live_rows(deleted, file.row_count).intersection(&rows),
                None => rows,
            };
            Ok(placed.with_extension(ParquetRowSelection::new(rows)))
        };
        let files = request.files.iter().map(place).collect::<Result<Vec<_>>>()?;
        let reader = Arc::new(ReaderFactory::new(Arc::clone(&self.caches)));
        let source = ParquetSource::new(table)
            .with_parquet_file_reader_factory(reader)
            .with_enable_page_index(true);
        let schema = Arc::clone(&request.table_schema);
        let config = FileScanConfigBuilder::new(
            ObjectStoreUrl::local_filesystem(),
            Arc::new(ChunkSource::direct(source)),
        )
        .with_file_groups(vec![FileGroup::new(files)])
        .with_expr_adapter(Some(Arc::new(FieldIdAdapterFactory::new(schema))))
        .with_projection_indices(Some(request.columns.clone()))?
        .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    pub(crate) fn plan_version(&self, request: ScanRequest, version: Option<&str>) -> Result<Arc<dyn ExecutionPlan>> {
        let table = table_schema(&request);
        let schema = table.table_schema();
        let addressed = request.address.is_some();
        let place = |file: &ScanFile| {
            let statistics = file_statistics(file, &request.table_schema, schema.fields().len());
            let placed = self.place(file, statistics, version, addressed)?;
            Ok(match &request.sample {
                Some(sample) => placed.with_extension(SampledTable::clone(sample)),
                None => placed,
            })
        };
        let files = request.files.iter().map(place).collect::<Result<Vec<_>>>()?;
        let partitions = request.target_partitions.max(1);
        let (groups, ordering) = group(files, schema, &request.output_ordering, partitions);
        let statistics = total_statistics(&groups, schema)?;

        let reader = Arc::new(ReaderFactory::new(Arc::clone(&self.caches)));
        let parquet = ParquetSource::new(table.clone())
            .with_parquet_file_reader_factory(reader)
            .with_pushdown_filters(request.options.pushdown_filters)
            .with_reorder_filters(request.options.reorder_filters)
            .with_enable_page_index(true);
        // Where a row lies only Parquet's reader says.
        let source = match (addressed || !self.caches.chunks.is_in_use(), request.predicate) {
            (false, predicate) => ChunkSource::new(parquet, predicate.as_ref(), Arc::clone(&self.caches)),
            (true, None) => ChunkSource::direct(parquet),
            (true, Some(predicate)) => ChunkSource::direct(parquet.with_predicate(predicate)),
        };
        // The URL is a formality: each file carries its own store, so that one table may lie in two.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(request.limit)
            .with_output_ordering(ordering)
            .with_expr_adapter(Some(Arc::new(FieldIdAdapterFactory::new(request.table_schema))))
            .with_projection_indices(request.projection)?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn place(
        &self,
        file: &ScanFile,
        statistics: Statistics,
        version: Option<&str>,
        addressed: bool,
    ) -> Result<PartitionedFile> {
        let (_, store, path) = self.stores.resolve(&file.location)?;
        let local = !file.location.contains("://") || file.location.starts_with("file:");
        let key = file_key(&file.location, version);
        let meta = ObjectMeta {
            location: path.clone(),
            // Immutable: no time of change is ever asked for or compared.
            last_modified: DateTime::UNIX_EPOCH,
            size: file.size_bytes,
            e_tag: None,
            version: None,
        };
        let placed = Placed {
            store,
            path,
            key,
            location: Arc::from(file.location.as_str()),
            local,
        };
        let mut partitioned = PartitionedFile::new_from_meta(meta).with_extension(placed);
        partitioned.statistics = Some(Arc::new(statistics));
        if addressed {
            partitioned.partition_values = vec![ScalarValue::Int32(Some(file.number))];
        }
        if let Some(deleted) = &file.deleted {
            let selection = live_rows(deleted, file.row_count);
            partitioned = partitioned.with_extension(ParquetRowSelection::new(selection));
        }
        Ok(partitioned)
    }
}

/// A scan as [`ParquetScan::plan`] made it, for a run that begins: with the run's values in the place of its parameters, and nothing
/// counted yet. `None`: it is another operator, or one that cannot be made anew.
///
/// # Errors
/// A parameter has no value.
pub fn renewed(scan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((config, source)) = chunk_scan(scan) else {
        return Ok(None);
    };
    let source = Arc::new(source.renewed()?);
    let mut config = config.clone();
    config.file_source = source;
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Whether it is a scan that [`renewed`] makes anew.
pub fn is_renewable(scan: &Arc<dyn ExecutionPlan>) -> bool {
    chunk_scan(scan).is_some()
}

fn chunk_scan(scan: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &ChunkSource)> {
    let scan = scan.downcast_ref::<DataSourceExec>()?;
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let source = config.file_source.downcast_ref::<ChunkSource>()?;
    source.reads_chunks().then_some((config, source))
}

/// Ascending ranges of rows, as the Parquet reader wants them told.
fn rows_of_ranges(ranges: &[Range<u64>], row_count: u64) -> RowSelection {
    let rows = usize::try_from(row_count).unwrap_or(usize::MAX);
    let place = |row: u64| usize::try_from(row).unwrap_or(usize::MAX).min(rows);
    let ranges = ranges.iter().map(|range| place(range.start)..place(range.end));
    RowSelection::from_consecutive_ranges(ranges, rows)
}

/// What a file is known by in the caches.
pub(crate) fn file_key(location: &str, version: Option<&str>) -> Arc<str> {
    match version {
        Some(version) => Arc::from(format!("{location}\n{version}")),
        None => Arc::from(location),
    }
}

/// The columns of the scan: the table's, and if they are asked for, those of a row's address.
fn table_schema(request: &ScanRequest) -> TableSchema {
    let own = without_field_ids(&request.table_schema);
    let Some(address) = &request.address else {
        return TableSchema::from(own);
    };
    let position = Field::new(&address.position, DataType::Int64, false).with_extension_type(RowNumber);
    TableSchemaBuilder::new(own)
        .with_table_partition_cols(vec![Arc::new(Field::new(&address.file, DataType::Int32, false))])
        .with_virtual_columns(vec![Arc::new(position)])
        .build()
}

/// The file's statistics with its constants as exact bounds, which is how the opener learns of them. A scan may have more
/// columns than the table.
fn file_statistics(file: &ScanFile, table: &Schema, columns: usize) -> Statistics {
    let rows = usize::try_from(file.live_count()).unwrap_or(usize::MAX);
    let mut statistics = match &file.statistics {
        Some(known) => Statistics::clone(known),
        None => Statistics::new_unknown(table),
    };
    statistics.num_rows = Precision::Exact(rows);
    if statistics.total_byte_size == Precision::Absent {
        statistics.total_byte_size = Precision::Inexact(usize::try_from(file.size_bytes).unwrap_or(usize::MAX));
    }
    statistics
        .column_statistics
        .resize(columns, ColumnStatistics::new_unknown());
    for (field, column) in table.fields().iter().zip(&mut statistics.column_statistics) {
        let Some(value) = field_id(field).and_then(|id| file.constants.get(&id)) else {
            continue;
        };
        if value.is_null() {
            column.null_count = Precision::Exact(rows);
            continue;
        }
        // In another type the value could not be compared with what the file holds.
        let Ok(value) = value.cast_to(field.data_type()) else {
            continue;
        };
        column.null_count = Precision::Exact(0);
        column.distinct_count = Precision::Exact(1);
        column.min_value = Precision::Exact(value.clone());
        column.max_value = Precision::Exact(value);
    }
    statistics
}

/// Shares the files out: in groups that keep a declared order when the bounds allow it, else evenly by bytes.
fn group(
    files: Vec<PartitionedFile>,
    schema: &SchemaRef,
    orders: &[LexOrdering],
    partitions: usize,
) -> (Vec<FileGroup>, Vec<LexOrdering>) {
    if files.is_empty() {
        return (vec![FileGroup::new(Vec::new())], Vec::new());
    }
    if let Some(order) = orders.first() {
        let all = [FileGroup::new(files.clone())];
        let ordered =
            FileScanConfig::split_groups_by_statistics_with_target_partitions(schema, &all, order, partitions);
        // More groups than tasks would mean merging more streams than can run: then plain sharing is better.
        if let Ok(groups) = ordered
            && groups.len() <= partitions
        {
            return (groups, vec![order.clone()]);
        }
    }
    // Largest first, each to the group with the fewest bytes so far.
    let mut files = files;
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); partitions.min(files.len())];
    for file in files {
        if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += file.object_meta.size;
            group.push(file);
        }
    }
    let groups: Vec<FileGroup> = groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect();
    let split = FileGroupPartitioner::new()
        .with_target_partitions(partitions)
        .with_repartition_file_min_size(SPLIT_BYTES_MIN)
        .repartition_file_groups(&groups);
    (split.unwrap_or(groups), Vec::new())
}

/// The statistics of all files together. A file split into ranges counts once.
fn total_statistics(groups: &[FileGroup], schema: &SchemaRef) -> Result<Statistics> {
    let whole = |file: &&PartitionedFile| file.range.as_ref().is_none_or(|range| range.start == 0);
    let files = groups.iter().flat_map(FileGroup::iter).filter(whole);
    let known = files.filter_map(|file| file.statistics.as_deref());
    let mut known = known.peekable();
    if known.peek().is_none() {
        let mut none = Statistics::new_unknown(schema);
        none.num_rows = Precision::Exact(0);
        none.total_byte_size = Precision::Exact(0);
        return Ok(none);
    }
    Statistics::try_merge_iter(known, schema).map_err(Error::from)
}

#[cfg(test)]
mod tests;
