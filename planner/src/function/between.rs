//! Casts that Arrow has not, or makes otherwise.
//!
//! | cast | what PostgreSQL does |
//! |---|---|
//! | `integer` and `oid` | both have 32 bits, which stay: -1 is 4294967295 |
//! | `bigint` to `oid` | refuses what is no `oid` in its own words |
//! | `double precision` to `real` | refuses what overflows or vanishes |
//! | a `numeric` to a float, in results | the float that is nearest to all its digits |
//! | a float to `numeric` | takes the 15 digits (6 of a `real`) that are sure |
//! | `time` and `interval` | the time of day that the interval leads to from midnight |
//! | `integer` and `"char"` | its code, 0 of the empty one |

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float32Array, PrimitiveArray, StringViewBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, UInt32Type,
};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use staffa_catalog::{SqlType, SystemType};

use super::datetime::{INTERVAL, TEXT, TIME, micros_of};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::types::sql_type;
use crate::value::datetime::MICROS_PER_DAY;
use crate::value::numeric::parse as parse_numeric;

/// The function that makes a cast, where it is one of these.
pub(crate) fn cast_between(expression: Expr, from: &Field, to: &Field) -> std::result::Result<Expr, Expr> {
    let is_letter = |field: &Field| sql_type(field) == SqlType::System(SystemType::Char);
    let shape = match (from.data_type(), to.data_type()) {
        (DataType::Int16 | DataType::Int32, DataType::UInt32) => OID_OF_INTEGER,
        (DataType::Int64, DataType::UInt32) => OID_OF_BIGINT,
        (DataType::UInt32, DataType::Int32) => INTEGER_OF_OID,
        (DataType::Float64, DataType::Float32) => REAL,
        (DataType::Decimal128(..), DataType::Float64) => DOUBLE_OF_NUMERIC,
        (DataType::Decimal128(..), DataType::Float32) => REAL_OF_NUMERIC,
        (DataType::Time64(_), DataType::Interval(_)) => INTERVAL_OF_TIME,
        (DataType::Interval(_), DataType::Time64(_)) => TIME_OF_INTERVAL,
        (DataType::Int32, _) if is_letter(to) => LETTER,
        (_, DataType::Int32) if is_letter(from) => CODE,
        (DataType::Float32 | DataType::Float64, target @ DataType::Decimal128(..)) => {
            let signature = Signature::any(1, Volatility::Immutable);
            let target = target.clone();
            let func = Arc::new(ScalarUDF::from(ToNumeric { target, signature }));
            let args = vec![expression];
            return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
        }
        _ => return Err(expression),
    };
    Ok(shape.call(vec![expression]))
}

const OID_OF_INTEGER: Shape = Shape::new(
    "staffa_oid",
    |types| one(types, DataType::Int32, DataType::UInt32),
    |columns| each::<Int32Type, UInt32Type>(columns, |value| Ok(value.cast_unsigned())),
);
const OID_OF_BIGINT: Shape = Shape::new(
    "staffa_oid8",
    |types| one(types, DataType::Int64, DataType::UInt32),
    |columns| {
        each::<Int64Type, UInt32Type>(columns, |value| {
            u32::try_from(value).map_err(|_| Error::new(ErrorKind::NumericOutOfRange, "OID out of range"))
        })
    },
);
const INTEGER_OF_OID: Shape = Shape::new(
    "staffa_oid_bits",
    |types| one(types, DataType::UInt32, DataType::Int32),
    |columns| each::<UInt32Type, Int32Type>(columns, |value| Ok(value.cast_signed())),
);
const REAL: Shape = Shape::new(
    "staffa_real",
    |types| one(types, DataType::Float64, DataType::Float32),
    real,
);
const DOUBLE_OF_NUMERIC: Shape = Shape::new(
    "staffa_double",
    |types| number(types, DataType::Float64),
    |columns| {
        float_of_numeric::<Float64Type>(columns, |value, scale| {
            // Both are exact as floats, so that their quotient is the nearest.
            let exact = value.unsigned_abs() < 1 << f64::MANTISSA_DIGITS && (0..=22).contains(&scale);
            exact.then(|| value as f64 / 10_f64.powi(i32::from(scale)))
        })
    },
);
const REAL_OF_NUMERIC: Shape = Shape::new(
    "staffa_real_of_numeric",
    |types| number(types, DataType::Float32),
    |columns| {
        float_of_numeric::<Float32Type>(columns, |value, scale| {
            let exact = value.unsigned_abs() < 1 << f32::MANTISSA_DIGITS && (0..=10).contains(&scale);
            exact.then(|| value as f32 / 10_f32.powi(i32::from(scale)))
        })
    },
);
const INTERVAL_OF_TIME: Shape = Shape::new(
    "staffa_interval",
    |types| one(types, TIME, INTERVAL),
    |columns| {
        each::<Time64MicrosecondType, IntervalMonthDayNanoType>(columns, |micros| {
            super::datetime::interval(0, 0, micros)
        })
    },
);
const TIME_OF_INTERVAL: Shape = Shape::new(
    "staffa_time",
    |types| one(types, INTERVAL, TIME),
    |columns| {
        each::<IntervalMonthDayNanoType, Time64MicrosecondType>(columns, |interval| {
            Ok(micros_of(interval).rem_euclid(MICROS_PER_DAY))
        })
    },
);
const LETTER: Shape = Shape::new("staffa_letter", |types| one(types, DataType::Int32, TEXT), letter);
const CODE: Shape = Shape::new("staffa_letter_code", |types| one(types, TEXT, DataType::Int32), code);

