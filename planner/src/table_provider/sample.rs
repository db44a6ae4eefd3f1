//! The sample of a table's rows that estimates are made from: that which statistics keep, or one that is taken when a query first
//! has use for it, again when the table has grown or shrunk much, or when ANALYZE asks. And what statistics say of all rows,
//! where there are any.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use staffa_catalog::{LiveFile, Table};
use staffa_storage::{ColumnSummary, ParquetScan, RowSample, SampleRequest, SampledTable, TableSummary};

use super::{StaffaTable, scan_file};
use crate::context::PlanContext;
use crate::error::{Error, Result};
use crate::types::table_arrow_schema;

/// Where in the table rows are taken, and how many at each place: a page is decoded for each column and place.
const BLOCKS: u64 = 16;
const BLOCK_ROWS: u64 = 128;

/// Columns with longer values are left out.
const VALUE_BYTES_MAX: u64 = 512;

/// How long a query waits for a sample. It is taken all the same, for the next one.
const WAIT_MAX: Duration = Duration::from_millis(300);

/// In a session's configuration: estimates are wanted, so scans bring samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantsSamples;

impl StaffaTable {
    /// Rows that are not deleted, as far as metadata says.
    pub(crate) fn row_count(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.row_count - file.deleted_count())
            .sum()
    }

    /// The sample of the table, if it can be had soon.
    pub(super) async fn sample(&self) -> Option<SampledTable> {
        let rows = self.row_count();
        let key = self.sample_key();
        let summary = table_summary(&self.scan, &self.table).await;
        let columns = self.columns_of(summary.as_deref());
        if let Some(sample) = self.scan.kept_sample(&key, rows).await {
            return Some(SampledTable { sample, rows, columns });
        }
        let stored = summary.and_then(|summary| summary.sample(&self.stored));
        if let Some(sample) = stored.filter(|sample| sample.is_of(rows)) {
            let sample = Arc::new(sample);
            self.scan.keep_sample(&key, Arc::clone(&sample)).await;
            return Some(SampledTable { sample, rows, columns });
        }
        let table = self.without(&self.skipped);
        // What cannot be read the query will say itself.
        let taken = tokio::spawn(async move {
            let take = async { table.taken_sample().await.ok() };
            table.scan.sample(&key, rows, take).await
        });
        let sample = tokio::time::timeout(WAIT_MAX, taken).await.ok()?.ok()??;
        Some(SampledTable { sample, rows, columns })
    }

    /// What statistics say of each column.
    fn columns_of(&self, summary: Option<&TableSummary>) -> Arc<[Option<Arc<ColumnSummary>>]> {
        let columns = self.table.schema().columns.iter();
        columns
            .map(|column| summary?.column(column.field_id).cloned())
            .collect()
    }

    /// The sample for new statistics to keep: the one that is in use, unless there is none or the table has changed much since.
    async fn sample_to_keep(&self) -> Result<Bytes> {
        let (rows, key) = (self.row_count(), self.sample_key());
        let sample = match self.scan.kept_sample(&key, rows).await {
            Some(sample) => sample,
            None => {
                let summary = table_summary(&self.scan, &self.table).await;
                let stored = summary.and_then(|summary| summary.sample(&self.stored));
                Arc::new(match stored.filter(|sample| sample.is_of(rows)) {
                    Some(sample) => sample,
                    None => self.taken_sample().await?,
                })
            }
        };
        Ok(sample.encode(&self.stored)?)
    }

    /// Takes a sample, and keeps it.
    pub(crate) async fn analyze(&self) -> Result<()> {
        let sample = self.taken_sample().await?;
        self.scan.keep_sample(&self.sample_key(), Arc::new(sample)).await;
        Ok(())
    }

    async fn taken_sample(&self) -> Result<RowSample> {
        let rows_total = self.row_count();
        let mut files = Vec::new();
        for (file, ranges) in places(&self.files) {
            let scanned = scan_file(&self.scan, &self.table, &self.stored, file, 0).await?;
            files.push((scanned, ranges));
        }
        let request = SampleRequest {
            columns: self.sampled_columns(),
            table_schema: Arc::clone(&self.stored),
            files,
            rows_total,
        };
        self.scan.take_sample(request).await.map_err(Error::from)
    }

    /// Columns are known by their places, so another schema has another sample.
    fn sample_key(&self) -> String {
        format!("{}/{}", self.table.uuid(), self.table.schema().schema_id)
    }

    fn sampled_columns(&self) -> Vec<usize> {
        let rows: u64 = self.files.iter().map(|file| file.row_count).sum();
        let is_narrow = |place: &usize| {
            let Some(column) = self.table.schema().columns.get(*place) else {
                return false;
            };
            let known = self.files.iter().flat_map(|file| &file.columns);
            let bytes: u64 = known
                .filter(|known| known.field_id == column.field_id)
                .map(|known| known.size_bytes)
                .sum();
            !self.stored.field(*place).data_type().is_nested() && bytes <= rows.saturating_mul(VALUE_BYTES_MAX)
        };
        (0..self.stored.fields().len()).filter(is_narrow).collect()
    }
}

/// The sample of a table's rows for its new statistics to keep.
///
/// # Errors
/// Of reading the table.
pub async fn sample_to_keep(context: &PlanContext, table: &Arc<Table>) -> Result<Bytes> {
    let table = StaffaTable::open(context, Arc::clone(table)).await?;
    table.sample_to_keep().await
}

/// What a table's statistics say of its columns.
pub async fn table_summary(scan: &ParquetScan, table: &Table) -> Option<Arc<TableSummary>> {
    let statistics = table.statistics()?;
    let schema = table_arrow_schema(table.schema(), "UTC");
    // Columns may have other types and names in another schema.
    let key = table.schema().schema_id.to_string();
    scan.summary(&statistics.location, &schema, &key).await
}

/// Blocks of rows, as evenly spread over the files as can be: all rows where there are few.
fn places(files: &[Arc<LiveFile>]) -> Vec<(&LiveFile, Vec<Range<u64>>)> {
    let total: u64 = files.iter().map(|file| file.row_count).sum();
    let blocks: Vec<Range<u64>> = match total <= BLOCKS * BLOCK_ROWS {
        true => std::iter::once(0..total).collect(),
        false => (0..BLOCKS)
            .map(|block| block * (total - BLOCK_ROWS) / (BLOCKS - 1))
            .map(|start| start..start + BLOCK_ROWS)
            .collect(),
    };
    let mut first = 0;
    let mut places = Vec::new();
    for file in files {
        let end = first + file.row_count;
        let inside = blocks
            .iter()
            .map(|block| block.start.max(first)..block.end.min(end))
            .filter(|part| part.start < part.end)
            .map(|part| part.start - first..part.end - first);
        let inside: Vec<Range<u64>> = inside.collect();
        if !inside.is_empty() {
            places.push((file.as_ref(), inside));
        }
        first = end;
    }
    places
}
