//! Operators of `json` and `jsonb`, and which expressions have these types.
//!
//! | text | plan |
//! |---|---|
//! | `j -> 'a' -> 0 ->> 'b'` | `staffa_json_text(j, 'a', 0, 'b')`: one walk |
//! | `j #> '{a,b}'`, `j #>> …` | `staffa_json_path_value(j, …)`, `staffa_json_path_text` |
//! | `j['a'][0]` | `jsonb_extract_path(j, 'a', '0')` |
//! | `a @> b`, `a <@ b`, `j ? 'k'`, `j ?\| …`, `j ?& …` | `jsonb_contains`, `jsonb_contained`, `jsonb_exists`, `…_any`, `…_all` |
//! | `a \|\| b`, `j - 'k'`, `j - 1`, `j #- path` | `jsonb_concat`, `staffa_jsonb_delete_key` …, `jsonb_delete_path` |
//! | `j @? path`, `j @@ path` | `jsonb_path_exists_opr`, `jsonb_path_match_opr` |
//!
//! Comparisons are made where the plan is analysed (`rules/json.rs`): not all of them are operators in the text.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::RawFieldAccessExpr;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, GetFieldAccess};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use staffa_catalog::{SqlType, SystemType};

use crate::error::{Error, ErrorKind, Result};
use crate::function::json::{call, extract, gives_same, got};
use crate::types::{arrow_field, sql_type};

/// An element of an array, which DataFusion gives the type it has in other arrays of texts.
pub(crate) const ELEMENT: &str = "array_element";

/// Functions that give one of their arguments, whose type they forget.
const PASSING: &[&str] = &["coalesce", "nullif", "greatest", "least"];

/// The type of an expression, also where DataFusion has forgotten that it is JSON. `Unknown` for literals without a type.
pub(crate) fn type_of(expression: &Expr, schema: &DFSchema) -> SqlType {
    match expression {
        Expr::Alias(alias) => type_of(&alias.expr, schema),
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Utf8View(_), None) => SqlType::Unknown,
        Expr::Placeholder(Placeholder { field: None, .. }) => SqlType::Unknown,
        Expr::Case(case) => {
            let mut branches = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let json = branches.find_map(|branch| Some(type_of(branch, schema)).filter(is_json));
            json.unwrap_or_else(|| by_field(expression, schema))
        }
        Expr::ScalarFunction(function) if PASSING.contains(&function.func.name()) => {
            let json = function
                .args
                .iter()
                .find_map(|branch| Some(type_of(branch, schema)).filter(is_json));
            json.unwrap_or_else(|| by_field(expression, schema))
        }
        // `case … end #> path`: the type that CASE forgets.
        Expr::ScalarFunction(function) if gives_same(function) => {
            let given = function.args.first().map(|given| type_of(given, schema));
            given.filter(is_json).unwrap_or_else(|| by_field(expression, schema))
        }
        Expr::ScalarFunction(function) if function.func.name() == ELEMENT => {
            let array = function.args.first().map(|array| by_field(array, schema));
            match array {
                Some(SqlType::Array(element)) if is_json(&element) => *element,
                _ => by_field(expression, schema),
            }
        }
        // A cast to `text` keeps all that is said of its operand but this.
        Expr::Cast(Cast { field, .. }) if is_text(field.data_type()) => sql_type(field),
        // Chains of these are long, and none of them is JSON.
        Expr::BinaryExpr(_) => SqlType::Text,
        _ => by_field(expression, schema),
    }
}

fn by_field(expression: &Expr, schema: &DFSchema) -> SqlType {
    expression
        .to_field(schema)
        .map_or(SqlType::Unknown, |(_, field)| sql_type(&field))
}

pub(crate) fn is_json(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Json | SqlType::Jsonb)
}

pub(crate) fn is_text(ty: &DataType) -> bool {
    matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// Whether an operator may be one of JSON.
pub(super) fn concerns(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Arrow
            | BinaryOperator::LongArrow
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt
            | BinaryOperator::HashMinus
            | BinaryOperator::AtQuestion
            | BinaryOperator::AtAt
            | BinaryOperator::Question
            | BinaryOperator::QuestionAnd
            | BinaryOperator::QuestionPipe
            | BinaryOperator::StringConcat
            | BinaryOperator::Minus
    )
}

