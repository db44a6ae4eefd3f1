//! `interval`: months, days and microseconds kept apart. Arrow keeps nanoseconds, so the time part ends at 292 years.

use arrow::datatypes::IntervalMonthDayNano;
use bytes::{BufMut, BytesMut};
use staffa_catalog::IntervalFields;

use super::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, write_clock};
use super::number::{trim, write_integer};
use super::short_binary;
use crate::error::{Error, ErrorKind, Result};

const NANOS_PER_MICRO: i64 = 1000;

/// Writes an interval, style `postgres`: `1 year 2 mons -3 days +04:05:06.789`.
pub(super) fn write(interval: IntervalMonthDayNano, out: &mut BytesMut) {
    let micros = interval.nanoseconds / NANOS_PER_MICRO;
    let mut empty = true;
    // After a negative part a positive one shows its sign.
    let mut negative_before = false;
    let parts = [
        (interval.months / 12, "year"),
        (interval.months % 12, "mon"),
        (interval.days, "day"),
    ];
    for (value, unit) in parts {
        if value == 0 {
            continue;
        }
        if !empty {
            out.put_u8(b' ');
        }
        if negative_before && value > 0 {
            out.put_u8(b'+');
        }
        write_integer(i64::from(value), out);
        out.put_u8(b' ');
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        negative_before = value < 0;
        empty = false;
    }
    if micros == 0 && !empty {
        return;
    }
    if !empty {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if negative_before {
        out.put_u8(b'+');
    }
    write_clock(micros.unsigned_abs(), out);
}

/// Writes `interval_send`: microseconds, days, months.
pub(super) fn write_binary(interval: IntervalMonthDayNano, out: &mut BytesMut) {
    out.put_i64(interval.nanoseconds / NANOS_PER_MICRO);
    out.put_i32(interval.days);
    out.put_i32(interval.months);
}

pub(super) fn parse_binary(bytes: &[u8]) -> Result<IntervalMonthDayNano> {
    let Ok(bytes) = <&[u8; 16]>::try_from(bytes) else {
        return Err(short_binary());
    };
    let all = i128::from_be_bytes(*bytes);
    let (micros, days, months) = ((all >> 64) as i64, (all >> 32) as i32, all as i32);
    let nanoseconds = micros.checked_mul(NANOS_PER_MICRO).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    })
}

/// What subtracting two timestamps yields: whole days, and the rest as time.
pub(crate) fn from_micros(micros: i64) -> IntervalMonthDayNano {
    // Days of an i64 of microseconds fit into 32 bits.
    IntervalMonthDayNano {
        months: 0,
        days: i32::try_from(micros / MICROS_PER_DAY).unwrap_or(i32::MAX),
        nanoseconds: micros % MICROS_PER_DAY * NANOS_PER_MICRO,
    }
}

pub(crate) fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOverflow, "interval out of range")
}

/// Reads an interval: PostgreSQL's words, SQL's `1-2 3 04:05:06`, ISO 8601's `P1Y2M3DT4H`.
pub(crate) fn parse(text: &[u8]) -> Result<IntervalMonthDayNano> {
    parse_as(text, None)
}

/// Reads an interval declared with fields: a number without a unit counts the last of them.
pub(crate) fn parse_as(text: &[u8], fields: Option<IntervalFields>) -> Result<IntervalMonthDayNano> {
    let trimmed = trim(text);
    let read = match trimmed.first() {
        Some(b'P' | b'p') => iso(&trimmed[1..]),
        Some(_) if trimmed.len() <= 256 => words(trimmed, fields),
        _ => Err(Fault::Syntax),
    };
    read.and_then(|total| total.interval().ok_or(Fault::Total))
        .map_err(|fault| {
            let text = String::from_utf8_lossy(text);
            match fault {
                Fault::Syntax => Error::new(
                    ErrorKind::InvalidDatetimeFormat,
                    format!("invalid input syntax for type interval: \"{text}\""),
                ),
                Fault::Field => Error::new(
                    ErrorKind::IntervalFieldOverflow,
                    format!("interval field value out of range: \"{text}\""),
                ),
                Fault::Total => Error::new(ErrorKind::DatetimeOverflow, "interval out of range"),
            }
        })
}

/// What can be wrong with a text.
enum Fault {
    Syntax,
    /// A field is too large.
    Field,
    /// All of it is.
    Total,
}

