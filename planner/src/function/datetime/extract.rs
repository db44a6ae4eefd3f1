//! `extract(field from x)`, which is numeric, and `date_part('field', x)`, which is double precision.
//!
//! The field is a constant: it decides how many digits the result has after the point.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Builder, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{
    DATE, INTERVAL, Moments, TIME, interval_at, is_infinite, is_interval, is_text, micros_of, time_at, timestamp_like,
    unknown_unit, unsupported_unit,
};
use crate::error::{Error, Result};
use crate::function::native::no_such_call;
use crate::value::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};

const DIGITS: u8 = 38;
/// 1970-01-01 as a Julian day.
const JULIAN_EPOCH: i64 = 2_440_588;
const JULIAN_SCALE: i8 = 20;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::function) struct Extract {
    /// `date_part`, not `extract`.
    float: bool,
    signature: Signature,
}

impl Extract {
    pub(in crate::function) fn new(float: bool) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { float, signature }
    }

    /// `extract(field from value)`
    pub(crate) fn call(args: Vec<Expr>) -> Expr {
        let func = Arc::new(ScalarUDF::from(Self::new(false)));
        Expr::ScalarFunction(ScalarFunction { func, args })
    }

    fn result_type(&self, part: Part, value: &DataType) -> DataType {
        if self.float {
            return DataType::Float64;
        }
        // A year has five digits and more; few digits make fast groups and small keys.
        match scale(part, value) {
            0 if !matches!(part, Part::Epoch | Part::Microseconds) => DataType::Decimal128(10, 0),
            scale => DataType::Decimal128(DIGITS, scale),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    IsoYear,
    Decade,
    Century,
    Millennium,
    Dow,
    IsoDow,
    Doy,
    Epoch,
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn part_named(name: &str) -> Option<Part> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds" => Part::Microseconds,
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => Part::Milliseconds,
        "second" | "seconds" | "s" | "sec" | "secs" => Part::Second,
        "minute" | "minutes" | "m" | "min" | "mins" => Part::Minute,
        "hour" | "hours" | "h" | "hr" | "hrs" => Part::Hour,
        "day" | "days" | "d" => Part::Day,
        "week" | "weeks" | "w" => Part::Week,
        "month" | "months" | "mon" | "mons" => Part::Month,
        "quarter" | "qtr" => Part::Quarter,
        "year" | "years" | "y" | "yr" | "yrs" => Part::Year,
        "isoyear" => Part::IsoYear,
        "decade" | "decades" | "dec" | "decs" => Part::Decade,
        "century" | "centuries" | "c" | "cent" => Part::Century,
        "millennium" | "millennia" | "mil" | "mils" => Part::Millennium,
        "dow" => Part::Dow,
        "isodow" => Part::IsoDow,
        "doy" => Part::Doy,
        "epoch" => Part::Epoch,
        "julian" | "j" | "jd" => Part::Julian,
        "timezone" => Part::Timezone,
        "timezone_hour" | "timezone_h" => Part::TimezoneHour,
        "timezone_minute" | "timezone_m" => Part::TimezoneMinute,
        _ => return None,
    })
}

/// Digits after the point.
fn scale(part: Part, value: &DataType) -> i8 {
    match part {
        Part::Second => 6,
        Part::Milliseconds => 3,
        Part::Epoch if value != &DATE => 6,
        Part::Julian if value != &DATE => JULIAN_SCALE,
        _ => 0,
    }
}

/// The field, if this type has it.
fn part_of(name: &str, value: &DataType) -> Result<Part> {
    let part = part_named(name).ok_or_else(|| unknown_unit(name, value))?;
    let zone = matches!(part, Part::Timezone | Part::TimezoneHour | Part::TimezoneMinute);
    let clock = matches!(
        part,
        Part::Microseconds | Part::Milliseconds | Part::Second | Part::Minute | Part::Hour
    );
    let has = match value {
        ty if ty == &DATE => !clock && !zone,
        ty if ty == &TIME => clock || part == Part::Epoch,
        DataType::Timestamp(_, zone_name) => !zone || zone_name.is_some(),
        _ => {
            clock
                || matches!(
                    part,
                    Part::Day
                        | Part::Month
                        | Part::Quarter
                        | Part::Year
                        | Part::Decade
                        | Part::Century
                        | Part::Millennium
                        | Part::Epoch
                )
        }
    };
    if has {
        Ok(part)
    } else {
        Err(unsupported_unit(name, value))
    }
}

fn constant_text(value: &ScalarValue) -> Result<Option<&str>> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => Ok(text.as_deref()),
        ScalarValue::Null => Ok(None),
        _ => Err(Error::internal("a field is a text")),
    }
}

