//! Groups of values that are equal without being the same: `jsonb` that is written in two ways, a month and 30 days.
//!
//! Before: `group by j`, `distinct`. After: `group by key(j)`, each group showing its first value.
//!
//! Must not fire on keys: they have another type than the values, so that a second run finds nothing to do.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::functions_aggregate::expr_fn::first_value;
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, Projection};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use staffa_catalog::SqlType;

use crate::rewrite::MARKER;
use crate::types::sql_type;

/// Values of a type, and what they are told apart by.
pub(super) struct Keyed {
    pub ty: SqlType,
    pub key: fn(Expr) -> Expr,
    /// Gives the first value of a group its type again, where it has lost it.
    pub shown: fn(Expr) -> Expr,
}

/// GROUP BY and DISTINCT by keys; other nodes as they are.
pub(super) fn by_keys(plan: LogicalPlan, keyed: &Keyed) -> DataFusionResult<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => distinct(input, keyed),
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate, keyed),
        other => Ok(Transformed::no(other)),
    }
}

/// DISTINCT is a GROUP BY of all columns.
fn distinct(input: Arc<LogicalPlan>, keyed: &Keyed) -> DataFusionResult<Transformed<LogicalPlan>> {
    if !input.schema().fields().iter().any(|field| sql_type(field) == keyed.ty) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
    }
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let plan = LogicalPlanBuilder::from(input)
        .aggregate(columns, Vec::<Expr>::new())?
        .build()?;
    match plan {
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate, keyed),
        other => Ok(Transformed::yes(other)),
    }
}

fn grouped(aggregate: Aggregate, keyed: &Keyed) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let is_keyed = |key: &Expr| {
        key.to_field(&schema)
            .is_ok_and(|(_, field)| sql_type(&field) == keyed.ty)
    };
    let concerned: Vec<bool> = aggregate.group_expr.iter().map(is_keyed).collect();
    if !concerned.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut keys = aggregate.group_expr.clone();
    let mut values = aggregate.aggr_expr.clone();
    for (number, key) in keys.iter_mut().enumerate().filter(|(number, _)| concerned[*number]) {
        values.push(first_value(key.clone(), Vec::new()).alias(first(number)));
        *key = (keyed.key)(std::mem::take(key));
    }
    let columns = aggregate.schema.iter().enumerate();
    let shown = columns.map(|(at, (qualifier, field))| match concerned.get(at) {
        Some(true) => {
            let first = Expr::Column(Column::from_name(first(at)));
            (keyed.shown)(first).alias_qualified(qualifier.cloned(), field.name())
        }
        _ => Expr::Column(Column::from((qualifier, field))),
    });
    let shown: Vec<Expr> = shown.collect();
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, keys, values)?);
    let plan = LogicalPlan::Projection(Projection::try_new(shown, Arc::new(plan))?);
    Ok(Transformed::yes(plan))
}

/// What the first value of a group is called.
fn first(number: usize) -> String {
    format!("{MARKER}first{number}")
}
