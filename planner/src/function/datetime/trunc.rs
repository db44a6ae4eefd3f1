//! `date_trunc(unit, x)`, in the zone of a `timestamptz`, and `date_bin`.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveBuilder};
use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimestampMicrosecondType};

use super::span::is_moment;
use super::{
    DATE, INTERVAL, Moments, TEXT, TIMESTAMP, from_local, in_range, interval, interval_at, is_infinite, is_interval,
    is_text, micros_of, timestamp_like, unknown_unit, unsupported_unit, zone_asked,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::native::{Columns, Resolved, Shape};
use crate::value::Zone;
use crate::value::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};

pub(in crate::function) const FUNCTIONS: &[Shape] = &[Shape::new("date_bin", bin_types, bin)];

fn bin_types(types: &[DataType]) -> Resolved {
    let [stride, moment, origin] = types else { return None };
    if !(is_interval(stride) || is_text(stride)) {
        return None;
    }
    let is_known = |ty: &&DataType| is_moment(ty) && *ty != &DATE;
    let ty = match [moment, origin].into_iter().find(is_known) {
        Some(ty) => timestamp_like(ty)?,
        None if is_moment(moment) || is_moment(origin) => TIMESTAMP,
        None => return None,
    };
    Some((vec![INTERVAL, ty.clone(), ty.clone()], ty))
}

/// The begin of the span of this length that a moment is in, spans being counted from an origin.
fn bin(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (moments, origins) = (Moments::of(&columns.arrays[1])?, Moments::of(&columns.arrays[2])?);
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(columns.rows)
        .with_data_type(columns.result.clone());
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let moment = moments.stored(columns.at(1, row));
        if is_infinite(moment) {
            builder.append_value(moment);
            continue;
        }
        let overflow = |message| Error::new(ErrorKind::DatetimeOverflow, message);
        let origin = origins.stored(columns.at(2, row));
        if is_infinite(origin) {
            return Err(overflow("origin out of range"));
        }
        let stride = interval_at(&columns.arrays[0], columns.at(0, row))?;
        if stride.months != 0 {
            return Err(Error::unsupported(
                "timestamps cannot be binned into intervals containing months or years",
            ));
        }
        let days = i64::from(stride.days).checked_mul(MICROS_PER_DAY);
        let length = days.and_then(|days| days.checked_add(micros_of(stride)));
        let length = length.ok_or_else(|| overflow("interval out of range"))?;
        if length <= 0 {
            return Err(overflow("stride must be greater than zero"));
        }
        let since = moment
            .checked_sub(origin)
            .ok_or_else(|| overflow("interval out of range"))?;
        let begin = moment.checked_sub(since.rem_euclid(length));
        builder.append_value(in_range(begin.ok_or_else(|| overflow("timestamp out of range"))?)?);
    }
    Ok(Arc::new(builder.finish()))
}

