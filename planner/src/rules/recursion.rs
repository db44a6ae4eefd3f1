//! The two terms of a recursive query as columns of one type.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::{Projection, RecursiveQuery};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};

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
