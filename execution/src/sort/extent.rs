//! What the values of key columns are between.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::error::Result;

use super::sort_keys::KeyColumn;
use super::value::{Kind, Whole, views, with_numbers};

/// What the values of a key column are between.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(super) has_nulls: bool,
    pub(super) values: Option<Between>,
}

#[derive(Clone, Debug)]
pub(super) enum Between {
    Numbers { least: i128, greatest: i128 },
    Bytes { shared: Vec<u8>, longest: usize },
}

/// Of all key columns.
#[derive(Clone, Debug)]
pub(crate) struct Extents(pub(super) Vec<Extent>);

impl Extents {
    pub(crate) fn new(columns: &[KeyColumn]) -> Self {
        let nothing = Extent {
            has_nulls: false,
            values: None,
        };
        Self(vec![nothing; columns.len()])
    }

    /// Of a batch's rows, too.
    pub(crate) fn add(&mut self, keys: &[KeyColumn], batch: &RecordBatch) -> Result<()> {
        self.add_from(0, keys, |index| Ok(Arc::clone(batch.column(index))))
    }

    /// The same from one key on.
    pub(super) fn add_from(
        &mut self,
        first: usize,
        keys: &[KeyColumn],
        column: impl Fn(usize) -> Result<ArrayRef>,
    ) -> Result<()> {
        for (extent, key) in self.0.iter_mut().zip(keys).skip(first) {
            let array = &column(key.index)?;
            extent.has_nulls |= array.null_count() > 0;
            if array.null_count() == array.len() {
                continue;
            }
            let values = match key.kind {
                Kind::Number => numbers_between(array)?,
                Kind::Bytes => {
                    let views = views(array)?;
                    let mut between = None;
                    for value in views.iter().flatten() {
                        widen_to(&mut between, value);
                    }
                    between
                }
            };
            extent.widen(values);
        }
        Ok(())
    }

    /// Of another's rows, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (extent, other) in self.0.iter_mut().zip(&other.0) {
            extent.has_nulls |= other.has_nulls;
            extent.widen(other.values.clone());
        }
    }
}

impl Extent {
    fn widen(&mut self, values: Option<Between>) {
        let Some(values) = values else {
            return;
        };
        match (&mut self.values, values) {
            (
                Some(Between::Numbers { least, greatest }),
                Between::Numbers {
                    least: other_least,
                    greatest: other_greatest,
                },
            ) => {
                *least = other_least.min(*least);
                *greatest = other_greatest.max(*greatest);
            }
            (
                Some(Between::Bytes { shared, longest }),
                Between::Bytes {
                    shared: other_shared,
                    longest: other_longest,
                },
            ) => {
                shared.truncate(common(shared, &other_shared));
                *longest = other_longest.max(*longest);
            }
            (mine, values) => *mine = Some(values),
        }
    }
}

fn widen_to(between: &mut Option<Between>, value: &[u8]) {
    match between {
        Some(Between::Bytes { shared, longest }) => {
            if !value.starts_with(shared) {
                shared.truncate(common(shared, value));
            }
            *longest = value.len().max(*longest);
        }
        _ => {
            *between = Some(Between::Bytes {
                shared: value.to_vec(),
                longest: value.len(),
            });
        }
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn numbers_between(array: &ArrayRef) -> Result<Option<Between>> {
    fn between<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<Option<Between>>
    where
        T::Native: Whole,
    {
        let array = array.as_primitive::<T>();
        let extremes = |extremes: Option<(i128, i128)>, value: T::Native| {
            let value = value.whole();
            Some(extremes.map_or((value, value), |(least, greatest)| {
                (least.min(value), greatest.max(value))
            }))
        };
        let extremes = match array.null_count() {
            0 => array.values().iter().copied().fold(None, extremes),
            _ => array.iter().flatten().fold(None, extremes),
        };
        Ok(extremes.map(|(least, greatest)| Between::Numbers { least, greatest }))
    }
    if array.data_type() == &DataType::Boolean {
        return Ok(Some(Between::Numbers { least: 0, greatest: 1 }));
    }
    with_numbers!(array, between(array))
}
