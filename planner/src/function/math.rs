//! Functions of numbers that fail where PostgreSQL fails (`ln(0)`, `sqrt(-1)`), and round as it rounds.
//!
//! Of numerics `ln`, `exp`, `sqrt`, `power` are numerics (`powers.rs`), of all else double precision.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Builder, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};

use super::native::{Columns, Resolved, Shape};
use super::powers;
use crate::error::{Error, ErrorKind, Result};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("ln", logarithm_types, |columns| match is_numeric(columns) {
        true => powers::natural(columns),
        false => unary(columns, |x| logarithm(x, f64::ln)),
    }),
    Shape::new("log10", logarithm_types, log),
    Shape::new("log", one_or_two, log),
    Shape::new("exp", exp_types, |columns| match is_numeric(columns) {
        true => powers::exponential(columns),
        false => unary(columns, exp),
    }),
    Shape::new("sqrt", root_types, |columns| match is_numeric(columns) {
        true => powers::sqrt(columns),
        false => unary(columns, sqrt),
    }),
    Shape::new("asin", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::asin))
    }),
    Shape::new("acos", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::acos))
    }),
    Shape::new("acosh", one_number, |columns| {
        unary(columns, |x| match x < 1.0 {
            true => Err(Error::new(ErrorKind::NumericOutOfRange, "input is out of range")),
            false => Ok(x.acosh()),
        })
    }),
    // As PostgreSQL writes it, to the last bit.
    Shape::new("degrees", one_number, |columns| {
        unary(columns, |x| finite(x / RADIANS_PER_DEGREE, x.is_finite()))
    }),
    Shape::new("radians", one_number, |columns| {
        unary(columns, |x| Ok(x * RADIANS_PER_DEGREE))
    }),
    Shape::new("factorial", one_integer, factorial),
    Shape::new("gcd", divisor_types, |columns| common_divisor(columns, false)),
    Shape::new("lcm", divisor_types, |columns| common_divisor(columns, true)),
    Shape::new("atanh", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::atanh))
    }),
    Shape::new("power", power_types, any_power),
    Shape::new("pow", power_types, any_power),
    Shape::new("sign", sign_types, sign),
    Shape::new("div", div_types, div),
    Shape::new("width_bucket", bucket_types, width_bucket),
    // With how many digits a numeric is shown is told of its expression (`shown.rs`).
    Shape::new("trim_scale", numeric_types, |columns| {
        Ok(Arc::clone(&columns.arrays[0]))
    }),
];

const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

fn one_integer(types: &[DataType]) -> Resolved {
    match types {
        [ty] if ty.is_integer() || super::datetime::is_text(ty) => {
            Some((vec![DataType::Int64], DataType::Decimal128(38, 0)))
        }
        _ => None,
    }
}

fn divisor_types(types: &[DataType]) -> Resolved {
    let [left, right] = types else { return None };
    let ty = match (left, right) {
        (DataType::Int16 | DataType::Int32 | DataType::Null, DataType::Int16 | DataType::Int32 | DataType::Null) => {
            DataType::Int32
        }
        (left, right) if left.is_decimal() || right.is_decimal() => {
            let ((left, left_scale), (right, right_scale)) = (parts(&as_decimal(left)?), parts(&as_decimal(right)?));
            let scale = left_scale.max(right_scale);
            let whole = (left - left_scale.unsigned_abs()).max(right - right_scale.unsigned_abs());
            // A multiple has the digits of both.
            DataType::Decimal128((2 * whole + scale.unsigned_abs()).min(38), scale)
        }
        (left, right)
            if [left, right]
                .into_iter()
                .all(|ty| ty.is_integer() || super::datetime::is_text(ty)) =>
        {
            DataType::Int64
        }
        _ => return None,
    };
    Some((vec![ty.clone(), ty.clone()], ty))
}

fn parts(ty: &DataType) -> (u8, i8) {
    match ty {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => (38, 0),
    }
}

