//! How many values there can be.

use arrow::datatypes::DataType;

/// How many values of a type there are from one to another, of types with few.
pub(super) fn integers_between(data_type: &DataType, (least, largest): (f64, f64)) -> Option<f64> {
    let steps = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 => 1.0,
        DataType::Decimal128(_, scale) => 10_f64.powi(i32::from(*scale)),
        _ => return None,
    };
    Some((largest - least) * steps + 1.0)
}
