//! `staffa.audit`: what the files of the audit log say.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use serde_json::Value;
use staffa_planner::SqlType;
use staffa_planner::types::arrow_field;

use super::Audit;

/// Rows that are shown: the newest.
const ROWS_MAX: usize = 100_000;

/// Columns of text, in their order behind the time.
const TEXTS: [&str; 9] = [
    "event",
    "user",
    "role",
    "database",
    "client",
    "application",
    "command",
    "statement",
    "error",
];

pub(crate) struct AuditTable {
    audit: Option<Arc<Audit>>,
    time_zone: String,
    schema: SchemaRef,
}

impl AuditTable {
    /// Without a log there are no rows.
    pub(crate) fn new(audit: Option<Arc<Audit>>, time_zone: &str) -> Self {
        let texts = TEXTS.map(|name| (name, SqlType::Text));
        let columns = [("time", SqlType::TimestampTz)].into_iter().chain(texts);
        let columns = columns.chain([("session", SqlType::Integer), ("ok", SqlType::Boolean)]);
        let fields: Vec<_> = columns
            .map(|(name, ty)| arrow_field(name, &ty, true, time_zone))
            .collect();
        Self {
            audit,
            time_zone: time_zone.to_owned(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    fn rows(&self) -> DataFusionResult<RecordBatch> {
        let mut events: Vec<Value> = Vec::new();
        for path in self.audit.iter().flat_map(|audit| audit.files()) {
            // One that was closed and is gone by now has nothing to say.
            let Ok(file) = std::fs::File::open(path) else {
                continue;
            };
            let lines = BufReader::new(file).lines().map_while(Result::ok);
            // A line that a crash has cut off is none.
            events.extend(lines.filter_map(|line| serde_json::from_str(&line).ok()));
            let old = events.len().saturating_sub(ROWS_MAX);
            events.drain(..old);
        }
        let mut times = TimestampMicrosecondBuilder::new().with_timezone(self.time_zone.as_str());
        let mut texts: Vec<StringViewBuilder> = TEXTS.iter().map(|_| StringViewBuilder::new()).collect();
        let (mut sessions, mut oks) = (Int32Builder::new(), BooleanBuilder::new());
        for event in &events {
            let text = |name: &str| event.get(name).and_then(Value::as_str);
            let time = text("time").and_then(|time| DateTime::parse_from_rfc3339(time).ok());
            times.append_option(time.map(|time| time.timestamp_micros()));
            for (column, name) in texts.iter_mut().zip(TEXTS) {
                column.append_option(text(name));
            }
            let session = event.get("session").and_then(Value::as_i64);
            sessions.append_option(session.and_then(|session| i32::try_from(session).ok()));
            oks.append_option(event.get("ok").and_then(Value::as_bool));
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times.finish())];
        columns.extend(texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(sessions.finish()));
        columns.push(Arc::new(oks.finish()));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl fmt::Debug for AuditTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for AuditTable {
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
        let rows = vec![vec![self.rows()?]];
        let source = MemorySourceConfig::try_new_exec(&rows, Arc::clone(&self.schema), projection.cloned())?;
        Ok(source)
    }
}