fn one(types: &[DataType], from: DataType, to: DataType) -> Resolved {
    (types.len() == 1).then(|| (vec![from], to))
}

fn number(types: &[DataType], to: DataType) -> Resolved {
    match types {
        [from @ DataType::Decimal128(..)] => Some((vec![from.clone()], to)),
        _ => None,
    }
}

/// `numeric_float8`: what is not found at once is read from its digits.
fn float_of_numeric<To: ArrowPrimitiveType>(
    columns: &Columns<'_>,
    at_once: impl Fn(i128, i8) -> Option<To::Native>,
) -> Result<ArrayRef>
where
    To::Native: std::str::FromStr,
{
    let values = columns.arrays[0].as_primitive::<Decimal128Type>();
    let scale = values.scale();
    let convert = |value: i128| match at_once(value, scale) {
        Some(float) => Ok(float),
        None => format!("{value}e{}", -i32::from(scale))
            .parse::<To::Native>()
            .map_err(|_| Error::internal("the digits of a number are one")),
    };
    let floats: PrimitiveArray<To> = values
        .iter()
        .map(|value| value.map(convert).transpose())
        .collect::<Result<_>>()?;
    Ok(Arc::new(floats))
}

fn each<From: ArrowPrimitiveType, To: ArrowPrimitiveType>(
    columns: &Columns<'_>,
    convert: impl Fn(From::Native) -> Result<To::Native>,
) -> Result<ArrayRef> {
    let values = columns.arrays[0].as_primitive::<From>().iter();
    let converted: PrimitiveArray<To> = values
        .map(|value| value.map(&convert).transpose())
        .collect::<Result<_>>()?;
    Ok(Arc::new(converted))
}

/// `float8_to_float4`
fn real(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = columns.arrays[0].as_primitive::<Float64Type>();
    // The common case first, without a branch per row.
    let narrow: Float32Array = values.unary(|value| value as f32);
    let is_suspect = narrow
        .values()
        .iter()
        .fold(false, |any, value| any | value.is_infinite() | (*value == 0.0));
    if is_suspect {
        for (value, narrow) in values.iter().zip(narrow.iter()) {
            let (Some(value), Some(narrow)) = (value, narrow) else {
                continue;
            };
            let what = match narrow {
                narrow if narrow.is_infinite() && value.is_finite() => "overflow",
                narrow if narrow == 0.0 && value != 0.0 => "underflow",
                _ => continue,
            };
            let message = format!("value out of range: {what}");
            return Err(Error::new(ErrorKind::NumericOutOfRange, message));
        }
    }
    Ok(Arc::new(narrow))
}

/// `float8_numeric`: of the digits that a float is sure of.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToNumeric {
    target: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ToNumeric {
    fn name(&self) -> &str {
        "staffa_numeric"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Columns::evaluate(&args, |columns| {
            let DataType::Decimal128(precision, scale) = self.target else {
                return Err(Error::internal("a numeric has 128 bits"));
            };
            let values = &columns.arrays[0];
            let numbers: Decimal128Array = match values.data_type() {
                DataType::Float32 => {
                    let values = values.as_primitive::<Float32Type>().iter();
                    let number = |value: f32| numeric(f64::from(value), 6, precision, scale);
                    values
                        .map(|value| value.map(number).transpose())
                        .collect::<Result<_>>()?
                }
                _ => {
                    let values = values.as_primitive::<Float64Type>().iter();
                    let number = |value: f64| numeric(value, 15, precision, scale);
                    values
                        .map(|value| value.map(number).transpose())
                        .collect::<Result<_>>()?
                }
            };
            Ok(Arc::new(numbers.with_precision_and_scale(precision, scale)?))
        })
    }
}

fn numeric(value: f64, digits: usize, precision: u8, scale: i8) -> Result<i128> {
    if value.is_finite() {
        return parse_numeric(format!("{value:.*e}", digits - 1).as_bytes(), precision, scale);
    }
    parse_numeric(value.to_string().as_bytes(), precision, scale)
}

/// `i4tochar`
fn letter(columns: &Columns<'_>) -> Result<ArrayRef> {
    let codes = columns.arrays[0].as_primitive::<Int32Type>();
    let mut letters = StringViewBuilder::with_capacity(codes.len());
    for code in codes {
        match code.map(i8::try_from) {
            None => letters.append_null(),
            Some(Ok(0)) => letters.append_value(""),
            Some(Ok(code @ 1..)) => letters.append_value(char::from(code.cast_unsigned()).to_string()),
            // Half of a letter of UTF-8, which no text can hold.
            Some(Ok(_)) => return Err(Error::unsupported("a \"char\" beyond ASCII is not supported")),
            Some(Err(_)) => return Err(Error::new(ErrorKind::NumericOutOfRange, "\"char\" out of range")),
        }
    }
    Ok(Arc::new(letters.finish()))
}

/// `chartoi4`: of the first byte, which has a sign.
fn code(columns: &Columns<'_>) -> Result<ArrayRef> {
    let code = |letter: &str| letter.bytes().next().map_or(0, |byte| i32::from(byte.cast_signed()));
    let codes: PrimitiveArray<Int32Type> = columns.texts(0)?.iter().map(|letter| letter.map(code)).collect();
    Ok(Arc::new(codes))
}
