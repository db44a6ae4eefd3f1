//! Sequences of columns: `GENERATED … AS IDENTITY (options)` and `serial`.

use datafusion::sql::sqlparser::ast::{DataType, Expr, SequenceOptions, UnaryOperator, Value};
use staffa_catalog::{Identity, IdentityKind, SqlType};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::resolve::shown;

/// The type of a column that is declared `serial`, `bigserial`, …
pub(super) fn serial(declared: &DataType) -> Option<SqlType> {
    let DataType::Custom(name, modifiers) = declared else {
        return None;
    };
    if !modifiers.is_empty() {
        return None;
    }
    Some(match shown(name).as_str() {
        "smallserial" | "serial2" => SqlType::SmallInt,
        "serial" | "serial4" => SqlType::Integer,
        "bigserial" | "serial8" => SqlType::BigInt,
        _ => return None,
    })
}

/// A new sequence for a column.
pub(super) fn sequence(
    kind: IdentityKind,
    column: &str,
    ty: &SqlType,
    options: &[SequenceOptions],
) -> Result<Identity> {
    let (least, greatest) = match ty {
        SqlType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
        SqlType::BigInt => (i64::MIN, i64::MAX),
        _ => {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    };
    let (mut start, mut min, mut max) = (None, None, None);
    let (mut increment, mut cycle) = (1, false);
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => increment = number(value)?,
            SequenceOptions::StartWith(value, _) => start = Some(number(value)?),
            SequenceOptions::MinValue(value) => min = value.as_ref().map(number).transpose()?,
            SequenceOptions::MaxValue(value) => max = value.as_ref().map(number).transpose()?,
            SequenceOptions::Cycle(no) => cycle = !no,
            // Numbers are always taken in stretches; their length is ours to choose.
            SequenceOptions::Cache(value) => {
                let cache = number(value)?;
                if cache < 1 {
                    return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
                }
            }
        }
    }
    if increment == 0 {
        return Err(invalid("INCREMENT must not be zero".to_string()));
    }
    let min = min.unwrap_or(if increment > 0 { 1 } else { least });
    let max = max.unwrap_or(if increment > 0 { greatest } else { -1 });
    if min < least || min > greatest {
        return Err(invalid(format!(
            "MINVALUE ({min}) is out of range for sequence data type {ty}"
        )));
    }
    if max < least || max > greatest {
        return Err(invalid(format!(
            "MAXVALUE ({max}) is out of range for sequence data type {ty}"
        )));
    }
    if min >= max {
        return Err(invalid(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
    }
    let start = start.unwrap_or(if increment > 0 { min } else { max });
    if start < min {
        return Err(invalid(format!(
            "START value ({start}) cannot be less than MINVALUE ({min})"
        )));
    }
    if start > max {
        return Err(invalid(format!(
            "START value ({start}) cannot be greater than MAXVALUE ({max})"
        )));
    }
    debug_assert!(!column.is_empty());
    Ok(Identity {
        id: Uuid::new_v4(),
        kind,
        start,
        increment,
        min,
        max,
        cycle,
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn number(value: &Expr) -> Result<i64> {
    let wrong = || Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{value}\""));
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::Number(digits, _) => digits.parse().map_err(|_| wrong()),
            _ => Err(wrong()),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(literal) => match &literal.value {
                Value::Number(digits, _) => format!("-{digits}").parse().map_err(|_| wrong()),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}
