//! Row-level deletes: whatever kind of file names them, they become one set of positions per data file, and a scan skips
//! those (`ScanFile::deleted`).
//!
//! Position deletes and deletion vectors are such sets already. An equality delete file (no file of ours) names rows by
//! their values: its columns of the data file are read once, to find the positions.

mod equality;
mod relocate;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use moka::future::Cache;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;

use crate::cache::weight;
use crate::decoding::decoding;
use crate::error::{Error, Result};
use crate::puffin::{self, PuffinBlob};
use crate::source::{ParquetScan, ScanFile};
pub use relocate::{relocate_deletion_vectors, relocate_position_deletes};

/// Field ids of the two columns of a file of position deletes (spec section "Position Delete Files").
const FILE_PATH_ID: i32 = 2_147_483_546;
const POSITION_ID: i32 = 2_147_483_545;

/// Decoded delete files.
const CACHE_BYTES: u64 = 128 << 20;

/// A file, or part of one, that names deleted rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowDeletes {
    /// Positions of rows of this data file, maybe among those of others.
    Positions {
        /// Where the delete file is.
        location: String,
    },
    /// A deletion vector of this data file.
    Vector {
        /// Where the Puffin file is.
        location: String,
        /// Where in it the vector begins.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// Rows that are equal in some columns.
    Equality {
        /// Where the delete file is.
        location: String,
        /// Its exact size in bytes.
        size_bytes: u64,
        /// Its rows.
        row_count: u64,
        /// The columns, by Iceberg field id.
        field_ids: Vec<i32>,
    },
}

/// Sets of rows by data file, for one delete file.
type Decoded = Arc<HashMap<String, Arc<RoaringTreemap>>>;

pub(crate) struct DeleteCache {
    files: Cache<String, Decoded>,
}

impl DeleteCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let bytes_max = CACHE_BYTES.min(bytes_max);
        let weigh = |key: &String, decoded: &Decoded| {
            let sets: usize = decoded
                .iter()
                .map(|(path, rows)| path.len() + rows.serialized_size())
                .sum();
            weight(key.len() + sets)
        };
        Self {
            files: Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
        }
    }

    async fn get(&self, key: &str, load: impl Future<Output = Result<Decoded>>) -> Result<Decoded> {
        let loaded = self.files.try_get_with_by_ref(key, load).await;
        loaded.map_err(|error: Arc<Error>| Error::clone(&error))
    }
}

impl ParquetScan {
    /// The rows of a data file that these delete files name; `table_schema` is as in a scan.
    ///
    /// # Errors
    /// [`crate::ErrorKind::CorruptFile`]; [`crate::ErrorKind::Unsupported`] for equality deletes by a column the table no
    /// longer has; I/O errors.
    pub async fn deleted_rows(
        &self,
        table_schema: &SchemaRef,
        file: &ScanFile,
        deletes: &[RowDeletes],
    ) -> Result<Arc<RoaringTreemap>> {
        let mut all: Option<Arc<RoaringTreemap>> = None;
        for delete in deletes {
            let rows = self.rows_of(table_schema, file, delete).await?;
            all = Some(match all {
                None => rows,
                Some(known) => Arc::new(&*known | &*rows),
            });
        }
        Ok(all.unwrap_or_default())
    }

    async fn rows_of(
        &self,
        table_schema: &SchemaRef,
        file: &ScanFile,
        delete: &RowDeletes,
    ) -> Result<Arc<RoaringTreemap>> {
        let decoded = match delete {
            RowDeletes::Positions { location } => {
                let load = async {
                    let bytes = self.stores().get(location).await?;
                    blocking(location, move || decoding(|| positions(bytes, None))?).await
                };
                self.deletes().get(location, load).await?
            }
            RowDeletes::Vector {
                location,
                offset,
                length,
            } => {
                let load = async {
                    let bytes = self
                        .stores()
                        .get_range(location, *offset..offset.saturating_add(*length))
                        .await?;
                    let rows = decoding(|| vector(&bytes))
                        .flatten()
                        .map_err(|e| e.at(location.as_str()))?;
                    Ok(Arc::new(HashMap::from([(file.location.clone(), Arc::new(rows))])))
                };
                self.deletes().get(&format!("{location}\n{offset}"), load).await?
            }
            RowDeletes::Equality { location, .. } => {
                let load = async {
                    let rows = equality::positions(self, table_schema, file, delete).await?;
                    Ok(Arc::new(HashMap::from([(file.location.clone(), Arc::new(rows))])))
                };
                self.deletes()
                    .get(&format!("{location}\n{}", file.location), load)
                    .await?
            }
        };
        Ok(decoded.get(&file.location).cloned().unwrap_or_default())
    }
}

