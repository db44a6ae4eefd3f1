//! Joins that give the thread back in time; and windows whose memory is known (`metered.rs`).
//!
//! A task of the CPU runtime can only be stopped, and others can only run, where it waits. DataFusion's scans wait often
//! enough, its joins do not: a nested-loop join whose condition is never true works through all pairs of its build side
//! and a whole probe batch before it asks for more. So, after optimisation:
//!
//! ```text
//! before  NestedLoopJoin(build, probe)         after  Yield(NestedLoopJoin(BuildSide(build), SmallBatches(probe)))
//! before  HashJoin(…), CrossJoin(…)            after  Yield(HashJoin(…)), Yield(CrossJoin(…))
//! ```
//!
//! Never under another operator's feet: nothing looks at the shape of a plan after this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use staffa_execution::HashJoin;

use crate::build_side::BuildSideExec;
use crate::growing::Growth;
use crate::metered::MeteredExec;
use crate::operator::only_child;

/// Pairs that a nested-loop join looks at between two places where its task can be stopped: some ten milliseconds.
const PAIRS_MAX: usize = 1 << 24;

/// Puts the waits in.
pub(crate) fn make_yielding(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let build = BuildSideExec::of(join);
            let size = BatchSize::Pairs(Arc::clone(build.rows()));
            let probe = SmallBatchesExec::new(Arc::clone(join.right()), size);
            let join = replace_children_if_necessary(plan, vec![Arc::new(build), Arc::new(probe)])?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(join))));
        }
        if let Some(growth) = Growth::of(plan.as_ref())?
            && !plan.children()[0].is::<SmallBatchesExec>()
        {
            let input = Arc::clone(plan.children()[0]);
            let small = Arc::new(SmallBatchesExec::new(input, BatchSize::Results(growth)));
            return Ok(Transformed::yes(replace_children_if_necessary(plan, vec![small])?));
        }
        if plan.downcast_ref::<WindowAggExec>().is_some() {
            let input = Arc::clone(plan.children()[0]);
            let windows = replace_children_if_necessary(plan, vec![Arc::new(MeteredExec::new(input))])?;
            return Ok(Transformed::yes(windows));
        }
        let joins = plan.is::<HashJoin>() || plan.is::<HashJoinExec>() || plan.is::<CrossJoinExec>();
        Ok(if joins {
            Transformed::yes(Arc::new(CooperativeExec::new(plan)))
        } else {
            Transformed::no(plan)
        })
    })
    .data()
}

/// How small batches must be.
#[derive(Clone, Debug)]
pub(crate) enum BatchSize {
    Rows(usize),
    /// As many rows as make [`PAIRS_MAX`] pairs with so many on the other side, which are counted before the first batch comes.
    Pairs(Arc<AtomicUsize>),
    /// As many rows as the operator above computes some megabytes of.
    Results(Growth),
}

impl BatchSize {
    fn pieces(&self, batch: &RecordBatch) -> Vec<RecordBatch> {
        let rows_max = match self {
            BatchSize::Rows(rows) => *rows,
            BatchSize::Pairs(others) => (PAIRS_MAX / others.load(Ordering::Relaxed).max(1)).max(1),
            BatchSize::Results(growth) => return growth.pieces(batch),
        };
        let starts = (0..batch.num_rows()).step_by(rows_max);
        starts
            .map(|start| batch.slice(start, rows_max.min(batch.num_rows() - start)))
            .collect()
    }
}

/// Cuts its input's batches into small ones, and waits a moment before each.
#[derive(Debug)]
pub(crate) struct SmallBatchesExec {
    input: Arc<dyn ExecutionPlan>,
    size: BatchSize,
}

impl SmallBatchesExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, size: BatchSize) -> Self {
        Self { input, size }
    }
}

impl DisplayAs for SmallBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.size {
            BatchSize::Rows(rows) => write!(f, "SmallBatchesExec: rows={rows}"),
            BatchSize::Pairs(_) => write!(f, "SmallBatchesExec: pairs={PAIRS_MAX}"),
            BatchSize::Results(_) => f.write_str("SmallBatchesExec: by results"),
        }
    }
}

impl ExecutionPlan for SmallBatchesExec {
    fn name(&self) -> &str {
        "SmallBatchesExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The properties are the child's: there is nothing to keep or to compute.
        Ok(Arc::new(Self::new(only_child(children)?, self.size.clone())))
    }

    /// Still required, although it is deprecated for callers.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, recompute)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let schema = input.schema();
        let size = self.size.clone();
        let small = input.flat_map(move |batch| {
            futures::stream::iter(match batch {
                Ok(batch) => size.pieces(&batch).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        });
        let waiting = small.then(|batch| async move {
            tokio::task::yield_now().await;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, waiting)))
    }
}
