//! Functions of dates, times and intervals, with PostgreSQL's results (`src/backend/utils/adt/timestamp.c`, `date.c`).

pub(super) mod calendar;
pub(super) mod extract;
pub(super) mod overlaps;
pub(super) mod span;
pub(super) mod trunc;
pub(super) mod zones;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};

use super::native::wrong_type;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Zone;
use crate::value::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, DAYS_MAX, DAYS_MIN, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_NEG_INFINITY,
};

pub(super) const TEXT: DataType = DataType::Utf8View;
pub(super) const DATE: DataType = DataType::Date32;
pub(super) const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);
pub(super) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

pub(super) const NANOS_PER_MICRO: i64 = 1000;

pub(super) fn is_text(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
    )
}

pub(super) fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::Interval(_) | DataType::Duration(_))
}

pub(super) fn is_integer(ty: &DataType) -> bool {
    ty.is_integer() || ty == &DataType::Null
}

/// The same type with microseconds, if it is a timestamp.
pub(super) fn timestamp_like(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => None,
    }
}

/// A column of dates or timestamps as what the clock of its zone shows.
pub(super) struct Moments<'a> {
    array: &'a ArrayRef,
    zone: Option<Zone>,
}

impl<'a> Moments<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self> {
        let zone = match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, Some(name)) => Some(zone_named(name)?),
            DataType::Timestamp(TimeUnit::Microsecond, None) | DataType::Date32 => None,
            _ => return Err(wrong_type(array)),
        };
        Ok(Self { array, zone })
    }

    pub(super) fn zone(&self) -> Option<Zone> {
        self.zone
    }

    /// Whether the values have a time of day.
    pub(super) fn is_timestamp(&self) -> bool {
        self.array.data_type() != &DATE
    }

    /// Microseconds as stored: since 1970 in UTC, or of the clock where there is no zone.
    pub(super) fn stored(&self, row: usize) -> i64 {
        match self.array.data_type() {
            DataType::Date32 => match self.array.as_primitive::<Date32Type>().value(row) {
                DATE_INFINITY => TIMESTAMP_INFINITY,
                DATE_NEG_INFINITY => TIMESTAMP_NEG_INFINITY,
                days => i64::from(days).checked_mul(MICROS_PER_DAY).unwrap_or(TOO_LATE),
            },
            _ => self.array.as_primitive::<TimestampMicrosecondType>().value(row),
        }
    }

    /// Days since 1970, microseconds of the day, and the offset of the clock in seconds. Some dates are later than any timestamp.
    pub(super) fn day(&self, row: usize) -> (i64, i64, i32) {
        if let Some(dates) = self.array.as_primitive_opt::<Date32Type>() {
            return (i64::from(dates.value(row)), 0, 0);
        }
        let (local, offset) = self.local(row);
        (
            local.div_euclid(MICROS_PER_DAY),
            local.rem_euclid(MICROS_PER_DAY),
            offset,
        )
    }

    /// Microseconds of the clock, and its offset in seconds.
    pub(super) fn local(&self, row: usize) -> (i64, i32) {
        let stored = self.stored(row);
        match &self.zone {
            Some(zone) if !is_infinite(stored) => {
                let offset = zone.offset_at(stored);
                (stored.saturating_add(i64::from(offset) * MICROS_PER_SECOND), offset)
            }
            _ => (stored, 0),
        }
    }
}

pub(super) fn is_infinite(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEG_INFINITY
}

/// What a zone's clock shows, as a moment.
pub(super) fn from_local(micros: i64, zone: &Zone) -> i64 {
    if is_infinite(micros) {
        return micros;
    }
    micros.saturating_sub(i64::from(zone.offset_at_local(micros)) * MICROS_PER_SECOND)
}

/// A zone by its name: of the tz database, an offset, or an abbreviation.
pub(super) fn zone_named(name: &str) -> Result<Zone> {
    let abbreviated = || crate::value::datetime::abbreviation(&name.to_ascii_lowercase()).map(Zone::fixed);
    Zone::parse(name).or_else(abbreviated).ok_or_else(|| no_zone(name))
}

/// The same as `AT TIME ZONE` and functions take it from a query: offsets there are those of POSIX, which count to the west.
pub(super) fn zone_asked(name: &str) -> Result<Zone> {
    match Zone::of_posix(name) {
        Some(zone) => Ok(zone),
        None if name.starts_with(['+', '-']) => Err(no_zone(name)),
        None => zone_named(name),
    }
}

fn no_zone(name: &str) -> Error {
    let message = format!("time zone \"{name}\" not recognized");
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// Stands for a day that no timestamp can hold, as infinity stands for itself.
const TOO_LATE: i64 = TIMESTAMP_INFINITY - 1;

/// A moment if PostgreSQL has it.
pub(super) fn in_range(micros: i64) -> Result<i64> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    if is_infinite(micros) || micros != TOO_LATE && (DAYS_MIN..=DAYS_MAX).contains(&days) {
        return Ok(micros);
    }
    let message = match micros {
        TOO_LATE => "date out of range for timestamp",
        _ => "timestamp out of range",
    };
    Err(Error::new(ErrorKind::DatetimeOverflow, message))
}

pub(super) fn interval_at(array: &ArrayRef, row: usize) -> Result<IntervalMonthDayNano> {
    let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>();
    Ok(intervals.ok_or_else(|| wrong_type(array))?.value(row))
}

pub(super) fn time_at(array: &ArrayRef, row: usize) -> Result<i64> {
    let times = array.as_primitive_opt::<Time64MicrosecondType>();
    Ok(times.ok_or_else(|| wrong_type(array))?.value(row))
}

/// Microseconds of an interval's time part.
pub(super) fn micros_of(interval: IntervalMonthDayNano) -> i64 {
    interval.nanoseconds / NANOS_PER_MICRO
}

/// An interval from its parts, if it can be kept.
pub(super) fn interval(months: i64, days: i64, micros: i64) -> Result<IntervalMonthDayNano> {
    let made = || {
        Some(IntervalMonthDayNano {
            months: i32::try_from(months).ok()?,
            days: i32::try_from(days).ok()?,
            nanoseconds: micros.checked_mul(NANOS_PER_MICRO)?,
        })
    };
    made().ok_or_else(crate::value::interval::out_of_range)
}

/// `unit "x" not recognized for type …`
pub(super) fn unknown_unit(unit: &str, ty: &DataType) -> Error {
    let name = crate::types::sql_type_of(ty);
    let message = format!("unit \"{}\" not recognized for type {name}", unit.to_ascii_lowercase());
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// `unit "x" not supported for type …`
pub(super) fn unsupported_unit(unit: &str, ty: &DataType) -> Error {
    let name = crate::types::sql_type_of(ty);
    Error::unsupported(format!(
        "unit \"{}\" not supported for type {name}",
        unit.to_ascii_lowercase()
    ))
}
