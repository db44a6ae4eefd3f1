//! Windows ordered by what DataFusion has no ranges of: `bytea`, `uuid`, arrays.
//!
//! Before: `over (order by u range between unbounded preceding and current row)`, which is what a window with ORDER BY means when
//! nothing else is written. After: `… groups between unbounded preceding and current row`, which is the same rows.
//!
//! Must not fire where a bound is a distance.
//!
//! And distances in quotes, which the parser reads as intervals: `order by n range '1.5' preceding` becomes
//! `order by n range 1.5 preceding` where `n` is a number.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;

use super::map_expressions;
use crate::rewrite::SECONDS;

pub(super) fn by_groups(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(_) => map_expressions(node, |expression, schema| Ok(regrouped(expression, schema))),
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn regrouped(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(mut window) = expression else {
        return Transformed::no(expression);
    };
    let frame = &window.params.window_frame;
    let is_distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => false,
        WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) => !value.is_null(),
    };
    let concerned = frame.units == WindowFrameUnits::Range
        && !is_distance(&frame.start_bound)
        && !is_distance(&frame.end_bound)
        && window
            .params
            .order_by
            .iter()
            .any(|key| has_no_ranges(&key.expr, schema));
    if concerned {
        let (start, end) = (frame.start_bound.clone(), frame.end_bound.clone());
        window.params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end);
    }
    let is_number = |key: &Sort| matches!(key.expr.get_type(schema), Ok(ty) if ty.is_numeric());
    let mut numbers = false;
    if window.params.order_by.first().is_some_and(is_number) {
        let frame = &mut window.params.window_frame;
        for bound in [&mut frame.start_bound, &mut frame.end_bound] {
            numbers |= as_number(bound);
        }
    }
    Transformed::new_transformed(Expr::WindowFunction(window), concerned || numbers)
}

fn as_number(bound: &mut WindowFrameBound) -> bool {
    let (WindowFrameBound::Preceding(ScalarValue::Utf8(Some(text)))
    | WindowFrameBound::Following(ScalarValue::Utf8(Some(text)))) = bound
    else {
        return false;
    };
    match text.strip_suffix(SECONDS) {
        Some(number) => {
            *text = number.to_owned();
            true
        }
        None => false,
    }
}

fn has_no_ranges(key: &Expr, schema: &DFSchema) -> bool {
    matches!(
        key.get_type(schema),
        Ok(DataType::Binary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
            | DataType::List(_)
            | DataType::Struct(_)
            | DataType::Time64(_))
    )
}
