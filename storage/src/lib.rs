//! Files and object stores for a warehouse: where bytes lie, how they are written so that they stay, and how a query reads
//! them. Knows no table, snapshot, session or SQL.
//!
//! Write path: a stream of batches enters [`FileWriter`], is split by partition ([`Transform`] of columns), encoded as
//! Parquet on the caller's task, uploaded in parts while encoding goes on, and is durable when
//! [`FileWriter::finish`] returns the list of [`WrittenFile`]s with their bounds. Locally every put is: write aside,
//! fsync, rename, fsync the directories (`object/durable.rs` has the numbered rules).
//!
//! Read path: [`ParquetScan::plan`] turns a list of [`ScanFile`]s into one operator for DataFusion. Footers and page
//! indexes are parsed once and kept ([`ParquetScan`]); column chunks of remote files are kept as bytes, and decoded ones of all
//! files in a compact form, on which filters are answered (`source/chunks.rs`); columns are matched by Iceberg field id, so a
//! renamed, reordered or widened column reads right. Rows that delete files name ([`ParquetScan::deleted_rows`]) are skipped by
//! position, whatever kind of file names them.
//!
//! Every location goes through [`Stores::resolve`], which refuses what lies outside the allow-list after symlinks are
//! resolved. There is no other way to a file in this crate.

mod cache;
mod check;
mod chunk;
mod convert;
mod decoding;
mod deletes;
mod error;
mod fetch;
mod field_ids;
mod file;
mod footer;
#[doc(hidden)]
pub mod fuzz;
mod interval;
mod object;
mod parameter;
mod puffin;
mod sample;
mod source;
mod summary;
mod transform;
mod writer;

pub use cache::ChunkCounters;
pub use check::check_parquet;
pub use decoding::is_decoding;
pub use deletes::{
    DeletionVector, RowDeletes, decode_deletion_vector, decode_position_deletes, encode_deletion_vector,
    encode_position_deletes, relocate_deletion_vectors, relocate_position_deletes,
};
pub use error::{Error, ErrorKind, Result};
pub use field_ids::{FIELD_ID_KEY, without_field_ids};
pub use file::{FileDescription, parquet_schema};
pub use object::{ObjectDigest, S3Options, Secret, StoreOptions, Stores};
pub use parameter::{Parameter, RunValues, has_parameter};
pub use puffin::PuffinBlob;
pub use sample::{RowSample, SampleRequest, SampledTable};
pub use source::{CacheCounters, ParquetScan, RowAddress, ScanFile, ScanOptions, ScanRequest, is_renewable, renewed};
pub use summary::{ColumnSummary, StatisticsFile, SummaryBuilder, TableSummary, number};
pub use transform::Transform;
pub use writer::{ColumnBounds, FileWriter, WriteOptions, WriteSpec, WrittenFile};