fn not_constant() -> Error {
    Error::unsupported("date_part() with a field that is not a constant is not supported")
}

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &str {
        if self.float { "date_part" } else { "extract" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [field, value] = types else {
            return Err(no_such_call(self.name(), types).into());
        };
        let value = match value {
            ty if ty == &DATE || ty == &TIME => ty.clone(),
            ty if is_interval(ty) => INTERVAL,
            ty if is_text(ty) => DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
            ty => match timestamp_like(ty) {
                Some(ty) => ty,
                None => return Err(no_such_call(self.name(), types).into()),
            },
        };
        if !is_text(field) {
            return Err(no_such_call(self.name(), types).into());
        }
        // The field stays as it is: behind a cast it would be no constant.
        Ok(vec![field.clone(), value])
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(Error::internal("the type depends on the field").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let (Some(field), Some(value)) = (args.scalar_arguments.first(), args.arg_fields.get(1)) else {
            return Err(Error::internal("two arguments are checked").into());
        };
        let ty = match constant_text((*field).ok_or_else(not_constant)?)? {
            Some(name) => self.result_type(part_of(name, value.data_type())?, value.data_type()),
            None => DataType::Float64,
        };
        Ok(Arc::new(Field::new(self.name(), ty, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let result_type = args.return_field.data_type();
        let [ColumnarValue::Scalar(field), value] = args.args.as_slice() else {
            return Err(not_constant().into());
        };
        let Some(name) = constant_text(field)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(result_type)?));
        };
        let scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.clone().into_array(if scalar { 1 } else { args.number_rows })?;
        let part = part_of(name, array.data_type())?;
        let result = compute(part, &array, result_type)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }

    /// `extract(year from d) = 1995` holds from the first to the last day of the year: bounds prune files, functions don't.
    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> DataFusionResult<PreimageResult> {
        let [field, value] = args else {
            return Ok(PreimageResult::None);
        };
        let is_year = field
            .as_literal()
            .and_then(|field| constant_text(field).ok().flatten())
            .is_some_and(|name| part_named(name) == Some(Part::Year));
        let (true, Some(year)) = (is_year, literal.as_literal().and_then(whole_year)) else {
            return Ok(PreimageResult::None);
        };
        let day = |year: i64| days_from_civil(year, 1, 1);
        let moment = |days: i64| match info.get_data_type(value) {
            Ok(DataType::Date32) => i32::try_from(days).ok().map(|days| ScalarValue::Date32(Some(days))),
            Ok(DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)) => {
                Some(ScalarValue::TimestampMicrosecond(Some(days * MICROS_PER_DAY), None))
            }
            _ => None,
        };
        let (Some(first), Some(after)) = (moment(day(year)), moment(day(year + 1))) else {
            return Ok(PreimageResult::None);
        };
        Ok(PreimageResult::Range {
            expr: value.clone(),
            interval: Box::new(Interval::try_new(first, after)?),
        })
    }
}

/// A constant that is a year after Christ.
fn whole_year(value: &ScalarValue) -> Option<i64> {
    let year = match value {
        ScalarValue::Int32(Some(year)) => i64::from(*year),
        ScalarValue::Int64(Some(year)) => *year,
        ScalarValue::Decimal128(Some(year), _, 0) => i64::try_from(*year).ok()?,
        ScalarValue::Float64(Some(year)) if year.fract() == 0.0 && year.abs() < 1e6 => *year as i64,
        _ => return None,
    };
    (1..=9999).contains(&year).then_some(year)
}

