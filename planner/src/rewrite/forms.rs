//! Forms PostgreSQL has names for and DataFusion has operators for, and the other way round.
//!
//! | before | after |
//! |---|---|
//! | `mod(a, b)` | `a % b` |
//! | `date(x)`, `int4(x)` … | `x::date`, `x::int4` |
//! | `substring(x from a for b)`, `overlay(…)`, `position(x in y)` | `substr(x, a, b)`, `overlay(…)`, `strpos(y, x)` |
//! | `age(x)` | `age(current_date, x)` |
//! | `every(x)` | `bool_and(x)` |
//! | `variance(x)` | `var_samp(x)` |
//! | `row_number() over w` | `cast(row_number() over w as bigint)`: DataFusion counts without a sign |
//! | `x like y escape '/'` | `x like like_escape(y, '/')` |
//! | `generate_series(a, b)` in a select list | `unnest(generate_series(a, b))` |
//! | `- interval '-1 day 2 hours'` | `interval '-1 day 2 hours' * -1` |
//! | `~ x`, `@ x`, `|/ x`, `||/ x` | `bit_not(x)`, `abs(x)`, `sqrt(x)`, `cbrt(x)` |

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, OrderByExpr,
    OrderByOptions, Subscript, TimezoneInfo, UnaryOperator, Value, ValueWithSpan,
};
use staffa_catalog::{IntervalFields, Rounding, SqlType};

use super::hypothetical::{self, HYPOTHETICAL};
use super::{call, taken};
use crate::error::{Error, Result};
use crate::function::{AS_TEXT, MATCHES, ROUNDED, SERIES};
use crate::type_planner::sql_type_of_ast;

/// What stands behind an interval's text that was a number alone.
pub(crate) const SECONDS: &str = " seconds";

/// Types whose names PostgreSQL has functions of, or takes for one: `date(x)` is `x::date`.
const CASTS: &[&str] = &[
    "bool",
    "bpchar",
    "bytea",
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "json",
    "jsonb",
    "name",
    "oid",
    "regclass",
    "regtype",
    "text",
    "timestamptz",
    "uuid",
];

/// The same of types that have a syntax of their own, so that the function's name needs quotes: `"timestamp"(x)`.
const QUOTED_CASTS: &[&str] = &["char", "interval", "numeric", "time", "timestamp", "varchar"];

/// The type a call of this name with one argument casts to.
pub(crate) fn called_type(name: &Ident) -> Option<DataType> {
    let folded = crate::resolve::fold(name);
    let known = |names: &[&str]| names.contains(&folded.as_str());
    (known(CASTS) || name.quote_style.is_some() && known(QUOTED_CASTS)).then(|| {
        let named = Ident::with_quote('"', folded.as_str());
        DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(named)]), Vec::new())
    })
}

/// The expression this function call is another spelling of.
pub(super) fn function(function: &mut Function) -> Result<Option<Expr>> {
    let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else {
        return Ok(None);
    };
    let name = crate::resolve::fold(ident);
    if let Some(ty) = called_type(ident) {
        return Ok(unary_call(function, |value| cast(value, ty.clone())));
    }
    if HYPOTHETICAL.contains(&name.as_str())
        && let Some(counted) = hypothetical::counted(&name, function)
    {
        return Ok(Some(counted));
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
            sort_distinct(function);
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
        // The form is a word of its own: `normalize(x, NFD)`.
        "scale" => unary_call(function, |number| digits_behind(number, false)),
        "min_scale" => unary_call(function, |number| digits_behind(number, true)),
        "percentile_cont" | "percentile_disc" => of_each_share(function),
        "normalize" => binary(function, |text, form| call("normalize", vec![text, word(form)])),
        "timeofday" => time_of_day(function),
        "string_to_table" => Some(call("unnest", vec![renamed(function, "string_to_array")])),
        "generate_series" => Some(call("unnest", vec![renamed(function, SERIES)])),
        "regexp_matches" => Some(call("unnest", vec![renamed(function, MATCHES)])),
        "regexp_split_to_table" => Some(call("unnest", vec![renamed(function, "regexp_split_to_array")])),
        _ => None,
    })
}

