//! Functions of `bytea`: those that only bytes have, and the variants for bytes of functions that texts have too
//! (PostgreSQL 15, section 9.5).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, Int32Array, Int64Array, StringViewBuilder,
};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;

use super::datetime::{TEXT, is_integer, is_text};
use super::native::{Columns, Resolved, Shape, wrong_type};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Encoding;

const BYTES: DataType = DataType::BinaryView;

pub(super) const FUNCTIONS: &[Shape] = &[
    Shape::new(
        "get_byte",
        |types| of_bytes(types, &[DataType::Int32], DataType::Int32),
        get_byte,
    ),
    Shape::new(
        "set_byte",
        |types| of_bytes(types, &[DataType::Int32, DataType::Int32], BYTES),
        set_byte,
    ),
    Shape::new(
        "get_bit",
        |types| of_bytes(types, &[DataType::Int64], DataType::Int32),
        get_bit,
    ),
    Shape::new(
        "set_bit",
        |types| of_bytes(types, &[DataType::Int64, DataType::Int32], BYTES),
        set_bit,
    ),
    Shape::new("bit_count", |types| of_bytes(types, &[], DataType::Int64), bit_count),
    JOINED,
    LIKE,
    Shape::new("convert_from", |types| of_bytes(types, &[TEXT], TEXT), convert_from),
    Shape::new("convert_to", encoded_types, convert_to),
    Shape::new("convert", |types| of_bytes(types, &[TEXT, TEXT], BYTES), convert),
];

const JOINED: Shape = Shape::new(
    "byteacat",
    |types| of_bytes(types, &[BYTES], BYTES),
    |columns| {
        yielding_bytes(columns, |row| {
            Ok([bytes(columns, 0, row)?, bytes(columns, 1, row)?].concat())
        })
    },
);

const LIKE: Shape = Shape::new(
    "bytealike",
    |types| of_bytes(types, &[BYTES], DataType::Boolean),
    |columns| {
        let answer = |row: usize| match columns.any_null(row) {
            true => Ok(None),
            false => matches(bytes(columns, 0, row)?, bytes(columns, 1, row)?, |_| 1).map(Some),
        };
        let answers: BooleanArray = (0..columns.rows).map(answer).collect::<Result<_>>()?;
        Ok(Arc::new(answers))
    },
);

/// `left ~~ right` of bytes.
pub(crate) fn like(left: Expr, right: Expr) -> Expr {
    LIKE.call(vec![left, right])
}

/// Whether bytes are as a pattern wants them: `%` stands for any, `_` for one letter, what follows `\\` for itself.
/// `letter` is the length of the letter that bytes begin with.
pub(super) fn matches(mut value: &[u8], mut pattern: &[u8], letter: fn(&[u8]) -> usize) -> Result<bool> {
    // Where the last `%` can be taken for one letter more.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, value) {
            ([b'%', rest @ ..], _) => {
                again = Some((value, rest));
                pattern = rest;
                continue;
            }
            ([b'\\'], [_, ..]) => {
                let message = "LIKE pattern must not end with escape character";
                return Err(Error::new(ErrorKind::InvalidEscapeSequence, message));
            }
            ([b'\\', wanted, rest @ ..], [found, after @ ..]) if wanted == found => Some((rest, after)),
            ([b'_', rest @ ..], [_, ..]) => Some((rest, &value[letter(value)..])),
            ([wanted, rest @ ..], [found, after @ ..]) if wanted == found && *wanted != b'\\' => Some((rest, after)),
            ([], []) => return Ok(true),
            _ => None,
        };
        match (step, again) {
            (Some((rest, after)), _) => (pattern, value) = (rest, after),
            (None, Some((from @ [_, ..], rest))) => {
                let after = &from[letter(from)..];
                again = Some((after, rest));
                (pattern, value) = (rest, after);
            }
            (None, _) => return Ok(false),
        }
    }
}

/// `left || right` of bytes.
pub(crate) fn joined(left: Expr, right: Expr) -> Expr {
    JOINED.call(vec![left, right])
}

/// What a function of texts does with bytes, by its name.
pub(super) const VARIANTS: &[Shape] = &[
    Shape::new("character_length", length_types, length),
    Shape::new("octet_length", |types| of_bytes(types, &[], DataType::Int32), length),
    Shape::new(
        "bit_length",
        |types| of_bytes(types, &[], DataType::Int32),
        |columns| lengths(columns, 8),
    ),
    Shape::new("substr", part_types, substring),
    Shape::new("overlay", overlay_types, overlay),
    Shape::new("strpos", |types| of_bytes(types, &[BYTES], DataType::Int32), position),
    Shape::new("btrim", trim_types, |columns| trim(columns, true, true)),
    Shape::new("ltrim", trim_types, |columns| trim(columns, true, false)),
    Shape::new("rtrim", trim_types, |columns| trim(columns, false, true)),
];

