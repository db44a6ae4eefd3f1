//! Which subqueries DataFusion plans well.

use datafusion::common::JoinType;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::push::{is_volatile, reads_outside};
use super::scope::{free, free_of, lateral_side, subquery_of};

/// Whether a node has a subquery DataFusion cannot plan there.
pub(super) fn has_ours(node: &LogicalPlan) -> DataFusionResult<bool> {
    let mut ours = false;
    node.apply_expressions(|expression| {
        ours |= match node {
            LogicalPlan::Filter(_) => !good_condition(expression)?,
            _ => expression.exists(|inner| is_ours_in(node, inner))?,
        };
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(ours)
}

/// Whether an expression of this node is a subquery DataFusion cannot plan there.
pub(super) fn is_ours_in(node: &LogicalPlan, expression: &Expr) -> DataFusionResult<bool> {
    match expression {
        // It joins those of select lists and conditions only.
        Expr::ScalarSubquery(subquery) if !matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) => {
            Ok(!free(&subquery.subquery)?.is_empty())
        }
        other => is_ours(other),
    }
}

/// Whether an expression of a select list is a subquery DataFusion cannot plan there.
pub(super) fn is_ours(expression: &Expr) -> DataFusionResult<bool> {
    match expression {
        Expr::Exists(_) | Expr::InSubquery(_) => Ok(true),
        Expr::ScalarSubquery(subquery) => Ok(!good_scalar(&subquery.subquery)?),
        _ => Ok(false),
    }
}

/// Whether DataFusion plans all subqueries of a condition of WHERE well: EXISTS and IN with nothing but AND and OR around
/// (it forgets whether IN is unknown or false), NOT IN with AND alone.
pub(super) fn good_condition(condition: &Expr) -> DataFusionResult<bool> {
    for part in split_conjunction(condition) {
        let good = match part {
            Expr::InSubquery(list) if list.negated => {
                // A value without columns: its condition would be pushed into the subquery, whose nulls decide.
                free(&list.subquery.subquery)?.is_empty()
                    && !list.expr.column_refs().is_empty()
                    && !list.expr.exists(is_ours)?
            }
            other => good_under_or(other)?,
        };
        if !good {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn good_under_or(condition: &Expr) -> DataFusionResult<bool> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And | Operator::Or,
            right,
        }) => Ok(good_under_or(left)? && good_under_or(right)?),
        Expr::Exists(Exists { subquery, .. }) => good_predicate(&subquery.subquery),
        Expr::InSubquery(list) if !list.negated => {
            Ok(good_predicate(&list.subquery.subquery)? && !list.expr.exists(is_ours)?)
        }
        other => Ok(!other.exists(is_ours)?),
    }
}

/// A subquery of EXISTS or IN that reads outer columns in plain filters only.
fn good_predicate(query: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = Vec::new();
    plain_filters(query, &mut found)
}

/// `(select max(x) from t where t.k = outer.k)`, or one that reads nothing outside. DataFusion loses columns that are read
/// from outside below an alias. A subquery of ours above what reads outside would join that with itself, and DataFusion
/// would find what is read there twice.
pub(super) fn good_scalar(query: &LogicalPlan) -> DataFusionResult<bool> {
    if free(query)?.is_empty() {
        return Ok(true);
    }
    if has_ours(query)? || is_volatile(query)? {
        return Ok(false);
    }
    match query {
        LogicalPlan::Projection(projection) => {
            Ok(!reads_outside(&projection.expr, query)? && good_scalar(&projection.input)?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let mut found = Vec::new();
            let plain = aggregate.group_expr.is_empty()
                && !reads_outside(&aggregate.aggr_expr, query)?
                && plain_filters(&aggregate.input, &mut found)?;
            Ok(plain && found.iter().all(is_equality))
        }
        _ => Ok(false),
    }
}

/// Collects the conditions that read outside; false if anything else does.
fn plain_filters(plan: &LogicalPlan, found: &mut Vec<Expr>) -> DataFusionResult<bool> {
    if free(plan)?.is_empty() {
        return Ok(true);
    }
    let reads_below = plan
        .inputs()
        .into_iter()
        .map(free)
        .collect::<DataFusionResult<Vec<_>>>()?;
    if reads_below.iter().any(|reads| !reads.is_empty()) && has_ours(plan)? {
        return Ok(false);
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            Ok(!reads_outside(&projection.expr, plan)? && plain_filters(&projection.input, found)?)
        }
        LogicalPlan::Filter(filter) => {
            for part in split_conjunction(&filter.predicate) {
                if free_of(part, plan)?.is_empty() {
                    continue;
                }
                if part.exists(|inner| Ok(subquery_of(inner).is_some()))? {
                    return Ok(false);
                }
                found.push(part.clone());
            }
            plain_filters(&filter.input, found)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner && lateral_side(join).is_none() => {
            let own: Vec<Expr> = join.filter.iter().cloned().collect();
            Ok(!reads_outside(&own, plan)? && plain_filters(&join.left, found)? && plain_filters(&join.right, found)?)
        }
        _ => Ok(false),
    }
}

/// `inner = outer`, each side of one query.
fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return false;
    };
    let outer = |side: &Expr| side.contains_outer() && side.column_refs().is_empty();
    let inner = |side: &Expr| !side.contains_outer() && !side.column_refs().is_empty();
    outer(left) && inner(right) || inner(left) && outer(right)
}
