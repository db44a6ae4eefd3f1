//! Iceberg's partition transforms on whole columns (spec, "Partition Transforms" and appendix B for the hash). Null gives
//! null in every one of them.

mod murmur3;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BinaryViewBuilder, Int32Array, LargeBinaryBuilder,
    LargeStringBuilder, PrimitiveArray, StringBuilder, StringViewBuilder, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use crate::error::{Error, Result};
use murmur3::murmur3_x86_32;

/// How a partition value is made of a column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transform {
    /// The value itself.
    Identity,
    /// Hash of the value modulo this many buckets.
    Bucket(u32),
    /// Numbers rounded down to a multiple, texts and binaries cut to a length.
    Truncate(u32),
    /// Years since 1970.
    Year,
    /// Months since 1970-01.
    Month,
    /// Days since 1970-01-01.
    Day,
    /// Hours since 1970-01-01 00:00.
    Hour,
    /// Always null: a partition field that was dropped.
    Void,
}

impl Transform {
    /// The type of the result for a column of this type.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] when Iceberg does not define the transform for the type.
    pub fn result_type(&self, source: &DataType) -> Result<DataType> {
        let allowed = match self {
            Self::Identity | Self::Void => !source.is_nested(),
            Self::Bucket(buckets) => *buckets > 0 && is_bucketable(source),
            Self::Truncate(width) => *width > 0 && is_truncatable(source),
            Self::Year | Self::Month | Self::Day => {
                matches!(source, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
            }
            Self::Hour => matches!(source, DataType::Timestamp(TimeUnit::Microsecond, _)),
        };
        if !allowed {
            return Err(Error::unsupported(format!(
                "partition transform {self:?} does not apply to type {source}"
            )));
        }
        Ok(match self {
            Self::Identity | Self::Truncate(_) | Self::Void => source.clone(),
            Self::Bucket(_) | Self::Year | Self::Month | Self::Day | Self::Hour => DataType::Int32,
        })
    }

    /// Evaluates the transform for every row of a column.
    ///
    /// # Errors
    /// As [`result_type`](Self::result_type).
    pub fn apply(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let result = self.result_type(column.data_type())?;
        Ok(match self {
            Self::Identity => Arc::clone(column),
            Self::Void => new_null_array(&result, column.len()),
            Self::Bucket(buckets) => Arc::new(bucket(column, *buckets)?),
            Self::Truncate(width) => truncate(column, *width)?,
            Self::Year => calendar(column, |days| months_since_1970(days).div_euclid(12)),
            Self::Month => calendar(column, months_since_1970),
            Self::Day => calendar(column, |days| days as i32),
            Self::Hour => {
                let micros = column.as_primitive::<TimestampMicrosecondType>();
                Arc::new(micros.unary::<_, Int32Type>(|v| v.div_euclid(3_600_000_000) as i32))
            }
        })
    }
}

fn is_bucketable(source: &DataType) -> bool {
    is_truncatable(source)
        || matches!(
            source,
            DataType::Date32
                | DataType::Time64(TimeUnit::Microsecond)
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::FixedSizeBinary(_)
        )
}

fn is_truncatable(source: &DataType) -> bool {
    matches!(
        source,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(..)
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
    )
}

fn bucket(column: &ArrayRef, buckets: u32) -> Result<Int32Array> {
    let place = |hash: u32| ((hash & i32::MAX as u32) % buckets) as i32;
    let long = |value: i64| place(murmur3_x86_32(&value.to_le_bytes()));
    let bytes = |value: Option<&[u8]>| value.map(|v| place(murmur3_x86_32(v)));
    let text = |value: Option<&str>| value.map(|v| place(murmur3_x86_32(v.as_bytes())));
    Ok(match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().unary(|v| long(v.into())),
        DataType::Int16 => column.as_primitive::<Int16Type>().unary(|v| long(v.into())),
        DataType::Int32 => column.as_primitive::<Int32Type>().unary(|v| long(v.into())),
        DataType::Int64 => column.as_primitive::<Int64Type>().unary(long),
        DataType::Date32 => column.as_primitive::<Date32Type>().unary(|v| long(v.into())),
        DataType::Time64(_) => column.as_primitive::<Time64MicrosecondType>().unary(long),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().unary(long),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().unary(|v| {
            let all = v.to_be_bytes();
            place(murmur3_x86_32(shortest_twos_complement(&all)))
        }),
        DataType::Utf8 => column.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(text).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().map(bytes).collect(),
        DataType::LargeBinary => column.as_binary::<i64>().iter().map(bytes).collect(),
        DataType::BinaryView => column.as_binary_view().iter().map(bytes).collect(),
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().map(bytes).collect(),
        other => return Err(Error::internal(format!("type {other} has no bucket"))),
    })
}

