//! Reading dates, times and timestamps: ISO 8601 by a short cut, everything else PostgreSQL takes
//! by its tokens (`fields.rs`).

use super::fields::{Fault, Fields, Special};
use super::zone::parse_offset;
use super::{
    DATE_INFINITY, DATE_NEG_INFINITY, DAYS_MAX, DAYS_MIN, MICROS_PER_DAY, MICROS_PER_SECOND, TIMESTAMP_INFINITY,
    TIMESTAMP_NEG_INFINITY, days_from_civil, days_in_month,
};
use crate::error::Result;
use crate::value::FormatSettings;

/// Reads a `date`: days since 1970-01-01.
pub(in crate::value) fn parse_date(text: &[u8], settings: &FormatSettings) -> Result<i32> {
    if let Some((days, rest)) = iso_day(text)
        && rest.is_empty()
    {
        return i32::try_from(days).map_err(|_| Fault::OutOfRange.error("date", text));
    }
    let read = || -> Result<i32, Fault> {
        let fields = Fields::read(text, settings)?;
        match fields.special {
            Some(Special::Infinity) => return Ok(DATE_INFINITY),
            Some(Special::NegativeInfinity) => return Ok(DATE_NEG_INFINITY),
            Some(Special::Day(moment) | Special::Moment(moment)) => {
                let offset = i64::from(settings.time_zone.offset_at(moment)) * MICROS_PER_SECOND;
                return i32::try_from((moment + offset).div_euclid(MICROS_PER_DAY)).map_err(|_| Fault::OutOfRange);
            }
            None => {}
        }
        let days = fields.day.ok_or(Fault::Syntax)?;
        i32::try_from(days)
            .ok()
            .filter(|_| (DAYS_MIN..=DAYS_MAX).contains(&days))
            .ok_or(Fault::OutOfRange)
    };
    read().map_err(|fault| fault.error("date", text))
}

/// Reads a `time`: microseconds since midnight. A date or a zone beside it is read and dropped.
pub(in crate::value) fn parse_time(text: &[u8], settings: &FormatSettings) -> Result<i64> {
    if let Some((micros, rest)) = iso_clock(text)
        && rest.is_empty()
    {
        return Ok(micros);
    }
    let read = || -> Result<i64, Fault> {
        let fields = Fields::read_time(text, settings)?;
        match fields.special {
            Some(Special::Moment(moment)) => {
                let offset = i64::from(settings.time_zone.offset_at(moment)) * MICROS_PER_SECOND;
                Ok((moment + offset).rem_euclid(MICROS_PER_DAY))
            }
            Some(_) => Err(Fault::Syntax),
            None => fields.time.ok_or(Fault::Syntax).and_then(|time| {
                if time > MICROS_PER_DAY {
                    Err(Fault::Field)
                } else {
                    Ok(time)
                }
            }),
        }
    };
    read().map_err(|fault| fault.error("time", text))
}

/// Reads a `timestamp`: microseconds since 1970-01-01. A zone is read and dropped.
pub(in crate::value) fn parse_timestamp(text: &[u8], settings: &FormatSettings) -> Result<i64> {
    if let Some((days, micros, _)) = iso_moment(text) {
        return Ok(days * MICROS_PER_DAY + micros);
    }
    let read = || -> Result<i64, Fault> {
        let fields = Fields::read(text, settings)?;
        let local = |moment: i64| moment + i64::from(settings.time_zone.offset_at(moment)) * MICROS_PER_SECOND;
        match fields.special {
            Some(Special::Infinity) => Ok(TIMESTAMP_INFINITY),
            Some(Special::NegativeInfinity) => Ok(TIMESTAMP_NEG_INFINITY),
            // The epoch is the same reading on every clock; `now` is what the session's clock shows.
            Some(Special::Moment(0)) => Ok(0),
            Some(Special::Moment(moment)) => Ok(local(moment)),
            Some(Special::Day(moment)) => {
                Ok(local(moment).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY + fields.time.unwrap_or(0))
            }
            None => fields.local_micros(),
        }
    };
    read().map_err(|fault| fault.error("timestamp", text))
}

/// Reads a `timestamptz`: microseconds since 1970-01-01 UTC. Without a zone in the text it is the session's.
pub(in crate::value) fn parse_timestamptz(text: &[u8], settings: &FormatSettings) -> Result<i64> {
    let session = settings.time_zone;
    if let Some((days, micros, offset)) = iso_moment(text) {
        let local = days * MICROS_PER_DAY + micros;
        let offset = offset.unwrap_or_else(|| session.offset_at_local(local));
        return Ok(local - i64::from(offset) * MICROS_PER_SECOND);
    }
    let read = || -> Result<i64, Fault> {
        let fields = Fields::read(text, settings)?;
        let zone = fields.zone.unwrap_or(session);
        let moment = |local: i64| {
            local
                .checked_sub(i64::from(zone.offset_at_local(local)) * MICROS_PER_SECOND)
                .filter(|moment| *moment != TIMESTAMP_INFINITY && *moment >= DAYS_MIN * MICROS_PER_DAY)
                .ok_or(Fault::OutOfRange)
        };
        match fields.special {
            Some(Special::Infinity) => Ok(TIMESTAMP_INFINITY),
            Some(Special::NegativeInfinity) => Ok(TIMESTAMP_NEG_INFINITY),
            Some(Special::Moment(moment)) => Ok(moment),
            Some(Special::Day(at)) => {
                let local = at + i64::from(session.offset_at(at)) * MICROS_PER_SECOND;
                moment(local.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY + fields.time.unwrap_or(0))
            }
            None => moment(fields.local_micros()?),
        }
    };
    read().map_err(|fault| fault.error("timestamp with time zone", text))
}

/// The short cut for `yyyy-mm-dd`, with what follows it. `None` leaves the text to the long way, errors included.
fn iso_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_first_chunk::<10>()?;
    if head[4] != b'-' || head[7] != b'-' {
        return None;
    }
    let year = i64::from(two(head[0], head[1])? * 100 + two(head[2], head[3])?);
    let (month, day) = (two(head[5], head[6])?, two(head[8], head[9])?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some((days_from_civil(year, month, day), rest))
}

/// The short cut for `hh:mm:ss` with up to six digits of a fraction, with what follows it.
fn iso_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, mut rest) = text.split_first_chunk::<8>()?;
    if head[2] != b':' || head[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(head[0], head[1])?, two(head[3], head[4])?, two(head[6], head[7])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = i64::from((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND;
    if let [b'.', fraction @ ..] = rest {
        let mut unit = MICROS_PER_SECOND / 10;
        let mut count = 0;
        for digit in fraction.iter().take_while(|byte| byte.is_ascii_digit()) {
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            count += 1;
        }
        if count > 6 {
            return None;
        }
        rest = &fraction[count..];
    }
    Some((micros, rest))
}

/// The short cut for a date, or a date and a time with an optional offset: days, microseconds, seconds east.
fn iso_moment(text: &[u8]) -> Option<(i64, i64, Option<i32>)> {
    let (days, rest) = iso_day(text)?;
    let rest = match rest {
        [] => return Some((days, 0, None)),
        [b' ' | b'T', rest @ ..] => rest,
        _ => return None,
    };
    let (micros, rest) = iso_clock(rest)?;
    match rest {
        [] => Some((days, micros, None)),
        [b'Z'] => Some((days, micros, Some(0))),
        offset => Some((days, micros, Some(parse_offset(offset)?))),
    }
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(u32::from(tens) * 10 + u32::from(ones))
}
