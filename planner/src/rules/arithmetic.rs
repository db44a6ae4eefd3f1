//! Integer and float arithmetic that refuses what does not fit.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `2147483647 + 1` | wrap around | `add(2147483647, 1)`, which fails |
//! | `x / 0.0` of floats | yield infinity | `divide(x, 0.0)`, which fails |
//!
//! Must not fire on decimals, dates and intervals, nor where the operands still differ in type: it runs after type
//! coercion. The results are functions: a second run finds nothing to do.

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::map_expressions;
use crate::function::{checked, is_checked, negated};

pub(super) fn check(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| map_expressions(plan, rewrite))
        .data()
}

fn rewrite(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_arithmetic(op) => {
            // The right side first: it is short in the long chains, which lean left.
            let alike = right.get_type(schema).is_ok_and(|right_type| {
                is_checked(&right_type) && left.get_type(schema).is_ok_and(|left_type| left_type == right_type)
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

fn is_arithmetic(op: Operator) -> bool {
    matches!(
        op,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    )
}
