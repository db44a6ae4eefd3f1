//! What a serializable transaction has read, noted as its scans are planned: a table, and the filter by which files of it
//! were left out. Its commit asks whether files that others changed since would have been read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use parking_lot::Mutex;
use staffa_catalog::{LiveFile, Reading, Table, TableName, Uuid};

use crate::table_provider::files_that_may_match;

/// Reads of one table that are kept apart; with more of them all of the table counts as read.
const READS_MAX: usize = 1000;

/// What a transaction has read so far, by table.
#[derive(Debug, Default)]
pub struct ReadLog {
    tables: Mutex<BTreeMap<Uuid, (TableName, Rows)>>,
}

/// Which rows of a table.
#[derive(Clone, Debug)]
enum Rows {
    All,
    Some(Vec<Filtered>),
}

/// The rows that pass a filter over the columns of a table.
#[derive(Clone, Debug)]
struct Filtered {
    table: Arc<Table>,
    schema: SchemaRef,
    filter: Arc<dyn PhysicalExpr>,
}

impl ReadLog {
    /// Notes that every row of a table counts as read.
    pub fn all(&self, table: &Table) {
        let mut tables = self.tables.lock();
        tables.insert(table.uuid(), (table.name().clone(), Rows::All));
    }

    /// Notes a scan: all rows that pass the filter, if there is one.
    pub(crate) fn scan(&self, table: &Arc<Table>, schema: &SchemaRef, filter: Option<&Arc<dyn PhysicalExpr>>) {
        let Some(filter) = filter else {
            return self.all(table);
        };
        let mut tables = self.tables.lock();
        let entry = tables.entry(table.uuid());
        let (_, rows) = entry.or_insert_with(|| (table.name().clone(), Rows::Some(Vec::new())));
        let Rows::Some(reads) = rows else { return };
        if reads
            .iter()
            .any(|read| read.filter.eq(filter) && read.schema.eq(schema))
        {
            return;
        }
        if reads.len() >= READS_MAX {
            *rows = Rows::All;
            return;
        }
        reads.push(Filtered {
            table: Arc::clone(table),
            schema: Arc::clone(schema),
            filter: Arc::clone(filter),
        });
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.tables.lock().is_empty()
    }

    /// What was read of each table.
    pub fn tables(&self) -> Vec<(TableName, Uuid, Arc<dyn Reading>)> {
        let tables = self.tables.lock();
        let reading = |rows: &Rows| Arc::new(rows.clone()) as Arc<dyn Reading>;
        let tables = tables.iter();
        tables
            .map(|(uuid, (name, rows))| (name.clone(), *uuid, reading(rows)))
            .collect()
    }
}

impl Reading for Rows {
    fn may_concern(&self, files: &[Arc<LiveFile>]) -> bool {
        match self {
            Rows::All => !files.is_empty(),
            Rows::Some(reads) => reads.iter().any(|read| read.may_pass(files)),
        }
    }
}

impl Filtered {
    fn may_pass(&self, files: &[Arc<LiveFile>]) -> bool {
        let passing = files_that_may_match(&self.table, &self.schema, files, &self.filter);
        // What cannot be judged counts.
        passing.map_or(true, |passing| !passing.is_empty())
    }
}
