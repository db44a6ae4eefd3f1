//! Forms PostgreSQL has names for and DataFusion has operators for, and the other way round.
//!
//! | before | after |
//! |---|---|
//! | `mod(a, b)` | `a % b` |
//! | `age(x)` | `age(current_date, x)` |
//! | `every(x)` | `bool_and(x)` |
//! | `variance(x)` | `var_samp(x)` |
//! | `row_number() over w` | `cast(row_number() over w as bigint)`: DataFusion counts without a sign |
//! | `x like y escape '/'` | `x like like_escape(y, '/')` |
//! | `generate_series(a, b)` in a select list | `unnest(generate_series(a, b))` |
//! | `- interval '-1 day 2 hours'` | `interval '-1 day 2 hours' * -1` |
//! | `~ x`, `@ x`, `|/ x`, `||/ x` | `bit_not(x)`, `abs(x)`, `sqrt(x)`, `cbrt(x)` |

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, TimezoneInfo,
    UnaryOperator, Value, ValueWithSpan,
};
use staffa_catalog::SqlType;

use super::{call, taken};
use crate::error::{Error, Result};
use crate::function::{AS_TEXT, MATCHES, SERIES};
use crate::type_planner::sql_type_of_ast;

/// What PostgreSQL has by this name and Staffa has not: DataFusion's functions of some of these names do something else.
pub(crate) const REFUSED: &[&str] = &[
    "array_dims",
    "array_fill",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
];

/// The expression this function call is another spelling of.
pub(super) fn function(function: &mut Function) -> Result<Option<Expr>> {
    let name = match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => crate::resolve::fold(ident),
        _ => return Ok(None),
    };
    if REFUSED.contains(&name.as_str()) {
        return Err(Error::unsupported(format!("{name}() is not supported")));
    }
    if let Some(json) = super::json::function(&name, function)? {
        return Ok(Some(json));
    }
    if let Some(ty) = counted_type(&name) {
        let counted = Expr::Function(function.clone());
        return Ok(Some(match name.as_str() {
            "array_length" => or_none(counted),
            _ => cast(counted, ty),
        }));
    }
    Ok(match name.as_str() {
        "every" | "variance" => {
            let other = if name == "every" { "bool_and" } else { "var_samp" };
            function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(other))]);
            None
        }
        "mod" => binary(function, |left, right| operation(left, BinaryOperator::Modulo, right)),
        "age" => unary_call(function, |moment| {
            let today = call("current_date", Vec::new());
            call("age", vec![today, moment])
        }),
        // An array of `name::text` is a `text[]`; the cast says still that its value is a `name`.
        "array_agg" => {
            if let FunctionArguments::List(list) = &mut function.args
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first_mut()
                && matches!(
                    first,
                    Expr::Cast {
                        data_type: DataType::Text,
                        ..
                    }
                )
            {
                let keys = list.clauses.iter_mut().filter_map(|clause| match clause {
                    FunctionArgumentClause::OrderBy(keys) => Some(keys),
                    _ => None,
                });
                for key in keys.flatten().filter(|key| key.expr == *first) {
                    key.expr = call(AS_TEXT, vec![taken(&mut key.expr)]);
                }
                *first = call(AS_TEXT, vec![taken(first)]);
            }
            None
        }
        "localtimestamp" | "localtime" if matches!(function.args, FunctionArguments::None) => local_time(&name),
        // Arrays count from 1 here.
        "array_upper" => binary(function, |array, dimension| {
            or_none(call("array_length", vec![array, dimension]))
        }),
        "array_lower" => binary(function, |array, dimension| {
            let length = or_none(call("array_length", vec![array, dimension]));
            let ones = operation(length, BinaryOperator::Multiply, number("0"));
            cast(operation(ones, BinaryOperator::Plus, number("1")), DataType::Int4(None))
        }),
        "string_to_table" => Some(call("unnest", vec![renamed(function, "string_to_array")])),
        "generate_series" => Some(call("unnest", vec![renamed(function, SERIES)])),
        "regexp_matches" => Some(call("unnest", vec![renamed(function, MATCHES)])),
        "regexp_split_to_table" => Some(call("unnest", vec![renamed(function, "regexp_split_to_array")])),
        _ => None,
    })
}