/// The greatest common divisor, or the least common multiple.
fn common_divisor(columns: &Columns<'_>, multiple: bool) -> Result<ArrayRef> {
    let is_decimal = columns.result.is_decimal();
    let value = |index: usize, row: usize| -> Result<i128> {
        match is_decimal {
            true => Ok(columns.arrays[index]
                .as_primitive::<Decimal128Type>()
                .value(columns.at(index, row))),
            false => columns.int(index, row).map(i128::from),
        }
    };
    let mut results = Vec::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            results.push(None);
            continue;
        }
        let (left, right) = (value(0, row)?.unsigned_abs(), value(1, row)?.unsigned_abs());
        let (mut divisor, mut rest) = (left, right);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let result = match multiple {
            true if left == 0 || right == 0 => Some(0),
            true => (left / divisor).checked_mul(right),
            false => Some(divisor),
        };
        results.push(Some(
            result
                .and_then(|result| i128::try_from(result).ok())
                .unwrap_or(i128::MAX),
        ));
    }
    let too_large = || super::arithmetic::out_of_range(columns.result);
    Ok(match columns.result {
        DataType::Decimal128(precision, _) => {
            let limit = 10_i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX);
            let mut builder = Decimal128Builder::with_capacity(columns.rows).with_data_type(columns.result.clone());
            for result in results {
                if result.is_some_and(|result| result >= limit) {
                    return Err(numeric_overflow());
                }
                builder.append_option(result);
            }
            Arc::new(builder.finish())
        }
        DataType::Int32 => {
            let results = results.into_iter();
            let narrow = |value: i128| i32::try_from(value).map_err(|_| too_large());
            let results = results.map(|result| result.map(narrow).transpose());
            Arc::new(results.collect::<Result<Int32Array>>()?)
        }
        _ => {
            let results = results.into_iter();
            let narrow = |value: i128| i64::try_from(value).map_err(|_| too_large());
            let results = results.map(|result| result.map(narrow).transpose());
            Arc::new(results.collect::<Result<Int64Array>>()?)
        }
    })
}

fn factorial(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = Decimal128Builder::with_capacity(columns.rows).with_data_type(columns.result.clone());
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let number = columns.int(0, row)?;
        if number < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(Error::new(ErrorKind::NumericOutOfRange, message));
        }
        // 33! is the largest of 38 digits.
        let product = (number <= 33).then(|| (1..=i128::from(number)).product::<i128>());
        builder.append_value(product.ok_or_else(numeric_overflow)?);
    }
    Ok(Arc::new(builder.finish()))
}

pub(super) fn is_number(ty: &DataType) -> bool {
    ty.is_numeric() || super::datetime::is_text(ty)
}

pub(super) fn one_number(types: &[DataType]) -> Resolved {
    match types {
        [ty] if is_number(ty) => Some((vec![DataType::Float64], DataType::Float64)),
        _ => None,
    }
}

/// Whether a function that has both variants is called for numerics.
fn is_numeric(columns: &Columns<'_>) -> bool {
    columns.result.is_decimal()
}

fn exp_types(types: &[DataType]) -> Resolved {
    numeric_or_float(types, |_| powers::POWER)
}

fn root_types(types: &[DataType]) -> Resolved {
    numeric_or_float(types, powers::root_type)
}

fn logarithm_types(types: &[DataType]) -> Resolved {
    numeric_or_float(types, |_| powers::LOGARITHM)
}

fn numeric_or_float(types: &[DataType], numeric: fn(&DataType) -> DataType) -> Resolved {
    match types {
        [ty] if is_exact(ty) => {
            let ty = as_numeric(ty)?;
            Some((vec![ty.clone()], numeric(&ty)))
        }
        other => one_number(other),
    }
}

/// A numeric, or a literal that is one because no integer type has its digits.
fn is_exact(ty: &DataType) -> bool {
    ty.is_decimal() || ty == &DataType::UInt64
}

/// Both are numerics where one is, unless the other one is a float.
fn power_types(types: &[DataType]) -> Resolved {
    match types {
        [left, right] if is_exact(left) || is_exact(right) => match (as_numeric(left), as_numeric(right)) {
            (Some(left), Some(right)) => Some((vec![left, right], powers::POWER)),
            _ => two_floats(types),
        },
        _ => two_floats(types),
    }
}

pub(super) fn two_floats(types: &[DataType]) -> Resolved {
    match types {
        [left, right] if is_number(left) && is_number(right) => Some((vec![DataType::Float64; 2], DataType::Float64)),
        _ => None,
    }
}

/// To another base there are logarithms of numerics only.
fn one_or_two(types: &[DataType]) -> Resolved {
    match types {
        [base, number] => Some((vec![as_numeric(base)?, as_numeric(number)?], powers::LOGARITHM)),
        _ => logarithm_types(types),
    }
}

/// The numeric of all its digits that a number is.
fn as_numeric(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::Decimal256(..) => Some(ty.clone()),
        _ => as_decimal(ty),
    }
}

pub(super) fn unary(columns: &Columns<'_>, compute: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = columns.arrays[0].as_primitive::<Float64Type>();
    let result = values
        .iter()
        .map(|value| value.map(&compute).transpose())
        .collect::<Result<Float64Array>>()?;
    Ok(Arc::new(result))
}