/// PostgreSQL sorts to find equal values.
fn sort_distinct(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let is_sorted = |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && !list.clauses.iter().any(is_sorted)
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_slice()
    {
        let key = OrderByExpr {
            expr: value.clone(),
            options: OrderByOptions {
                asc: None,
                nulls_first: None,
            },
            with_fill: None,
        };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![key]));
    }
}

/// `a[:2]`, `a[2:]`: DataFusion wants both bounds.
pub(super) fn fill_bounds(access: &mut AccessExpr) {
    if let AccessExpr::Subscript(Subscript::Slice {
        lower_bound,
        upper_bound,
        ..
    }) = access
    {
        lower_bound.get_or_insert_with(|| number("1"));
        upper_bound.get_or_insert_with(|| number("2147483647"));
    }
}

/// A length as an `integer`; an empty array has none.
fn or_none(length: Expr) -> Expr {
    let integer = |expression| cast(expression, DataType::Int4(None));
    call("nullif", vec![integer(length), integer(number("0"))])
}

/// The type of the functions DataFusion answers with unsigned numbers.
fn counted_type(name: &str) -> Option<DataType> {
    Some(match name {
        "array_length" | "cardinality" | "ntile" => DataType::Int4(None),
        "row_number" | "rank" | "dense_rank" | "regr_count" => DataType::Int8(None),
        _ => return None,
    })
}

/// `timeofday()` is a text.
fn time_of_day(function: &mut Function) -> Option<Expr> {
    let pattern = Value::SingleQuotedString("Dy Mon DD HH24:MI:SS.US YYYY TZ".to_string());
    let clock = call("clock_timestamp", Vec::new());
    let is_plain = arguments(function)?.is_empty();
    is_plain.then(|| call("to_char", vec![clock, Expr::Value(pattern.into())]))
}

/// How many digits a number shows behind its point; zeros at the end may not count.
fn digits_behind(number: Expr, significant: bool) -> Expr {
    let text = |text: &str| Expr::Value(Value::SingleQuotedString(text.to_string()).into());
    let mut digits = call(
        "split_part",
        vec![cast(number, DataType::Text), text("."), self::number("2")],
    );
    if significant {
        digits = call("rtrim", vec![digits, text("0")]);
    }
    cast(call("length", vec![digits]), DataType::Int4(None))
}

/// `percentile_cont(array[a, b]) within group (…)` as an array of the percentiles. The array has become a call already.
fn of_each_share(function: &mut Function) -> Option<Expr> {
    let plain = arguments(function)?;
    let [Expr::Function(array)] = plain.as_slice() else {
        return None;
    };
    if crate::resolve::shown(&array.name) != "make_array" {
        return None;
    }
    let mut array = array.clone();
    let shares = arguments(&mut array)?;
    let of = |share: &mut Expr| {
        let mut function = function.clone();
        if let FunctionArguments::List(list) = &mut function.args {
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(taken(share)))];
        }
        Expr::Function(function)
    };
    Some(call("make_array", shares.into_iter().map(of).collect()))
}

/// A bare name as a text.
fn word(expression: Expr) -> Expr {
    match expression {
        Expr::Identifier(ident) => Expr::Value(Value::SingleQuotedString(ident.value).into()),
        other => other,
    }
}

/// Functions of texts with a syntax of their own, as calls: those of bytes are told apart by the types of arguments.
pub(super) fn text_function(expression: &mut Expr) {
    let optional = |argument: &mut Option<Box<Expr>>| argument.take().map(|argument| *argument);
    let (name, arguments) = match expression {
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let from = optional(substring_from).unwrap_or_else(|| number("1"));
            ("substr", [Some(taken(expr)), Some(from), optional(substring_for), None])
        }
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let (what, from) = (taken(overlay_what), taken(overlay_from));
            (
                "overlay",
                [Some(taken(expr)), Some(what), Some(from), optional(overlay_for)],
            )
        }
        Expr::Position { expr, r#in } => ("strpos", [Some(taken(r#in)), Some(taken(expr)), None, None]),
        Expr::IsNormalized { expr, form, negated } => {
            let form = form.map(|form| Expr::Value(Value::SingleQuotedString(form.to_string()).into()));
            let normalized = call(
                "is_normalized",
                [Some(taken(expr)), form].into_iter().flatten().collect(),
            );
            *expression = match negated {
                true => Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(normalized),
                },
                false => normalized,
            };
            return;
        }
        _ => return,
    };
    *expression = call(name, arguments.into_iter().flatten().collect());
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

