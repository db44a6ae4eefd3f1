//! Integers, and what is one inside: dates, times, timestamps, decimals. A block keeps offsets from its least value, in as few
//! bytes as the greatest one needs.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::*;
use datafusion::common::ScalarValue;

use super::{Selected, bits_of, with_nulls};
use crate::error::{Error, Result};

/// A value of an Arrow array that is an integer of at most 64 bits, or may be one.
pub(super) trait AsInteger: Copy {
    fn as_integer(self) -> Option<i64>;
    fn of_integer(value: i64) -> Self;
}

macro_rules! as_integer {
    ($($native:ty),*) => {
        $(impl AsInteger for $native {
            fn as_integer(self) -> Option<i64> {
                i64::try_from(self).ok()
            }

            // What was narrowed to 64 bits came from this type.
            fn of_integer(value: i64) -> Self {
                value as $native
            }
        })*
    };
}

as_integer!(i8, i16, i32, i64, i128, u8, u16, u32);

/// Runs code with the Arrow type of an integer-like data type.
macro_rules! with_integer_type {
    ($data_type:expr, $ty:ident => $run:expr, _ => $other:expr) => {
        match $data_type {
            DataType::Int8 => {
                type $ty = Int8Type;
                $run
            }
            DataType::Int16 => {
                type $ty = Int16Type;
                $run
            }
            DataType::Int32 => {
                type $ty = Int32Type;
                $run
            }
            DataType::Int64 => {
                type $ty = Int64Type;
                $run
            }
            DataType::UInt8 => {
                type $ty = UInt8Type;
                $run
            }
            DataType::UInt16 => {
                type $ty = UInt16Type;
                $run
            }
            DataType::UInt32 => {
                type $ty = UInt32Type;
                $run
            }
            DataType::Date32 => {
                type $ty = Date32Type;
                $run
            }
            DataType::Date64 => {
                type $ty = Date64Type;
                $run
            }
            DataType::Time32(TimeUnit::Second) => {
                type $ty = Time32SecondType;
                $run
            }
            DataType::Time32(TimeUnit::Millisecond) => {
                type $ty = Time32MillisecondType;
                $run
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                type $ty = Time64MicrosecondType;
                $run
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                type $ty = Time64NanosecondType;
                $run
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                type $ty = TimestampSecondType;
                $run
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                type $ty = TimestampMillisecondType;
                $run
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                type $ty = TimestampMicrosecondType;
                $run
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                type $ty = TimestampNanosecondType;
                $run
            }
            DataType::Decimal32(_, _) => {
                type $ty = Decimal32Type;
                $run
            }
            DataType::Decimal64(_, _) => {
                type $ty = Decimal64Type;
                $run
            }
            DataType::Decimal128(_, _) => {
                type $ty = Decimal128Type;
                $run
            }
            _ => $other,
        }
    };
}

pub(super) use with_integer_type;

/// Whether values of the type are integers inside.
pub(crate) fn is_integer_like(data_type: &DataType) -> bool {
    with_integer_type!(data_type, T => T::DATA_TYPE.is_primitive(), _ => false)
}

/// The integers inside an array, whatever stands in the places of nulls; `None` if one needs more than 64 bits or the array is
/// of something else.
pub(super) fn values_as_integers(array: &ArrayRef) -> Option<Vec<i64>> {
    with_integer_type!(
        array.data_type(),
        T => {
            let array = array.as_primitive_opt::<T>()?;
            let values = array.values().iter();
            match array.nulls() {
                None => values.map(|value| value.as_integer()).collect(),
                Some(nulls) => values
                    .zip(nulls.iter())
                    .map(|(value, valid)| if valid { value.as_integer() } else { Some(0) })
                    .collect(),
            }
        },
        _ => None
    )
}

/// The array of a type whose values are these integers.
///
/// # Errors
/// Values of the type are no integers.
pub(crate) fn array_of_integers(data_type: &DataType, values: impl Iterator<Item = i64>) -> Result<ArrayRef> {
    with_integer_type!(
        data_type,
        T => Ok(primitive::<T>(values.map(AsInteger::of_integer).collect(), None, data_type)),
        _ => Err(Error::internal(format!("values of type {data_type} are no integers")))
    )
}

