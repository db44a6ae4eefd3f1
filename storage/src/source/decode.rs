//! One column of one row group, from Parquet to a chunk.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

use super::reader::Reader;
use crate::chunk::{BLOCK_ROWS, Chunk, ChunkBuilder};
use crate::decoding::decoding;
use crate::error::{Error, Result};

/// Blocks that are decoded before others may have the thread.
const BLOCKS_AT_ONCE: usize = 4;

/// The leaves of a column.
pub(super) fn leaves(footer: &ParquetMetaData, row_group: usize, column: usize) -> Vec<&ColumnChunkMetaData> {
    let parquet = footer.file_metadata().schema_descr();
    (0..parquet.num_columns())
        .filter(|leaf| parquet.get_column_root_idx(*leaf) == column)
        .map(|leaf| footer.row_group(row_group).column(leaf))
        .collect()
}

/// Reads the bytes of a column.
pub(super) async fn fetch(
    reader: &Reader,
    footer: &ParquetMetaData,
    row_group: usize,
    column: usize,
) -> Result<Fetched> {
    let ranges: Vec<Range<u64>> = leaves(footer, row_group, column)
        .into_iter()
        .map(ColumnChunkMetaData::byte_range)
        .map(|(start, length)| start..start.saturating_add(length))
        .collect();
    let bytes = reader.read(&ranges).await?;
    Ok(Fetched {
        parts: Arc::new(ranges.into_iter().map(|range| range.start).zip(bytes).collect()),
        file_bytes: reader.size_bytes(),
    })
}

/// Decodes a column. `schema` is the file's, with the types that readers of chunks see.
pub(super) async fn decode(
    fetched: Fetched,
    footer: &Arc<ParquetMetaData>,
    schema: &Arc<Schema>,
    row_group: usize,
    column: usize,
) -> Result<Chunk> {
    let parquet = footer.file_metadata().schema_descr();
    let group = footer.row_group(row_group);
    let leaves = leaves(footer, row_group, column);
    let field = schema.field(column);
    let mut fields = schema.fields().to_vec();
    if let [leaf] = leaves.as_slice() {
        let decoded = decoded_as(field.data_type(), leaf);
        fields[column] = Arc::new(Field::clone(field).with_data_type(decoded));
    }
    let decoded = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new().with_schema(decoded))?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, metadata)
        .with_projection(ProjectionMask::roots(parquet, [column]))
        .with_row_groups(vec![row_group])
        .with_batch_size(BLOCK_ROWS);
    let mut blocks = decoding(|| reader.build())??;

    let rows = usize::try_from(group.num_rows()).map_err(|_| Error::corrupt("a row group has a negative row count"))?;
    let mut chunk = ChunkBuilder::new(field.data_type(), rows);
    let mut number = 0;
    while let Some(block) = decoding(|| blocks.next())? {
        // The reader says in Arrow's errors what is wrong with the file.
        let block = block.map_err(|error| Error::from(ParquetError::from(error)))?;
        chunk.push(Arc::clone(block.column(0)))?;
        number += 1;
        if number % BLOCKS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    chunk.finish()
}

/// The type to decode a column as, on its way to a chunk of another one: dictionaries are kept, decimals need not be widened.
fn decoded_as(data_type: &DataType, leaf: &ColumnChunkMetaData) -> DataType {
    match data_type {
        DataType::Utf8View if is_dictionary_encoded(leaf) => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        DataType::Decimal128(precision, scale)
            if *precision <= 18 && matches!(leaf.column_type(), PhysicalType::INT32 | PhysicalType::INT64) =>
        {
            DataType::Decimal64(*precision, *scale)
        }
        other => other.clone(),
    }
}

/// Whether all of the chunk's data pages are, as far as the footer says.
fn is_dictionary_encoded(leaf: &ColumnChunkMetaData) -> bool {
    use parquet::basic::{Encoding, PageType};
    let is_dictionary = |encoding| matches!(encoding, Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY);
    if leaf.dictionary_page_offset().is_none() {
        return false;
    }
    match (leaf.page_encoding_stats_mask(), leaf.page_encoding_stats()) {
        (Some(mask), _) => mask.encodings().all(is_dictionary),
        (None, Some(pages)) => pages
            .iter()
            .filter(|page| page.page_type != PageType::DICTIONARY_PAGE)
            .all(|page| is_dictionary(page.encoding)),
        (None, None) => false,
    }
}

/// The bytes of the leaves of a column, where the Parquet reader looks for a file.
pub(super) struct Fetched {
    /// By their first byte's place in the file.
    parts: Arc<Vec<(u64, Bytes)>>,
    file_bytes: u64,
}

impl Fetched {
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let part = self.parts.iter().find(|(first, bytes)| {
            let end = first.saturating_add(bytes.len() as u64);
            (*first..end).contains(&start)
        });
        let (first, bytes) = part.ok_or_else(|| ParquetError::EOF(format!("byte {start} is not in the column")))?;
        // It is inside of the part, whose length is a usize.
        Ok(bytes.slice((start - first) as usize..))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Fetched {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(Box::new(Cursor::new(self.from(start)?)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            let end = start.saturating_add(length as u64);
            return Err(ParquetError::EOF(format!(
                "bytes {start} to {end} are not in the column"
            )));
        }
        Ok(bytes.slice(..length))
    }
}
