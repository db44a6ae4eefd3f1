//! `generate_series` where its bounds are not integer literals, and the numbers of WITH ORDINALITY: arrays, to be unnested.
//!
//! Numbers, `timestamp` and `timestamptz` as in PostgreSQL; dates count as `timestamp` (PostgreSQL: `timestamptz`). No one calls
//! these by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, PrimitiveBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Field, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, ErrorKind, undefined_function};
use crate::types::ELEMENT_NAME;

pub(crate) const SERIES: &str = "staffa_series";
pub(crate) const ORDINALS: &str = "staffa_ordinals";

/// Values one series may have: they are in memory together.
const VALUES_MAX: usize = 50_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Series {
    signature: Signature,
}

impl Series {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &str {
        SERIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let refused = || Err(undefined_function("generate_series").into());
        let (2 | 3) = given.len() else {
            return refused();
        };
        let bounds = &given[..2];
        let timestamp = |zone: Option<Arc<str>>| DataType::Timestamp(TimeUnit::Microsecond, zone);
        let zone = bounds.iter().find_map(|bound| match bound {
            DataType::Timestamp(_, Some(zone)) => Some(Arc::clone(zone)),
            _ => None,
        });
        let temporal = |ty: &DataType| matches!(ty, DataType::Timestamp(..) | DataType::Date32);
        let untyped = |ty: &DataType| matches!(ty, DataType::Null | DataType::Utf8 | DataType::Utf8View);
        if bounds.iter().any(temporal) {
            if given.len() != 3 || !bounds.iter().all(|bound| temporal(bound) || untyped(bound)) {
                return refused();
            }
            let bound = timestamp(zone);
            return Ok(vec![
                bound.clone(),
                bound,
                DataType::Interval(IntervalUnit::MonthDayNano),
            ]);
        }
        let number = |ty: &DataType| ty.is_integer() || matches!(ty, DataType::Decimal128(..)) || untyped(ty);
        if !given.iter().all(number) {
            return refused();
        }
        let scales = given.iter().filter_map(|ty| match ty {
            DataType::Decimal128(_, scale) => Some(*scale),
            _ => None,
        });
        let common = match scales.max() {
            Some(scale) => DataType::Decimal128(38, scale),
            None if given.iter().all(|ty| matches!(ty, DataType::Int16 | DataType::Int32)) => DataType::Int32,
            None => DataType::Int64,
        };
        Ok(vec![common; given.len()])
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(list_of(types[0].clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let series = match arrays[0].data_type() {
            DataType::Int32 => numbers::<Int32Type>(&arrays, 1, |value, step| value.checked_add(step))?,
            DataType::Int64 => numbers::<Int64Type>(&arrays, 1, |value, step| value.checked_add(step))?,
            DataType::Decimal128(_, scale) => {
                let one = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
                numbers::<Decimal128Type>(&arrays, one, |value, step| value.checked_add(step))?
            }
            DataType::Timestamp(_, zone) => timestamps(&arrays, zone.as_deref())?,
            _ => return Err(undefined_function("generate_series").into()),
        };
        Ok(ColumnarValue::Array(series))
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new(ELEMENT_NAME, element, true)))
}

fn builder<T: ArrowPrimitiveType>(element: &DataType) -> ListBuilder<PrimitiveBuilder<T>> {
    ListBuilder::new(PrimitiveBuilder::<T>::new().with_data_type(element.clone())).with_field(Field::new(
        ELEMENT_NAME,
        element.clone(),
        true,
    ))
}

fn step_zero() -> Error {
    Error::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero")
}

fn too_long() -> Error {
    let message = format!("generate_series() here makes at most {VALUES_MAX} values at a time");
    Error::new(ErrorKind::ConfigurationLimitExceeded, message).with_hint("Integer literals as bounds have no limit.")
}

fn numbers<T: ArrowPrimitiveType>(
    arrays: &[ArrayRef],
    one: T::Native,
    next: impl Fn(T::Native, T::Native) -> Option<T::Native>,
) -> DataFusionResult<ArrayRef>
where
    T::Native: PartialOrd + Default + Into<i128>,
{
    let (from, to) = (arrays[0].as_primitive::<T>(), arrays[1].as_primitive::<T>());
    let steps = arrays.get(2).map(|steps| steps.as_primitive::<T>());
    let mut lists = builder::<T>(arrays[0].data_type());
    let mut made = 0_usize;
    for row in 0..from.len() {
        if from.is_null(row) || to.is_null(row) || steps.is_some_and(|steps| steps.is_null(row)) {
            lists.append_null();
            continue;
        }
        let step = steps.map_or(one, |steps| steps.value(row));
        let zero = T::Native::default();
        if step == zero {
            return Err(step_zero().into());
        }
        let (mut value, last) = (from.value(row), to.value(row));
        let span: (i128, i128) = (value.into(), last.into());
        let steps = span
            .1
            .checked_sub(span.0)
            .map_or(i128::MAX, |length| length / step.into());
        if steps > VALUES_MAX as i128 {
            return Err(too_long().into());
        }
        while if step > zero { value <= last } else { value >= last } {
            lists.values().append_value(value);
            made += 1;
            if made > VALUES_MAX {
                return Err(too_long().into());
            }
            match next(value, step) {
                Some(following) => value = following,
                None => break,
            }
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn timestamps(arrays: &[ArrayRef], zone: Option<&str>) -> DataFusionResult<ArrayRef> {
    let (from, to) = (
        arrays[0].as_primitive::<TimestampMicrosecondType>(),
        arrays[1].as_primitive::<TimestampMicrosecondType>(),
    );
    let steps = arrays[2].as_primitive::<IntervalMonthDayNanoType>();
    let zone: Tz = zone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
    let mut lists = builder::<TimestampMicrosecondType>(arrays[0].data_type());
    let mut made = 0_usize;
    for row in 0..from.len() {
        if from.is_null(row) || to.is_null(row) || steps.is_null(row) {
            lists.append_null();
            continue;
        }
        let step = steps.value(row);
        let length = length(step);
        if length == 0 {
            return Err(step_zero().into());
        }
        let (mut value, last) = (from.value(row), to.value(row));
        let span = (i128::from(last) - i128::from(value)) * 1000;
        // Months may be shorter than they count.
        if span / length > 2 * VALUES_MAX as i128 || last == i64::MAX && length > 0 || last == i64::MIN && length < 0 {
            return Err(too_long().into());
        }
        while if length > 0 { value <= last } else { value >= last } {
            lists.values().append_value(value);
            made += 1;
            if made > VALUES_MAX {
                return Err(too_long().into());
            }
            // The calendar's months and days count in local time.
            value = added(value, step, zone)
                .ok_or_else(|| Error::new(ErrorKind::DatetimeOverflow, "timestamp out of range"))?;
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// How PostgreSQL compares intervals: a month is 30 days. In nanoseconds.
fn length(step: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(step.months) * 30 + i128::from(step.days)) * DAY + i128::from(step.nanoseconds)
}

fn added(micros: i64, step: IntervalMonthDayNano, zone: Tz) -> Option<i64> {
    // Hours are counted, not read off a clock: one that is put back shows some times twice.
    if step.months == 0 && step.days == 0 {
        return micros.checked_add(step.nanoseconds / 1000);
    }
    let local = DateTime::from_timestamp_micros(micros)?
        .with_timezone(&zone)
        .naive_local();
    let local = plus_months(local, step.months)?;
    let days = Days::new(u64::from(step.days.unsigned_abs()));
    let local = match step.days >= 0 {
        true => local.checked_add_days(days)?,
        false => local.checked_sub_days(days)?,
    };
    // A time that does not exist where clocks are put forward is an hour later.
    let moment = zone.from_local_datetime(&local).earliest().or_else(|| {
        zone.from_local_datetime(&local.checked_add_signed(TimeDelta::hours(1))?)
            .earliest()
    })?;
    moment.timestamp_micros().checked_add(step.nanoseconds / 1000)
}

fn plus_months(local: NaiveDateTime, months: i32) -> Option<NaiveDateTime> {
    let by = Months::new(months.unsigned_abs());
    match months >= 0 {
        true => local.checked_add_months(by),
        false => local.checked_sub_months(by),
    }
}

/// `1, 2, …` as long as the longest of the arrays.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Ordinals {
    signature: Signature,
}

impl Ordinals {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Ordinals {
    fn name(&self) -> &str {
        ORDINALS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(list_of(DataType::Int64))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = args
            .args
            .iter()
            .map(|array| array.to_array(args.number_rows))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let mut lists = builder::<Int64Type>(&DataType::Int64);
        for row in 0..args.number_rows {
            let length = |array: &ArrayRef| match array.data_type() {
                DataType::List(_) if !array.is_null(row) => array.as_list::<i32>().value_length(row).into(),
                DataType::LargeList(_) if !array.is_null(row) => array.as_list::<i64>().value_length(row),
                DataType::FixedSizeList(_, length) if !array.is_null(row) => i64::from(*length),
                _ => 0_i64,
            };
            let longest = arrays.iter().map(length).max().unwrap_or(0);
            for number in 1..=longest {
                lists.values().append_value(number);
            }
            lists.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}