/// An array of a type that has parameters besides its Arrow type, such as a zone.
pub(super) fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.clone()))
}

/// The integer inside a literal of a column's type; beyond 64 bits the nearest.
pub(crate) fn scalar_as_integer(value: &ScalarValue, data_type: &DataType) -> Option<i64> {
    if value.is_null() || &value.data_type() != data_type {
        return None;
    }
    if let ScalarValue::Decimal128(Some(value), _, _) = value {
        let nearest = (*value).clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        return i64::try_from(nearest).ok();
    }
    let array = value.to_array().ok()?;
    values_as_integers(&array)?.first().copied()
}

/// Up to [`super::BLOCK_ROWS`] integers.
#[derive(Debug)]
pub(super) struct IntegerBlock {
    rows: usize,
    /// Of those that are not null; no value is where the least is above the greatest.
    least: i64,
    greatest: i64,
    /// From the least. Nulls have 0.
    offsets: Offsets,
    nulls: Option<NullBuffer>,
}

#[derive(Debug)]
enum Offsets {
    /// All values are one.
    Zero,
    U8(Box<[u8]>),
    U16(Box<[u16]>),
    U32(Box<[u32]>),
    U64(Box<[u64]>),
}

impl IntegerBlock {
    pub(super) fn new(values: &[i64], nulls: Option<&NullBuffer>) -> Self {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let mut least = i64::MAX;
        let mut greatest = i64::MIN;
        match nulls {
            None => {
                for value in values {
                    least = least.min(*value);
                    greatest = greatest.max(*value);
                }
            }
            Some(nulls) => {
                for row in nulls.valid_indices() {
                    least = least.min(values[row]);
                    greatest = greatest.max(values[row]);
                }
            }
        }
        let offsets = match greatest.wrapping_sub(least) as u64 {
            _ if greatest <= least => Offsets::Zero,
            0..=0xff => Offsets::U8(offsets(values, nulls, least, |offset| offset as u8)),
            0x100..=0xffff => Offsets::U16(offsets(values, nulls, least, |offset| offset as u16)),
            0x1_0000..=0xffff_ffff => Offsets::U32(offsets(values, nulls, least, |offset| offset as u32)),
            _ => Offsets::U64(offsets(values, nulls, least, |offset| offset)),
        };
        Self {
            rows: values.len(),
            least,
            greatest,
            offsets,
            // A copy of its own: the array's may be a slice of a larger one.
            nulls: nulls.map(|nulls| NullBuffer::new(nulls.inner().iter().collect())),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        let width = match self.offsets {
            Offsets::Zero => 0,
            Offsets::U8(_) => 1,
            Offsets::U16(_) => 2,
            Offsets::U32(_) => 4,
            Offsets::U64(_) => 8,
        };
        let nulls = self.nulls.as_ref().map_or(0, |nulls| nulls.buffer().capacity());
        size_of::<Self>() + self.rows * width + nulls
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.nulls.is_some()
    }

    pub(super) fn least(&self) -> Option<i64> {
        (self.least <= self.greatest).then_some(self.least)
    }

    pub(super) fn greatest(&self) -> Option<i64> {
        (self.least <= self.greatest).then_some(self.greatest)
    }

    pub(super) fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }

    pub(super) fn select_range(&self, range: &RangeInclusive<i64>) -> Selected {
        let (from, to) = (self.least.max(*range.start()), self.greatest.min(*range.end()));
        if from > to {
            return Selected::None;
        }
        if from == self.least && to == self.greatest {
            return self.not_null();
        }
        // One comparison a row: what lies below wraps around to above.
        let first = from.wrapping_sub(self.least) as u64;
        let span = to.wrapping_sub(from) as u64;
        let rows = match &self.offsets {
            Offsets::Zero => return self.not_null(),
            Offsets::U8(offsets) => {
                let (first, span) = (first as u8, span as u8);
                bits_of(offsets, |offset| offset.wrapping_sub(first) <= span)
            }
            Offsets::U16(offsets) => {
                let (first, span) = (first as u16, span as u16);
                bits_of(offsets, |offset| offset.wrapping_sub(first) <= span)
            }
            Offsets::U32(offsets) => {
                let (first, span) = (first as u32, span as u32);
                bits_of(offsets, |offset| offset.wrapping_sub(first) <= span)
            }
            // Of 64 bits the oldest vector instructions know equality alone.
            Offsets::U64(offsets) if span == 0 => bits_of(offsets, |offset| offset == first),
            Offsets::U64(offsets) => bits_of(offsets, |offset| offset.wrapping_sub(first) <= span),
        };
        Selected::of(with_nulls(rows, self.nulls.as_ref(), false))
    }

