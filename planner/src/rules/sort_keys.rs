//! Every sort key of DISTINCT ON and of an aggregate once.
//!
//! Before: `array_agg(a order by b, b desc)`. After: `array_agg(a order by b)`: a key that came before decides nothing any
//! more, and DataFusion, which leaves it out in one place and counts it in another, fails on it.

use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use super::map_expressions;

pub(super) fn once(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|mut node| {
        if !matches!(
            node,
            LogicalPlan::Distinct(Distinct::On(_)) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)
        ) {
            return Ok(Transformed::no(node));
        }
        let mut changed = false;
        if let LogicalPlan::Distinct(Distinct::On(on)) = &mut node
            && let Some(keys) = &mut on.sort_expr
        {
            changed = drop_repeated(keys);
        }
        let mut node = map_expressions(node, |expression, _| Ok(aggregate(expression)))?;
        node.transformed |= changed;
        Ok(node)
    })
    .data()
}

fn aggregate(expression: Expr) -> Transformed<Expr> {
    let Expr::AggregateFunction(mut call) = expression else {
        return Transformed::no(expression);
    };
    let changed = drop_repeated(&mut call.params.order_by);
    let call = Expr::AggregateFunction(call);
    match changed {
        true => Transformed::yes(call),
        false => Transformed::no(call),
    }
}

fn drop_repeated(keys: &mut Vec<Sort>) -> bool {
    let before = keys.len();
    let mut kept: Vec<Sort> = Vec::with_capacity(before);
    for key in keys.drain(..) {
        if !kept.iter().any(|other| other.expr == key.expr) {
            kept.push(key);
        }
    }
    *keys = kept;
    keys.len() != before
}