/// A length as an `integer`; an empty array has none.
fn or_none(length: Expr) -> Expr {
    let integer = |expression| cast(expression, DataType::Int4(None));
    call("nullif", vec![integer(length), integer(number("0"))])
}

/// The type of the functions DataFusion answers with unsigned numbers.
fn counted_type(name: &str) -> Option<DataType> {
    Some(match name {
        "array_length" | "cardinality" | "array_ndims" | "array_position" | "ntile" => DataType::Int4(None),
        "row_number" | "rank" | "dense_rank" => DataType::Int8(None),
        "array_positions" => DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Int4(None)), None)),
        _ => return None,
    })
}

fn renamed(function: &Function, name: &str) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    Expr::Function(function)
}

fn binary(function: &mut Function, form: impl Fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let mut plain = arguments(function)?;
    let [left, right] = plain.as_mut_slice() else {
        return None;
    };
    Some(form(taken(left), taken(right)))
}

fn unary_call(function: &mut Function, form: impl Fn(Expr) -> Expr) -> Option<Expr> {
    let mut plain = arguments(function)?;
    let [operand] = plain.as_mut_slice() else { return None };
    Some(form(taken(operand)))
}

fn operation(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let nested = |expression: Expr| Box::new(Expr::Nested(Box::new(expression)));
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: nested(left),
        op,
        right: nested(right),
    }))
}

/// `- interval '…'`
pub(super) fn negated_interval(interval: Expr) -> Expr {
    operation(interval, BinaryOperator::Multiply, number("-1"))
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_string(), false).into())
}

/// `CAST(expression AS data_type)`
pub(super) fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expression),
        data_type,
        array: false,
        format: None,
    }
}

/// `current_timestamp` without its zone, for the words that mean it.
pub(super) fn local_time(name: &str) -> Option<Expr> {
    let timestamp = || cast(call("now", Vec::new()), DataType::Timestamp(None, TimezoneInfo::None));
    match name {
        "localtimestamp" => Some(timestamp()),
        "localtime" => Some(cast(timestamp(), DataType::Time(None, TimezoneInfo::None))),
        _ => None,
    }
}

/// A pattern whose escape character is another than the backslash, the only one DataFusion knows.
pub(super) fn plain_pattern(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) {
    let is_backslash =
        |escape: &ValueWithSpan| matches!(&escape.value, Value::SingleQuotedString(text) if text == "\\");
    if let Some(escape) = escape.take_if(|escape| !is_backslash(escape)) {
        *pattern = call("like_escape", vec![taken(pattern), Expr::Value(escape)]);
    }
}

/// An interval literal's text in words DataFusion reads: it knows no `2 days 03:04:05`.
pub(super) fn plain_interval(interval: &mut Interval) -> Result<()> {
    if interval.leading_field.is_some() {
        return Ok(());
    }
    let Expr::Value(value) = interval.value.as_mut() else {
        return Ok(());
    };
    if let Value::SingleQuotedString(text) = &mut value.value {
        let read = crate::value::interval::parse(text.as_bytes())?;
        let micros = read.nanoseconds / 1000;
        *text = format!("{} months {} days {micros} microseconds", read.months, read.days);
    }
    Ok(())
}

/// The arguments of a call that has neither names nor stars.
fn arguments(function: &mut Function) -> Option<Vec<&mut Expr>> {
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    let mut plain = Vec::with_capacity(list.args.len());
    for argument in &mut list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => plain.push(expression),
            _ => return None,
        }
    }
    Some(plain)
}

/// The function an operator before its operand is.
pub(super) fn unary(op: UnaryOperator) -> Option<&'static str> {
    Some(match op {
        UnaryOperator::BitwiseNot => "bit_not",
        UnaryOperator::PGAbs => "abs",
        UnaryOperator::PGSquareRoot => "sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        _ => return None,
    })
}

/// Whether this is a number with a fraction or an exponent cast to a float.
pub(super) fn is_exact_float(expression: &Expr, data_type: &DataType) -> bool {
    let Expr::Value(value) = expression else { return false };
    let Value::Number(digits, _) = &value.value else {
        return false;
    };
    digits.contains(['.', 'e', 'E']) && matches!(sql_type_of_ast(data_type), Ok(SqlType::Real | SqlType::Double))
}
