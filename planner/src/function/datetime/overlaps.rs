//! `(a, b) OVERLAPS (c, d)` of dates, times and timestamps (`overlaps_timestamp`).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanBuilder};
use arrow::datatypes::{DataType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType};

use super::{TIME, TIMESTAMP};
use crate::error::Result;
use crate::function::native::{Columns, Resolved, Shape};

pub(in crate::function) const FUNCTIONS: &[Shape] = &[Shape::new("overlaps", types, overlaps)];

/// All four of one type; a text takes that of the others.
fn types(types: &[DataType]) -> Resolved {
    if types.len() != 4 {
        return None;
    }
    let mut common = None;
    for ty in types {
        let wanted = match ty {
            ty if super::is_text(ty) => continue,
            DataType::Date32 | DataType::Timestamp(_, None) => TIMESTAMP,
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            ty if ty == &TIME => TIME,
            _ => return None,
        };
        common = match common {
            None => Some(wanted),
            Some(known) if known == wanted || known == TIMESTAMP && wanted != TIME => Some(wanted),
            Some(known) if wanted == TIMESTAMP && known != TIME => Some(known),
            Some(_) => return None,
        };
    }
    let common = common?;
    Some((vec![common; 4], DataType::Boolean))
}

fn overlaps(columns: &Columns<'_>) -> Result<ArrayRef> {
    let at = |index: usize, row: usize| {
        if columns.is_null(index, row) {
            return None;
        }
        let (array, row) = (&columns.arrays[index], columns.at(index, row));
        Some(match array.data_type() {
            DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row),
            _ => array.as_primitive::<TimestampMicrosecondType>().value(row),
        })
    };
    let mut builder = BooleanBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        builder.append_option(overlap((at(0, row), at(1, row)), (at(2, row), at(3, row))));
    }
    Ok(Arc::new(builder.finish()))
}

type Span = (Option<i64>, Option<i64>);

fn overlap(left: Span, right: Span) -> Option<bool> {
    let (left_start, left_end) = ordered(left)?;
    let (right_start, right_end) = ordered(right)?;
    // The one that begins later begins before the other's end, or not; where an end is unknown the answer may be.
    let (later, earlier_end, later_end) = match left_start.cmp(&right_start) {
        std::cmp::Ordering::Greater => (left_start, right_end, left_end),
        std::cmp::Ordering::Less => (right_start, left_end, right_end),
        std::cmp::Ordering::Equal => return left_end.and(right_end).map(|_| true),
    };
    if later < earlier_end? {
        return Some(true);
    }
    later_end.map(|_| false)
}

/// The start, which is known, and the end.
fn ordered(span: Span) -> Option<(i64, Option<i64>)> {
    match span {
        (None, None) => None,
        (None, Some(end)) => Some((end, None)),
        (Some(start), Some(end)) if start > end => Some((end, Some(start))),
        (Some(start), end) => Some((start, end)),
    }
}
