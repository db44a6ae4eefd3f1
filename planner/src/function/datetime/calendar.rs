//! `age`, `make_date`, `make_time`, `make_timestamp`, `isfinite`, and dates with days and times.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, PrimitiveBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};

use super::span::is_moment;
use super::{
    DATE, INTERVAL, Moments, TIME, TIMESTAMP, in_range, interval, is_infinite, is_integer, is_interval, time_at,
    timestamp_like,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::native::{Columns, Resolved, Shape};
use crate::value::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, DAYS_MAX, DAYS_MIN, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days,
    days_from_civil, days_in_month,
};

pub(in crate::function) const FUNCTIONS: &[Shape] = &[
    Shape::new("age", two_moments, age),
    Shape::new("make_date", three_parts, make_date),
    Shape::new("make_time", time_parts, make_time),
    Shape::new("make_timestamp", six_parts, make_timestamp),
    Shape::new("isfinite", finite_types, is_finite),
    DATE_TIME,
    DATE_AFTER,
    DATE_BEFORE,
    DATE_DIFFERENCE,
    MIDNIGHT,
];

/// `date + days`
pub(in crate::function) const DATE_AFTER: Shape =
    Shape::new("date_pli", date_and_days, |columns| moved(columns, i64::checked_add));
/// `date - days`
pub(in crate::function) const DATE_BEFORE: Shape =
    Shape::new("date_mii", date_and_days, |columns| moved(columns, i64::checked_sub));

/// `date - date`
pub(in crate::function) const DATE_DIFFERENCE: Shape = Shape::new("date_mi", two_dates, |columns| {
    let dates = |index: usize| columns.arrays[index].as_primitive::<Date32Type>();
    let (left, right) = (dates(0), dates(1));
    let is_finite = |day: i32| day != DATE_INFINITY && day != DATE_NEG_INFINITY;
    let difference = |row: usize| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let (left, right) = (left.value(columns.at(0, row)), right.value(columns.at(1, row)));
        match is_finite(left) && is_finite(right) {
            true => Ok(Some(left - right)),
            false => Err(overflow("cannot subtract infinite dates".to_string())),
        }
    };
    let days: Int32Array = (0..columns.rows).map(difference).collect::<Result<_>>()?;
    Ok(Arc::new(days))
});

fn two_dates(types: &[DataType]) -> Resolved {
    let is_date = |ty: &DataType| ty == &DATE || ty == &DataType::Null;
    match types {
        [left, right] if is_date(left) && is_date(right) => Some((vec![DATE, DATE], DataType::Int32)),
        _ => None,
    }
}

/// A date's midnight, to compare it: what no timestamp can hold is later than all but infinity.
pub(in crate::function) const MIDNIGHT: Shape = Shape::new("to_midnight", one_date, |columns| {
    let moments = Moments::of(&columns.arrays[0])?;
    let midnight = |row: usize| (!columns.is_null(0, row)).then(|| moments.stored(columns.at(0, row)));
    Ok(Arc::new(
        (0..columns.rows).map(midnight).collect::<TimestampMicrosecondArray>(),
    ))
});

fn one_date(types: &[DataType]) -> Resolved {
    match types {
        [date] if date == &DATE => Some((vec![DATE], TIMESTAMP)),
        _ => None,
    }
}

fn date_and_days(types: &[DataType]) -> Resolved {
    match types {
        [date, days] if date == &DATE && is_integer(days) => Some((vec![DATE, DataType::Int32], DATE)),
        _ => None,
    }
}

fn moved(columns: &Columns<'_>, by: fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let dates = columns.arrays[0].as_primitive::<Date32Type>();
    let row = |row: usize| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let date = dates.value(columns.at(0, row));
        if date == DATE_INFINITY || date == DATE_NEG_INFINITY {
            return Ok(Some(date));
        }
        let moved = by(i64::from(date), columns.int(1, row)?).and_then(|days| i32::try_from(days).ok());
        match moved.filter(|days| (DAYS_MIN..=DAYS_MAX).contains(&i64::from(*days))) {
            Some(days) => Ok(Some(days)),
            None => Err(Error::new(ErrorKind::DatetimeOverflow, "date out of range")),
        }
    };
    Ok(Arc::new((0..columns.rows).map(row).collect::<Result<Date32Array>>()?))
}

/// `date + time`
pub(in crate::function) const DATE_TIME: Shape = Shape::new(
    "date_at_time",
    |types| match types {
        [date, time] if date == &DATE && time == &TIME => Some((vec![DATE, TIME], TIMESTAMP)),
        _ => None,
    },
    date_at_time,
);