pub(super) fn binary(columns: &Columns<'_>, compute: impl Fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (left, right) = (
        columns.arrays[0].as_primitive::<Float64Type>(),
        columns.arrays[1].as_primitive::<Float64Type>(),
    );
    let result = (0..columns.rows)
        .map(|row| {
            if columns.any_null(row) {
                return Ok(None);
            }
            compute(left.value(columns.at(0, row)), right.value(columns.at(1, row))).map(Some)
        })
        .collect::<Result<Float64Array>>()?;
    Ok(Arc::new(result))
}

fn logarithm(x: f64, compute: fn(f64) -> f64) -> Result<f64> {
    if x == 0.0 {
        return Err(invalid_logarithm("cannot take logarithm of zero"));
    }
    if x < 0.0 {
        return Err(invalid_logarithm("cannot take logarithm of a negative number"));
    }
    Ok(compute(x))
}

pub(super) fn invalid_logarithm(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidLogarithmArgument, message)
}

pub(super) fn invalid_power(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidPowerArgument, message)
}

fn log(columns: &Columns<'_>) -> Result<ArrayRef> {
    match is_numeric(columns) {
        true => powers::logarithm(columns),
        false => unary(columns, |x| logarithm(x, f64::log10)),
    }
}

fn any_power(columns: &Columns<'_>) -> Result<ArrayRef> {
    match is_numeric(columns) {
        true => powers::power(columns),
        false => binary(columns, power),
    }
}

fn exp(x: f64) -> Result<f64> {
    let result = finite(x.exp(), x.is_finite())?;
    not_lost(result, x.is_finite())
}

/// A result that is 0 only because it is too small.
fn not_lost(result: f64, from_finite: bool) -> Result<f64> {
    if result == 0.0 && from_finite {
        return Err(Error::new(
            ErrorKind::NumericOutOfRange,
            "value out of range: underflow",
        ));
    }
    Ok(result)
}

fn finite(result: f64, from_finite: bool) -> Result<f64> {
    if result.is_infinite() && from_finite {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow"));
    }
    Ok(result)
}

fn sqrt(x: f64) -> Result<f64> {
    if x < 0.0 {
        return Err(invalid_power("cannot take square root of a negative number"));
    }
    Ok(x.sqrt())
}

fn within_one(x: f64, compute: fn(f64) -> f64) -> Result<f64> {
    if x.abs() > 1.0 {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "input is out of range"));
    }
    Ok(compute(x))
}

fn power(base: f64, exponent: f64) -> Result<f64> {
    let is_negative = base < 0.0 && base.is_finite();
    let is_whole = !exponent.is_finite() || exponent.fract() == 0.0;
    power_is_defined(base == 0.0, is_negative, exponent < 0.0, is_whole)?;
    let are_finite = base.is_finite() && exponent.is_finite();
    let result = finite(base.powf(exponent), are_finite)?;
    not_lost(result, are_finite && base != 0.0)
}

/// Whether a base that is zero or negative has a power by an exponent that is negative or whole.
pub(super) fn power_is_defined(is_zero: bool, is_negative: bool, by_negative: bool, by_whole: bool) -> Result<()> {
    if is_zero && by_negative {
        return Err(invalid_power("zero raised to a negative power is undefined"));
    }
    if is_negative && !by_whole {
        return Err(invalid_power(
            "a negative number raised to a non-integer power yields a complex result",
        ));
    }
    Ok(())
}

fn numeric_types(types: &[DataType]) -> Resolved {
    match types {
        [ty] if !ty.is_floating() => as_decimal(ty).map(|ty| (vec![ty.clone()], ty)),
        _ => None,
    }
}

fn sign_types(types: &[DataType]) -> Resolved {
    match types {
        [ty] if ty.is_decimal() => Some((vec![as_decimal(ty)?], DataType::Decimal128(1, 0))),
        other => one_number(other),
    }
}

fn sign(columns: &Columns<'_>) -> Result<ArrayRef> {
    if columns.result == &DataType::Float64 {
        return unary(columns, |x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() }));
    }
    let values = columns.arrays[0].as_primitive::<Decimal128Type>();
    let mut builder = Decimal128Builder::with_capacity(columns.rows).with_data_type(columns.result.clone());
    values
        .iter()
        .for_each(|value| builder.append_option(value.map(i128::signum)));
    Ok(Arc::new(builder.finish()))
}

