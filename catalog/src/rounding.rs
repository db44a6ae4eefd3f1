//! The modifiers of times: `timestamp(3)`, `interval day to minute`, `interval second(0)`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::SqlType;

/// To what the values of a type of times are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rounding {
    /// Digits behind the point of the seconds, 0 to 6.
    pub digits: Option<u8>,
    /// Of an interval: the fields that are kept.
    pub fields: Option<IntervalFields>,
}

/// The fields an interval can be declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalFields {
    /// `year`
    Year,
    /// `month`
    Month,
    /// `day`
    Day,
    /// `hour`
    Hour,
    /// `minute`
    Minute,
    /// `second`
    Second,
    /// `year to month`
    YearToMonth,
    /// `day to hour`
    DayToHour,
    /// `day to minute`
    DayToMinute,
    /// `day to second`
    DayToSecond,
    /// `hour to minute`
    HourToMinute,
    /// `hour to second`
    HourToSecond,
    /// `minute to second`
    MinuteToSecond,
}

// PostgreSQL's bits of fields (`src/include/utils/datetime.h`).
const YEAR: i32 = 1 << 2;
const MONTH: i32 = 1 << 1;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;
const SECOND: i32 = 1 << 12;

/// The modifier of all fields, and that of all digits.
const ALL_FIELDS: i32 = 0x7fff;
const ALL_DIGITS: i32 = 0xffff;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// From 1970, where our moments begin, to 2000, where PostgreSQL's do: halves are rounded away from there.
const EPOCH_MICROS: i64 = 946_684_800 * MICROS_PER_SECOND;

const FIELDS: &[(IntervalFields, &str, i32)] = &[
    (IntervalFields::Year, "year", YEAR),
    (IntervalFields::Month, "month", MONTH),
    (IntervalFields::Day, "day", DAY),
    (IntervalFields::Hour, "hour", HOUR),
    (IntervalFields::Minute, "minute", MINUTE),
    (IntervalFields::Second, "second", SECOND),
    (IntervalFields::YearToMonth, "year to month", YEAR | MONTH),
    (IntervalFields::DayToHour, "day to hour", DAY | HOUR),
    (IntervalFields::DayToMinute, "day to minute", DAY | HOUR | MINUTE),
    (
        IntervalFields::DayToSecond,
        "day to second",
        DAY | HOUR | MINUTE | SECOND,
    ),
    (IntervalFields::HourToMinute, "hour to minute", HOUR | MINUTE),
    (IntervalFields::HourToSecond, "hour to second", HOUR | MINUTE | SECOND),
    (IntervalFields::MinuteToSecond, "minute to second", MINUTE | SECOND),
];

impl IntervalFields {
    /// The fields with this name, in lower case.
    pub fn named(name: &str) -> Option<IntervalFields> {
        FIELDS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(fields, ..)| *fields)
    }

    fn bits(self) -> i32 {
        FIELDS
            .iter()
            .find(|(known, ..)| *known == self)
            .map_or(ALL_FIELDS, |(.., bits)| *bits)
    }

    /// Microseconds of the smallest field, if that is one of the time of day above the second.
    fn unit(self) -> Option<i64> {
        let bits = self.bits();
        if bits & SECOND != 0 || bits & (HOUR | MINUTE) == 0 {
            return None;
        }
        Some(if bits & MINUTE != 0 { 60 } else { 3600 } * MICROS_PER_SECOND)
    }
}

