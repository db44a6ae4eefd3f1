//! Mistakes that the libraries tell in words alone.

use arrow::datatypes::DECIMAL128_MAX_PRECISION;

use super::said::{first_line, in_sql, lower_first, sql_name};
use crate::error::{Error, ErrorKind};
use crate::pg_catalog::is_function_of_postgres;
use crate::value::numeric::overflow;

/// What the libraries say only in words. What they refuse that is no mistake of PostgreSQL's is not supported.
pub(super) fn by_wording(message: &str) -> Error {
    recognised(message).unwrap_or_else(|| Error::unsupported(in_sql(first_line(message))))
}

/// Mistakes by their words. Order matters: the first that fits wins.
pub(super) fn recognised(message: &str) -> Option<Error> {
    let line = first_line(message);
    let has = |part: &str| line.contains(part);
    let lower = line.to_lowercase();

    if has("stack overflow") || has("Recursion limit") {
        return Some(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
    }
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Some(Error::new(ErrorKind::DivisionByZero, "division by zero"));
    }
    // DataFusion keeps only the words of an error of coercion: ours says which function there is not.
    if let Some((_, ours)) = line.split_once("user-defined coercion failed with: External error: function ")
        && let Some(name) = ours.strip_suffix(" does not exist")
    {
        return Some(undefined_function(name));
    }
    if let Some(error) = of_select(line)
        .or_else(|| of_calls(line))
        .or_else(|| impossible_cast(line))
    {
        return Some(error);
    }
    if let Some(name) = between(line, "Invalid function '", "'") {
        if WINDOW_ONLY.contains(&name.as_str()) {
            let message = format!("window function {name} requires an OVER clause");
            return Some(Error::new(ErrorKind::WrongObjectType, message));
        }
        return Some(missing_function(&name));
    }
    if let Some(name) = between(line, "table function '", "' not found") {
        return Some(missing_function(&name));
    }
    if let Some(name) = between(line, "Failed to coerce arguments to satisfy a call to '", "'") {
        return Some(undefined_function(&name));
    }
    if let Some(name) =
        between(line, "Function '", "'").filter(|_| has("expects") || has("requires") || has("does not support"))
    {
        return Some(undefined_function(&name));
    }
    if has("No function matches the given name and argument types") {
        let name = between(line, "argument types '", "(").unwrap_or_default();
        return Some(undefined_function(&name));
    }
    if has("must appear in the GROUP BY clause")
        || has("must be part of GROUP BY")
        || has("could not be resolved from available columns")
    {
        return Some(grouping(line));
    }
    if has("field position must not be zero") {
        return Some(Error::new(
            ErrorKind::InvalidParameterValue,
            "field position must not be zero",
        ));
    }
    if has("negative count not allowed") || has("negative substring length not allowed") {
        return Some(Error::new(
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ));
    }
    if has("Inconsistent metadata across values list") {
        return Some(
            Error::new(ErrorKind::DatatypeMismatch, "VALUES types cannot be matched")
                .with_hint("Cast the values of each column to one type."),
        );
    }
    if has("converted value exceeds the representable") {
        return Some(Error::new(
            ErrorKind::DatetimeOverflow,
            "date out of range for timestamp",
        ));
    }
    if let Some((what, value)) = cannot_cast(line) {
        let message = format!("invalid input syntax for type {}: \"{value}\"", sql_name(&what));
        return Some(Error::new(ErrorKind::InvalidTextRepresentation, message));
    }
    if lower.contains("parser error") || has("Error parsing timestamp") || has("Unable to parse") {
        return Some(Error::new(ErrorKind::InvalidDatetimeFormat, lower_first(line)));
    }
    if has("exceeds the minimum supported scale") {
        let message = "value overflows numeric format";
        return Some(Error::new(ErrorKind::NumericOutOfRange, message));
    }
    if has("cannot access field at argument") {
        let message = "column notation applied to a value that is not of a composite type";
        return Some(Error::new(ErrorKind::WrongObjectType, message));
    }
    if let Some((precision, scale)) = decimal_limit(line) {
        return Some(overflow(precision, scale));
    }
    if lower.contains("overflow")
        || lower.contains("out of range")
        || has("can't be cast")
        || has("Can't cast value")
        || has("is too large to store")
        || has("is too small to store")
    {
        return Some(Error::new(ErrorKind::NumericOutOfRange, out_of_range(line)));
    }
    if let Some((_, operation)) = line.split_once("for logical boolean operation ") {
        let name = if operation.contains(" OR ") { "OR" } else { "AND" };
        let between = format!(" {name} ");
        let wrong = operation
            .split(&between)
            .map(str::trim)
            .find(|operand| !operand.starts_with("Boolean"))
            .unwrap_or("unknown");
        let message = format!("argument of {name} must be type boolean, not type {}", sql_name(wrong));
        return Some(Error::new(ErrorKind::DatatypeMismatch, message));
    }
    if has("overlay start position must be at least 1") {
        return Some(Error::new(
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ));
    }
    if has("Regex") || lower.contains("regular expression") || lower.contains("regex parse") {
        return Some(Error::new(
            ErrorKind::InvalidRegularExpression,
            format!("invalid regular expression: {line}"),
        ));
    }
    if let Some((left, right)) = coercion(line) {
        let message = format!("operator does not exist: {} {} {}", left.0, left.1, right);
        return Some(
            Error::new(ErrorKind::UndefinedFunction, message)
                .with_hint("No operator matches the given argument types. You might need to add explicit type casts."),
        );
    }
    if has("more than one row") || has("returned more than one") {
        let message = "more than one row returned by a subquery used as an expression";
        return Some(Error::new(ErrorKind::CardinalityViolation, message));
    }
    if has("UNION") && has("same number of columns") || has("queries have different number of columns") {
        return Some(Error::new(
            ErrorKind::SyntaxError,
            "each UNION query must have the same number of columns",
        ));
    }
    if has("Invalid placeholder") || has("Placeholder value") || has("placeholder") && has("not found") {
        let name = line
            .split_whitespace()
            .find(|word| word.starts_with('$'))
            .unwrap_or("$0");
        return Some(Error::new(
            ErrorKind::UndefinedParameter,
            format!("there is no parameter {}", name.trim_matches('\'')),
        ));
    }
    if has("Projections require unique expression names") {
        return Some(Error::new(
            ErrorKind::DuplicateColumn,
            "two columns of a subquery have the same name",
        ));
    }
    if has("Aggregate functions are not allowed") || has("aggregate function") && has("not allowed") {
        return Some(Error::new(ErrorKind::GroupingError, lower_first(line)));
    }
    if has("Window function") || has("window function") {
        return Some(Error::new(ErrorKind::WindowingError, in_sql(line)));
    }
    if has("table name") && has("specified more than once") || has("duplicate") && has("alias") {
        return Some(Error::new(ErrorKind::DuplicateAlias, lower_first(line)));
    }
    if has("OuterReferenceColumn") || has("Correlated scalar subquery") {
        return Some(
            Error::unsupported("this kind of correlated subquery is not supported")
                .with_hint("Write it as a join, or aggregate in the subquery."),
        );
    }
    if has("Physical plan does not support logical expression") || has("not supported") || has("not implemented") {
        return Some(Error::unsupported(in_sql(line)));
    }
    None
}

