//! Sort keys as whole numbers (normalised keys: Graefe, "Implementing Sorting in Database Systems", 2006, 3.1).
//!
//! What the values of a key column are between is known before the first is made: a number becomes its distance from the least, in as many bits as
//! the greatest distance has; a text the bytes after those that all have in common. Bits of all columns stand in one number, the first
//! column's highest, so that rows compare as these numbers do. What has no room in it is the [`rest`](Layout::rest): only where two numbers are
//! equal it is looked at.
//!
//! ```text
//! order by day, price desc      days 8000 … 10556, prices 90000 … 10494950: 12 + 24 bits
//! order by comment              16 bytes after the common ones; then the next
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray};
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result;

use super::extent::{Between, Extents};
use super::sort_keys::KeyColumn;
use super::value::{Whole, bytes_at, number_at, views, with_numbers};

/// A key, or the beginning of one.
pub(crate) trait Key: Copy + Default + Ord + Send + Sync + 'static {
    /// With so many bits after it.
    fn with(self, code: u128, bits: u32) -> Self;
    /// With zeros for the last bits.
    fn without_last(self, bits: u32) -> Self;
}

impl Key for u64 {
    fn with(self, code: u128, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | code as u64
    }

    fn without_last(self, bits: u32) -> Self {
        self & u64::MAX.checked_shl(bits).unwrap_or(0)
    }
}

impl Key for u128 {
    fn with(self, code: u128, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | code
    }

    fn without_last(self, bits: u32) -> Self {
        self & u128::MAX.checked_shl(bits).unwrap_or(0)
    }
}

/// How keys are made of what lies between the extents.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) columns: Arc<[KeyColumn]>,
    extents: Arc<Extents>,
    /// What the number has, the highest first.
    parts: Vec<Part>,
    /// What it has no room for.
    rest: Vec<Part>,
}

/// Some bits of a key.
#[derive(Clone, Debug)]
struct Part {
    /// Which key column.
    column: usize,
    bits: Bits,
}

#[derive(Clone, Debug)]
enum Bits {
    /// Whether it is null.
    Null,
    /// So many bits of its distance, above so many.
    Distance { bits: u32, below: u32 },
    /// The bytes from here to there; zeros after its end.
    Bytes { from: usize, to: usize },
    /// How many bytes it has.
    Length { bits: u32 },
}

impl Layout {
    /// For keys of so many bits, as wide as they are.
    pub(crate) fn new(columns: Arc<[KeyColumn]>, extents: Extents, bits_max: u32) -> Self {
        let mut all = Vec::new();
        for (column, extent) in extents.0.iter().enumerate() {
            let mut push = |bits| all.push(Part { column, bits });
            if extent.has_nulls {
                push(Bits::Null);
            }
            match &extent.values {
                None => {}
                Some(Between::Numbers { least, greatest }) => {
                    let distance = greatest.wrapping_sub(*least).cast_unsigned();
                    let bits = u128::BITS - distance.leading_zeros();
                    push(Bits::Distance { bits, below: 0 });
                }
                Some(Between::Bytes { shared, longest }) => {
                    let (from, to) = (shared.len(), *longest);
                    push(Bits::Bytes { from, to });
                    // One that ends may go on with zeros in another.
                    let bits = usize::BITS - longest.leading_zeros();
                    push(Bits::Length { bits });
                }
            }
        }
        Self {
            columns,
            extents: Arc::new(extents),
            parts: Vec::new(),
            rest: all,
        }
        .next(bits_max)
    }

    /// The layout of keys that go on where these end.
    pub(crate) fn further(&self, bits_max: u32) -> Self {
        self.clone().next(bits_max)
    }

    /// The same for rows whose keys are equal, by their own extents.
    pub(crate) fn after(&self, extents: Extents, bits_max: u32) -> Self {
        let whole = Self::new(Arc::clone(&self.columns), extents, 0);
        let Some(first) = self.rest.first() else {
            return whole;
        };
        // Columns before are equal. What is left of the first is found again, but for bytes that were equal.
        let mut rest: Vec<Part> = whole
            .rest
            .into_iter()
            .filter(|part| part.column >= first.column)
            .collect();
        for part in &mut rest {
            if let (Bits::Bytes { from, to }, Bits::Bytes { from: equal, .. }) = (&mut part.bits, &first.bits)
                && part.column == first.column
            {
                *from = (*from).max(*equal).min(*to);
            }
        }
        Self { rest, ..whole }.next(bits_max)
    }

