//! `sqrt`, `exp`, `ln`, `log` and `power` of numerics, with PostgreSQL's digits.
//!
//! PostgreSQL computes them to 16 significant digits, or the digits of an operand if these are more: how many that are behind
//! the point follows from an estimate of the result's size (`numeric.c`), and values here are rounded at that place, 28 at
//! most. They are computed as binary fixed-point numbers, wide enough that nothing of an error is left of it there.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Builder, Decimal256Builder};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, i256,
};
use num_bigint::{BigInt, Sign};

use super::math::{invalid_logarithm, invalid_power, numeric_overflow, power_is_defined};
use super::native::{Columns, wrong_type};
use crate::error::{Error, ErrorKind, Result};

/// Digits behind the point that are kept.
const PLACES: i8 = 28;
/// PostgreSQL's significant digits.
const SIGNIFICANT: i32 = 16;
/// Bits behind the point while computing.
const BITS: u64 = 320;
/// Exact powers are computed by multiplying up to so many bits.
const EXACT_BITS_MAX: u64 = 4096;

/// The type of roots of such numerics: half their digits before the point.
pub(super) fn root_type(ty: &DataType) -> DataType {
    let (precision, scale) = parts_of(ty);
    let whole = (i16::from(precision) - i16::from(scale)).max(0) / 2 + 1;
    let places = i16::from(PLACES)
        .min(i16::from(DECIMAL128_MAX_PRECISION) - whole)
        .max(0);
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, places as i8)
}

/// The type of logarithms, which are small.
pub(super) const LOGARITHM: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, PLACES);

/// The type of powers.
pub(super) const POWER: DataType = DataType::Decimal256(DECIMAL256_MAX_PRECISION, PLACES);

fn parts_of(ty: &DataType) -> (u8, i8) {
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        _ => (DECIMAL128_MAX_PRECISION, 0),
    }
}

/// A numeric: `value / 10^scale`, without zeros at the end.
struct Number {
    value: BigInt,
    scale: i32,
}

impl Number {
    fn at(array: &ArrayRef, row: usize) -> Result<Self> {
        let (value, scale) = match array.data_type() {
            DataType::Decimal128(_, scale) => (BigInt::from(array.as_primitive::<Decimal128Type>().value(row)), *scale),
            DataType::Decimal256(_, scale) => {
                let value = array.as_primitive::<Decimal256Type>().value(row);
                (BigInt::from_signed_bytes_le(&value.to_le_bytes()), *scale)
            }
            _ => return Err(wrong_type(array)),
        };
        let mut number = Self {
            value,
            scale: i32::from(scale),
        };
        if number.scale < 0 {
            number.value *= ten_to(-number.scale);
            number.scale = 0;
        }
        while number.scale > 0 && (&number.value % 10_u8).sign() == Sign::NoSign {
            number.value /= 10_u8;
            number.scale -= 1;
        }
        Ok(number)
    }

    fn is_zero(&self) -> bool {
        self.value.sign() == Sign::NoSign
    }

    fn is_negative(&self) -> bool {
        self.value.sign() == Sign::Minus
    }

    /// The exponent it is as a whole number.
    fn whole(&self) -> Option<i64> {
        if self.scale > 0 {
            return None;
        }
        i64::try_from(&self.value).ok()
    }

    /// The place of the first digit: 0 for those from 1 up to 10. (The value is not 0.)
    fn place(&self) -> i32 {
        self.value.magnitude().to_string().len() as i32 - 1 - self.scale
    }

    /// The binary logarithm's whole part and the rest as a number from 1/2 up to 2.
    fn normalised(&self) -> (i64, BigInt) {
        let divisor = ten_to(self.scale);
        let exponent = self.value.bits() as i64 - divisor.bits() as i64;
        let shift = BITS as i64 - exponent;
        let mantissa = match u64::try_from(shift) {
            Ok(shift) => (BigInt::from(self.value.magnitude().clone()) << shift) / divisor,
            Err(_) => (BigInt::from(self.value.magnitude().clone()) >> shift.unsigned_abs()) / divisor,
        };
        (exponent, mantissa)
    }

    fn fixed(&self) -> BigInt {
        (&self.value << BITS) / ten_to(self.scale)
    }

