//! Which columns of the query around it a plan reads, and how to point them elsewhere.
//!
//! A reference outwards (`OuterReferenceColumn`) names its column but not the query it belongs to: it is the nearest one
//! around that has such a column.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Subquery};

/// The columns a plan reads that no part of it provides.
pub(super) fn free(plan: &LogicalPlan) -> DataFusionResult<HashSet<Column>> {
    let mut found = HashSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expression| free_in(expression, node, &mut found))?;
        if let LogicalPlan::Join(join) = node
            && lateral_side(join).is_some()
        {
            found.extend(free(&join.left)?);
            let right = free(&join.right)?;
            found.extend(
                right
                    .into_iter()
                    .filter(|column| !join.left.schema().has_column(column)),
            );
            return Ok(TreeNodeRecursion::Jump);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The same for one expression of a node.
pub(super) fn free_of(expression: &Expr, node: &LogicalPlan) -> DataFusionResult<HashSet<Column>> {
    let mut found = HashSet::new();
    free_in(expression, node, &mut found)?;
    Ok(found)
}

fn free_in(expression: &Expr, node: &LogicalPlan, found: &mut HashSet<Column>) -> DataFusionResult<TreeNodeRecursion> {
    expression.apply(|inner| {
        if let Expr::OuterReferenceColumn(_, column) = inner {
            found.insert(column.clone());
        } else if let Some(subquery) = subquery_of(inner) {
            let schema = merge_schema(&node.inputs());
            let beyond = free(&subquery.subquery)?;
            found.extend(beyond.into_iter().filter(|column| !schema.has_column(column)));
        }
        Ok(TreeNodeRecursion::Continue)
    })
}

pub(super) fn subquery_of(expression: &Expr) -> Option<&Subquery> {
    match expression {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

pub(super) fn subquery_of_mut(expression: &mut Expr) -> Option<&mut Subquery> {
    match expression {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// The right side of a join that may read columns of the left one.
pub(super) fn lateral_side(join: &Join) -> Option<LogicalPlan> {
    match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => Some(subquery.subquery.as_ref().clone()),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => {
                let mut alias = alias.clone();
                alias.input = Arc::clone(&subquery.subquery);
                Some(LogicalPlan::SubqueryAlias(alias))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The plan, each lateral side in it known for one: DataFusion does not see what only the subqueries of such a side read.
pub(super) fn with_lateral_sides(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(mut join) if lateral_side(&join).is_none() && has_subqueries(&join.right)? => {
            let reads = free(&join.right)?;
            let is_lateral = reads.iter().any(|column| join.left.schema().has_column(column));
            if is_lateral {
                let side = join.right.as_ref().clone();
                join.right = Arc::new(match side {
                    LogicalPlan::SubqueryAlias(mut alias) => {
                        let inner = subquery(alias.input.as_ref().clone());
                        alias.input = Arc::new(LogicalPlan::Subquery(inner));
                        LogicalPlan::SubqueryAlias(alias)
                    }
                    side => LogicalPlan::Subquery(subquery(side)),
                });
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_lateral))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// Whether it may read outside below expressions or lateral sides of its own: `from t, lateral (…) l left join u on …`
fn has_subqueries(plan: &LogicalPlan) -> DataFusionResult<bool> {
    plan.exists(|node| {
        let mut found = matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expression| {
            found |= expression.exists(|inner| Ok(subquery_of(inner).is_some()))?;
            Ok(if found {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })?;
        Ok(found)
    })
}

/// A plan as a subquery of an expression.
pub(super) fn subquery(plan: LogicalPlan) -> Subquery {
    Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: Default::default(),
    }
}

/// From columns of the query around to the columns that now hold their values.
pub(super) type Places = HashMap<Column, Column>;

/// An expression of a node whose input now has the columns itself: `given` is that input's schema as it was, `now` as it is.
pub(super) fn bound(expression: Expr, places: &Places, given: &DFSchema, now: &DFSchema) -> DataFusionResult<Expr> {
    expression
        .transform_down(|inner| match inner {
            Expr::OuterReferenceColumn(field, column) => Ok(match places.get(&column) {
                Some(place) => Transformed::yes(Expr::Column(place.clone())),
                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
            }),
            other => moved_subquery(other, places, given, now),
        })
        .data()
}

/// A subquery's plan, or a part of it, whose references outwards go to other columns, of the schema `now`.
pub(super) fn moved(plan: LogicalPlan, places: &Places, now: &DFSchema) -> DataFusionResult<LogicalPlan> {
    let given = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let plan = plan
        .map_expressions(|expression| {
            let name = names.save(&expression);
            let moved = expression.transform_down(|inner| match inner {
                Expr::OuterReferenceColumn(field, column) => match places.get(&column) {
                    Some(place) => {
                        let field = Arc::clone(now.field_from_column(place)?);
                        Ok(Transformed::yes(Expr::OuterReferenceColumn(field, place.clone())))
                    }
                    None => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
                },
                other => moved_subquery(other, places, &given, now),
            })?;
            Ok(moved.update_data(|moved| name.restore(moved)))
        })?
        .data;
    let plan = plan
        .map_children(|child| moved(child, places, now).map(Transformed::yes))?
        .data;
    match plan {
        LogicalPlan::Subquery(lateral) => Ok(LogicalPlan::Subquery(subquery(lateral.subquery.as_ref().clone()))),
        other => other.recompute_schema(),
    }
}

fn moved_subquery(
    mut expression: Expr,
    places: &Places,
    given: &DFSchema,
    now: &DFSchema,
) -> DataFusionResult<Transformed<Expr>> {
    let Some(inner) = subquery_of_mut(&mut expression) else {
        return Ok(Transformed::no(expression));
    };
    // What the node's own input has comes before what lies further out.
    let places: Places = places
        .iter()
        .filter(|(column, _)| !given.has_column(column))
        .map(|(column, place)| (column.clone(), place.clone()))
        .collect();
    *inner = subquery(moved(inner.subquery.as_ref().clone(), &places, now)?);
    Ok(Transformed::yes(expression))
}