pub(super) fn operation(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
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

pub(super) fn number(digits: &str) -> Expr {
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

/// An interval literal's text in words DataFusion reads: it knows no `2 days 03:04:05`. With fields (`interval '3' day`,
/// `interval '1:02' minute to second`) the type to round to.
pub(super) fn plain_interval(interval: &mut Interval) -> Result<Option<Rounding>> {
    let fields = declared_fields(interval);
    if fields.is_none() && interval.leading_field.is_some() {
        if interval.last_field.is_none() {
            // DataFusion has more units: `interval '2' weeks`.
            return Ok(None);
        }
        let message = "these fields of an interval are not supported";
        return Err(Error::unsupported(message));
    }
    let Expr::Value(value) = interval.value.as_mut() else {
        return Ok(None);
    };
    if let Value::SingleQuotedString(text) = &mut value.value {
        *text = spelled(text, fields)?;
    }
    let digits = interval
        .fractional_seconds_precision
        .take()
        .or(interval.leading_precision.take());
    interval.leading_field = None;
    interval.last_field = None;
    let digits = digits.and_then(|digits| u8::try_from(digits).ok());
    Ok((fields.is_some() || digits.is_some()).then_some(Rounding { digits, fields }))
}

fn spelled(text: &str, fields: Option<IntervalFields>) -> Result<String> {
    // The distance in a frame is read as an interval before it is known what the rows are ordered by (`rules/frames.rs`).
    let number = text.trim();
    if fields.is_none() && is_number_of_micros(number) {
        return Ok(format!("{number}{SECONDS}"));
    }
    let read = crate::value::interval::parse_as(text.as_bytes(), fields)?;
    let micros = read.nanoseconds / 1000;
    Ok(format!(
        "{} months {} days {micros} microseconds",
        read.months, read.days
    ))
}

/// Digits, at most six behind the point.
fn is_number_of_micros(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !whole.is_empty() && whole.len() < 10 && fraction.len() <= 6 && is_digits(whole) && is_digits(fraction)
}

fn declared_fields(interval: &Interval) -> Option<IntervalFields> {
    let name = match (interval.leading_field.as_ref()?, &interval.last_field) {
        (first, None) => first.to_string(),
        (first, Some(last)) => format!("{first} to {last}"),
    };
    IntervalFields::named(&name.to_lowercase())
}

/// `x::timestamp(3)`: a cast to the type without its modifier, and the rounding this wants.
pub(super) fn round(cast: &mut Expr, plain: &SqlType, rounding: Rounding) -> Result<()> {
    let of = |plain: &SqlType| match plain {
        SqlType::Time => DataType::Time(None, TimezoneInfo::None),
        SqlType::Timestamp => DataType::Timestamp(None, TimezoneInfo::None),
        SqlType::TimestampTz => DataType::Timestamp(None, TimezoneInfo::Tz),
        _ => DataType::Interval {
            fields: None,
            precision: None,
        },
    };
    match cast {
        Expr::Cast { data_type, expr, .. } => {
            *data_type = of(plain);
            if let Expr::Value(value) = expr.as_mut()
                && let Value::SingleQuotedString(text) = &mut value.value
                && rounding.fields.is_some()
            {
                *text = spelled(text, rounding.fields)?;
            }
        }
        Expr::TypedString(typed) => typed.data_type = of(plain),
        _ => {}
    }
    let modifier = Expr::Value(Value::SingleQuotedString(rounding.modifier(plain).to_string()).into());
    let value = std::mem::replace(cast, Expr::Value(Value::Null.into()));
    *cast = call(ROUNDED, vec![value, modifier]);
    Ok(())
}

/// The arguments of a call that has neither names nor stars.
pub(super) fn arguments(function: &mut Function) -> Option<Vec<&mut Expr>> {
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
