//! `staffa.maintenance` as a table.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_planner::SqlType;
use staffa_planner::types::arrow_field;

use super::Origin;
use super::record::{Record, Records};

/// What upkeep did in one database, and outside of any.
pub(crate) struct MaintenanceTable {
    records: Arc<Records>,
    database: String,
    time_zone: String,
    schema: SchemaRef,
}

impl MaintenanceTable {
    pub(crate) fn new(records: Arc<Records>, database: &str, time_zone: &str) -> Self {
        let columns = [
            ("started_at", SqlType::TimestampTz),
            ("finished_at", SqlType::TimestampTz),
            ("operation", SqlType::Text),
            ("table_schema", SqlType::Text),
            ("table_name", SqlType::Text),
            ("origin", SqlType::Text),
            ("files_before", SqlType::BigInt),
            ("files_after", SqlType::BigInt),
            ("bytes_before", SqlType::BigInt),
            ("bytes_after", SqlType::BigInt),
            ("result", SqlType::Text),
        ];
        let fields = columns.map(|(name, ty)| arrow_field(name, &ty, true, time_zone));
        Self {
            records,
            database: database.to_owned(),
            time_zone: time_zone.to_owned(),
            schema: Arc::new(Schema::new(fields.to_vec())),
        }
    }

    fn rows(&self) -> DataFusionResult<RecordBatch> {
        let mut records = self.records.all();
        records.retain(|record| {
            record
                .table
                .as_ref()
                .is_none_or(|table| table.database == self.database)
        });
        let time = |of: fn(&Record) -> i64| -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter_values(records.iter().map(of));
            Arc::new(times.with_timezone(self.time_zone.as_str()))
        };
        let text = |of: fn(&Record) -> Option<&str>| -> ArrayRef {
            Arc::new(StringViewArray::from_iter(records.iter().map(of)))
        };
        let number = |of: fn(&Record) -> u64| -> DataFusionResult<ArrayRef> {
            let numbers = UInt64Array::from_iter_values(records.iter().map(of));
            Ok(cast(&numbers, &DataType::Int64)?)
        };
        let columns = vec![
            time(|record| record.started.timestamp_micros()),
            time(|record| record.finished.timestamp_micros()),
            text(|record| Some(record.operation)),
            text(|record| record.table.as_ref().map(|table| table.schema.as_str())),
            text(|record| record.table.as_ref().map(|table| table.name.as_str())),
            text(|record| {
                Some(match record.origin {
                    Origin::Background => "background",
                    Origin::Statement => "statement",
                })
            }),
            number(|record| record.before.0)?,
            number(|record| record.after.0)?,
            number(|record| record.before.1)?,
            number(|record| record.after.1)?,
            text(|record| Some(record.result.as_str())),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl fmt::Debug for MaintenanceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaintenanceTable")
    }
}

#[async_trait]
impl TableProvider for MaintenanceTable {
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
