//! Reads metadata, views and manifests through caches. All of them are immutable, so a cache only ever has to forget.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;

use crate::error::{Error, Result};
use crate::iceberg::{
    ManifestContent, ManifestFile, Metadata, ViewMetadata, decode, read_list, read_manifest, read_view,
};
use crate::name::TableName;
use crate::objects::Objects;
use crate::schema::View;
use crate::table::TableVersion;

/// Parsed metadata of tables and views, with the file lists that hang on them: at most.
const METADATA_BYTES_MAX: u64 = 64 << 20;
/// Files of parsed manifests: at most.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// What an entry costs beside its value.
const ENTRY_OVERHEAD_BYTES: usize = 400;

/// A stored view and the metadata its next version is made from.
#[derive(Debug)]
pub(crate) struct StoredView {
    pub(crate) view: Arc<View>,
    pub(crate) metadata: ViewMetadata,
}

/// The object store with the caches in front of it.
pub(crate) struct Loader {
    objects: Arc<dyn Objects>,
    tables: Cache<String, Arc<TableVersion>>,
    views: Cache<String, Arc<StoredView>>,
    manifests: Cache<String, Arc<ManifestContent>>,
    /// What older states need may be gone: others thought that this server was.
    oldest_csn: AtomicU64,
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("objects", &self.objects)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// With caches as large as a large machine has them.
    pub(crate) fn new(objects: Arc<dyn Objects>) -> Loader {
        Self::within(objects, u64::MAX)
    }

    /// With caches of no more than so many bytes each.
    pub(crate) fn within(objects: Arc<dyn Objects>, bytes_max: u64) -> Loader {
        Loader {
            objects,
            oldest_csn: AtomicU64::new(0),
            tables: Cache::builder()
                .max_capacity(METADATA_BYTES_MAX.min(bytes_max))
                .weigher(|location: &String, version: &Arc<TableVersion>| {
                    saturated(ENTRY_OVERHEAD_BYTES + location.len() + version.weight_bytes())
                })
                .build(),
            views: Cache::builder().max_capacity(1000).build(),
            manifests: Cache::builder()
                .max_capacity(MANIFEST_BYTES_MAX.min(bytes_max))
                .weigher(|location: &String, content: &Arc<ManifestContent>| {
                    saturated(ENTRY_OVERHEAD_BYTES + location.len() + content.heap_bytes())
                })
                .build(),
        }
    }

    /// Notes that nobody held the files of states before this one while this server was silent.
    pub(crate) fn give_up_before(&self, csn: u64) {
        self.oldest_csn.fetch_max(csn, Ordering::Relaxed);
    }

    /// Fails with `Conflict` when the files of a state may have been deleted.
    pub(crate) fn check_held(&self, csn: u64) -> Result<()> {
        match csn < self.oldest_csn.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::conflict(
                "The server was silent for so long that others deleted what the transaction's state needs.",
            )),
        }
    }

    pub(crate) fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// The table version stored at a location.
    pub(crate) async fn table_version(&self, location: &str) -> Result<Arc<TableVersion>> {
        shared(
            self.tables
                .try_get_with_by_ref(location, self.stored_table_version(location)),
        )
        .await
    }

    /// The same for who looks at many once: what is in use stays in the cache.
    pub(crate) async fn glimpsed_table_version(&self, location: &str) -> Result<Arc<TableVersion>> {
        match self.tables.get(location).await {
            Some(version) => Ok(version),
            None => self.stored_table_version(location).await,
        }
    }

    async fn stored_table_version(&self, location: &str) -> Result<Arc<TableVersion>> {
        let bytes = self.objects.get(location).await?;
        let metadata = Metadata::parse(location, &bytes)?;
        decode(location, || {
            Ok(Arc::new(TableVersion::new(location.to_owned(), metadata, bytes.len())?))
        })
    }

    /// Keeps a version that was just committed, so that the next reader need not fetch it.
    pub(crate) async fn keep_table_version(&self, version: Arc<TableVersion>) {
        self.tables
            .insert(version.metadata_location().to_owned(), version)
            .await;
    }

    /// The view stored at a location, under its present name.
    pub(crate) async fn view(&self, name: &TableName, location: &str) -> Result<Arc<StoredView>> {
        let stored = shared(
            self.views
                .try_get_with_by_ref(location, self.stored_view(name, location)),
        )
        .await?;
        if stored.view.name == *name {
            return Ok(stored);
        }
        let view = View {
            name: name.clone(),
            ..View::clone(&stored.view)
        };
        Ok(Arc::new(StoredView {
            view: Arc::new(view),
            metadata: stored.metadata.clone(),
        }))
    }

    /// The same for who looks at many once; under a name it may have had before.
    pub(crate) async fn glimpsed_view(&self, name: &TableName, location: &str) -> Result<Arc<StoredView>> {
        match self.views.get(location).await {
            Some(view) => Ok(view),
            None => self.stored_view(name, location).await,
        }
    }

    async fn stored_view(&self, name: &TableName, location: &str) -> Result<Arc<StoredView>> {
        let bytes = self.objects.get(location).await?;
        let (view, metadata) = read_view(name, location, &bytes)?;
        Ok(Arc::new(StoredView {
            view: Arc::new(view),
            metadata,
        }))
    }

    /// The manifests a list names. Not kept: each list is read once.
    pub(crate) async fn manifest_list(&self, metadata: &Metadata, location: &str) -> Result<Vec<ManifestFile>> {
        let bytes = self.objects.get(location).await?;
        read_list(metadata, location, &bytes)
    }

    /// The live files of a manifest.
    pub(crate) async fn manifest(&self, manifest: &ManifestFile) -> Result<Arc<ManifestContent>> {
        shared(self.manifests.try_get_with_by_ref(manifest.location(), async {
            let bytes = self.objects.get(manifest.location()).await?;
            let manifest = manifest.clone();
            // Decoding takes tens of microseconds a file: too long for a thread that serves connections.
            let content = tokio::task::spawn_blocking(move || read_manifest(&manifest, &bytes))
                .await
                .map_err(|error| Error::internal("decoding a manifest was stopped").with_source(error))??;
            Ok(Arc::new(content))
        }))
        .await
    }
}

fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// All who wait for one load get its error.
async fn shared<T>(load: impl Future<Output = Result<T, Arc<Error>>>) -> Result<T> {
    load.await.map_err(Error::shared)
}
