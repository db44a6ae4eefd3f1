//! A pattern for dates and times, taken apart.

use crate::error::Result;

/// A field, or text between fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    pub key: Key,
    pub case: Case,
    /// `FM`: no blanks and zeros to fill the width.
    pub fill: bool,
    /// `TH` or `th`: the ending of an ordinal number.
    pub ordinal: Option<Case>,
}

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
}

impl Field {
    /// As the pattern has it.
    pub(super) fn name(&self) -> String {
        let name = self.key.name();
        match self.case {
            Case::Upper => name.to_owned(),
            Case::Title => name[..1].to_owned() + &name[1..].to_ascii_lowercase(),
            Case::Lower => name.to_ascii_lowercase(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    Hour12,
    Hour24,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// `FF1` to `FF6`: this many digits of the second's fraction.
    Fraction(u8),
    SecondOfDay,
    /// `AM` or `A.M.`
    Meridiem {
        dots: bool,
    },
    /// `AD` or `A.D.`
    Era {
        dots: bool,
    },
    /// `Y,YYY`
    YearComma,
    /// The last digits of the year: 4 are the whole year.
    Year(u8),
    IsoYear(u8),
    MonthName,
    MonthShort,
    Month,
    MonthRoman,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Zone,
    ZoneHour,
    ZoneMinute,
    Offset,
}

impl Key {
    /// Digits a number has in a text without separators.
    pub(super) fn digits(self) -> Option<usize> {
        Some(match self {
            Key::Year(digits) | Key::IsoYear(digits) => usize::from(digits),
            Key::Hour12 | Key::Hour24 | Key::Minute | Key::Second | Key::Month | Key::Day => 2,
            Key::IsoWeek | Key::WeekOfYear | Key::Century | Key::ZoneHour | Key::ZoneMinute => 2,
            Key::DayOfYear | Key::IsoDayOfYear | Key::Millisecond => 3,
            Key::Microsecond => 6,
            Key::Fraction(digits) => usize::from(digits),
            Key::SecondOfDay => 5,
            Key::Julian => 7,
            Key::DayOfWeek | Key::IsoDayOfWeek | Key::WeekOfMonth | Key::Quarter => 1,
            _ => return None,
        })
    }

    /// As error messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Key::Hour12 => "HH12",
            Key::Hour24 => "HH24",
            Key::Minute => "MI",
            Key::Second => "SS",
            Key::Millisecond => "MS",
            Key::Microsecond => "US",
            Key::Fraction(_) => "FF",
            Key::SecondOfDay => "SSSS",
            Key::Meridiem { dots: true } => "A.M.",
            Key::Meridiem { dots: false } => "AM",
            Key::Era { dots: true } => "A.D.",
            Key::Era { dots: false } => "AD",
            Key::YearComma => "Y,YYY",
            Key::Year(4) => "YYYY",
            Key::Year(3) => "YYY",
            Key::Year(2) => "YY",
            Key::Year(_) => "Y",
            Key::IsoYear(_) => "IYYY",
            Key::MonthName => "MONTH",
            Key::MonthShort => "MON",
            Key::Month => "MM",
            Key::MonthRoman => "RM",
            Key::DayName => "DAY",
            Key::DayShort => "DY",
            Key::DayOfYear => "DDD",
            Key::IsoDayOfYear => "IDDD",
            Key::Day => "DD",
            Key::DayOfWeek => "D",
            Key::IsoDayOfWeek => "ID",
            Key::WeekOfMonth => "W",
            Key::WeekOfYear => "WW",
            Key::IsoWeek => "IW",
            Key::Century => "CC",
            Key::Julian => "J",
            Key::Quarter => "Q",
            Key::Zone => "TZ",
            Key::ZoneHour => "TZH",
            Key::ZoneMinute => "TZM",
            Key::Offset => "OF",
        }
    }
}

/// Keywords whose letters may be all upper or all lower case; a longer one stands before its beginnings.
const NUMBERS: &[(&str, Key)] = &[
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("MI", Key::Minute),
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("SS", Key::Second),
    ("MS", Key::Millisecond),
    ("US", Key::Microsecond),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("Y,YYY", Key::YearComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("IW", Key::IsoWeek),
    ("I", Key::IsoYear(1)),
    ("MM", Key::Month),
    ("DDD", Key::DayOfYear),
    ("DD", Key::Day),
    ("D", Key::DayOfWeek),
    ("WW", Key::WeekOfYear),
    ("W", Key::WeekOfMonth),
    ("CC", Key::Century),
    ("J", Key::Julian),
    ("Q", Key::Quarter),
    ("TZH", Key::ZoneHour),
    ("TZM", Key::ZoneMinute),
    ("OF", Key::Offset),
];

/// Keywords whose letters decide how the result is written.
const NAMES: &[(&str, Case, Key)] = &[
    ("A.M.", Case::Upper, Key::Meridiem { dots: true }),
    ("P.M.", Case::Upper, Key::Meridiem { dots: true }),
    ("a.m.", Case::Lower, Key::Meridiem { dots: true }),
    ("p.m.", Case::Lower, Key::Meridiem { dots: true }),
    ("AM", Case::Upper, Key::Meridiem { dots: false }),
    ("PM", Case::Upper, Key::Meridiem { dots: false }),
    ("am", Case::Lower, Key::Meridiem { dots: false }),
    ("pm", Case::Lower, Key::Meridiem { dots: false }),
    ("A.D.", Case::Upper, Key::Era { dots: true }),
    ("B.C.", Case::Upper, Key::Era { dots: true }),
    ("a.d.", Case::Lower, Key::Era { dots: true }),
    ("b.c.", Case::Lower, Key::Era { dots: true }),
    ("AD", Case::Upper, Key::Era { dots: false }),
    ("BC", Case::Upper, Key::Era { dots: false }),
    ("ad", Case::Lower, Key::Era { dots: false }),
    ("bc", Case::Lower, Key::Era { dots: false }),
    ("MONTH", Case::Upper, Key::MonthName),
    ("Month", Case::Title, Key::MonthName),
    ("month", Case::Lower, Key::MonthName),
    ("MON", Case::Upper, Key::MonthShort),
    ("Mon", Case::Title, Key::MonthShort),
    ("mon", Case::Lower, Key::MonthShort),
    ("DAY", Case::Upper, Key::DayName),
    ("Day", Case::Title, Key::DayName),
    ("day", Case::Lower, Key::DayName),
    ("DY", Case::Upper, Key::DayShort),
    ("Dy", Case::Title, Key::DayShort),
    ("dy", Case::Lower, Key::DayShort),
    ("RM", Case::Upper, Key::MonthRoman),
    ("rm", Case::Lower, Key::MonthRoman),
    ("TZ", Case::Upper, Key::Zone),
    ("tz", Case::Lower, Key::Zone),
];

pub(super) struct Pattern {
    pub parts: Vec<Part>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let after_prefix = ["FM", "fm", "TM", "tm", "FX", "fx"]
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix));
            let fill = after_prefix.is_some() && rest.starts_with(['F', 'f']) && !rest[1..].starts_with(['X', 'x']);
            let candidate = after_prefix.unwrap_or(rest);
            if let Some((length, key, case)) = keyword(candidate) {
                rest = &candidate[length..];
                let ordinal = ordinal(&mut rest);
                parts.push(Part::Field(Field {
                    key,
                    case,
                    fill,
                    ordinal,
                }));
            } else if after_prefix.is_some() {
                // A prefix alone changes nothing.
                rest = candidate;
            } else if let Some(quoted) = rest.strip_prefix('"') {
                rest = quoted_text(quoted, &mut parts);
            } else {
                let escaped = rest.strip_prefix('\\').filter(|after| after.starts_with('"'));
                let from = escaped.unwrap_or(rest);
                let length = from.chars().next().map_or(0, char::len_utf8);
                push_text(&mut parts, &from[..length]);
                rest = &from[length..];
            }
        }
        Ok(Self { parts })
    }
}