/// The fewest big-endian bytes that hold the same signed number.
fn shortest_twos_complement(bytes: &[u8; 16]) -> &[u8] {
    let sign = if bytes[0] & 0x80 == 0 { 0x00 } else { 0xff };
    let redundant = bytes
        .windows(2)
        .take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0)
        .count();
    &bytes[redundant..]
}

fn truncate(column: &ArrayRef, width: u32) -> Result<ArrayRef> {
    let wide = i128::from(width);
    // At the lower end of a type the result wraps, as in Iceberg's reference implementation.
    fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef, floor: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let column: &PrimitiveArray<T> = column.as_primitive();
        Arc::new(column.unary::<_, T>(floor).with_data_type(column.data_type().clone()))
    }
    let chars = width as usize;
    Ok(match column.data_type() {
        DataType::Int8 => numbers::<Int8Type>(column, |v| floor_to(v.into(), wide) as i8),
        DataType::Int16 => numbers::<Int16Type>(column, |v| floor_to(v.into(), wide) as i16),
        DataType::Int32 => numbers::<Int32Type>(column, |v| floor_to(v.into(), wide) as i32),
        DataType::Int64 => numbers::<Int64Type>(column, |v| floor_to(v.into(), wide) as i64),
        DataType::Decimal128(..) => numbers::<Decimal128Type>(column, |v| floor_to(v, wide)),
        DataType::Utf8 => {
            let mut cut = StringBuilder::new();
            column
                .as_string::<i32>()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_chars(v, chars))));
            Arc::new(cut.finish())
        }
        DataType::LargeUtf8 => {
            let mut cut = LargeStringBuilder::new();
            column
                .as_string::<i64>()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_chars(v, chars))));
            Arc::new(cut.finish())
        }
        DataType::Utf8View => {
            let mut cut = StringViewBuilder::new();
            column
                .as_string_view()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_chars(v, chars))));
            Arc::new(cut.finish())
        }
        DataType::Binary => {
            let mut cut = BinaryBuilder::new();
            column
                .as_binary::<i32>()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_bytes(v, chars))));
            Arc::new(cut.finish())
        }
        DataType::LargeBinary => {
            let mut cut = LargeBinaryBuilder::new();
            column
                .as_binary::<i64>()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_bytes(v, chars))));
            Arc::new(cut.finish())
        }
        DataType::BinaryView => {
            let mut cut = BinaryViewBuilder::new();
            column
                .as_binary_view()
                .iter()
                .for_each(|v| cut.append_option(v.map(|v| first_bytes(v, chars))));
            Arc::new(cut.finish())
        }
        other => return Err(Error::internal(format!("type {other} cannot be truncated"))),
    })
}

fn floor_to(value: i128, width: i128) -> i128 {
    value.wrapping_sub(value.rem_euclid(width))
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

fn first_bytes(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[..count.min(bytes.len())]
}

/// Of a date or timestamp column, a number made of the days since 1970 of each row.
fn calendar(column: &ArrayRef, of_days: impl Fn(i64) -> i32) -> ArrayRef {
    match column.data_type() {
        DataType::Date32 => Arc::new(
            column
                .as_primitive::<Date32Type>()
                .unary::<_, Int32Type>(|v| of_days(v.into())),
        ),
        _ => {
            let micros = column.as_primitive::<TimestampMicrosecondType>();
            Arc::new(micros.unary::<_, Int32Type>(|v| of_days(v.div_euclid(86_400_000_000))))
        }
    }
}

/// Months of the proleptic Gregorian calendar, for any day: Howard Hinnant's `civil_from_days`, which needs no range check.
fn months_since_1970(days: i64) -> i32 {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March.
    let month = (5 * day_of_year + 2) / 153;
    let since_march_of_year_0 = (era * 400 + year_of_era) * 12 + month;
    (since_march_of_year_0 + 2 - 1970 * 12) as i32
}

#[cfg(test)]
mod tests;
