//! `date + interval` is a timestamp, and compared with a date it may be one.
//!
//! DataFusion makes `d + interval '12 hours'` a date, losing the 12 hours; as the sum is planned (`operators.rs`) it becomes
//! `cast(d as timestamp) + interval '12 hours'`, which is PostgreSQL's answer. Where such a sum is compared with a date and the
//! interval is a literal of whole days and months, it is a midnight:
//!
//! Before: `d < cast(date '2024-01-01' as timestamp) + interval '1 month'`. After: `d < date '2024-01-01' + interval '1 month'`,
//! which prunes files by a date column. Runs before type coercion, which would cast the column.
//!
//! A date compared with any other timestamp is compared as its midnight, also where no timestamp is as late:
//!
//! | before | after |
//! |---|---|
//! | `d < timestamp '2024-01-01 10:00'` | `d <= date '2024-01-01'` |
//! | `d < t` of columns | `to_midnight(d) < t`, which is a timestamp between all others and infinity where there is none |
//!
//! Must not fire on constants that are computed, for example `now()`: bounds of files are seen through the cast.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;
use staffa_catalog::SqlType;

use super::map_expressions;
use crate::context::PlanContext;
use crate::function::{TextCasts, day_of_moment, midnight};
use crate::operators::is_comparison;
use crate::types::sql_type;

pub(super) fn compare(context: &PlanContext, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let texts = TextCasts::of(context)?;
    plan.transform_up_with_subqueries(|plan| {
        map_expressions(plan, |inner, schema| {
            let compared = compared(beside_interval(inner, schema), schema);
            Ok(Transformed::yes(beside_moments(compared, schema, &texts)))
        })
    })
    .data()
}

/// `nullif(date, timestamp) + interval`, which has become a date since it was planned.
fn beside_interval(expression: Expr, schema: &DFSchema) -> Expr {
    let is_interval = |side: &Expr| matches!(side.get_type(schema), Ok(DataType::Interval(_)));
    match expression {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Plus | Operator::Minus),
            right,
        }) => {
            let (left, right) = match op {
                _ if is_date(&left, schema) && is_interval(&right) => (Box::new(date_as_timestamp(*left)), right),
                Operator::Plus if is_interval(&left) && is_date(&right, schema) => {
                    (left, Box::new(date_as_timestamp(*right)))
                }
                _ => (left, right),
            };
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        other => other,
    }
}

/// Comparisons of dates with timestamps.
fn beside_moments(expression: Expr, schema: &DFSchema, texts: &TextCasts) -> Expr {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            if is_moment(&right, schema) && is_date(&left, schema) {
                return beside_moment(*left, op, *right, texts);
            }
            match op.swap() {
                Some(op) if is_moment(&left, schema) && is_date(&right, schema) => {
                    beside_moment(*right, op, *left, texts)
                }
                _ => Expr::BinaryExpr(BinaryExpr { left, op, right }),
            }
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) if !expr.is_volatile()
            && is_date(&expr, schema)
            && (is_moment(&low, schema) || is_moment(&high, schema)) =>
        {
            let bound = |op, bound: Box<Expr>| {
                let compared = BinaryExpr::new(expr.clone(), op, bound);
                beside_moments(Expr::BinaryExpr(compared), schema, texts)
            };
            let within = bound(Operator::GtEq, low).and(bound(Operator::LtEq, high));
            if negated { Expr::Not(Box::new(within)) } else { within }
        }
        other => other,
    }
}

fn is_moment(expression: &Expr, schema: &DFSchema) -> bool {
    matches!(expression.get_type(schema), Ok(DataType::Timestamp(_, None)))
}

fn beside_moment(date: Expr, op: Operator, moment: Expr, texts: &TextCasts) -> Expr {
    let binary = |left, op, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    let literal = |value| Expr::Literal(value, None);
    if let Some(ScalarValue::TimestampMicrosecond(Some(micros), None)) = constant(&moment, &SqlType::Timestamp, texts) {
        let (day, is_midnight) = day_of_moment(micros);
        let day = literal(ScalarValue::Date32(Some(day)));
        let of_dates = match op {
            // Behind midnight there is no date that is the same.
            op if is_midnight => Some(op),
            Operator::Lt | Operator::LtEq => Some(Operator::LtEq),
            Operator::Gt | Operator::GtEq => Some(Operator::Gt),
            _ => None,
        };
        return match of_dates {
            Some(op) => binary(date, op, day),
            None => binary(midnight(date), op, moment),
        };
    }
    if moment.any_column_refs() {
        return binary(midnight(date), op, moment);
    }
    binary(date, op, moment)
}

/// The value of a literal, with the type it is cast to.
fn constant(expression: &Expr, ty: &SqlType, texts: &TextCasts) -> Option<ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(Cast { expr, field }) if sql_type(field) == *ty => match expr.as_ref() {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
                texts.value(text, ty).ok()
            }
            _ => None,
        },
        _ => None,
    }
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