fn ordinal(rest: &mut &str) -> Option<Case> {
    for (suffix, case) in [("TH", Case::Upper), ("th", Case::Lower)] {
        if let Some(after) = rest.strip_prefix(suffix) {
            *rest = after;
            return Some(case);
        }
    }
    None
}

/// The longest keyword the text begins with: its length, field and case.
fn keyword(text: &str) -> Option<(usize, Key, Case)> {
    let named = NAMES
        .iter()
        .filter(|(word, ..)| text.starts_with(word))
        .map(|(word, case, key)| (word.len(), *key, *case));
    let numbers = NUMBERS.iter().filter_map(|(word, key)| {
        let start = text.get(..word.len())?;
        let case = match start {
            _ if start == *word => Case::Upper,
            _ if start == word.to_ascii_lowercase() => Case::Lower,
            _ => return None,
        };
        Some((word.len(), *key, case))
    });
    named.chain(numbers).max_by_key(|(length, ..)| *length)
}

/// Text up to the closing quote; a backslash takes the next character as it is.
fn quoted_text<'a>(quoted: &'a str, parts: &mut Vec<Part>) -> &'a str {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                push_text(parts, &text);
                return &quoted[at + 1..];
            }
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    push_text(parts, &text);
    ""
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_string())),
    }
}
