//! `select nextval('s'), currval('s') from t` is computed row by row: over a batch the first would take all its numbers before
//! the second asks for one. And the parts of a UNION ALL come one after the other. A projection whose results may be large has its rows
//! in pieces (`growing.rs`).
//!
//! ```text
//! before  Projection(nextval, currval, input)      after  Projection(nextval, currval, SmallBatches(input))
//! before  Union(Projection(nextval, currval), …)   after  InTurn(Union(…))
//! ```
//!
//! First of the rules: a projection may become part of a scan later.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::function::SequenceCalls;
use crate::growing::Growth;
use crate::operator::only_child;
use crate::yielding::{BatchSize, SmallBatchesExec};

#[derive(Debug)]
pub(crate) struct RowByRow;

impl PhysicalOptimizerRule for RowByRow {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let in_turn = numbers_in_order(&plan)?;
        plan.transform_up(|plan| {
            if in_turn && plan.downcast_ref::<UnionExec>().is_some() {
                return Ok(Transformed::yes(InTurnExec::of(plan)));
            }
            let Some(projection) = plan.downcast_ref::<ProjectionExec>() else {
                return Ok(Transformed::no(plan));
            };
            let size = match Growth::of(projection)? {
                _ if hangs_together(projection)? => BatchSize::Rows(1),
                Some(growth) => BatchSize::Results(growth),
                None => return Ok(Transformed::no(plan)),
            };
            let rows = Arc::new(SmallBatchesExec::new(Arc::clone(projection.input()), size));
            replace_children_if_necessary(plan, vec![rows]).map(Transformed::yes)
        })
        .data()
    }

    fn name(&self) -> &str {
        "RowByRow"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether the plan is one that `physical.rs` gives a single partition for its numbers.
fn numbers_in_order(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut calls = SequenceCalls::default();
    let mut sorts = false;
    plan.apply(|node| {
        sorts |= node.downcast_ref::<SortExec>().is_some();
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            add_calls(projection, &mut calls)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(calls.hang_together() || sorts && calls.takes())
}

fn hangs_together(projection: &ProjectionExec) -> Result<bool> {
    let mut calls = SequenceCalls::default();
    add_calls(projection, &mut calls)?;
    Ok(calls.hang_together())
}

fn add_calls(projection: &ProjectionExec, calls: &mut SequenceCalls) -> Result<()> {
    for expression in projection.expr() {
        expression.expr.apply(|inner| {
            if let Some(call) = inner.downcast_ref::<ScalarFunctionExpr>() {
                calls.add(call.fun().name());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(())
}

/// The partitions of its input as one, each when the one before it has ended.
#[derive(Debug)]
struct InTurnExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl InTurnExec {
    fn of(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self {
            input,
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for InTurnExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InTurnExec")
    }
}

impl ExecutionPlan for InTurnExec {
    fn name(&self) -> &str {
        "InTurnExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
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

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::of(only_child(children)?))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = Arc::clone(&self.input);
        let partitions = 0..input.output_partitioning().partition_count();
        let parts = stream::iter(partitions).map(move |partition| input.execute(partition, Arc::clone(&context)));
        let schema = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, parts.try_flatten())))
    }
}