/// The sum of the parts read so far.
#[derive(Default)]
struct Total {
    months: i128,
    days: i128,
    micros: i128,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// This many microseconds.
    Micros(i64),
    Days(i64),
    Months(i64),
}

/// More digits are no number of anything.
const DIGITS_MAX: usize = 18;
const SECOND: Unit = Unit::Micros(MICROS_PER_SECOND);
const MINUTE: Unit = Unit::Micros(60 * MICROS_PER_SECOND);
const HOUR: Unit = Unit::Micros(3600 * MICROS_PER_SECOND);

const ZERO: Number = Number {
    whole: 0,
    fraction: 0.0,
};

/// A decimal number: digits before the point, and what stands behind it.
#[derive(Clone, Copy)]
struct Number {
    whole: i128,
    /// Below 1, of the same sign.
    fraction: f64,
}

impl Total {
    /// Adds what a text says, each field of which fits its own type.
    fn add_field(&mut self, number: Number, unit: Unit) -> Result<(), Fault> {
        let counted = match unit {
            Unit::Months(months) => number.whole * i128::from((months / 12).max(1)),
            _ => 0,
        };
        self.add(number, unit);
        let fits =
            i32::try_from(counted).is_ok() && i32::try_from(self.days).is_ok() && i64::try_from(self.micros).is_ok();
        if fits { Ok(()) } else { Err(Fault::Field) }
    }

    fn add(&mut self, number: Number, unit: Unit) {
        match unit {
            Unit::Micros(micros) => self.add_micros(number, micros),
            Unit::Days(days) => {
                self.days += number.whole * i128::from(days);
                self.add_fraction_of_days(number.fraction * days as f64);
            }
            Unit::Months(1) => {
                self.months += number.whole;
                self.add_fraction_of_days(number.fraction * 30.0);
            }
            Unit::Months(months) => {
                // Fractions of a year are whole months, rounded.
                self.months += number.whole * i128::from(months);
                self.months += (number.fraction * months as f64).round_ties_even() as i128;
            }
        }
    }

    fn add_micros(&mut self, number: Number, micros: i64) {
        self.micros += number.whole * i128::from(micros);
        self.micros += (number.fraction * micros as f64).round_ties_even() as i128;
    }

    fn add_fraction_of_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.micros += (days.fract() * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }

    fn negate(&mut self) {
        *self = Total {
            months: -self.months,
            days: -self.days,
            micros: -self.micros,
        };
    }

    fn interval(&self) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            nanoseconds: i64::try_from(self.micros.checked_mul(i128::from(NANOS_PER_MICRO))?).ok()?,
        })
    }
}

/// `1 year 2 mons 3 days 04:05:06`, `@ 1 minute ago`, `1-2`, `3 04:05:06`, `1.5 h`
fn words(text: &[u8], fields: Option<IntervalFields>) -> Result<Total, Fault> {
    let mut total = Total::default();
    let mut rest = text;
    // A number whose unit has not come yet, and one before it, which counts days if that unit is the hour.
    let mut pending: Option<Number> = None;
    let mut days: Option<Number> = None;
    let mut any = false;
    // A unit may come once only.
    let mut seen = 0_u32;
    while let Some(&first) = rest.first() {
        match first {
            b' ' | b'\t' | b'\n' | b'\r' => rest = &rest[1..],
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                let (negative, number) = sign(rest);
                let number = trim(number);
                let end = number
                    .iter()
                    .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b':' | b'-'))
                    .unwrap_or(number.len());
                let digits = &number[..end];
                rest = &number[end..];
                if digits.contains(&b':') {
                    once(CLOCK_BITS, &mut seen)?;
                    if days.is_some() {
                        return Err(Fault::Syntax);
                    }
                    if let Some(days) = pending.take() {
                        once(DAY_BIT, &mut seen)?;
                        total.add(days, Unit::Days(1));
                    }
                    let micros = clock(digits, fields)?;
                    total.micros += if negative { -micros } else { micros };
                } else if pending.is_some() && (days.is_some() || digits.contains(&b'-')) {
                    return Err(Fault::Syntax);
                } else if let Some(at) = digits.iter().position(|&byte| byte == b'-') {
                    let (years, months) = (digits_only(&digits[..at])?, digits_only(&digits[at + 1..])?);
                    once(0b11 << YEAR_MONTH_BIT, &mut seen)?;
                    if months.whole > 11 || months.fraction != 0.0 || years.fraction != 0.0 {
                        return Err(Fault::Syntax);
                    }
                    let value = years.whole * 12 + months.whole;
                    total.months += if negative { -value } else { value };
                } else {
                    days = pending.replace(signed(digits_only(digits)?, negative));
                }
                any = true;
            }
            byte if byte.is_ascii_alphabetic() => {
                let end = rest
                    .iter()
                    .position(|byte| !byte.is_ascii_alphabetic())
                    .unwrap_or(rest.len());
                let word = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
                rest = &rest[end..];
                let runs_on = match rest.first() {
                    Some(b'0'..=b'9' | b'+') => !WORDS_OF_DATES.contains(&word.as_str()),
                    Some(b'-') => true,
                    _ => false,
                };
                if runs_on {
                    return Err(Fault::Syntax);
                }
                if word == "ago" {
                    if pending.is_some() || !any || !trim(rest).is_empty() {
                        return Err(Fault::Syntax);
                    }
                    total.negate();
                    return Ok(total);
                }
                let (bit, unit) = unit(&word).ok_or(Fault::Syntax)?;
                once(1 << bit, &mut seen)?;
                total.add_field(pending.take().ok_or(Fault::Syntax)?, unit)?;
                days_before_hours(&mut total, days.take(), bit, &mut seen)?;
            }
            // Other marks stand between parts, as blanks do.
            byte if byte.is_ascii_punctuation() => rest = &rest[1..],
            _ => return Err(Fault::Syntax),
        }
    }
    if let Some(number) = pending {
        let (bit, unit) = bare_unit(fields);
        once(1 << bit, &mut seen)?;
        total.add_field(number, unit)?;
        days_before_hours(&mut total, days, bit, &mut seen)?;
    }
    if any { Ok(total) } else { Err(Fault::Syntax) }
}

