//! The operators of a shared part: one that knows what it is, above the plan that reads it, and those that read it.
//!
//! ```text
//! Shared: part=1
//!   HashJoin                    the plan that reads it
//!     SharedRead: part=1
//!     SharedRead: part=1
//!   Aggregate                   the part, computed once
//! ```
//!
//! Each of the two plans is optimised on its own, and nothing looks at the shape of the whole afterwards but what puts other
//! operators in the place of single ones. A plan is made for one run: its rows are read once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::Part;
use super::rows::{SharedRows, Source, Taken};
use crate::estimate::Estimate;

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedExec {
    number: usize,
    main: Arc<dyn ExecutionPlan>,
    definition: Arc<dyn ExecutionPlan>,
    part: Arc<Part>,
    /// Streams of it that were not dropped yet.
    open: Arc<AtomicUsize>,
    metrics: ExecutionPlanMetricsSet,
}

impl SharedExec {
    pub(super) fn new(main: Arc<dyn ExecutionPlan>, definition: Arc<dyn ExecutionPlan>, part: Arc<Part>) -> Self {
        Self {
            number: part.number,
            open: Arc::new(AtomicUsize::new(main.output_partitioning().partition_count())),
            main,
            definition,
            part,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The plan that reads the part.
    pub(crate) fn main(&self) -> &Arc<dyn ExecutionPlan> {
        &self.main
    }

    pub(crate) fn definition(&self) -> &Arc<dyn ExecutionPlan> {
        &self.definition
    }
}

impl DisplayAs for SharedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedExec: part={}", self.number)
    }
}

impl ExecutionPlan for SharedExec {
    fn name(&self) -> &str {
        "SharedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.main.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.main, &self.definition]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[Arc<dyn ExecutionPlan>; 2]>::try_from(children) {
            Ok([main, definition]) => Ok(Arc::new(Self::new(main, definition, Arc::clone(&self.part)))),
            Err(_) => Err(DataFusionError::Internal("two children are expected".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = &self.part.rows;
        let mut readers = Vec::new();
        readers_of(&self.main, rows, &mut readers);
        let source = Source {
            plan: Arc::clone(&self.definition),
            context: Arc::clone(&context),
            metrics: self.metrics.clone(),
        };
        rows.begin(source, &readers);
        let closing = Closing {
            rows: Arc::clone(rows),
            open: Arc::clone(&self.open),
        };
        let batches = self.main.execute(partition, context)?.map(move |batch| {
            let _held = &closing;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The numbers of the readers of these rows that a plan has.
fn readers_of(plan: &Arc<dyn ExecutionPlan>, rows: &Arc<SharedRows>, found: &mut Vec<usize>) {
    if let Some(read) = plan.downcast_ref::<SharedReadExec>()
        && Arc::ptr_eq(&read.part.rows, rows)
    {
        found.push(read.reader);
    }
    for child in plan.children() {
        readers_of(child, rows, found);
    }
}

/// Ends the computation of the part with the last stream that could ask for its rows.
struct Closing {
    rows: Arc<SharedRows>,
    open: Arc<AtomicUsize>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.rows.close();
        }
    }
}

/// Reads the rows of a part.
#[derive(Debug)]
pub(crate) struct SharedReadExec {
    part: Arc<Part>,
    reader: usize,
    /// The columns it gives, by their places in the part.
    columns: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SharedReadExec {
    pub(super) fn new(part: Arc<Part>, columns: Vec<usize>, schema: SchemaRef, partitions: usize) -> Self {
        Self {
            reader: part.rows.add_reader(partitions),
            part,
            columns,
            properties: Arc::new(PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(partitions),
                EmissionType::Incremental,
                Boundedness::Bounded,
            )),
            schema,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What is known of the part, and which of its columns these are.
    pub(crate) fn estimate(&self) -> Option<(&Estimate, &[usize])> {
        Some((self.part.estimate.get()?, &self.columns))
    }
}

impl DisplayAs for SharedReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "SharedReadExec: part={}, columns=[{}]",
            self.part.number,
            names.join(", ")
        )
    }
}

impl ExecutionPlan for SharedReadExec {
    fn name(&self) -> &str {
        "SharedReadExec"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => Err(DataFusionError::Internal("no children are expected".to_owned())),
        }
    }

    /// It is no other reader then.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            changes: self.part.rows.changes(),
            rows: Arc::clone(&self.part.rows),
            reader: self.reader,
            file: None,
        };
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = stream::try_unfold(reading, async |mut reading| {
            Ok::<_, DataFusionError>(reading.next().await?.map(|batch| (batch, reading)))
        });
        let batches = batches.map(move |batch| {
            let batch = batch.and_then(|batch| projected(&batch, &columns, &schema));
            batch.record_output(&metrics)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn projected(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = batch.project(columns)?.columns().to_vec();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &rows)?)
}

/// One partition of a reader.
struct Reading {
    rows: Arc<SharedRows>,
    reader: usize,
    changes: watch::Receiver<()>,
    /// A file whose rows come next, and batches of it the reader had already.
    file: Option<(SendableRecordBatchStream, usize)>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((batches, known)) = &mut self.file {
                match batches.next().await.transpose()? {
                    Some(_) if *known > 0 => *known -= 1,
                    Some(batch) => return Ok(Some(batch)),
                    None => self.file = None,
                }
                continue;
            }
            match self.rows.take(self.reader)? {
                Taken::Batch(batch) => return Ok(Some(batch)),
                Taken::File(batches, known) => self.file = Some((batches, known)),
                Taken::End => return Ok(None),
                // The sender lives as long as the rows.
                Taken::Wait => {
                    let _ = self.changes.changed().await;
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.rows.leave(self.reader);
    }
}
