//! What upkeep did, for `staffa.maintenance`: the last pieces of work of this server.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use staffa_catalog::TableName;
use staffa_planner::{Error, ErrorKind, Result};

use crate::warehouse::Warehouse;

/// How many are kept.
const RECORDS_MAX: usize = 1000;

/// Who asked for the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Background,
    Statement,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) started: DateTime<Utc>,
    pub(crate) finished: DateTime<Utc>,
    pub(crate) operation: &'static str,
    pub(crate) table: Option<TableName>,
    pub(crate) origin: Origin,
    /// Files, or snapshots when they expire; with their bytes.
    pub(crate) before: (u64, u64),
    pub(crate) after: (u64, u64),
    pub(crate) result: String,
}

impl Record {
    pub(crate) fn start(operation: &'static str, table: Option<&TableName>, origin: Origin) -> Self {
        let now = Utc::now();
        Self {
            started: now,
            finished: now,
            operation,
            table: table.cloned(),
            origin,
            before: (0, 0),
            after: (0, 0),
            result: String::new(),
        }
    }

    pub(crate) fn before(&mut self, files: u64, bytes: u64) {
        self.before = (files, bytes);
    }

    pub(crate) fn after(&mut self, files: u64, bytes: u64) {
        self.after = (files, bytes);
    }

    pub(crate) fn files_before(&self) -> u64 {
        self.before.0
    }

    /// Puts a deletion on record, unless there was nothing to delete.
    pub(crate) fn end_deletion(mut self, warehouse: &Warehouse, deleted: u64, result: Result<()>) -> Result<()> {
        if deleted == 0 && result.is_ok() {
            return Ok(());
        }
        self.before(deleted, 0);
        self.end(warehouse, result).map(drop)
    }

    /// Puts it on record. Tells whether it was done: a lost race is no error, the work is to be found again.
    pub(crate) fn end(mut self, warehouse: &Warehouse, result: Result<()>) -> Result<bool> {
        self.finished = Utc::now();
        let (text, result) = match result {
            Ok(()) => ("done".to_owned(), Ok(true)),
            Err(error) if error.kind() == ErrorKind::SerializationFailure => {
                self.after = self.before;
                ("gave up: others changed the same files".to_owned(), Ok(false))
            }
            Err(error) => (format!("failed: {error}"), Err::<bool, Error>(error)),
        };
        self.result = text;
        if let Err(error) = &result {
            let table = self.table.as_ref().map(ToString::to_string);
            tracing::warn!(operation = self.operation, table, %error, "upkeep failed");
        }
        warehouse.records().push(self);
        result
    }
}

/// The newest records.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<VecDeque<Record>>);

impl Records {
    fn push(&self, record: Record) {
        let mut records = self.0.lock();
        if records.len() >= RECORDS_MAX {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> Vec<Record> {
        self.0.lock().iter().cloned().collect()
    }
}
