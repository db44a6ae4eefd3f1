//! One value of a partition tuple or of a column bound. Absence is an `Option` around it, never a value.

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
    /// Bytes on the heap, for cache weights.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Value::String(text) => text.capacity(),
            Value::Binary(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
}
