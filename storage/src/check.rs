//! Reads a Parquet file to its last page, to see that it can be.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::footer::read_footer;
use crate::object::Stores;

/// The rows of a Parquet file, every page of which was decoded. No cache is asked: what counts is what is stored.
///
/// # Errors
/// [`crate::ErrorKind::CorruptFile`] where something in it cannot be read; I/O errors.
pub async fn check_parquet(stores: &Stores, location: &str) -> Result<u64> {
    let (_, store, path) = stores.resolve(location)?;
    let size_bytes = stores.size(location).await?;
    let reader = Stored {
        store,
        path,
        size_bytes,
    };
    // A task of its own: decoders may panic on damaged bytes, and that must end nothing else.
    let checked = tokio::spawn(async move {
        let mut batches = ParquetRecordBatchStreamBuilder::new(reader).await?.build()?;
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok::<_, Error>(rows)
    });
    match checked.await {
        Ok(result) => result.map_err(|error| error.at(location)),
        Err(_) => Err(Error::corrupt("the decoder stopped at an unexpected value").at(location)),
    }
}

struct Stored {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size_bytes: u64,
}

impl AsyncFileReader for Stored {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            if range.end > self.size_bytes || range.start > range.end {
                return Err(Error::corrupt("invalid parquet file (bytes that do not exist)").into());
            }
            let read = self.store.get_range(&self.path, range).await;
            Ok(read.map_err(Error::from)?)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = read_footer(&self.store, &self.path, self.size_bytes).await?;
            Ok(Arc::new(footer))
        }
        .boxed()
    }
}
