//! Arithmetic of jsonpath, as `numeric` has it (`src/backend/utils/adt/numeric.c`).

use super::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::json::number::Digits;

/// Digits a quotient has at least, and digits after the point it has at most (`NUMERIC_MIN_SIG_DIGITS`, `NUMERIC_MAX_DISPLAY_SCALE`).
const QUOTIENT_DIGITS: i64 = 16;
const SCALE_MAX: i64 = 1000;

/// A number as its digits without the point, and how many of them come after it.
#[derive(Clone, Copy)]
struct Scaled {
    value: i128,
    scale: u32,
}

/// The result with all its digits; of a division with as many as PostgreSQL gives.
pub(super) fn computed(operation: Operation, left: &str, right: &str) -> Result<String> {
    if operation == Operation::Divide {
        return quotient(left, right);
    }
    let (left, right) = (Scaled::of(left)?, Scaled::of(right)?);
    if operation == Operation::Multiply {
        let value = left.value.checked_mul(right.value).ok_or_else(too_long)?;
        return Ok(shown(value, left.scale + right.scale));
    }
    let scale = left.scale.max(right.scale);
    let (left, right) = (left.at(scale)?, right.at(scale)?);
    let value = match operation {
        Operation::Add => left.checked_add(right),
        Operation::Subtract => left.checked_sub(right),
        _ if right == 0 => return Err(division_by_zero()),
        _ => left.checked_rem(right),
    };
    Ok(shown(value.ok_or_else(too_long)?, scale))
}

fn too_long() -> Error {
    let message = "numbers of more than 38 digits are not supported in the arithmetic of jsonpath";
    Error::new(ErrorKind::NumericOutOfRange, message)
}

fn division_by_zero() -> Error {
    Error::new(ErrorKind::DivisionByZero, "division by zero")
}

impl Scaled {
    fn of(text: &str) -> Result<Self> {
        let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits: String = text.chars().filter(|c| *c != '.').collect();
        Ok(Self {
            value: digits.parse().map_err(|_| too_long())?,
            scale: u32::try_from(scale).map_err(|_| too_long())?,
        })
    }

    /// The digits with more zeros.
    fn at(self, scale: u32) -> Result<i128> {
        10_i128
            .checked_pow(scale - self.scale)
            .and_then(|factor| self.value.checked_mul(factor))
            .ok_or_else(too_long)
    }
}

fn shown(value: i128, scale: u32) -> String {
    placed(value < 0, &value.unsigned_abs().to_string(), scale as usize)
}

/// Digits with the point put before the last `scale` of them.
fn placed(negative: bool, digits: &str, scale: usize) -> String {
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let zero = digits.bytes().all(|digit| digit == b'0');
    let sign = if negative && !zero { "-" } else { "" };
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

fn quotient(left: &str, right: &str) -> Result<String> {
    let scale = quotient_scale(left, right);
    let (left, right) = (Scaled::of(left)?, Scaled::of(right)?);
    let divisor = right.value.unsigned_abs();
    if divisor == 0 {
        return Err(division_by_zero());
    }
    let dividend = left.value.unsigned_abs();
    let mut digits = (dividend / divisor).to_string();
    let mut rest = dividend % divisor;
    let further = scale + i64::from(right.scale) - i64::from(left.scale);
    for _ in 0..further {
        rest = rest.checked_mul(10).ok_or_else(too_long)?;
        digits.push(char::from(b'0' + (rest / divisor) as u8));
        rest %= divisor;
    }
    // Half away from zero.
    if rest >= divisor - rest {
        digits = one_more(&digits);
    }
    let scale = usize::try_from(scale).map_err(|_| too_long())?;
    let digits = digits.trim_start_matches('0');
    Ok(placed((left.value < 0) != (right.value < 0), digits, scale))
}

/// `select_div_scale`: by the first digits to the base 10,000.
fn quotient_scale(left: &str, right: &str) -> i64 {
    let ((left_weight, left_first), (right_weight, right_first)) = (first_digit(left), first_digit(right));
    let mut weight = left_weight - right_weight;
    if left_first <= right_first {
        weight -= 1;
    }
    let own = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let scale = QUOTIENT_DIGITS - weight * 4;
    scale
        .max(own(left))
        .max(own(right))
        .max(0)
        .min(SCALE_MAX.max(own(left)))
}

/// Where the first digit to the base 10,000 that is not zero stands, 0 before the point, and what it is.
fn first_digit(text: &str) -> (i64, u32) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches(['-', '0']);
    let number = |digits: &str| digits.parse().unwrap_or(0);
    if !whole.is_empty() {
        let weight = (whole.len() - 1) / 4;
        return (weight as i64, number(&whole[..whole.len() - weight * 4]));
    }
    let zeros = fraction.len() - fraction.trim_start_matches('0').len();
    if zeros == fraction.len() {
        return (0, 0);
    }
    let start = zeros / 4 * 4;
    let digits: String = fraction[start..].chars().chain("000".chars()).take(4).collect();
    (-1 - (start / 4) as i64, number(&digits))
}

pub(super) fn negated(digits: &str) -> String {
    match digits.strip_prefix('-') {
        Some(rest) => rest.to_string(),
        None if Digits::of(digits).is_zero() => digits.to_string(),
        None => format!("-{digits}"),
    }
}

/// The number after this one.
pub(super) fn one_more(digits: &str) -> String {
    let mut bytes = digits.as_bytes().to_vec();
    for digit in bytes.iter_mut().rev() {
        if *digit == b'9' {
            *digit = b'0';
        } else {
            *digit += 1;
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    format!("1{}", String::from_utf8_lossy(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `select jsonb_path_query(…)` of PostgreSQL 15 answers.
    #[test]
    fn quotients_of_postgres() {
        for (left, right, expected) in QUOTIENTS {
            let found = computed(Operation::Divide, left, right).expect("a quotient");
            assert_eq!(found, *expected, "{left} / {right}");
        }
    }

    const QUOTIENTS: &[(&str, &str, &str)] = &[
        ("1", "3", "0.33333333333333333333"),
        ("2", "3", "0.66666666666666666667"),
        ("10", "4", "2.5000000000000000"),
        ("1.50", "0.25", "6.0000000000000000"),
        ("-7", "2", "-3.5000000000000000"),
        ("7", "-3", "-2.3333333333333333"),
        ("123456789", "7", "17636684.142857142857"),
        ("0.00012", "9", "0.000013333333333333333333"),
        ("1", "0.0000003", "3333333.333333333333"),
        ("0", "5", "0.00000000000000000000"),
        ("0.000", "5", "0.00000000000000000000"),
        ("12345678901234567890", "3", "4115226300411522630"),
        ("9999", "10000", "0.99990000000000000000"),
        ("100000000", "1", "100000000.000000000000"),
        ("5", "10000000000000000000", "0.000000000000000000500000000000000000"),
        ("1.0000000000000000000001", "3", "0.3333333333333333333334"),
    ];
}
