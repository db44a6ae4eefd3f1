//! Functions whose results are far larger than what they are given: `repeat('x', 1000000)` of a batch is gigabytes, which no operator has
//! asked for. Operators that call them get small batches, so that at most a few such values are there before somebody accounts for them.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

/// Rows of a batch for an operator that calls one.
pub(crate) const ROWS_MAX: usize = 64;

/// Results up to this many times as long are no matter.
const ORDINARY: i64 = 1_000;

/// Text, then how often or how long.
const FUNCTIONS: [&str; 3] = ["lpad", "repeat", "rpad"];

/// Whether an operator with one input calls such a function.
pub(crate) fn calls_growing(plan: &dyn ExecutionPlan) -> Result<bool> {
    let mut found = false;
    if plan.children().len() == 1 {
        plan.apply_expressions(&mut |expression| {
            expression.apply(|inner| {
                found |= is_growing(inner);
                Ok(if found {
                    TreeNodeRecursion::Stop
                } else {
                    TreeNodeRecursion::Continue
                })
            })
        })?;
    }
    Ok(found)
}

fn is_growing(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(call) = expression.downcast_ref::<ScalarFunctionExpr>() else {
        return false;
    };
    let size = call.args().get(1).and_then(|size| size.downcast_ref::<Literal>());
    let is_small = matches!(size.map(Literal::value), Some(ScalarValue::Int64(Some(size))) if *size <= ORDINARY);
    FUNCTIONS.contains(&call.fun().name()) && !is_small
}
