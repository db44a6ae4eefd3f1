//! Subqueries in the condition of an outer join, which cannot stand above it.
//!
//! | what they read | becomes |
//! |---|---|
//! | one side, or nothing | their values are joined to the rows of that side |
//! | both sides | `(l left join (pairs of l and r that fulfil the condition)) left join r`, by numbers of the rows of `l` and `r` |

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::{Expr, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder};

use super::scope::{free, subquery_of};
use super::suited::is_ours_in;
use super::{Subqueries, unsupported};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Left,
    Right,
    Both,
}

impl Subqueries {
    /// A LEFT, RIGHT or FULL JOIN on a condition with subqueries.
    pub(super) fn outer_join(&mut self, join: Join, condition: Expr) -> DataFusionResult<LogicalPlan> {
        if !matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full) {
            return Err(unsupported());
        }
        let node = LogicalPlan::Join(join.clone());
        let is_of = |inner: &Expr, side: Reads| Ok(is_ours_in(&node, inner)? && reads(inner, &join)? == side);
        let joined = match condition.exists(|inner| is_of(inner, Reads::Both))? {
            true => self.by_pairs(&join, condition)?,
            false => {
                let mut left = self.joined(&join.left, std::slice::from_ref(&condition))?;
                let mut right = self.joined(&join.right, std::slice::from_ref(&condition))?;
                let condition = self.replaced(condition, |inner| is_of(inner, Reads::Left), &mut left)?;
                let condition = self.replaced(condition, |inner| is_of(inner, Reads::Right), &mut right)?;
                let (left, right) = (Arc::new(left.plan), Arc::new(right.plan));
                joined(&join, left, right, join.join_type, Some(condition))?
            }
        };
        let columns = join.schema.columns().into_iter().map(Expr::Column).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?))
    }

    fn by_pairs(&mut self, join: &Join, condition: Expr) -> DataFusionResult<LogicalPlan> {
        let (left, left_number) = self.once_numbered(&join.left)?;
        let (right, right_number) = self.once_numbered(&join.right)?;
        let (of_left, of_right) = (self.fresh("l"), self.fresh("r"));
        let both = joined(
            join,
            Arc::new(left.clone()),
            Arc::new(right.clone()),
            JoinType::Inner,
            Some(condition),
        )?;
        let pairs = LogicalPlanBuilder::from(self.extracted(both)?)
            .project([
                Expr::Column(left_number.clone()).alias(&of_left),
                Expr::Column(right_number.clone()).alias(&of_right),
            ])?
            .build()?;
        // The left rows without a pair stay for LEFT and FULL, the right ones for RIGHT and FULL.
        let first = match join.join_type {
            JoinType::Right => JoinType::Inner,
            _ => JoinType::Left,
        };
        let on = |one: Column, other: String| (vec![one], vec![Column::from_name(other)]);
        let right_on = (vec![Column::from_name(of_right)], vec![right_number]);
        LogicalPlanBuilder::from(left)
            .join(pairs, first, on(left_number, of_left), None)?
            .join(right, join.join_type, right_on, None)?
            .build()
    }
}

/// The join of other plans of the same columns and more.
fn joined(
    join: &Join,
    left: Arc<LogicalPlan>,
    right: Arc<LogicalPlan>,
    join_type: JoinType,
    condition: Option<Expr>,
) -> DataFusionResult<LogicalPlan> {
    Ok(LogicalPlan::Join(Join::try_new(
        left,
        right,
        join.on.clone(),
        condition,
        join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?))
}

/// Which rows decide what a subquery of a condition gives.
fn reads(expression: &Expr, join: &Join) -> DataFusionResult<Reads> {
    let mut columns: HashSet<Column> = HashSet::new();
    expression.apply(|inner| {
        if let Expr::Column(column) = inner {
            columns.insert(column.clone());
        }
        if let Some(subquery) = subquery_of(inner) {
            columns.extend(free(&subquery.subquery)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let of = |schema: &DFSchema| columns.iter().any(|column| schema.has_column(column));
    Ok(match (of(join.left.schema()), of(join.right.schema())) {
        (true, true) => Reads::Both,
        (true, false) => Reads::Left,
        (false, _) => Reads::Right,
    })
}
