//! A pattern for dates and times, taken apart.

use crate::error::Result;

/// A field, or what stands between fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// Letters and digits, and what is quoted.
    Text(String),
    /// A blank or a sign of punctuation.
    Separator(char),
    Field(Field),
    /// `FX`: from here on, texts are read character by character.
    Exact,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    pub key: Key,
    /// The keyword, with capitals.
    word: &'static str,
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
        match self.case {
            Case::Upper | Case::Title => self.word.to_owned(),
            Case::Lower => self.word.to_ascii_lowercase(),
        }
    }

    /// How many characters its number has where another number follows at once.
    pub(super) fn width(&self) -> usize {
        match self.key {
            Key::Hour12 | Key::Hour24 | Key::ZoneHour | Key::ZoneMinute => 2,
            Key::IsoDayOfYear => 3,
            Key::Microsecond => 6,
            Key::Millisecond => 3,
            Key::Fraction(digits) => usize::from(digits),
            Key::IsoDayOfWeek => 1,
            _ => self.word.len(),
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
    /// Whether it is read as digits: a number before it ends by its width.
    pub(super) fn is_digits(self) -> bool {
        !matches!(
            self,
            Key::Meridiem { .. }
                | Key::Era { .. }
                | Key::MonthName
                | Key::MonthShort
                | Key::MonthRoman
                | Key::DayName
                | Key::DayShort
                | Key::Zone
                | Key::ZoneHour
                | Key::Offset
        )
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
            let after_prefix = ["FM", "fm", "TM", "tm"]
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix));
            let fill = after_prefix.is_some() && rest.starts_with(['F', 'f']);
            // A prefix alone changes nothing.
            rest = after_prefix.unwrap_or(rest);
            if let Some((word, key, case)) = keyword(rest) {
                rest = &rest[word.len()..];
                let ordinal = ordinal(&mut rest);
                parts.push(Part::Field(Field {
                    key,
                    word,
                    case,
                    fill,
                    ordinal,
                }));
            } else if let Some(after) = rest.strip_prefix("FX").or_else(|| rest.strip_prefix("fx")) {
                rest = after;
                parts.push(Part::Exact);
            } else if let Some(quoted) = rest.strip_prefix('"') {
                rest = quoted_text(quoted, &mut parts);
            } else {
                let escaped = rest.strip_prefix('\\').filter(|after| after.starts_with('"'));
                let mut characters = escaped.unwrap_or(rest).chars();
                match characters.next() {
                    Some(separator) if is_separator(separator) || is_blank(separator) => {
                        parts.push(Part::Separator(separator));
                    }
                    Some(other) => push_text(&mut parts, other.encode_utf8(&mut [0; 4])),
                    None => {}
                }
                rest = characters.as_str();
            }
        }
        Ok(Self { parts })
    }
}

/// As `isspace` has them.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// A sign of ASCII that is no letter, digit or blank.
pub(super) fn is_separator(character: char) -> bool {
    character.is_ascii_punctuation()
}

/// What follows a keyword; `SP`, which shall spell numbers out, changes nothing in PostgreSQL either.
fn ordinal(rest: &mut &str) -> Option<Case> {
    for (suffix, case) in [("TH", Case::Upper), ("th", Case::Lower)] {
        if let Some(after) = rest.strip_prefix(suffix) {
            *rest = after;
            return Some(case);
        }
    }
    *rest = rest.strip_prefix("SP").unwrap_or(rest);
    None
}

/// The longest keyword the text begins with, its field and case.
fn keyword(text: &str) -> Option<(&'static str, Key, Case)> {
    let named = NAMES
        .iter()
        .filter(|(word, ..)| text.starts_with(word))
        .map(|(word, case, key)| (*word, *key, *case));
    let numbers = NUMBERS.iter().filter_map(|(word, key)| {
        let start = text.get(..word.len())?;
        let case = match start {
            _ if start == *word => Case::Upper,
            _ if start == word.to_ascii_lowercase() => Case::Lower,
            _ => return None,
        };
        Some((*word, *key, case))
    });
    named.chain(numbers).max_by_key(|(word, ..)| word.len())
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
