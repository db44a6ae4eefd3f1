//! The objects this process may touch: resolving a location against the allow-list, and the few whole-object operations.
//! Timeouts and retries of remote stores are set here (`object/remote.rs`) and nowhere else.

mod delete;
mod durable;
mod guard;
mod location;
mod remote;
mod transfer;

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::datasource::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use durable::DurableLocal;
use guard::Guarded;
use location::{Location, Roots};
pub use transfer::ObjectDigest;

/// A password or key: never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// How to reach S3 or a service that speaks its protocol.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// Region of the buckets, such as `eu-north-1`.
    pub region: String,
    /// Another service than AWS, such as `http://127.0.0.1:9000`; its buckets are addressed by path.
    pub endpoint: Option<String>,
    /// Access key id. Empty means unsigned requests: the machine's own credentials are never looked for.
    pub access_key: Secret,
    /// Secret access key.
    pub secret_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Allow an endpoint without TLS.
    pub allow_http: bool,
}

/// What [`Stores`] may touch and how.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Directories below which local files may be read and written. Each must exist.
    pub local_roots: Vec<PathBuf>,
    /// Files and directories below them that nobody reaches through these stores, but for roots inside.
    pub private_paths: Vec<PathBuf>,
    /// Buckets, or prefixes in them, that may be read and written: `s3://bucket`, `gs://bucket/prefix`, `az://container`.
    pub remote_roots: Vec<String>,
    /// Access to S3; `None` refuses every `s3://` location. Google's and Azure's settings come from the environment.
    pub s3: Option<S3Options>,
    /// Bytes of remote files kept in memory as ranges; 0 keeps none.
    pub range_cache_bytes: u64,
    /// Bytes of decoded columns kept in memory; 0 keeps none.
    pub chunk_cache_bytes: u64,
    /// Bytes that footers may hold, and as many each of deleted rows, samples, and statistics. `None`: what a large machine has for them.
    pub metadata_cache_bytes: Option<u64>,
    /// The runtime that network requests run on, so that busy queries do not starve them. `None` uses the caller's.
    pub io: Option<tokio::runtime::Handle>,
}

/// The objects this process may touch. Cheap to clone; all clones are the same stores.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    options: StoreOptions,
    roots: Roots,
    local: Arc<dyn ObjectStore>,
    /// One client per bucket, made at first use. The lock guards the map only, never a request.
    remote: Mutex<HashMap<(remote::Scheme, String), Arc<dyn ObjectStore>>>,
}

impl Debug for Stores {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("options", &self.inner.options).finish()
    }
}

impl Stores {
    /// Stores that reach what the options allow and nothing else.
    ///
    /// # Errors
    /// A local root does not exist or cannot be resolved; a remote root is not a location, or its service is not part of this
    /// build or lacks settings.
    pub fn new(options: StoreOptions) -> Result<Self> {
        let roots = Roots::new(&options.local_roots, &options.private_paths, &options.remote_roots)?;
        let local: Arc<dyn ObjectStore> = Arc::new(DurableLocal::new(roots.clone()));
        let stores = Self {
            inner: Arc::new(Inner {
                options,
                roots,
                local,
                remote: Mutex::default(),
            }),
        };
        for root in &stores.inner.options.remote_roots {
            stores.resolve(root)?;
        }
        Ok(stores)
    }

    /// The store that holds a location, its URL in DataFusion's registry and the path inside it.
    ///
    /// A location is `/absolute/path`, `file:///absolute/path` or `s3://bucket/key` (`gs://`, `az://` with their cargo
    /// features). Its text is taken literally: `%20` is three characters, as in Iceberg metadata.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for anything outside the allow-list once `..` and symlinks are resolved;
    /// [`ErrorKind::Unsupported`] for a scheme this build does not have.
    pub fn resolve(&self, location: &str) -> Result<(ObjectStoreUrl, Arc<dyn ObjectStore>, Path)> {
        let url = |text: &str| ObjectStoreUrl::parse(text).map_err(|e| Error::from(e).at(location));
        match Location::parse(location)? {
            Location::Local(path) => {
                let path = self.inner.roots.check_local(&path).map_err(|e| e.at(location))?;
                Ok((
                    url("file://")?,
                    Arc::clone(&self.inner.local),
                    location::object_path(&path)?,
                ))
            }
            Location::Remote { scheme, bucket, key } => {
                self.inner
                    .roots
                    .check_remote(scheme, &bucket, &key)
                    .map_err(|e| e.at(location))?;
                let store = self.bucket(scheme, &bucket).map_err(|e| e.at(location))?;
                Ok((url(&format!("{scheme}://{bucket}"))?, store, key))
            }
        }
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`ErrorKind::NotFound`]; I/O errors.
    pub async fn get(&self, location: &str) -> Result<Bytes> {
        let (_, store, path) = self.resolve(location)?;
        let read = async { store.get(&path).await?.bytes().await };
        read.await.map_err(|e| Error::from(e).at(location))
    }

