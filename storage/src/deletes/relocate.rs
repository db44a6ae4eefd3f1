//! Delete files of tables that lie in another place now: they name their data files.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::FILE_PATH_ID;
use crate::error::{Error, Result};
use crate::puffin::MAGIC;

/// A file of position deletes with other locations of its data files.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] when it is no such file.
pub fn relocate_position_deletes(bytes: Bytes, location: &dyn Fn(&str) -> String) -> Result<Bytes> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let schema = Arc::clone(builder.schema());
    let is_path = |field: &Arc<arrow::datatypes::Field>| {
        let id = field.metadata().get(crate::FIELD_ID_KEY);
        id.map_or(field.name() == "file_path", |id| *id == FILE_PATH_ID.to_string())
    };
    let path = schema.fields().iter().position(is_path);
    let path = path.ok_or_else(|| Error::corrupt("a file of position deletes has no column file_path"))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Readers find the data file by these bounds.
        .set_statistics_truncate_length(None)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    for batch in builder.build()? {
        let batch = batch?;
        let before = cast(batch.column(path), &DataType::Utf8)?;
        let after: StringArray = before
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(location))
            .collect();
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns[path] = cast(&after, schema.field(path).data_type())?;
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    Ok(Bytes::from(writer.into_inner()?))
}

/// A Puffin file of deletion vectors with other locations of its data files. The vectors stay where they are in the file:
/// manifests say where.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] when it is no Puffin file, [`crate::ErrorKind::Unsupported`] when its footer is compressed.
pub fn relocate_deletion_vectors(bytes: &[u8], location: &dyn Fn(&str) -> String) -> Result<Bytes> {
    /// Length of the payload, flags, and the magic once more.
    const TAIL: usize = 12;
    let wrong = || Error::corrupt("a file of deletion vectors is no Puffin file");
    let tail = bytes.len().checked_sub(TAIL).ok_or_else(wrong)?;
    let (before, ending) = bytes.split_at(tail);
    let number = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(u32::from_le_bytes).map_err(|_| wrong());
    if ending[8..] != *MAGIC {
        return Err(wrong());
    }
    if ending[4..8] != [0; 4] {
        return Err(Error::unsupported("a Puffin file with a compressed footer"));
    }
    let start = before
        .len()
        .checked_sub(number(&ending[..4])? as usize)
        .ok_or_else(wrong)?;
    let (blobs, payload) = before.split_at(start);
    let mut payload: serde_json::Value = serde_json::from_slice(payload).map_err(|_| wrong())?;
    let vectors = payload.get_mut("blobs").and_then(serde_json::Value::as_array_mut);
    for vector in vectors.into_iter().flatten() {
        if let Some(file) = vector.pointer_mut("/properties/referenced-data-file") {
            *file = location(file.as_str().ok_or_else(wrong)?).into();
        }
    }
    let payload = payload.to_string();
    let length = u32::try_from(payload.len()).map_err(|_| wrong())?;
    Ok([blobs, payload.as_bytes(), &length.to_le_bytes(), &ending[4..]]
        .concat()
        .into())
}