/// The numeric an integer is.
pub(super) fn as_decimal(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        // The digits before the point come first, ten behind it at least.
        DataType::Decimal256(precision, scale) => {
            let whole = precision.saturating_sub(scale.unsigned_abs()).min(28);
            DataType::Decimal128(38, (*scale).min(38 - whole as i8))
        }
        DataType::Int8 | DataType::Int16 => DataType::Decimal128(5, 0),
        DataType::Int32 => DataType::Decimal128(10, 0),
        DataType::Int64 | DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Null => DataType::Decimal128(38, 10),
        ty if super::datetime::is_text(ty) => DataType::Decimal128(38, 10),
        _ => return None,
    })
}

fn div_types(types: &[DataType]) -> Resolved {
    match types {
        [left, right] => Some((vec![as_decimal(left)?, as_decimal(right)?], DataType::Decimal128(38, 0))),
        _ => None,
    }
}

/// The integer quotient, cut towards zero.
fn div(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (left, right) = (
        columns.arrays[0].as_primitive::<Decimal128Type>(),
        columns.arrays[1].as_primitive::<Decimal128Type>(),
    );
    let shift = i32::from(right.scale()) - i32::from(left.scale());
    let factor = 10_i128.checked_pow(shift.unsigned_abs()).ok_or_else(numeric_overflow)?;
    let mut builder = Decimal128Builder::with_capacity(columns.rows).with_data_type(columns.result.clone());
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let (mut dividend, mut divisor) = (left.value(columns.at(0, row)), right.value(columns.at(1, row)));
        if divisor == 0 {
            return Err(Error::new(ErrorKind::DivisionByZero, "division by zero"));
        }
        let scaled = if shift > 0 { &mut dividend } else { &mut divisor };
        *scaled = scaled.checked_mul(factor).ok_or_else(numeric_overflow)?;
        builder.append_value(dividend / divisor);
    }
    Ok(Arc::new(builder.finish()))
}

pub(super) fn numeric_overflow() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "value overflows numeric format")
}

fn bucket_types(types: &[DataType]) -> Resolved {
    match types {
        [value, low, high, count] if [value, low, high].into_iter().all(is_number) && is_number(count) => Some((
            vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int32],
            DataType::Int32,
        )),
        [value, DataType::List(element)] if is_number(value) && is_number(element.data_type()) => {
            let element = Arc::new(element.as_ref().clone().with_data_type(DataType::Float64));
            Some((vec![DataType::Float64, DataType::List(element)], DataType::Int32))
        }
        _ => None,
    }
}

fn width_bucket(columns: &Columns<'_>) -> Result<ArrayRef> {
    let float = |index: usize, row: usize| {
        columns.arrays[index]
            .as_primitive::<Float64Type>()
            .value(columns.at(index, row))
    };
    let bucket = |row: usize| -> Result<Option<i32>> {
        if columns.any_null(row) {
            return Ok(None);
        }
        let value = float(0, row);
        if columns.len() == 2 {
            let bounds = columns.arrays[1].as_list::<i32>().value(columns.at(1, row));
            let bounds = bounds.as_primitive::<Float64Type>();
            if arrow::array::Array::null_count(bounds) > 0 {
                let message = "thresholds array must not contain NULLs";
                return Err(Error::new(ErrorKind::NullValueNotAllowed, message));
            }
            let below = bounds.values().partition_point(|bound| *bound <= value);
            return Ok(Some(i32::try_from(below).unwrap_or(i32::MAX)));
        }
        let count = i32::try_from(columns.int(3, row)?).unwrap_or(i32::MAX);
        bucket_of(value, float(1, row), float(2, row), count).map(Some)
    };
    let result = (0..columns.rows).map(bucket).collect::<Result<Int32Array>>()?;
    Ok(Arc::new(result))
}

fn bucket_of(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let refused = |message| Err(Error::new(ErrorKind::InvalidWidthBucketArgument, message));
    if count <= 0 {
        return refused("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return refused("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return refused("lower and upper bounds must be finite");
    }
    let over = || {
        count
            .checked_add(1)
            .ok_or_else(|| super::arithmetic::out_of_range(&DataType::Int32))
    };
    let inside = |share: f64| ((f64::from(count) * share) as i32).min(count - 1) + 1;
    if low < high {
        if value < low {
            return Ok(0);
        }
        return if value >= high {
            over()
        } else {
            Ok(inside((value - low) / (high - low)))
        };
    }
    if low > high {
        if value > low {
            return Ok(0);
        }
        return if value <= high {
            over()
        } else {
            Ok(inside((low - value) / (low - high)))
        };
    }
    refused("lower bound cannot equal upper bound")
}
