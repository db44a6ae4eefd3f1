//! Text read by a pattern, as `to_date` and `to_timestamp` do.

use super::pattern::{Field, Key, Part, Pattern};
use super::print::{DAYS, JULIAN_EPOCH, MONTHS, ROMAN_MONTHS};
use crate::error::{Error, ErrorKind, Result};
use crate::value::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, days_from_civil, days_in_month};

/// What a text says: a time of some clock, and the clock's offset if the text names it.
pub(super) struct Read {
    pub local: i64,
    /// Seconds east.
    pub offset: Option<i32>,
}

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    century: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    julian: Option<i64>,
    hour12: Option<i64>,
    hour24: Option<i64>,
    minute: i64,
    second: i64,
    second_of_day: Option<i64>,
    micros: i64,
    afternoon: Option<bool>,
    zone_sign: i32,
    zone_hours: Option<i32>,
    zone_minutes: i32,
}

pub(super) fn read(pattern: &Pattern, text: &str) -> Result<Read> {
    let mut fields = Fields::default();
    let mut input = Input { rest: text, text };
    for (at, part) in pattern.parts.iter().enumerate() {
        match part {
            Part::Text(literal) => input.skip(literal),
            Part::Field(field) => {
                // Digits of several fields in a row are told apart by their widths.
                let fixed = matches!(pattern.parts.get(at + 1), Some(Part::Field(next)) if next.key.digits().is_some());
                if input.rest.is_empty() {
                    break;
                }
                input.skip_blanks();
                read_field(&mut fields, &mut input, *field, fixed)?;
                if field.ordinal.is_some() {
                    input.rest = input.rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    fields.moment(text)
}

struct Input<'a> {
    rest: &'a str,
    text: &'a str,
}

impl<'a> Input<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
    }

    /// A separator matches any separator or none; another character stands for any one.
    fn skip(&mut self, literal: &str) {
        for character in literal.chars() {
            let Some(next) = self.rest.chars().next() else { return };
            if character == ' ' {
                let before = self.rest.len();
                self.skip_blanks();
                if before == self.rest.len() && is_separator(next) {
                    self.rest = &self.rest[next.len_utf8()..];
                }
                continue;
            }
            if !is_separator(character) || is_separator(next) {
                if is_separator(character) {
                    self.skip_blanks();
                }
                match self.rest.chars().next() {
                    Some(next) if !is_separator(character) || is_separator(next) => {
                        self.rest = &self.rest[next.len_utf8()..];
                    }
                    _ => {}
                }
            }
        }
    }

    /// A number; `fixed`: of the field's width, as digits of another field follow.
    fn number(&mut self, field: Field, fixed: bool) -> Result<i64> {
        let width = field.key.digits().unwrap_or(field.key.name().len());
        let shown: String = self.rest.chars().take(width).collect();
        let text = if fixed { shown.as_str() } else { self.rest };
        let signed = text.trim_start_matches([' ', '\t', '\n']);
        let unsigned = signed.strip_prefix(['-', '+']).unwrap_or(signed);
        let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let used = text.len() - unsigned.len() + digits;
        let wrong = || invalid(format!("invalid value \"{shown}\" for \"{}\"", field.name()));
        if digits == 0 {
            return Err(wrong().with_detail("Value must be an integer."));
        }
        if fixed && used < width {
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            let error = match text.len() < width {
                true => {
                    let message = format!("source string too short for \"{}\" formatting field", field.name());
                    let remain = text.len();
                    invalid(message)
                        .with_detail(format!("Field requires {width} characters, but only {remain} remain."))
                }
                false => wrong().with_detail(format!(
                    "Field requires {width} characters, but only {used} could be parsed."
                )),
            };
            return Err(error.with_hint(hint));
        }
        let Ok(value) = text[used - digits..used].parse::<i32>() else {
            let message = format!("value for \"{}\" in source string is out of range", field.name());
            return Err(Error::new(ErrorKind::DatetimeOverflow, message)
                .with_detail("Value must be in the range -2147483648 to 2147483647."));
        };
        self.rest = &self.rest[used..];
        let negative = signed.starts_with('-');
        Ok(i64::from(if negative { -value } else { value }))
    }

    /// The longest of the names the text begins with, whatever its case.
    fn name(&mut self, names: &[&str], field: Field) -> Result<usize> {
        let matches = |name: &&str| {
            self.rest
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        let found = names
            .iter()
            .enumerate()
            .filter(|(_, name)| matches(name))
            .max_by_key(|(_, name)| name.len());
        match found {
            Some((index, name)) => {
                self.rest = &self.rest[name.len()..];
                Ok(index)
            }
            None => {
                let shown: String = self.rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                let message = format!("invalid value \"{shown}\" for \"{}\"", field.name());
                Err(invalid(message)
                    .with_detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }
}

fn is_separator(character: char) -> bool {
    character.is_ascii() && !character.is_ascii_alphanumeric()
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidDatetimeFormat, message)
}

fn read_field(fields: &mut Fields, input: &mut Input<'_>, field: Field, fixed: bool) -> Result<()> {
    let key = field.key;
    let index = |index: usize| i64::try_from(index).unwrap_or(0);
    match key {
        Key::Hour12 => fields.hour12 = Some(input.number(field, fixed)?),
        Key::Hour24 => fields.hour24 = Some(input.number(field, fixed)?),
        Key::Minute => fields.minute = input.number(field, fixed)?,
        Key::Second => fields.second = input.number(field, fixed)?,
        Key::Millisecond | Key::Microsecond | Key::Fraction(_) => {
            let before = input.rest.len();
            let value = input.number(field, fixed)?;
            // `.5` is half a second, however many digits there could be.
            let (unit, width) = if key == Key::Millisecond { (1000, 3) } else { (1, 6) };
            let digits = u32::try_from(before - input.rest.len()).unwrap_or(width).min(width);
            fields.micros = value * unit * 10_i64.pow(width - digits);
        }
        Key::SecondOfDay => fields.second_of_day = Some(input.number(field, fixed)?),
        Key::Meridiem { dots } => {
            let names = if dots { ["a.m.", "p.m."] } else { ["am", "pm"] };
            fields.afternoon = Some(input.name(&names, field)? == 1);
        }
        Key::Era { dots } => {
            let names = if dots { ["a.d.", "b.c."] } else { ["ad", "bc"] };
            fields.before_christ = input.name(&names, field)? == 1;
        }
        Key::YearComma => {
            let thousands = input.number(field, false)?;
            input.skip(",");
            fields.year = Some(
                thousands * 1000
                    + input.number(
                        Field {
                            key: Key::Year(3),
                            ..field
                        },
                        fixed,
                    )?,
            );
        }
        Key::Year(digits) => {
            let before = input.rest.len();
            let year = input.number(field, fixed)?;
            let short = digits < 4 && before - input.rest.len() < 4;
            fields.year = Some(if short { full_year(year) } else { year });
        }
        Key::IsoYear(digits) => {
            let before = input.rest.len();
            let year = input.number(field, fixed)?;
            let short = digits < 4 && before - input.rest.len() < 4;
            fields.iso_year = Some(if short { full_year(year) } else { year });
        }
        Key::MonthName | Key::MonthShort => {
            let short = MONTHS.map(|name| &name[..3]);
            let names: Vec<&str> = MONTHS.iter().copied().chain(short).collect();
            fields.month = Some(index(input.name(&names, field)? % 12) + 1);
        }
        Key::MonthRoman => fields.month = Some(index(input.name(&ROMAN_MONTHS, field)?) + 1),
        Key::Month => fields.month = Some(input.number(field, fixed)?),
        Key::DayName | Key::DayShort => {
            let short = DAYS.map(|name| &name[..3]);
            let names: Vec<&str> = DAYS.iter().copied().chain(short).collect();
            input.name(&names, field)?;
        }
        Key::DayOfYear => fields.day_of_year = Some(input.number(field, fixed)?),
        Key::IsoDayOfYear => fields.day_of_year = Some(input.number(field, fixed)?),
        Key::Day => fields.day = Some(input.number(field, fixed)?),
        Key::IsoDayOfWeek => fields.iso_day = Some(input.number(field, fixed)?),
        Key::DayOfWeek | Key::Quarter | Key::WeekOfMonth => {
            // Read and not used, as in PostgreSQL (a week of a month counts only without a day).
            let value = input.number(field, fixed)?;
            if key == Key::WeekOfMonth && fields.day.is_none() {
                fields.day = Some((value - 1) * 7 + 1);
            }
        }
        Key::WeekOfYear => fields.week = Some(input.number(field, fixed)?),
        Key::IsoWeek => fields.iso_week = Some(input.number(field, fixed)?),
        Key::Century => fields.century = Some(input.number(field, fixed)?),
        Key::Julian => fields.julian = Some(input.number(field, fixed)?),
        Key::ZoneHour | Key::Offset => {
            fields.zone_sign = match input.rest.as_bytes().first() {
                Some(b'-') => -1,
                _ => 1,
            };
            input.rest = input.rest.trim_start_matches(['+', '-']);
            fields.zone_hours = Some(
                i32::try_from(input.number(
                    Field {
                        key: Key::ZoneHour,
                        ..field
                    },
                    fixed,
                )?)
                .unwrap_or(0),
            );
            if key == Key::Offset
                && let Some(minutes) = input.rest.strip_prefix(':')
            {
                input.rest = minutes;
                fields.zone_minutes = i32::try_from(input.number(
                    Field {
                        key: Key::ZoneMinute,
                        ..field
                    },
                    fixed,
                )?)
                .unwrap_or(0);
            }
        }
        Key::ZoneMinute => fields.zone_minutes = i32::try_from(input.number(field, fixed)?).unwrap_or(0),
        Key::Zone => {
            let _ = input.text;
            return Err(Error::unsupported(
                "formatting field \"TZ\" is only supported in to_char",
            ));
        }
    }
    Ok(())
}

/// Years of fewer than four digits lie around 2020.
fn full_year(year: i64) -> i64 {
    match year {
        ..70 | 100..520 => year + 2000,
        70..100 => year + 1900,
        520..1000 => year + 1000,
        _ => year,
    }
}

impl Fields {
    fn moment(self, text: &str) -> Result<Read> {
        let out_of_range = || {
            Error::new(
                ErrorKind::DatetimeOverflow,
                format!("date/time field value out of range: \"{text}\""),
            )
        };
        let days = self
            .days()
            .filter(|days| days.abs() < 1 << 31)
            .ok_or_else(out_of_range)?;
        let hour = match (self.hour24, self.hour12) {
            (Some(hour), _) => Some(hour).filter(|hour| (0..24).contains(hour) || self.midnight(*hour)),
            (None, Some(hour)) if (1..=12).contains(&hour) => {
                Some(hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 })
                    .map(|twelve| if self.afternoon.is_none() { hour } else { twelve })
            }
            (None, Some(hour)) => {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(invalid(message).with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            (None, None) => Some(0),
        };
        let clock = match self.second_of_day {
            Some(seconds) => Some(seconds).filter(|seconds| (0..86_400).contains(seconds)),
            None => hour
                .filter(|_| (0..60).contains(&self.minute) && (0..60).contains(&self.second))
                .map(|hour| hour * 3600 + self.minute * 60 + self.second),
        };
        let seconds = clock
            .filter(|_| (0..MICROS_PER_SECOND).contains(&self.micros))
            .ok_or_else(out_of_range)?;
        let offset = self
            .zone_hours
            .map(|hours| self.zone_sign * (hours * 3600 + self.zone_minutes * 60));
        Ok(Read {
            local: days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + self.micros,
            offset,
        })
    }

    fn midnight(&self, hour: i64) -> bool {
        hour == 24 && self.minute == 0 && self.second == 0 && self.micros == 0
    }

    /// Days from 1970-01-01 of the date the fields give; `None` when there is no such date.
    fn days(&self) -> Option<i64> {
        if let Some(julian) = self.julian {
            return Some(julian - JULIAN_EPOCH);
        }
        if let Some(iso_year) = self.iso_year {
            let fourth = days_from_civil(iso_year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            let day = match (self.iso_week, self.day_of_year) {
                (Some(week), _) => (week - 1) * 7 + self.iso_day.unwrap_or(1) - 1,
                (None, Some(day)) => day - 1,
                (None, None) => 0,
            };
            return Some(monday + day);
        }
        let century_start = |century: i64| (century - 1) * 100;
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if year < 100 => century_start(century) + year,
            (Some(year), _) => year,
            (None, Some(century)) => century_start(century) + 1,
            // Without a year PostgreSQL takes 1 BC.
            (None, None) => 0,
        };
        let year = if self.before_christ && year > 0 { 1 - year } else { year };
        if let (Some(day), None) = (
            self.day_of_year.or(self.week.map(|week| (week - 1) * 7 + 1)),
            self.month,
        ) {
            let length = if days_in_month(year, 2) == 29 { 366 } else { 365 };
            return (1..=length)
                .contains(&day)
                .then(|| days_from_civil(year, 1, 1) + day - 1);
        }
        let month = u32::try_from(self.month.unwrap_or(1))
            .ok()
            .filter(|month| (1..=12).contains(month))?;
        let day = u32::try_from(self.day.unwrap_or(1)).ok()?;
        (1..=days_in_month(year, month))
            .contains(&day)
            .then(|| days_from_civil(year, month, day))
    }
}
