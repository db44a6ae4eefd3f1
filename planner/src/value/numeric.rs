//! `numeric`: decimal digits with a scale, in text and in PostgreSQL's base-10000 form (`src/backend/utils/adt/numeric.c`).

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};
use staffa_catalog::Digits;

use super::number::{decimal_digits, trim};
use super::{invalid_binary, invalid_text, short_binary};
use crate::error::{Error, ErrorKind, Result};

/// Most digits a value can have.
const DIGITS_MAX: usize = 38;

/// A number as read, before it is fitted to a type: `coefficient * 10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) coefficient: i128,
    pub(super) scale: i32,
}

/// Reads text as the unscaled value of `numeric(precision, scale)`: rounded half away from zero.
pub(crate) fn parse(text: &[u8], precision: u8, scale: i8) -> Result<i128> {
    if let Some(value) = parse_plain(text, scale) {
        return within(value, precision, scale);
    }
    match parse_exact(text, Some(i32::from(scale)))? {
        Parsed::Number(number) => fit(number, precision, scale),
        Parsed::Overflow => Err(overflow(precision, scale)),
    }
}

/// Reads text keeping every digit; the scale is the text's own.
pub(super) fn parse_unrounded(text: &[u8]) -> Result<Decimal> {
    match parse_exact(text, None)? {
        Parsed::Number(number) => Ok(number),
        Parsed::Overflow => Err(too_many_digits()),
    }
}

/// The common case: sign, at most 18 digits, at most `scale` of them after the point.
fn parse_plain(text: &[u8], scale: i8) -> Option<i128> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    let mut point = None;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let fraction = match point {
        Some(at) if digits.len() > 1 => digits.len() - at - 1,
        Some(_) => return None,
        None => 0,
    };
    let shift = usize::try_from(scale).ok()?.checked_sub(fraction)?;
    let value = i128::from(value).checked_mul(power(shift)?)?;
    Some(if negative { -value } else { value })
}

enum Parsed {
    Number(Decimal),
    /// More digits before the point than any type holds.
    Overflow,
}

/// Any text PostgreSQL reads. With `round_to`, digits beyond that scale are rounded away while reading.
fn parse_exact(text: &[u8], round_to: Option<i32>) -> Result<Parsed> {
    let invalid = || invalid_text("numeric", text);
    let trimmed = trim(text);
    let (negative, rest) = match trimmed.first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if trimmed.eq_ignore_ascii_case(b"nan") {
        return Err(Error::unsupported("numeric values cannot be NaN")
            .with_hint("Use double precision for values that can be NaN or infinite."));
    }
    if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow")
            .with_detail("A numeric field cannot hold an infinite value."));
    }
    let mark = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match mark {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..]).ok_or_else(invalid)?),
        None => (rest, 0),
    };
    let point = mantissa.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let digits = || whole.iter().chain(fraction);
    if whole.is_empty() && fraction.is_empty() || !digits().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    // PostgreSQL's own limit on exponents.
    if exponent.abs() > 131_072 {
        return Ok(match exponent < 0 || digits().all(|&digit| digit == b'0') {
            true => Parsed::Number(Decimal {
                coefficient: 0,
                scale: 0,
            }),
            false => return Err(too_many_digits()),
        });
    }
    let scale = fraction.len() as i64 - exponent;
    // How many of the digits count, and whether the first one left out rounds up.
    let total = (whole.len() + fraction.len()) as i64;
    let dropped = round_to.map_or(0, |round_to| (scale - i64::from(round_to)).max(0));
    let kept = total - dropped;
    let mut coefficient = 0_u128;
    for &digit in digits().take(kept.max(0) as usize) {
        let next = coefficient
            .checked_mul(10)
            .and_then(|value| value.checked_add(u128::from(digit - b'0')));
        match next {
            Some(value) if value <= i128::MAX as u128 => coefficient = value,
            _ => return Ok(Parsed::Overflow),
        }
    }
    if dropped > 0 && kept >= 0 && digits().nth(kept as usize).is_some_and(|&digit| digit >= b'5') {
        coefficient += 1;
    }
    let mut scale = scale - dropped;
    // A scale below zero: `1e5`.
    while scale < 0 && coefficient != 0 {
        match coefficient.checked_mul(10) {
            Some(value) if value <= i128::MAX as u128 => coefficient = value,
            _ => return Ok(Parsed::Overflow),
        }
        scale += 1;
    }
    if coefficient == 0 {
        scale = scale.clamp(0, DIGITS_MAX as i64);
    }
    let coefficient = i128::try_from(coefficient).map_err(|_| too_many_digits())?;
    let coefficient = if negative { -coefficient } else { coefficient };
    let scale = i32::try_from(scale).map_err(|_| too_many_digits())?;
    Ok(Parsed::Number(Decimal { coefficient, scale }))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1 << 40)
    });
    Some(if negative { -value } else { value })
}

