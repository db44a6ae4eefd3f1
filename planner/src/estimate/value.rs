//! Values as numbers, to see where between two others they lie.

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

/// A number or a time, in the unit of its type.
pub(super) fn number(value: &ScalarValue) -> Option<f64> {
    use ScalarValue as S;
    match value {
        S::Int8(value) => value.map(f64::from),
        S::Int16(value) => value.map(f64::from),
        S::Int32(value) | S::Date32(value) | S::Time32Second(value) | S::Time32Millisecond(value) => {
            value.map(f64::from)
        }
        S::Int64(value)
        | S::Time64Microsecond(value)
        | S::Time64Nanosecond(value)
        | S::TimestampSecond(value, _)
        | S::TimestampMillisecond(value, _)
        | S::TimestampMicrosecond(value, _)
        | S::TimestampNanosecond(value, _) => value.map(|value| value as f64),
        S::Float32(value) => value.map(f64::from),
        S::Float64(value) => *value,
        S::Decimal128(value, _, scale) => value.map(|value| value as f64 / 10_f64.powi(i32::from(*scale))),
        _ => None,
    }
}

/// How many values of a type there are from one to another, of types with few.
pub(super) fn integers_between(data_type: &DataType, (least, largest): (f64, f64)) -> Option<f64> {
    let steps = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 => 1.0,
        DataType::Decimal128(_, scale) => 10_f64.powi(i32::from(*scale)),
        _ => return None,
    };
    Some((largest - least) * steps + 1.0)
}