/// What a number or a sign may follow at once, as in `1h30m`: units that dates have, too. Other words and what follows them are
/// taken for one, which is none.
const WORDS_OF_DATES: &[&str] = &["d", "dec", "h", "m", "mon", "s", "y"];

/// `1 2 hours`: a number before that of hours counts days.
fn days_before_hours(total: &mut Total, days: Option<Number>, bit: u32, seen: &mut u32) -> Result<(), Fault> {
    let Some(days) = days else { return Ok(()) };
    if bit != HOUR_BIT {
        return Err(Fault::Syntax);
    }
    once(DAY_BIT, seen)?;
    total.add(days, Unit::Days(1));
    Ok(())
}

/// Marks units as seen, which they must not have been.
fn once(bits: u32, seen: &mut u32) -> Result<(), Fault> {
    if *seen & bits != 0 {
        return Err(Fault::Syntax);
    }
    *seen |= bits;
    Ok(())
}

const DAY_BIT: u32 = 1 << 5;
/// The hour's, as [`unit`] has it.
const HOUR_BIT: u32 = 4;
/// Seconds, minutes and hours.
const CLOCK_BITS: u32 = 0b111 << 2;
/// Months, with years behind them.
const YEAR_MONTH_BIT: u32 = 7;

/// What a number without a unit counts, with its bit.
fn bare_unit(fields: Option<IntervalFields>) -> (u32, Unit) {
    use IntervalFields as F;
    match fields {
        Some(F::Year) => (8, Unit::Months(12)),
        Some(F::Month | F::YearToMonth) => (7, Unit::Months(1)),
        Some(F::Day) => (5, Unit::Days(1)),
        Some(F::Hour | F::DayToHour) => (4, HOUR),
        Some(F::Minute | F::DayToMinute | F::HourToMinute) => (3, MINUTE),
        _ => (2, SECOND),
    }
}

/// A unit with its bit.
fn unit(word: &str) -> Option<(u32, Unit)> {
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            (0, Unit::Micros(1))
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            (1, Unit::Micros(1000))
        }
        "s" | "sec" | "secs" | "second" | "seconds" => (2, SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => (3, MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => (4, HOUR),
        "d" | "day" | "days" => (5, Unit::Days(1)),
        "w" | "week" | "weeks" => (6, Unit::Days(7)),
        "mon" | "mons" | "month" | "months" => (7, Unit::Months(1)),
        "y" | "yr" | "yrs" | "year" | "years" => (8, Unit::Months(12)),
        "dec" | "decs" | "decade" | "decades" => (9, Unit::Months(120)),
        "c" | "cent" | "century" | "centuries" => (10, Unit::Months(1200)),
        "mil" | "mils" | "millennium" | "millennia" => (11, Unit::Months(12_000)),
        _ => return None,
    })
}