    fn approximate(&self) -> f64 {
        let digits = self.value.to_string();
        format!("{digits}e{}", -self.scale).parse().unwrap_or(f64::NAN)
    }
}

fn ten_to(exponent: i32) -> BigInt {
    BigInt::from(10_u8).pow(exponent.unsigned_abs())
}

fn one() -> BigInt {
    BigInt::from(1_u8) << BITS
}

fn product(left: &BigInt, right: &BigInt) -> BigInt {
    (left * right) >> BITS
}

fn quotient(left: &BigInt, right: &BigInt) -> BigInt {
    (left << BITS) / right
}

/// e to the power of a small number.
fn exp_small(x: &BigInt) -> BigInt {
    const HALVINGS: u64 = 8;
    let x = x >> HALVINGS;
    let (mut sum, mut term, mut step) = (one(), one(), 1_u32);
    loop {
        term = product(&term, &x) / step;
        // Shifting rounds down: the last term of a negative number is -1.
        if term.bits() <= 1 {
            break;
        }
        sum += &term;
        step += 1;
    }
    (0..HALVINGS).fold(sum, |power, _| product(&power, &power))
}

/// The natural logarithm of a number from 1/2 up to 2.
fn ln_small(x: &BigInt) -> BigInt {
    let near = (x >> (BITS - 60)).to_string().parse::<f64>().unwrap_or(1.0) / (1_u64 << 60) as f64;
    let mut result = BigInt::from((near.ln() * (1_u64 << 60) as f64) as i64) << (BITS - 60);
    // Each step has three times the right digits of the one before, from 15 on.
    for _ in 0..2 {
        let power = exp_small(&result);
        result += quotient(&((x - &power) * 2), &(x + &power));
    }
    result
}

fn ln_two() -> &'static BigInt {
    static LN_TWO: OnceLock<BigInt> = OnceLock::new();
    LN_TWO.get_or_init(|| ln_small(&(one() << 1_u8)))
}

fn ln(number: &Number) -> BigInt {
    let (exponent, rest) = number.normalised();
    ln_small(&rest) + ln_two() * exponent
}

/// e to the power of `x`; `None` where it is larger than any numeric.
fn exp(x: &BigInt) -> Option<BigInt> {
    let doublings = i64::try_from(x / ln_two()).ok()?;
    let rest = exp_small(&(x - ln_two() * doublings));
    Some(match u64::try_from(doublings) {
        Ok(doublings) if doublings > EXACT_BITS_MAX => return None,
        Ok(doublings) => rest << doublings,
        Err(_) => rest >> doublings.unsigned_abs().min(2 * BITS),
    })
}

/// `value / 10^places`, rounded, of a fixed-point number.
fn rounded(fixed: &BigInt, places: i32) -> BigInt {
    let scaled = fixed.magnitude() * ten_to(places).magnitude();
    let result = ((scaled >> (BITS - 1)) + 1_u8) >> 1_u8;
    BigInt::from_biguint(fixed.sign(), result)
}

/// How many digits behind the point a result has.
fn places(estimate: i32, operands: &[&Number], kept: i8) -> i32 {
    let own = operands.iter().map(|number| number.scale).max().unwrap_or(0);
    (SIGNIFICANT - estimate).max(own).clamp(0, i32::from(kept))
}

/// `estimate_ln_dweight`: the place of the logarithm's first digit, or thereabouts.
fn logarithm_place(number: &Number) -> i32 {
    let value = number.approximate();
    if value > 0.9 && value < 1.1 {
        let off = Number {
            value: &number.value - ten_to(number.scale),
            scale: number.scale,
        };
        return if off.is_zero() { 0 } else { off.place() };
    }
    let digits = number.value.to_string();
    let leading: f64 = digits.get(..17).unwrap_or(&digits).parse().unwrap_or(1.0);
    let power = digits.len() as i32 - digits.len().min(17) as i32 - number.scale;
    (leading.ln() + f64::from(power) * std::f64::consts::LN_10)
        .abs()
        .log10() as i32
}

