//! Values as bytes: Iceberg's single-value serialization, which sketches hash and files of statistics keep.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringViewBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::scalar::ScalarValue;

/// What values of a type are called where they are kept; `None` for types that have no such bytes, or no order.
pub(super) fn kind(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int16 | DataType::Int32 => "int",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Decimal128(precision, scale) => return Some(format!("decimal({precision}, {scale})")),
        DataType::Date32 => "date",
        DataType::Time64(TimeUnit::Microsecond) => "time",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz",
        DataType::Utf8View => "string",
        DataType::BinaryView => "binary",
        DataType::FixedSizeBinary(length) => return Some(format!("fixed[{length}]")),
        _ => return None,
    };
    Some(name.to_owned())
}

/// Calls `take` with each value that is not null, and of neighbours that are equal with the first.
pub(super) fn for_each(column: &ArrayRef, mut take: impl FnMut(&[u8])) {
    match column.data_type() {
        DataType::Boolean => {
            let mut last = None;
            for value in column.as_boolean().iter().flatten() {
                if last.replace(value) != Some(value) {
                    take(&[u8::from(value)]);
                }
            }
        }
        DataType::Int16 => numbers::<Int16Type, _>(column, |value| i32::from(value).to_le_bytes(), take),
        DataType::Int32 => numbers::<Int32Type, _>(column, i32::to_le_bytes, take),
        DataType::Date32 => numbers::<Date32Type, _>(column, i32::to_le_bytes, take),
        DataType::Int64 => numbers::<Int64Type, _>(column, i64::to_le_bytes, take),
        DataType::Float32 => numbers::<Float32Type, _>(column, f32::to_le_bytes, take),
        DataType::Float64 => numbers::<Float64Type, _>(column, f64::to_le_bytes, take),
        DataType::Time64(_) => numbers::<Time64MicrosecondType, _>(column, i64::to_le_bytes, take),
        DataType::Timestamp(..) => numbers::<TimestampMicrosecondType, _>(column, i64::to_le_bytes, take),
        DataType::Decimal128(..) => {
            let mut last = None;
            for value in column.as_primitive::<Decimal128Type>().iter().flatten() {
                if last.replace(value) != Some(value) {
                    take(&value.to_be_bytes()[redundant(value)..]);
                }
            }
        }
        DataType::Utf8View => {
            let texts = column.as_string_view().iter().flatten();
            changed(texts.map(str::as_bytes), take);
        }
        DataType::BinaryView => changed(column.as_binary_view().iter().flatten(), take),
        DataType::FixedSizeBinary(_) => changed(column.as_fixed_size_binary().iter().flatten(), take),
        _ => {}
    }
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(
    column: &ArrayRef,
    bytes: impl Fn(T::Native) -> [u8; N],
    mut take: impl FnMut(&[u8]),
) {
    let mut last = None;
    for value in column.as_primitive::<T>().iter().flatten() {
        let bytes = bytes(value);
        if last.replace(bytes) != Some(bytes) {
            take(&bytes);
        }
    }
}

fn changed<'a>(values: impl Iterator<Item = &'a [u8]>, mut take: impl FnMut(&[u8])) {
    let mut last = None;
    for value in values {
        if last.replace(value) != Some(value) {
            take(value);
        }
    }
}

/// Leading bytes of a number that say nothing: those before its sign.
fn redundant(value: i128) -> usize {
    let significant = 128 - (if value < 0 { !value } else { value }).leading_zeros() + 1;
    16 - (significant as usize).div_ceil(8)
}

/// The bytes of a value, `None` of nulls and of types without.
pub(super) fn to_bytes(column: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    let mut bytes = None;
    for_each(&column.slice(row, 1), |value| bytes = Some(value.to_vec()));
    bytes
}

