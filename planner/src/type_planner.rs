//! Type names of SQL to types: the spellings PostgreSQL has, their modifiers checked, everything else refused by name.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use staffa_catalog::{Digits, IntervalFields, Rounding, SqlType, SystemStorage, SystemType};

use crate::error::{Error, ErrorKind, Result};
use crate::types::arrow_field;

/// Precision and scale of a bare `numeric`: the most digits there are, ten of them after the point.
pub(crate) const BARE_NUMERIC: SqlType = SqlType::Numeric {
    precision: 38,
    scale: 10,
    digits: Digits::Among(u64::MAX, 0),
};

/// Digits a numeric can have.
const NUMERIC_PRECISION_MAX: u64 = 38;
/// PostgreSQL's limit for `varchar(n)` and `char(n)`.
const LENGTH_MAX: u64 = 10_485_760;

/// Casts and typed literals get the Arrow types of our SQL types.
#[derive(Debug)]
pub(crate) struct PostgresTypes {
    time_zone: String,
}

impl PostgresTypes {
    pub(crate) fn new(time_zone: &str) -> Self {
        Self {
            time_zone: time_zone.to_string(),
        }
    }
}

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &DataType) -> DataFusionResult<Option<FieldRef>> {
        let ty = sql_type_of_ast(sql_type)?;
        Ok(Some(Arc::new(arrow_field("", &ty, true, &self.time_zone))))
    }
}

/// The type an expression in the syntax tree names.
///
/// Errors: `type "x" does not exist` (42704), wrong modifiers (22023), known types without support (0A000).
pub(crate) fn sql_type_of_ast(data_type: &DataType) -> Result<SqlType> {
    Ok(match data_type {
        DataType::Bool | DataType::Boolean => SqlType::Boolean,
        DataType::SmallInt(None) | DataType::Int2(None) => SqlType::SmallInt,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => SqlType::Integer,
        DataType::BigInt(None) | DataType::Int8(None) => SqlType::BigInt,
        DataType::Real | DataType::Float4 => SqlType::Real,
        DataType::Float8 | DataType::DoublePrecision => SqlType::Double,
        DataType::Float(info) => match info {
            ExactNumberInfo::None => SqlType::Double,
            ExactNumberInfo::Precision(0) => {
                return Err(invalid("precision for type float must be at least 1 bit"));
            }
            ExactNumberInfo::Precision(1..=24) => SqlType::Real,
            ExactNumberInfo::Precision(25..=53) => SqlType::Double,
            _ => return Err(invalid("precision for type float must be less than 54 bits")),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(*info)?,
        DataType::Text => SqlType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            SqlType::Varchar(character_length(*length, "varchar")?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            SqlType::Char(character_length(*length, "char")?.unwrap_or(1))
        }
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(precision, zone) => {
            let plain = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => SqlType::Time,
                _ => return Err(instead("time with time zone", INSTEAD_OF_TIMETZ)),
            };
            with_digits(plain, *precision)
        }
        DataType::Timestamp(precision, zone) => {
            let plain = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => SqlType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => SqlType::TimestampTz,
            };
            with_digits(plain, *precision)
        }
        DataType::Interval { fields, precision } => {
            let fields = fields.as_ref().map(|fields| fields.to_string().to_lowercase());
            interval(fields.as_deref().and_then(IntervalFields::named), *precision)
        }
        DataType::Uuid => SqlType::Uuid,
        DataType::JSON => SqlType::Json,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Array(element) => match element {
            // PostgreSQL ignores a declared array size, and so do we.
            ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::AngleBracket(inner)
            // `int[][]` is `int[]` in PostgreSQL: arrays there have no fixed number of dimensions. Ours have.
            | ArrayElemTypeDef::Parenthesis(inner) => SqlType::Array(Box::new(sql_type_of_ast(inner)?)),
            ArrayElemTypeDef::None => return Err(no_support("array without an element type")),
        },
        DataType::Struct(fields, _) => {
            let mut named = Vec::with_capacity(fields.len());
            for (index, field) in fields.iter().enumerate() {
                let name = match &field.field_name {
                    Some(ident) => crate::resolve::fold(ident),
                    None => format!("f{}", index + 1),
                };
                named.push((name, sql_type_of_ast(&field.field_type)?));
            }
            if named.is_empty() {
                return Err(invalid("a struct type needs at least one field"));
            }
            SqlType::Struct(named)
        }
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        DataType::Regclass => SqlType::System(SystemType::RegClass),
        DataType::Bit(_) | DataType::BitVarying(_) | DataType::VarBit(_) => {
            return Err(instead(
                "bit",
                "Use bytea, or an integer with the operators &, | and #.",
            ));
        }
        DataType::TsVector | DataType::TsQuery => return Err(no_support("text search")),
        DataType::GeometricType(kind) => return Err(no_support(&kind.to_string().to_lowercase())),
        other => return Err(undefined(&other.to_string().to_lowercase())),
    })
}

