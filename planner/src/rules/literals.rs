//! Casts that give whole numbers their type are made at once.
//!
//! Before: `cast(5 as integer)` of a literal 5. After: the literal 5 of that type, which functions that ask for constants
//! (`ntile(4)`, `round(x, 2)`) can see.
//!
//! Must not fire on numbers that do not fit; those casts fail when they are computed. Types stay what they were.

use arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::map_expressions;

pub(super) fn fold(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| map_expressions(plan, |expression, _| Ok(folded(expression))))
        .data()
}

fn folded(expression: Expr) -> Transformed<Expr> {
    if let Expr::Cast(cast) = &expression
        && cast.field.data_type() == &DataType::Int32
        && let Expr::Literal(ScalarValue::Int64(Some(value)), _) = cast.expr.as_ref()
        && let Ok(value) = i32::try_from(*value)
    {
        return Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), None));
    }
    Transformed::no(expression)
}
