//! Intervals as text, because Iceberg has no type for them: ISO 8601 durations such as `P14M3DT-4.5S`, whose three parts
//! (months, days, seconds) keep their own signs, as PostgreSQL's interval does.

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Error, ErrorKind, Result};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// The text of an interval; `PT0S` for nothing.
pub(crate) fn format(value: IntervalMonthDayNano) -> String {
    let mut text = String::from("P");
    if value.months != 0 {
        text.push_str(&format!("{}M", value.months));
    }
    if value.days != 0 {
        text.push_str(&format!("{}D", value.days));
    }
    if value.nanoseconds != 0 || text.len() == 1 {
        let sign = if value.nanoseconds < 0 { "-" } else { "" };
        let nanos = value.nanoseconds.unsigned_abs();
        let (whole, rest) = (nanos / NANOS_PER_SECOND as u64, nanos % NANOS_PER_SECOND as u64);
        let fraction = format!("{rest:09}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        text.push_str(&format!("T{sign}{whole}{point}{fraction}S"));
    }
    text
}

/// Reads any ISO 8601 duration of years to seconds with a sign per part; a fraction only in the seconds.
pub(crate) fn parse(text: &str) -> Result<IntervalMonthDayNano> {
    parts(text).ok_or_else(|| {
        Error::new(
            ErrorKind::CorruptFile,
            format!("invalid interval text \"{}\"", text.escape_debug()),
        )
    })
}

fn parts(text: &str) -> Option<IntervalMonthDayNano> {
    let mut rest = text.strip_prefix('P')?;
    let (mut months, mut days, mut nanos) = (0i64, 0i64, 0i64);
    let mut time = false;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            if time || after.is_empty() {
                return None;
            }
            (time, rest) = (true, after);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = (&rest[..end], rest.as_bytes()[end]);
        rest = &rest[end + 1..];
        if time && unit == b'S' {
            nanos = nanos.checked_add(seconds(number)?)?;
            continue;
        }
        let number: i64 = number.parse().ok()?;
        match (time, unit) {
            (false, b'Y') => months = months.checked_add(number.checked_mul(12)?)?,
            (false, b'M') => months = months.checked_add(number)?,
            (false, b'W') => days = days.checked_add(number.checked_mul(7)?)?,
            (false, b'D') => days = days.checked_add(number)?,
            (true, b'H') => nanos = nanos.checked_add(number.checked_mul(3_600 * NANOS_PER_SECOND)?)?,
            (true, b'M') => nanos = nanos.checked_add(number.checked_mul(60 * NANOS_PER_SECOND)?)?,
            _ => return None,
        }
    }
    Some(IntervalMonthDayNano::new(
        months.try_into().ok()?,
        days.try_into().ok()?,
        nanos,
    ))
}

/// Nanoseconds of a decimal number of seconds.
fn seconds(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    let nanos = whole.checked_mul(NANOS_PER_SECOND.into())?.checked_add(fraction)?;
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_back() {
        for (value, text) in [
            (IntervalMonthDayNano::new(0, 0, 0), "PT0S"),
            (IntervalMonthDayNano::new(14, -3, 0), "P14M-3D"),
            (IntervalMonthDayNano::new(0, 0, -4_500_000_000), "PT-4.5S"),
            (IntervalMonthDayNano::new(0, 0, -1_000), "PT-0.000001S"),
            (
                IntervalMonthDayNano::new(-1, 1, 86_400_000_000_001),
                "P-1M1DT86400.000000001S",
            ),
            (
                IntervalMonthDayNano::new(i32::MIN, i32::MAX, i64::MIN),
                "P-2147483648M2147483647DT-9223372036.854775808S",
            ),
        ] {
            assert_eq!(format(value), text);
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
        assert_eq!(
            parse("P1Y2M1W3DT4H5M6S").unwrap(),
            IntervalMonthDayNano::new(14, 10, 14_706_000_000_000)
        );
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "P",
            "PT",
            "1 day",
            "P1S",
            "PT1D",
            "P1",
            "PT1.1H",
            "PTT1S",
            "PT.5S",
            "PT1é",
            "P99999999999Y",
            "PT9e9S",
        ] {
            assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::CorruptFile, "{text}");
        }
    }
}
