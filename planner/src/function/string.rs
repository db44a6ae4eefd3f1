//! Functions of texts that DataFusion has not: quoting, `format`, counting NULLs; and `~` of integers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringViewBuilder};
use arrow::compute::kernels::bitwise::bitwise_not;
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use datafusion::logical_expr::Expr;

use super::bytes::matches;
use super::datetime::{TEXT, is_text};
use super::native::{Columns, Resolved, Shape, wrong_type};
use crate::error::{Error, ErrorKind, Result};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("quote_ident", one_text, |columns| {
        texts(columns, |text| Some(quoted_name(text)))
    }),
    Shape::new("like_escape", two_texts, like_escape),
    Shape::new("quote_literal", one_of_any, |columns| {
        texts(columns, |text| Some(quoted_literal(text)))
    }),
    Shape::new("quote_nullable", one_of_any, quote_nullable),
    Shape::new("format", format_types, format),
    Shape::new("num_nulls", any_types, |columns| count(columns, true)),
    Shape::new("num_nonnulls", any_types, |columns| count(columns, false)),
    Shape::new("bit_not", bit_not_types, bit_not),
    Shape::new("to_hex", hex_types, to_hex),
    Shape::new("overlay", overlay_types, overlay),
];

const LIKE: Shape = Shape::new("staffa_like", compared_texts, |columns| liked(columns, false));
const ILIKE: Shape = Shape::new("staffa_ilike", compared_texts, |columns| liked(columns, true));

/// `value like pattern`, or `ilike`, with all of PostgreSQL's errors.
pub(crate) fn like(value: Expr, pattern: Expr, ignores_case: bool) -> Expr {
    let shape = if ignores_case { ILIKE } else { LIKE };
    shape.call(vec![value, pattern])
}

fn compared_texts(types: &[DataType]) -> Resolved {
    two_texts(types).map(|(types, _)| (types, DataType::Boolean))
}

fn liked(columns: &Columns<'_>, ignores_case: bool) -> Result<ArrayRef> {
    let letter = |text: &[u8]| match text.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    let answer = |row: usize| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let (value, pattern) = (columns.text(0, row)?, columns.text(1, row)?);
        Ok(Some(match ignores_case {
            true => matches(
                value.to_lowercase().as_bytes(),
                pattern.to_lowercase().as_bytes(),
                letter,
            )?,
            false => matches(value.as_bytes(), pattern.as_bytes(), letter)?,
        }))
    };
    let answers: BooleanArray = (0..columns.rows).map(answer).collect::<Result<_>>()?;
    Ok(Arc::new(answers))
}

fn overlay_types(types: &[DataType]) -> Resolved {
    let (texts, places) = types.split_at_checked(2)?;
    let fits = texts.iter().all(is_text) && matches!(places.len(), 1 | 2) && places.iter().all(DataType::is_integer);
    fits.then(|| ([vec![TEXT; 2], vec![DataType::Int32; places.len()]].concat(), TEXT))
}

/// A text with another one in the place of so many of its letters; of as many as the other has where no number is given.
fn overlay(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut texts = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            texts.append_null();
            continue;
        }
        let (text, other) = (columns.text(0, row)?, columns.text(1, row)?);
        let from = columns.int(2, row)?;
        let length = match columns.len() {
            4 => columns.int(3, row)?,
            _ => i64::try_from(other.chars().count()).unwrap_or(i64::MAX),
        };
        if from <= 0 {
            let message = "negative substring length not allowed";
            return Err(Error::new(ErrorKind::SubstringError, message));
        }
        let behind = i32::try_from(from + length)
            .map_err(|_| Error::new(ErrorKind::NumericOutOfRange, "integer out of range"))?;
        let letters = |count: i64| usize::try_from(count).unwrap_or(0);
        let before = text.chars().take(letters(from - 1));
        let after = text.chars().skip(letters(i64::from(behind) - 1));
        texts.append_value(before.chain(other.chars()).chain(after).collect::<String>());
    }
    Ok(Arc::new(texts.finish()))
}

fn two_texts(types: &[DataType]) -> Resolved {
    match types {
        [pattern, escape] if is_text(pattern) && is_text(escape) => Some((vec![TEXT, TEXT], TEXT)),
        _ => None,
    }
}

