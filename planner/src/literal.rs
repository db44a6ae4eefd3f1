//! One value, as the catalog stores it and as a plan computes with it.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;
use staffa_catalog::Value;

/// The catalog's value as a scalar of a column's Arrow type; `None` when the type cannot hold it (an interval, which is
/// stored as text) or the value is of another type than the column's history allows.
pub fn scalar_of_value(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    Some(match (value, data_type) {
        (Value::Boolean(v), DataType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (Value::Int(v), DataType::Int16) => ScalarValue::Int16(Some(i16::try_from(*v).ok()?)),
        (Value::Int(v), DataType::Int32) => ScalarValue::Int32(Some(*v)),
        // A column that was widened keeps the bounds its old files were written with.
        (Value::Int(v), DataType::Int64) => ScalarValue::Int64(Some(i64::from(*v))),
        (Value::Long(v), DataType::Int64) => ScalarValue::Int64(Some(*v)),
        (Value::Float(v), DataType::Float32) => ScalarValue::Float32(Some(*v)),
        (Value::Float(v), DataType::Float64) => ScalarValue::Float64(Some(f64::from(*v))),
        (Value::Double(v), DataType::Float64) => ScalarValue::Float64(Some(*v)),
        (Value::Decimal { unscaled, scale, .. }, DataType::Decimal128(precision, column_scale))
            if scale == column_scale =>
        {
            ScalarValue::Decimal128(Some(*unscaled), *precision, *scale)
        }
        (Value::Date(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (Value::Int(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (Value::Time(v), DataType::Time64(TimeUnit::Microsecond)) => ScalarValue::Time64Microsecond(Some(*v)),
        (Value::Timestamp(v) | Value::TimestampTz(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (Value::String(v), DataType::Utf8View) => ScalarValue::Utf8View(Some(v.clone())),
        (Value::String(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.clone())),
        (Value::Uuid(v), DataType::FixedSizeBinary(16)) => ScalarValue::FixedSizeBinary(16, Some(v.to_vec())),
        (Value::Binary(v), DataType::FixedSizeBinary(16)) if v.len() == 16 => {
            ScalarValue::FixedSizeBinary(16, Some(v.clone()))
        }
        (Value::Binary(v), DataType::BinaryView) => ScalarValue::BinaryView(Some(v.clone())),
        (Value::Binary(v), DataType::Binary) => ScalarValue::Binary(Some(v.clone())),
        _ => return None,
    })
}

/// A scalar the writer reports, as the catalog stores it; `None` for NULL and for types that have no such form.
pub fn value_of_scalar(scalar: &ScalarValue) -> Option<Value> {
    Some(match scalar {
        ScalarValue::Boolean(Some(v)) => Value::Boolean(*v),
        ScalarValue::Int8(Some(v)) => Value::Int(i32::from(*v)),
        ScalarValue::Int16(Some(v)) => Value::Int(i32::from(*v)),
        ScalarValue::Int32(Some(v)) => Value::Int(*v),
        ScalarValue::Int64(Some(v)) => Value::Long(*v),
        ScalarValue::Float32(Some(v)) => Value::Float(*v),
        ScalarValue::Float64(Some(v)) => Value::Double(*v),
        ScalarValue::Decimal128(Some(v), precision, scale) => Value::Decimal {
            unscaled: *v,
            precision: *precision,
            scale: *scale,
        },
        ScalarValue::Date32(Some(v)) => Value::Date(*v),
        ScalarValue::Time64Microsecond(Some(v)) => Value::Time(*v),
        ScalarValue::TimestampMicrosecond(Some(v), None) => Value::Timestamp(*v),
        ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => Value::TimestampTz(*v),
        ScalarValue::Utf8(Some(v)) | ScalarValue::Utf8View(Some(v)) | ScalarValue::LargeUtf8(Some(v)) => {
            Value::String(v.clone())
        }
        ScalarValue::FixedSizeBinary(16, Some(v)) => Value::Uuid(v.as_slice().try_into().ok()?),
        ScalarValue::Binary(Some(v)) | ScalarValue::BinaryView(Some(v)) | ScalarValue::LargeBinary(Some(v)) => {
            Value::Binary(v.clone())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_both_ways() {
        for (value, data_type) in [
            (Value::Boolean(true), DataType::Boolean),
            (Value::Int(-5), DataType::Int32),
            (Value::Long(1 << 40), DataType::Int64),
            (Value::Double(1.5), DataType::Float64),
            (
                Value::Decimal {
                    unscaled: -12345,
                    precision: 9,
                    scale: 2,
                },
                DataType::Decimal128(9, 2),
            ),
            (Value::Date(19000), DataType::Date32),
            (Value::Timestamp(-1), DataType::Timestamp(TimeUnit::Microsecond, None)),
            (
                Value::TimestampTz(7),
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (Value::String("ä".to_string()), DataType::Utf8View),
            (Value::Uuid([7; 16]), DataType::FixedSizeBinary(16)),
            (Value::Binary(vec![0, 255]), DataType::BinaryView),
        ] {
            let scalar = scalar_of_value(&value, &data_type).expect("a scalar");
            assert_eq!(scalar.data_type(), data_type);
            assert_eq!(value_of_scalar(&scalar), Some(value));
        }
    }

    #[test]
    fn widened_columns_and_strangers() {
        assert_eq!(
            scalar_of_value(&Value::Int(3), &DataType::Int64),
            Some(ScalarValue::Int64(Some(3)))
        );
        assert_eq!(scalar_of_value(&Value::Int(70_000), &DataType::Int16), None);
        assert_eq!(
            scalar_of_value(&Value::String("1 day".to_string()), &DataType::Boolean),
            None
        );
    }
}
