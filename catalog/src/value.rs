//! One value of a partition tuple or of a column bound. Absence is an `Option` around it, never a value.

use std::cmp::Ordering;

/// A single value in the form Iceberg stores it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `boolean`
    Boolean(bool),
    /// `int`: also `smallint`, and the results of the transforms year, month, day, hour and bucket
    Int(i32),
    /// `long`
    Long(i64),
    /// `float`
    Float(f32),
    /// `double`
    Double(f64),
    /// `decimal(precision, scale)`: `unscaled * 10^-scale`
    Decimal {
        /// All digits as one integer.
        unscaled: i128,
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// Days since 1970-01-01
    Date(i32),
    /// Microseconds since midnight
    Time(i64),
    /// Microseconds since 1970-01-01 without a time zone
    Timestamp(i64),
    /// Microseconds since 1970-01-01 UTC
    TimestampTz(i64),
    /// `string`: also varchar, char, json, jsonb and interval
    String(String),
    /// 16 bytes, most significant first
    Uuid([u8; 16]),
    /// `binary` or `fixed`
    Binary(Vec<u8>),
}

impl Value {
    /// The order of two values of one type; `None` for different types.
    pub(crate) fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) | (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
            (Value::Long(a), Value::Long(b))
            | (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::TimestampTz(a), Value::TimestampTz(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (
                Value::Decimal { unscaled: a, scale, .. },
                Value::Decimal {
                    unscaled: b,
                    scale: other,
                    ..
                },
            ) if scale == other => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::Uuid(a), Value::Uuid(b)) => Some(a.cmp(b)),
            (Value::Binary(a), Value::Binary(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Bytes on the heap, for cache weights.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Value::String(text) => text.capacity(),
            Value::Binary(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
}