/// A pattern of LIKE with another escape character, with the backslash in its place.
fn like_escape(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut patterns = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            patterns.append_null();
            continue;
        }
        let mut characters = columns.text(1, row)?.chars();
        let escape = characters.next();
        if characters.next().is_some() {
            return Err(Error::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
                .with_hint("Escape string must be empty or one character."));
        }
        patterns.append_value(with_backslash(columns.text(0, row)?, escape));
    }
    Ok(Arc::new(patterns.finish()))
}

fn with_backslash(pattern: &str, escape: Option<char>) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut after_escape = false;
    for character in pattern.chars() {
        if Some(character) == escape && !after_escape {
            after_escape = true;
            translated.push('\\');
            continue;
        }
        // A backslash is a character like any other.
        if character == '\\' && !after_escape {
            translated.push('\\');
        }
        after_escape = false;
        translated.push(character);
    }
    translated
}

fn one_text(types: &[DataType]) -> Resolved {
    match types {
        [ty] if is_text(ty) => Some((vec![TEXT], TEXT)),
        _ => None,
    }
}

fn one_of_any(types: &[DataType]) -> Resolved {
    match types {
        [_] => Some((vec![TEXT], TEXT)),
        _ => None,
    }
}

fn any_types(types: &[DataType]) -> Resolved {
    (!types.is_empty()).then(|| (types.to_vec(), DataType::Int32))
}

fn texts(columns: &Columns<'_>, compute: impl Fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for text in columns.texts(0)? {
        builder.append_option(text.and_then(&compute));
    }
    Ok(Arc::new(builder.finish()))
}

