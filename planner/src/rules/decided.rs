//! What constants decide is not computed.
//!
//! | before | after |
//! |---|---|
//! | `coalesce(a, 1, 1 / 0)` | `coalesce(a, 1)` |
//! | `case x when null then a when y then b end` | `case x when y then b end`, without other arms what ELSE says |
//! | `case when false then 70000::smallint when a then b end`, `case 1 when 2 then 70000::smallint …` | `case when a then b end` |
//! | `false and 70000::smallint = a`, `true or …` | `false`, `true` |
//!
//! The last two only where a cast of a constant fails: DataFusion makes these casts while it plans, wherever they stand. All else
//! that is never reached it does not compute.
//!
//! Errors of what is left out are no errors in PostgreSQL, either. Runs when arguments are coerced, and the whole keeps the type it has;
//! before casts become functions, behind which no literal is seen.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::{BinaryExpr, Case, ScalarFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Volatility};
use datafusion::physical_expr::create_physical_expr;
use datafusion::scalar::ScalarValue;

use super::map_expressions;

pub(super) fn leave_out(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        map_expressions(plan, |expression, schema| match expression {
            Expr::ScalarFunction(call) if call.func.name() == "coalesce" => Ok(chosen(call)),
            Expr::Case(case) if case.when_then_expr.iter().any(|(_, result)| fails(result)) => reached(case, schema),
            Expr::Case(case) if case.expr.is_some() => matched(case, schema),
            Expr::BinaryExpr(both) if matches!(both.op, Operator::And | Operator::Or) => Ok(settled(both)),
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

/// Without the arms that constants exclude, and those behind one that they choose.
fn reached(mut case: Case, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let ty = Expr::Case(case.clone()).get_type(schema)?;
    let mut arms = Vec::with_capacity(case.when_then_expr.len());
    let mut changed = false;
    for (when, then) in std::mem::take(&mut case.when_then_expr) {
        match holds(case.expr.as_deref(), &when) {
            Some(true) => {
                changed = true;
                case.else_expr = Some(then);
                break;
            }
            Some(false) => changed = true,
            None => arms.push((when, then)),
        }
    }
    case.when_then_expr = arms;
    if !case.when_then_expr.is_empty() {
        return Ok(Transformed::new_transformed(Expr::Case(case), changed));
    }
    otherwise(case, &ty, schema).map(Transformed::yes)
}

/// Whether an arm is the one, where constants tell.
fn holds(compared: Option<&Expr>, when: &Expr) -> Option<bool> {
    match (compared, value_of(when)?) {
        (None, ScalarValue::Boolean(truth)) => Some(truth.unwrap_or(false)),
        (Some(compared), value) => {
            let compared = value_of(compared)?;
            let ty = compared.data_type();
            let is_plain = ty.is_integer() || matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::Boolean);
            let is_known = is_plain && value.data_type() == ty && !compared.is_null() && !value.is_null();
            is_known.then_some(compared == value)
        }
        _ => None,
    }
}

/// `AND` and `OR` whose left side decides.
fn settled(both: BinaryExpr) -> Transformed<Expr> {
    let decides = both.op == Operator::Or;
    match both.left.as_ref() {
        Expr::Literal(ScalarValue::Boolean(Some(truth)), _) if *truth == decides && fails(&both.right) => {
            Transformed::yes(Expr::Literal(ScalarValue::Boolean(Some(decides)), None))
        }
        _ => Transformed::no(Expr::BinaryExpr(both)),
    }
}

/// Whether a constant in it is cast to a type it does not fit.
fn fails(expression: &Expr) -> bool {
    let failing = expression.exists(|inner| Ok(matches!(cast_value(inner), Some(None))));
    failing.unwrap_or(false)
}

/// The value of a constant, whatever it is cast to; `Some(None)` where a cast fails.
fn cast_value(expression: &Expr) -> Option<Option<ScalarValue>> {
    match expression {
        Expr::Literal(value, _) => Some(Some(value.clone())),
        Expr::Cast(cast) => {
            let value = cast_value(&cast.expr)?;
            Some(value.and_then(|value| value.cast_to(cast.field.data_type()).ok()))
        }
        _ => None,
    }
}

/// The value of a constant, which may be one that functions make of texts: `'ab'::char(4)`.
fn value_of(expression: &Expr) -> Option<ScalarValue> {
    if let Some(value) = cast_value(expression) {
        return value;
    }
    let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::Utf8View);
    let nothing = DFSchema::empty();
    let is_other = expression.exists(|inner| {
        Ok(match inner {
            Expr::Literal(..) => false,
            // Others are not yet what PostgreSQL makes of them.
            Expr::Cast(cast) => !is_text(cast.field.data_type()) || !is_text(&cast.expr.get_type(&nothing)?),
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => true,
        })
    });
    if is_other.unwrap_or(true) {
        return None;
    }
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let computed = create_physical_expr(expression, &nothing, &props, &planning).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).ok()?;
    let value = computed.evaluate(&row).ok()?.into_array(1).ok()?;
    ScalarValue::try_from_array(&value, 0).ok()
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
    otherwise(case, &ty, schema).map(Transformed::yes)
}

/// What ELSE says, of the type that the whole has.
fn otherwise(case: Case, ty: &DataType, schema: &DFSchema) -> DataFusionResult<Expr> {
    Ok(match case.else_expr.map(|otherwise| *otherwise) {
        Some(otherwise) if otherwise.get_type(schema)? == *ty => otherwise,
        Some(otherwise) => otherwise.cast_to(ty, schema)?,
        None => Expr::Literal(ScalarValue::try_from(ty)?, None),
    })
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