/// Mistakes in window frames and in arguments of functions, as the libraries say them.
fn of_calls(line: &str) -> Option<Error> {
    const SAID: &[(&str, ErrorKind, &str)] = &[
        (
            "start bound cannot be UNBOUNDED FOLLOWING",
            ErrorKind::WindowingError,
            "frame start cannot be UNBOUNDED FOLLOWING",
        ),
        (
            "end bound cannot be UNBOUNDED PRECEDING",
            ErrorKind::WindowingError,
            "frame end cannot be UNBOUNDED PRECEDING",
        ),
        (
            "frame offsets for ROWS / GROUPS must be non negative",
            ErrorKind::InvalidFrameOffset,
            "frame starting offset must not be negative",
        ),
        (
            "RANGE requires exactly one ORDER BY column",
            ErrorKind::WindowingError,
            "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        ),
        (
            "Window function calls cannot be nested",
            ErrorKind::WindowingError,
            "window functions are not allowed in window definitions",
        ),
        (
            "NTILE requires a positive integer",
            ErrorKind::InvalidArgumentForNtile,
            "argument of ntile must be greater than zero",
        ),
        (
            "to grouping function is not in grouping columns",
            ErrorKind::GroupingError,
            "arguments to GROUPING must be grouping expressions of the associated query level",
        ),
        (
            "invalid Unicode scalar value: -",
            ErrorKind::InvalidParameterValue,
            "character number must be positive",
        ),
        (
            "overlay start position must be at least 1",
            ErrorKind::SubstringError,
            "negative substring length not allowed",
        ),
        (
            "Failed to decode value using base64",
            ErrorKind::InvalidParameterValue,
            "invalid base64 end sequence",
        ),
        (
            "Failed to decode value using hex: Odd number",
            ErrorKind::InvalidParameterValue,
            "invalid hexadecimal data: odd number of digits",
        ),
    ];
    if let Some((_, kind, message)) = SAID
        .iter()
        .find(|(said, ..)| line.to_lowercase().contains(&said.to_lowercase()))
    {
        return Some(Error::new(*kind, *message));
    }
    let made = |kind, message: String| Some(Error::new(kind, message));
    if let Some(name) = between(line, "The window ", " is not defined") {
        return made(ErrorKind::UndefinedObject, format!("window \"{name}\" does not exist"));
    }
    if let Some(name) = between(line, "The window ", " is defined multiple times") {
        return made(
            ErrorKind::WindowingError,
            format!("window \"{name}\" is already defined"),
        );
    }
    if let Some(name) = between(line, "There is no built-in encoding named '", "'") {
        return made(
            ErrorKind::InvalidParameterValue,
            format!("unrecognized encoding: \"{name}\""),
        );
    }
    if let Some(digit) = between(line, "Failed to decode value using hex: Invalid character '", "'") {
        return made(
            ErrorKind::InvalidParameterValue,
            format!("invalid hexadecimal digit: \"{digit}\""),
        );
    }
    if let Some(value) = between(
        line,
        "ercentile value must be between 0.0 and 1.0 inclusive, ",
        " is invalid",
    ) {
        return made(
            ErrorKind::NumericOutOfRange,
            format!("percentile value {value} is not between 0 and 1"),
        );
    }
    if let Some(parts) = line.split_once("Unable to parse date from ").map(|(_, parts)| parts)
        && let [year, month, day] = parts.split(", ").collect::<Vec<_>>().as_slice()
    {
        let message = format!("date field value out of range: {year}-{month:0>2}-{day:0>2}");
        return made(ErrorKind::DatetimeOverflow, message);
    }
    if line.contains("Month value '") || line.contains("Day value '") {
        return made(ErrorKind::DatetimeOverflow, "date field value out of range".to_string());
    }
    if let Some(ty) = line
        .split_once("Expected LIMIT to be an integer or null, but got ")
        .map(|(_, ty)| ty)
    {
        let message = format!("argument of LIMIT must be type bigint, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if let Some(ty) = line
        .split_once("Expected OFFSET to be an integer or null, but got ")
        .map(|(_, ty)| ty)
    {
        let message = format!("argument of OFFSET must be type bigint, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if line.contains("Inconsistent data type across values list") {
        let found = line.split_once("Was ")?.1.split_once(" but found ")?;
        let message = format!(
            "VALUES types {} and {} cannot be matched",
            sql_name(found.0),
            sql_name(found.1)
        );
        return made(ErrorKind::DatatypeMismatch, message);
    }
    None
}

/// `CAST from Int32 to Date32 is not supported`, `Unsupported CAST from Int32 to Date32`
pub(super) fn impossible_cast(line: &str) -> Option<Error> {
    let types = line.trim_start_matches("Unsupported ").strip_prefix("CAST from ")?;
    let types = types.strip_suffix(" is not supported").unwrap_or(types);
    let (from, to) = types.split_once(" to ")?;
    let message = format!("cannot cast type {} to {}", sql_name(from), sql_name(to));
    Some(Error::new(ErrorKind::CannotCoerce, message))
}

/// Functions that are nothing without OVER.
const WINDOW_ONLY: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
];

/// Mistakes in the shape of a SELECT.
fn of_select(line: &str) -> Option<Error> {
    let has = |part: &str| line.contains(part);
    let made = |kind, message: String| Some(Error::new(kind, message));
    if let Some(position) = between(line, "Order by column out of bounds, specified: ", ",") {
        let message = format!("ORDER BY position {position} is not in select list");
        return made(ErrorKind::InvalidColumnReference, message);
    }
    if let Some(position) = between(line, "Cannot find column with position ", " in SELECT clause") {
        let message = format!("GROUP BY position {position} is not in select list");
        return made(ErrorKind::InvalidColumnReference, message);
    }
    if has("SELECT DISTINCT ON expressions must match initial ORDER BY expressions") {
        return made(ErrorKind::InvalidColumnReference, line.to_string());
    }
    if has("For SELECT DISTINCT, ORDER BY expressions") {
        let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return made(ErrorKind::InvalidColumnReference, message.to_string());
    }
    if let Some((_, ty)) = line.split_once("Cannot create filter with non-boolean predicate ")
        && let Some((_, ty)) = ty.rsplit_once(" returning ")
        && !ty.starts_with("Utf8")
    {
        let message = format!("argument of WHERE must be type boolean, not type {}", sql_name(ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if has("LIMIT must be >= 0") {
        return made(
            ErrorKind::InvalidRowCountInLimit,
            "LIMIT must not be negative".to_string(),
        );
    }
    if has("OFFSET must be >=0") || has("OFFSET must be >= 0") {
        return made(
            ErrorKind::InvalidRowCountInOffset,
            "OFFSET must not be negative".to_string(),
        );
    }
    if has("Inconsistent data length across values list") {
        return made(
            ErrorKind::SyntaxError,
            "VALUES lists must all be the same length".to_string(),
        );
    }
    if has("The subquery should only return one column") {
        return made(
            ErrorKind::SyntaxError,
            "subquery must return only one column".to_string(),
        );
    }
    if let Some(name) = between(line, "WITH query name \"", "\" specified more than once") {
        let message = format!("WITH query name \"{name}\" specified more than once");
        return made(ErrorKind::DuplicateAlias, message);
    }
    if line.to_lowercase().contains("step cannot be zero") {
        return made(
            ErrorKind::InvalidParameterValue,
            "step size cannot equal zero".to_string(),
        );
    }
    if let Some(ty) = between(line, "Unary operator 'NOT' requires a boolean expression, got ", "\n").or_else(|| {
        line.split_once("'NOT' requires a boolean expression, got ")
            .map(|(_, ty)| ty.to_string())
    }) {
        let message = format!("argument of NOT must be type boolean, not type {}", sql_name(&ty));
        return made(ErrorKind::DatatypeMismatch, message);
    }
    if has("Aggregate functions are not allowed in the WHERE clause") {
        let message = "aggregate functions are not allowed in WHERE";
        return made(ErrorKind::GroupingError, message.to_string());
    }
    if has("Aggregate function calls cannot be nested") {
        return made(
            ErrorKind::GroupingError,
            "aggregate function calls cannot be nested".to_string(),
        );
    }
    if let Some(condition) = between(
        line,
        "HAVING clause references: ",
        " must appear in the GROUP BY clause",
    ) && let Some(column) = first_column(&condition)
    {
        let message =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return made(ErrorKind::GroupingError, message);
    }
    None
}

/// The first word of an expression's text that is a column: `t.a` of `t.a > Int64(1)`.
fn first_column(expression: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = expression.find(|c: char| c.is_alphabetic() || c == '_')?;
    let rest = &expression[start..];
    let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
    let literal = rest[end..].starts_with('(');
    (!literal).then(|| rest[..end].to_string())
}

/// `function f does not exist`
pub(crate) fn undefined_function(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedFunction, format!("function {name} does not exist"))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// No function of this name is here: PostgreSQL may have one.
fn missing_function(name: &str) -> Error {
    match is_function_of_postgres(name) {
        true => Error::unsupported(format!("function {name}() is not supported")),
        false => undefined_function(name),
    }
}

fn grouping(line: &str) -> Error {
    let column = between(
        line,
        "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"",
        "\"",
    )
    .or_else(|| between(line, "column \"", "\""))
    .or_else(|| between(line, "Expression ", " could not be resolved"));
    match column {
        Some(column) => {
            let column = column.replace('"', "");
            let message =
                format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
            Error::new(ErrorKind::GroupingError, message)
        }
        None => Error::new(ErrorKind::GroupingError, lower_first(line)),
    }
}

/// `Cannot cast string 'x' to value of Int32 type`
fn cannot_cast(line: &str) -> Option<(String, String)> {
    let value = between(line, "Cannot cast string '", "' to value of ")?;
    let (_, rest) = line.split_once("' to value of ")?;
    let what = rest.split_once(" type").map_or(rest, |(what, _)| what);
    Some((what.to_string(), value))
}

/// `Cannot coerce arithmetic expression Utf8 + Int64 to valid types`, `Cannot infer common argument type for comparison
/// operation Utf8 = Int64`
fn coercion(line: &str) -> Option<((String, String), String)> {
    let rest = line
        .split_once("Cannot coerce arithmetic expression ")
        .or_else(|| line.split_once("Cannot infer common argument type for comparison operation "))
        .or_else(|| line.split_once("Cannot infer common type for "))
        .map(|(_, rest)| rest)?;
    let rest = rest.split(" to valid types").next().unwrap_or(rest);
    for operator in [
        " = ", " != ", " <= ", " >= ", " < ", " > ", " + ", " - ", " * ", " / ", " % ", " AND ", " OR ",
    ] {
        if let Some((left, right)) = rest.split_once(operator) {
            return Some(((sql_name(left), operator.trim().replace("!=", "<>")), sql_name(right)));
        }
    }
    None
}

/// Precision and scale of the declared numeric that is too small: `1000.00 is too large to store in a Decimal128 of precision 5.
/// Max is 999.99`. Nobody declares one of all digits.
fn decimal_limit(line: &str) -> Option<(u8, i8)> {
    let (_, rest) = line.split_once(" to store in a Decimal128 of precision ")?;
    let (precision, limit) = rest.split_once(". M")?;
    let digits = limit.trim_end().split_once('.').map_or(0, |(_, behind)| behind.len());
    let precision = precision
        .parse()
        .ok()
        .filter(|precision| *precision < DECIMAL128_MAX_PRECISION)?;
    Some((precision, i8::try_from(digits).ok()?))
}

fn out_of_range(line: &str) -> String {
    for (arrow, sql) in [("Int16", "smallint"), ("Int32", "integer"), ("Int64", "bigint")] {
        if line.contains(arrow) {
            return format!("{sql} out of range");
        }
    }
    if line.contains("Decimal") || line.contains("decimal") {
        return "numeric field overflow".to_string();
    }
    if line.contains("imestamp") || line.contains("ate") && line.contains("range") {
        return "timestamp out of range".to_string();
    }
    "value out of range".to_string()
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (inside, _) = rest.split_once(after)?;
    Some(inside.to_string())
}
