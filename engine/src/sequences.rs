//! The numbers of identity columns: taken from the catalog database in stretches, and given from memory.
//!
//! What is left of a stretch when the server stops is never given: numbers have gaps, none comes twice.

use std::collections::HashMap;
use std::ops::Range;

use parking_lot::Mutex;
use staffa_catalog::Catalog;
use staffa_planner::{Error, Result, Sequences as Source};
use tokio::runtime::Handle;
use uuid::Uuid;

/// Numbers taken at once, at least.
const STRETCH: i64 = 32;

/// All sequences of a warehouse.
#[derive(Debug)]
pub(crate) struct Sequences {
    catalog: Catalog,
    /// Where the catalog's database is asked: the runtime the warehouse was opened on.
    runtime: Handle,
    /// The lock is held while the database is asked, so that one of many waiters asks.
    stretches: Mutex<HashMap<Uuid, Range<i64>>>,
}

impl Sequences {
    pub(crate) fn new(catalog: Catalog, runtime: Handle) -> Self {
        Self {
            catalog,
            runtime,
            stretches: Mutex::default(),
        }
    }

    /// Asks the catalog and waits. Only for threads that run operators or plan: never on the runtime that is asked.
    fn ask(&self, sequence: Uuid, count: i64) -> Result<i64> {
        let (sender, answer) = std::sync::mpsc::sync_channel(1);
        let catalog = self.catalog.clone();
        self.runtime.spawn(async move {
            let _ = sender.send(catalog.take_numbers(sequence, count).await);
        });
        match answer.recv() {
            Ok(first) => Ok(first?),
            Err(_) => Err(Error::internal("the warehouse is being closed")),
        }
    }
}

impl Source for Sequences {
    fn take(&self, sequence: Uuid, count: i64) -> Result<i64> {
        let mut stretches = self.stretches.lock();
        let left = stretches.entry(sequence).or_insert(0..0);
        if left.end - left.start < count {
            let wanted = count.max(STRETCH);
            let first = self.ask(sequence, wanted)?;
            // The rest of the old stretch goes on into a new one that follows it.
            let start = if first == left.end && left.start < left.end {
                left.start
            } else {
                first
            };
            *left = start..first + wanted;
        }
        let first = left.start;
        left.start += count;
        Ok(first)
    }
}
