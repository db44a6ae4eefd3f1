//! Literals get the types that what they stand beside gives them.
//!
//! Casts that give whole numbers their type are made at once.
//!
//! Before: `cast(5 as integer)` of a literal 5. After: the literal 5 of that type, which functions that ask for constants
//! (`ntile(4)`, `round(x, 2)`) can see.
//!
//! `'1.50'::numeric` is the number with the digits the text has.
//!
//! Must not fire on numbers that do not fit; those casts fail when they are computed. Types stay what they were.
//!
//! Texts beside arrays are read as arrays: `x = any ('{1,2}')`, `coalesce(array, '{}')`. So are the values of parameters.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::map_expressions;
use crate::context::PlanContext;
use crate::function::{coalesce, quantified};
use crate::types::is_bare_numeric;
use crate::value::numeric_of_text;

pub(super) fn fold(context: &PlanContext, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let is_values = matches!(plan, LogicalPlan::Values(_));
        map_expressions(plan, |expression, schema| {
            if let Expr::ScalarFunction(call) = &expression {
                return Ok(match beside_arrays(call, schema, &context.time_zone)? {
                    Some(typed) => Transformed::yes(typed),
                    None => Transformed::no(expression),
                });
            }
            let folded = folded(expression, is_values);
            let numbers = beside_objects(folded.data, schema);
            Ok(Transformed::new_transformed(
                numbers.data,
                folded.transformed || numbers.transformed,
            ))
        })
    })
    .data()
}

fn beside_arrays(call: &ScalarFunction, schema: &DFSchema, zone: &str) -> DataFusionResult<Option<Expr>> {
    let typed = match quantified::with_typed_literals(call, schema, zone)? {
        Some(typed) => Some(typed),
        None => coalesce::with_array_literals(call, schema)?,
    };
    Ok(typed)
}

/// `case when a then oid else 0 end` is an object's number, not a `bigint`.
fn beside_objects(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Case(mut case) = expression else {
        return Transformed::no(expression);
    };
    let results = || {
        case.when_then_expr
            .iter()
            .map(|(_, result)| result)
            .chain(&case.else_expr)
    };
    let is_object = |result: &Expr| result.get_type(schema).is_ok_and(|ty| ty == DataType::UInt32);
    let fits = |result: &Expr| is_object(result) || number(result).is_some();
    if !results().any(|result| is_object(result)) || !results().all(|result| fits(result)) {
        return Transformed::no(Expr::Case(case));
    }
    let mut results: Vec<&mut Box<Expr>> = case.when_then_expr.iter_mut().map(|(_, result)| result).collect();
    results.extend(&mut case.else_expr);
    for result in results {
        if let Some(number) = number(result) {
            **result = Expr::Literal(ScalarValue::UInt32(Some(number)), None);
        }
    }
    Transformed::yes(Expr::Case(case))
}

/// A whole number that may be an object's.
fn number(expression: &Expr) -> Option<u32> {
    match expression {
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => u32::try_from(*value).ok(),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => u32::try_from(*value).ok(),
        _ => None,
    }
}

fn folded(expression: Expr, is_values: bool) -> Transformed<Expr> {
    if let Expr::Cast(cast) = &expression
        && cast.field.data_type() == &DataType::Int32
        && let Expr::Literal(ScalarValue::Int64(Some(value)), _) = cast.expr.as_ref()
        && let Ok(value) = i32::try_from(*value)
    {
        return Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), None));
    }
    // All rows of VALUES have the types of its columns.
    if !is_values && let Some(number) = read_number(&expression) {
        return Transformed::yes(number);
    }
    Transformed::no(expression)
}

/// The literal that `'1.50'::numeric` is: of its own precision and scale.
fn read_number(expression: &Expr) -> Option<Expr> {
    let Expr::Cast(Cast { expr, field }) = expression else {
        return None;
    };
    let (Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _), true) =
        (expr.as_ref(), is_bare_numeric(field))
    else {
        return None;
    };
    let number = numeric_of_text(text)?;
    Some(Expr::Literal(number, None))
}
