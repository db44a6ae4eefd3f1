//! `staffa.cache`: what the caches of this server hold and did.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_planner::SqlType;
use staffa_planner::types::arrow_field;
use staffa_storage::ParquetScan;

use crate::results::Results;

pub(crate) struct CacheTable {
    scan: Arc<ParquetScan>,
    results: Arc<Results>,
    schema: SchemaRef,
}

/// One cache. What it does not count is null.
struct Row {
    name: &'static str,
    entries: Option<u64>,
    bytes: Option<u64>,
    bytes_max: Option<u64>,
    hits: u64,
    misses: u64,
    yielded_bytes: Option<u64>,
}

impl CacheTable {
    pub(crate) fn new(scan: Arc<ParquetScan>, results: Arc<Results>) -> Self {
        let columns = [
            ("name", SqlType::Text),
            ("entries", SqlType::BigInt),
            ("bytes", SqlType::BigInt),
            ("bytes_max", SqlType::BigInt),
            ("hits", SqlType::BigInt),
            ("misses", SqlType::BigInt),
            ("yielded_bytes", SqlType::BigInt),
        ];
        // None of the types has a time zone.
        let fields = columns.map(|(name, ty)| arrow_field(name, &ty, true, "UTC"));
        Self {
            scan,
            results,
            schema: Arc::new(Schema::new(fields.to_vec())),
        }
    }

    fn rows(&self) -> DataFusionResult<RecordBatch> {
        let (columns, counters) = (self.scan.chunk_counters(), self.scan.counters());
        let results = self.results.counters();
        let rows = [
            Row {
                name: "columns",
                entries: Some(columns.chunks),
                bytes: Some(columns.bytes),
                bytes_max: Some(columns.bytes_max),
                hits: columns.hits,
                misses: columns.misses,
                yielded_bytes: Some(columns.yielded_bytes),
            },
            Row {
                name: "results",
                entries: Some(results.entries),
                bytes: Some(results.bytes),
                bytes_max: Some(results.bytes_max),
                hits: results.hits,
                misses: results.misses,
                yielded_bytes: Some(results.yielded_bytes),
            },
            Row {
                name: "remote files",
                entries: None,
                bytes: Some(counters.range_bytes),
                bytes_max: Some(counters.range_bytes_max),
                hits: counters.range_hits,
                misses: counters.range_misses,
                yielded_bytes: None,
            },
            Row {
                name: "footers",
                entries: None,
                bytes: None,
                bytes_max: None,
                hits: counters.footer_hits,
                misses: counters.footer_misses,
                yielded_bytes: None,
            },
        ];
        let number = |of: fn(&Row) -> Option<u64>| -> ArrayRef {
            let numbers = rows
                .iter()
                .map(|row| of(row).and_then(|number| i64::try_from(number).ok()));
            Arc::new(Int64Array::from_iter(numbers))
        };
        let columns = vec![
            Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.name))) as ArrayRef,
            number(|row| row.entries),
            number(|row| row.bytes),
            number(|row| row.bytes_max),
            number(|row| Some(row.hits)),
            number(|row| Some(row.misses)),
            number(|row| row.yielded_bytes),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl fmt::Debug for CacheTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheTable")
    }
}

#[async_trait]
impl TableProvider for CacheTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let plan = MemorySourceConfig::try_new_exec(&[vec![self.rows()?]], self.schema(), projection.cloned())?;
        Ok(plan)
    }
}
