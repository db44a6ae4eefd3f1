//! Intervals: their length, products and quotients, `justify_*`, `make_interval`, and the difference of timestamps.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Builder, PrimitiveArray, PrimitiveBuilder};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};

use super::{
    DATE, INTERVAL, Moments, TIMESTAMP, from_local, in_range, interval, interval_at, is_infinite, is_integer,
    is_interval, is_text, micros_of, timestamp_like,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::native::{Columns, Resolved, Shape, wrong_type};
use crate::value::Zone;
use crate::value::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, days_in_month};

pub(in crate::function) const FUNCTIONS: &[Shape] = &[
    LENGTH,
    TIMES,
    OVER,
    DIFFERENCE,
    LATER,
    EARLIER,
    Shape::new("justify_days", one_interval, |columns| each(columns, justify_days)),
    Shape::new("justify_hours", one_interval, |columns| each(columns, justify_hours)),
    Shape::new("justify_interval", one_interval, |columns| {
        each(columns, justify_interval)
    }),
    Shape::new("make_interval", make_interval_types, make_interval),
];

/// Microseconds an interval counts for when intervals are compared: a month has 30 days, a day 24 hours.
pub(in crate::function) const LENGTH: Shape = Shape::new(
    "interval_length",
    |types| match types {
        [ty] if is_interval(ty) || is_text(ty) => Some((vec![INTERVAL], DataType::Decimal128(38, 0))),
        _ => None,
    },
    length,
);
/// `interval * double precision`
pub(in crate::function) const TIMES: Shape = Shape::new("interval_multiply", factor_types, |columns| {
    scaled(columns, |interval, factor| product(interval, |part| part * factor))
});
/// `interval / double precision`
pub(in crate::function) const OVER: Shape = Shape::new("interval_divide", factor_types, |columns| {
    scaled(columns, |interval, factor| {
        if factor == 0.0 {
            return Err(Error::new(ErrorKind::DivisionByZero, "division by zero"));
        }
        product(interval, |part| part / factor)
    })
});
/// `timestamp - timestamp`
pub(in crate::function) const DIFFERENCE: Shape = Shape::new(
    "timestamp_difference",
    |types| match types {
        [left, right] => {
            let zoned = [left, right]
                .into_iter()
                .find(|ty| matches!(ty, DataType::Timestamp(_, Some(_))));
            let both = zoned.and_then(timestamp_like).unwrap_or(TIMESTAMP);
            Some((vec![both.clone(), both], INTERVAL))
        }
        _ => None,
    },
    difference,
);

/// `timestamp + interval`
pub(in crate::function) const LATER: Shape = Shape::new("timestamp_later", moved_types, |columns| moved(columns, 1));
/// `timestamp - interval`
pub(in crate::function) const EARLIER: Shape =
    Shape::new("timestamp_earlier", moved_types, |columns| moved(columns, -1));

const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

fn one_interval(types: &[DataType]) -> Resolved {
    match types {
        [ty] if is_interval(ty) || is_text(ty) => Some((vec![INTERVAL], INTERVAL)),
        _ => None,
    }
}

fn factor_types(types: &[DataType]) -> Resolved {
    match types {
        [ty, factor] if is_interval(ty) && (factor.is_numeric() || factor == &DataType::Null) => {
            Some((vec![INTERVAL, DataType::Float64], INTERVAL))
        }
        _ => None,
    }
}

/// In 128 bits: 178 million years of microseconds are more than 64 hold.
pub(crate) fn length_micros(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(MICROS_PER_DAY) + i128::from(micros_of(interval))
}

fn length(columns: &Columns<'_>) -> Result<ArrayRef> {
    let intervals = &columns.arrays[0];
    let mut lengths = Decimal128Builder::with_capacity(columns.rows).with_data_type(DataType::Decimal128(38, 0));
    for row in 0..columns.rows {
        if columns.is_null(0, row) {
            lengths.append_null();
        } else {
            lengths.append_value(length_micros(interval_at(intervals, columns.at(0, row))?));
        }
    }
    Ok(Arc::new(lengths.finish()))
}

fn each(columns: &Columns<'_>, compute: fn(IntervalMonthDayNano) -> Result<IntervalMonthDayNano>) -> Result<ArrayRef> {
    let intervals = columns.arrays[0]
        .as_primitive_opt::<IntervalMonthDayNanoType>()
        .ok_or_else(|| wrong_type(&columns.arrays[0]))?;
    let result = intervals
        .iter()
        .map(|interval| interval.map(compute).transpose())
        .collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?;
    Ok(Arc::new(result))
}

