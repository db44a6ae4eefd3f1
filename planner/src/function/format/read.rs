//! Text read by a pattern, as `to_date` and `to_timestamp` do.
//!
//! The steps are those of `DCH_from_char` and `do_to_timestamp`: what a text says that does not fit its pattern follows from
//! their order. As there, a field that is 0 is one that was not given.

use super::pattern::{Field, Key, Part, Pattern, is_blank, is_separator};
use super::print::{DAYS, JULIAN_EPOCH, MONTHS, ROMAN_MONTHS};
use crate::error::{Error, ErrorKind, Result};
use crate::value::datetime::{MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};

/// What a text says: a time of some clock, and the clock's offset if the text names it.
pub(super) struct Read {
    /// From 1970-01-01.
    pub days: i64,
    /// Microseconds of the day.
    pub time: i64,
    /// Seconds east.
    pub offset: Option<i64>,
    /// How many digits of its seconds count, if the pattern says it.
    pub digits: Option<u8>,
}

pub(super) fn read(pattern: &Pattern, text: &str) -> Result<Read> {
    let mut fields = Fields::default();
    let mut input = Input {
        rest: text,
        ..Input::default()
    };
    for (at, part) in pattern.parts.iter().enumerate() {
        if input.rest.is_empty() {
            break;
        }
        match part {
            Part::Exact => input.exact = true,
            Part::Separator(_) => {
                if at == 0 {
                    input.skip_blanks();
                }
                input.separator();
            }
            Part::Text(literal) => {
                if at == 0 {
                    input.skip_blanks();
                }
                literal.chars().for_each(|_| input.character());
            }
            Part::Field(field) => {
                input.skip_blanks();
                let open = field.fill || field.ordinal.is_some() || is_end_of_number(pattern.parts.get(at + 1));
                fields.read(&mut input, *field, open)?;
                if !input.exact {
                    input.skipped = 0;
                }
                input.skip_blanks();
            }
        }
    }
    fields.moment(text)
}

/// Whether a number before this part ends where its digits end.
fn is_end_of_number(part: Option<&Part>) -> bool {
    match part {
        Some(Part::Field(next)) => !next.key.is_digits(),
        Some(Part::Text(literal)) => !literal.starts_with(|first: char| first.is_ascii_digit()),
        Some(Part::Separator(_) | Part::Exact) | None => true,
    }
}

#[derive(Default)]
struct Input<'a> {
    rest: &'a str,
    /// After `FX`: blanks count.
    exact: bool,
    /// How many more characters were skipped than the pattern has.
    skipped: i64,
    /// The character before `rest` is a minus.
    after_minus: bool,
}

impl Input<'_> {
    fn step(&mut self) {
        let mut characters = self.rest.chars();
        self.after_minus = characters.next() == Some('-');
        self.rest = characters.as_str();
    }

    fn skip_blanks(&mut self) {
        while !self.exact && self.rest.starts_with(is_blank) {
            self.step();
            self.skipped += 1;
        }
    }

    /// A separator matches any separator, or none.
    fn separator(&mut self) {
        if self.exact {
            return self.step();
        }
        self.skipped -= 1;
        if self.rest.starts_with(|next| is_blank(next) || is_separator(next)) {
            self.step();
            self.skipped += 1;
        }
    }

    /// Another character stands for any one, which may be skipped already.
    fn character(&mut self) {
        if self.skipped > 0 && !self.exact {
            self.skipped -= 1;
        } else {
            self.step();
        }
    }

    /// A number and how many characters it takes; `open`: it may have more digits than its field's width.
    fn number(&mut self, field: Field, open: bool) -> Result<(i64, usize)> {
        let width = field.width();
        let begin = self.rest;
        let text = begin.trim_start_matches(is_blank);
        let shown = &text[..text.floor_char_boundary(width)];
        let wrong = || invalid(format!("invalid value \"{shown}\" for \"{}\"", field.name()));
        let (value, rest) = if open {
            let (value, used) = leading_number(begin);
            (value, &begin[used..])
        } else {
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            if text.len() < width {
                let message = format!("source string too short for \"{}\" formatting field", field.name());
                let detail = format!("Field requires {width} characters, but only {} remain.", text.len());
                return Err(invalid(message).with_detail(detail).with_hint(hint));
            }
            let (value, used) = leading_number(shown);
            if used > 0 && used < width {
                let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
                return Err(wrong().with_detail(detail).with_hint(hint));
            }
            (value, &text[used..])
        };
        let used = begin.len() - rest.len();
        if used == 0 {
            return Err(wrong().with_detail("Value must be an integer."));
        }
        let Some(value) = value else {
            let message = format!("value for \"{}\" in source string is out of range", field.name());
            return Err(Error::new(ErrorKind::DatetimeOverflow, message)
                .with_detail("Value must be in the range -2147483648 to 2147483647."));
        };
        self.rest = rest;
        Ok((i64::from(value), used))
    }

    /// Which of the names the text begins with, whatever its case.
    fn name(&mut self, names: &[&str], field: Field) -> Result<i64> {
        let starts_with = |name: &&str| {
            let start = self.rest.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        match names.iter().position(starts_with) {
            Some(index) => {
                self.rest = &self.rest[names[index].len()..];
                Ok(index as i64)
            }
            None => {
                let shown = self.rest.split([' ', '\t', '\n', '\r', '\x0c']).next().unwrap_or("");
                let message = format!("invalid value \"{shown}\" for \"{}\"", field.name());
                Err(invalid(message)
                    .with_detail("The given value did not match any of the allowed values for this field."))
            }
        }
    }

    /// The characters of an ordinal's ending.
    fn skip_ending(&mut self, field: Field) {
        if field.ordinal.is_some() {
            self.step();
            self.step();
        }
    }
}

