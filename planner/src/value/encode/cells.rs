//! The arrays a column is written from, by type.

use std::ops::Range;

use arrow::array::{
    BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DurationMicrosecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeBinaryArray, LargeStringArray, StringArray, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use staffa_catalog::Digits;

use super::EncodedColumn;
use super::map::MapCells;

/// Values of one array. NULLs are known to the column.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    Null,
    Boolean(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    /// Object numbers.
    UInt32(UInt32Array),
    Float32(Float32Array),
    Float64(Float64Array),
    /// With the scale, and which digits of it are shown.
    Decimal128(Decimal128Array, i8, Digits),
    Decimal256(Decimal256Array, i8, Digits),
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    FixedSizeBinary(FixedSizeBinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Duration(DurationMicrosecondArray),
    List(Offsets, Box<EncodedColumn<'a>>),
    Struct(Vec<EncodedColumn<'a>>),
    Map(MapCells),
}

/// Where the elements of each row's array are.
#[derive(Debug)]
pub(super) enum Offsets {
    Small(OffsetBuffer<i32>),
    Large(OffsetBuffer<i64>),
    /// This many elements in each.
    Fixed(usize),
}

impl Offsets {
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        match self {
            // Arrow guarantees that offsets do not fall below zero.
            Offsets::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Offsets::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Offsets::Fixed(length) => row * length..(row + 1) * length,
        }
    }
}