pub(super) fn is_bytes(ty: &DataType) -> bool {
    matches!(ty, DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
}

/// A call of bytes and of further arguments, which are what is wanted or can be cast to it as literals are.
pub(super) fn of_bytes(types: &[DataType], wanted: &[DataType], result: DataType) -> Resolved {
    let (first, others) = types.split_first()?;
    let fits = |(given, wanted): (&DataType, &DataType)| {
        is_text(given) || wanted.is_integer() && is_integer(given) || is_bytes(wanted) && is_bytes(given)
    };
    let all = others.len() == wanted.len() && others.iter().zip(wanted).all(fits);
    (all && (is_bytes(first) || is_text(first))).then(|| ([&[BYTES], wanted].concat(), result))
}

pub(super) fn encoded_types(types: &[DataType]) -> Resolved {
    match types {
        [text, encoding] if is_text(text) && is_text(encoding) => Some((vec![TEXT, TEXT], BYTES)),
        _ => None,
    }
}

fn length_types(types: &[DataType]) -> Resolved {
    of_bytes(types, &[], DataType::Int32).or_else(|| of_bytes(types, &[TEXT], DataType::Int32))
}

fn part_types(types: &[DataType]) -> Resolved {
    const INTS: [DataType; 2] = [DataType::Int32, DataType::Int32];
    of_bytes(types, &INTS[..1], BYTES).or_else(|| of_bytes(types, &INTS, BYTES))
}

fn overlay_types(types: &[DataType]) -> Resolved {
    let int = DataType::Int32;
    of_bytes(types, &[BYTES, int.clone()], BYTES).or_else(|| of_bytes(types, &[BYTES, int.clone(), int], BYTES))
}

fn trim_types(types: &[DataType]) -> Resolved {
    of_bytes(types, &[BYTES], BYTES)
}

fn column<'a>(columns: &'a Columns<'_>, index: usize) -> Result<&'a BinaryViewArray> {
    let array = &columns.arrays[index];
    array.as_binary_view_opt().ok_or_else(|| wrong_type(array))
}

/// The bytes of a row; the caller has looked for NULLs.
pub(super) fn bytes<'a>(columns: &'a Columns<'_>, index: usize, row: usize) -> Result<&'a [u8]> {
    Ok(column(columns, index)?.value(columns.at(index, row)))
}

/// Computes every row that has no NULL.
pub(super) fn each<T>(
    columns: &Columns<'_>,
    compute: impl Fn(usize) -> Result<T>,
) -> impl Iterator<Item = Result<Option<T>>> {
    (0..columns.rows).map(move |row| match columns.any_null(row) {
        true => Ok(None),
        false => compute(row).map(Some),
    })
}

pub(super) fn yielding_bytes(columns: &Columns<'_>, compute: impl Fn(usize) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(columns.rows);
    for value in each(columns, compute) {
        builder.append_option(value?);
    }
    Ok(Arc::new(builder.finish()))
}

fn yielding_int(columns: &Columns<'_>, compute: impl Fn(usize) -> Result<i32>) -> Result<ArrayRef> {
    Ok(Arc::new(each(columns, compute).collect::<Result<Int32Array>>()?))
}

/// Where byte or bit `index` of so many is.
fn place(index: i64, length: usize) -> Result<usize> {
    let place = usize::try_from(index).ok().filter(|place| *place < length);
    place.ok_or_else(|| {
        let last = length as i64 - 1;
        let message = format!("index {index} out of valid range, 0..{last}");
        Error::new(ErrorKind::ArraySubscriptError, message)
    })
}

fn get_byte(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_int(columns, |row| {
        let value = bytes(columns, 0, row)?;
        Ok(i32::from(value[place(columns.int(1, row)?, value.len())?]))
    })
}

fn set_byte(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let mut value = bytes(columns, 0, row)?.to_vec();
        let place = place(columns.int(1, row)?, value.len())?;
        // Of a larger number the lowest byte counts.
        value[place] = columns.int(2, row)? as u8;
        Ok(value)
    })
}

/// Bits count from the lowest of each byte.
fn get_bit(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_int(columns, |row| {
        let value = bytes(columns, 0, row)?;
        let bit = place(columns.int(1, row)?, value.len() * 8)?;
        Ok(i32::from(value[bit / 8] >> (bit % 8) & 1))
    })
}

fn set_bit(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let mut value = bytes(columns, 0, row)?.to_vec();
        let bit = place(columns.int(1, row)?, value.len() * 8)?;
        let mask = 1 << (bit % 8);
        match columns.int(2, row)? {
            0 => value[bit / 8] &= !mask,
            1 => value[bit / 8] |= mask,
            _ => return Err(Error::new(ErrorKind::InvalidParameterValue, "new bit must be 0 or 1")),
        }
        Ok(value)
    })
}

