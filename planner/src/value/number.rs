//! Booleans, integers and floats as text.

use std::fmt::Write;

use bytes::BytesMut;

use super::invalid_text;
use crate::error::{Error, ErrorKind, Result};

/// Writes an integer in decimal.
pub(super) fn write_integer(value: i64, out: &mut BytesMut) {
    if value < 0 {
        out.extend_from_slice(b"-");
    }
    write_unsigned(value.unsigned_abs(), out);
}

pub(super) fn write_unsigned(value: u64, out: &mut BytesMut) {
    let mut digits = [0_u8; 20];
    out.extend_from_slice(decimal_digits(value, &mut digits));
}

/// The decimal digits of a number, at the end of the buffer.
pub(super) fn decimal_digits(mut value: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    &buffer[at..]
}

/// Writes exactly two digits; `value` is below 100.
pub(super) fn write_two(value: u32, out: &mut BytesMut) {
    let pair = (value % 100) as usize * 2;
    out.extend_from_slice(&PAIRS[pair..pair + 2]);
}

const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
40414243444546474849505152535455565758596061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Reads an integer of `type_name`, which must lie within the bounds. Blanks around it and a sign are fine.
pub(super) fn parse_integer(text: &[u8], type_name: &str, min: i64, max: i64) -> Result<i64> {
    // The common case first: digits only, and few enough not to overflow.
    if !text.is_empty() && text.len() <= 18 {
        let mut value = 0_i64;
        let (negative, digits) = match text[0] {
            b'-' => (true, &text[1..]),
            _ => (false, text),
        };
        let plain = !digits.is_empty()
            && digits.iter().all(|byte| {
                let digit = byte.wrapping_sub(b'0');
                value = value * 10 + i64::from(digit);
                digit <= 9
            });
        if plain {
            let value = if negative { -value } else { value };
            if value < min || value > max {
                return Err(out_of_range(text, type_name));
            }
            return Ok(value);
        }
    }
    parse_integer_slowly(text, type_name, min, max)
}

#[cold]
fn parse_integer_slowly(text: &[u8], type_name: &str, min: i64, max: i64) -> Result<i64> {
    let trimmed = trim(text);
    let (negative, digits) = match trimmed.first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid_text(type_name, text));
    }
    let mut value = 0_i128;
    for digit in digits {
        value = (value * 10 + i128::from(digit - b'0')).min(i128::from(i64::MAX) + 2);
    }
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(out_of_range(text, type_name)),
    }
}

fn out_of_range(text: &[u8], type_name: &str) -> Error {
    let text = String::from_utf8_lossy(text);
    Error::new(
        ErrorKind::NumericOutOfRange,
        format!("value \"{text}\" is out of range for type {type_name}"),
    )
}

/// Reads a Boolean: `true`, `yes`, `on`, `1` and their opposites, or any unambiguous beginning of those words.
pub(super) fn parse_boolean(text: &[u8]) -> Result<bool> {
    match text {
        b"t" => return Ok(true),
        b"f" => return Ok(false),
        _ => {}
    }
    let word = trim(text).to_ascii_lowercase();
    let begins = |full: &[u8], least: usize| word.len() >= least && full.starts_with(&word);
    if begins(b"true", 1) || begins(b"yes", 1) || word == b"on" || word == b"1" {
        Ok(true)
    } else if begins(b"false", 1) || begins(b"no", 1) || begins(b"off", 2) || word == b"0" {
        Ok(false)
    } else {
        Err(invalid_text("boolean", text))
    }
}

/// Reads a `double precision`.
pub(super) fn parse_double(text: &[u8]) -> Result<f64> {
    parse_float(text, "double precision", f64::is_infinite, |value| *value == 0.0)
}

/// Reads a `real`.
pub(super) fn parse_real(text: &[u8]) -> Result<f32> {
    parse_float(text, "real", f32::is_infinite, |value| *value == 0.0)
}

