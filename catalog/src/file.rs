//! The files of a table as the catalog knows them: where, how big, which partition, what the columns of a data file hold,
//! and which of its rows are deleted.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use roaring::RoaringTreemap;

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

/// A file that lists files of one version of a table. A count is `None` when its writer did not note it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Full location.
    pub location: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// The partition spec of the files.
    pub spec_id: i32,
    /// Whether it lists delete files, not data files.
    pub lists_deletes: bool,
    /// When it was added, in the table's own count.
    pub sequence_number: i64,
    /// The snapshot that added it.
    pub snapshot_id: i64,
    /// Files and rows that snapshot added.
    pub added: (Option<u64>, Option<u64>),
    /// Files and rows that were there before it.
    pub existing: (Option<u64>, Option<u64>),
    /// Files and rows that snapshot took away.
    pub deleted: (Option<u64>, Option<u64>),
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

/// A data file of one version of a table, with what says that some of its rows are deleted.
#[derive(Clone, Debug)]
pub struct LiveFile {
    /// The file.
    pub data: Arc<DataFile>,
    /// When it was added, in the table's own count. A file of the reader's open transaction is newer than any other.
    pub sequence_number: i64,
    /// The committed delete files that may name rows of it.
    pub deletes: Vec<Arc<DeleteFile>>,
    /// Rows of it that the reader's open transaction has deleted.
    pub own_deletes: Option<Arc<RoaringTreemap>>,
}

impl Deref for LiveFile {
    type Target = DataFile;

    fn deref(&self) -> &DataFile {
        &self.data
    }
}

impl LiveFile {
    pub(crate) fn whole(data: Arc<DataFile>, sequence_number: i64) -> LiveFile {
        LiveFile {
            data,
            sequence_number,
            deletes: Vec::new(),
            own_deletes: None,
        }
    }

    /// Whether a row of it may be deleted.
    pub fn has_deletes(&self) -> bool {
        !self.deletes.is_empty() || self.own_deletes.is_some()
    }

    /// Rows that are deleted, as far as metadata says: exact when each is named once, as in files we write.
    pub fn deleted_count(&self) -> u64 {
        let named = self.deletes.iter().map(|file| match file.content {
            DeleteContent::Positions { data_file: None } | DeleteContent::Equality { .. } => 0,
            _ => file.row_count,
        });
        let own = self.own_deletes.as_ref().map_or(0, |rows| rows.len());
        named.sum::<u64>().saturating_add(own).min(self.data.row_count)
    }
}

/// One immutable file that says which rows are deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteFile {
    /// Full location.
    pub location: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// Rows of the file; for a deletion vector the rows it deletes.
    pub row_count: u64,
    /// The partition spec `partition` belongs to.
    pub spec_id: i32,
    /// The partition of the data files it is about.
    pub partition: Vec<Option<Value>>,
    /// When it was added, in the table's own count.
    pub sequence_number: i64,
    /// What it says.
    pub content: DeleteContent,
}

/// How a delete file names rows.
#[derive(Clone, Debug, PartialEq)]
pub enum DeleteContent {
    /// A Parquet file of pairs: location of a data file, position of a row in it.
    Positions {
        /// The one data file all of them are in; `None`: any of the partition.
        data_file: Option<String>,
    },
    /// A deletion vector: part of a Puffin file.
    Vector {
        /// The data file it is about.
        data_file: String,
        /// Where it begins.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// A Parquet file: every row of an older data file that equals one of its rows in these columns.
    Equality {
        /// The columns.
        field_ids: Vec<i32>,
    },
}

impl DeleteFile {
    /// The one data file it is about, if it is about one.
    pub fn data_file(&self) -> Option<&str> {
        match &self.content {
            DeleteContent::Positions { data_file } => data_file.as_deref(),
            DeleteContent::Vector { data_file, .. } => Some(data_file),
            DeleteContent::Equality { .. } => None,
        }
    }

    /// Of a deletion vector the data file it is about.
    fn vector_of(&self) -> Option<&str> {
        match &self.content {
            DeleteContent::Vector { data_file, .. } => Some(data_file),
            DeleteContent::Positions { .. } | DeleteContent::Equality { .. } => None,
        }
    }

    /// Bytes this value really holds.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<DeleteFile>()
            + self.location.capacity()
            + self.data_file().map_or(0, str::len)
            + self.partition.capacity() * size_of::<Option<Value>>()
    }
}

/// Files that a new snapshot no longer has. One Puffin file may hold the deletion vectors of many data files: each of them is
/// there, or gone, by itself.
#[derive(Debug, Default)]
pub(crate) struct RemovedFiles {
    locations: HashSet<String>,
    /// By location the data files whose vector goes.
    vectors: HashMap<String, HashSet<String>>,
}

impl RemovedFiles {
    pub(crate) fn insert_data(&mut self, location: String) {
        self.locations.insert(location);
    }

    pub(crate) fn insert_deletes(&mut self, file: &DeleteFile) {
        match file.vector_of() {
            None => {
                self.locations.insert(file.location.clone());
            }
            Some(data_file) => {
                let vectors = self.vectors.entry(file.location.clone()).or_default();
                vectors.insert(data_file.to_owned());
            }
        }
    }

    /// Whether the file at a location is one of them; of deletion vectors that of `vector_of`.
    pub(crate) fn contains(&self, location: &str, vector_of: Option<&str>) -> bool {
        match vector_of {
            None => self.locations.contains(location),
            Some(data_file) => self
                .vectors
                .get(location)
                .is_some_and(|vectors| vectors.contains(data_file)),
        }
    }

    pub(crate) fn contains_deletes(&self, file: &DeleteFile) -> bool {
        self.contains(&file.location, file.vector_of())
    }
}
