//! Dates and times in the many ways people write them: the tokens of a text, and what they say together.

use super::zone::{abbreviation, parse_offset};
use super::{DAYS_MIN, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY, Zone, days_from_civil, days_in_month};
use crate::error::{Error, ErrorKind};
use crate::value::number::trim;
use crate::value::{DateOrder, FormatSettings};

/// What can be wrong with a text.
pub(super) enum Fault {
    Syntax,
    /// A field is not within its bounds.
    Field,
    /// Month or day is not within its bounds: perhaps the order is another.
    MonthDay,
    /// The whole is beyond what the type holds.
    OutOfRange,
    Displacement,
    UnknownZone(String),
}

impl Fault {
    #[cold]
    pub(super) fn error(self, type_name: &str, text: &[u8]) -> Error {
        let text = String::from_utf8_lossy(text);
        let field = || format!("date/time field value out of range: \"{text}\"");
        match self {
            Fault::Syntax => Error::new(
                ErrorKind::InvalidDatetimeFormat,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            Fault::Field => Error::new(ErrorKind::DatetimeOverflow, field()),
            Fault::MonthDay => Error::new(ErrorKind::DatetimeOverflow, field())
                .with_hint("Perhaps you need a different \"datestyle\" setting."),
            Fault::OutOfRange => {
                let noun = if type_name == "date" { "date" } else { "timestamp" };
                Error::new(ErrorKind::DatetimeOverflow, format!("{noun} out of range: \"{text}\""))
            }
            Fault::Displacement => Error::new(
                ErrorKind::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Fault::UnknownZone(name) => Error::new(
                ErrorKind::InvalidParameterValue,
                format!("time zone \"{name}\" not recognized"),
            ),
        }
    }
}

/// Words that stand for a whole value.
#[derive(Clone, Copy)]
pub(super) enum Special {
    Infinity,
    NegativeInfinity,
    /// `now`, `epoch`
    Moment(i64),
    /// The day of this moment, in the session's zone: `today`, `tomorrow`, `yesterday`.
    Day(i64),
}

/// What the tokens of a text say.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) special: Option<Special>,
    /// Days since 1970-01-01.
    pub(super) day: Option<i64>,
    /// Microseconds since midnight.
    pub(super) time: Option<i64>,
    pub(super) zone: Option<Zone>,
}

/// What is gathered before it can be understood.
#[derive(Default)]
struct Gathered {
    /// Numbers of a date in their order: value and count of digits.
    numbers: Vec<(i64, usize)>,
    month: Option<u32>,
    /// The Julian day.
    julian: Option<i64>,
    clock: Option<i64>,
    afternoon: Option<bool>,
    before_christ: bool,
    /// `T` stood before: the next number is a time.
    time_follows: bool,
    /// That number may be the hour alone.
    hour_suffices: bool,
}

impl Fields {
    pub(super) fn read(text: &[u8], settings: &FormatSettings) -> Result<Self, Fault> {
        Self::read_tokens(text, settings, false)
    }

    /// As `read`, but a bare number of four or six digits is a time.
    pub(super) fn read_time(text: &[u8], settings: &FormatSettings) -> Result<Self, Fault> {
        Self::read_tokens(text, settings, true)
    }

    fn read_tokens(text: &[u8], settings: &FormatSettings, time_only: bool) -> Result<Self, Fault> {
        let mut fields = Fields::default();
        let mut gathered = Gathered {
            time_follows: time_only,
            ..Gathered::default()
        };
        let mut rest = trim(text);
        if rest.is_empty() || rest.len() > 128 {
            return Err(Fault::Syntax);
        }
        while let Some(&first) = rest.first() {
            rest = match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => &rest[1..],
                b'0'..=b'9' => gathered.number_or_clock(rest)?,
                b'+' | b'-' => fields.signed(rest)?,
                b if b.is_ascii_alphabetic() => fields.word(rest, &mut gathered, settings)?,
                // Other marks stand between parts, as blanks do.
                b if b.is_ascii_punctuation() && b != b'.' => &rest[1..],
                _ => return Err(Fault::Syntax),
            };
        }
        fields.finish(gathered, settings)?;
        Ok(fields)
    }