/// The unscaled value of `numeric(precision, scale)` nearest to a number, half away from zero.
pub(super) fn fit(number: Decimal, precision: u8, scale: i8) -> Result<i128> {
    let shift = i32::from(scale) - number.scale;
    let value = if number.coefficient == 0 {
        0
    } else if shift >= 0 {
        power(shift as usize)
            .and_then(|power| number.coefficient.checked_mul(power))
            .ok_or_else(|| overflow(precision, scale))?
    } else {
        match power(shift.unsigned_abs() as usize) {
            Some(power) => {
                let half = if number.coefficient % power * 2 / power != 0 {
                    number.coefficient.signum()
                } else {
                    0
                };
                number.coefficient / power + half
            }
            None => 0,
        }
    };
    within(value, precision, scale)
}

fn within(value: i128, precision: u8, scale: i8) -> Result<i128> {
    match power(usize::from(precision)) {
        Some(limit) if value >= limit || value <= -limit => Err(overflow(precision, scale)),
        _ => Ok(value),
    }
}

/// `numeric field overflow` with PostgreSQL's detail.
pub(crate) fn overflow(precision: u8, scale: i8) -> Error {
    let whole = i32::from(precision) - i32::from(scale);
    let limit = if whole == 0 {
        "1".to_string()
    } else {
        format!("10^{whole}")
    };
    Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
}

fn too_many_digits() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "value overflows numeric format")
}

fn power(exponent: usize) -> Option<i128> {
    POWERS.get(exponent).copied()
}