    fn next(self, bits_max: u32) -> Self {
        let (mut parts, mut left) = (Vec::new(), bits_max);
        let mut rest = self.rest.into_iter();
        let mut remaining = Vec::new();
        for Part { column, bits } in rest.by_ref() {
            let (taken, remains) = bits.split(left);
            left -= taken.as_ref().map_or(0, Bits::width);
            parts.extend(taken.map(|bits| Part { column, bits }));
            if let Some(bits) = remains {
                remaining.push(Part { column, bits });
                break;
            }
        }
        remaining.extend(rest);
        Self {
            parts,
            rest: remaining,
            ..self
        }
    }

    /// Whether rows with equal keys are equal.
    pub(crate) fn is_exact(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bits keys have.
    pub(crate) fn width(&self) -> u32 {
        self.parts.iter().map(|part| part.bits.width()).sum()
    }

    /// The keys of so many rows, whose columns are asked for.
    pub(crate) fn keys<K: Key>(&self, rows: usize, column: impl Fn(usize) -> Result<ArrayRef>) -> Result<Vec<K>> {
        let mut keys = vec![K::default(); rows];
        let mut of_column: Option<(usize, ArrayRef)> = None;
        let mut of_bytes: Option<(usize, BinaryViewArray)> = None;
        for part in &self.parts {
            let key = &self.columns[part.column];
            let array = match of_column {
                Some((index, array)) if index == key.index => array,
                _ => column(key.index)?,
            };
            let width = part.bits.width();
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            if let Bits::Bytes { .. } | Bits::Length { .. } = part.bits
                && of_bytes.as_ref().is_none_or(|(column, _)| *column != part.column)
            {
                of_bytes = Some((part.column, views(&array)?));
            }
            match (&part.bits, &self.extents.0[part.column].values, &of_bytes) {
                (Bits::Null, ..) => {
                    for (row, key_of_row) in keys.iter_mut().enumerate() {
                        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
                        *key_of_row = key_of_row.with(u128::from(is_null != key.nulls_first), width);
                    }
                }
                (Bits::Distance { bits, below }, Some(Between::Numbers { least, greatest }), _) => {
                    let from = if key.descending { *greatest } else { *least };
                    if array.data_type() == &DataType::Boolean {
                        let values = array.as_boolean().values();
                        for (row, key_of_row) in keys.iter_mut().enumerate() {
                            let code = i128::from(values.value(row)).abs_diff(from);
                            *key_of_row = key_of_row.with(bits_of(code, *bits, *below), width);
                        }
                    } else {
                        with_numbers!(array, put_distances(&array, &mut keys, from, (*bits, *below)))?;
                    }
                    // What stands in the place of nulls is any number.
                    for (row, key_of_row) in keys.iter_mut().enumerate().filter(|_| nulls.is_some()) {
                        if array.is_null(row) {
                            *key_of_row = key_of_row.without_last(width);
                        }
                    }
                }
                (Bits::Bytes { .. } | Bits::Length { .. }, _, Some((_, views))) => {
                    for (row, key_of_row) in keys.iter_mut().enumerate() {
                        let code = match &part.bits {
                            _ if nulls.is_some_and(|nulls| nulls.is_null(row)) => 0,
                            Bits::Bytes { from, .. } => bytes_code(views.value(row), *from, width, key.descending),
                            _ => length_code(views.value(row), width, key.descending),
                        };
                        *key_of_row = key_of_row.with(code, width);
                    }
                }
                _ => return internal_err!("a sort key without its extent"),
            }
            of_column = Some((key.index, array));
        }
        Ok(keys)
    }

    /// What decides between rows whose keys are equal.
    pub(crate) fn compare_rest(&self, a: (&[ArrayRef], usize), b: (&[ArrayRef], usize)) -> Result<Ordering> {
        for part in &self.rest {
            let column = &self.columns[part.column];
            let ordering = match &part.bits {
                // All of it is to come, and can be compared as it is.
                Bits::Bytes { from, .. } => {
                    let (a, b) = (bytes_at(&a.0[column.index], a.1)?, bytes_at(&b.0[column.index], b.1)?);
                    let ordering = a
                        .get(*from..)
                        .unwrap_or_default()
                        .cmp(b.get(*from..).unwrap_or_default());
                    if column.descending {
                        ordering.reverse()
                    } else {
                        ordering
                    }
                }
                _ => self.code(part, a.0, a.1)?.cmp(&self.code(part, b.0, b.1)?),
            };
            if ordering != Ordering::Equal {
                return Ok(ordering);
            }
        }
        Ok(Ordering::Equal)
    }

    fn code(&self, part: &Part, columns: &[ArrayRef], row: usize) -> Result<u128> {
        let key = &self.columns[part.column];
        let array = &columns[key.index];
        let is_null = array.is_null(row);
        if let Bits::Null = part.bits {
            return Ok(u128::from(is_null != key.nulls_first));
        }
        if is_null {
            return Ok(0);
        }
        Ok(match (&part.bits, &self.extents.0[part.column].values) {
            (Bits::Distance { bits, below }, Some(Between::Numbers { least, greatest })) => {
                let from = if key.descending { *greatest } else { *least };
                bits_of(number_at(array, row)?.abs_diff(from), *bits, *below)
            }
            (Bits::Bytes { from, .. }, _) => {
                bytes_code(bytes_at(array, row)?, *from, part.bits.width(), key.descending)
            }
            (Bits::Length { bits }, _) => length_code(bytes_at(array, row)?, *bits, key.descending),
            _ => return internal_err!("a sort key without its extent"),
        })
    }

    /// What some of the rows with equal keys are between, in what is left of them.
    pub(crate) fn add_rest(&self, extents: &mut Extents, column: impl Fn(usize) -> Result<ArrayRef>) -> Result<()> {
        let first = self.rest.first().map_or(self.columns.len(), |part| part.column);
        extents.add_from(first, &self.columns, column)
    }
}

impl Bits {
    fn width(&self) -> u32 {
        match self {
            Bits::Null => 1,
            Bits::Distance { bits, .. } | Bits::Length { bits } => *bits,
            // Of a part that was taken, which is short.
            Bits::Bytes { from, to } => u32::try_from(to - from).unwrap_or(u32::MAX).saturating_mul(8),
        }
    }

