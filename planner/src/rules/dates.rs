//! `date + interval` is a timestamp, and compared with a date it may be one.
//!
//! DataFusion makes `d + interval '12 hours'` a date, losing the 12 hours; as the sum is planned (`operators.rs`) it becomes
//! `cast(d as timestamp) + interval '12 hours'`, which is PostgreSQL's answer. Where such a sum is compared with a date and the
//! interval is a literal of whole days and months, it is a midnight:
//!
//! Before: `d < cast(date '2024-01-01' as timestamp) + interval '1 month'`. After: `d < date '2024-01-01' + interval '1 month'`,
//! which prunes files by a date column. Runs before type coercion, which would cast the column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::map_expressions;
use crate::operators::is_comparison;

pub(super) fn compare_midnights(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        map_expressions(plan, |inner, schema| Ok(Transformed::yes(compared(inner, schema))))
    })
    .data()
}

fn is_date(expression: &Expr, schema: &DFSchema) -> bool {
    matches!(expression.get_type(schema), Ok(DataType::Date32))
}

/// A comparison of a date with midnights as one of dates.
fn compared(expression: Expr, schema: &DFSchema) -> Expr {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left, right) = if is_midnight(&right) && is_date(&left, schema) {
                (left, Box::new(as_date(*right)))
            } else if is_midnight(&left) && is_date(&right, schema) {
                (Box::new(as_date(*left)), right)
            } else {
                (left, right)
            };
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) if is_date(&expr, schema) => {
            let dates = |bound: &Expr| is_midnight(bound) || is_date(bound, schema);
            let (low, high) = match dates(&low) && dates(&high) {
                true => (Box::new(as_date(*low)), Box::new(as_date(*high))),
                false => (low, high),
            };
            Expr::Between(Between {
                expr,
                negated,
                low,
                high,
            })
        }
        other => other,
    }
}

/// Whether it is a date that was made a timestamp and whole days or months.
fn is_midnight(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Plus | Operator::Minus,
            right,
        }) => {
            let start = |side: &Expr| is_widened_date(side) || is_midnight(side);
            is_whole_days(right) && start(left) || is_whole_days(left) && start(right)
        }
        _ => false,
    }
}

fn is_widened_date(expression: &Expr) -> bool {
    matches!(expression, Expr::Cast(cast) if cast.field.name() == WIDENED)
}

fn is_whole_days(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.nanoseconds == 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => interval.milliseconds == 0,
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => true,
        _ => false,
    }
}

/// What [`is_midnight`] found, without the cast.
fn as_date(expression: Expr) -> Expr {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => Expr::BinaryExpr(BinaryExpr {
            left: Box::new(as_date(*left)),
            op,
            right: Box::new(as_date(*right)),
        }),
        Expr::Cast(cast) if cast.field.name() == WIDENED => *cast.expr,
        other => other,
    }
}

/// Name of the target of casts made here.
const WIDENED: &str = "date as timestamp";

pub(crate) fn date_as_timestamp(date: Expr) -> Expr {
    let field = Field::new(WIDENED, DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Expr::Cast(Cast::new_from_field(Box::new(date), Arc::new(field)))
}
