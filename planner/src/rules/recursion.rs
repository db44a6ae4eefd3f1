//! The two terms of a recursive query as columns of one kind.
//!
//! Before: `select 1 as node union select b from edge …`. After: `… select staffa_plain(b) …`, without the field id by which
//! a table's column is found in its files; DataFusion wants the metadata of both terms to be the same.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::{Projection, RecursiveQuery};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};

use crate::function::plain;
use crate::types::FIELD_ID_KEY;

pub(super) fn same_columns(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    if !has_recursion(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::RecursiveQuery(query) => {
            let (first, first_changed) = plain_columns(query.static_term)?;
            let (following, following_changed) = plain_columns(query.recursive_term)?;
            let query = RecursiveQuery::try_new(query.name, first, following, query.is_distinct)?;
            let query = LogicalPlan::RecursiveQuery(query);
            Ok(match first_changed || following_changed {
                true => Transformed::yes(query),
                false => Transformed::no(query),
            })
        }
        // What stands above has the columns' new metadata.
        other => other.recompute_schema().map(Transformed::no),
    })
    .data()
}

fn has_recursion(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        any |= matches!(node, LogicalPlan::RecursiveQuery(_));
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(any)
}

/// Casts the columns of the recursive term to the types of the other one, once all types are known: text is kept in two
/// forms.
pub(super) fn same_types(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    if !has_recursion(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::RecursiveQuery(query) = node else {
            return Ok(Transformed::no(node));
        };
        let columns = query
            .static_term
            .schema()
            .fields()
            .iter()
            .zip(query.recursive_term.schema().iter());
        let mut cast = false;
        let columns: Vec<Expr> = columns
            .map(|(wanted, (qualifier, field))| {
                let column = Expr::Column(Column::from((qualifier, field)));
                if wanted.data_type() == field.data_type() {
                    return column;
                }
                cast = true;
                let wanted = Arc::new(Field::new("", wanted.data_type().clone(), true));
                Expr::Cast(Cast::new_from_field(Box::new(column), wanted))
                    .alias_qualified(qualifier.cloned(), field.name())
            })
            .collect();
        if !cast {
            return Ok(Transformed::no(LogicalPlan::RecursiveQuery(query)));
        }
        let following = Projection::try_new(columns, query.recursive_term)?;
        let following = Arc::new(LogicalPlan::Projection(following));
        let query = RecursiveQuery::try_new(query.name, query.static_term, following, query.is_distinct)?;
        Ok(Transformed::yes(LogicalPlan::RecursiveQuery(query)))
    })
    .data()
}

fn plain_columns(plan: Arc<LogicalPlan>) -> DataFusionResult<(Arc<LogicalPlan>, bool)> {
    let from_table = |(_, field): (_, &arrow::datatypes::FieldRef)| field.metadata().contains_key(FIELD_ID_KEY);
    if !plan.schema().iter().any(from_table) {
        return Ok((plan, false));
    }
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match field.metadata().contains_key(FIELD_ID_KEY) {
            true => plain(column).alias_qualified(qualifier.cloned(), field.name()),
            false => column,
        }
    });
    let columns = columns.collect();
    Ok((
        Arc::new(LogicalPlan::Projection(Projection::try_new(columns, plan)?)),
        true,
    ))
}