/// The operator as a call, or its operands back when none of them is JSON and other types have it too.
pub(super) fn planned(
    op: &BinaryOperator,
    left: Expr,
    right: Expr,
    schema: &DFSchema,
) -> Result<std::result::Result<Expr, (Expr, Expr)>> {
    let (of_left, of_right) = (type_of(&left, schema), type_of(&right, schema));
    let others_have_it = matches!(
        op,
        BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::StringConcat | BinaryOperator::Minus
    );
    if !is_json(&of_left) && !is_json(&of_right) && others_have_it {
        return Ok(Err((left, right)));
    }
    // An element joins an array, whatever it is.
    let is_array = |ty: &SqlType| matches!(ty, SqlType::Array(_));
    if op == &BinaryOperator::StringConcat && (is_array(&of_left) || is_array(&of_right)) {
        return Ok(Err((left, right)));
    }
    let undefined = || undefined_operator(&of_left, op, &of_right);
    let jsonb = of_left == SqlType::Jsonb;
    // `json || text` is text.
    if op == &BinaryOperator::StringConcat && !jsonb && of_right != SqlType::Jsonb {
        return Ok(Err((left, right)));
    }
    let untyped = |ty: &SqlType| ty == &SqlType::Unknown;
    let textual = |ty: &SqlType| {
        matches!(
            ty,
            SqlType::Unknown | SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_)
        )
    };
    let whole = |ty: &SqlType| matches!(ty, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt);
    let path = |ty: &SqlType| matches!(ty, SqlType::Unknown | SqlType::System(SystemType::JsonPath));
    let texts = |ty: &SqlType| match ty {
        SqlType::Array(element) => textual(element),
        ty => untyped(ty),
    };
    let planned = match op {
        BinaryOperator::Arrow | BinaryOperator::LongArrow => {
            if !is_json(&of_left) || !(textual(&of_right) || whole(&of_right)) {
                return Err(undefined());
            }
            got(left, literal(right), op == &BinaryOperator::LongArrow)
        }
        BinaryOperator::HashArrow | BinaryOperator::HashLongArrow => {
            if !is_json(&of_left) || !texts(&of_right) {
                return Err(undefined());
            }
            extract(left, right, op == &BinaryOperator::HashLongArrow)
        }
        BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::StringConcat => {
            let fits = |ty: &SqlType| ty == &SqlType::Jsonb || untyped(ty);
            if !fits(&of_left) || !fits(&of_right) {
                return Err(undefined());
            }
            let name = match op {
                BinaryOperator::AtArrow => "jsonb_contains",
                BinaryOperator::ArrowAt => "jsonb_contained",
                _ => "jsonb_concat",
            };
            call(name, vec![parameter(left), parameter(right)])?
        }
        _ if !jsonb => return Err(undefined()),
        BinaryOperator::Minus => {
            let name = match &of_right {
                ty if textual(ty) => "staffa_jsonb_delete_key",
                ty if whole(ty) => "staffa_jsonb_delete_index",
                SqlType::Array(_) => "staffa_jsonb_delete_keys",
                _ => return Err(undefined()),
            };
            call(name, vec![left, right])?
        }
        BinaryOperator::Question if textual(&of_right) => call("jsonb_exists", vec![left, right])?,
        BinaryOperator::QuestionPipe if texts(&of_right) => call("jsonb_exists_any", vec![left, right])?,
        BinaryOperator::QuestionAnd if texts(&of_right) => call("jsonb_exists_all", vec![left, right])?,
        BinaryOperator::HashMinus if texts(&of_right) => call("jsonb_delete_path", vec![left, right])?,
        BinaryOperator::AtQuestion if path(&of_right) => call("jsonb_path_exists_opr", vec![left, right])?,
        BinaryOperator::AtAt if path(&of_right) => call("jsonb_path_match_opr", vec![left, right])?,
        _ => return Err(undefined()),
    };
    Ok(Ok(planned))
}

/// A number with the type literals get, as the literal it is.
fn literal(step: Expr) -> Expr {
    let number = match &step {
        Expr::Cast(cast) => cast.expr.as_ref(),
        other => other,
    };
    match number {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => match i32::try_from(*value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
            Err(_) => step,
        },
        _ => step,
    }
}

/// A parameter beside a `jsonb` is one, too.
fn parameter(expression: Expr) -> Expr {
    match expression {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Arc::new(arrow_field(id.clone(), &SqlType::Jsonb, true, "UTC"));
            Expr::Placeholder(Placeholder { id, field: Some(field) })
        }
        other => other,
    }
}

/// `operator does not exist: jsonb -> numeric`
pub(crate) fn undefined_operator(left: &SqlType, op: &impl std::fmt::Display, right: &SqlType) -> Error {
    let message = format!("operator does not exist: {} {op} {}", shown(left), shown(right));
    Error::new(ErrorKind::UndefinedFunction, message)
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// A type without its modifiers.
fn shown(ty: &SqlType) -> String {
    match ty {
        SqlType::Numeric { .. } => "numeric".to_string(),
        SqlType::Varchar(_) => "character varying".to_string(),
        SqlType::Char(_) => "character".to_string(),
        other => other.plain().to_string(),
    }
}

/// `j['a'][0]`: a step of `#>`.
pub(super) fn subscripted(
    access: RawFieldAccessExpr,
    schema: &DFSchema,
) -> Result<std::result::Result<Expr, RawFieldAccessExpr>> {
    let step = match type_of(&access.expr, schema) {
        SqlType::Json => {
            let message = "cannot subscript type json because it does not support subscripting";
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        }
        SqlType::Jsonb => match access.field_access {
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name, None),
            GetFieldAccess::ListIndex { key } => match literal(*key) {
                Expr::Literal(ScalarValue::Int32(Some(index)), _) => {
                    Expr::Literal(ScalarValue::Utf8View(Some(index.to_string())), None)
                }
                key if type_of(&key, schema) == SqlType::Unknown => key,
                key => Expr::Cast(Cast::new(Box::new(key), DataType::Utf8View)),
            },
            GetFieldAccess::ListRange { .. } => {
                return Err(Error::new(
                    ErrorKind::DatatypeMismatch,
                    "jsonb subscript does not support slices",
                ));
            }
        },
        _ => return Ok(Err(access)),
    };
    let args = match access.expr {
        Expr::ScalarFunction(ScalarFunction { func, mut args }) if func.name() == SUBSCRIPT => {
            args.push(step);
            args
        }
        value => vec![value, step],
    };
    call(SUBSCRIPT, args).map(Ok)
}

const SUBSCRIPT: &str = "jsonb_extract_path";
