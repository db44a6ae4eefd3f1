//! Time zones: names of the tz database, fixed offsets, and the abbreviations PostgreSQL reads.

use std::fmt;

use chrono::offset::{LocalResult, Offset, TimeZone};
use chrono::{DateTime, NaiveDateTime};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use super::{MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};

/// A time zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Tz),
}

/// The tz database as we have it lists its rules' dates up to the end of this century. Later years follow the year of
/// the same calendar among these: 28 years have all there are.
const CALENDAR_YEARS: std::ops::Range<i64> = 2060..2088;
/// 2090-01-01
const LISTED_SECONDS_MAX: i64 = 3_786_912_000;
/// Largest offset PostgreSQL reads: below 16 hours.
const OFFSET_SECONDS_MAX: i32 = 16 * 3600;

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Zone(Kind::Named(Tz::UTC))
    }

    /// A zone from a name of the tz database in any case, or an offset: `+05:30`, `-08`, `+0200`. Positive is east.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(seconds) = parse_offset(name.as_bytes()) {
            return Some(Zone::fixed(seconds));
        }
        if let Ok(zone) = name.parse::<Tz>() {
            return Some(Zone(Kind::Named(zone)));
        }
        TZ_VARIANTS
            .iter()
            .find(|zone| zone.name().eq_ignore_ascii_case(name))
            .map(|zone| Zone(Kind::Named(*zone)))
    }

    /// A zone as POSIX describes those without summer time: letters, which tell nothing, and how far it is to the west:
    /// `+03`, `UTC-5:30`, `<x>3`.
    pub(crate) fn of_posix(text: &str) -> Option<Self> {
        let offset = match text.strip_prefix('<') {
            Some(rest) => rest.split_once('>')?.1,
            None => text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()),
        };
        let (sign, digits) = match offset.as_bytes().first()? {
            b'-' => (1, &offset[1..]),
            b'+' => (-1, &offset[1..]),
            _ => (-1, offset),
        };
        let mut seconds = 0;
        let mut parts = digits.split(':');
        for (unit, limit) in [(3600, 168), (60, 60), (1, 60)] {
            let Some(part) = parts.next() else { break };
            let is_number = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = part.parse::<i32>().ok().filter(|number| is_number && *number < limit)?;
            seconds += number * unit;
        }
        parts.next().is_none().then(|| Zone::fixed(sign * seconds))
    }

    /// A zone this many seconds east of Greenwich.
    pub(crate) fn fixed(seconds: i32) -> Self {
        Zone(Kind::Fixed(seconds))
    }

    /// Seconds to add to a moment (microseconds since 1970 UTC) for this zone's clock.
    pub(crate) fn offset_at(&self, micros: i64) -> i32 {
        match self.0 {
            Kind::Fixed(seconds) => seconds,
            Kind::Named(Tz::UTC) => 0,
            Kind::Named(zone) => zone
                .offset_from_utc_datetime(&naive(micros.div_euclid(MICROS_PER_SECOND)))
                .fix()
                .local_minus_utc(),
        }
    }

    /// The zone's name at a moment: `CET`, `CEST`, or an offset where it has no letters.
    pub(crate) fn abbreviation_at(&self, micros: i64) -> String {
        match self.0 {
            Kind::Fixed(_) => self.to_string(),
            Kind::Named(zone) => zone
                .offset_from_utc_datetime(&naive(micros.div_euclid(MICROS_PER_SECOND)))
                .abbreviation()
                .map_or_else(|| self.to_string(), str::to_string),
        }
    }

    /// As [`Zone::offset_at`] for what the zone's clock shows. A time the clock skipped counts by the offset before the
    /// jump, one it showed twice by the offset after it, as PostgreSQL does.
    pub(crate) fn offset_at_local(&self, micros: i64) -> i32 {
        let zone = match self.0 {
            Kind::Fixed(seconds) => return seconds,
            Kind::Named(Tz::UTC) => return 0,
            Kind::Named(zone) => zone,
        };
        let seconds = micros.div_euclid(MICROS_PER_SECOND);
        match zone.offset_from_local_datetime(&naive(seconds)) {
            LocalResult::Single(offset) => offset.fix().local_minus_utc(),
            LocalResult::Ambiguous(_, after) => after.fix().local_minus_utc(),
            // No jump is longer than a day.
            LocalResult::None => zone
                .offset_from_utc_datetime(&naive(seconds - 2 * 86_400))
                .fix()
                .local_minus_utc(),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Named(zone) => f.write_str(zone.name()),
            Kind::Fixed(seconds) => {
                let sign = if seconds < 0 { '-' } else { '+' };
                let minutes = seconds.unsigned_abs() / 60;
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

fn naive(seconds: i64) -> NaiveDateTime {
    let seconds = if seconds > LISTED_SECONDS_MAX {
        in_listed_years(seconds)
    } else {
        seconds
    };
    // The earliest timestamp, 4713 BC, is far inside chrono's range.
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()
}

/// The same day and time of a year with the same calendar for which the rules are listed.
fn in_listed_years(seconds: i64) -> i64 {
    const DAY_SECONDS: i64 = 86_400;
    let (year, _, _) = civil_from_days(seconds.div_euclid(DAY_SECONDS));
    let calendar = |year: i64| (days_from_civil(year, 1, 1).rem_euclid(7), days_in_month(year, 2));
    let like = CALENDAR_YEARS
        .into_iter()
        .find(|listed| calendar(*listed) == calendar(year))
        .unwrap_or(year);
    seconds + (days_from_civil(like, 1, 1) - days_from_civil(year, 1, 1)) * DAY_SECONDS
}

/// Reads `±h`, `±hh`, `±hhmm`, `±hh:mm`, `±hh:mm:ss` as seconds east.
pub(super) fn parse_offset(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text.first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let number = |digits: &[u8]| -> Option<i32> {
        if digits.is_empty() || digits.len() > 2 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(
            digits
                .iter()
                .fold(0, |value, digit| value * 10 + i32::from(digit - b'0')),
        )
    };
    let mut parts = rest.split(|&byte| byte == b':');
    let first = parts.next()?;
    let (hours, minutes) = match (first.len(), parts.next()) {
        (1 | 2, Some(minutes)) => (number(first)?, number(minutes)?),
        (1 | 2, None) => (number(first)?, 0),
        (3 | 4, None) => (number(&first[..first.len() - 2])?, number(&first[first.len() - 2..])?),
        _ => return None,
    };
    let seconds = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    let offset = hours * 3600 + minutes * 60 + seconds;
    (offset < OFFSET_SECONDS_MAX).then_some(sign * offset)
}

/// Seconds east of an abbreviation in lower case, from PostgreSQL's default list.
pub(crate) fn abbreviation(word: &str) -> Option<i32> {
    ABBREVIATIONS
        .binary_search_by_key(&word, |entry| entry.0)
        .ok()
        .map(|at| ABBREVIATIONS[at].1 * 60)
}

/// Abbreviation and minutes east, in alphabetical order.
#[rustfmt::skip]
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("acdt", 630), ("acsst", 630), ("acst", 570), ("act", -300), ("acwst", 525), ("adt", -180), ("aedt", 660),
    ("aesst", 660), ("aest", 600), ("aft", 270), ("akdt", -480), ("akst", -540), ("almst", 420), ("almt", 360),
    ("amst", 240), ("amt", -240), ("anast", 720), ("anat", 720), ("arst", -180), ("art", -180), ("ast", -240),
    ("awsst", 540), ("awst", 480), ("azost", 0), ("azot", -60), ("azst", 240), ("azt", 240), ("bdst", 120),
    ("bdt", 360), ("bnt", 480), ("bort", 480), ("bot", -240), ("bra", -180), ("brst", -120), ("brt", -180),
    ("bst", 60), ("btt", 360), ("cadt", 630), ("cast", 570), ("cct", 480), ("cdt", -300), ("cest", 120), ("cet", 60),
    ("cetdst", 120), ("chadt", 825), ("chast", 765), ("chut", 600), ("ckt", -600), ("clst", -180), ("clt", -180),
    ("cot", -300), ("cst", -360), ("cxt", 420), ("davt", 420), ("ddut", 600), ("easst", -300), ("east", -300),
    ("eat", 180), ("edt", -240), ("eest", 180), ("eet", 120), ("eetdst", 180), ("egst", 0), ("egt", -60),
    ("est", -300), ("fet", 180), ("fjst", 780), ("fjt", 720), ("fkst", -180), ("fkt", -180), ("fnst", -60),
    ("fnt", -120), ("galt", -360), ("gamt", -540), ("gest", 240), ("get", 240), ("gft", -180), ("gilt", 720),
    ("gmt", 0), ("gyt", -240), ("hkt", 480), ("hst", -600), ("ict", 420), ("idt", 180), ("iot", 360), ("irkst", 480),
    ("irkt", 480), ("irt", 210), ("ist", 120), ("jayt", 540), ("jst", 540), ("kdt", 600), ("kgst", 360), ("kgt", 360),
    ("kost", 660), ("krast", 420), ("krat", 420), ("kst", 540), ("lhdt", 660), ("lhst", 630), ("ligt", 600),
    ("lint", 840), ("lkt", 330), ("magst", 660), ("magt", 660), ("mart", -570), ("mawt", 300), ("mdt", -360),
    ("mest", 120), ("mesz", 120), ("met", 60), ("metdst", 120), ("mez", 60), ("mht", 720), ("mmt", 390), ("mpt", 600),
    ("msd", 240), ("msk", 180), ("mst", -420), ("must", 300), ("mut", 240), ("mvt", 300), ("myt", 480), ("ndt", -150),
    ("nft", -210), ("novst", 420), ("novt", 420), ("npt", 345), ("nst", -210), ("nut", -660), ("nzdt", 780),
    ("nzst", 720), ("nzt", 720), ("omsst", 360), ("omst", 360), ("pdt", -420), ("pet", -300), ("petst", 720),
    ("pett", 720), ("pgt", 600), ("pht", 480), ("pkst", 360), ("pkt", 300), ("pmdt", -120), ("pmst", -180),
    ("pont", 660), ("pst", -480), ("pwt", 540), ("pyst", -180), ("pyt", -180), ("ret", 240), ("sadt", 630),
    ("sast", 120), ("sct", 240), ("sgt", 480), ("taht", -600), ("tft", 300), ("tjt", 300), ("tkt", 780), ("tmt", 300),
    ("tot", 780), ("trut", 600), ("tvt", 720), ("uct", 0), ("ulast", 540), ("ulat", 480), ("ut", 0), ("utc", 0),
    ("uyst", -120), ("uyt", -180), ("uzst", 360), ("uzt", 300), ("vet", -240), ("vlast", 600), ("vlat", 600),
    ("volt", 180), ("vut", 660), ("wadt", 480), ("wakt", 720), ("wast", 420), ("wat", 60), ("wdt", 540), ("wet", 0),
    ("wetdst", 60), ("wft", 720), ("wgst", -120), ("wgt", -180), ("xjt", 360), ("yakst", 540), ("yakt", 540),
    ("yapt", 600), ("yekst", 360), ("yekt", 300), ("z", 0), ("zulu", 0),
];
