//! A data file as the catalog knows it: where, how big, which partition, and what its columns hold.

use crate::value::Value;

/// One immutable Parquet file of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Full location, for example `file:///warehouse/.../data/1f3a/...-0.parquet`.
    pub location: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// Rows in the file.
    pub row_count: u64,
    /// The partition spec `partition` belongs to.
    pub spec_id: i32,
    /// One transformed value for each field of the spec; `None` is the null partition.
    pub partition: Vec<Option<Value>>,
    /// Statistics of leaf columns. A column that is absent has none.
    pub columns: Vec<ColumnStatistics>,
    /// The sort order the rows follow, if one.
    pub sort_order_id: Option<i32>,
    /// Offsets of the row groups, ascending; empty when unknown.
    pub split_offsets: Vec<i64>,
}

/// What is known about one leaf column inside one file.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStatistics {
    /// The field id of the leaf.
    pub field_id: i32,
    /// Compressed bytes of the column's chunks; 0 when unknown.
    pub size_bytes: u64,
    /// Values, counting nulls and NaNs. In a list this can exceed the row count.
    pub value_count: u64,
    /// Nulls.
    pub null_count: u64,
    /// NaNs; `None` when not counted.
    pub nan_count: Option<u64>,
    /// At most every value that is neither null nor NaN.
    pub lower: Option<Value>,
    /// At least every value that is neither null nor NaN.
    pub upper: Option<Value>,
    /// Whether the bounds are values of the column. Iceberg does not store this: after a round trip a string or binary
    /// bound that may have been truncated (16 characters or bytes, or more) counts as inexact.
    pub bounds_exact: bool,
}

impl DataFile {
    /// Bytes this value really holds, for cache weights; allocator overhead is not counted.
    pub(crate) fn heap_bytes(&self) -> usize {
        let values = self
            .partition
            .iter()
            .chain(self.columns.iter().flat_map(|column| [&column.lower, &column.upper]));
        size_of::<DataFile>()
            + self.location.capacity()
            + self.partition.capacity() * size_of::<Option<Value>>()
            + self.columns.capacity() * size_of::<ColumnStatistics>()
            + self.split_offsets.capacity() * size_of::<i64>()
            + values.flatten().map(Value::heap_bytes).sum::<usize>()
    }
}