fn two_moments(types: &[DataType]) -> Resolved {
    match types {
        [left, right] if is_moment(left) && is_moment(right) => {
            let zoned = [left, right]
                .into_iter()
                .find(|ty| matches!(ty, DataType::Timestamp(_, Some(_))));
            let ty = zoned.and_then(timestamp_like).unwrap_or(TIMESTAMP);
            Some((vec![ty.clone(), ty], INTERVAL))
        }
        _ => None,
    }
}

fn age(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (left, right) = (Moments::of(&columns.arrays[0])?, Moments::of(&columns.arrays[1])?);
    let mut builder = PrimitiveBuilder::<IntervalMonthDayNanoType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let (left, right) = (left.local(columns.at(0, row)).0, right.local(columns.at(1, row)).0);
        if is_infinite(left) || is_infinite(right) {
            return Err(crate::value::interval::out_of_range());
        }
        builder.append_value(between(left, right)?);
    }
    Ok(Arc::new(builder.finish()))
}

/// Field by field, as one counts on fingers: `timestamp_age` of PostgreSQL's timestamp.c.
fn between(left: i64, right: i64) -> Result<IntervalMonthDayNano> {
    let fields = |micros: i64| {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
        (
            year,
            i64::from(month),
            i64::from(day),
            micros.rem_euclid(MICROS_PER_DAY),
        )
    };
    let sign = if left < right { -1 } else { 1 };
    let (later, earlier) = if left < right { (right, left) } else { (left, right) };
    let ((year, month, day, micros), (from_year, from_month, from_day, from_micros)) = (fields(later), fields(earlier));
    let (mut months, mut days, mut micros) = (
        (year - from_year) * 12 + month - from_month,
        day - from_day,
        micros - from_micros,
    );
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    // Days are borrowed from the month the earlier time is in.
    while days < 0 {
        days += i64::from(days_in_month(from_year, u32::try_from(from_month).unwrap_or(1)));
        months -= 1;
    }
    interval(sign * months, sign * days, sign * micros)
}

pub(super) fn six_parts(types: &[DataType]) -> Resolved {
    let [dates @ .., seconds] = types else { return None };
    if dates.len() != 5 || !dates.iter().all(is_integer) || !is_seconds(seconds) {
        return None;
    }
    let mut wanted = vec![DataType::Int32; 5];
    wanted.push(DataType::Float64);
    Some((wanted, TIMESTAMP))
}

fn three_parts(types: &[DataType]) -> Resolved {
    let are_parts = types.len() == 3 && types.iter().all(is_integer);
    are_parts.then(|| (vec![DataType::Int32; 3], DATE))
}

fn make_date(columns: &Columns<'_>) -> Result<ArrayRef> {
    let row = |row: usize| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let days = day(columns.int(0, row)?, columns.int(1, row)?, columns.int(2, row)?)?;
        let kept = i32::try_from(days)
            .ok()
            .filter(|_| (DAYS_MIN..=DAYS_MAX).contains(&days));
        kept.map(Some).ok_or_else(|| overflow("date out of range".to_string()))
    };
    Ok(Arc::new((0..columns.rows).map(row).collect::<Result<Date32Array>>()?))
}

fn time_parts(types: &[DataType]) -> Resolved {
    match types {
        [hour, minute, second] if is_integer(hour) && is_integer(minute) && is_seconds(second) => {
            Some((vec![DataType::Int32, DataType::Int32, DataType::Float64], TIME))
        }
        _ => None,
    }
}

fn is_seconds(ty: &DataType) -> bool {
    ty.is_numeric() || ty == &DataType::Null
}

fn make_time(columns: &Columns<'_>) -> Result<ArrayRef> {
    let seconds = columns.arrays[2].as_primitive::<Float64Type>();
    let row = |row: usize| {
        if columns.any_null(row) {
            return Ok(None);
        }
        let second = seconds.value(columns.at(2, row));
        time_of_day(columns.int(0, row)?, columns.int(1, row)?, second).map(Some)
    };
    let times = (0..columns.rows).map(row).collect::<Result<Time64MicrosecondArray>>()?;
    Ok(Arc::new(times))
}

fn make_timestamp(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        builder.append_value(moment_of_row(columns, row)?);
    }
    Ok(Arc::new(builder.finish()))
}

