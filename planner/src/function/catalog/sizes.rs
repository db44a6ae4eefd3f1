//! Sizes for people: `pg_size_pretty` and `pg_size_bytes`.

use super::Answer;
use crate::error::{Error, ErrorKind, Result};

/// As PostgreSQL: from 10 kB on in kilobytes, and so on, rounded to the nearest.
pub(super) fn size_pretty(given: &[Answer]) -> Result<Answer> {
    let (digits, behind) = match given.first() {
        Some(Answer::Big(bytes)) => (i128::from(*bytes), 0),
        Some(Answer::Numeric(digits, behind)) => (*digits, *behind),
        _ => return Ok(Answer::Null),
    };
    let unit = 10_i128.saturating_pow(behind);
    if digits.unsigned_abs() < unit.saturating_mul(10 * 1024).unsigned_abs() {
        return Ok(Answer::Text(format!("{} bytes", decimal(digits, unit, behind))));
    }
    // One bit is kept for rounding.
    let mut size = digits / unit / 512;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.abs() < 20 * 1024 - 1 {
            return Ok(Answer::Text(format!("{} {unit}", half_rounded(size))));
        }
        size /= 1024;
    }
    Ok(Answer::Text(format!("{} PB", half_rounded(size))))
}

fn half_rounded(size: i128) -> i128 {
    (size + if size < 0 { -1 } else { 1 }) / 2
}

/// A number of few bytes, without the noughts at its end.
fn decimal(digits: i128, unit: i128, behind: u32) -> String {
    let sign = if digits < 0 { "-" } else { "" };
    let (whole, rest) = ((digits / unit).unsigned_abs(), (digits % unit).unsigned_abs());
    let width = usize::try_from(behind).unwrap_or_default();
    let rest = format!("{rest:0width$}");
    match rest.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    }
}

const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];

/// The bytes of `1.5 GB`; a number without a unit is bytes.
pub(super) fn size_bytes(given: &[Answer]) -> Result<Answer> {
    let Some(Answer::Text(text)) = given.first() else {
        return Ok(Answer::Null);
    };
    let refused = || Error::new(ErrorKind::InvalidParameterValue, format!("invalid size: \"{text}\""));
    let trimmed = text.trim();
    let end = number_end(trimmed).ok_or_else(refused)?;
    let unit = trimmed[end..].trim_start();
    let power = match unit {
        "" => 0,
        _ if unit.eq_ignore_ascii_case("B") => 0,
        _ => UNITS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(unit))
            .ok_or_else(|| {
                refused()
                    .with_detail(format!("Invalid size unit: \"{unit}\"."))
                    .with_hint("Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".")
            })?,
    };
    let out_of_range = || Error::new(ErrorKind::NumericOutOfRange, "bigint out of range");
    let (digits, exponent) = decimal_parts(&trimmed[..end]).ok_or_else(refused)?;
    let mut bytes = digits
        .checked_mul(1024_i128.pow(power as u32))
        .ok_or_else(out_of_range)?;
    let scale = 10_i128.checked_pow(exponent.unsigned_abs());
    bytes = match (exponent < 0, scale) {
        (false, scale) => scale
            .and_then(|scale| bytes.checked_mul(scale))
            .ok_or_else(out_of_range)?,
        // Halves go away from zero.
        (true, Some(scale)) => (bytes + bytes.signum() * (scale / 2)) / scale,
        (true, None) => 0,
    };
    i64::try_from(bytes).map(Answer::Big).map_err(|_| out_of_range())
}

/// Where the number a text begins with ends. An exponent counts as one only if it has digits: `1EB` has a unit.
fn number_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(end);
    end += whole;
    let mut behind = 0;
    if bytes.get(end) == Some(&b'.') {
        behind = digits(end + 1);
        end += 1 + behind;
    }
    if whole + behind == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let start = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if let Some(1..) = bytes.get(start..).map(|_| digits(start)) {
            end = start + digits(start);
        }
    }
    Some(end)
}

/// A decimal number as digits and a power of ten.
fn decimal_parts(number: &str) -> Option<(i128, i32)> {
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let behind = number.split_once('.').map_or(0, |(_, behind)| behind.len());
    let digits = number.replace('.', "").parse::<i128>().ok()?;
    Some((digits, exponent.checked_sub(i32::try_from(behind).ok()?)?))
}