    /// `+05:30`, `-infinity`
    fn signed<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], Fault> {
        let end = token_end(text, 1, |byte| byte.is_ascii_alphanumeric() || byte == b':');
        let (token, rest) = text.split_at(end);
        if token.get(1).is_some_and(u8::is_ascii_alphabetic) {
            self.special = Some(match token.to_ascii_lowercase().as_slice() {
                b"+infinity" => Special::Infinity,
                b"-infinity" => Special::NegativeInfinity,
                _ => return Err(Fault::Syntax),
            });
            return Ok(rest);
        }
        if self.zone.is_some() || token.len() < 2 {
            return Err(Fault::Syntax);
        }
        let offset = parse_offset(token).ok_or(Fault::Displacement)?;
        self.zone = Some(Zone::fixed(offset));
        Ok(rest)
    }

    fn word<'a>(
        &mut self,
        text: &'a [u8],
        gathered: &mut Gathered,
        settings: &FormatSettings,
    ) -> Result<&'a [u8], Fault> {
        let mut end = token_end(text, 0, |byte| {
            byte.is_ascii_alphabetic() || byte == b'_' || byte == b'.'
        });
        // `Europe/Berlin`, `Etc/GMT+5`, `America/Port-au-Prince`
        if text.get(end) == Some(&b'/') {
            end = token_end(text, end, |byte| {
                byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte)
            });
        }
        let (token, rest) = text.split_at(end);
        let word = String::from_utf8_lossy(token).to_ascii_lowercase();
        if word == "j" && rest.first().is_some_and(u8::is_ascii_digit) {
            let end = token_end(rest, 0, |byte| byte.is_ascii_digit());
            gathered.julian = Some(number(&rest[..end]).ok_or(Fault::Field)?);
            return Ok(&rest[end..]);
        }
        if word == "t" && rest.first().is_some_and(u8::is_ascii_digit) {
            gathered.time_follows = true;
            gathered.hour_suffices = true;
            return Ok(rest);
        }
        if let Some(month) = month_of(&word) {
            if gathered.month.replace(month).is_some() {
                return Err(Fault::Syntax);
            }
            // `Jan-08-1999`
            return Ok(rest.strip_prefix(b"-").unwrap_or(rest));
        }
        let now = settings.now;
        match word.as_str() {
            "infinity" => self.set_special(Special::Infinity)?,
            "now" => self.set_special(Special::Moment(now))?,
            "epoch" => self.set_special(Special::Moment(0))?,
            "today" => self.set_special(Special::Day(now))?,
            "tomorrow" => self.set_special(Special::Day(now + MICROS_PER_DAY))?,
            "yesterday" => self.set_special(Special::Day(now - MICROS_PER_DAY))?,
            "allballs" => {
                gathered.clock = Some(0);
                self.zone = Some(Zone::utc());
            }
            "am" | "a.m." => gathered.afternoon = Some(false),
            "pm" | "p.m." => gathered.afternoon = Some(true),
            "bc" | "b.c." => gathered.before_christ = true,
            "ad" | "a.d." | "at" | "on" => {}
            other if is_weekday(other) => {}
            // Before the date it would be one, of parts that none has.
            other if other.contains('/') && !gathered.has_date() && gathered.clock.is_none() => {
                return Err(Fault::Syntax);
            }
            other => self.named_zone(other)?,
        }
        Ok(rest)
    }

    fn set_special(&mut self, special: Special) -> Result<(), Fault> {
        match self.special.replace(special) {
            None => Ok(()),
            Some(_) => Err(Fault::Syntax),
        }
    }

    fn named_zone(&mut self, word: &str) -> Result<(), Fault> {
        let zone = match abbreviation(word) {
            Some(offset) => Zone::fixed(offset),
            None => Zone::parse(word).ok_or_else(|| match word.contains('/') {
                true => Fault::UnknownZone(word.to_string()),
                false => Fault::Syntax,
            })?,
        };
        match self.zone.replace(zone) {
            None => Ok(()),
            Some(_) => Err(Fault::Syntax),
        }
    }

    fn finish(&mut self, gathered: Gathered, settings: &FormatSettings) -> Result<(), Fault> {
        self.day = gathered.day(settings.date_order)?;
        self.time = match (gathered.clock, gathered.afternoon) {
            (Some(clock), Some(afternoon)) => {
                const NOON: i64 = MICROS_PER_DAY / 2;
                if clock >= NOON + 3600 * MICROS_PER_SECOND {
                    return Err(Fault::Field);
                }
                Some(clock % NOON + if afternoon { NOON } else { 0 })
            }
            (None, Some(_)) => return Err(Fault::Syntax),
            (clock, None) => clock,
        };
        if self.special.is_some() && self.day.is_some() {
            return Err(Fault::Syntax);
        }
        Ok(())
    }

    /// Date and time together, as the clock shows them.
    pub(super) fn local_micros(&self) -> Result<i64, Fault> {
        let day = self.day.ok_or(Fault::Syntax)?;
        day.checked_mul(MICROS_PER_DAY)
            .and_then(|micros| micros.checked_add(self.time.unwrap_or(0)))
            .filter(|micros| *micros != TIMESTAMP_INFINITY && day >= DAYS_MIN)
            .ok_or(Fault::OutOfRange)
    }
}