/// Year, month, day, hour, minute and seconds of a row as a moment.
pub(super) fn moment_of_row(columns: &Columns<'_>, row: usize) -> Result<i64> {
    let part = |index: usize| columns.int(index, row);
    let seconds = columns.arrays[5]
        .as_primitive::<Float64Type>()
        .value(columns.at(5, row));
    moment((part(0)?, part(1)?, part(2)?), (part(3)?, part(4)?, seconds))
}

/// A moment from its fields. A negative year is before Christ.
fn moment(date: (i64, i64, i64), time: (i64, i64, f64)) -> Result<i64> {
    let days = day(date.0, date.1, date.2)?;
    let micros = time_of_day(time.0, time.1, time.2)?;
    let total = days
        .checked_mul(MICROS_PER_DAY)
        .and_then(|start| start.checked_add(micros));
    in_range(total.ok_or_else(|| overflow("timestamp out of range".to_string()))?)
}

fn overflow(message: String) -> Error {
    Error::new(ErrorKind::DatetimeOverflow, message)
}

/// A day from its fields.
fn day(year: i64, month: i64, day: i64) -> Result<i64> {
    let astronomical = if year < 0 { year + 1 } else { year };
    let month_number = u32::try_from(month).ok().filter(|month| (1..=12).contains(month));
    let known = |month: u32| (1..=i64::from(days_in_month(astronomical, month))).contains(&day) && year != 0;
    let Some(month_number) = month_number.filter(|month| known(*month)) else {
        return Err(overflow(format!(
            "date field value out of range: {year}-{month:02}-{day:02}"
        )));
    };
    Ok(days_from_civil(
        astronomical,
        month_number,
        u32::try_from(day).unwrap_or(1),
    ))
}

/// The microseconds of a time from its fields.
fn time_of_day(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let in_day = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second)
        || hour == 24 && minute == 0 && second == 0.0;
    if !in_day {
        return Err(overflow(format!(
            "time field value out of range: {hour}:{minute:02}:{second:02}"
        )));
    }
    Ok((hour * 3600 + minute * 60) * MICROS_PER_SECOND + (second * 1e6).round_ties_even() as i64)
}

fn finite_types(types: &[DataType]) -> Resolved {
    match types {
        [ty] if ty == &DATE => Some((vec![DATE], DataType::Boolean)),
        [ty] if is_interval(ty) => Some((vec![INTERVAL], DataType::Boolean)),
        [ty] => timestamp_like(ty).map(|ty| (vec![ty], DataType::Boolean)),
        _ => None,
    }
}

fn is_finite(columns: &Columns<'_>) -> Result<ArrayRef> {
    let array = &columns.arrays[0];
    let valid = |row: usize| !columns.is_null(0, row);
    let result: BooleanArray = if array.data_type() == &INTERVAL {
        (0..columns.rows).map(|row| valid(row).then_some(true)).collect()
    } else {
        let moments = Moments::of(array)?;
        (0..columns.rows)
            .map(|row| valid(row).then(|| !is_infinite(moments.stored(columns.at(0, row)))))
            .collect()
    };
    Ok(Arc::new(result))
}

fn date_at_time(columns: &Columns<'_>) -> Result<ArrayRef> {
    let dates = Moments::of(&columns.arrays[0])?;
    let mut builder = PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        let day = dates.stored(columns.at(0, row));
        let time = time_at(&columns.arrays[1], columns.at(1, row))?;
        builder.append_value(if is_infinite(day) {
            day
        } else {
            in_range(in_range(day)?.saturating_add(time))?
        });
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(left: (i64, i64, i64), right: (i64, i64, i64), hours: i64) -> (i32, i32, i64) {
        let left = moment(left, (0, 0, 0.0)).expect("a date");
        let right = moment(right, (hours, 0, 0.0)).expect("a date");
        let age = between(left, right).expect("small");
        (age.months, age.days, age.nanoseconds / 3_600_000_000_000)
    }

    /// As PostgreSQL 15: `select age(timestamp '2024-03-01', timestamp '2023-01-31')`, …
    #[test]
    fn ages() {
        assert_eq!(parts((2024, 3, 1), (2023, 1, 31), 0), (13, 1, 0));
        assert_eq!(parts((2020, 2, 29), (2024, 2, 28), 12), (-47, -28, -12));
    }

    #[test]
    fn fields_out_of_range() {
        let error = moment((2023, 2, 29), (0, 0, 0.0)).expect_err("no such day");
        assert_eq!(error.message(), "date field value out of range: 2023-02-29");
    }
}
