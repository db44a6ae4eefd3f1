//! `x::timestamp(3)`, `x::interval day to minute`: values of a type of times as its modifier wants them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use staffa_catalog::{Rounding, SqlType};

use crate::error::{Error, Result};
use crate::types::{arrow_field, sql_type_of};

/// The name of [`Rounded`].
pub(crate) const ROUNDED: &str = "staffa_rounded";

const NANOS_PER_MICRO: i64 = 1000;

/// A value of a type of times, and the modifier as a constant text: numbers in a statement are not literals any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rounded {
    signature: Signature,
}

impl Rounded {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

/// The values as a column of `plain` with this modifier has them.
pub(crate) fn rounded(column: &ArrayRef, plain: &SqlType, rounding: Rounding) -> Result<ArrayRef> {
    let wrong = || Error::internal(format!("a column of type {plain} holds {}", column.data_type()));
    Ok(match plain {
        SqlType::Time => {
            let times = column.as_primitive_opt::<Time64MicrosecondType>().ok_or_else(wrong)?;
            Arc::new(times.unary::<_, Time64MicrosecondType>(|micros| rounding.time(micros)))
        }
        SqlType::Timestamp | SqlType::TimestampTz => {
            let moments = column
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(wrong)?;
            let moments: PrimitiveArray<TimestampMicrosecondType> = moments.unary(|micros| rounding.moment(micros));
            Arc::new(moments.with_data_type(column.data_type().clone()))
        }
        _ => {
            let spans = column
                .as_primitive_opt::<IntervalMonthDayNanoType>()
                .ok_or_else(wrong)?;
            Arc::new(spans.unary::<_, IntervalMonthDayNanoType>(|span| {
                let micros = span.nanoseconds / NANOS_PER_MICRO;
                let (months, days, micros) = rounding.interval(span.months, span.days, micros);
                IntervalMonthDayNano {
                    months,
                    days,
                    nanoseconds: micros.saturating_mul(NANOS_PER_MICRO),
                }
            }))
        }
    })
}

fn rounding_of(modifier: Option<&ScalarValue>, plain: &SqlType) -> Result<Rounding> {
    let text = modifier.and_then(|modifier| modifier.try_as_str().flatten());
    let number = text.and_then(|text| text.parse::<i32>().ok());
    number
        .and_then(|number| Rounding::of_modifier(number, plain))
        .ok_or_else(|| Error::internal(format!("type {plain} has no such modifier: {modifier:?}")))
}

impl ScalarUDFImpl for Rounded {
    fn name(&self) -> &str {
        ROUNDED
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let ty = types.first().cloned();
        ty.ok_or_else(|| Error::internal("nothing to round").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let Some(field) = args.arg_fields.first() else {
            return Err(Error::internal("nothing to round").into());
        };
        let plain = sql_type_of(field.data_type());
        let rounding = rounding_of(args.scalar_arguments.get(1).copied().flatten(), &plain)?;
        let ty = SqlType::Rounded(Box::new(plain), rounding);
        let named = arrow_field(ROUNDED, &ty, field.is_nullable(), "UTC");
        Ok(Arc::new(named.with_data_type(field.data_type().clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let modifier = match args.args.get(1) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        let Some(value) = args.args.first() else {
            return Err(Error::internal("nothing to round").into());
        };
        let plain = sql_type_of(&value.data_type());
        let rounding = rounding_of(modifier, &plain)?;
        Ok(match value {
            ColumnarValue::Scalar(scalar) => {
                let one = rounded(&scalar.to_array()?, &plain, rounding)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?)
            }
            ColumnarValue::Array(column) => ColumnarValue::Array(rounded(column, &plain, rounding)?),
        })
    }
}