async fn blocking<T: Send + 'static>(location: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("decoding was stopped ({error})")))?
        .map_err(|error| error.at(location))
}

/// The rows that are left, as the Parquet reader wants them told.
pub(crate) fn live_rows(deleted: &RoaringTreemap, row_count: u64) -> RowSelection {
    let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let mut selectors = Vec::new();
    let mut next = 0;
    for run in runs(deleted) {
        if *run.start() >= row_count {
            break;
        }
        let end = (run.end() + 1).min(row_count);
        if *run.start() > next {
            selectors.push(RowSelector::select(size(run.start() - next)));
        }
        selectors.push(RowSelector::skip(size(end - run.start())));
        next = end;
    }
    if next < row_count {
        selectors.push(RowSelector::select(size(row_count - next)));
    }
    RowSelection::from(selectors)
}

/// Neighbours together.
fn runs(rows: &RoaringTreemap) -> impl Iterator<Item = RangeInclusive<u64>> {
    let mut rows = rows.iter().peekable();
    std::iter::from_fn(move || {
        let start = rows.next()?;
        let mut end = start;
        while end.checked_add(1).is_some_and(|next| rows.next_if_eq(&next).is_some()) {
            end += 1;
        }
        Some(start..=end)
    })
}

/// The bytes of a file of position deletes that names these rows of one data file.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] when Parquet's writer refuses them.
pub fn encode_position_deletes(data_file: &str, rows: &RoaringTreemap) -> Result<Bytes> {
    let field = |name: &str, data_type: DataType, id: i32| {
        let metadata = HashMap::from([(crate::FIELD_ID_KEY.to_owned(), id.to_string())]);
        Field::new(name, data_type, false).with_metadata(metadata)
    };
    let schema = Arc::new(Schema::new(vec![
        field("file_path", DataType::Utf8, FILE_PATH_ID),
        field("pos", DataType::Int64, POSITION_ID),
    ]));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Readers find the data file by these bounds.
        .set_statistics_truncate_length(None)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    let mut positions = rows.iter();
    loop {
        let some: Vec<i64> = positions
            .by_ref()
            .take(64 << 10)
            .map(|position| i64::try_from(position).map_err(|_| Error::internal("a row position beyond 2^63")))
            .collect::<Result<_>>()?;
        if some.is_empty() {
            break;
        }
        let paths: ArrayRef = Arc::new(StringArray::from_iter_values(some.iter().map(|_| data_file)));
        let positions: ArrayRef = Arc::new(Int64Array::from(some));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![paths, positions])?)?;
    }
    Ok(Bytes::from(writer.into_inner()?))
}

/// The rows of one data file that a file of position deletes names.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] when it is no such file.
pub fn decode_position_deletes(bytes: Bytes, data_file: &str) -> Result<RoaringTreemap> {
    let decoded = decoding(|| positions(bytes, Some(data_file)))??;
    Ok(decoded.get(data_file).map(|rows| (**rows).clone()).unwrap_or_default())
}

/// All pairs of a file of position deletes, or those of one data file.
fn positions(bytes: Bytes, only: Option<&str>) -> Result<Decoded> {
    let wrong = |what: &str| Error::corrupt(format!("a file of position deletes {what}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let find = |id: i32, name: &str| {
        let fields = builder.schema().fields();
        let by_id = fields.iter().position(|field| {
            let own = field.metadata().get(crate::FIELD_ID_KEY);
            own.is_some_and(|own| *own == id.to_string())
        });
        by_id.or_else(|| fields.iter().position(|field| field.name() == name))
    };
    let path = find(FILE_PATH_ID, "file_path").ok_or_else(|| wrong("has no column file_path"))?;
    let position = find(POSITION_ID, "pos").ok_or_else(|| wrong("has no column pos"))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [path, position]);
    // The projected columns come in the file's order.
    let (path, position) = if path < position { (0, 1) } else { (1, 0) };
    let mut found: HashMap<String, RoaringTreemap> = HashMap::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let paths = arrow::compute::cast(batch.column(path), &DataType::Utf8)
            .map_err(|_| wrong("has paths that are not of type string"))?;
        let paths = paths.as_string::<i32>();
        let numbers = batch
            .column(position)
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| wrong("has positions that are not of type long"))?;
        if paths.null_count() + numbers.null_count() > 0 {
            return Err(wrong("has nulls"));
        }
        // Sorted by path: one look-up a run.
        let mut row = 0;
        while row < paths.len() {
            let name = paths.value(row);
            let end = (row..paths.len())
                .find(|next| paths.value(*next) != name)
                .unwrap_or(paths.len());
            if only.is_none_or(|only| only == name) {
                let rows = found.entry(name.to_owned()).or_default();
                for number in &numbers.values()[row..end] {
                    rows.insert(u64::try_from(*number).map_err(|_| wrong("has a negative position"))?);
                }
            }
            row = end;
        }
    }
    Ok(Arc::new(
        found.into_iter().map(|(path, rows)| (path, Arc::new(rows))).collect(),
    ))
}

