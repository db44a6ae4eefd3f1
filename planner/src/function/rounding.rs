//! `round`, `trunc`, `ceil` and `floor`: floats stay floats and round halves to even, numerics round halves away from
//! zero and have as many digits after the point as were asked for.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Decimal128Builder, Decimal256Array, Float64Array};
use arrow::datatypes::{
    DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float64Type, i256,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::math::{as_decimal, numeric_overflow};
use super::native::{Columns, no_such_call};
use crate::error::{Error, Result};

/// Digits a numeric can have.
const DIGITS_MAX: i32 = 38;
/// Digits to round to of which more change nothing.
const ASKED_MAX: i64 = 1000;

pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    [
        ("round", Kind::Nearest),
        ("trunc", Kind::Cut),
        ("ceil", Kind::Up),
        ("ceiling", Kind::Up),
        ("floor", Kind::Down),
    ]
    .into_iter()
    .map(|(name, kind)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Rounding { name, kind, signature })
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Nearest,
    Cut,
    Up,
    Down,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [ty] if ty.is_decimal() => Ok(vec![ty.clone()]),
            [ty] if ty.is_numeric() || super::datetime::is_text(ty) => Ok(vec![DataType::Float64]),
            [ty, digits] if matches!(self.kind, Kind::Nearest | Kind::Cut) && super::datetime::is_integer(digits) => {
                let number = match ty {
                    DataType::Decimal256(..) => Some(ty.clone()),
                    ty => as_decimal(ty),
                };
                match number {
                    Some(ty) => Ok(vec![ty, DataType::Int32]),
                    None => Err(no_such_call(self.name, types).into()),
                }
            }
            _ => Err(no_such_call(self.name, types).into()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(Error::internal("the type depends on the digits").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let ty = match args.arg_fields.first().map(|field| field.data_type()) {
            Some(ty @ (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale))) => {
                let whole = i32::from(*precision) - i32::from(*scale);
                let digits = match args.scalar_arguments.get(1) {
                    None => 0,
                    // Rows may ask for different digits: the value's own are enough for all of them.
                    Some(digits) => constant_digits(*digits).map_or(i32::from(*scale), |digits| digits.max(0)),
                };
                let wide = matches!(ty, DataType::Decimal256(..));
                if wide && whole + digits + 1 > DIGITS_MAX {
                    let precision = (whole + digits + 1).min(i32::from(DECIMAL256_MAX_PRECISION));
                    let digits = digits.min(precision - 1);
                    let ty = DataType::Decimal256(precision as u8, digits as i8);
                    return Ok(Arc::new(Field::new(self.name, ty, true)));
                }
                // Never more digits than there is room for beside the whole part.
                let digits = digits.min((DIGITS_MAX - whole - 1).max(i32::from(*scale).min(digits)));
                let precision = (whole + digits + 1).clamp(1, DIGITS_MAX);
                DataType::Decimal128(
                    u8::try_from(precision).unwrap_or(38),
                    i8::try_from(digits).unwrap_or(*scale),
                )
            }
            _ => DataType::Float64,
        };
        Ok(Arc::new(Field::new(self.name, ty, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Columns::evaluate(&args, |columns| match columns.result {
            DataType::Float64 => Ok(self.floats(&columns.arrays[0])),
            _ => self.decimals(columns),
        })
    }
}

fn constant_digits(value: Option<&ScalarValue>) -> Option<i32> {
    match value? {
        ScalarValue::Int32(digits) => *digits,
        ScalarValue::Int64(Some(digits)) => i32::try_from(*digits).ok(),
        ScalarValue::Int16(Some(digits)) => Some(i32::from(*digits)),
        _ => None,
    }
}

impl Rounding {
    fn floats(&self, array: &ArrayRef) -> ArrayRef {
        let values = array.as_primitive::<Float64Type>();
        let result: Float64Array = values.unary(match self.kind {
            Kind::Nearest => f64::round_ties_even,
            Kind::Cut => f64::trunc,
            Kind::Up => f64::ceil,
            Kind::Down => f64::floor,
        });
        Arc::new(result)
    }

    fn decimals(&self, columns: &Columns<'_>) -> Result<ArrayRef> {
        if let Some(values) = columns.arrays[0].as_primitive_opt::<Decimal256Type>() {
            return self.wide_decimals(values, columns);
        }
        let values = columns.arrays[0].as_primitive::<Decimal128Type>();
        let DataType::Decimal128(_, to) = columns.result else {
            return Err(Error::internal("numerics round to numerics"));
        };
        let (from, to) = (i32::from(values.scale()), i32::from(*to));
        let mut builder = Decimal128Builder::with_capacity(columns.rows).with_data_type(columns.result.clone());
        for row in 0..columns.rows {
            if columns.any_null(row) {
                builder.append_null();
                continue;
            }
            let digits = match columns.len() {
                1 => 0,
                _ => columns.int(1, row)?.clamp(-ASKED_MAX, ASKED_MAX) as i32,
            };
            let value = values.value(columns.at(0, row));
            builder.append_value(self.rounded(value, from, digits.min(to), to)?);
        }
        Ok(Arc::new(builder.finish()))
    }

    fn wide_decimals(&self, values: &Decimal256Array, columns: &Columns<'_>) -> Result<ArrayRef> {
        let (to, narrow) = match columns.result {
            DataType::Decimal128(_, to) => (i32::from(*to), true),
            DataType::Decimal256(_, to) => (i32::from(*to), false),
            _ => return Err(Error::internal("numerics round to numerics")),
        };
        let from = i32::from(values.scale());
        let mut rounded = Vec::with_capacity(columns.rows);
        for row in 0..columns.rows {
            if columns.any_null(row) {
                rounded.push(None);
                continue;
            }
            let digits = match columns.len() {
                1 => 0,
                _ => columns.int(1, row)?.clamp(-ASKED_MAX, ASKED_MAX) as i32,
            };
            rounded.push(Some(self.wide_rounded(
                values.value(columns.at(0, row)),
                from,
                digits.min(to),
                to,
            )?));
        }
        if !narrow {
            let array: Decimal256Array = rounded.into_iter().collect();
            return Ok(Arc::new(array.with_data_type(columns.result.clone())));
        }
        let narrowed = rounded
            .into_iter()
            .map(|value| {
                value
                    .map(|value| value.to_i128().ok_or_else(numeric_overflow))
                    .transpose()
            })
            .collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(narrowed.with_data_type(columns.result.clone())))
    }

    /// As [`Rounding::rounded`].
    fn wide_rounded(&self, value: i256, from: i32, digits: i32, to: i32) -> Result<i256> {
        let power = |exponent: u32| i256::from_i128(10).checked_pow(exponent).ok_or_else(numeric_overflow);
        let unit = match u32::try_from(from - digits) {
            Err(_) | Ok(0) => i256::ONE,
            Ok(dropped) if dropped > u32::from(DECIMAL256_MAX_PRECISION) => return Ok(i256::ZERO),
            Ok(dropped) => power(dropped)?,
        };
        let (whole, rest) = (value.wrapping_div(unit), value.wrapping_rem(unit));
        let step = |up: bool| if up { i256::ONE } else { i256::ZERO };
        let size = rest.wrapping_abs();
        let whole = match self.kind {
            Kind::Cut => whole,
            Kind::Nearest if size >= unit.wrapping_sub(size) && unit > i256::ONE => {
                let sign = if value.is_negative() {
                    i256::MINUS_ONE
                } else {
                    i256::ONE
                };
                whole.wrapping_add(sign)
            }
            Kind::Nearest => whole,
            Kind::Up => whole.wrapping_add(step(rest > i256::ZERO)),
            Kind::Down => whole.wrapping_sub(step(rest < i256::ZERO)),
        };
        let shift = to - digits.min(from);
        let factor = power(shift.unsigned_abs())?;
        match shift < 0 {
            true => Ok(whole.wrapping_div(factor)),
            false => whole.checked_mul(factor).ok_or_else(numeric_overflow),
        }
    }

    /// The value with `from` digits after the point rounded to `digits`, written with `to` of them.
    fn rounded(&self, value: i128, from: i32, digits: i32, to: i32) -> Result<i128> {
        let unit = match u32::try_from(from - digits) {
            Err(_) | Ok(0) => 1,
            // All digits are cut away.
            Ok(dropped) if dropped > 38 => return Ok(0),
            Ok(dropped) => 10_i128.pow(dropped),
        };
        let (whole, rest) = (value / unit, value % unit);
        let whole = match self.kind {
            Kind::Cut => whole,
            Kind::Nearest if rest.unsigned_abs() * 2 >= unit.unsigned_abs() && unit > 1 => whole + value.signum(),
            Kind::Nearest => whole,
            Kind::Up => whole + i128::from(rest > 0),
            Kind::Down => whole - i128::from(rest < 0),
        };
        // `whole` has `digits` digits after the point (or `from`, when those are fewer).
        let shift = to - digits.min(from);
        let factor = 10_i128.checked_pow(shift.unsigned_abs()).ok_or_else(numeric_overflow)?;
        if shift < 0 {
            return Ok(whole / factor);
        }
        let result = whole.checked_mul(factor).ok_or_else(numeric_overflow)?;
        if result.unsigned_abs() >= 10_u128.pow(38) {
            return Err(numeric_overflow());
        }
        Ok(result)
    }
}
