//! Some rows of a table, from which is estimated what conditions leave of all: blocks of neighbours, spread evenly over its files.
//!
//! A sample is an estimate and nothing else: it may be of an older state of the table, and no answer hangs on it. Samples are
//! kept while there is room; of each table there is one.

mod stored;

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, collect};
use moka::future::Cache;

use crate::cache::weight;
use crate::error::{Error, Result};
use crate::source::{ParquetScan, ScanFile};
use crate::summary::ColumnSummary;

/// Memory of all samples together.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// A share of the rows that may come or go before a sample is taken anew.
const GROWTH_MAX: f64 = 0.2;

/// Rows of a table.
pub struct RowSample {
    rows: RecordBatch,
    /// For each column of the table its place in `rows`; wide ones are not there.
    places: Vec<Option<usize>>,
    /// What the table had.
    rows_total: u64,
    distinct: Vec<OnceLock<f64>>,
}

/// A sample, and what the table has now.
#[derive(Clone, Debug)]
pub struct SampledTable {
    /// The sample.
    pub sample: Arc<RowSample>,
    /// Rows of the table.
    pub rows: u64,
    /// What is known of all rows, for each column of the table.
    pub columns: Arc<[Option<Arc<ColumnSummary>>]>,
}

/// Which rows are to be in a sample.
#[derive(Debug)]
pub struct SampleRequest {
    /// As of a scan.
    pub table_schema: SchemaRef,
    /// Columns to take, ascending.
    pub columns: Vec<usize>,
    /// Positions of rows in each of some files.
    pub files: Vec<(ScanFile, Vec<Range<u64>>)>,
    /// Rows of the table.
    pub rows_total: u64,
}

impl Debug for RowSample {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowSample")
            .field("rows", &self.rows.num_rows())
            .field("rows_total", &self.rows_total)
            .finish_non_exhaustive()
    }
}

impl RowSample {
    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.rows.num_rows()
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Where a column of the table is among the columns of [`rows`](Self::rows).
    pub fn place(&self, column: usize) -> Option<usize> {
        self.places.get(column).copied().flatten()
    }

    /// Whether it says what there is to know of a table of so many rows.
    pub fn is_of(&self, rows: u64) -> bool {
        let (known, rows) = (self.rows_total as f64, rows as f64);
        (known - rows).abs() <= known * GROWTH_MAX
    }

    /// How many different values a column of [`rows`](Self::rows) has in the whole table, about.
    pub fn distinct_count(&self, place: usize) -> f64 {
        let (Some(known), column) = (self.distinct.get(place), self.rows.column(place)) else {
            return self.rows_total as f64;
        };
        *known.get_or_init(|| distinct_count(column, self.rows_total as f64).unwrap_or(self.rows_total as f64))
    }

    fn bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}

impl SampledTable {
    /// What is known of all rows of a column of the table.
    pub fn summary(&self, column: usize) -> Option<&Arc<ColumnSummary>> {
        self.columns.get(column)?.as_ref()
    }

    /// The same of a column of the sample.
    pub fn summary_at(&self, place: usize) -> Option<&Arc<ColumnSummary>> {
        let column = self.sample.places.iter().position(|known| *known == Some(place))?;
        self.summary(column)
    }

    /// How many different values a column of the sample has in the whole table, about.
    pub fn distinct_count(&self, place: usize) -> f64 {
        match self.summary_at(place) {
            Some(known) => known.distinct_in(self.rows),
            None => self.sample.distinct_count(place),
        }
    }

    /// Of the table an operator scans, if it has one.
    pub fn of(scan: &dyn ExecutionPlan) -> Option<&SampledTable> {
        let source = (scan as &dyn std::any::Any).downcast_ref::<DataSourceExec>()?;
        let config = source.data_source().downcast_ref::<FileScanConfig>()?;
        let mut files = config.file_groups.iter().flat_map(|group| group.iter());
        files.next()?.extension::<SampledTable>()
    }
}