pub(super) fn sqrt(columns: &Columns<'_>) -> Result<ArrayRef> {
    each_row(columns, |numbers, kept| {
        let number = &numbers[0];
        if number.is_negative() {
            return Err(invalid_power("cannot take square root of a negative number"));
        }
        if number.is_zero() {
            return Ok((BigInt::ZERO, 0));
        }
        // Counted in groups of four digits.
        let places = places(2 * number.place().div_euclid(4) + 1, &[number], kept);
        // Twice the root, for rounding.
        let exponent = 2 * places - number.scale;
        let square = match exponent >= 0 {
            true => &number.value * ten_to(exponent) * 4_u8,
            false => &number.value * 4_u8 / ten_to(exponent),
        };
        Ok(((square.sqrt() + 1_u8) >> 1_u8, places))
    })
}

pub(super) fn exponential(columns: &Columns<'_>) -> Result<ArrayRef> {
    each_row(columns, |numbers, kept| {
        let number = &numbers[0];
        let size = (number.approximate() * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
        let places = places(size as i32, &[number], kept);
        let power = exp(&number.fixed()).ok_or_else(numeric_overflow)?;
        Ok((rounded(&power, places), places))
    })
}

/// The natural logarithm.
pub(super) fn natural(columns: &Columns<'_>) -> Result<ArrayRef> {
    each_row(columns, |numbers, kept| {
        let number = positive(&numbers[0])?;
        let places = places(logarithm_place(number), &[number], kept);
        Ok((rounded(&ln(number), places), places))
    })
}

/// `log(x)` is to base 10, `log(b, x)` to base b.
pub(super) fn logarithm(columns: &Columns<'_>) -> Result<ArrayRef> {
    let ten = Number {
        value: BigInt::from(10_u8),
        scale: 0,
    };
    let ln_ten = ln(&ten);
    each_row(columns, |numbers, kept| {
        let (base, number) = match numbers {
            [number] => (&ten, number),
            [base, number, ..] => (base, number),
            [] => return Err(Error::internal("a logarithm of nothing")),
        };
        let (base, number) = (positive(base)?, positive(number)?);
        let places = places(logarithm_place(number) - logarithm_place(base), &[base, number], kept);
        let divisor = if numbers.len() == 1 { ln_ten.clone() } else { ln(base) };
        if divisor.bits() < BITS / 2 {
            return Err(Error::new(ErrorKind::DivisionByZero, "division by zero"));
        }
        Ok((rounded(&quotient(&ln(number), &divisor), places), places))
    })
}

fn positive(number: &Number) -> Result<&Number> {
    if number.is_zero() {
        return Err(invalid_logarithm("cannot take logarithm of zero"));
    }
    if number.is_negative() {
        return Err(invalid_logarithm("cannot take logarithm of a negative number"));
    }
    Ok(number)
}

pub(super) fn power(columns: &Columns<'_>) -> Result<ArrayRef> {
    each_row(columns, |numbers, kept| {
        let [base, exponent] = numbers else {
            return Err(Error::internal("a power of a number"));
        };
        power_is_defined(
            base.is_zero(),
            base.is_negative(),
            exponent.is_negative(),
            exponent.scale == 0,
        )?;
        if base.is_zero() {
            let one = BigInt::from(u8::from(exponent.is_zero()));
            return Ok((one, 0));
        }
        let magnitude = Number {
            value: BigInt::from(base.value.magnitude().clone()),
            scale: base.scale,
        };
        let product = product(&ln(&magnitude), &exponent.fixed());
        let whole = exponent.whole();
        let size = approximate(&product) * std::f64::consts::LOG10_E;
        // Powers by whole numbers have 16 digits behind the point, however large they are.
        let estimate = if whole.is_some() { 0 } else { size as i32 };
        let places = places(estimate, &[base, exponent], kept);
        if let Some(exact) = whole.and_then(|exponent| exact_power(&magnitude, exponent, places)) {
            return Ok((signed(exact, base, whole), places));
        }
        let power = exp(&product).ok_or_else(numeric_overflow)?;
        Ok((signed(rounded(&power, places), base, whole), places))
    })
}

fn approximate(fixed: &BigInt) -> f64 {
    let whole = i64::try_from(fixed >> (BITS - 32)).unwrap_or(i64::MAX);
    whole as f64 / (1_u64 << 32) as f64
}

/// A negative number's odd powers are negative.
fn signed(power: BigInt, base: &Number, exponent: Option<i64>) -> BigInt {
    match base.is_negative() && exponent.is_some_and(|exponent| exponent % 2 != 0) {
        true => -power,
        false => power,
    }
}

/// A power by a whole number, computed without rounding before its end; `None` where that is too long.
fn exact_power(base: &Number, exponent: i64, places: i32) -> Option<BigInt> {
    let times = u32::try_from(exponent.unsigned_abs()).ok()?;
    let scale = base.scale.checked_mul(i32::try_from(times).ok()?)?;
    if base.value.bits().max(4).checked_mul(u64::from(times))? > EXACT_BITS_MAX || scale > 1000 {
        return None;
    }
    let power = base.value.pow(times);
    // Twice the result, for rounding.
    let (dividend, divisor) = match exponent >= 0 {
        true => (power * ten_to(places) * 2_u8, ten_to(scale)),
        false => (ten_to(scale + places) * 2_u8, power),
    };
    Some((dividend / divisor + 1_u8) >> 1_u8)
}

/// Results and the digits behind the point they have, of the numbers of each row.
fn each_row(columns: &Columns<'_>, compute: impl Fn(&[Number], i8) -> Result<(BigInt, i32)>) -> Result<ArrayRef> {
    let (_, kept) = parts_of(columns.result);
    let mut results = Vec::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            results.push(None);
            continue;
        }
        let operands = (0..columns.len()).map(|index| Number::at(&columns.arrays[index], columns.at(index, row)));
        let (value, places) = compute(&operands.collect::<Result<Vec<_>>>()?, kept)?;
        results.push(Some(value * ten_to(i32::from(kept) - places)));
    }
    match columns.result {
        DataType::Decimal128(precision, _) => {
            let mut builder = Decimal128Builder::with_capacity(results.len()).with_data_type(columns.result.clone());
            for value in results {
                let value = value.map(|value| i128::try_from(value).ok().filter(|value| fits(*value, *precision)));
                builder.append_option(value.map(|value| value.ok_or_else(numeric_overflow)).transpose()?);
            }
            Ok(Arc::new(builder.finish()))
        }
        _ => {
            let mut builder = Decimal256Builder::with_capacity(results.len()).with_data_type(columns.result.clone());
            for value in results {
                builder.append_option(value.map(|value| wide(&value)).transpose()?);
            }
            Ok(Arc::new(builder.finish()))
        }
    }
}