impl fmt::Display for IntervalFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FIELDS
            .iter()
            .find(|(known, ..)| known == self)
            .map(|(_, name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

impl Rounding {
    /// As `pg_attribute.atttypmod` has it.
    pub fn modifier(self, ty: &SqlType) -> i32 {
        match ty {
            SqlType::Interval => {
                let fields = self.fields.map_or(ALL_FIELDS, IntervalFields::bits);
                (fields << 16) | self.digits.map_or(ALL_DIGITS, i32::from)
            }
            _ => self.digits.map_or(-1, i32::from),
        }
    }

    /// What a modifier says of a type; `None` when it has none.
    pub fn of_modifier(modifier: i32, ty: &SqlType) -> Option<Rounding> {
        if modifier < 0 {
            return None;
        }
        let (fields, digits) = match ty {
            SqlType::Interval => (modifier >> 16, modifier & ALL_DIGITS),
            SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => (ALL_FIELDS, modifier),
            _ => return None,
        };
        let fields = FIELDS
            .iter()
            .find(|(.., bits)| *bits == fields)
            .map(|(fields, ..)| *fields);
        let digits = u8::try_from(digits).ok().filter(|digits| *digits <= 6);
        Some(Rounding { digits, fields })
    }

    /// A time of day, or a span of time.
    pub fn time(self, micros: i64) -> i64 {
        let unit = match self.digits {
            Some(digits @ 0..=5) => 10_i64.pow(6 - u32::from(digits)),
            _ => return micros,
        };
        let half = if micros < 0 { -unit / 2 } else { unit / 2 };
        match micros.checked_add(half) {
            Some(sum) => sum / unit * unit,
            None => micros,
        }
    }

    /// A moment, in microseconds since 1970; the infinite ones are the two ends of the numbers.
    pub fn moment(self, micros: i64) -> i64 {
        match micros.checked_sub(EPOCH_MICROS) {
            Some(since) if micros != i64::MAX => self.time(since) + EPOCH_MICROS,
            _ => micros,
        }
    }

    /// An interval: months, days and microseconds.
    pub fn interval(self, months: i32, days: i32, micros: i64) -> (i32, i32, i64) {
        let (months, days, micros) = match self.fields {
            Some(IntervalFields::Year) => (months / 12 * 12, 0, 0),
            Some(IntervalFields::Month | IntervalFields::YearToMonth) => (months, 0, 0),
            Some(IntervalFields::Day) => (months, days, 0),
            Some(fields) => match fields.unit() {
                Some(unit) => (months, days, micros / unit * unit),
                None => (months, days, micros),
            },
            None => (months, days, micros),
        };
        (months, days, self.time(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(digits: u8) -> Rounding {
        Rounding {
            digits: Some(digits),
            fields: None,
        }
    }

    #[test]
    fn modifiers_are_those_of_postgres() {
        let of = |fields: &str, digits| Rounding {
            digits,
            fields: IntervalFields::named(fields),
        };
        for (rounding, ty, modifier) in [
            (digits(0), SqlType::Timestamp, 0),
            (digits(1), SqlType::Interval, 2_147_418_113),
            (of("day", None), SqlType::Interval, 589_823),
            (of("year to month", None), SqlType::Interval, 458_751),
            (of("day to minute", None), SqlType::Interval, 201_916_415),
        ] {
            assert_eq!(rounding.modifier(&ty), modifier);
            assert_eq!(Rounding::of_modifier(modifier, &ty), Some(rounding));
        }
    }

    #[test]
    fn halves_go_away_from_the_year_2000() {
        assert_eq!(digits(0).moment(EPOCH_MICROS + 1_500_000), EPOCH_MICROS + 2_000_000);
        assert_eq!(digits(0).moment(EPOCH_MICROS - 1_500_000), EPOCH_MICROS - 2_000_000);
        assert_eq!(digits(2).time(-12_345), -10_000);
        assert_eq!(digits(6).time(-12_345), -12_345);
        for infinite in [i64::MIN, i64::MAX] {
            assert_eq!(digits(0).moment(infinite), infinite);
        }
    }

    #[test]
    fn fields_below_the_declared_ones_are_cut() {
        let kept = |name: &str| Rounding {
            digits: None,
            fields: IntervalFields::named(name),
        };
        let micros = 3_723_500_000;
        assert_eq!(kept("year").interval(14, 3, micros), (12, 0, 0));
        assert_eq!(kept("day").interval(14, 3, micros), (14, 3, 0));
        assert_eq!(kept("day to hour").interval(0, 3, micros), (0, 3, 3_600_000_000));
        assert_eq!(kept("hour to minute").interval(0, 3, -micros), (0, 3, -3_720_000_000));
        assert_eq!(kept("minute to second").interval(0, 3, micros), (0, 3, micros));
    }
}