/// How many different values there are where a sample of blocks has these (Haas and Stokes' estimator "Duj1", of runs: neighbours
/// that are equal say nothing of how often a value comes elsewhere).
fn distinct_count(column: &ArrayRef, rows_total: f64) -> Result<f64> {
    let mut hashes = vec![0_u64; column.len()];
    create_hashes([column], &RandomState::with_seed(1), &mut hashes)?;
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let (mut runs, mut valid, mut last) = (0_u32, 0_u32, None);
    for (row, hash) in hashes.into_iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
        valid += 1;
        if last.replace(hash) != Some(hash) || row == 0 {
            runs += 1;
            *seen.entry(hash).or_default() += 1;
        }
    }
    if valid == 0 {
        return Ok(1.0);
    }
    let distinct = seen.len() as f64;
    let sampled = column.len() as f64;
    if sampled >= rows_total {
        return Ok(distinct);
    }
    let once = seen.values().filter(|count| **count == 1).count() as f64;
    let runs = f64::from(runs);
    let runs_total = (rows_total * runs / sampled).max(runs);
    let estimate = runs * distinct / (runs - once + once * runs / runs_total);
    Ok(estimate.clamp(distinct, rows_total.max(distinct)))
}

/// The samples of tables, by what the caller calls them.
///
/// `None`: it could not be taken.
pub(crate) struct Samples(Cache<String, Option<Arc<RowSample>>>);

impl Samples {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let bytes_max = KEPT_BYTES_MAX.min(bytes_max);
        let weigh = |key: &String, sample: &Option<Arc<RowSample>>| {
            let bytes = sample.as_ref().map_or(0, |sample| sample.bytes());
            weight(key.len() + bytes)
        };
        Self(Cache::builder().max_capacity(bytes_max).weigher(weigh).build())
    }
}

impl ParquetScan {
    /// The sample kept for a table, if it is of about so many rows.
    pub async fn kept_sample(&self, table: &str, rows: u64) -> Option<Arc<RowSample>> {
        let kept = self.samples().0.get(table).await.flatten();
        kept.filter(|sample| sample.is_of(rows))
    }

    /// The same, or else one that is taken for all who want it.
    pub async fn sample(
        &self,
        table: &str,
        rows: u64,
        take: impl Future<Output = Option<RowSample>>,
    ) -> Option<Arc<RowSample>> {
        let taken = async { take.await.map(Arc::new) };
        let is_stale = |kept: &Option<Arc<RowSample>>| kept.as_ref().is_none_or(|sample| !sample.is_of(rows));
        let entry = self.samples().0.entry_by_ref(table);
        entry.or_insert_with_if(taken, is_stale).await.into_value()
    }

    /// Keeps a sample instead of another.
    pub async fn keep_sample(&self, table: &str, sample: Arc<RowSample>) {
        self.samples().0.insert(table.to_owned(), Some(sample)).await;
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// As of reading the files.
    pub async fn take_sample(&self, request: SampleRequest) -> Result<RowSample> {
        let plan = self.plan_sample(&request)?;
        let schema = plan.schema();
        let batches = collect(plan, Arc::new(TaskContext::default())).await?;
        let rows = concat_batches(&schema, &batches).map_err(Error::from)?;
        let columns = rows.columns().iter().map(compact).collect();
        let rows = RecordBatch::try_new(schema, columns).map_err(Error::from)?;
        let mut places = vec![None; request.table_schema.fields().len()];
        for (place, column) in request.columns.iter().enumerate() {
            if let Some(slot) = places.get_mut(*column) {
                *slot = Some(place);
            }
        }
        Ok(RowSample {
            distinct: (0..rows.num_columns()).map(|_| OnceLock::new()).collect(),
            rows,
            places,
            rows_total: request.rows_total,
        })
    }
}

/// Without the texts of whole pages, of which views hold on to a few.
pub(crate) fn compact(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;

    use super::*;

    #[test]
    fn different_values_of_a_whole_table() {
        let count = |values: Vec<Option<i32>>, rows_total: f64| {
            let column: ArrayRef = Arc::new(Int32Array::from(values));
            distinct_count(&column, rows_total).expect("a count")
        };
        let scattered = |values: i32| (0..2000).map(move |row| Some(row * 7919 % 104_729 % values));
        assert_eq!(count(scattered(10).collect(), 1e6), 10.0);
        assert_eq!(count((0..2000).map(Some).collect(), 1e6), 1e6, "a key");
        // Four neighbours are always one: an order's lines.
        assert_eq!(count((0..2000).map(|row| Some(row / 4)).collect(), 1e6), 250_000.0);
        assert_eq!(count(vec![None, Some(1), Some(2), None], 4.0), 2.0, "all rows");
        assert_eq!(count(vec![None; 3], 100.0), 1.0);
    }
}