    /// As much of it as so many bits have room for, and what remains.
    fn split(self, room: u32) -> (Option<Self>, Option<Self>) {
        if self.width() <= room {
            return (Some(self), None);
        }
        match self {
            Bits::Distance { bits, below } if room > 0 => {
                let taken = Bits::Distance {
                    bits: room,
                    below: below + bits - room,
                };
                let remains = Bits::Distance {
                    bits: bits - room,
                    below,
                };
                (Some(taken), Some(remains))
            }
            Bits::Bytes { from, to } if room >= 8 => {
                let middle = from + (room / 8) as usize;
                (
                    Some(Bits::Bytes { from, to: middle }),
                    Some(Bits::Bytes { from: middle, to }),
                )
            }
            other => (None, Some(other)),
        }
    }
}

fn put_distances<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    keys: &mut [impl Key],
    from: i128,
    (bits, below): (u32, u32),
) -> Result<()>
where
    T::Native: Whole,
{
    let values = array.as_primitive::<T>().values();
    for (key, value) in keys.iter_mut().zip(values.iter()) {
        *key = key.with(bits_of(value.whole().abs_diff(from), bits, below), bits);
    }
    Ok(())
}

fn bits_of(code: u128, bits: u32, below: u32) -> u128 {
    code.checked_shr(below).unwrap_or(0) & mask(bits)
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shr(u128::BITS - bits).unwrap_or(0)
}

/// Bytes from there on as a number of so many bits, zeros after their end.
fn bytes_code(value: &[u8], from: usize, bits: u32, descending: bool) -> u128 {
    let value = value.get(from..).unwrap_or_default();
    let bytes = (bits / 8) as usize;
    let code = match value.first_chunk::<16>() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut first = [0; 16];
            first[..value.len()].copy_from_slice(value);
            u128::from_be_bytes(first)
        }
    };
    let code = code.checked_shr(u128::BITS - 8 * bytes as u32).unwrap_or(0);
    if descending { !code & mask(bits) } else { code }
}

fn length_code(value: &[u8], bits: u32, descending: bool) -> u128 {
    let code = value.len() as u128;
    if descending { !code & mask(bits) } else { code }
}