/// 10^0 to 10^38.
const POWERS: [i128; DIGITS_MAX + 1] = {
    let mut powers = [1; DIGITS_MAX + 1];
    let mut at = 1;
    while at <= DIGITS_MAX {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// Writes `value * 10^-scale` with the digits after the point that count.
pub(super) fn write(value: i128, scale: i8, shown: Digits, out: &mut BytesMut) {
    if value < 0 {
        out.extend_from_slice(b"-");
    }
    let mut buffer = [0_u8; 40];
    let (digits, scale) = counting(digits_of(value.unsigned_abs(), &mut buffer), scale, shown);
    write_digits(digits, scale, out);
}

/// As [`write`], for the wide decimals of quotients and of some sums.
pub(super) fn write_wide(value: i256, scale: i8, shown: Digits, out: &mut BytesMut) {
    let text = value.to_string();
    let digits = match text.strip_prefix('-') {
        Some(digits) => {
            out.extend_from_slice(b"-");
            digits
        }
        None => &text,
    };
    let (digits, scale) = counting(digits.as_bytes(), scale, shown);
    write_digits(digits, scale, out);
}

/// Leaves out the zeros at the end that are not shown; what is left, and its scale.
fn counting(digits: &[u8], scale: i8, shown: Digits) -> (&[u8], i8) {
    if matches!(shown, Digits::Declared | Digits::All) {
        return (digits, scale);
    }
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    let zero = zeros == digits.len();
    let least = match shown {
        Digits::Declared | Digits::All => i32::from(scale),
        Digits::Among(numbers, whole) | Digits::Mixed(numbers, whole) => {
            let needed = match zero {
                true => 0,
                false => u32::try_from(i32::from(scale) - zeros as i32).unwrap_or(0),
            };
            let is_whole = needed == 0 && whole_part(digits, scale).is_some_and(|value| whole >> value & 1 == 1);
            match numbers.checked_shr(needed) {
                _ if is_whole => 0,
                None | Some(0) if matches!(shown, Digits::Mixed(..)) => quotient_scale(place_of_first(digits, scale)),
                None | Some(0) => i32::from(scale),
                Some(enough) => (needed + enough.trailing_zeros()) as i32,
            }
        }
        Digits::Quotient(least) => quotient_scale(place_of_first(digits, scale)).max(i32::from(least)),
        Digits::Variance(_) | Digits::Root(_) if zero => 0,
        Digits::Variance(least) => quotient_scale(place_of_first(digits, scale)).max(i32::from(least)),
        Digits::Root(least) => {
            // The place of the square's first digit: whether it is the higher one shows in the leading digits.
            let place = place_of_first(digits, scale).map(|place| match place {
                Leading::One(place) => Leading::One(place * 2),
                Leading::Other(place) => Leading::Other(place * 2 + i32::from(digits >= ROOT_OF_TEN)),
            });
            quotient_scale(place).max(i32::from(least))
        }
        Digits::Power(least) => significant_scale(digits, scale, power_place).max(i32::from(least)),
        Digits::SquareRoot(least) => significant_scale(digits, scale, root_place).max(i32::from(least)),
        Digits::Logarithm(least) => {
            significant_scale(digits, scale, |digits, scale| logarithm_place(digits, scale, 1.0)).max(i32::from(least))
        }
        Digits::CommonLogarithm(least) => significant_scale(digits, scale, |digits, scale| {
            logarithm_place(digits, scale, std::f64::consts::LN_10)
        })
        .max(i32::from(least)),
    };
    let scale = i32::from(scale);
    let dropped = if zero {
        scale - least
    } else {
        (scale - least).min(i32::try_from(zeros).unwrap_or(i32::MAX))
    };
    match usize::try_from(dropped) {
        Err(_) | Ok(0) => (digits, i8::try_from(scale).unwrap_or(i8::MAX)),
        Ok(dropped) => {
            let kept = digits.len().saturating_sub(dropped).max(1);
            (&digits[..kept], (scale - dropped as i32) as i8)
        }
    }
}

/// The digits before the point, when they say a number up to 63.
fn whole_part(digits: &[u8], scale: i8) -> Option<u32> {
    let length = digits.len().saturating_sub(usize::try_from(scale).unwrap_or(0));
    let value = match digits.get(..length)? {
        [] => 0,
        [one] => u32::from(one - b'0'),
        [ten, one] => u32::from(ten - b'0') * 10 + u32::from(one - b'0'),
        _ => return None,
    };
    (value < u64::BITS).then_some(value)
}

const ROOT_OF_TEN: &[u8] = b"31622776601683793319988935444327185337";

/// The decimal place of a number's first digit: 0 stands directly before the point.
#[derive(Clone, Copy)]
enum Leading {
    /// The number is a one and zeros.
    One(i32),
    Other(i32),
}

fn place_of_first(digits: &[u8], scale: i8) -> Option<Leading> {
    let place = digits.len() as i32 - 1 - i32::from(scale);
    match digits {
        [b'0'] | [] => None,
        [b'1', rest @ ..] if rest.iter().all(|&digit| digit == b'0') => Some(Leading::One(place)),
        _ => Some(Leading::Other(place)),
    }
}

/// How many digits PostgreSQL's division shows of a quotient (`select_div_scale`): at least 16 significant ones, in groups
/// of four. It goes by the first groups of dividend and divisor; where these are equal it takes the quotient for one place
/// smaller than it may be, which can be told from the quotient only when that is a power of 10000.
fn quotient_scale(first: Option<Leading>) -> i32 {
    let group = match first {
        // A zero's quotient is taken for a smaller one, too.
        None => -1,
        Some(Leading::One(place)) if place.rem_euclid(4) == 0 => place.div_euclid(4) - 1,
        Some(Leading::One(place) | Leading::Other(place)) => place.div_euclid(4),
    };
    (16 - 4 * group).max(0)
}

/// How many digits PostgreSQL's functions show of a result: 16 significant ones, by where the estimate says the first one is.
fn significant_scale(digits: &[u8], scale: i8, place: impl Fn(&[u8], i8) -> i32) -> i32 {
    (16 - place(digits, scale)).max(0)
}

/// `power_var` cuts the logarithm of the result.
fn power_place(digits: &[u8], scale: i8) -> i32 {
    match place_of_first(digits, scale) {
        None => 0,
        Some(Leading::Other(place)) if place < 0 => place + 1,
        Some(Leading::One(place) | Leading::Other(place)) => place,
    }
}

/// `numeric_sqrt` goes by the group of four digits in which its argument begins.
fn root_place(digits: &[u8], scale: i8) -> i32 {
    match place_of_first(digits, scale) {
        None => 1,
        Some(Leading::One(place) | Leading::Other(place)) => 2 * place.div_euclid(2) + 1,
    }
}

/// `estimate_ln_dweight` goes by the argument's distance from 1 where it is near, else it cuts the logarithm of the logarithm.
fn logarithm_place(digits: &[u8], scale: i8, ln_base: f64) -> i32 {
    let leading = digits.get(..17).unwrap_or(digits);
    let text = std::str::from_utf8(leading).unwrap_or("0");
    let power = (digits.len() - leading.len()) as i32 - i32::from(scale);
    let size: f64 = format!("{text}e{power}").parse().unwrap_or(0.0);
    let ln = size * ln_base;
    // The sign is not known here: for 0.91 and 1.1 the distances differ by less than a place.
    match ln {
        0.0 => 0,
        ln if ln < 0.0953 => ln.exp_m1().log10().floor() as i32,
        ln => ln.log10() as i32,
    }
}

fn write_digits(digits: &[u8], scale: i8, out: &mut BytesMut) {
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    };
    if places == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > places {
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.extend_from_slice(whole);
        out.extend_from_slice(b".");
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.put_bytes(b'0', places - digits.len());
        out.extend_from_slice(digits);
    }
}

/// The decimal digits, without leading zeros, at the end of the buffer.
fn digits_of(mut value: u128, buffer: &mut [u8; 40]) -> &[u8] {
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    let mut end = buffer.len();
    loop {
        // 128-bit divisions are slow: at most two of them, and none for what fits into 64 bits.
        let (rest, low) = if value < CHUNK {
            (0, value as u64)
        } else {
            (value / CHUNK, (value % CHUNK) as u64)
        };
        let mut chunk = [0_u8; 20];
        let digits = decimal_digits(low, &mut chunk);
        let start = end - digits.len();
        buffer[start..end].copy_from_slice(digits);
        if rest == 0 {
            return &buffer[start..];
        }
        buffer[end - 19..start].fill(b'0');
        end -= 19;
        value = rest;
    }
}

/// Rewrites a JSON number without its exponent, keeping its digits: `1.50e2` is `150`, `1e-3` is `0.001`.
pub(crate) fn write_plain(token: &str, out: &mut String) -> Result<()> {
    let too_long = || Error::new(ErrorKind::NumericOutOfRange, "value overflows numeric format");
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent.as_bytes()).ok_or_else(too_long)?),
        None => (token, 0),
    };
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    let zero = digits.bytes().all(|digit| digit == b'0');
    // Where the point stands: after this many of the digits.
    let point = whole.len() as i64 + exponent;
    if !(-16_383..=131_072).contains(&point) {
        return Err(too_long());
    }
    out.push_str(if zero { "" } else { sign });
    let (whole, fraction) = match usize::try_from(point) {
        Err(_) => (String::new(), "0".repeat(point.unsigned_abs() as usize) + &digits),
        Ok(point) if point >= digits.len() => (digits.clone() + &"0".repeat(point - digits.len()), String::new()),
        Ok(point) => (digits[..point].to_string(), digits[point..].to_string()),
    };
    let whole = whole.trim_start_matches('0');
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(&fraction);
    }
    Ok(())
}

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITE: u16 = 0xd000;
const INFINITE_NEGATIVE: u16 = 0xf000;