/// `h:m`, `h:m:s.f`, or `m:s.f` when the second part has a fraction or the fields are these. Hours may be many.
fn clock(text: &[u8], fields: Option<IntervalFields>) -> Result<i128, Fault> {
    let begins_with_minutes = fields == Some(IntervalFields::MinuteToSecond);
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] if begins_with_minutes || seconds.contains(&b'.') => {
            (ZERO, digits_only(minutes)?, digits_only(seconds)?)
        }
        [hours, minutes] => (digits_only(hours)?, digits_only(minutes)?, ZERO),
        [hours, minutes, seconds] => (digits_only(hours)?, digits_only(minutes)?, digits_only(seconds)?),
        _ => return Err(Fault::Syntax),
    };
    if hours.fraction != 0.0 || minutes.fraction != 0.0 {
        return Err(Fault::Syntax);
    }
    if minutes.whole > 59 || seconds.whole > 60 {
        return Err(Fault::Field);
    }
    let mut total = Total::default();
    total.add(hours, HOUR);
    total.add(minutes, MINUTE);
    total.add(seconds, SECOND);
    Ok(total.micros)
}

/// What follows the `P`: `1Y2M3DT4H5M6.7S`, `2W`, or `0001-02-03T04:05:06`.
fn iso(text: &[u8]) -> Result<Total, Fault> {
    let mut total = Total::default();
    let split = text.iter().position(|byte| matches!(byte, b'T' | b't'));
    let (date, time) = match split {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if date.is_empty() && time.is_none_or(<[u8]>::is_empty) {
        return Err(Fault::Syntax);
    }
    if date.iter().skip(1).any(|&byte| byte == b'-') && !date.iter().any(u8::is_ascii_alphabetic) {
        let (negative, date) = sign(date);
        for (part, unit) in date
            .split(|&byte| byte == b'-')
            .zip([Unit::Months(12), Unit::Months(1), Unit::Days(1)])
        {
            total.add(signed(digits_only(part)?, negative), unit);
        }
    } else {
        iso_fields(date, &mut total, |letter| match letter {
            b'Y' => Some(Unit::Months(12)),
            b'M' => Some(Unit::Months(1)),
            b'W' => Some(Unit::Days(7)),
            b'D' => Some(Unit::Days(1)),
            _ => None,
        })?;
    }
    match time {
        Some(time) if time.contains(&b':') => {
            let (negative, time) = sign(time);
            let micros = clock(time, None)?;
            total.micros += if negative { -micros } else { micros };
        }
        Some(time) => iso_fields(time, &mut total, |letter| match letter {
            b'H' => Some(HOUR),
            b'M' => Some(MINUTE),
            b'S' => Some(SECOND),
            _ => None,
        })?,
        None => {}
    }
    Ok(total)
}

fn iso_fields(mut text: &[u8], total: &mut Total, unit: impl Fn(u8) -> Option<Unit>) -> Result<(), Fault> {
    while !text.is_empty() {
        let end = text.iter().position(u8::is_ascii_alphabetic).ok_or(Fault::Syntax)?;
        let (negative, digits) = sign(&text[..end]);
        total.add(
            signed(digits_only(digits)?, negative),
            unit(text[end].to_ascii_uppercase()).ok_or(Fault::Syntax)?,
        );
        text = &text[end + 1..];
    }
    Ok(())
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn signed(number: Number, negative: bool) -> Number {
    match negative {
        true => Number {
            whole: -number.whole,
            fraction: -number.fraction,
        },
        false => number,
    }
}

fn digits_only(text: &[u8]) -> Result<Number, Fault> {
    let is_long = text.len() > DIGITS_MAX && text.iter().all(u8::is_ascii_digit);
    number(text).ok_or(if is_long { Fault::Field } else { Fault::Syntax })
}

/// Digits with at most one point; no sign.
fn number(text: &[u8]) -> Option<Number> {
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or_default());
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) || whole.len() > DIGITS_MAX {
        return None;
    }
    let whole = whole
        .iter()
        .fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let fraction = match fraction {
        [] => 0.0,
        digits => format!("0.{}", String::from_utf8_lossy(digits)).parse().ok()?,
    };
    Some(Number { whole, fraction })
}
