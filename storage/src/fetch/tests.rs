use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use super::*;

/// Counts and delays fetches.
#[derive(Debug)]
struct Counted {
    inner: InMemory,
    fetches: Mutex<Vec<Vec<(u64, u64)>>>,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, p: &Path, d: PutPayload, o: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(p, d, o).await
    }
    async fn put_multipart_opts(
        &self,
        p: &Path,
        o: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(p, o).await
    }
    async fn get_opts(&self, p: &Path, o: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(p, o).await
    }
    async fn get_ranges(&self, p: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let asked = ranges.iter().map(|range| (range.start, range.end)).collect();
        self.fetches.lock().expect("no test panicked").push(asked);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.inner.get_ranges(p, ranges).await
    }
    fn delete_stream(
        &self,
        p: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(p)
    }
    fn list(&self, p: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(p)
    }
    async fn list_with_delimiter(&self, p: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(p).await
    }
    async fn copy_opts(&self, a: &Path, b: &Path, o: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(a, b, o).await
    }
}

async fn fixture() -> (Arc<Counted>, Arc<dyn ObjectStore>, Path, Arc<str>) {
    let counted = Arc::new(Counted {
        inner: InMemory::new(),
        fetches: Mutex::default(),
    });
    let path = Path::from("x");
    counted
        .put(&path, (0..=255u8).collect::<Vec<_>>().into())
        .await
        .expect("memory takes it");
    let store = Arc::clone(&counted) as Arc<dyn ObjectStore>;
    (counted, store, path, Arc::from("x"))
}

/// The ranges as pairs of their ends.
async fn get(
    cache: &RangeCache,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    key: &Arc<str>,
    ends: &[(u64, u64)],
) -> Result<Vec<Bytes>> {
    let ranges: Vec<_> = ends.iter().map(|(start, end)| *start..*end).collect();
    cache.get(store, path, key, &ranges, &Count::new()).await
}

#[tokio::test]
async fn asks_once_for_what_is_missing_and_keeps_the_order() {
    let (counted, store, path, key) = fixture().await;
    let cache = RangeCache::new(1 << 20);
    assert_eq!(
        get(&cache, &store, &path, &key, &[(10, 12), (0, 2)]).await.unwrap(),
        [&[10, 11][..], &[0, 1]]
    );
    assert_eq!(
        get(&cache, &store, &path, &key, &[(0, 2), (5, 6), (10, 12)])
            .await
            .unwrap(),
        [&[0, 1][..], &[5], &[10, 11]]
    );
    assert_eq!(*counted.fetches.lock().unwrap(), [vec![(10, 12), (0, 2)], vec![(5, 6)]]);
    assert_eq!((cache.hits(), cache.misses()), (2, 3));
}

#[tokio::test]
async fn one_fetch_for_all_who_wait() {
    let (counted, store, path, key) = fixture().await;
    let cache = Arc::new(RangeCache::new(1 << 20));
    let ask = || async { get(&cache, &store, &path, &key, &[(0, 100), (200, 210)]).await.unwrap() };
    let answers = futures::future::join_all((0..10).map(|_| ask())).await;
    assert!(answers.iter().all(|a| a[0].len() == 100 && a[1][9] == 209));
    assert_eq!(counted.fetches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn large_ranges_pass_by_and_failures_are_not_kept() {
    let (counted, store, path, key) = fixture().await;
    let cache = RangeCache::new(800);
    for _ in 0..2 {
        assert_eq!(
            get(&cache, &store, &path, &key, &[(0, 101)]).await.unwrap()[0].len(),
            101
        );
    }
    assert_eq!(counted.fetches.lock().unwrap().len(), 2);
    let missing = Path::from("y");
    let key = Arc::from("y");
    let error = get(&cache, &store, &missing, &key, &[(0, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound);
    store.put(&missing, "ok".into()).await.unwrap();
    assert_eq!(get(&cache, &store, &missing, &key, &[(0, 1)]).await.unwrap()[0], "o");
}