/// Writes `numeric_send`: count of base-10000 digits, weight of the first, sign, scale, digits.
pub(super) fn write_binary(value: i128, scale: i8, shown: Digits, out: &mut BytesMut) {
    let mut buffer = [0_u8; 40];
    let (digits, scale) = counting(digits_of(value.unsigned_abs(), &mut buffer), scale, shown);
    write_binary_digits(value < 0, digits, scale, out);
}

/// As [`write_binary`] for wide decimals.
pub(super) fn write_wide_binary(value: i256, scale: i8, shown: Digits, out: &mut BytesMut) {
    let text = value.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let (digits, scale) = counting(digits.as_bytes(), scale, shown);
    write_binary_digits(text.starts_with('-'), digits, scale, out);
}

fn write_binary_digits(negative: bool, digits: &[u8], scale: i8, out: &mut BytesMut) {
    let start = out.len();
    out.put_bytes(0, 8);
    // Place of a decimal digit: 0 stands directly before the point, -1 directly behind it.
    let first_place = digits.len() as i32 - 1 - i32::from(scale);
    let mut group_place = first_place.div_euclid(4);
    let mut group = 0_u16;
    let (mut count, mut weight, mut trailing) = (0_u16, 0_i16, 0_u16);
    let mut emit = |group: u16, place: i32, out: &mut BytesMut| {
        if count == 0 && group == 0 {
            return;
        }
        if count == 0 {
            weight = place as i16;
        }
        count += 1;
        trailing = if group == 0 { trailing + 1 } else { 0 };
        out.put_u16(group);
    };
    for (at, digit) in digits.iter().enumerate() {
        let place = first_place - at as i32;
        if place.div_euclid(4) != group_place {
            emit(group, group_place, out);
            group = 0;
            group_place = place.div_euclid(4);
        }
        group += u16::from(digit - b'0') * [1, 10, 100, 1000][place.rem_euclid(4) as usize];
    }
    emit(group, group_place, out);
    let count = count - trailing;
    out.truncate(start + 8 + usize::from(count) * 2);
    let sign = if negative { NEGATIVE } else { 0 };
    out[start..start + 2].copy_from_slice(&count.to_be_bytes());
    out[start + 2..start + 4].copy_from_slice(&weight.to_be_bytes());
    out[start + 4..start + 6].copy_from_slice(&sign.to_be_bytes());
    out[start + 6..start + 8].copy_from_slice(&u16::from(scale.max(0).unsigned_abs()).to_be_bytes());
}

