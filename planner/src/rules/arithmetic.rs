//! Integer and float arithmetic that refuses what does not fit; sums of `bigint` that are `numeric`.
//!
//! | before | DataFusion would | after |
//! |---|---|---|
//! | `2147483647 + 1` | wrap around | `add(2147483647, 1)`, which fails |
//! | `x / 0.0` of floats | yield infinity | `divide(x, 0.0)`, which fails |
//! | `sum(b)` of `bigint` | wrap around | `sum(cast(b as numeric))` |
//!
//! Must not fire on decimals, dates and intervals, nor where the operands still differ in type: it runs after type
//! coercion. The results are functions: a second run finds nothing to do.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, WindowFunctionDefinition,
};

use super::map_expressions;
use crate::function::{checked, is_checked, negated};

pub(super) fn check(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| map_expressions(plan, rewrite))
        .data()
}

/// Makes sums of `bigint` numeric, which no sum of them overflows. The flag says whether there were any: the types above
/// them have to be found again then.
pub(super) fn widen_sums(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let changed = Cell::new(false);
    let plan = plan
        .transform_up_with_subqueries(|plan| {
            map_expressions(plan, |expression, schema| {
                let (expression, widened) = widen(expression, schema);
                changed.set(changed.get() | widened);
                Ok(Transformed::new_transformed(expression, widened))
            })
        })
        .data()?;
    Ok(Transformed::new_transformed(plan, changed.get()))
}

fn widen(mut expression: Expr, schema: &DFSchema) -> (Expr, bool) {
    let widened = match &mut expression {
        Expr::AggregateFunction(function) if function.func.name() == "sum" => {
            widen_first(&mut function.params.args, schema)
        }
        Expr::WindowFunction(function) if matches!(&function.fun, WindowFunctionDefinition::AggregateUDF(udf) if udf.name() == "sum") => {
            widen_first(&mut function.params.args, schema)
        }
        _ => false,
    };
    (expression, widened)
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

/// `bigint` as the numeric that holds all of them. (Sums of `integer` are made in 64 bits, which no table fills.)
fn widen_first(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [argument] = args else { return false };
    // Coercion has made every integer a bigint: what it was stands below its cast.
    if argument.get_type(schema).ok() != Some(DataType::Int64) || narrower(argument, schema) {
        return false;
    }
    let field = Arc::new(Field::new("", DataType::Decimal128(19, 0), true));
    let inner = std::mem::replace(argument, Expr::Literal(datafusion::scalar::ScalarValue::Null, None));
    *argument = Expr::Cast(Cast::new_from_field(Box::new(inner), field));
    true
}

/// Whether it is a smaller integer that coercion made a bigint.
fn narrower(expression: &Expr, schema: &DFSchema) -> bool {
    match expression {
        Expr::Cast(cast) => matches!(
            cast.expr.get_type(schema),
            Ok(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16)
        ),
        _ => false,
    }
}
