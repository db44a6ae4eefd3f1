//! Arithmetic of integers, floats and timestamps that refuses what does not fit.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `2147483647 + 1` | wrap around | `add(2147483647, 1)`, which fails |
//! | `timestamp + interval` | fail at infinity, or yield a moment | `timestamp_later(…)`: infinity stays |
//! | `x / 0.0` of floats | yield infinity | `divide(x, 0.0)`, which fails |
//!
//! Must not fire on decimals, dates and intervals among themselves, nor where the operands still differ in type: it runs after type
//! coercion. The results are functions: a second run finds nothing to do.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::map_expressions;
use crate::function::{checked, is_checked, moved_timestamp, negated, type_of_first};

pub(super) fn check(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| map_expressions(plan, rewrite))
        .data()
}

fn rewrite(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_arithmetic(op) => {
            // The right side first: it is short in the long chains, which lean left.
            let right_type = right.get_type(schema).ok();
            if matches!(right_type, Some(DataType::Interval(_) | DataType::Timestamp(..))) {
                return Ok(moved(*left, op, *right, schema));
            }
            let alike = right_type.is_some_and(|right_type| {
                is_checked(&right_type) && type_of_first(&left, schema).is_ok_and(|left_type| left_type == right_type)
            });
            Ok(match alike {
                // Moved, not copied: a chain of thousands would be copied at every step.
                true => Transformed::yes(checked(op, *left, *right)?),
                false => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            })
        }
        Expr::Negative(operand) if operand.get_type(schema).is_ok_and(|ty| is_checked(&ty)) => {
            Ok(Transformed::yes(negated(*operand)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A timestamp and an interval, in either order.
fn moved(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let types = (left.get_type(schema), right.get_type(schema));
    let moved = match (types, op) {
        ((Ok(DataType::Timestamp(..)), Ok(DataType::Interval(_))), Operator::Plus | Operator::Minus) => {
            moved_timestamp(op == Operator::Plus, left, right)
        }
        ((Ok(DataType::Interval(_)), Ok(DataType::Timestamp(..))), Operator::Plus) => {
            moved_timestamp(true, right, left)
        }
        _ => return Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))),
    };
    Transformed::yes(moved)
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(
        op,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    )
}