/// A Puffin file with one deletion vector.
#[derive(Debug)]
pub struct DeletionVector {
    /// The file.
    pub bytes: Bytes,
    /// Where in it the vector begins.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The Puffin file with the deletion vector that names these rows of one data file (`puffin.rs`).
///
/// # Errors
/// [`crate::ErrorKind::Internal`] when the rows cannot be encoded.
pub fn encode_deletion_vector(data_file: &str, rows: &RoaringTreemap) -> Result<DeletionVector> {
    /// The column of row positions, which the vector is about.
    const POSITION_COLUMN_ID: i32 = 2_147_483_645;
    let too_large = |_| Error::internal("a deletion vector beyond 4 GiB");
    let mut body = VECTOR_MAGIC.to_vec();
    rows.serialize_into(&mut body)
        .map_err(|error| Error::internal(format!("cannot encode a deletion vector ({error})")))?;
    let mut content = u32::try_from(body.len()).map_err(too_large)?.to_be_bytes().to_vec();
    content.extend(&body);
    content.extend(crc32(&body).to_be_bytes());
    let properties = [
        ("referenced-data-file", data_file.to_owned()),
        ("cardinality", rows.len().to_string()),
    ];
    let blob = PuffinBlob {
        kind: "deletion-vector-v1".to_owned(),
        fields: vec![POSITION_COLUMN_ID],
        // Not known when it is written: the snapshot that takes it up says.
        snapshot_id: -1,
        sequence_number: -1,
        properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
    };
    let file = puffin::encode(&[(blob, content)])?;
    let (offset, length) = file.places.first().copied().unwrap_or_default();
    Ok(DeletionVector {
        bytes: file.bytes,
        offset: offset as u64,
        length: length as u64,
    })
}

/// The rows that a deletion vector names; the bytes are those of its whole file.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] when there is no such vector.
pub fn decode_deletion_vector(file: &[u8], offset: u64, length: u64) -> Result<RoaringTreemap> {
    let blob = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
    let blob = blob.and_then(|(offset, length)| file.get(offset..)?.get(..length));
    let blob = blob.ok_or_else(|| Error::corrupt("a deletion vector lies outside its file"))?;
    decoding(|| vector(blob))?
}

/// Begins a deletion vector.
const VECTOR_MAGIC: [u8; 4] = [0xd1, 0xd3, 0x39, 0x64];

/// A `deletion-vector-v1` blob (Puffin spec): length, magic, the set in roaring's portable form, CRC-32.
fn vector(blob: &[u8]) -> Result<RoaringTreemap> {
    let wrong = |what: &str| Error::corrupt(format!("a deletion vector {what}"));
    let number = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(u32::from_be_bytes).ok();
    let (length, rest) = blob.split_at_checked(4).ok_or_else(|| wrong("is too short"))?;
    let body = number(length).and_then(|length| rest.split_at_checked(length as usize));
    let (body, checksum) = body.ok_or_else(|| wrong("is too short"))?;
    if number(checksum) != Some(crc32(body)) {
        return Err(wrong("does not fit its checksum"));
    }
    let rows = body
        .strip_prefix(&VECTOR_MAGIC)
        .ok_or_else(|| wrong("is of an unknown kind"))?;
    RoaringTreemap::deserialize_from(rows).map_err(|error| wrong(&format!("cannot be decoded ({error})")))
}

/// CRC-32 as zip and Puffin have it, bit by bit: vectors are small.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests;