/// Reads what `numeric_send` writes. The scale is the value's own.
pub(super) fn parse_binary(bytes: &[u8]) -> Result<Decimal> {
    let Some((header, digits)) = bytes.split_first_chunk::<8>() else {
        return Err(short_binary());
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (count, weight, sign, scale) = (usize::from(word(0)), word(2) as i16, word(4), word(6));
    match sign {
        0 | NEGATIVE => {}
        NAN => return Err(Error::unsupported("numeric values cannot be NaN")),
        INFINITE | INFINITE_NEGATIVE => {
            return Err(Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow")
                .with_detail("A numeric field cannot hold an infinite value."));
        }
        _ => return Err(invalid_sign()),
    }
    if scale > 0x3fff {
        return Err(invalid_binary());
    }
    if digits.len() < count * 2 {
        return Err(short_binary());
    }
    if digits.len() > count * 2 {
        return Err(invalid_binary());
    }
    let mut coefficient = 0_i128;
    // Decimal places behind the last group read.
    let mut places = -4 * (i32::from(weight) + 1);
    for pair in digits.chunks_exact(2) {
        let group = i128::from(u16::from_be_bytes([pair[0], pair[1]]));
        if group > 9999 {
            return Err(Error::new(
                ErrorKind::InvalidBinaryRepresentation,
                "invalid digit in external \"numeric\" value",
            ));
        }
        places += 4;
        coefficient = match coefficient
            .checked_mul(10_000)
            .and_then(|value| value.checked_add(group))
        {
            Some(value) => value,
            // Groups behind the scale are cut off below; only a zero can be left out here without loss.
            None if group == 0 && places > 0 => {
                places -= 4;
                continue;
            }
            None => return cut(coefficient, places - 4, group, i32::from(scale), sign == NEGATIVE),
        };
    }
    finish(coefficient, places, i32::from(scale), sign == NEGATIVE)
}

/// The last group does not fit whole: take only its digits within the scale.
fn cut(coefficient: i128, places: i32, group: i128, scale: i32, negative: bool) -> Result<Decimal> {
    let wanted = scale - places;
    if !(0..4).contains(&wanted) {
        return Err(too_many_digits());
    }
    let power = [1, 10, 100, 1000][wanted as usize];
    let coefficient = coefficient
        .checked_mul(power)
        .and_then(|value| value.checked_add(group / (10_000 / power)))
        .ok_or_else(too_many_digits)?;
    finish(coefficient, scale, scale, negative)
}

/// Brings a coefficient with `places` decimals to `scale` decimals; digits behind the scale are cut, as PostgreSQL does.
fn finish(coefficient: i128, places: i32, scale: i32, negative: bool) -> Result<Decimal> {
    let coefficient = if coefficient == 0 {
        0
    } else if places > scale {
        power((places - scale) as usize).map_or(0, |power| coefficient / power)
    } else {
        power((scale - places) as usize)
            .and_then(|power| coefficient.checked_mul(power))
            .ok_or_else(too_many_digits)?
    };
    Ok(Decimal {
        coefficient: if negative { -coefficient } else { coefficient },
        scale,
    })
}

fn invalid_sign() -> Error {
    Error::new(
        ErrorKind::InvalidBinaryRepresentation,
        "invalid sign in external \"numeric\" value",
    )
}
