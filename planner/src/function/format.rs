//! `to_char`, `to_date`, `to_timestamp` and `to_number` by PostgreSQL's patterns (`src/backend/utils/adt/formatting.c`).

mod number;
mod pattern;
mod print;
mod read;
mod scan_number;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Builder, StringViewBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use staffa_catalog::{Rounding, SqlType};

use self::number::NumberFormat;
use self::pattern::Pattern;
use self::print::Clock;
use super::datetime::{
    INTERVAL, Moments, TEXT, TIME, TIMESTAMP, from_local, in_range, interval_at, is_infinite, is_interval, is_text,
    micros_of, timestamp_like, zone_named,
};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::type_planner::BARE_NUMERIC;
use crate::value::datetime::{DAYS_MAX, DAYS_MIN, MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::value::{ColumnDecoder, Format, FormatSettings};

/// Its digits are those of the texts.
pub(crate) const TO_NUMBER: &str = "to_number";

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("to_char", to_char_types, to_char),
    Shape::new("to_date", to_date_types, to_date),
    Shape::new(TO_NUMBER, to_number_types, to_number),
];

fn to_char_types(types: &[DataType]) -> Resolved {
    let [value, pattern] = types else { return None };
    if !is_text(pattern) {
        return None;
    }
    let value = match value {
        ty if is_interval(ty) || ty == &TIME => INTERVAL,
        DataType::Date32 => TIMESTAMP,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Decimal256(..) => super::math::as_decimal(value)?,
        DataType::Decimal128(..) | DataType::Float32 | DataType::Float64 => value.clone(),
        DataType::Null => TIMESTAMP,
        ty => timestamp_like(ty)?,
    };
    Some((vec![value, TEXT], TEXT))
}

/// The last pattern seen: columns have few, most often one.
struct Known<T> {
    text: Option<String>,
    parsed: Option<T>,
}

impl<T> Known<T> {
    fn new() -> Self {
        Self {
            text: None,
            parsed: None,
        }
    }

    fn of(&mut self, text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<&T> {
        if self.text.as_deref() != Some(text) {
            self.parsed = Some(parse(text)?);
            self.text = Some(text.to_string());
        }
        self.parsed
            .as_ref()
            .ok_or_else(|| Error::internal("a pattern was just parsed"))
    }
}

fn to_char(columns: &Columns<'_>) -> Result<ArrayRef> {
    let value = &columns.arrays[0];
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    let mut out = String::new();
    let mut pattern = Known::new();
    let mut number = Known::new();
    let times = value.data_type() == &INTERVAL || matches!(value.data_type(), DataType::Timestamp(..));
    for row in 0..columns.rows {
        // An empty pattern of a time has no result; that of a number writes nothing.
        if columns.any_null(row) || times && columns.text(1, row)?.is_empty() {
            builder.append_null();
            continue;
        }
        out.clear();
        let (at, text) = (columns.at(0, row), columns.text(1, row)?);
        if times {
            match clock(value, at)? {
                Some(clock) => print::write(pattern.of(text, Pattern::parse)?, &clock, &mut out)?,
                None => {
                    builder.append_null();
                    continue;
                }
            }
        } else if !text.is_empty() {
            write_number(number.of(text, NumberFormat::parse)?, value, at, &mut out)?;
        }
        builder.append_value(&out);
    }
    Ok(Arc::new(builder.finish()))
}

/// The fields of a time; `None` for an infinite one.
fn clock(value: &ArrayRef, row: usize) -> Result<Option<Clock>> {
    if value.data_type() == &INTERVAL {
        let interval = interval_at(value, row)?;
        return Ok(Some(Clock::of_interval(
            interval.months,
            interval.days,
            micros_of(interval),
        )));
    }
    let moments = Moments::of(value)?;
    if is_infinite(moments.stored(row)) {
        return Ok(None);
    }
    let (local, offset) = moments.local(row);
    let zone = moments
        .zone()
        .map(|zone| (zone.abbreviation_at(moments.stored(row)), offset));
    Ok(Some(Clock::of_moment(local, zone)))
}

fn write_number(format: &NumberFormat, value: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
    use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};
    match value.data_type() {
        DataType::Int32 => format.write_decimal(value.as_primitive::<Int32Type>().value(row).into(), 0, out),
        DataType::Int64 => format.write_decimal(value.as_primitive::<Int64Type>().value(row).into(), 0, out),
        DataType::Decimal128(_, scale) => {
            format.write_decimal(value.as_primitive::<Decimal128Type>().value(row), *scale, out)
        }
        DataType::Float32 => format.write_float(value.as_primitive::<Float32Type>().value(row).into(), 6, out),
        _ => format.write_float(value.as_primitive::<Float64Type>().value(row), 15, out),
    }
}