/// The types of `date_trunc`, except of a date.
pub(super) fn types(types: &[DataType]) -> Resolved {
    match types {
        [unit, ty] if is_text(unit) && is_interval(ty) => Some((vec![TEXT, INTERVAL], INTERVAL)),
        [unit, ty] if is_text(unit) && is_moment(ty) => {
            let ty = timestamp_like(ty).unwrap_or(TIMESTAMP);
            Some((vec![TEXT, ty.clone()], ty))
        }
        [unit, DataType::Timestamp(_, Some(zone)), name] if is_text(unit) && is_text(name) => {
            let ty = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some(Arc::clone(zone)));
            Some((vec![TEXT, ty.clone(), TEXT], ty))
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Micros(i64),
    Week,
    Months(i64),
    Decade,
    Century,
    Millennium,
}

fn unit_named(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" => Unit::Micros(1),
        "millisecond" | "milliseconds" | "ms" => Unit::Micros(1000),
        "second" | "seconds" | "s" | "sec" => Unit::Micros(MICROS_PER_SECOND),
        "minute" | "minutes" | "m" | "min" => Unit::Micros(60 * MICROS_PER_SECOND),
        "hour" | "hours" | "h" => Unit::Micros(3600 * MICROS_PER_SECOND),
        "day" | "days" | "d" => Unit::Micros(MICROS_PER_DAY),
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" => Unit::Months(1),
        "quarter" | "qtr" => Unit::Months(3),
        "year" | "years" | "y" => Unit::Months(12),
        "decade" | "decades" => Unit::Decade,
        "century" | "centuries" => Unit::Century,
        "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

/// Offsets of zones are units, too, but nothing is cut off by them.
fn no_unit(name: &str, ty: &DataType) -> Error {
    match name.to_ascii_lowercase().as_str() {
        "timezone" | "timezone_hour" | "timezone_minute" => unsupported_unit(name, ty),
        _ => unknown_unit(name, ty),
    }
}

pub(super) fn truncate(columns: &Columns<'_>) -> Result<ArrayRef> {
    if columns.result == &INTERVAL {
        return truncate_intervals(columns);
    }
    let moments = Moments::of(&columns.arrays[1])?;
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(columns.rows)
        .with_data_type(columns.result.clone());
    let mut named: Option<(String, Unit)> = None;
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let at = columns.at(1, row);
        let stored = moments.stored(at);
        if is_infinite(stored) {
            builder.append_value(stored);
            continue;
        }
        let name = columns.text(0, row)?;
        let unit = match &named {
            Some((known, unit)) if known == name => *unit,
            _ => {
                let unit = unit_named(name).ok_or_else(|| no_unit(name, columns.arrays[1].data_type()))?;
                named = Some((name.to_string(), unit));
                unit
            }
        };
        let zone = if columns.len() == 3 {
            Some(zone_asked(columns.text(2, row)?)?)
        } else {
            moments.zone()
        };
        builder.append_value(truncated(unit, stored, zone.as_ref()));
    }
    Ok(Arc::new(builder.finish()))
}

fn truncated(unit: Unit, stored: i64, zone: Option<&Zone>) -> i64 {
    let Some(zone) = zone else {
        return floor(unit, stored);
    };
    let offset = i64::from(zone.offset_at(stored)) * MICROS_PER_SECOND;
    let local = floor(unit, stored.saturating_add(offset));
    match unit {
        // Within a day the offset stays, or the two 1:30 of an autumn night would become one.
        Unit::Micros(micros) if micros < MICROS_PER_DAY => local - offset,
        _ => from_local(local, zone),
    }
}

fn floor(unit: Unit, local: i64) -> i64 {
    let days = local.div_euclid(MICROS_PER_DAY);
    let year_start = |year: i64| days_from_civil(year, 1, 1) * MICROS_PER_DAY;
    match unit {
        Unit::Micros(micros) => local.div_euclid(micros) * micros,
        Unit::Week => (days - (days + 3).rem_euclid(7)) * MICROS_PER_DAY,
        Unit::Months(length) => {
            let (year, month, _) = civil_from_days(days);
            let month = (i64::from(month) - 1) / length * length + 1;
            days_from_civil(year, u32::try_from(month).unwrap_or(1), 1) * MICROS_PER_DAY
        }
        Unit::Decade => year_start(civil_from_days(days).0.div_euclid(10) * 10),
        Unit::Century => year_start((civil_from_days(days).0 - 1).div_euclid(100) * 100 + 1),
        Unit::Millennium => year_start((civil_from_days(days).0 - 1).div_euclid(1000) * 1000 + 1),
    }
}

fn truncate_intervals(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let name = columns.text(0, row)?;
        let given = interval_at(&columns.arrays[1], columns.at(1, row))?;
        let (months, days, micros) = (i64::from(given.months), i64::from(given.days), micros_of(given));
        let whole_months = |length: i64| interval(months / length * length, 0, 0);
        builder.append_value(match unit_named(name).ok_or_else(|| no_unit(name, &INTERVAL))? {
            Unit::Micros(MICROS_PER_DAY) => interval(months, days, 0)?,
            Unit::Micros(length) => interval(months, days, micros / length * length)?,
            Unit::Week => {
                return Err(unsupported_unit(name, &INTERVAL).with_detail("Months usually have fractional weeks."));
            }
            Unit::Months(length) => whole_months(length)?,
            Unit::Decade => whole_months(120)?,
            Unit::Century => whole_months(1200)?,
            Unit::Millennium => whole_months(12_000)?,
        });
    }
    Ok(Arc::new(builder.finish()))
}
