//! Windows ordered by what DataFusion has no ranges of: `bytea`, `uuid`, arrays.
//!
//! Before: `over (order by u range between unbounded preceding and current row)`, which is what a window with ORDER BY means when
//! nothing else is written. After: `… groups between unbounded preceding and current row`, which is the same rows.
//!
//! Must not fire where a bound is a distance.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};

use super::map_expressions;

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
    Transformed::new_transformed(Expr::WindowFunction(window), concerned)
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