fn scaled(
    columns: &Columns<'_>,
    compute: impl Fn(IntervalMonthDayNano, f64) -> Result<IntervalMonthDayNano>,
) -> Result<ArrayRef> {
    let factors = columns.arrays[1].as_primitive::<Float64Type>();
    let mut builder = PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let interval = interval_at(&columns.arrays[0], columns.at(0, row))?;
        builder.append_value(compute(interval, factors.value(columns.at(1, row)))?);
    }
    Ok(Arc::new(builder.finish()))
}

/// `interval_mul`: what is left of months becomes days, what is left of days becomes time.
pub(crate) fn product(given: IntervalMonthDayNano, scale: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
    let to_micros = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let whole = |value: f64| -> Result<f64> {
        if value.is_nan() || value.abs() >= f64::from(i32::MAX) {
            return Err(crate::value::interval::out_of_range());
        }
        Ok(value.trunc())
    };
    let (months, days) = (scale(f64::from(given.months)), scale(f64::from(given.days)));
    let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
    let month_rest = to_micros((months - whole_months) * DAYS_PER_MONTH);
    let mut seconds = to_micros((days - whole_days + month_rest - month_rest.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let days = (seconds / SECONDS_PER_DAY).trunc();
        whole_days += days;
        seconds -= days * SECONDS_PER_DAY;
    }
    whole_days += month_rest.trunc();
    let micros = (scale(micros_of(given) as f64) + seconds * 1e6).round_ties_even();
    if micros.is_nan() || micros.abs() >= i64::MAX as f64 {
        return Err(crate::value::interval::out_of_range());
    }
    interval(whole_months as i64, whole_days as i64, micros as i64)
}

fn difference(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (left, right) = (Moments::of(&columns.arrays[0])?, Moments::of(&columns.arrays[1])?);
    let mut builder = PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let (left, right) = (left.stored(columns.at(0, row)), right.stored(columns.at(1, row)));
        if is_infinite(left) || is_infinite(right) {
            return Err(Error::new(
                ErrorKind::DatetimeOverflow,
                "cannot subtract infinite timestamps",
            ));
        }
        let micros = left
            .checked_sub(right)
            .ok_or_else(crate::value::interval::out_of_range)?;
        builder.append_value(crate::value::interval::from_micros(micros));
    }
    Ok(Arc::new(builder.finish()))
}

fn moved_types(types: &[DataType]) -> Resolved {
    match types {
        [ty, interval] if is_interval(interval) => {
            let ty = timestamp_like(ty)?;
            Some((vec![ty.clone(), INTERVAL], ty))
        }
        _ => None,
    }
}

fn moved(columns: &Columns<'_>, sign: i64) -> Result<ArrayRef> {
    let moments = Moments::of(&columns.arrays[0])?;
    let zone = moments.zone();
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(columns.rows)
        .with_data_type(columns.result.clone());
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let interval = interval_at(&columns.arrays[1], columns.at(1, row))?;
        let (months, days) = (sign * i64::from(interval.months), sign * i64::from(interval.days));
        let micros = sign * micros_of(interval);
        builder.append_value(later(
            moments.stored(columns.at(0, row)),
            zone.as_ref(),
            months,
            days,
            micros,
        )?);
    }
    Ok(Arc::new(builder.finish()))
}