/// As it is when it needs no quotes: a lower-case name that is not a keyword.
pub(super) fn quoted_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && KEYWORDS.binary_search(&name).is_err();
    if plain {
        name.to_string()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn quoted_literal(text: &str) -> String {
    let prefix = if text.contains('\\') { "E" } else { "" };
    format!("{prefix}'{}'", text.replace('\'', "''").replace('\\', "\\\\"))
}

fn quote_nullable(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for text in columns.texts(0)? {
        builder.append_value(text.map_or_else(|| "NULL".to_string(), quoted_literal));
    }
    Ok(Arc::new(builder.finish()))
}

fn format_types(types: &[DataType]) -> Resolved {
    (!types.is_empty()).then(|| (vec![TEXT; types.len()], TEXT))
}

/// `format('%s %I %L %1$s %-10s', …)`
fn format(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.is_null(0, row) {
            builder.append_null();
        } else {
            builder.append_value(formatted(columns, row)?);
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn formatted(columns: &Columns<'_>, row: usize) -> Result<String> {
    let refused = |message: String| Err(Error::new(ErrorKind::InvalidParameterValue, message));
    let mut out = String::new();
    let mut next = 1;
    let mut rest = columns.text(0, row)?;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut argument = None;
        if let Some((number, after)) = leading_number(rest)
            && let Some(after) = after.strip_prefix('$')
        {
            if number == 0 {
                return refused("format specifies argument 0, but arguments are numbered from 1".to_string());
            }
            argument = Some(number);
            rest = after;
        }
        let left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        if rest.starts_with('*') {
            return Err(Error::unsupported(
                "a width given by an argument of format() is not supported",
            ));
        }
        let mut width = 0;
        if let Some((number, after)) = leading_number(rest) {
            (width, rest) = (number, after);
        }
        let Some(kind) = rest.chars().next() else {
            return refused("unterminated format() type specifier".to_string());
        };
        if !matches!(kind, 's' | 'I' | 'L') {
            return refused(format!("unrecognized format() type specifier \"{kind}\""));
        }
        rest = &rest[1..];
        let index = argument.unwrap_or(next);
        next = index + 1;
        if index >= columns.len() {
            return refused("too few arguments for format()".to_string());
        }
        let value = if columns.is_null(index, row) {
            None
        } else {
            Some(columns.text(index, row)?)
        };
        let text = match (kind, value) {
            ('s', value) => value.unwrap_or("").to_string(),
            ('I', Some(value)) => quoted_name(value),
            ('I', None) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(ErrorKind::NullValueNotAllowed, message));
            }
            (_, Some(value)) => quoted_literal(value),
            (_, None) => "NULL".to_string(),
        };
        let blanks = width.saturating_sub(text.chars().count());
        if width > WIDTH_MAX {
            return refused("a width of format() is too large".to_string());
        }
        if left {
            out.push_str(&text);
        }
        out.extend(std::iter::repeat_n(' ', blanks));
        if !left {
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The text decides how wide a field is: it must not decide how much memory is taken.
const WIDTH_MAX: usize = 1_000_000;

fn leading_number(text: &str) -> Option<(usize, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..length].parse().ok()?;
    Some((number, &text[length..]))
}

fn count(columns: &Columns<'_>, nulls: bool) -> Result<ArrayRef> {
    let result: Int32Array = (0..columns.rows)
        .map(|row| {
            let matching = (0..columns.len()).filter(|index| columns.is_null(*index, row) == nulls);
            Some(i32::try_from(matching.count()).unwrap_or(i32::MAX))
        })
        .collect();
    Ok(Arc::new(result))
}

fn bit_not_types(types: &[DataType]) -> Resolved {
    match types {
        [ty @ (DataType::Int16 | DataType::Int32 | DataType::Int64)] => Some((vec![ty.clone()], ty.clone())),
        _ => None,
    }
}

fn bit_not(columns: &Columns<'_>) -> Result<ArrayRef> {
    let array = &columns.arrays[0];
    Ok(match array.data_type() {
        DataType::Int16 => Arc::new(bitwise_not(array.as_primitive::<Int16Type>())?),
        DataType::Int32 => Arc::new(bitwise_not(array.as_primitive::<Int32Type>())?),
        DataType::Int64 => Arc::new(bitwise_not(array.as_primitive::<Int64Type>())?),
        _ => return Err(wrong_type(array)),
    })
}

fn hex_types(types: &[DataType]) -> Resolved {
    match types {
        [DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Null] => Some((vec![DataType::Int32], TEXT)),
        [DataType::Int64 | DataType::UInt32] => Some((vec![DataType::Int64], TEXT)),
        _ => None,
    }
}

/// Negative numbers in the two's complement of their own width.
fn to_hex(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    match columns.arrays[0].data_type() {
        DataType::Int32 => {
            let values = columns.arrays[0].as_primitive::<Int32Type>();
            values
                .iter()
                .for_each(|value| builder.append_option(value.map(|value| format!("{value:x}"))));
        }
        _ => {
            let values = columns.arrays[0].as_primitive::<Int64Type>();
            values
                .iter()
                .for_each(|value| builder.append_option(value.map(|value| format!("{value:x}"))));
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Words PostgreSQL 15 quotes: all keywords but the unreserved ones, in alphabetical order (`pg_get_keywords()`).
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between",
    "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce",
    "collate", "collation", "column", "concurrently", "constraint", "create", "cross", "current_catalog",
    "current_date", "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
    "dec", "decimal", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists",
    "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant", "greatest",
    "group", "grouping", "having", "ilike", "in", "initially", "inner", "inout", "int", "integer", "intersect",
    "interval", "into", "is", "isnull", "join", "lateral", "leading", "least", "left", "like", "limit",
    "localtime", "localtimestamp", "national", "natural", "nchar", "none", "normalize", "not", "notnull",
    "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay",
    "placing", "position", "precision", "primary", "real", "references", "returning", "right", "row", "select",
    "session_user", "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample",
    "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using",
    "values", "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat",
    "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
    "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert!(KEYWORDS.is_sorted());
        let names = ["abc", "select", "a b", "Abc", "a\"b", "1a", "_x1", "äb"].map(quoted_name);
        assert_eq!(
            names,
            [
                "abc",
                "\"select\"",
                "\"a b\"",
                "\"Abc\"",
                "\"a\"\"b\"",
                "\"1a\"",
                "_x1",
                "\"äb\""
            ]
        );
        assert_eq!(quoted_literal("a'b"), "'a''b'");
        assert_eq!(quoted_literal("a\\b"), "E'a\\\\b'");
    }
}