fn bit_count(columns: &Columns<'_>) -> Result<ArrayRef> {
    let count = |row| {
        Ok(bytes(columns, 0, row)?
            .iter()
            .map(|byte| i64::from(byte.count_ones()))
            .sum())
    };
    Ok(Arc::new(each(columns, count).collect::<Result<Int64Array>>()?))
}

/// In bytes, or in characters of an encoding that is named.
fn length(columns: &Columns<'_>) -> Result<ArrayRef> {
    if columns.len() == 1 {
        return lengths(columns, 1);
    }
    yielding_int(columns, |row| {
        let text = Encoding::named(columns.text(1, row)?, "")?.decoded(bytes(columns, 0, row)?)?;
        Ok(text.chars().count() as i32)
    })
}

fn lengths(columns: &Columns<'_>, units: usize) -> Result<ArrayRef> {
    // A value has at most 1 GiB; so many bits are more than an integer holds.
    yielding_int(columns, |row| {
        let length = bytes(columns, 0, row)?.len() * units;
        i32::try_from(length).map_err(|_| super::arithmetic::out_of_range(&DataType::Int32))
    })
}

/// `length` bytes from place `start`, which counts from 1 and may be before the first.
fn part(value: &[u8], start: i64, length: Option<i64>) -> Result<&[u8]> {
    let size = value.len() as i64;
    let end = match length {
        Some(length) if length < 0 => return Err(negative_length()),
        Some(length) => start.saturating_add(length).clamp(1, size + 1),
        None => size + 1,
    };
    let start = start.clamp(1, end);
    // Both are within the value now.
    Ok(&value[start as usize - 1..end as usize - 1])
}

fn negative_length() -> Error {
    Error::new(ErrorKind::SubstringError, "negative substring length not allowed")
}

fn substring(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let length = match columns.len() {
            2 => None,
            _ => Some(columns.int(2, row)?),
        };
        Ok(part(bytes(columns, 0, row)?, columns.int(1, row)?, length)?.to_vec())
    })
}

fn overlay(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let (value, new, start) = (bytes(columns, 0, row)?, bytes(columns, 1, row)?, columns.int(2, row)?);
        let length = match columns.len() {
            3 => new.len() as i64,
            _ => columns.int(3, row)?,
        };
        if start <= 0 {
            return Err(negative_length());
        }
        let before = part(value, 1, Some(start - 1))?;
        let after = part(value, start.saturating_add(length), None)?;
        Ok([before, new, after].concat())
    })
}

/// Where the second is in the first, from 1; 0 where it is not.
fn position(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_int(columns, |row| {
        let (value, wanted) = (bytes(columns, 0, row)?, bytes(columns, 1, row)?);
        Ok(match wanted {
            [] => 1,
            _ => memchr::memmem::find(value, wanted).map_or(0, |place| place as i32 + 1),
        })
    })
}

/// Without the bytes of the second at the start, the end, or both.
fn trim(columns: &Columns<'_>, start: bool, end: bool) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let (mut value, unwanted) = (bytes(columns, 0, row)?, bytes(columns, 1, row)?);
        while let [first, rest @ ..] = value
            && start
            && unwanted.contains(first)
        {
            value = rest;
        }
        while let [rest @ .., last] = value
            && end
            && unwanted.contains(last)
        {
            value = rest;
        }
        Ok(value.to_vec())
    })
}

fn convert_from(columns: &Columns<'_>) -> Result<ArrayRef> {
    let decoded = |row| {
        let encoding = Encoding::named(columns.text(1, row)?, "source ")?;
        Ok(encoding.decoded(bytes(columns, 0, row)?)?.into_owned())
    };
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for value in each(columns, decoded) {
        builder.append_option(value?);
    }
    Ok(Arc::new(builder.finish()))
}

fn convert_to(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let encoding = Encoding::named(columns.text(1, row)?, "destination ")?;
        Ok(encoding.encoded(columns.text(0, row)?)?.into_owned())
    })
}

fn convert(columns: &Columns<'_>) -> Result<ArrayRef> {
    yielding_bytes(columns, |row| {
        let source = Encoding::named(columns.text(1, row)?, "source ")?;
        let destination = Encoding::named(columns.text(2, row)?, "destination ")?;
        let text = source.decoded(bytes(columns, 0, row)?)?;
        Ok(destination.encoded(&text)?.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let of = |start, length| {
            part(b"abcd", start, length)
                .map(<[u8]>::to_vec)
                .map_err(|error| error.to_string())
        };
        assert_eq!(of(2, Some(2)), Ok(b"bc".to_vec()));
        assert_eq!(of(-1, Some(3)), Ok(b"a".to_vec()));
        assert_eq!(of(0, None), Ok(b"abcd".to_vec()));
        assert_eq!(of(9, Some(i64::MAX)), Ok(Vec::new()));
        assert_eq!(of(i64::MIN, Some(1)), Ok(Vec::new()));
        assert!(of(1, Some(-1)).is_err());
    }
}