    pub(super) fn select_other_than(&self, value: i64) -> Selected {
        match self.select_range(&(value..=value)) {
            Selected::None => self.not_null(),
            Selected::All => Selected::None,
            Selected::Some(rows) => Selected::of(with_nulls(!&rows, self.nulls.as_ref(), false)),
        }
    }

    /// `passes` by value, from `least` on.
    pub(super) fn select_in_domain(&self, passes: &[bool], least: i64, null_passes: bool) -> Selected {
        if self.least > self.greatest {
            return match null_passes {
                true => Selected::All,
                false => Selected::None,
            };
        }
        let first = self.least.wrapping_sub(least) as usize;
        let passes = &passes[first..];
        let rows = match &self.offsets {
            Offsets::Zero => match passes[0] {
                true => BooleanBuffer::new_set(self.rows),
                false => BooleanBuffer::new_unset(self.rows),
            },
            Offsets::U8(offsets) => select(offsets, passes),
            Offsets::U16(offsets) => select(offsets, passes),
            Offsets::U32(offsets) => select(offsets, passes),
            Offsets::U64(offsets) => bits_of(offsets, |offset| passes[offset as usize]),
        };
        Selected::of(with_nulls(rows, self.nulls.as_ref(), null_passes))
    }

    fn not_null(&self) -> Selected {
        match &self.nulls {
            None => Selected::All,
            Some(nulls) => Selected::of(nulls.inner().clone()),
        }
    }

    /// Adds the values of all rows, or of those that are named.
    pub(super) fn append_to<N: AsInteger>(&self, rows: Option<&[u32]>, values: &mut Vec<N>) {
        let least = match self.least <= self.greatest {
            true => self.least,
            false => 0,
        };
        match &self.offsets {
            Offsets::Zero => {
                let count = rows.map_or(self.rows, <[u32]>::len);
                values.extend(std::iter::repeat_n(N::of_integer(least), count));
            }
            Offsets::U8(offsets) => append(least, offsets, rows, values),
            Offsets::U16(offsets) => append(least, offsets, rows, values),
            Offsets::U32(offsets) => append(least, offsets, rows, values),
            Offsets::U64(offsets) => append(least, offsets, rows, values),
        }
    }
}

fn offsets<O: Default>(values: &[i64], nulls: Option<&NullBuffer>, least: i64, narrow: impl Fn(u64) -> O) -> Box<[O]> {
    let offset = |value: i64| narrow(value.wrapping_sub(least) as u64);
    match nulls {
        None => values.iter().map(|value| offset(*value)).collect(),
        Some(nulls) => values
            .iter()
            .zip(nulls.iter())
            .map(|(value, valid)| if valid { offset(*value) } else { O::default() })
            .collect(),
    }
}

fn select<O: Copy + Into<u32>>(offsets: &[O], passes: &[bool]) -> BooleanBuffer {
    bits_of(offsets, |offset| passes[offset.into() as usize])
}

fn append<O: Copy + Into<u64>, N: AsInteger>(least: i64, offsets: &[O], rows: Option<&[u32]>, values: &mut Vec<N>) {
    let value = |offset: O| N::of_integer(least.wrapping_add(offset.into() as i64));
    match rows {
        None => values.extend(offsets.iter().map(|offset| value(*offset))),
        Some(rows) => values.extend(rows.iter().map(|row| value(offsets[*row as usize]))),
    }
}