impl Gathered {
    /// A token that starts with a digit: a time with colons, a date with its marks, or a bare number.
    fn number_or_clock<'a>(&mut self, text: &'a [u8]) -> Result<&'a [u8], Fault> {
        let end = token_end(text, 0, |byte| byte.is_ascii_digit());
        match text.get(end) {
            Some(b':') => {
                let end = token_end(text, end, |byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
                self.set_clock(clock(&text[..end])?)?;
                Ok(&text[end..])
            }
            Some(b'.') if self.time_follows => {
                let end = token_end(text, end, |byte| byte.is_ascii_digit() || byte == b'.');
                self.compact_clock(&text[..end])?;
                Ok(&text[end..])
            }
            Some(&mark @ (b'-' | b'/' | b'.')) if !self.has_date() => self.marked_date(text, mark),
            _ => {
                self.bare_number(&text[..end])?;
                Ok(&text[end..])
            }
        }
    }

    fn has_date(&self) -> bool {
        self.julian.is_some() || self.numbers.len() >= if self.month.is_some() { 2 } else { 3 }
    }

    /// `2024-01-31`, `1/31/2024`, `31.01.2024`, `31-Jan-2024`, `2024.031`
    fn marked_date<'a>(&mut self, text: &'a [u8], mark: u8) -> Result<&'a [u8], Fault> {
        let mut at = 0;
        let mut parts = 0;
        loop {
            let start = at;
            if text.get(at).is_some_and(u8::is_ascii_digit) {
                at = token_end(text, at, |byte| byte.is_ascii_digit());
                self.numbers
                    .push((number(&text[start..at]).ok_or(Fault::Field)?, at - start));
            } else {
                at = token_end(text, at, |byte| byte.is_ascii_alphabetic());
                let word = String::from_utf8_lossy(&text[start..at]).to_ascii_lowercase();
                let month = month_of(&word).ok_or(Fault::Syntax)?;
                if self.month.replace(month).is_some() {
                    return Err(Fault::Syntax);
                }
            }
            parts += 1;
            let continues = text.get(at) == Some(&mark) && parts < 3;
            if !continues {
                break;
            }
            at += 1;
        }
        if parts == 2 && self.month.is_none() && self.numbers.len() == 2 {
            self.day_of_year()?;
        }
        Ok(&text[at..])
    }

    /// `1999.008`: year and day of the year.
    fn day_of_year(&mut self) -> Result<(), Fault> {
        let (year, day) = match self.numbers[..] {
            [(year, 4..), (day, 3)] => (year, day),
            _ => return Err(Fault::Syntax),
        };
        if !(1..=366).contains(&day) || year > 6_000_000 {
            return Err(Fault::Field);
        }
        self.numbers.clear();
        self.julian = Some(days_from_civil(year, 1, 1) + day - 1 - DAYS_MIN);
        Ok(())
    }

    fn bare_number(&mut self, digits: &[u8]) -> Result<(), Fault> {
        if self.time_follows || (self.has_date() && self.clock.is_none() && digits.len() >= 4) {
            return self.compact_clock(digits);
        }
        let value = |digits: &[u8]| number(digits).ok_or(Fault::Field);
        match digits.len() {
            8.. if !self.has_date() && self.numbers.is_empty() && self.month.is_none() => {
                let (year, rest) = digits.split_at(digits.len() - 4);
                self.numbers.push((value(year)?, year.len()));
                self.numbers.push((value(&rest[..2])?, 2));
                self.numbers.push((value(&rest[2..])?, 2));
            }
            6 if !self.has_date() && self.numbers.is_empty() && self.month.is_none() => {
                // Always year, month, day; the century is filled in here so that the order is seen.
                let year = century(value(&digits[..2])?);
                self.numbers.push((year, 4));
                self.numbers.push((value(&digits[2..4])?, 2));
                self.numbers.push((value(&digits[4..])?, 2));
            }
            _ if self.has_date() => return Err(Fault::Syntax),
            length => self.numbers.push((value(digits)?, length)),
        }
        Ok(())
    }

    /// `hhmmss.ffffff`, `hhmm`, `hh`
    fn compact_clock(&mut self, text: &[u8]) -> Result<(), Fault> {
        let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
        let (digits, fraction) = text.split_at(point);
        if !(matches!(digits.len(), 4 | 6) || digits.len() == 2 && self.hour_suffices)
            || (point < text.len() && digits.len() != 6)
        {
            return Err(Fault::Syntax);
        }
        let mut spelled = Vec::with_capacity(text.len() + 2);
        for (at, pair) in digits.chunks(2).enumerate() {
            if at > 0 {
                spelled.push(b':');
            }
            spelled.extend_from_slice(pair);
        }
        if digits.len() == 2 {
            spelled.extend_from_slice(b":00");
        }
        spelled.extend_from_slice(fraction);
        self.time_follows = false;
        self.set_clock(clock(&spelled)?)
    }

    fn set_clock(&mut self, micros: i64) -> Result<(), Fault> {
        self.time_follows = false;
        match self.clock.replace(micros) {
            None => Ok(()),
            Some(_) => Err(Fault::Syntax),
        }
    }

    /// The day all the numbers name together.
    fn day(&self, order: DateOrder) -> Result<Option<i64>, Fault> {
        if let Some(julian) = self.julian {
            return if self.numbers.is_empty() && self.month.is_none() {
                Ok(Some(julian + DAYS_MIN))
            } else {
                Err(Fault::Syntax)
            };
        }
        let year_first = self.numbers.first().is_some_and(|(_, digits)| *digits > 2);
        let (year, month, day) = match (self.month, &self.numbers[..]) {
            (None, []) if !self.before_christ => return Ok(None),
            (Some(month), &[first, second]) => {
                let (year, day) = match year_first || order == DateOrder::Ymd && second.1 <= 2 {
                    true => (first, second),
                    false => (second, first),
                };
                (year, i64::from(month), day.0)
            }
            (None, &[a, b, c]) => match order {
                _ if year_first => (a, b.0, c.0),
                DateOrder::Mdy => (c, a.0, b.0),
                DateOrder::Dmy => (c, b.0, a.0),
                DateOrder::Ymd => (a, b.0, c.0),
            },
            // Of a date that ends here the first part is looked at, too.
            (None, &[(value, ..=2)])
                if order == DateOrder::Mdy && !(1..=12).contains(&value)
                    || order == DateOrder::Dmy && !(1..=31).contains(&value) =>
            {
                return Err(Fault::MonthDay);
            }
            _ => return Err(Fault::Syntax),
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Fault::MonthDay);
        }
        let year = match (year, self.before_christ) {
            ((0, digits), _) if digits > 2 => return Err(Fault::Field),
            ((0, _), true) => return Err(Fault::Field),
            ((year, _), true) => 1 - year,
            ((year, ..=2), false) => century(year),
            ((year, _), false) => year,
        };
        let (month, day) = (month as u32, day as u32);
        if year > 6_000_000 {
            return Err(Fault::OutOfRange);
        }
        if day > days_in_month(year, month) {
            return Err(Fault::Field);
        }
        Ok(Some(days_from_civil(year, month, day)))
    }
}