fn parse_float<T: std::str::FromStr + Copy>(
    text: &[u8],
    type_name: &str,
    is_infinite: impl Fn(T) -> bool,
    is_zero: impl Fn(&T) -> bool,
) -> Result<T> {
    let trimmed = trim(text);
    let parsed: Option<T> = std::str::from_utf8(trimmed).ok().and_then(|text| text.parse().ok());
    let Some(value) = parsed else {
        return Err(invalid_text(type_name, text));
    };
    let mantissa = trimmed
        .split(|byte| matches!(byte, b'e' | b'E'))
        .next()
        .unwrap_or_default();
    let digits_only = !mantissa.iter().any(|byte| matches!(byte, b'i' | b'I' | b'n' | b'N'));
    // Digits that became infinite or zero did not fit.
    let lost = is_infinite(value) || is_zero(&value) && mantissa.iter().any(|byte| (b'1'..=b'9').contains(byte));
    if digits_only && lost {
        let text = String::from_utf8_lossy(trimmed);
        return Err(Error::new(
            ErrorKind::NumericOutOfRange,
            format!("\"{text}\" is out of range for type {type_name}"),
        ));
    }
    Ok(value)
}

/// Writes a `double precision`. `extra_digits` is the setting `extra_float_digits`.
pub(super) fn write_double(value: f64, extra_digits: i32, out: &mut BytesMut) {
    if !value.is_finite() {
        return write_not_finite(value.is_nan(), value > 0.0, out);
    }
    if extra_digits > 0 {
        // PostgreSQL's own algorithm is the shortest text too; it turns to exponents at 1e15.
        write_scientific(format_args!("{value:e}"), 15, out);
    } else {
        let digits = (15 + extra_digits).clamp(1, 17) as usize;
        write_scientific(format_args!("{value:.*e}", digits - 1), digits as i32, out);
    }
}

/// Writes a `real`.
pub(super) fn write_real(value: f32, extra_digits: i32, out: &mut BytesMut) {
    if !value.is_finite() {
        return write_not_finite(value.is_nan(), value > 0.0, out);
    }
    if extra_digits > 0 {
        write_scientific(format_args!("{value:e}"), 6, out);
    } else {
        let digits = (6 + extra_digits).clamp(1, 9) as usize;
        write_scientific(format_args!("{value:.*e}", digits - 1), digits as i32, out);
    }
}

fn write_not_finite(nan: bool, positive: bool, out: &mut BytesMut) {
    let text: &[u8] = match (nan, positive) {
        (true, _) => b"NaN",
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    };
    out.extend_from_slice(text);
}

/// Rewrites Rust's `-1.25e-7` as C's `%g` does: without an exponent when it lies in -4 to below `exponent_limit`, else
/// with a sign and at least two digits; trailing zeros go.
fn write_scientific(value: std::fmt::Arguments<'_>, exponent_limit: i32, out: &mut BytesMut) {
    let mut text = ShortText::default();
    // A float in scientific form never fills the buffer: 1 sign, 17 digits, 1 point, `e-308`.
    if text.write_fmt(value).is_err() {
        return;
    }
    let mut text = text.bytes();
    if let [b'-', rest @ ..] = text {
        out.extend_from_slice(b"-");
        text = rest;
    }
    let mark = text.iter().position(|&byte| byte == b'e').unwrap_or(text.len());
    let exponent: i32 = std::str::from_utf8(text.get(mark + 1..).unwrap_or_default())
        .ok()
        .and_then(|e| e.parse().ok())
        .unwrap_or(0);
    let mut digits = [0_u8; 24];
    let mut count = 0;
    for &byte in text[..mark].iter().filter(|byte| byte.is_ascii_digit()) {
        digits[count] = byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let digits = &digits[..count];
    if exponent < -4 || exponent >= exponent_limit {
        out.extend_from_slice(&digits[..1]);
        if count > 1 {
            out.extend_from_slice(b".");
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let exponent = exponent.unsigned_abs();
        if exponent < 10 {
            out.extend_from_slice(b"0");
        }
        write_unsigned(u64::from(exponent), out);
    } else if exponent < 0 {
        out.extend_from_slice(&b"0.000"[..(1 - exponent) as usize]);
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        out.extend_from_slice(&digits[..whole.min(count)]);
        for _ in count..whole {
            out.extend_from_slice(b"0");
        }
        if count > whole {
            out.extend_from_slice(b".");
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

/// A few characters on the stack.
#[derive(Default)]
struct ShortText {
    bytes: [u8; 32],
    length: usize,
}

impl ShortText {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let target = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        target.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Without the blanks at both ends, as C's `isspace` knows them.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}
