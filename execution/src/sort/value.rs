//! Values that rows are sorted by, as whole numbers and as bytes.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result;

/// What a value is sorted as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Number,
    Bytes,
}

/// `None` where values are neither.
pub(super) fn kind(data_type: &DataType) -> Option<Kind> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Duration, Float32, Float64,
        Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 | Date32
        | Date64 | Time32(_) | Time64(_) | Timestamp(..) | Duration(_) | Decimal32(..) | Decimal64(..)
        | Decimal128(..) => Some(Kind::Number),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => Some(Kind::Bytes),
        _ => None,
    }
}

/// Calls a generic function with the type of an array of numbers.
macro_rules! with_numbers {
    ($array:expr, $function:ident($($argument:expr),*)) => {{
        use arrow::datatypes::{
            DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
            DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type,
            Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
            Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        };
        match $array.data_type() {
            DataType::Int8 => $function::<Int8Type>($($argument),*),
            DataType::Int16 => $function::<Int16Type>($($argument),*),
            DataType::Int32 => $function::<Int32Type>($($argument),*),
            DataType::Int64 => $function::<Int64Type>($($argument),*),
            DataType::UInt8 => $function::<UInt8Type>($($argument),*),
            DataType::UInt16 => $function::<UInt16Type>($($argument),*),
            DataType::UInt32 => $function::<UInt32Type>($($argument),*),
            DataType::UInt64 => $function::<UInt64Type>($($argument),*),
            DataType::Float32 => $function::<Float32Type>($($argument),*),
            DataType::Float64 => $function::<Float64Type>($($argument),*),
            DataType::Date32 => $function::<Date32Type>($($argument),*),
            DataType::Date64 => $function::<Date64Type>($($argument),*),
            DataType::Time32(TimeUnit::Second) => $function::<Time32SecondType>($($argument),*),
            DataType::Time32(_) => $function::<Time32MillisecondType>($($argument),*),
            DataType::Time64(TimeUnit::Nanosecond) => $function::<Time64NanosecondType>($($argument),*),
            DataType::Time64(_) => $function::<Time64MicrosecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Second, _) => $function::<TimestampSecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $function::<TimestampMillisecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $function::<TimestampMicrosecondType>($($argument),*),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $function::<TimestampNanosecondType>($($argument),*),
            DataType::Duration(TimeUnit::Second) => $function::<DurationSecondType>($($argument),*),
            DataType::Duration(TimeUnit::Millisecond) => $function::<DurationMillisecondType>($($argument),*),
            DataType::Duration(TimeUnit::Microsecond) => $function::<DurationMicrosecondType>($($argument),*),
            DataType::Duration(TimeUnit::Nanosecond) => $function::<DurationNanosecondType>($($argument),*),
            DataType::Decimal32(..) => $function::<Decimal32Type>($($argument),*),
            DataType::Decimal64(..) => $function::<Decimal64Type>($($argument),*),
            DataType::Decimal128(..) => $function::<Decimal128Type>($($argument),*),
            other => return datafusion::common::internal_err!("{other} is no number to sort by"),
        }
    }};
}
pub(super) use with_numbers;

/// A value as a whole number that compares as it does.
pub(super) trait Whole: Copy {
    fn whole(self) -> i128;
}

macro_rules! whole {
    ($($native:ty),*) => { $(impl Whole for $native {
        fn whole(self) -> i128 {
            i128::from(self)
        }
    })* };
}

whole!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

/// Floating-point numbers in IEEE 754's total order, as `total_cmp` has it.
macro_rules! whole_float {
    ($($native:ty),*) => { $(impl Whole for $native {
        fn whole(self) -> i128 {
            let bits = self.to_bits().cast_signed();
            let sign = (bits >> (size_of::<$native>() * 8 - 1)).cast_unsigned();
            i128::from(bits ^ (sign >> 1).cast_signed())
        }
    })* };
}

whole_float!(f32, f64);

/// Any texts or bytes as views of bytes; cheap where they are views.
pub(super) fn views(array: &ArrayRef) -> Result<BinaryViewArray> {
    Ok(match array.data_type() {
        DataType::Utf8View => array.as_string_view().clone().to_binary_view(),
        DataType::BinaryView => array.as_binary_view().clone(),
        _ => cast(&cast(array, &bytes_type(array.data_type()))?, &DataType::BinaryView)?
            .as_binary_view()
            .clone(),
    })
}

fn bytes_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        other => other.clone(),
    }
}

pub(super) fn number_at(array: &ArrayRef, row: usize) -> Result<i128> {
    fn number<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> Result<i128>
    where
        T::Native: Whole,
    {
        Ok(array.as_primitive::<T>().value(row).whole())
    }
    if array.data_type() == &DataType::Boolean {
        return Ok(i128::from(array.as_boolean().value(row)));
    }
    with_numbers!(array, number(array, row))
}

pub(super) fn bytes_at(array: &ArrayRef, row: usize) -> Result<&[u8]> {
    Ok(match array.data_type() {
        _ if array.is_null(row) => &[],
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::BinaryView => array.as_binary_view().value(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        other => return internal_err!("{other} has no bytes to sort by"),
    })
}
