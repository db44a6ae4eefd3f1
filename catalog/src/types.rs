//! The SQL types of columns, parameters and results, as a Postgres user names them.
//!
//! One list for the whole warehouse: the catalog stores it, the planner maps it to Arrow, the server to the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A SQL type with its modifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlType {
    /// `boolean`
    Boolean,
    /// `smallint`, 16 bits. Iceberg has no such type: stored as `int`.
    SmallInt,
    /// `integer`, 32 bits
    Integer,
    /// `bigint`, 64 bits
    BigInt,
    /// `real`, 32 bits
    Real,
    /// `double precision`, 64 bits
    Double,
    /// `numeric(precision, scale)`, 1 to 38 digits. A bare `numeric` is `numeric(38, 10)`.
    Numeric {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: i8,
    },
    /// `text`
    Text,
    /// `varchar(n)` in characters; `None` is a bare `varchar`.
    Varchar(Option<u32>),
    /// `char(n)` in characters, blank padded.
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`, microseconds
    Time,
    /// `timestamp without time zone`, microseconds
    Timestamp,
    /// `timestamp with time zone`, microseconds since 1970-01-01 UTC
    TimestampTz,
    /// `interval`: months, days and microseconds kept apart. Iceberg has no such type: stored as `string`.
    Interval,
    /// `uuid`
    Uuid,
    /// `json`, stored as `string`
    Json,
    /// `jsonb`, stored as `string`
    Jsonb,
    /// `T[]`; elements may be null
    Array(Box<SqlType>),
    /// A composite (row) value: named, nullable fields
    Struct(Vec<(String, SqlType)>),
    /// The type of a bare NULL or of a parameter nothing is known about; never that of a column.
    Unknown,
}

impl fmt::Display for SqlType {
    /// The name as Postgres' `format_type` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Boolean => f.write_str("boolean"),
            SqlType::SmallInt => f.write_str("smallint"),
            SqlType::Integer => f.write_str("integer"),
            SqlType::BigInt => f.write_str("bigint"),
            SqlType::Real => f.write_str("real"),
            SqlType::Double => f.write_str("double precision"),
            SqlType::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Varchar(Some(length)) => write!(f, "character varying({length})"),
            SqlType::Char(length) => write!(f, "character({length})"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Time => f.write_str("time without time zone"),
            SqlType::Timestamp => f.write_str("timestamp without time zone"),
            SqlType::TimestampTz => f.write_str("timestamp with time zone"),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Json => f.write_str("json"),
            SqlType::Jsonb => f.write_str("jsonb"),
            SqlType::Array(element) => write!(f, "{element}[]"),
            SqlType::Struct(fields) => {
                f.write_str("struct(")?;
                for (index, (name, ty)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {ty}", crate::quote_identifier(name))?;
                }
                f.write_str(")")
            }
            SqlType::Unknown => f.write_str("unknown"),
        }
    }
}
