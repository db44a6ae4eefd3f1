//! Whether rows follow the declared sort order: the footer and the table's metadata claim it, so it is checked.

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::error::Result;

/// The declared order; empty means that any order is right.
pub(super) struct Order {
    columns: Vec<usize>,
    converter: Option<RowConverter>,
}

impl Order {
    pub(super) fn new(schema: &Schema, sort: &[(usize, bool, bool)]) -> Result<Self> {
        let field = |(column, descending, nulls_first): &(usize, bool, bool)| {
            let options = SortOptions {
                descending: *descending,
                nulls_first: *nulls_first,
            };
            SortField::new_with_options(schema.field(*column).data_type().clone(), options)
        };
        let fields: Vec<SortField> = sort.iter().map(field).collect();
        let converter = if fields.is_empty() {
            None
        } else {
            Some(RowConverter::new(fields)?)
        };
        Ok(Self {
            columns: sort.iter().map(|(column, ..)| *column).collect(),
            converter,
        })
    }

    pub(super) fn is_sorted(&self, rows: &RecordBatch) -> Result<bool> {
        Ok(self.continues(None, rows)?.is_some() || self.converter.is_none())
    }

    /// The last row when the rows are sorted and none comes before `previous`; `None` when they are not.
    pub(super) fn continues(&self, previous: Option<&OwnedRow>, rows: &RecordBatch) -> Result<Option<OwnedRow>> {
        let Some(converter) = &self.converter else {
            return Ok(None);
        };
        let columns: Vec<_> = self.columns.iter().map(|column| rows.column(*column).clone()).collect();
        let keys = converter.convert_columns(&columns)?;
        if keys.num_rows() == 0 {
            return Ok(previous.cloned());
        }
        let follows = previous.is_none_or(|previous| previous.row() <= keys.row(0));
        let sorted = follows && (1..keys.num_rows()).all(|row| keys.row(row - 1) <= keys.row(row));
        Ok(sorted.then(|| keys.row(keys.num_rows() - 1).owned()))
    }

    pub(super) fn is_declared(&self) -> bool {
        self.converter.is_some()
    }
}