fn to_date_types(types: &[DataType]) -> Resolved {
    match types {
        [text, pattern] if is_text(text) && is_text(pattern) => Some((vec![TEXT, TEXT], DataType::Date32)),
        _ => None,
    }
}

fn to_date(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = Date32Builder::with_capacity(columns.rows);
    let mut pattern = Known::new();
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let (text, pattern) = (
            columns.text(0, row)?,
            pattern.of(columns.text(1, row)?, Pattern::parse)?,
        );
        let days = read::read(pattern, text)?.days;
        if !(DAYS_MIN..=DAYS_MAX).contains(&days) {
            let message = format!("date out of range: \"{text}\"");
            return Err(Error::new(ErrorKind::DatetimeOverflow, message));
        }
        builder.append_value(days as i32);
    }
    Ok(Arc::new(builder.finish()))
}

/// `to_timestamp(text, pattern)`: a time of the session's zone unless the text names an offset.
pub(super) fn to_timestamp(columns: &Columns<'_>) -> Result<ArrayRef> {
    let DataType::Timestamp(TimeUnit::Microsecond, Some(name)) = columns.result else {
        return Err(Error::internal("to_timestamp() yields a timestamptz"));
    };
    let zone = zone_named(name)?;
    let mut builder = TimestampMicrosecondBuilder::with_capacity(columns.rows).with_data_type(columns.result.clone());
    let mut pattern = Known::new();
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let (text, pattern) = (
            columns.text(0, row)?,
            pattern.of(columns.text(1, row)?, Pattern::parse)?,
        );
        let read = read::read(pattern, text)?;
        let local = read
            .days
            .checked_mul(MICROS_PER_DAY)
            .and_then(|midnight| midnight.checked_add(read.time))
            .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "timestamp out of range"))?;
        let moment = in_range(match read.offset {
            Some(offset) => local.saturating_sub(offset * MICROS_PER_SECOND),
            None => from_local(local, &zone),
        })?;
        let rounding = Rounding {
            digits: read.digits,
            fields: None,
        };
        builder.append_value(rounding.moment(moment));
    }
    Ok(Arc::new(builder.finish()))
}

fn to_number_types(types: &[DataType]) -> Resolved {
    let SqlType::Numeric { precision, scale, .. } = BARE_NUMERIC else {
        return None;
    };
    match types {
        [text, pattern] if is_text(text) && is_text(pattern) => {
            Some((vec![TEXT, TEXT], DataType::Decimal128(precision, scale)))
        }
        _ => None,
    }
}

fn to_number(columns: &Columns<'_>) -> Result<ArrayRef> {
    let settings = FormatSettings::default();
    let mut numbers = ColumnDecoder::new(&BARE_NUMERIC, Format::Text, &settings, columns.rows);
    let mut known = Known::new();
    for row in 0..columns.rows {
        // An empty pattern has no result.
        if columns.any_null(row) || columns.text(1, row)?.is_empty() {
            numbers.append(None)?;
            continue;
        }
        let format = known.of(columns.text(1, row)?, NumberFormat::parse)?;
        let number = scan_number::read(format, columns.text(0, row)?)?;
        let text = match number.shift {
            0 => number.text,
            shift => format!("{}e-{shift}", number.text),
        };
        numbers.append(Some(text.as_bytes()))?;
    }
    numbers.finish()
}
