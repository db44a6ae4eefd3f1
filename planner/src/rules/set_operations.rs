//! EXCEPT ALL and INTERSECT ALL as PostgreSQL counts.
//!
//! Before: an anti (semi) join of the two sides on all columns, which keeps or drops every duplicate. After: the same with a further
//! column on both sides, the number of the row among its equals: the third `x` on the left pairs with the third on the right.
//!
//! Must not fire without ALL: the left side is distinct then. A second run would find the numbers and stop.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result as DataFusionResult};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Union};

use crate::rewrite::MARKER;

pub(super) fn count_duplicates(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if counts(&join) => counted(join).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// Before the optimiser runs, only set operations are such joins.
fn counts(join: &Join) -> bool {
    let set_operation = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none();
    let numbered = |side: &LogicalPlan| side.schema().iter().any(|(_, field)| field.name().starts_with(MARKER));
    set_operation && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_))) && !numbered(&join.left)
}

fn counted(mut join: Join) -> DataFusionResult<LogicalPlan> {
    let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
    let (left, right) = (format!("{MARKER}left"), format!("{MARKER}right"));
    join.left = numbered(&join.left, &left)?;
    join.right = numbered(&join.right, &right)?;
    join.on.push((
        Expr::Column(Column::from_name(left)),
        Expr::Column(Column::from_name(right)),
    ));
    let joined = LogicalPlan::Join(Join::try_new(
        join.left,
        join.right,
        join.on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?);
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?))
}

fn numbered(plan: &Arc<LogicalPlan>, name: &str) -> DataFusionResult<Arc<LogicalPlan>> {
    let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
    number.params.partition_by = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = Expr::WindowFunction(Box::new(number)).alias(name);
    let plan = LogicalPlanBuilder::from(Arc::clone(plan)).window([number])?.build()?;
    Ok(Arc::new(plan))
}

/// UNIONs that say of their columns what their sides say now: operators are made of them so. Of a `varchar` that is cast to `text`
/// DataFusion's analyzer left what it was.
pub(super) fn renewed(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        any |= matches!(node, LogicalPlan::Union(_));
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    if !any {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Union(mut union) = node else {
            return node.recompute_schema().map(Transformed::yes);
        };
        let fields = union.schema.iter().enumerate();
        let fields = fields.map(|(index, (qualifier, field))| {
            let told = told_by_sides(&union, index);
            let field = field.as_ref().clone().with_metadata(told);
            (qualifier.cloned(), Arc::new(field))
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), union.schema.metadata().clone())?;
        union.schema = Arc::new(schema);
        Ok(Transformed::yes(LogicalPlan::Union(union)))
    })
    .data()
}

/// What `UnionExec` makes of its inputs.
fn told_by_sides(union: &Union, index: usize) -> HashMap<String, String> {
    let sides: Vec<_> = union.inputs.iter().map(|input| input.schema().field(index)).collect();
    let first = sides.iter().position(|field| field.is_nullable()).unwrap_or(0);
    let mut told = sides
        .get(first)
        .map(|field| field.metadata().clone())
        .unwrap_or_default();
    for (at, side) in sides.iter().enumerate() {
        if at != first {
            told.extend(side.metadata().clone());
        }
    }
    told
}