/// Names sqlparser has no word for, `pg_catalog.` ones among them.
fn custom(name: &ObjectName, modifiers: &[String]) -> Result<SqlType> {
    let mut parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(crate::resolve::fold))
        .collect();
    if parts.len() == 2 && parts[0] == "pg_catalog" {
        parts.remove(0);
    }
    let [name] = parts.as_slice() else {
        return Err(undefined(&parts.join(".")));
    };
    if name == crate::rewrite::LITERAL_TYPE {
        return Ok(SqlType::Integer);
    }
    let number = |index: usize| modifiers.get(index).and_then(|text| text.trim().parse::<u64>().ok());
    let length = number(0).map(|length| CharacterLength::IntegerLength { length, unit: None });
    Ok(match name.as_str() {
        "bool" => SqlType::Boolean,
        "int2" => SqlType::SmallInt,
        "int4" | "int" => SqlType::Integer,
        "int8" => SqlType::BigInt,
        "float4" => SqlType::Real,
        "float8" => SqlType::Double,
        "numeric" | "decimal" => numeric(match (number(0), number(1)) {
            (None, _) => ExactNumberInfo::None,
            (Some(precision), None) => ExactNumberInfo::Precision(precision),
            (Some(precision), Some(scale)) => {
                ExactNumberInfo::PrecisionAndScale(precision, i64::try_from(scale).unwrap_or(i64::MAX))
            }
        })?,
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(character_length(length, "varchar")?),
        "bpchar" => match character_length(length, "char")? {
            Some(length) => SqlType::Char(length),
            None => SqlType::Text,
        },
        // Unquoted, it is another type, which sqlparser has a word for.
        "char" if length.is_none() => SqlType::System(SystemType::Char),
        "char" => SqlType::Char(character_length(length, "char")?.unwrap_or(1)),
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => with_digits(SqlType::Time, number(0)),
        "timestamp" => with_digits(SqlType::Timestamp, number(0)),
        "timestamptz" => with_digits(SqlType::TimestampTz, number(0)),
        "interval" => interval(None, number(0)),
        "uuid" => SqlType::Uuid,
        "json" => SqlType::Json,
        "jsonb" => SqlType::Jsonb,
        "serial" | "serial2" | "serial4" | "serial8" | "smallserial" | "bigserial" => {
            return Err(Error::unsupported(format!("type {name} is not supported"))
                .with_hint("It is a type of columns of CREATE TABLE only."));
        }
        other if SystemType::named(other).is_some_and(is_known) => {
            SystemType::named(other).map_or(SqlType::Text, SqlType::System)
        }
        "timetz" => return Err(instead("timetz", INSTEAD_OF_TIMETZ)),
        "money" => return Err(instead("money", "Use numeric.")),
        "inet" | "cidr" | "macaddr" | "macaddr8" | "xml" | "tid" | "pg_lsn" | "int4range" | "int8range"
        | "numrange" | "tsrange" | "tstzrange" | "daterange" | "hstore" | "citext" | "geometry" => {
            return Err(no_support(name));
        }
        other => return Err(undefined(other)),
    })
}

/// The types of the catalogs that have values of their own; others are shown, but nothing is read as one.
fn is_known(ty: SystemType) -> bool {
    matches!(ty, SystemType::Name | SystemType::JsonPath) || ty.storage() != SystemStorage::Text
}

fn numeric(info: ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(BARE_NUMERIC),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if precision == 0 || precision > 1000 {
        return Err(invalid(format!(
            "NUMERIC precision {precision} must be between 1 and 1000"
        )));
    }
    if precision > NUMERIC_PRECISION_MAX {
        return Err(
            Error::unsupported(format!("numeric precision {precision} is not supported")).with_hint(format!(
                "The most digits a numeric can have here is {NUMERIC_PRECISION_MAX}."
            )),
        );
    }
    if scale < 0 || scale.unsigned_abs() > precision {
        return Err(invalid(format!(
            "NUMERIC scale {scale} must be between 0 and precision {precision}"
        )));
    }
    Ok(SqlType::numeric(
        u8::try_from(precision).expect("at most 38"),
        i8::try_from(scale).expect("at most the precision"),
    ))
}

