//! What constants decide is not computed.
//!
//! | before | after |
//! |---|---|
//! | `coalesce(a, 1, 1 / 0)` | `coalesce(a, 1)` |
//! | `case x when null then a when y then b end` | `case x when y then b end`, without other arms what ELSE says |
//!
//! Errors of what is left out are no errors in PostgreSQL, either. Runs when arguments are coerced, and the whole keeps the type it has;
//! before casts become functions, behind which no literal is seen.

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::map_expressions;

pub(super) fn leave_out(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        map_expressions(plan, |expression, schema| match expression {
            Expr::ScalarFunction(call) if call.func.name() == "coalesce" => Ok(chosen(call)),
            Expr::Case(case) if case.expr.is_some() => matched(case, schema),
            other => Ok(Transformed::no(other)),
        })
    })
    .data()
}

fn chosen(mut call: ScalarFunction) -> Transformed<Expr> {
    let first = call.args.iter().position(|arg| constant(arg) == Some(Constant::Value));
    let changed = first.is_some_and(|at| at + 1 < call.args.len());
    if let (Some(at), true) = (first, changed) {
        call.args.truncate(at + 1);
    }
    Transformed::new_transformed(Expr::ScalarFunction(call), changed)
}

/// Nothing is equal to NULL.
fn matched(mut case: Case, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    // What is compared is computed all the same where it is a constant itself.
    if !case.expr.as_ref().is_some_and(|compared| compared.any_column_refs()) {
        return Ok(Transformed::no(Expr::Case(case)));
    }
    let arms = case.when_then_expr.len();
    let ty = Expr::Case(case.clone()).get_type(schema)?;
    case.when_then_expr
        .retain(|(when, _)| constant(when) != Some(Constant::Null));
    if !case.when_then_expr.is_empty() {
        let changed = case.when_then_expr.len() < arms;
        return Ok(Transformed::new_transformed(Expr::Case(case), changed));
    }
    let otherwise = case.else_expr.map(|otherwise| *otherwise);
    Ok(Transformed::yes(match otherwise {
        Some(otherwise) if otherwise.get_type(schema)? == ty => otherwise,
        Some(otherwise) => otherwise.cast_to(&ty, schema)?,
        None => Expr::Literal(ScalarValue::try_from(&ty)?, None),
    }))
}

#[derive(PartialEq)]
enum Constant {
    Null,
    Value,
}

/// What a literal is, whatever it is cast to.
fn constant(expression: &Expr) -> Option<Constant> {
    match expression {
        Expr::Literal(value, _) => Some(if value.is_null() {
            Constant::Null
        } else {
            Constant::Value
        }),
        Expr::Cast(cast) => constant(&cast.expr),
        _ => None,
    }
}
