//! `select nextval('s'), currval('s') from t` is computed row by row: over a batch the first would take all its numbers before
//! the second asks for one.
//!
//! ```text
//! before  Projection(nextval, currval, input)      after  Projection(nextval, currval, SmallBatches(input))
//! ```
//!
//! First of the rules: a projection may become part of a scan later.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;

use crate::function::SequenceCalls;
use crate::yielding::SmallBatchesExec;

#[derive(Debug)]
pub(crate) struct RowByRow;

impl PhysicalOptimizerRule for RowByRow {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let rows = match plan.downcast_ref::<ProjectionExec>() {
                Some(projection) if hangs_together(projection)? => Arc::clone(projection.input()),
                _ => return Ok(Transformed::no(plan)),
            };
            let rows = Arc::new(SmallBatchesExec::new(rows, 1));
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

fn hangs_together(projection: &ProjectionExec) -> Result<bool> {
    let mut calls = SequenceCalls::default();
    for expression in projection.expr() {
        expression.expr.apply(|inner| {
            if let Some(call) = inner.downcast_ref::<ScalarFunctionExpr>() {
                calls.add(call.fun().name());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(calls.hang_together())
}
