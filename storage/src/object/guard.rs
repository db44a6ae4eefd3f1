//! A remote store that answers for the allowed prefixes of its bucket only. The second door: [`super::Stores::resolve`]
//! checks first, but DataFusion hands the bucket's store to whoever names a URL.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::location::Roots;
use super::remote::Scheme;

#[derive(Debug)]
pub(super) struct Guarded {
    inner: Arc<dyn ObjectStore>,
    roots: Roots,
    scheme: Scheme,
    bucket: String,
}

impl Guarded {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, roots: Roots, scheme: Scheme, bucket: &str) -> Self {
        Self {
            inner,
            roots,
            scheme,
            bucket: bucket.to_owned(),
        }
    }

    fn check(&self, path: &Path) -> Result<()> {
        let location = || format!("{}://{}/{path}", self.scheme, self.bucket);
        Ok(self
            .roots
            .check_remote(self.scheme, &self.bucket, path)
            .map_err(|e| e.at(location()))?)
    }
}

impl Display for Guarded {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.bucket)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.check(location)?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (roots, scheme, bucket) = (self.roots.clone(), self.scheme, self.bucket.clone());
        let checked = locations.map(move |path| {
            let path = path?;
            roots.check_remote(scheme, &bucket, &path)?;
            Ok(path)
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check(&prefix.cloned().unwrap_or_default()) {
            Ok(()) => self.inner.list(prefix),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check(&prefix.cloned().unwrap_or_default())?;
        self.inner.list_with_delimiter(prefix).await
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check(&prefix.cloned().unwrap_or_default()) {
            Ok(()) => self.inner.list_with_offset(prefix, offset).into_stream().boxed(),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.copy_opts(from, to, options).await
    }
}
