//! The operator that keeps rows for RETURNING on their way to the writer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::error::Result;
use crate::kept::KeptRows;
use crate::operator::{only_child, streaming};

/// Rows that were gathered so far. Their memory is the warehouse's: what does not fit is an error.
#[derive(Debug, Default)]
pub struct GatheredRows {
    rows: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    /// By partition of the plan, so that rows of one partition keep their order.
    batches: BTreeMap<usize, KeptRows>,
    reservation: Option<MemoryReservation>,
}

impl GatheredRows {
    /// The rows, and what accounts for their memory: to be kept as long as they are.
    pub fn take(&self) -> Result<(Vec<RecordBatch>, Option<MemoryReservation>)> {
        let Gathered { batches, reservation } = std::mem::take(&mut *self.rows.lock());
        let mut all = Vec::new();
        for kept in batches.into_values() {
            all.extend(kept.finish()?);
        }
        Ok((all, reservation))
    }

    pub(crate) fn add(&self, partition: usize, batch: &RecordBatch, context: &TaskContext) -> DataFusionResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut rows = self.rows.lock();
        let Gathered { batches, reservation } = &mut *rows;
        let reservation =
            reservation.get_or_insert_with(|| MemoryConsumer::new("RETURNING").register(context.memory_pool()));
        batches.entry(partition).or_default().add(batch.clone(), reservation)
    }
}

/// Keeps every row; lets the first `columns` columns through.
#[derive(Debug)]
pub(crate) struct GatherExec {
    input: Arc<dyn ExecutionPlan>,
    columns: usize,
    rows: Arc<GatheredRows>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl GatherExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, columns: usize, rows: Arc<GatheredRows>) -> Result<Self> {
        let kept: Vec<usize> = (0..columns).collect();
        let schema = Arc::new(input.schema().project(&kept)?);
        Ok(Self {
            properties: streaming(&input, &schema),
            input,
            columns,
            rows,
            schema,
        })
    }
}

impl DisplayAs for GatherExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatherExec")
    }
}

impl ExecutionPlan for GatherExec {
    fn name(&self) -> &str {
        "GatherExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = only_child(children)?;
        Ok(Arc::new(Self::new(input, self.columns, Arc::clone(&self.rows))?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let (gathered, schema, columns) = (Arc::clone(&self.rows), Arc::clone(&self.schema), self.columns);
        let rows = input.map(move |batch| {
            let batch = batch?;
            gathered.add(partition, &batch, &context)?;
            let kept: Vec<usize> = (0..columns).collect();
            Ok(batch.project(&kept)?.with_schema(Arc::clone(&schema))?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