/// The year two digits mean: 1970 to 2069.
fn century(year: i64) -> i64 {
    match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        year => year,
    }
}

/// Reads `h:m`, `h:m:s`, `h:m:s.f` within a day; 24:00:00 and a leap second are allowed.
fn clock(text: &[u8]) -> Result<i64, Fault> {
    let mut parts = text.split(|&byte| byte == b':');
    let mut next = || parts.next();
    let hour = next().and_then(number).ok_or(Fault::Syntax)?;
    let minute = next().and_then(number).ok_or(Fault::Syntax)?;
    let (second, micros) = match next() {
        None => (0, 0),
        Some(seconds) => {
            let point = seconds.iter().position(|&byte| byte == b'.').unwrap_or(seconds.len());
            let whole = number(&seconds[..point]).ok_or(Fault::Syntax)?;
            (
                whole,
                fraction_micros(seconds.get(point + 1..).unwrap_or_default()).ok_or(Fault::Syntax)?,
            )
        }
    };
    if next().is_some() {
        return Err(Fault::Syntax);
    }
    let total = ((hour.min(100) * 60 + minute.min(100)) * 60 + second.min(100)) * MICROS_PER_SECOND + micros;
    if hour > 24 || minute > 59 || second > 60 || total > MICROS_PER_DAY {
        return Err(Fault::Field);
    }
    Ok(total)
}

/// Microseconds of the digits behind the point, rounded.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut micros = 0;
    for at in 0..6 {
        micros = micros * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some(micros + i64::from(digits.get(6).is_some_and(|digit| *digit >= b'5')))
}

/// A number of at most 9 digits.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |value, digit| value * 10 + i64::from(digit - b'0')),
    )
}

fn token_end(text: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    text[from..]
        .iter()
        .position(|&byte| !belongs(byte))
        .map_or(text.len(), |length| from + length)
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if word == "sept" {
        return Some(9);
    }
    let at = MONTHS
        .iter()
        .position(|month| *month == word || (word.len() == 3 && month.starts_with(word)))?;
    u32::try_from(at + 1).ok()
}

fn is_weekday(word: &str) -> bool {
    const WORDS: [&str; 18] = [
        "sun",
        "sunday",
        "mon",
        "monday",
        "tue",
        "tues",
        "tuesday",
        "wed",
        "weds",
        "wednesday",
        "thu",
        "thur",
        "thurs",
        "thursday",
        "fri",
        "friday",
        "sat",
        "saturday",
    ];
    WORDS.contains(&word)
}
