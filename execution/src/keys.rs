//! Join keys as whole numbers.
//!
//! A key column of numbers, dates or moments is a column of `i64`. Several of them become one number: what each has above its
//! least, counted in mixed radix over the ranges of the build side, so that equal numbers are equal keys. Only where the ranges
//! are too wide together is the number a hash, and pairs have to be compared.

use std::ops::RangeInclusive;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use datafusion::common::internal_err;
use datafusion::error::Result;

/// A number no key of the build side has, where several columns are one number.
const MISS: i64 = -1;

/// Calls a macro with the Arrow type of a data type whose values are `i64` without loss.
macro_rules! with_number_type {
    ($data_type:expr, $then:ident, $other:expr) => {
        match $data_type {
            DataType::Int8 => $then!(Int8Type),
            DataType::Int16 => $then!(Int16Type),
            DataType::Int32 => $then!(Int32Type),
            DataType::Int64 => $then!(Int64Type),
            DataType::UInt8 => $then!(UInt8Type),
            DataType::UInt16 => $then!(UInt16Type),
            DataType::UInt32 => $then!(UInt32Type),
            DataType::Date32 => $then!(Date32Type),
            DataType::Date64 => $then!(Date64Type),
            DataType::Time32(TimeUnit::Second) => $then!(Time32SecondType),
            DataType::Time32(TimeUnit::Millisecond) => $then!(Time32MillisecondType),
            DataType::Time64(TimeUnit::Microsecond) => $then!(Time64MicrosecondType),
            DataType::Time64(TimeUnit::Nanosecond) => $then!(Time64NanosecondType),
            DataType::Timestamp(TimeUnit::Second, _) => $then!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $then!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $then!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $then!(TimestampNanosecondType),
            _ => $other,
        }
    };
}
pub(crate) use with_number_type;

/// Whether the values of a type are whole numbers of 64 bits at most.
pub(crate) fn are_numbers(data_type: &DataType) -> bool {
    macro_rules! yes {
        ($type:ty) => {
            true
        };
    }
    with_number_type!(data_type, yes, false)
}

/// The values of a column of such a type. Where it is null there is any.
pub(crate) fn numbers(array: &ArrayRef) -> Result<Vec<i64>> {
    fn widened<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<i64>
    where
        T::Native: Into<i64>,
    {
        array
            .as_primitive::<T>()
            .values()
            .iter()
            .map(|value| (*value).into())
            .collect()
    }
    macro_rules! widen {
        ($type:ty) => {
            Ok(widened::<$type>(array))
        };
    }
    with_number_type!(
        array.data_type(),
        widen,
        internal_err!("{} is no type of whole numbers", array.data_type())
    )
}

/// The key columns of a batch.
pub(crate) struct KeyColumns {
    pub(crate) columns: Vec<Vec<i64>>,
    /// Where any of them is null: such a row equals none.
    pub(crate) nulls: Option<NullBuffer>,
}

impl KeyColumns {
    pub(crate) fn new(arrays: &[ArrayRef]) -> Result<Self> {
        let columns = arrays.iter().map(numbers).collect::<Result<_>>()?;
        let nulls = arrays
            .iter()
            .fold(None, |nulls, array| NullBuffer::union(nulls.as_ref(), array.nulls()));
        Ok(Self {
            columns,
            nulls: nulls.filter(|nulls| nulls.null_count() > 0),
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The rows of a column's least and greatest value, without null rows.
    pub(crate) fn extremes(&self, column: usize) -> Option<(usize, usize)> {
        let values = self.columns.get(column)?;
        let mut rows = (0..values.len()).filter(|row| !self.is_null(*row));
        let first = rows.next()?;
        Some(rows.fold((first, first), |(least, greatest), row| {
            (
                if values[row] < values[least] { row } else { least },
                if values[row] > values[greatest] { row } else { greatest },
            )
        }))
    }

    fn range(&self, column: usize) -> Option<RangeInclusive<i64>> {
        let (least, greatest) = self.extremes(column)?;
        Some(self.columns[column][least]..=self.columns[column][greatest])
    }
}

/// How the columns of a key become one number.
#[derive(Debug)]
pub(crate) enum Packing {
    One,
    Mixed(Vec<Place>),
    /// Equal keys have equal numbers, but others may have them too.
    Hashed,
}

/// A column's place in the number.
#[derive(Debug)]
pub(crate) struct Place {
    least: i64,
    count: u64,
    stride: i64,
}

impl Packing {
    /// For the keys of a build side.
    pub(crate) fn of(keys: &KeyColumns) -> Self {
        if keys.columns.len() == 1 {
            return Packing::One;
        }
        let mut places = Vec::with_capacity(keys.columns.len());
        let mut stride = 1_i64;
        for column in 0..keys.columns.len() {
            let range = keys.range(column).unwrap_or(0..=0);
            let count = range
                .end()
                .checked_sub(*range.start())
                .and_then(|count| count.checked_add(1));
            let Some((count, next)) = count.and_then(|count| Some((count, stride.checked_mul(count)?))) else {
                return Packing::Hashed;
            };
            places.push(Place {
                least: *range.start(),
                count: count.unsigned_abs(),
                stride,
            });
            stride = next;
        }
        Packing::Mixed(places)
    }

    /// Whether equal numbers are equal keys.
    pub(crate) fn is_exact(&self) -> bool {
        !matches!(self, Packing::Hashed)
    }

    /// The numbers of a batch's keys. The columns are left for comparing only where that is needed.
    pub(crate) fn pack(&self, keys: &mut KeyColumns) -> Vec<i64> {
        match self {
            Packing::One => keys.columns.pop().unwrap_or_default(),
            Packing::Mixed(places) => {
                let rows = keys.columns.first().map_or(0, Vec::len);
                let mut packed = vec![0_i64; rows];
                let mut misses = vec![false; rows];
                for (place, values) in places.iter().zip(&keys.columns) {
                    for ((packed, miss), value) in packed.iter_mut().zip(&mut misses).zip(values) {
                        let above = value.wrapping_sub(place.least);
                        *miss |= above.cast_unsigned() >= place.count;
                        *packed = packed.wrapping_add(above.wrapping_mul(place.stride));
                    }
                }
                for (packed, miss) in packed.iter_mut().zip(misses) {
                    if miss {
                        *packed = MISS;
                    }
                }
                packed
            }
            Packing::Hashed => {
                let mut packed = vec![0_i64; keys.columns.first().map_or(0, Vec::len)];
                for values in &keys.columns {
                    for (packed, value) in packed.iter_mut().zip(values) {
                        *packed = mixed(*packed ^ value).cast_signed();
                    }
                }
                packed
            }
        }
    }
}

/// Spreads a number over all bits: the finaliser of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(crate) fn mixed(number: i64) -> u64 {
    let mut bits = number.cast_unsigned().wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