/// `strtol`: the number and how long it is with blanks before it; `None` for one that no `integer` holds.
fn leading_number(text: &str) -> (Option<i32>, usize) {
    let signed = text.trim_start_matches(is_blank);
    let unsigned = signed.strip_prefix(['-', '+']).unwrap_or(signed);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (Some(0), 0);
    }
    let end = text.len() - unsigned.len() + digits;
    (text[text.len() - signed.len()..end].parse().ok(), end)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidDatetimeFormat, message.into())
}

/// By which calendar fields count; one pattern has one.
#[derive(Clone, Copy, PartialEq)]
enum Convention {
    Gregorian,
    IsoWeek,
}

impl Convention {
    fn of(key: Key) -> Option<Self> {
        match key {
            Key::IsoYear(_) | Key::IsoWeek | Key::IsoDayOfWeek | Key::IsoDayOfYear => Some(Self::IsoWeek),
            Key::YearComma | Key::Year(_) | Key::MonthName | Key::MonthShort | Key::Month | Key::MonthRoman => {
                Some(Self::Gregorian)
            }
            Key::DayOfYear | Key::Day | Key::DayOfWeek | Key::WeekOfMonth | Key::WeekOfYear => Some(Self::Gregorian),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Fields {
    convention: Option<Convention>,
    year: i64,
    /// How many digits the pattern has for it.
    year_digits: u8,
    century: i64,
    /// 1 for BC.
    era: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    /// From 1, which is Sunday.
    day_of_week: i64,
    week: i64,
    week_of_month: i64,
    julian: i64,
    hour: i64,
    by_twelve: bool,
    /// 1 for PM.
    half: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    millisecond: i64,
    microsecond: i64,
    digits: Option<u8>,
    zone_sign: i64,
    zone_hours: i64,
    zone_minutes: i64,
}

/// Keeps what a field says, if no other said something else.
fn set(place: &mut i64, value: i64, field: Field) -> Result<()> {
    if *place != 0 && *place != value {
        let message = format!("conflicting values for \"{}\" field in formatting string", field.name());
        let detail = "This value contradicts a previous setting for the same field type.";
        return Err(invalid(message).with_detail(detail));
    }
    *place = value;
    Ok(())
}

impl Fields {
    fn read(&mut self, input: &mut Input<'_>, field: Field, open: bool) -> Result<()> {
        if let Some(convention) = Convention::of(field.key)
            && *self.convention.get_or_insert(convention) != convention
        {
            return Err(invalid("invalid combination of date conventions")
                .with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
        }
        let mut unused = 0;
        let place = match field.key {
            Key::Meridiem { dots } => {
                let names = if dots { ["a.m.", "p.m."] } else { ["am", "pm"] };
                self.by_twelve = true;
                return set(&mut self.half, input.name(&names, field)?, field);
            }
            Key::Era { dots } => {
                let names = if dots { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                return set(&mut self.era, input.name(&names, field)?, field);
            }
            Key::MonthName => return set(&mut self.month, input.name(&MONTHS, field)? + 1, field),
            Key::MonthShort => {
                let names = MONTHS.map(|name| &name[..3]);
                return set(&mut self.month, input.name(&names, field)? + 1, field);
            }
            Key::MonthRoman => {
                // `VIII` before `VII`, which it begins with.
                let mut names = ROMAN_MONTHS;
                names.reverse();
                return set(&mut self.month, 12 - input.name(&names, field)?, field);
            }
            Key::DayName => {
                set(&mut self.day_of_week, input.name(&DAYS, field)?, field)?;
                self.day_of_week += 1;
                return Ok(());
            }
            Key::DayShort => {
                set(
                    &mut self.day_of_week,
                    input.name(&DAYS.map(|name| &name[..3]), field)?,
                    field,
                )?;
                self.day_of_week += 1;
                return Ok(());
            }
            Key::Zone | Key::Offset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", field.name());
                return Err(Error::unsupported(message));
            }
            Key::YearComma => return self.read_year_with_comma(input, field),
            Key::ZoneHour => {
                self.zone_sign = match input.rest.chars().next() {
                    Some('-') => -1,
                    Some('+' | ' ') => 1,
                    // A minus may have been taken for a separator.
                    _ if input.skipped > 0 && input.after_minus => -1,
                    _ => 1,
                };
                if input.rest.starts_with(['-', '+', ' ']) {
                    input.step();
                }
                return set(&mut self.zone_hours, input.number(field, open)?.0, field);
            }
            Key::ZoneMinute => {
                if self.zone_sign == 0 {
                    self.zone_sign = 1;
                }
                return set(&mut self.zone_minutes, input.number(field, open)?.0, field);
            }
            Key::Hour12 => {
                self.by_twelve = true;
                &mut self.hour
            }
            Key::Hour24 => &mut self.hour,
            Key::Minute => &mut self.minute,
            Key::Second => &mut self.second,
            Key::Millisecond => &mut self.millisecond,
            Key::Microsecond => &mut self.microsecond,
            Key::Fraction(digits) => {
                self.digits = Some(digits);
                &mut self.microsecond
            }
            Key::SecondOfDay => &mut self.second_of_day,
            Key::Year(_) | Key::IsoYear(_) => &mut self.year,
            Key::Month => &mut self.month,
            Key::DayOfYear | Key::IsoDayOfYear => &mut self.day_of_year,
            Key::Day => &mut self.day,
            Key::DayOfWeek | Key::IsoDayOfWeek => &mut self.day_of_week,
            Key::WeekOfYear | Key::IsoWeek => &mut self.week,
            Key::WeekOfMonth => &mut self.week_of_month,
            Key::Century => &mut self.century,
            Key::Julian => &mut self.julian,
            // Read and not used: no day follows from it.
            Key::Quarter => &mut unused,
        };
        let (value, used) = input.number(field, open)?;
        set(place, value, field)?;
        match field.key {
            // `.5` is half a second, however many digits there could be.
            Key::Millisecond => *place *= 10_i64.pow(3_u32.saturating_sub(used as u32)),
            Key::Microsecond | Key::Fraction(_) => *place *= 10_i64.pow(6_u32.saturating_sub(used as u32)),
            Key::Year(digits) | Key::IsoYear(digits) => {
                if digits < 4 && used < 4 {
                    *place = full_year(value);
                }
                self.year_digits = digits;
            }
            // Counted from Monday.
            Key::IsoDayOfWeek => *place = if value >= 7 { 1 } else { value + 1 },
            _ => {}
        }
        input.skip_ending(field);
        Ok(())
    }

    fn read_year_with_comma(&mut self, input: &mut Input<'_>, field: Field) -> Result<()> {
        let wrong = || invalid("invalid input string for \"Y,YYY\"");
        let (Some(thousands), used @ 1..) = leading_number(input.rest) else {
            return Err(wrong());
        };
        let rest = input.rest[used..].strip_prefix(',').ok_or_else(wrong)?;
        let digits = rest.trim_start_matches(is_blank);
        let (Some(years), used @ 1..) = leading_number(&digits[..digits.floor_char_boundary(3)]) else {
            return Err(wrong());
        };
        set(&mut self.year, i64::from(thousands) * 1000 + i64::from(years), field)?;
        self.year_digits = 4;
        input.rest = &digits[used..];
        input.skip_ending(field);
        Ok(())
    }

    fn moment(mut self, text: &str) -> Result<Read> {
        let out_of_range = || {
            let message = format!("date/time field value out of range: \"{text}\"");
            Error::new(ErrorKind::DatetimeOverflow, message)
        };
        let (mut hour, mut minute) = (self.second_of_day / 3600, self.second_of_day / 60 % 60);
        let mut second = self.second_of_day % 60;
        for (part, given) in [
            (&mut hour, self.hour),
            (&mut minute, self.minute),
            (&mut second, self.second),
        ] {
            if given != 0 {
                *part = given;
            }
        }
        if self.by_twelve {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(invalid(message).with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + 12 * self.half;
        }
        let days = self.days(&out_of_range)?;
        let micros = self.millisecond * 1000 + self.microsecond;
        let is_time = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..MICROS_PER_SECOND).contains(&micros);
        if !is_time {
            return Err(out_of_range());
        }
        if !(0..=15).contains(&self.zone_hours) || !(0..60).contains(&self.zone_minutes) {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(Error::new(ErrorKind::InvalidTimeZoneDisplacement, message));
        }
        let offset = self.zone_sign * (self.zone_hours * 3600 + self.zone_minutes * 60);
        Ok(Read {
            days,
            time: (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + micros,
            offset: (self.zone_sign != 0).then_some(offset),
            digits: self.digits,
        })
    }

    /// Days from 1970-01-01 of the date the fields give.
    fn days(&mut self, out_of_range: &impl Fn() -> Error) -> Result<i64> {
        let year = self.year();
        let mut date = Date {
            year: year.unwrap_or(0),
            month: 1,
            day: 1,
        };
        let (mut is_month, mut is_day, mut is_whole) = (false, false, false);
        if self.julian != 0 {
            date = Date::of(self.julian - JULIAN_EPOCH);
            is_whole = true;
        }
        let by_weeks = self.convention == Some(Convention::IsoWeek);
        if self.week != 0 && by_weeks {
            // Without a day, the week's Monday.
            let day = match self.day_of_week {
                0 => 0,
                1 => 6,
                later => later - 2,
            };
            date = Date::of(date.first_monday() + (self.week - 1) * 7 + day);
            is_whole = true;
        } else if self.week != 0 {
            self.day_of_year = (self.week - 1) * 7 + 1;
        }
        if self.week_of_month != 0 {
            self.day = (self.week_of_month - 1) * 7 + 1;
        }
        if self.day != 0 {
            date.day = self.day;
            is_day = true;
        }
        if self.month != 0 {
            date.month = self.month;
            is_month = true;
        }
        if self.day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            if date.year == 0 && self.era == 0 {
                return Err(invalid("cannot calculate day of year without year information"));
            }
            if by_weeks {
                date = Date::of(date.first_monday() + self.day_of_year - 1);
                is_whole = true;
            } else {
                date.complete(self.day_of_year);
                (is_month, is_day) = (true, true);
            }
        }
        let is_month_right = !(is_month || is_whole) || (1..=12).contains(&date.month);
        let is_day_right = !(is_day || is_whole) || (1..=31).contains(&date.day);
        if !is_month_right || !is_day_right {
            return Err(out_of_range());
        }
        // The days of a month are known with its year only.
        let is_date = is_whole || year.is_some() && is_month && is_day;
        if is_date && date.day > i64::from(days_in_month(date.year, date.month as u32)) {
            return Err(out_of_range());
        }
        Ok(date.days())
    }

    /// The year, if one is given: 0 is 1 BC.
    fn year(&self) -> Option<i64> {
        let century = if self.era == 1 { -self.century } else { self.century };
        if self.year != 0 && self.century != 0 && self.year_digits <= 2 {
            // The last two digits of a year in that century, whose last ends in 00.
            return Some(match (self.year % 100, century >= 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (digits, true) => (century - 1) * 100 + digits,
                (digits, false) => (century + 1) * 100 - digits + 1,
            });
        }
        if self.year != 0 {
            let year = if self.era == 1 { -self.year } else { self.year };
            return Some(if year < 0 { year + 1 } else { year });
        }
        match century {
            0 => None,
            1.. => Some((century - 1) * 100 + 1),
            _ => Some(century * 100 + 1),
        }
    }
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    fn of(days: i64) -> Self {
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month: i64::from(month),
            day: i64::from(day),
        }
    }

    fn days(&self) -> i64 {
        days_from_civil(self.year, self.month as u32, 1) + self.day - 1
    }

    /// The day on which the first ISO week of its year begins.
    fn first_monday(&self) -> i64 {
        let fourth = days_from_civil(self.year, 1, 4);
        fourth - (fourth + 3).rem_euclid(7)
    }

    /// Takes month and day from the day of the year, as far as they are not given.
    fn complete(&mut self, day_of_year: i64) {
        let (mut month, mut before) = (1, 0);
        while month <= 12 {
            let length = i64::from(days_in_month(self.year, month));
            if day_of_year <= before + length {
                break;
            }
            before += length;
            month += 1;
        }
        if self.month <= 1 {
            self.month = i64::from(month);
        }
        if self.day <= 1 {
            self.day = day_of_year - before;
        }
    }
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
