//! Aggregates of a subquery that belong to the query around it, as values of that query's rows.
//!
//! Before: `staffa_aggregated((select u.b + (select sum(t.a) as "·0") from u), 0, sum(t.a))`, with the aggregate computed below by now.
//! After: `(select u.b + outer."sum(t.a)" from u)`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::scope::{subquery, subquery_of_mut};
use crate::function::aggregated;
use crate::rewrite::owned_aggregates::number_of;

/// The columns such values are of; None for a node without any.
pub(super) fn around(node: &LogicalPlan) -> DataFusionResult<Option<DFSchema>> {
    let mut any = false;
    node.apply_expressions(|expression| {
        any |= expression.exists(|inner| Ok(aggregated(inner).is_some()))?;
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(any.then(|| merge_schema(&node.inputs())))
}

/// The subquery with the aggregates' values in it.
pub(super) fn with_values(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let Some([query, Expr::Literal(ScalarValue::Int64(Some(first)), _), values @ ..]) = aggregated(&expression) else {
        return Ok(Transformed::no(expression));
    };
    let first = usize::try_from(*first).unwrap_or(usize::MAX);
    let values = values.iter().map(|value| outwards(value.clone(), schema));
    let values = Values {
        first,
        all: values.collect::<DataFusionResult<_>>()?,
    };
    query
        .clone()
        .transform_up(|inner| filled(inner, &values))
        .map(|query| Transformed::yes(query.data))
}

struct Values {
    /// The number of the first one.
    first: usize,
    all: Vec<Expr>,
}

impl Values {
    fn of_column(&self, name: &str) -> Option<&Expr> {
        self.all.get(number_of(name)?.checked_sub(self.first)?)
    }
}

/// The value as a subquery names it.
fn outwards(value: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    value
        .transform_down(|inner| match inner {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
}

fn filled(mut expression: Expr, values: &Values) -> DataFusionResult<Transformed<Expr>> {
    if let Expr::ScalarSubquery(query) = &expression
        && let [field] = query.subquery.schema().fields().as_ref()
        && let Some(value) = values.of_column(field.name())
    {
        return Ok(Transformed::yes(value.clone()));
    }
    let Some(inner) = subquery_of_mut(&mut expression) else {
        return Ok(Transformed::no(expression));
    };
    *inner = subquery(filled_plan(inner.subquery.as_ref().clone(), values)?);
    Ok(Transformed::yes(expression))
}

fn filled_plan(plan: LogicalPlan, values: &Values) -> DataFusionResult<LogicalPlan> {
    let names = NamePreserver::new(&plan);
    let plan = plan
        .map_expressions(|expression| {
            let name = names.save(&expression);
            let filled = expression.transform_up(|inner| filled(inner, values))?;
            Ok(filled.update_data(|filled| name.restore(filled)))
        })?
        .data;
    let plan = plan
        .map_children(|child| filled_plan(child, values).map(Transformed::yes))?
        .data;
    match plan {
        LogicalPlan::Subquery(lateral) => Ok(LogicalPlan::Subquery(subquery(lateral.subquery.as_ref().clone()))),
        other => other.recompute_schema(),
    }
}