    /// Some bytes of an object.
    pub(crate) async fn get_range(&self, location: &str, range: std::ops::Range<u64>) -> Result<Bytes> {
        let (_, store, path) = self.resolve(location)?;
        let read = store.get_range(&path, range).await;
        read.map_err(|e| Error::from(e).at(location))
    }

    /// Stores an object, replacing one of that name. Durable when it returns; never visible in part.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`ErrorKind::DiskFull`]; I/O errors, a failed fsync among them. After an error
    /// the new object does not exist, or (remote only) its state is unknown.
    pub async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        let (_, store, path) = self.resolve(location)?;
        store
            .put(&path, PutPayload::from_bytes(bytes))
            .await
            .map_err(|e| Error::from(e).at(location))?;
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`ErrorKind::NotFound`] where the store tells (S3 does not); I/O errors.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let (_, store, path) = self.resolve(location)?;
        store.delete(&path).await.map_err(|e| Error::from(e).at(location))
    }

    /// The locations of all objects below a directory, at any depth, beginning with `prefix` as it was given. A missing
    /// directory has none.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); I/O errors.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.list_older(prefix, DateTime::<Utc>::MAX_UTC).await
    }

    /// The same of objects last written before a time.
    pub async fn list_older(&self, prefix: &str, before: DateTime<Utc>) -> Result<Vec<String>> {
        let prefix = prefix.trim_end_matches('/');
        let (_, store, path) = self.resolve(prefix)?;
        let old = store
            .list(Some(&path))
            .try_filter(|meta| std::future::ready(meta.last_modified < before));
        let objects = old.map_ok(|meta| {
            let below = meta
                .location
                .as_ref()
                .strip_prefix(path.as_ref())
                .unwrap_or(meta.location.as_ref());
            format!("{prefix}/{}", below.trim_start_matches('/'))
        });
        objects.try_collect().await.map_err(|e| Error::from(e).at(prefix))
    }

    /// The size of an object in bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn size(&self, location: &str) -> Result<u64> {
        Ok(self.head(location).await?.size)
    }

    pub(crate) async fn head(&self, location: &str) -> Result<object_store::ObjectMeta> {
        let (_, store, path) = self.resolve(location)?;
        store.head(&path).await.map_err(|e| Error::from(e).at(location))
    }

    /// The registry to give to DataFusion's runtime: these stores and no others. A URL of anything else is an error.
    pub fn registry(&self) -> Arc<dyn ObjectStoreRegistry> {
        Arc::new(Registry(self.clone()))
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    fn bucket(&self, scheme: remote::Scheme, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let mut known = self.inner.remote.lock();
        if let Some(store) = known.get(&(scheme, bucket.to_owned())) {
            return Ok(Arc::clone(store));
        }
        let client = remote::connect(scheme, bucket, &self.inner.options)?;
        let guarded = Guarded::new(client, self.inner.roots.clone(), scheme, bucket);
        let store: Arc<dyn ObjectStore> = Arc::new(guarded);
        known.insert((scheme, bucket.to_owned()), Arc::clone(&store));
        Ok(store)
    }
}

/// DataFusion's way to our stores.
#[derive(Debug)]
struct Registry(Stores);

impl ObjectStoreRegistry for Registry {
    /// Registering is refused: what may be touched is decided when the stores are made.
    fn register_store(&self, url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        tracing::warn!(%url, "a foreign object store was not registered");
        None
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        let refused = || Error::new(ErrorKind::Forbidden, "no object store is configured for this location");
        if url.scheme() == "file" {
            return Ok(Arc::clone(&self.0.inner.local));
        }
        let scheme = remote::Scheme::parse(url.scheme()).ok_or_else(|| refused().at(url.as_str()))?;
        let bucket = url.host_str().ok_or_else(|| refused().at(url.as_str()))?;
        if !self.0.inner.roots.has_bucket(scheme, bucket) {
            return Err(refused().at(url.as_str()).into());
        }
        Ok(self.0.bucket(scheme, bucket)?)
    }
}

#[cfg(test)]
mod tests;
