//! Lists made of the rows of a sorted subquery, which PostgreSQL's users expect in that order.
//!
//! Before: `select array_agg(a) from (select a from t order by b) s`. After: `select array_agg(a order by "staffa order 0") from (select a, b as
//! "staffa order 0" from t order by b) s`: an aggregate of DataFusion takes its rows in any order otherwise.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, SubqueryAlias};

use super::map_whole;

pub(super) fn keep_order(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = &node else {
            return Ok(Transformed::no(node));
        };
        if !aggregate.aggr_expr.iter().any(wants_order) {
            return Ok(Transformed::no(node));
        }
        let Some((input, keys)) = with_keys(&aggregate.input)? else {
            return Ok(Transformed::no(node));
        };
        let (groups, calls) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
        let node = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, calls)?);
        map_whole(node, |call| ordered(call, &keys))
    })
    .data()
}

/// Whether it makes a list and does not say in which order.
fn wants_order(expression: &Expr) -> bool {
    match expression {
        Expr::Alias(alias) => wants_order(&alias.expr),
        Expr::AggregateFunction(call) => {
            matches!(call.func.name(), "array_agg" | "string_agg")
                && call.params.order_by.is_empty()
                && !call.params.distinct
        }
        _ => false,
    }
}

fn ordered(expression: Expr, keys: &[Sort]) -> DataFusionResult<Transformed<Expr>> {
    expression.transform_down(|inner| {
        let wants_order = wants_order(&inner);
        Ok(match inner {
            Expr::AggregateFunction(mut call) if wants_order => {
                call.params.order_by = keys.to_vec();
                Transformed::yes(Expr::AggregateFunction(call))
            }
            other => Transformed::no(other),
        })
    })
}

/// The same rows with the columns that they are sorted by, and these keys. `None` where they are in no order.
fn with_keys(plan: &LogicalPlan) -> DataFusionResult<Option<(LogicalPlan, Vec<Sort>)>> {
    match plan {
        LogicalPlan::Sort(sort) if sort.expr.iter().all(|key| can_be_repeated(&key.expr)) => {
            Ok(Some((plan.clone(), sort.expr.clone())))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) => with_keys(plan.inputs()[0])?
            .map(|(input, keys)| Ok((plan.with_new_exprs(plan.expressions(), vec![input])?, keys)))
            .transpose(),
        LogicalPlan::SubqueryAlias(alias) => with_keys(&alias.input)?
            .map(|(input, keys)| {
                let name = alias.alias.clone();
                let keys = map_keys(keys, |key| {
                    key.transform(|inner| {
                        Ok(match inner {
                            Expr::Column(column) => {
                                Transformed::yes(Expr::Column(Column::new(Some(name.clone()), column.name)))
                            }
                            other => Transformed::no(other),
                        })
                    })
                    .data()
                })?;
                let alias = SubqueryAlias::try_new(Arc::new(input), name.clone())?;
                Ok((LogicalPlan::SubqueryAlias(alias), keys))
            })
            .transpose(),
        LogicalPlan::Projection(projection) => with_keys(&projection.input)?
            .map(|(input, keys)| {
                let mut outputs = projection.expr.clone();
                let keys = map_keys(keys, |key| {
                    let name = format!("staffa order {}", outputs.len());
                    outputs.push(key.alias(&name));
                    Ok(Expr::Column(Column::new_unqualified(name)))
                })?;
                Ok((
                    LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(input))?),
                    keys,
                ))
            })
            .transpose(),
        _ => Ok(None),
    }
}

fn can_be_repeated(key: &Expr) -> bool {
    let is_elsewhere = |inner: &Expr| {
        let is_query = matches!(inner, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_));
        Ok(is_query || matches!(inner, Expr::OuterReferenceColumn(..)))
    };
    !key.is_volatile() && !key.exists(is_elsewhere).unwrap_or(true)
}

fn map_keys(keys: Vec<Sort>, mut map: impl FnMut(Expr) -> DataFusionResult<Expr>) -> DataFusionResult<Vec<Sort>> {
    keys.into_iter()
        .map(|key| Ok(Sort::new(map(key.expr)?, key.asc, key.nulls_first)))
        .collect()
}
