//! Files of statistics: which one a table has, and a new one. What is in them is the business of whoever reads the table.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A Puffin file with statistics of a snapshot, as the table's metadata names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStatistics {
    /// The snapshot they belong to. The table may have others on top of it.
    pub snapshot_id: i64,
    /// Where the file is.
    pub location: String,
    /// Its size.
    pub size_bytes: u64,
    /// Of its footer.
    pub footer_bytes: u64,
    /// What is in it.
    pub blobs: Vec<StatisticsBlob>,
}

/// A part of a file of statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsBlob {
    /// What it is.
    pub kind: String,
    /// The columns it is about, by field id.
    pub fields: Vec<i32>,
    /// The snapshot it was made from: that of the file, or one before it whose statistics are kept.
    pub snapshot_id: i64,
    /// The sequence number of that snapshot.
    pub sequence_number: i64,
    /// More of it.
    pub properties: BTreeMap<String, String>,
}

/// A file of statistics that is to be a table's.
#[derive(Clone, Debug)]
pub struct NewStatistics {
    /// The snapshot it is about.
    pub snapshot_id: i64,
    /// The file.
    pub bytes: Bytes,
    /// Of its footer.
    pub footer_bytes: u64,
    /// What is in it.
    pub blobs: Vec<StatisticsBlob>,
}
