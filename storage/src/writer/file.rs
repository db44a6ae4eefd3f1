//! One open Parquet file: its encoder and its upload.

use std::future::Future;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::row::OwnedRow;
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use parquet::arrow::ArrowWriter;

use super::bounds::{NanCounts, column_bounds};
use super::schema::FileSchema;
use super::{WriteSpec, WrittenFile};
use crate::error::{Error, Result};
use crate::object::Stores;

/// Bytes of one part of an upload. S3 wants at least 5 MiB and at most 10,000 parts of one size.
const PART_BYTES: usize = 8 << 20;

/// Parts of one file on their way at the same time.
const PARTS_IN_FLIGHT_MAX: usize = 4;

pub(super) struct OpenFile {
    encoder: ArrowWriter<Vec<u8>>,
    upload: Upload,
    schema: Arc<FileSchema>,
    partition: Vec<ScalarValue>,
    nans: NanCounts,
    rows: u64,
    counted_bytes: usize,
    /// Declares the order in its footer, so every row must follow it.
    sorted: bool,
    last_row: Option<OwnedRow>,
}

impl OpenFile {
    pub(super) fn create(
        stores: &Stores,
        location: String,
        schema: &Arc<FileSchema>,
        spec: &WriteSpec,
        partition: Vec<ScalarValue>,
        sorted: bool,
    ) -> Result<Self> {
        let (_, store, path) = stores.resolve(&location)?;
        let encoder = schema
            .encoder(&spec.options, sorted)
            .map_err(|e| e.at(location.as_str()))?;
        Ok(Self {
            encoder,
            upload: Upload {
                store,
                path,
                location,
                parts: None,
                size_bytes: 0,
            },
            schema: Arc::clone(schema),
            partition,
            nans: NanCounts::new(schema.leaves()),
            rows: 0,
            counted_bytes: 0,
            sorted,
            last_row: None,
        })
    }

    /// Whether the rows may be added without breaking the order this file declares.
    pub(super) fn order_continues(&mut self, rows: &RecordBatch) -> Result<bool> {
        if !self.sorted || !self.schema.order().is_declared() {
            return Ok(true);
        }
        match self.schema.order().continues(self.last_row.as_ref(), rows)? {
            Some(last) => {
                self.last_row = Some(last);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.sorted && self.last_row.is_none() {
            self.last_row = self.schema.order().continues(None, rows)?;
        }
        self.nans.add(rows);
        self.encoder
            .write(rows)
            .map_err(|e| Error::from(e).at(self.upload.location.as_str()))?;
        self.rows += rows.num_rows() as u64;
        self.send_full_parts().await
    }

    /// Ends the open row group and sends what is encoded, so that little stays in memory.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.encoder
            .flush()
            .map_err(|e| Error::from(e).at(self.upload.location.as_str()))?;
        self.encoder.sync()?;
        self.send_full_parts().await
    }

    /// Bytes the file will have, as far as is known.
    pub(super) fn encoded_bytes(&self) -> u64 {
        (self.encoder.bytes_written() + self.encoder.in_progress_size()) as u64
    }

    /// Bytes held when they were counted last.
    pub(super) fn counted_bytes(&self) -> usize {
        self.counted_bytes
    }

    /// Bytes held now: the open row group and what waits to be sent.
    pub(super) fn count_bytes(&mut self) -> usize {
        self.counted_bytes = self.encoder.memory_size() + self.encoder.inner().len();
        self.counted_bytes
    }

    /// The encoded size of the open row group.
    pub(super) fn row_group_bytes(&self) -> usize {
        self.encoder.in_progress_size()
    }

    /// Encodes the rest and gives the work that is left: sending it, and waiting until the file is durable.
    pub(super) fn finish(mut self) -> Result<impl Future<Output = Result<WrittenFile>> + Send + 'static> {
        let located = |e: Error| e.at(self.upload.location.as_str());
        let footer = self.encoder.finish().map_err(|e| located(e.into()))?;
        let rest = std::mem::take(self.encoder.inner_mut());
        let columns = column_bounds(self.schema.leaves(), &footer, &self.nans).map_err(located)?;
        // A row group begins with its first column's first page.
        let begins = |columns: &[parquet::file::metadata::ColumnChunkMetaData]| {
            columns.iter().map(|c| c.byte_range().0 as i64).min()
        };
        let split_offsets = footer
            .row_groups()
            .iter()
            .filter_map(|group| begins(group.columns()))
            .collect();
        let mut written = WrittenFile {
            location: self.upload.location.clone(),
            size_bytes: 0,
            row_count: self.rows,
            partition: self.partition,
            columns,
            split_offsets,
            sorted: self.sorted,
        };
        let upload = self.upload;
        Ok(async move {
            written.size_bytes = upload.finish(Bytes::from(rest)).await?;
            Ok(written)
        })
    }

    async fn send_full_parts(&mut self) -> Result<()> {
        if self.encoder.inner().len() >= PART_BYTES {
            let bytes = std::mem::take(self.encoder.inner_mut());
            self.upload.send(Bytes::from(bytes)).await?;
        }
        Ok(())
    }
}

/// The way of a file's bytes to its store: one put when it is small, else parts.
struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
    parts: Option<WriteMultipart>,
    size_bytes: u64,
}

impl Upload {
    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        let located = |e: object_store::Error| Error::from(e).at(self.location.as_str());
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => {
                let upload = self.store.put_multipart(&self.path).await.map_err(located)?;
                WriteMultipart::new_with_chunk_size(upload, PART_BYTES)
            }
        };
        let room = parts.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await;
        if let Err(error) = room {
            let _ = parts.abort().await;
            return Err(located(error));
        }
        parts.put(bytes);
        self.parts = Some(parts);
        Ok(())
    }

    /// The size of the whole file.
    async fn finish(mut self, rest: Bytes) -> Result<u64> {
        self.size_bytes += rest.len() as u64;
        let located = |e: object_store::Error| Error::from(e).at(self.location.as_str());
        match self.parts.take() {
            Some(mut parts) => {
                parts.put(rest);
                if let Err(error) = parts.wait_for_capacity(1).await {
                    let _ = parts.abort().await;
                    return Err(located(error));
                }
                parts.finish().await.map_err(located)?;
            }
            None => {
                self.store
                    .put(&self.path, PutPayload::from_bytes(rest))
                    .await
                    .map_err(located)?;
            }
        }
        Ok(self.size_bytes)
    }
}
