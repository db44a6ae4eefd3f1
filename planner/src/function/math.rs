//! Functions of numbers that fail where PostgreSQL fails (`ln(0)`, `sqrt(-1)`), and round as it rounds.
//!
//! Results of `ln`, `exp`, `sqrt`, `power` are double precision for every argument; PostgreSQL has numeric variants.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Builder, Float64Array, Int32Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};

use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("ln", one_number, |columns| unary(columns, |x| logarithm(x, f64::ln))),
    Shape::new("log10", one_number, |columns| {
        unary(columns, |x| logarithm(x, f64::log10))
    }),
    Shape::new("log", one_or_two, log),
    Shape::new("exp", one_number, |columns| unary(columns, exp)),
    Shape::new("sqrt", one_number, |columns| unary(columns, sqrt)),
    Shape::new("asin", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::asin))
    }),
    Shape::new("acos", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::acos))
    }),
    Shape::new("atanh", one_number, |columns| {
        unary(columns, |x| within_one(x, f64::atanh))
    }),
    Shape::new("power", two_numbers, |columns| binary(columns, power)),
    Shape::new("pow", two_numbers, |columns| binary(columns, power)),
    Shape::new("sign", sign_types, sign),
    Shape::new("div", div_types, div),
    Shape::new("width_bucket", bucket_types, width_bucket),
];

fn is_number(ty: &DataType) -> bool {
    ty.is_numeric() || super::datetime::is_text(ty)
}

fn one_number(types: &[DataType]) -> Resolved {
    match types {
        [ty] if is_number(ty) => Some((vec![DataType::Float64], DataType::Float64)),
        _ => None,
    }
}

fn two_numbers(types: &[DataType]) -> Resolved {
    match types {
        [left, right] if is_number(left) && is_number(right) => Some((vec![DataType::Float64; 2], DataType::Float64)),
        _ => None,
    }
}

fn one_or_two(types: &[DataType]) -> Resolved {
    one_number(types).or_else(|| two_numbers(types))
}

fn unary(columns: &Columns<'_>, compute: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = columns.arrays[0].as_primitive::<Float64Type>();
    let result = values
        .iter()
        .map(|value| value.map(&compute).transpose())
        .collect::<Result<Float64Array>>()?;
    Ok(Arc::new(result))
}

fn binary(columns: &Columns<'_>, compute: impl Fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
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
    let refused = |message| Err(Error::new(ErrorKind::InvalidLogarithmArgument, message));
    if x == 0.0 {
        return refused("cannot take logarithm of zero");
    }
    if x < 0.0 {
        return refused("cannot take logarithm of a negative number");
    }
    Ok(compute(x))
}

/// `log(x)` is to base 10, `log(b, x)` to base b.
fn log(columns: &Columns<'_>) -> Result<ArrayRef> {
    if columns.len() == 1 {
        return unary(columns, |x| logarithm(x, f64::log10));
    }
    binary(columns, |base, x| {
        let base = logarithm(base, f64::ln)?;
        let x = logarithm(x, f64::ln)?;
        if base == 0.0 {
            return Err(Error::new(ErrorKind::DivisionByZero, "division by zero"));
        }
        let quotient = x / base;
        // ln(8) / ln(2) is a hair off 3.
        let whole = quotient.round();
        Ok(if (quotient - whole).abs() < 1e-14 * whole.abs() {
            whole
        } else {
            quotient
        })
    })
}

fn exp(x: f64) -> Result<f64> {
    finite(x.exp(), x.is_finite())
}

fn finite(result: f64, from_finite: bool) -> Result<f64> {
    if result.is_infinite() && from_finite {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow"));
    }
    Ok(result)
}

fn sqrt(x: f64) -> Result<f64> {
    if x < 0.0 {
        let message = "cannot take square root of a negative number";
        return Err(Error::new(ErrorKind::InvalidPowerArgument, message));
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
    let refused = |message| Err(Error::new(ErrorKind::InvalidPowerArgument, message));
    if base == 0.0 && exponent < 0.0 {
        return refused("zero raised to a negative power is undefined");
    }
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        return refused("a negative number raised to a non-integer power yields a complex result");
    }
    finite(base.powf(exponent), base.is_finite() && exponent.is_finite())
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
    Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow")
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
