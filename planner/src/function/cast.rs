//! Numbers with a fraction to integers: PostgreSQL rounds where Arrow cuts, and refuses what does not fit.
//!
//! `numeric` rounds halves away from zero, floats to the even neighbour.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int16Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, ErrorKind};

/// The integer type this cast goes to, if it is one that has to round.
pub(crate) fn to_integer_target(from: &DataType, to: &DataType) -> bool {
    matches!(
        from,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..)
    ) && matches!(to, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// The expression rounded to an integer type.
pub(crate) fn to_integer(expression: Expr, target: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let func = Arc::new(ScalarUDF::from(ToInteger { target, signature }));
    Expr::ScalarFunction(ScalarFunction {
        func,
        args: vec![expression],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToInteger {
    target: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ToInteger {
    fn name(&self) -> &str {
        match self.target {
            DataType::Int16 => "staffa_smallint",
            DataType::Int32 => "staffa_integer",
            _ => "staffa_bigint",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let Some(argument) = args.args.into_iter().next() else {
            return Err(Error::internal("a cast of nothing").into());
        };
        let scalar = matches!(argument, ColumnarValue::Scalar(_));
        let array = argument.into_array(if scalar { 1 } else { args.number_rows })?;
        let rounded = self.narrow(&rounded(&array)?)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(
                &rounded, 0,
            )?));
        }
        Ok(ColumnarValue::Array(rounded))
    }
}

impl ToInteger {
    fn narrow(&self, values: &[Option<i128>]) -> Result<ArrayRef, Error> {
        let values = values.iter().copied();
        Ok(match self.target {
            DataType::Int16 => {
                let values = values.map(|v| {
                    v.map(|v| i16::try_from(v).map_err(|_| out_of_range("smallint")))
                        .transpose()
                });
                Arc::new(values.collect::<Result<Int16Array, Error>>()?)
            }
            DataType::Int32 => {
                let values = values.map(|v| {
                    v.map(|v| i32::try_from(v).map_err(|_| out_of_range("integer")))
                        .transpose()
                });
                Arc::new(values.collect::<Result<Int32Array, Error>>()?)
            }
            _ => {
                let values = values.map(|v| {
                    v.map(|v| i64::try_from(v).map_err(|_| out_of_range("bigint")))
                        .transpose()
                });
                Arc::new(values.collect::<Result<Int64Array, Error>>()?)
            }
        })
    }
}

fn rounded(array: &ArrayRef) -> Result<Vec<Option<i128>>, Error> {
    Ok(match array.data_type() {
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .iter()
            .map(|v| v.map(|v| float(f64::from(v))))
            .collect(),
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .iter()
            .map(|v| v.map(float))
            .collect(),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            array
                .as_primitive::<Decimal128Type>()
                .iter()
                .map(|v| v.map(|v| decimal(v, scale)))
                .collect()
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            array
                .as_primitive::<Decimal256Type>()
                .iter()
                .map(|v| v.map(|v| wide_decimal(v, scale)))
                .collect()
        }
        other => return Err(Error::internal(format!("rounding of {other}"))),
    })
}

/// NaN and infinities become a number no integer type holds.
fn float(value: f64) -> i128 {
    if value.is_nan() {
        i128::MAX
    } else {
        value.round_ties_even() as i128
    }
}

fn decimal(unscaled: i128, scale: i8) -> i128 {
    let Ok(digits) = u32::try_from(scale) else {
        // A negative scale counts zeros before the point.
        return 10i128
            .checked_pow(u32::from(scale.unsigned_abs()))
            .and_then(|f| unscaled.checked_mul(f))
            .unwrap_or(i128::MAX);
    };
    let Some(factor) = 10i128.checked_pow(digits) else {
        return 0;
    };
    let (whole, rest) = (unscaled / factor, unscaled % factor);
    if rest.unsigned_abs() * 2 >= factor.unsigned_abs() {
        whole + unscaled.signum()
    } else {
        whole
    }
}

/// What needs more than 128 bits becomes a number no integer type holds.
fn wide_decimal(unscaled: i256, scale: i8) -> i128 {
    let power = u32::try_from(scale)
        .ok()
        .and_then(|scale| i256::from_i128(10).checked_pow(scale));
    let Some(factor) = power else { return i128::MAX };
    let (whole, rest) = (
        unscaled.wrapping_div(factor),
        unscaled.wrapping_rem(factor).wrapping_abs(),
    );
    let Some(whole) = whole.to_i128() else { return i128::MAX };
    match rest >= factor.wrapping_sub(rest) {
        true if unscaled.is_negative() => whole - 1,
        true => whole + 1,
        false => whole,
    }
}

fn out_of_range(name: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("{name} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15: `select 2.5::numeric::int, 2.5::float8::int, …`.
    #[test]
    fn rounding_of_postgres() {
        assert_eq!(
            [decimal(15, 1), decimal(25, 1), decimal(-15, 1), decimal(14, 1)],
            [2, 3, -2, 1]
        );
        assert_eq!(
            [float(1.5), float(2.5), float(-1.5), float(-2.5), float(0.4)],
            [2, 2, -2, -2, 0]
        );
        assert_eq!(decimal(5, 0), 5);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cast = ToInteger {
            target: DataType::Int32,
            signature: Signature::any(1, Volatility::Immutable),
        };
        for value in [float(f64::NAN), float(f64::INFINITY), float(3e9)] {
            let error = cast.narrow(&[Some(value)]).expect_err("too large");
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::NumericOutOfRange, "integer out of range")
            );
        }
    }
}