fn character_length(length: Option<CharacterLength>, name: &str) -> Result<Option<u32>> {
    let length = match length {
        None => return Ok(None),
        Some(CharacterLength::Max) => return Err(undefined(&format!("{name}(max)"))),
        Some(CharacterLength::IntegerLength { length, .. }) => length,
    };
    if length == 0 {
        return Err(invalid(format!("length for type {name} must be at least 1")));
    }
    if length > LENGTH_MAX {
        return Err(invalid(format!("length for type {name} cannot exceed {LENGTH_MAX}")));
    }
    Ok(Some(u32::try_from(length).expect("within the limit")))
}

/// Digits of fractions of a second that a time has at most. More are taken for as many, with a warning (`parse/tokens.rs`).
pub(crate) const SECOND_DIGITS_MAX: u8 = 6;

/// A type of times with a number of digits for fractions of a second.
fn with_digits(plain: SqlType, digits: Option<u64>) -> SqlType {
    let Some(digits) = digits else { return plain };
    let digits = u8::try_from(digits).map_or(SECOND_DIGITS_MAX, |digits| digits.min(SECOND_DIGITS_MAX));
    let rounding = Rounding {
        digits: Some(digits),
        fields: None,
    };
    SqlType::Rounded(Box::new(plain), rounding)
}

fn interval(fields: Option<IntervalFields>, digits: Option<u64>) -> SqlType {
    match (fields, with_digits(SqlType::Interval, digits)) {
        (None, ty) => ty,
        (fields, ty) => {
            let digits = match ty {
                SqlType::Rounded(_, rounding) => rounding.digits,
                _ => None,
            };
            SqlType::Rounded(Box::new(SqlType::Interval), Rounding { digits, fields })
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn undefined(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
}

const INSTEAD_OF_TIMETZ: &str = "Use timestamp with time zone, or time with the zone in a column of its own.";

/// A type that is not supported, with what to use.
fn instead(name: &str, hint: &str) -> Error {
    no_support(name).with_hint(hint)
}

fn no_support(name: &str) -> Error {
    Error::unsupported(format!("type {name} is not supported"))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn ty(text: &str) -> Result<SqlType> {
        let mut parser = Parser::new(&crate::parse::DIALECT).try_with_sql(text).expect("tokens");
        sql_type_of_ast(&parser.parse_data_type().expect("a type"))
    }

    #[test]
    fn spellings_of_postgres() {
        for (text, expected) in [
            ("int2", SqlType::SmallInt),
            ("pg_catalog.int4", SqlType::Integer),
            ("bigint", SqlType::BigInt),
            ("float8", SqlType::Double),
            ("float(24)", SqlType::Real),
            ("numeric", BARE_NUMERIC),
            ("decimal(15, 2)", SqlType::numeric(15, 2)),
            ("numeric(7)", SqlType::numeric(7, 0)),
            ("character varying(10)", SqlType::Varchar(Some(10))),
            ("varchar", SqlType::Varchar(None)),
            ("char", SqlType::Char(1)),
            ("bpchar(3)", SqlType::Char(3)),
            ("timestamptz", SqlType::TimestampTz),
            ("timestamp without time zone", SqlType::Timestamp),
            ("timestamp with time zone", SqlType::TimestampTz),
            ("int[]", SqlType::Array(Box::new(SqlType::Integer))),
            ("jsonb", SqlType::Jsonb),
            ("uuid", SqlType::Uuid),
        ] {
            assert_eq!(
                ty(text).unwrap_or_else(|error| panic!("{text}: {error}")),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn refusals_name_the_reason() {
        for (text, kind, message) in [
            ("nosuch", ErrorKind::UndefinedObject, "type \"nosuch\" does not exist"),
            ("serial", ErrorKind::FeatureNotSupported, "type serial is not supported"),
            (
                "numeric(50)",
                ErrorKind::FeatureNotSupported,
                "numeric precision 50 is not supported",
            ),
            (
                "numeric(5, 7)",
                ErrorKind::InvalidParameterValue,
                "NUMERIC scale 7 must be between 0 and precision 5",
            ),
            (
                "varchar(0)",
                ErrorKind::InvalidParameterValue,
                "length for type varchar must be at least 1",
            ),
            (
                "time with time zone",
                ErrorKind::FeatureNotSupported,
                "type time with time zone is not supported",
            ),
        ] {
            let error = ty(text).expect_err(text);
            assert_eq!((error.kind(), error.message()), (kind, message), "{text}");
        }
    }
}