fn fits(value: i128, precision: u8) -> bool {
    10_u128
        .checked_pow(u32::from(precision))
        .is_some_and(|limit| value.unsigned_abs() < limit)
}

fn wide(value: &BigInt) -> Result<i256> {
    if *value.magnitude() >= *ten_to(i32::from(DECIMAL256_MAX_PRECISION)).magnitude() {
        return Err(numeric_overflow());
    }
    let filler = if value.sign() == Sign::Minus { 0xff } else { 0 };
    let mut bytes = [filler; 32];
    let digits = value.to_signed_bytes_le();
    // 76 digits are less than 32 bytes.
    bytes[..digits.len()].copy_from_slice(&digits);
    Ok(i256::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
        Number {
            value: format!("{whole}{behind}").parse().expect("digits"),
            scale: behind.len() as i32,
        }
    }

    #[test]
    fn many_digits() {
        assert_eq!(
            rounded(&ln(&number("2")), 40).to_string(),
            "6931471805599453094172321214581765680755"
        );
        assert_eq!(
            rounded(&exp(&number("1").fixed()).expect("small"), 40).to_string(),
            "27182818284590452353602874713526624977572"
        );
        // e to the power of -50: 0.00000000000000000000019287498479639177830173…
        assert_eq!(
            rounded(&exp(&number("-50").fixed()).expect("small"), 40).to_string(),
            "1928749847963917783"
        );
    }

    #[test]
    fn exact_powers() {
        let power =
            |base, exponent, places| exact_power(&number(base), exponent, places).map(|power| power.to_string());
        assert_eq!(power("1.5", 2, 2), Some("225".to_string()));
        assert_eq!(power("2", -1, 3), Some("500".to_string()));
        assert_eq!(power("3", -1, 4), Some("3333".to_string()));
        assert_eq!(power("7", 100_000, 0), None);
    }
}
