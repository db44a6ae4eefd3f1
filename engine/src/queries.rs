//! `staffa.queries`: the statements that run or wait, and the last that ended.

use std::fmt;
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_catalog::Access;
use staffa_planner::SqlType;
use staffa_planner::types::arrow_field;

use crate::register::{Record, Register};

/// What one role sees of the register.
pub(crate) struct QueriesTable {
    register: Arc<Register>,
    access: Access,
    user: String,
    time_zone: String,
    schema: SchemaRef,
}

impl QueriesTable {
    pub(crate) fn new(register: Arc<Register>, access: Access, user: &str, time_zone: &str) -> Self {
        let columns = [
            ("id", SqlType::BigInt),
            ("pid", SqlType::Integer),
            ("user_name", SqlType::Text),
            ("database_name", SqlType::Text),
            ("query_id", SqlType::BigInt),
            ("query", SqlType::Text),
            ("state", SqlType::Text),
            ("started_at", SqlType::TimestampTz),
            ("ended_at", SqlType::TimestampTz),
            ("queued_ms", SqlType::Double),
            ("run_ms", SqlType::Double),
            ("rows", SqlType::BigInt),
            ("files_read", SqlType::BigInt),
            ("bytes_read", SqlType::BigInt),
            ("cache_hits", SqlType::BigInt),
            ("cache_misses", SqlType::BigInt),
            ("spilled_bytes", SqlType::BigInt),
            ("memory_bytes", SqlType::BigInt),
            ("memory_bytes_max", SqlType::BigInt),
            ("error_code", SqlType::Text),
            ("error", SqlType::Text),
        ];
        let fields = columns.map(|(name, ty)| arrow_field(name, &ty, true, time_zone));
        Self {
            register,
            access,
            user: user.to_owned(),
            time_zone: time_zone.to_owned(),
            schema: Arc::new(Schema::new(fields.to_vec())),
        }
    }

    fn rows(&self) -> DataFusionResult<RecordBatch> {
        let mut records = self.register.records();
        records.retain(|record| self.access.may_watch(&self.user, &record.user));
        let text = |of: fn(&Record) -> Option<&str>| -> ArrayRef {
            Arc::new(StringViewArray::from_iter(records.iter().map(|record| of(record))))
        };
        let number = |of: fn(&Record) -> u64| -> ArrayRef {
            let numbers = records
                .iter()
                .map(|record| i64::try_from(of(record)).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(numbers))
        };
        let milliseconds = |of: fn(&Record) -> std::time::Duration| -> ArrayRef {
            let times = records.iter().map(|record| (of(record).as_micros() as f64) / 1e3);
            Arc::new(Float64Array::from_iter_values(times))
        };
        let time = |of: fn(&Record) -> Option<i64>| -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter(records.iter().map(|record| of(record)));
            Arc::new(times.with_timezone(self.time_zone.as_str()))
        };
        let columns = vec![
            number(|record| record.number),
            Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.pid))) as ArrayRef,
            text(|record| Some(&record.user)),
            text(|record| Some(&record.database)),
            Arc::new(Int64Array::from_iter_values(
                records.iter().map(|record| record.query_id),
            )),
            text(|record| Some(&record.text)),
            text(|record| Some(record.state)),
            time(|record| Some(record.started)),
            time(|record| record.ended),
            milliseconds(|record| record.queued),
            milliseconds(|record| record.ran),
            number(|record| record.rows),
            number(|record| record.files_read),
            number(|record| record.work.bytes_read),
            number(|record| record.work.chunks_cached),
            number(|record| record.work.chunks_decoded),
            number(|record| record.spilled_bytes),
            number(|record| record.memory_bytes),
            number(|record| record.memory_bytes_max),
            text(|record| record.error_code),
            text(|record| record.error.as_deref()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl fmt::Debug for QueriesTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueriesTable")
    }
}

#[async_trait]
impl TableProvider for QueriesTable {
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
