//! Dates, times and timestamps: microseconds and days from 1970-01-01, proleptic Gregorian calendar.
//!
//! `infinity` and `-infinity` are the largest and the smallest value of the integer that holds the type.

mod fields;
mod parse;
mod print;
mod zone;

pub(super) use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub(super) use print::{write_clock, write_date, write_time, write_timestamp, write_timestamptz};
pub use zone::Zone;
pub(crate) use zone::abbreviation;

use crate::error::{Error, ErrorKind, Result};

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

pub(crate) const DATE_INFINITY: i32 = i32::MAX;
pub(crate) const DATE_NEG_INFINITY: i32 = i32::MIN;
pub(crate) const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub(crate) const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;

/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;
const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// The first day PostgreSQL has: Julian day 0, 4714-11-24 BC.
pub(crate) const DAYS_MIN: i64 = -2_440_588;
/// The last day PostgreSQL has: 5874897-12-31.
pub(crate) const DAYS_MAX: i64 = 2_145_042_905;

/// The value `date_send` writes.
pub(super) fn date_to_wire(days: i32) -> i32 {
    match days {
        DATE_INFINITY | DATE_NEG_INFINITY => days,
        days => days.saturating_sub(POSTGRES_EPOCH_DAYS),
    }
}

pub(super) fn date_from_wire(days: i32) -> Result<i32> {
    match days {
        DATE_INFINITY | DATE_NEG_INFINITY => Ok(days),
        days => days
            .checked_add(POSTGRES_EPOCH_DAYS)
            .filter(|days| (DAYS_MIN..=DAYS_MAX).contains(&i64::from(*days)))
            .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "date out of range")),
    }
}

/// The value `timestamp_send` and `timestamptz_send` write.
pub(super) fn timestamp_to_wire(micros: i64) -> i64 {
    match micros {
        TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY => micros,
        micros => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
    }
}

pub(super) fn timestamp_from_wire(micros: i64) -> Result<i64> {
    match micros {
        TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY => Ok(micros),
        micros => micros
            .checked_add(POSTGRES_EPOCH_MICROS)
            .filter(|micros| *micros != TIMESTAMP_INFINITY && *micros >= DAYS_MIN * MICROS_PER_DAY)
            .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "timestamp out of range")),
    }
}

pub(super) fn time_from_wire(micros: i64) -> Result<i64> {
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return Err(Error::new(ErrorKind::DatetimeOverflow, "time out of range"));
    }
    Ok(micros)
}

/// Days from 1970-01-01 of a date; year 0 is 1 BC. (Howard Hinnant, "chrono-compatible low-level date algorithms".)
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month = i64::from(month);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year (0 is 1 BC), month and day of a number of days from 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
