//! What the scans of one statement read, and what they could leave out: shown by EXPLAIN.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use staffa_catalog::TableName;

use crate::error::{Error, ErrorKind, Result};

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

/// What the scans of one statement may read, together. `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanLimits {
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
}

/// The reports of one statement's scans, which find it in the configuration they are planned with.
#[derive(Debug, Default)]
pub struct ScanReports {
    limits: ScanLimits,
    shows_estimates: AtomicBool,
    list: Mutex<Vec<ScanReport>>,
}

impl ScanReports {
    /// For a statement that is refused, before it reads anything, when its scans together would read more.
    pub fn limited(limits: ScanLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Somebody will see estimates: they are worth some work then, even where no plan hangs on them.
    pub fn show_estimates(&self) {
        self.shows_estimates.store(true, Ordering::Relaxed);
    }

    pub(crate) fn shows_estimates(&self) -> bool {
        self.shows_estimates.load(Ordering::Relaxed)
    }

    /// Whether a statement may be refused for what it would read.
    pub(crate) fn is_limited(&self) -> bool {
        self.limits.rows.is_some() || self.limits.bytes.is_some()
    }

    /// How many files all scans read.
    pub fn files_read(&self) -> u64 {
        self.list.lock().iter().map(|scan| scan.files_read as u64).sum()
    }

    /// What has been reported so far, in the order the scans were planned.
    pub fn all(&self) -> Vec<ScanReport> {
        self.list.lock().clone()
    }

    pub(crate) fn push(&self, report: ScanReport) -> Result<()> {
        let mut list = self.list.lock();
        list.push(report);
        let sum = |of: fn(&ScanReport) -> u64| list.iter().map(of).sum::<u64>();
        within("bytes", sum(|scan| scan.bytes_read), self.limits.bytes)?;
        within("rows", sum(|scan| scan.rows_read), self.limits.rows)
    }
}

fn within(what: &str, wanted: u64, most: Option<u64>) -> Result<()> {
    match most.filter(|most| wanted > *most) {
        None => Ok(()),
        Some(most) => Err(Error::new(
            ErrorKind::ConfigurationLimitExceeded,
            format!("the statement would read too many {what}"),
        )
        .with_detail(format!(
            "It would read {wanted} {what} of its tables' files; staffa.max_{what}_scanned allows {most}."
        ))
        .with_hint(
            "EXPLAIN shows what is read of each table. Conditions on partitioned or sorted columns leave files out.",
        )),
    }
}