fn compute(part: Part, array: &ArrayRef, result_type: &DataType) -> Result<ArrayRef> {
    let scale = scale(part, array.data_type());
    let unscaled = values(part, array)?;
    Ok(match result_type {
        DataType::Float64 => {
            let divisor = 10_f64.powi(i32::from(scale));
            let floats: Float64Array = unscaled
                .iter()
                .map(|value| {
                    value.map(|value| match value {
                        i128::MAX => f64::INFINITY,
                        i128::MIN => f64::NEG_INFINITY,
                        value => value as f64 / divisor,
                    })
                })
                .collect();
            Arc::new(floats)
        }
        ty => {
            let mut builder = Decimal128Builder::with_capacity(array.len()).with_data_type(ty.clone());
            for value in unscaled {
                match value {
                    Some(i128::MAX | i128::MIN) => {
                        return Err(Error::unsupported("extract() of an infinite time is not supported")
                            .with_hint("Use date_part(), whose result can be infinite."));
                    }
                    value => builder.append_option(value),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

/// The field of every row, without its point. Infinity is the largest and the smallest number.
fn values(part: Part, array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let valid = |row: usize| array.is_valid(row);
    let rows = 0..array.len();
    match array.data_type() {
        ty if ty == &TIME => rows
            .map(|row| match valid(row) {
                true => Ok(Some(of_clock(part, time_at(array, row)?))),
                false => Ok(None),
            })
            .collect(),
        ty if ty == &INTERVAL => rows
            .map(|row| match valid(row) {
                true => Ok(Some(of_interval(part, interval_at(array, row)?))),
                false => Ok(None),
            })
            .collect(),
        _ => {
            let moments = Moments::of(array)?;
            Ok(rows
                .map(|row| valid(row).then(|| of_moment(part, &moments, row)).flatten())
                .collect())
        }
    }
}

fn of_clock(part: Part, micros: i64) -> i128 {
    let minute_micros = micros % (60 * MICROS_PER_SECOND);
    i128::from(match part {
        Part::Microseconds | Part::Milliseconds | Part::Second => minute_micros,
        Part::Minute => micros / (60 * MICROS_PER_SECOND) % 60,
        Part::Hour => micros / (3600 * MICROS_PER_SECOND),
        _ => micros,
    })
}

fn of_interval(part: Part, interval: arrow::datatypes::IntervalMonthDayNano) -> i128 {
    let (months, micros) = (i64::from(interval.months), micros_of(interval));
    i128::from(match part {
        Part::Day => i64::from(interval.days),
        Part::Month => months % 12,
        Part::Quarter => months % 12 / 3 + 1,
        Part::Year => months / 12,
        Part::Decade => months / 120,
        Part::Century => months / 1200,
        Part::Millennium => months / 12_000,
        // PostgreSQL counts a year as 365.25 days and the months left as 30 days each.
        Part::Epoch => {
            let quarter_days = months / 12 * 1461 + (months % 12 * 30 + i64::from(interval.days)) * 4;
            return i128::from(quarter_days) * i128::from(MICROS_PER_DAY / 4) + i128::from(micros);
        }
        clock => return of_clock(clock, micros),
    })
}

/// NULL for the fields of an infinite time that have no limit.
fn of_moment(part: Part, moments: &Moments<'_>, row: usize) -> Option<i128> {
    let stored = moments.stored(row);
    if is_infinite(stored) {
        let grows = matches!(
            part,
            Part::Year | Part::IsoYear | Part::Decade | Part::Century | Part::Millennium | Part::Epoch | Part::Julian
        );
        return grows.then_some(if stored > 0 { i128::MAX } else { i128::MIN });
    }
    let (days, micros, offset) = moments.day(row);
    let date = !moments.is_timestamp();
    let (year, month, day) = civil_from_days(days);
    // Before Christ there is no year 0: PostgreSQL shows -1 for 1 BC.
    let shown = |year: i64| if year > 0 { year } else { year - 1 };
    Some(i128::from(match part {
        Part::Year => shown(year),
        Part::Month => i64::from(month),
        Part::Day => i64::from(day),
        Part::Quarter => i64::from((month - 1) / 3 + 1),
        Part::Decade => year.div_euclid(10),
        Part::Century => group(year, 100),
        Part::Millennium => group(year, 1000),
        Part::Dow => (days + 4).rem_euclid(7),
        Part::IsoDow => (days + 3).rem_euclid(7) + 1,
        Part::Doy => days - days_from_civil(year, 1, 1) + 1,
        Part::Week => iso_week(days).1,
        Part::IsoYear => shown(iso_week(days).0),
        Part::Timezone => i64::from(offset),
        Part::TimezoneHour => i64::from(offset / 3600),
        Part::TimezoneMinute => i64::from(offset / 60 % 60),
        Part::Epoch if date => days * (MICROS_PER_DAY / MICROS_PER_SECOND),
        Part::Epoch => stored,
        Part::Julian if date => days + JULIAN_EPOCH,
        Part::Julian => {
            let unit = 10_i128.pow(JULIAN_SCALE.unsigned_abs().into());
            let rest = (i128::from(micros) * unit + i128::from(MICROS_PER_DAY / 2)) / i128::from(MICROS_PER_DAY);
            return Some(i128::from(days + JULIAN_EPOCH) * unit + rest);
        }
        clock => return Some(of_clock(clock, micros)),
    }))
}

/// Centuries and millennia begin with a year 1.
fn group(year: i64, length: i64) -> i64 {
    if year > 0 {
        (year + length - 1) / length
    } else {
        -((length - 1 - (year - 1)) / length)
    }
}

/// The ISO year of a day and the week in it: weeks begin on Monday, the first has the year's first Thursday.
pub(in crate::function) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}
