//! What the catalog needs of object storage, over storage's durable stores.

use async_trait::async_trait;
use bytes::Bytes;
use roaring::RoaringTreemap;
use staffa_catalog::{DeleteContent, Error as CatalogError, ErrorKind as CatalogErrorKind, Objects};
use staffa_storage::{Error as StorageError, ErrorKind as StorageErrorKind, Stores};

/// The warehouse's stores as the catalog sees them.
#[derive(Debug)]
pub(crate) struct StoreObjects(pub(crate) Stores);

#[async_trait]
impl Objects for StoreObjects {
    async fn get(&self, location: &str) -> Result<Bytes, CatalogError> {
        self.0.get(location).await.map_err(catalog_error)
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<(), CatalogError> {
        self.0.put(location, bytes).await.map_err(catalog_error)
    }

    async fn delete(&self, location: &str) -> Result<(), CatalogError> {
        match self.0.delete(location).await {
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(()),
            result => result.map_err(catalog_error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, CatalogError> {
        match self.0.list(prefix).await {
            Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(catalog_error),
        }
    }

    fn encode_deletes(
        &self,
        data_file: &str,
        rows: &RoaringTreemap,
        vector: bool,
    ) -> Result<(Bytes, DeleteContent), CatalogError> {
        let of_file = data_file.to_owned();
        if !vector {
            let bytes = staffa_storage::encode_position_deletes(data_file, rows).map_err(catalog_error)?;
            let data_file = Some(of_file);
            return Ok((bytes, DeleteContent::Positions { data_file }));
        }
        let puffin = staffa_storage::encode_deletion_vector(data_file, rows).map_err(catalog_error)?;
        let content = DeleteContent::Vector {
            data_file: of_file,
            offset: puffin.offset,
            length: puffin.length,
        };
        Ok((puffin.bytes, content))
    }

    async fn decode_deletes(
        &self,
        bytes: Bytes,
        content: &DeleteContent,
        data_file: &str,
    ) -> Result<RoaringTreemap, CatalogError> {
        if let DeleteContent::Vector { offset, length, .. } = content {
            return staffa_storage::decode_deletion_vector(&bytes, *offset, *length).map_err(catalog_error);
        }
        let data_file = data_file.to_owned();
        let decode = move || staffa_storage::decode_position_deletes(bytes, &data_file);
        let decoded = tokio::task::spawn_blocking(decode).await;
        let decoded = decoded.map_err(|error| {
            CatalogError::new(CatalogErrorKind::Internal, "decoding a delete file was stopped").with_source(error)
        })?;
        decoded.map_err(catalog_error)
    }
}

fn catalog_error(error: StorageError) -> CatalogError {
    let kind = match error.kind() {
        StorageErrorKind::DiskFull => CatalogErrorKind::DiskFull,
        StorageErrorKind::CorruptFile => CatalogErrorKind::Corrupt,
        StorageErrorKind::NotFound => CatalogErrorKind::MissingObject,
        StorageErrorKind::Forbidden => CatalogErrorKind::Forbidden,
        StorageErrorKind::Unsupported => CatalogErrorKind::Unsupported,
        StorageErrorKind::Internal => CatalogErrorKind::Internal,
        _ => CatalogErrorKind::Io,
    };
    CatalogError::new(kind, error.to_string())
}
