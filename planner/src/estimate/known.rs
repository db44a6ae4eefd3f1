//! What statistics of a column say of a condition on it: its common values and the bounds between the others.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal,
};
use datafusion::scalar::ScalarValue;
use staffa_storage::ColumnSummary;

/// The rows for which a condition is true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known {
    Share(f64),
    /// In the order of the values: the share of rows below the first of them, and up to the last.
    Between(f64, f64),
}

impl Known {
    pub(super) fn share(self) -> f64 {
        match self {
            Known::Share(share) => share,
            Known::Between(start, end) => (end - start).max(0.0),
        }
    }
}

/// The share of rows for which all of these conditions on one column are true.
pub(super) fn share_of_all(conditions: impl IntoIterator<Item = Known>) -> f64 {
    let (mut start, mut end, mut share) = (0.0_f64, 1.0_f64, 1.0);
    for condition in conditions {
        match condition {
            Known::Share(one) => share *= one,
            Known::Between(from, to) => (start, end) = (start.max(from), end.min(to)),
        }
    }
    share * (end - start).max(0.0)
}

/// What is known of a condition on one column; `summary` is the column's at a place.
pub(super) fn known<'a>(
    condition: &Arc<dyn PhysicalExpr>,
    summary: impl Fn(usize) -> Option<&'a Arc<ColumnSummary>>,
) -> Option<Known> {
    let of = |expr: &Arc<dyn PhysicalExpr>| summary(column_in(expr)?);
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left(), binary.right());
        return match (of(left), literal(right), literal(left), of(right)) {
            (Some(column), Some(value), _, _) => compared(column, *binary.op(), value),
            (_, _, Some(value), Some(column)) => compared(column, binary.op().swap()?, value),
            _ => None,
        };
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let column = of(list.expr())?;
        let shares = list.list().iter().map(|value| column.equal_share(literal(value)?));
        let some = shares.sum::<Option<f64>>()?.min(1.0);
        let others = (1.0 - column.null_share() - some).max(0.0);
        return Some(Known::Share(if list.negated() { others } else { some }));
    }
    if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
        return Some(Known::Share(of(null.arg())?.null_share()));
    }
    let null = condition.downcast_ref::<IsNotNullExpr>()?;
    Some(Known::Share(1.0 - of(null.arg())?.null_share()))
}

fn compared(column: &ColumnSummary, operator: Operator, value: &ScalarValue) -> Option<Known> {
    let end = 1.0 - column.null_share();
    Some(match operator {
        Operator::Eq => Known::Share(column.equal_share(value)?),
        Operator::NotEq => Known::Share((end - column.equal_share(value)?).max(0.0)),
        Operator::Lt => Known::Between(0.0, column.share_up_to(value, false)?),
        Operator::LtEq => Known::Between(0.0, column.share_up_to(value, true)?),
        Operator::Gt => Known::Between(column.share_up_to(value, true)?, end),
        Operator::GtEq => Known::Between(column.share_up_to(value, false)?, end),
        _ => return None,
    })
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value)
}

/// The place of the column that an expression has the values of.
fn column_in(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    match expr.downcast_ref::<CastExpr>() {
        Some(cast) => column_in(cast.expr()),
        None => expr.downcast_ref::<Column>().map(Column::index),
    }
}
