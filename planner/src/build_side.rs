//! The build side of a nested-loop join, which may run twice.
//!
//! When it does not fit memory, DataFusion's join runs it again and works through it in pieces. But operators run once: an exchange panics the
//! second time. And where rows of the build side are told that matched nothing, each task of the probe side tells of its own, so that rows
//! come too often. So, after optimisation:
//!
//! ```text
//! before  NestedLoopJoin(build, probe)         after  NestedLoopJoin(BuildSide(build), probe)
//! ```
//!
//! The second time it runs what it was, made new, or ends the query for want of memory where the rows would be wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::TryStreamExt;

use crate::operator::only_child;

/// Runs its input, and may do so again.
#[derive(Debug)]
pub(crate) struct BuildSideExec {
    input: Arc<dyn ExecutionPlan>,
    may_run_again: bool,
    ran: AtomicBool,
    /// Rows that it gave, for whoever pairs them with others; also of copies of the plan that run at the same time.
    rows: Arc<AtomicUsize>,
}

impl BuildSideExec {
    /// The build side of this join.
    pub(crate) fn of(join: &NestedLoopJoinExec) -> Self {
        let tells_build_rows = matches!(
            join.join_type(),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark | JoinType::Full
        );
        let probe_tasks = join.right().output_partitioning().partition_count();
        let may_run_again = !tells_build_rows || probe_tasks == 1;
        Self::new(Arc::clone(join.left()), may_run_again, Arc::default())
    }

    fn new(input: Arc<dyn ExecutionPlan>, may_run_again: bool, rows: Arc<AtomicUsize>) -> Self {
        Self {
            input,
            may_run_again,
            ran: AtomicBool::new(false),
            rows,
        }
    }

    /// The rows it has given.
    pub(crate) fn rows(&self) -> &Arc<AtomicUsize> {
        &self.rows
    }
}

impl DisplayAs for BuildSideExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuildSideExec")
    }
}

impl ExecutionPlan for BuildSideExec {
    fn name(&self) -> &str {
        "BuildSideExec"
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
        Ok(Arc::new(Self::new(
            only_child(children)?,
            self.may_run_again,
            Arc::clone(&self.rows),
        )))
    }

    /// Still required, although it is deprecated for callers.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, recompute)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.ran.swap(true, Ordering::Relaxed) {
            return match self.may_run_again {
                true => reset_plan_states(Arc::clone(&self.input))?.execute(partition, context),
                false => Err(DataFusionError::ResourcesExhausted(
                    "the build side of a nested-loop join".to_owned(),
                )),
            };
        }
        let (input, rows) = (self.input.execute(partition, context)?, Arc::clone(&self.rows));
        rows.store(0, Ordering::Relaxed);
        let counted = input.inspect_ok(move |batch| {
            rows.fetch_add(batch.num_rows(), Ordering::Relaxed);
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), counted)))
    }
}