/// `timestamp_pl_interval`: months, then days of the zone's clock, then time; infinity stays.
fn later(stored: i64, zone: Option<&Zone>, months: i64, days: i64, micros: i64) -> Result<i64> {
    if is_infinite(stored) {
        return Ok(stored);
    }
    let on_clock = |stored: i64, change: &dyn Fn(i64) -> i64| -> Result<i64> {
        let Some(zone) = zone else {
            return in_range(change(stored));
        };
        let local = stored.saturating_add(i64::from(zone.offset_at(stored)) * MICROS_PER_SECOND);
        in_range(from_local(change(local), zone))
    };
    let mut moment = stored;
    if months != 0 {
        moment = on_clock(moment, &|local| {
            let (year, month, day) = civil_from_days(local.div_euclid(MICROS_PER_DAY));
            let month = year * 12 + i64::from(month) - 1 + months;
            let (year, month) = (month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
            let date = days_from_civil(year, month, day.min(days_in_month(year, month)));
            let micros = date.checked_mul(MICROS_PER_DAY);
            let moved = micros.and_then(|micros| micros.checked_add(local.rem_euclid(MICROS_PER_DAY)));
            moved.unwrap_or(BEYOND)
        })?;
    }
    if days != 0 {
        moment = on_clock(moment, &|local| {
            let moved = days.checked_mul(MICROS_PER_DAY);
            moved.and_then(|days| local.checked_add(days)).unwrap_or(BEYOND)
        })?;
    }
    in_range(moment.checked_add(micros).unwrap_or(BEYOND))
}

/// A moment after all that there are.
const BEYOND: i64 = i64::MAX - MICROS_PER_DAY;

/// Two parts brought to the same sign: `rest` of `unit`s moves into `whole`.
fn carry(whole: i64, rest: i64, unit: i64) -> (i64, i64) {
    let (mut whole, mut rest) = (whole + rest / unit, rest % unit);
    if whole > 0 && rest < 0 {
        rest += unit;
        whole -= 1;
    } else if whole < 0 && rest > 0 {
        rest -= unit;
        whole += 1;
    }
    (whole, rest)
}

fn justify_days(given: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let (months, days) = carry(given.months.into(), given.days.into(), 30);
    interval(months, days, micros_of(given))
}

fn justify_hours(given: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let (days, micros) = carry(given.days.into(), micros_of(given), MICROS_PER_DAY);
    interval(given.months.into(), days, micros)
}

fn justify_interval(given: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let micros = micros_of(given);
    let (mut days, mut micros) = (i64::from(given.days) + micros / MICROS_PER_DAY, micros % MICROS_PER_DAY);
    let (mut months, rest) = (i64::from(given.months) + days / 30, days % 30);
    days = rest;
    if months > 0 && (days < 0 || days == 0 && micros < 0) {
        days += 30;
        months -= 1;
    } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
        days -= 30;
        months += 1;
    }
    if days > 0 && micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    } else if days < 0 && micros > 0 {
        micros -= MICROS_PER_DAY;
        days += 1;
    }
    interval(months, days, micros)
}

/// Years, months, weeks, days, hours, minutes and (with a fraction) seconds; missing ones are 0.
fn make_interval_types(types: &[DataType]) -> Resolved {
    let known = types.len() <= 7
        && types
            .iter()
            .enumerate()
            .all(|(at, ty)| is_integer(ty) || at == 6 && ty.is_numeric());
    let wanted = (0..types.len())
        .map(|at| if at == 6 { DataType::Float64 } else { DataType::Int32 })
        .collect();
    known.then_some((wanted, INTERVAL))
}

fn make_interval(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let part = |index: usize| {
            if index < columns.len() {
                columns.int(index, row)
            } else {
                Ok(0)
            }
        };
        let seconds = match columns.arrays.get(6) {
            Some(seconds) => seconds.as_primitive::<Float64Type>().value(columns.at(6, row)),
            None => 0.0,
        };
        let micros = (seconds * 1e6).round_ties_even();
        if micros.is_nan() || micros.abs() >= 9e18 {
            return Err(crate::value::interval::out_of_range());
        }
        let time = part(4)? * MICROS_PER_HOUR + part(5)? * 60 * MICROS_PER_SECOND;
        let micros = time
            .checked_add(micros as i64)
            .ok_or_else(crate::value::interval::out_of_range)?;
        builder.append_value(interval(part(0)? * 12 + part(1)?, part(2)? * 7 + part(3)?, micros)?);
    }
    Ok(Arc::new(builder.finish()))
}

/// A date, a timestamp, or a text that is read as one.
pub(super) fn is_moment(ty: &DataType) -> bool {
    ty == &DATE || timestamp_like(ty).is_some() || is_text(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(interval: IntervalMonthDayNano) -> (i32, i32, i64) {
        (interval.months, interval.days, micros_of(interval))
    }

    /// As PostgreSQL 15: `select interval '1 mon 1 day 1 hour' * 1.5, interval '1 month' / 7`.
    #[test]
    fn products_carry_downwards() {
        let given = interval(1, 1, MICROS_PER_HOUR).expect("small");
        let product = product(given, |part| part * 1.5).expect("small");
        assert_eq!(parts(product), (1, 16, 13 * MICROS_PER_HOUR + MICROS_PER_HOUR / 2));
        let month = interval(1, 0, 0).expect("small");
        let seventh = super::product(month, |part| part / 7.0).expect("small");
        assert_eq!(parts(seventh), (0, 4, 24_685_689_600));
    }

    #[test]
    fn lengths() {
        let month = interval(1, 0, 0).expect("small");
        let days = interval(0, 30, 0).expect("small");
        assert_eq!(length_micros(month), length_micros(days));
    }
}
