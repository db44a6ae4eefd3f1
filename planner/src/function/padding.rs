//! Functions whose results are as long as a number says: `repeat`, `lpad`, `rpad`. What no text can hold is refused before it
//! is made.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::DataType;

use super::datetime::{TEXT, is_text};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::supervision::Asked;

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new("repeat", repeat_types, repeat),
    Shape::new("lpad", pad_types, |columns| pad(columns, Side::Left)),
    Shape::new("rpad", pad_types, |columns| pad(columns, Side::Right)),
];

/// PostgreSQL's limit of one value, less the length it is stored with.
const TEXT_BYTES_MAX: usize = 0x3fff_ffff - 4;
/// The longest letter: padding is judged by it, whatever the letters are.
const LETTER_BYTES_MAX: usize = 4;

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

fn repeat_types(types: &[DataType]) -> Resolved {
    match types {
        [text, count] if is_text(text) && count.is_integer() => Some((vec![TEXT, DataType::Int64], TEXT)),
        _ => None,
    }
}

fn pad_types(types: &[DataType]) -> Resolved {
    match types {
        [text, length] if is_text(text) && length.is_integer() => Some((vec![TEXT, DataType::Int64], TEXT)),
        [text, length, fill] if is_text(text) && length.is_integer() && is_text(fill) => {
            Some((vec![TEXT, DataType::Int64, TEXT], TEXT))
        }
        _ => None,
    }
}

fn repeat(columns: &Columns<'_>) -> Result<ArrayRef> {
    let times = |row| {
        let (text, count) = (columns.text(0, row)?, columns.int(1, row)?.max(0));
        let times = usize::try_from(count).ok();
        let fits = |times: &usize| {
            text.len()
                .checked_mul(*times)
                .is_some_and(|bytes| bytes <= TEXT_BYTES_MAX)
        };
        match (text.is_empty(), times.filter(fits)) {
            (true, _) => Ok(0),
            (false, times) => times.ok_or_else(too_large),
        }
    };
    each_row(
        columns,
        |row| Ok(columns.text(0, row)?.len() * times(row)?),
        |row| Ok(columns.text(0, row)?.repeat(times(row)?)),
    )
}

/// A text that is longer than asked for is cut at its end, on either side.
fn pad(columns: &Columns<'_>, side: Side) -> Result<ArrayRef> {
    let wanted = |row| {
        let length = usize::try_from(columns.int(1, row)?.max(0)).ok();
        let length = length.filter(|length| *length <= TEXT_BYTES_MAX / LETTER_BYTES_MAX);
        length.ok_or_else(too_large)
    };
    let padded = |row| {
        let (text, length) = (columns.text(0, row)?, wanted(row)?);
        let fill = if columns.len() > 2 { columns.text(2, row)? } else { " " };
        let missing = length.saturating_sub(text.chars().count());
        if missing == 0 || fill.is_empty() {
            return Ok(text.chars().take(length).collect());
        }
        let mut padded = String::with_capacity(text.len() + missing);
        if side == Side::Right {
            padded.push_str(text);
        }
        padded.extend(fill.chars().cycle().take(missing));
        if side == Side::Left {
            padded.push_str(text);
        }
        Ok(padded)
    };
    each_row(columns, wanted, padded)
}

/// The builder copies each text, and grows by doubling.
const COPIES: u64 = 3;

fn each_row(
    columns: &Columns<'_>,
    length: impl Fn(usize) -> Result<usize>,
    compute: impl Fn(usize) -> Result<String>,
) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    let (mut asked, mut bytes) = (Asked::default(), 0_u64);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            builder.append_null();
            continue;
        }
        bytes += length(row)? as u64;
        asked.grow_to(bytes.saturating_mul(COPIES))?;
        builder.append_value(compute(row)?);
    }
    Ok(Arc::new(builder.finish()))
}

fn too_large() -> Error {
    Error::new(ErrorKind::ProgramLimitExceeded, "requested length too large")
}
