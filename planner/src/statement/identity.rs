//! Sequences of columns: `GENERATED … AS IDENTITY (options)` and `serial`.

use datafusion::sql::sqlparser::ast::{DataType, Expr, SequenceOptions, UnaryOperator, Value};
use staffa_catalog::{Identity, IdentityKind, SequenceType, SqlType};

use crate::error::{Error, ErrorKind, Result};
use crate::parse::SequenceOption;
use crate::resolve::shown;
use crate::statement::sequence;

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
pub(super) fn of_column(kind: IdentityKind, ty: &SqlType, options: &[SequenceOptions]) -> Result<Identity> {
    let declared = match SequenceType::of(ty) {
        Some(SequenceType::SmallInt) => DataType::SmallInt(None),
        Some(SequenceType::Integer) => DataType::Integer(None),
        Some(SequenceType::BigInt) => DataType::BigInt(None),
        None => {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    };
    let mut all = vec![SequenceOption::As(declared)];
    for option in options {
        all.push(match option {
            SequenceOptions::IncrementBy(value, _) => SequenceOption::Increment(number(value)?),
            SequenceOptions::StartWith(value, _) => SequenceOption::Start(number(value)?),
            SequenceOptions::MinValue(value) => SequenceOption::MinValue(value.as_ref().map(number).transpose()?),
            SequenceOptions::MaxValue(value) => SequenceOption::MaxValue(value.as_ref().map(number).transpose()?),
            SequenceOptions::Cycle(no) => SequenceOption::Cycle(!no),
            SequenceOptions::Cache(value) => SequenceOption::Cache(number(value)?),
        });
    }
    let sequence = sequence::defined(&all)?;
    Ok(Identity {
        id: sequence.id,
        kind,
        start: sequence.start,
        increment: sequence.increment,
        min: sequence.min,
        max: sequence.max,
        cycle: sequence.cycle,
        cache: sequence.cache,
    })
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