/// The values of these bytes; `None` when one is none of the type.
pub(super) fn from_bytes(data_type: &DataType, values: &[Vec<u8>]) -> Option<ArrayRef> {
    fn all<T, const N: usize>(values: &[Vec<u8>], read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let values = values.iter().map(|value| Some(read(value.as_slice().try_into().ok()?)));
        values.collect()
    }
    Some(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(all(values, |[byte]| byte != 0)?)),
        DataType::Int16 => {
            let wide = all(values, i32::from_le_bytes)?.into_iter();
            let narrow = wide.map(|value| i16::try_from(value).ok());
            Arc::new(Int16Array::from(narrow.collect::<Option<Vec<_>>>()?))
        }
        DataType::Int32 => Arc::new(Int32Array::from(all(values, i32::from_le_bytes)?)),
        DataType::Date32 => Arc::new(Date32Array::from(all(values, i32::from_le_bytes)?)),
        DataType::Int64 => Arc::new(Int64Array::from(all(values, i64::from_le_bytes)?)),
        DataType::Float32 => Arc::new(Float32Array::from(all(values, f32::from_le_bytes)?)),
        DataType::Float64 => Arc::new(Float64Array::from(all(values, f64::from_le_bytes)?)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Arc::new(Time64MicrosecondArray::from(all(values, i64::from_le_bytes)?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = TimestampMicrosecondArray::from(all(values, i64::from_le_bytes)?);
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let numbers = values.iter().map(|value| decimal(value)).collect::<Option<Vec<_>>>()?;
            let numbers = Decimal128Array::from(numbers).with_precision_and_scale(*precision, *scale);
            Arc::new(numbers.ok()?)
        }
        DataType::Utf8View => {
            let mut texts = StringViewBuilder::new();
            for value in values {
                texts.append_value(str::from_utf8(value).ok()?);
            }
            Arc::new(texts.finish())
        }
        DataType::BinaryView => {
            let mut texts = BinaryViewBuilder::new();
            values.iter().for_each(|value| texts.append_value(value));
            Arc::new(texts.finish())
        }
        DataType::FixedSizeBinary(length) => {
            let fixed = values.iter().map(|value| Some(value.as_slice()));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, *length).ok()?)
        }
        _ => return None,
    })
}

fn decimal(bytes: &[u8]) -> Option<i128> {
    let (first, missing) = (bytes.first()?, 16_usize.checked_sub(bytes.len())?);
    let mut all = [if *first >= 0x80 { 0xff } else { 0 }; 16];
    all[missing..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

/// The bytes that PostgreSQL's values of a column have together.
pub(super) fn width(column: &ArrayRef) -> u64 {
    let valid = (column.len() - column.null_count()) as u64;
    // A header of one byte, of longer values of four.
    let variable = |length: usize| (length + if length < 127 { 1 } else { 4 }) as u64;
    match column.data_type() {
        DataType::Boolean => valid,
        DataType::Int16 => 2 * valid,
        DataType::Int32 | DataType::Float32 | DataType::Date32 => 4 * valid,
        DataType::FixedSizeBinary(length) => u64::from(length.unsigned_abs()) * valid,
        DataType::Utf8View => column
            .as_string_view()
            .iter()
            .flatten()
            .map(|it| variable(it.len()))
            .sum(),
        DataType::BinaryView => column
            .as_binary_view()
            .iter()
            .flatten()
            .map(|it| variable(it.len()))
            .sum(),
        // Two bytes for each four digits, after three.
        DataType::Decimal128(..) => {
            let digits = |value: i128| u64::from(value.unsigned_abs().checked_ilog10().map_or(0, |log| log + 1));
            let values = column.as_primitive::<Decimal128Type>().iter().flatten();
            values.map(|value| 3 + 2 * digits(value).div_ceil(4)).sum()
        }
        _ => 8 * valid,
    }
}

/// A value as a number, to see where between two others it lies: a number or a time, in the unit of its type.
pub fn number(value: &ScalarValue) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_their_bytes() {
        let decimals = Decimal128Array::from(vec![0, 1, -1, 127, 128, -128, -129, 32_767, i128::MAX / 2]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Int16Array::from(vec![-1, 300])),
            Arc::new(Int64Array::from(vec![i64::MIN, 7])),
            Arc::new(Float64Array::from(vec![1.5, -0.0])),
            Arc::new(decimals),
            Arc::new(TimestampMicrosecondArray::from(vec![1, -1]).with_timezone("UTC")),
        ];
        for column in columns {
            let bytes: Vec<Vec<u8>> = (0..column.len()).map(|row| to_bytes(&column, row).unwrap()).collect();
            assert_eq!(&from_bytes(column.data_type(), &bytes).unwrap(), &column);
        }
        assert!(from_bytes(&DataType::Int32, &[vec![1]]).is_none());
        // The examples of Iceberg's spec and its Java library: the fewest bytes of two's complement, the largest first.
        let decimals: ArrayRef = Arc::new(Decimal128Array::from(vec![1420, -1, 128]));
        let bytes: Vec<Vec<u8>> = (0..3).map(|row| to_bytes(&decimals, row).unwrap()).collect();
        assert_eq!(bytes, [vec![0x05, 0x8c], vec![0xff], vec![0x00, 0x80]]);
    }
}
