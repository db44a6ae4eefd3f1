//! Dates, times and intervals written by a pattern.

use std::fmt::Write;

use super::pattern::{Case, Field, Key, Part, Pattern};
use crate::error::{Error, ErrorKind, Result};
use crate::function::datetime::extract::iso_week;
use crate::value::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
pub(super) const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// 1970-01-01 as a Julian day.
pub(super) const JULIAN_EPOCH: i64 = 2_440_588;

/// The fields of a time, as `struct pg_tm` has them.
pub(super) struct Clock {
    /// Year 0 is 1 BC.
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Days from 1970-01-01; of an interval, nothing.
    days: Option<i64>,
    day_of_year: i64,
    /// Abbreviation and seconds east of a `timestamptz`.
    zone: Option<(String, i32)>,
}

impl Clock {
    pub(super) fn of_moment(local: i64, zone: Option<(String, i32)>) -> Self {
        let (days, time) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let mut clock = Self::of_time(time);
        clock.year = year;
        clock.month = i64::from(month);
        clock.day = i64::from(day);
        clock.days = Some(days);
        clock.day_of_year = days - days_from_civil(year, 1, 1) + 1;
        clock.zone = zone;
        clock
    }

    pub(super) fn of_interval(months: i32, days: i32, micros: i64) -> Self {
        let mut clock = Self::of_time(micros);
        clock.year = i64::from(months / 12);
        clock.month = i64::from(months % 12);
        clock.day = i64::from(days);
        clock.day_of_year = i64::from(months) * 30 + i64::from(days);
        clock
    }

    fn of_time(micros: i64) -> Self {
        let seconds = micros / MICROS_PER_SECOND;
        Self {
            year: 0,
            month: 0,
            day: 0,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % MICROS_PER_SECOND,
            days: None,
            day_of_year: 0,
            zone: None,
        }
    }

    /// The year as shown: years before Christ count up, an interval's may be negative.
    fn shown(&self, year: i64) -> i64 {
        if self.days.is_some() && year <= 0 {
            1 - year
        } else {
            year
        }
    }

    /// The day of the calendar; an interval's is that of its year, month and day, wherever in the calendar they lead.
    fn calendar_day(&self) -> i64 {
        self.days.unwrap_or_else(|| {
            let (year, month) = match self.month > 2 {
                true => (self.year + 4800, self.month + 1),
                false => (self.year + 4799, self.month + 13),
            };
            let leap_days = year / 4 - year / 100 + year / 400;
            year * 365 - 32_167 + leap_days + 7834 * month / 256 + self.day - JULIAN_EPOCH
        })
    }

    fn date(&self) -> Result<i64> {
        self.days.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidDatetimeFormat,
                "invalid format specification for an interval value",
            )
            .with_hint("Intervals are not tied to specific calendar dates.")
        })
    }
}

pub(super) fn write(pattern: &Pattern, clock: &Clock, out: &mut String) -> Result<()> {
    for part in &pattern.parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Separator(separator) => out.push(*separator),
            Part::Exact => {}
            Part::Field(field) => write_field(*field, clock, out)?,
        }
    }
    Ok(())
}

