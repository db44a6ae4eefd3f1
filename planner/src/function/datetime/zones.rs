//! Between `timestamptz` and what the clock of a zone shows: casts, `AT TIME ZONE`, `timezone()`.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{Array, ArrayRef, PrimitiveBuilder};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::calendar::moment_of_row;
use super::{
    DATE, INTERVAL, Moments, TEXT, TIME, TIMESTAMP, from_local, in_range, interval_at, is_infinite, is_interval,
    is_text, micros_of, zone_asked, zone_named,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::native::{Columns, no_such_call};
use crate::value::Zone;
use crate::value::datetime::{DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND};

/// Whether a cast between these types has to look at a zone's clock.
pub(crate) fn crosses_zone(from: &DataType, to: &DataType) -> bool {
    let zoned = |ty: &DataType| match ty {
        DataType::Timestamp(_, Some(zone)) => Some(!matches!(zone.as_ref(), "UTC" | "+00:00" | "Etc/UTC")),
        _ => None,
    };
    let plain = |ty: &DataType| ty == &DATE || ty == &TIME || matches!(ty, DataType::Timestamp(_, None));
    match (zoned(from), zoned(to)) {
        // In UTC Arrow's cast does the same, and bounds are seen through it.
        (Some(moves), None) => moves && plain(to),
        (None, Some(moves)) => moves && plain(from) && from != &TIME,
        _ => false,
    }
}

/// `cast(expression as target)` for two types of which one has a zone.
pub(crate) fn local_cast(expression: Expr, target: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let func = Arc::new(ScalarUDF::from(LocalCast { target, signature }));
    Expr::ScalarFunction(ScalarFunction {
        func,
        args: vec![expression],
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LocalCast {
    target: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for LocalCast {
    fn name(&self) -> &str {
        match &self.target {
            DataType::Timestamp(_, Some(_)) => "to_timestamptz",
            DataType::Date32 => "to_local_date",
            DataType::Time64(_) => "to_local_time",
            _ => "to_local_timestamp",
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
        let array = match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => array,
            DataType::Timestamp(_, zone) => {
                arrow::compute::cast(&array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?
            }
            _ => return Err(Error::internal("a cast of no time").into()),
        };
        let result = converted(&array, &self.target)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn converted(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let moments = Moments::of(array)?;
    let rows = 0..array.len();
    let local = |row: usize| array.is_valid(row).then(|| moments.local(row).0);
    Ok(match target {
        DataType::Timestamp(_, Some(name)) => {
            let zone = zone_named(name)?;
            timestamps(
                rows.map(|row| Ok(local(row).map(|micros| from_local(micros, &zone)))),
                target,
            )?
        }
        DataType::Date32 => {
            let mut builder = PrimitiveBuilder::<Date32Type>::with_capacity(array.len());
            rows.for_each(|row| builder.append_option(local(row).map(day_of)));
            Arc::new(builder.finish())
        }
        DataType::Time64(_) => {
            let mut builder = PrimitiveBuilder::<Time64MicrosecondType>::with_capacity(array.len());
            for row in rows {
                // An infinite timestamp has no time of day.
                let micros = local(row).filter(|micros| !is_infinite(*micros));
                builder.append_option(micros.map(|micros| micros.rem_euclid(MICROS_PER_DAY)));
            }
            Arc::new(builder.finish())
        }
        _ => timestamps(rows.map(|row| Ok(local(row))), target)?,
    })
}

/// The day of a moment, and whether it begins then; infinity is a day of its own.
pub(crate) fn day_of_moment(micros: i64) -> (i32, bool) {
    let is_midnight = is_infinite(micros) || micros.rem_euclid(MICROS_PER_DAY) == 0;
    (day_of(micros), is_midnight)
}

fn day_of(micros: i64) -> i32 {
    if is_infinite(micros) {
        return if micros > 0 { DATE_INFINITY } else { DATE_NEG_INFINITY };
    }
    // Days of an i64 of microseconds fit into 32 bits.
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).unwrap_or(DATE_INFINITY)
}

fn timestamps(values: impl Iterator<Item = Result<Option<i64>>>, target: &DataType) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_data_type(target.clone());
    for value in values {
        builder.append_option(value?.map(in_range).transpose()?);
    }
    Ok(Arc::new(builder.finish()))
}

/// The function of this name whose result has the session's zone.
pub(in crate::function) fn zone_function(name: &str, session_zone: &str) -> Option<ScalarUDF> {
    let kind = match name {
        "timezone" => Kind::Timezone,
        "to_timestamp" => Kind::Epoch,
        "make_timestamptz" => Kind::MakeMoment,
        "date_trunc" => Kind::Truncate,
        _ => return None,
    };
    Some(ScalarUDF::from(InZone::new(kind, session_zone)))
}

/// `timezone(zone, x)`, which is `x AT TIME ZONE zone`, `to_timestamp`, `date_trunc` and others that yield a time of the
/// session's zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InZone {
    kind: Kind,
    /// Of the session: the label of the results that are moments.
    session_zone: Arc<str>,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Timezone,
    Epoch,
    MakeMoment,
    Truncate,
}

impl InZone {
    fn new(kind: Kind, session_zone: &str) -> Self {
        Self {
            kind,
            session_zone: session_zone.into(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn zoned(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.session_zone)))
    }

    fn types(&self, types: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        match (self.kind, types) {
            (Kind::Epoch, [seconds]) if seconds.is_numeric() || seconds == &DataType::Null => {
                return Ok((vec![DataType::Float64], self.zoned()));
            }
            // As in PostgreSQL, a date is a midnight of the session's zone.
            (Kind::Truncate, [unit, DATE]) if is_text(unit) => return Ok((vec![TEXT, self.zoned()], self.zoned())),
            (Kind::Truncate, types) => {
                return super::trunc::types(types).ok_or_else(|| no_such_call(self.name(), types));
            }
            (Kind::Epoch, [text, pattern]) if is_text(text) && is_text(pattern) => {
                return Ok((vec![TEXT, TEXT], self.zoned()));
            }
            (Kind::MakeMoment, types) => {
                let (parts, zone) = types.split_at(types.len().min(6));
                if let Some((mut wanted, _)) = super::calendar::six_parts(parts)
                    && (zone.is_empty() || zone.len() == 1 && is_text(&zone[0]))
                {
                    wanted.extend(zone.iter().map(|_| TEXT));
                    return Ok((wanted, self.zoned()));
                }
            }
            (Kind::Timezone, [zone, value]) if is_text(zone) || is_interval(zone) => {
                let zone = if is_interval(zone) { INTERVAL } else { TEXT };
                match value {
                    DataType::Timestamp(_, None) => return Ok((vec![zone, TIMESTAMP], self.zoned())),
                    DataType::Timestamp(_, Some(_)) => return Ok((vec![zone, self.zoned()], TIMESTAMP)),
                    // As PostgreSQL prefers timestamptz for a date or a bare literal.
                    ty if ty == &DATE || is_text(ty) => return Ok((vec![zone, self.zoned()], TIMESTAMP)),
                    _ => {}
                }
            }
            _ => {}
        }
        Err(no_such_call(self.name(), types))
    }
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Timezone => "timezone",
            Kind::Epoch => "to_timestamp",
            Kind::MakeMoment => "make_timestamptz",
            Kind::Truncate => "date_trunc",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(self.types(types)?.0)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.types(types)?.1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let kind = self.kind;
        Columns::evaluate(&args, |columns| match kind {
            Kind::Timezone => in_zone(columns),
            Kind::Epoch if columns.len() == 2 => crate::function::format::to_timestamp(columns),
            Kind::Epoch => from_epoch(columns),
            Kind::MakeMoment => make_moment(columns),
            Kind::Truncate => super::trunc::truncate(columns),
        })
    }
}

fn in_zone(columns: &Columns<'_>) -> Result<ArrayRef> {
    let moments = Moments::of(&columns.arrays[1])?;
    let to_moment = moments.zone().is_none();
    let mut known: Option<(String, Zone)> = None;
    let mut zone_at = |row: usize| -> Result<Zone> {
        if columns.arrays[0].data_type() == &INTERVAL {
            let offset = interval_at(&columns.arrays[0], columns.at(0, row))?;
            if offset.months != 0 || offset.days != 0 {
                let message = "interval time zone must not include months or days";
                return Err(Error::new(ErrorKind::InvalidParameterValue, message));
            }
            return Ok(Zone::fixed(
                i32::try_from(micros_of(offset) / MICROS_PER_SECOND).unwrap_or(0),
            ));
        }
        let name = columns.text(0, row)?;
        match &known {
            Some((same, zone)) if same == name => Ok(*zone),
            _ => {
                let zone = zone_asked(name)?;
                known = Some((name.to_string(), zone));
                Ok(zone)
            }
        }
    };
    let values = (0..columns.rows).map(|row| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let micros = moments.stored(columns.at(1, row));
        // Whatever the zone, also one that there is not.
        if is_infinite(micros) {
            return Ok(Some(micros));
        }
        let zone = zone_at(row)?;
        Ok(Some(if to_moment {
            from_local(micros, &zone)
        } else {
            micros.saturating_add(i64::from(zone.offset_at(micros)) * MICROS_PER_SECOND)
        }))
    });
    timestamps(values, columns.result)
}

/// `make_timestamptz(year, month, day, hour, minute, second)` in the session's zone, or in the one that is named last.
fn make_moment(columns: &Columns<'_>) -> Result<ArrayRef> {
    let DataType::Timestamp(_, Some(name)) = columns.result else {
        return Err(Error::internal("make_timestamptz() yields a timestamptz"));
    };
    let session_zone = zone_named(name)?;
    let values = (0..columns.rows).map(|row| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let zone = match columns.len() {
            6 => session_zone,
            _ => zone_named(columns.text(6, row)?)?,
        };
        Ok(Some(from_local(moment_of_row(columns, row)?, &zone)))
    });
    timestamps(values, columns.result)
}

fn from_epoch(columns: &Columns<'_>) -> Result<ArrayRef> {
    let seconds = columns.arrays[0].as_primitive::<Float64Type>();
    let values = (0..columns.rows).map(|row| {
        if columns.is_null(0, row) {
            return Ok(None);
        }
        let seconds = seconds.value(columns.at(0, row));
        if seconds.is_nan() {
            return Err(Error::new(ErrorKind::DatetimeOverflow, "timestamp cannot be NaN"));
        }
        if seconds.is_infinite() {
            return Ok(Some(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
        }
        if seconds.abs() > 9.2e12 {
            let message = format!("timestamp out of range: \"{seconds}\"");
            return Err(Error::new(ErrorKind::DatetimeOverflow, message));
        }
        Ok(Some((seconds * 1e6).round_ties_even() as i64))
    });
    timestamps(values, columns.result)
}
