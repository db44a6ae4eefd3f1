//! `name`, `"char"`, `varchar` and JSON stay what they are in arrays, `name` and `"char"` in set operations.
//!
//! | before | after |
//! |---|---|
//! | `unnest(x)` of a `name[]`, which DataFusion calls text | the same value as a `name` |
//! | `select text union select name`, which DataFusion calls `name` | all sides as the first one, which decides in PostgreSQL |
//!
//! Must not fire for a literal on the first side: its type is that of the others.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::{Projection, Union, Unnest};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use staffa_catalog::{SqlType, SystemStorage};

use crate::function::{is_typed, typed};
use crate::types::sql_type;

/// Types of text that only their field tells.
fn is_marked(ty: &SqlType) -> bool {
    matches!(ty, SqlType::System(ty) if ty.storage() == SystemStorage::Text)
}

/// Types of what comes out of `unnest`.
pub(super) fn unnested(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        any |= matches!(node, LogicalPlan::Unnest(unnest) if !marked_columns(unnest).is_empty());
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if !any {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Projection(projection) => LogicalPlan::Projection(above_unnest(projection)?),
            other => other,
        };
        // A node above one that changed must learn of the new type.
        node.recompute_schema().map(Transformed::yes)
    })
    .data()
}

/// The output columns that hold elements of marked arrays.
fn marked_columns(unnest: &Unnest) -> Vec<(Column, SqlType)> {
    let lists = unnest.list_type_columns.iter().filter(|(_, list)| list.depth == 1);
    lists
        .filter_map(|(index, list)| match sql_type(unnest.input.schema().field(*index)) {
            SqlType::Array(element) => {
                let ty = match *element {
                    // Modifiers are not those of the elements.
                    SqlType::Varchar(_) => SqlType::Varchar(None),
                    ty if is_marked(&ty) || matches!(ty, SqlType::Json | SqlType::Jsonb) => ty,
                    _ => return None,
                };
                Some((list.output_column.clone(), ty))
            }
            _ => None,
        })
        .collect()
}

/// DataFusion's planner puts a projection above every `unnest`.
fn above_unnest(projection: Projection) -> DataFusionResult<Projection> {
    let LogicalPlan::Unnest(unnest) = projection.input.as_ref() else {
        return Ok(projection);
    };
    let marked = marked_columns(unnest);
    let mut done = marked.is_empty();
    for expression in &projection.expr {
        done |= expression.exists(|inner| Ok(is_typed(inner)))?;
    }
    if done {
        return Ok(projection);
    }
    let mut expressions = Vec::with_capacity(projection.expr.len());
    for (expression, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
        let changed = expression.clone().transform_up(|inner| match &inner {
            Expr::Column(column) => Ok(match marked.iter().find(|(name, _)| name.name == column.name) {
                Some((_, ty)) => Transformed::yes(typed(inner, ty.clone())),
                None => Transformed::no(inner),
            }),
            _ => Ok(Transformed::no(inner)),
        })?;
        expressions.push(match changed.transformed {
            true => changed.data.unalias().alias_qualified(qualifier.cloned(), field.name()),
            false => changed.data,
        });
    }
    Projection::try_new(expressions, projection.input)
}

/// Sides of set operations as the first one has them.
pub(super) fn united(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        any |= matches!(node, LogicalPlan::Union(union) if !text_columns(union).is_empty());
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if !any {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Union(union) => LogicalPlan::Union(as_first(union)?),
            other => other,
        };
        node.recompute_schema().map(Transformed::yes)
    })
    .data()
}

fn as_first(union: Union) -> DataFusionResult<Union> {
    let texts = text_columns(&union);
    if texts.is_empty() {
        return Ok(union);
    }
    let inputs = union.inputs.iter().map(|input| as_texts(input, &texts));
    Union::try_new_with_loose_types(inputs.collect::<DataFusionResult<_>>()?)
}

/// The columns that are `text` on the first side, and of another type of text on a further one.
fn text_columns(union: &Union) -> Vec<usize> {
    let Some((first, others)) = union.inputs.split_first() else {
        return Vec::new();
    };
    let is_text = |index: &usize| sql_type(first.schema().field(*index)) == SqlType::Text && !is_literal(first, *index);
    let differs = |index: &usize| {
        let mut others = others.iter();
        others.any(|other| is_marked(&sql_type(other.schema().field(*index))))
    };
    (0..first.schema().fields().len())
        .filter(differs)
        .filter(is_text)
        .collect()
}

fn is_literal(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(index).map(|expr| expr.clone().unalias()) {
            Some(Expr::Literal(..)) => true,
            Some(Expr::Column(column)) => match projection.input.schema().maybe_index_of_column(&column) {
                Some(below) => is_literal(&projection.input, below),
                None => false,
            },
            _ => false,
        },
        LogicalPlan::Distinct(distinct) => is_literal(distinct.input(), index),
        LogicalPlan::SubqueryAlias(alias) => is_literal(&alias.input, index),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_literal(input, index)),
        _ => false,
    }
}

fn as_texts(input: &Arc<LogicalPlan>, texts: &[usize]) -> DataFusionResult<Arc<LogicalPlan>> {
    let schema = input.schema();
    let marked = |index: &usize| is_marked(&sql_type(schema.field(*index)));
    if !texts.iter().any(marked) {
        return Ok(Arc::clone(input));
    }
    let columns = schema.iter().enumerate().map(|(index, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match texts.contains(&index) && marked(&index) {
            true => typed(column, SqlType::Text).alias_qualified(qualifier.cloned(), field.name()),
            false => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.build()?;
    Ok(Arc::new(plan))
}
