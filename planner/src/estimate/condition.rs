//! The share of rows that pass a condition, where there is no sample to ask: from statistics, counts, bounds, and custom.

use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};

use datafusion::physical_expr::utils::collect_columns;
use staffa_storage::number;

use super::ColumnEstimate;
use super::known::{Known, known, share_of_all};

/// Of what nothing is known of.
pub(super) const UNKNOWN_SHARE: f64 = 0.25;

/// Of a comparison that cannot be placed between bounds.
const RANGE_SHARE: f64 = 0.33;

/// Of a pattern.
const PATTERN_SHARE: f64 = 0.1;

/// The share of rows for which a condition over these columns is true.
pub(crate) fn share_passing(condition: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> f64 {
    let summary = |place: usize| columns.get(place)?.summary.as_ref();
    let share = if let Some(known) = known(condition, summary) {
        known.share()
    } else if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        of_binary(binary, columns)
    } else if let Some(list) = condition.downcast_ref::<InListExpr>() {
        let one = column_of(list.expr(), columns).map_or(UNKNOWN_SHARE, |column| 1.0 / column.values);
        let some = (one * list.list().len() as f64).min(1.0);
        if list.negated() { 1.0 - some } else { some }
    } else if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
        column_of(null.arg(), columns).map_or(UNKNOWN_SHARE, |column| column.nulls)
    } else if let Some(null) = condition.downcast_ref::<IsNotNullExpr>() {
        column_of(null.arg(), columns).map_or(1.0, |column| 1.0 - column.nulls)
    } else if let Some(not) = condition.downcast_ref::<NotExpr>() {
        1.0 - share_passing(not.arg(), columns)
    } else if let Some(like) = condition.downcast_ref::<LikeExpr>() {
        if like.negated() {
            1.0 - PATTERN_SHARE
        } else {
            PATTERN_SHARE
        }
    } else {
        UNKNOWN_SHARE
    };
    share.clamp(0.0, 1.0)
}

fn of_binary(binary: &BinaryExpr, columns: &[ColumnEstimate]) -> f64 {
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        // Of `x >= 1 and x < 5` both are about one order of rows.
        Operator::And => match (between(left, columns), between(right, columns)) {
            (Some((one, first)), Some((other, second))) if one == other => share_of_all([first, second]),
            _ => share_passing(left, columns) * share_passing(right, columns),
        },
        Operator::Or => {
            let (one, other) = (share_passing(left, columns), share_passing(right, columns));
            one + other - one * other
        }
        Operator::Eq => equal_share(column_of(left, columns), column_of(right, columns)),
        Operator::NotEq => 1.0 - equal_share(column_of(left, columns), column_of(right, columns)),
        Operator::Lt | Operator::LtEq => below_share(left, right, columns),
        Operator::Gt | Operator::GtEq => below_share(right, left, columns),
        _ => UNKNOWN_SHARE,
    }
}

/// What statistics say of a range, and of which column.
fn between(condition: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> Option<(usize, Known)> {
    let known = known(condition, |place| columns.get(place)?.summary.as_ref())?;
    let read = collect_columns(condition).into_iter().next()?;
    matches!(known, Known::Between(..)).then_some((read.index(), known))
}

fn equal_share(one: Option<&ColumnEstimate>, other: Option<&ColumnEstimate>) -> f64 {
    match (one, other) {
        (Some(one), Some(other)) => 1.0 / one.values.max(other.values),
        (Some(column), None) | (None, Some(column)) => (1.0 - column.nulls) / column.values,
        (None, None) => UNKNOWN_SHARE,
    }
}

/// Of `smaller < larger`, one of which is a literal.
fn below_share(smaller: &Arc<dyn PhysicalExpr>, larger: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> f64 {
    let literal = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Literal>()
            .and_then(|literal| number(literal.value()))
    };
    let bounds = |expr| column_of(expr, columns).and_then(|column| column.bounds);
    let share = match (bounds(smaller), literal(larger), literal(smaller), bounds(larger)) {
        (Some((least, largest)), Some(limit), _, _) if largest > least => (limit - least) / (largest - least),
        (_, _, Some(limit), Some((least, largest))) if largest > least => (largest - limit) / (largest - least),
        _ => RANGE_SHARE,
    };
    share.clamp(0.0, 1.0)
}

fn column_of<'a>(expr: &Arc<dyn PhysicalExpr>, columns: &'a [ColumnEstimate]) -> Option<&'a ColumnEstimate> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return column_of(cast.expr(), columns);
    }
    columns.get(expr.downcast_ref::<Column>()?.index())
}
