//! Sort keys as PostgreSQL takes them.
//!
//! Before: `order by a nulls first` of an array. After: `order by a is null desc, a nulls last`: its elements that are NULL
//! would go first, too, which are the largest in PostgreSQL wherever those arrays go that are NULL themselves.
//!
//! And every key of DISTINCT ON and of an aggregate once. Before: `array_agg(a order by b, b desc)`. After: `array_agg(a order by b)`: a key that came before decides nothing any
//! more, and DataFusion, which leaves it out in one place and counts it in another, fails on it.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan};

use super::map_expressions;

pub(super) fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|mut node| {
        if let LogicalPlan::Sort(sort) = &mut node {
            let schema = merge_schema(&[sort.input.as_ref()]);
            let changed = set_apart(&mut sort.expr, &schema);
            return Ok(Transformed::new_transformed(node, changed));
        }
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
        let mut node = map_expressions(node, |expression, schema| Ok(called(expression, schema)))?;
        node.transformed |= changed;
        Ok(node)
    })
    .data()
}

fn called(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::AggregateFunction(mut call) => {
            let mut changed = drop_repeated(&mut call.params.order_by);
            changed |= set_apart(&mut call.params.order_by, schema);
            Transformed::new_transformed(Expr::AggregateFunction(call), changed)
        }
        Expr::WindowFunction(mut call) => {
            let changed = set_apart(&mut call.params.order_by, schema);
            Transformed::new_transformed(Expr::WindowFunction(call), changed)
        }
        other => Transformed::no(other),
    }
}

/// Puts arrays that are NULL where they are to go by a key of their own.
fn set_apart(keys: &mut Vec<Sort>, schema: &DFSchema) -> bool {
    let is_misplaced = |key: &Sort| {
        key.asc == key.nulls_first
            && matches!(key.expr.get_type(schema), Ok(DataType::List(_)))
            && !key.expr.is_volatile()
    };
    if !keys.iter().any(is_misplaced) {
        return false;
    }
    for key in std::mem::take(keys) {
        if is_misplaced(&key) {
            keys.push(Sort::new(key.expr.clone().is_null(), !key.nulls_first, false));
            keys.push(Sort::new(key.expr, key.asc, !key.asc));
        } else {
            keys.push(key);
        }
    }
    true
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