fn write_field(field: Field, clock: &Clock, out: &mut String) -> Result<()> {
    let from = out.len();
    let number = |out: &mut String, value: i64, width: usize| {
        let width = if field.fill { 0 } else { width + usize::from(value < 0) };
        // Writing to a String does not fail.
        let _ = write!(out, "{value:0width$}");
    };
    // These have no place for a sign.
    let unsigned = |out: &mut String, value: i64, width: usize| {
        let width = if field.fill { 0 } else { width };
        let _ = write!(out, "{value:0width$}");
    };
    match field.key {
        Key::Hour12 => number(out, if clock.hour % 12 == 0 { 12 } else { clock.hour % 12 }, 2),
        Key::Hour24 => number(out, clock.hour, 2),
        Key::Minute => number(out, clock.minute, 2),
        Key::Second => number(out, clock.second, 2),
        Key::Millisecond => out.push_str(&format!("{:03}", clock.micros / 1000)),
        Key::Microsecond => out.push_str(&format!("{:06}", clock.micros)),
        Key::Fraction(digits) => {
            let shown = clock.micros / 10_i64.pow(6 - u32::from(digits));
            out.push_str(&format!("{shown:0width$}", width = usize::from(digits)));
        }
        Key::SecondOfDay => out.push_str(&(clock.hour * 3600 + clock.minute * 60 + clock.second).to_string()),
        Key::Meridiem { dots } => {
            let afternoon = clock.hour.rem_euclid(24) >= 12;
            name(out, short_word(afternoon, "PM", "AM", dots), field.case);
            return Ok(());
        }
        Key::Era { dots } => {
            clock.date()?;
            name(out, short_word(clock.year <= 0, "BC", "AD", dots), field.case);
            return Ok(());
        }
        Key::YearComma => {
            let year = clock.shown(clock.year);
            out.push_str(&format!("{},{:03}", year / 1000, year % 1000));
        }
        Key::Year(digits) => number(out, last_digits(clock.shown(clock.year), digits), digits.into()),
        Key::IsoYear(digits) => {
            let (iso, _) = iso_week(clock.calendar_day());
            // PostgreSQL looks for an interval's in the years beside its own only, and has a place for a sign where that has one.
            let iso = iso.clamp(clock.year - 1, clock.year + 1);
            let width = usize::from(digits) + usize::from(clock.shown(clock.year) < 0);
            unsigned(out, last_digits(clock.shown(iso), digits), width);
        }
        Key::MonthName | Key::MonthShort => {
            clock.date()?;
            let full = named(&MONTHS, clock.month - 1);
            padded(out, full, field, field.key == Key::MonthShort);
            return Ok(());
        }
        Key::DayName | Key::DayShort => {
            let full = named(&DAYS, (clock.date()? + 4).rem_euclid(7));
            padded(out, full, field, field.key == Key::DayShort);
            return Ok(());
        }
        Key::Month => number(out, clock.month, 2),
        Key::MonthRoman => {
            // An interval's months count down from its years' ends where they are negative; without any nothing is shown.
            let roman = match (clock.month, clock.year) {
                (0, 0) => "",
                (0, year) => named(&ROMAN_MONTHS, if year > 0 { 11 } else { 0 }),
                (month, _) => named(&ROMAN_MONTHS, if month > 0 { month - 1 } else { month + 12 }),
            };
            name(out, roman.to_string(), field.case);
            if !field.fill {
                (out.len() - from..4).for_each(|_| out.push(' '));
            }
            return Ok(());
        }
        Key::DayOfYear => unsigned(out, clock.day_of_year, 3),
        Key::IsoDayOfYear => {
            let days = clock.calendar_day();
            let (_, week) = iso_week(days);
            unsigned(out, (week - 1) * 7 + (days + 3).rem_euclid(7) + 1, 3);
        }
        Key::Day => unsigned(out, clock.day, 2),
        Key::DayOfWeek => number(out, (clock.date()? + 4).rem_euclid(7) + 1, 1),
        Key::IsoDayOfWeek => number(out, (clock.date()? + 3).rem_euclid(7) + 1, 1),
        Key::WeekOfMonth => unsigned(out, (clock.day - 1) / 7 + 1, 1),
        Key::WeekOfYear => unsigned(out, (clock.day_of_year - 1) / 7 + 1, 2),
        Key::IsoWeek => unsigned(out, iso_week(clock.calendar_day()).1, 2),
        Key::Century => {
            let century = match clock.days {
                None => clock.year / 100,
                Some(_) if clock.year > 0 => (clock.year - 1) / 100 + 1,
                Some(_) => clock.year / 100 - 1,
            };
            number(out, century, if century.abs() < 100 { 2 } else { 0 });
        }
        Key::Julian => out.push_str(&(clock.calendar_day() + JULIAN_EPOCH).to_string()),
        Key::Quarter if clock.month == 0 => return Ok(()),
        Key::Quarter => out.push_str(&((clock.month - 1) / 3 + 1).to_string()),
        Key::Zone => {
            clock.date()?;
            if let Some((abbreviation, _)) = &clock.zone {
                name(out, abbreviation.clone(), field.case);
            }
            return Ok(());
        }
        Key::ZoneHour | Key::ZoneMinute | Key::Offset => {
            clock.date()?;
            let seconds = clock.zone.as_ref().map_or(0, |(_, offset)| *offset);
            offset(out, field.key, seconds);
            return Ok(());
        }
    }
    if let Some(case) = field.ordinal {
        let ending = ordinal_ending(&out[from..], case);
        out.push_str(ending);
    }
    Ok(())
}

/// The last digits of a year; of four all are shown.
fn last_digits(year: i64, digits: u8) -> i64 {
    match digits {
        4 => year,
        digits => year % 10_i64.pow(digits.into()),
    }
}

fn offset(out: &mut String, key: Key, seconds: i32) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match key {
        Key::ZoneHour => out.push_str(&format!("{sign}{hours:02}")),
        Key::ZoneMinute => out.push_str(&format!("{minutes:02}")),
        _ if minutes == 0 => out.push_str(&format!("{sign}{hours:02}")),
        _ => out.push_str(&format!("{sign}{hours:02}:{minutes:02}")),
    }
}

fn short_word(second: bool, yes: &str, no: &str, dots: bool) -> String {
    let word = if second { yes } else { no };
    if dots {
        word.chars().flat_map(|letter| [letter, '.']).collect()
    } else {
        word.to_string()
    }
}

fn named(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or("")
}

fn name(out: &mut String, text: String, case: Case) {
    match case {
        Case::Upper => out.push_str(&text.to_ascii_uppercase()),
        Case::Title => out.push_str(&text),
        Case::Lower => out.push_str(&text.to_ascii_lowercase()),
    }
}

/// Full names fill nine columns, short ones have three letters.
fn padded(out: &mut String, full: &str, field: Field, short: bool) {
    let from = out.len();
    let text = if short { full.get(..3).unwrap_or(full) } else { full };
    name(out, text.to_string(), field.case);
    if !short && !field.fill {
        (out.len() - from..9).for_each(|_| out.push(' '));
    }
}

/// `ST`, `ND`, `RD` or `TH` after a number.
pub(super) fn ordinal_ending(number: &str, case: Case) -> &'static str {
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    let upper = match digits.last() {
        Some(b'1') if !teen => "ST",
        Some(b'2') if !teen => "ND",
        Some(b'3') if !teen => "RD",
        _ => "TH",
    };
    match (case, upper) {
        (Case::Upper, upper) => upper,
        (_, "ST") => "st",
        (_, "ND") => "nd",
        (_, "RD") => "rd",
        _ => "th",
    }
}
