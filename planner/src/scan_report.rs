//! What the scans of one statement read, and what they could leave out: shown by EXPLAIN.

use parking_lot::Mutex;
use staffa_catalog::TableName;

/// One scan of one table. Bytes are those of the Parquet files, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanReport {
    pub table: TableName,
    pub files_total: usize,
    pub files_read: usize,
    pub bytes_total: u64,
    pub bytes_read: u64,
    /// Rows of the files that are read.
    pub rows_read: u64,
    /// Files left out because of their partition values.
    pub pruned_by_partition: usize,
    /// Further files left out because of their columns' bounds and null counts.
    pub pruned_by_statistics: usize,
    /// The directory of the table's files inside its store, without a leading slash; EXPLAIN finds the scan by it.
    pub(crate) directory: String,
}

/// The reports of one statement's scans, which find it in the configuration they are planned with.
#[derive(Debug, Default)]
pub struct ScanReports {
    list: Mutex<Vec<ScanReport>>,
}

impl ScanReports {
    /// What has been reported so far, in the order the scans were planned.
    pub fn all(&self) -> Vec<ScanReport> {
        self.list.lock().clone()
    }

    pub(crate) fn push(&self, report: ScanReport) {
        self.list.lock().push(report);
    }
}
